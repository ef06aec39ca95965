package api

import (
	"bytes"
	"cmp"
	"io"
	"net/http"
)

// read reads the body of a request, which is no longer than limit. Large ones wait for room
// first, and have it until freeBody.
func (a *API) read(w http.ResponseWriter, r *http.Request, limit int) ([]byte, error) {
	from := http.MaxBytesReader(w, r.Body, int64(limit))
	length := int(r.ContentLength) // no more than limit; -1: the client does not know
	if 0 <= length && length <= smallBody {
		return readAll(from, length)
	}
	start, err := readAll(io.LimitReader(from, smallBody), smallBody)
	if err != nil || len(start) < smallBody {
		return start, err
	}
	if length < 0 {
		length = limit
	}
	if err := a.takeRoom(w, r, length); err != nil {
		return start, err
	}
	buf := bytes.NewBuffer(make([]byte, 0, max(0, int(r.ContentLength))+bytes.MinRead))
	buf.Write(start)
	_, err = buf.ReadFrom(from)
	return buf.Bytes(), err
}

func readAll(r io.Reader, length int) ([]byte, error) {
	buf := bytes.NewBuffer(make([]byte, 0, length+bytes.MinRead))
	_, err := buf.ReadFrom(r)
	return buf.Bytes(), err
}

// takeRoom waits for room for n bytes of a body.
func (a *API) takeRoom(w http.ResponseWriter, r *http.Request, n int) error {
	got, ok := a.bodies.take(r.Context(), n, cmp.Or(a.opt.BodyWait, bodyWait))
	if !ok {
		return refuse(codeRateLimited, "bodies of %d bytes are being read at once, as many as may be; send fewer large ones at a time", a.bodies.most)
	}
	w.(*response).room += got
	return nil
}

// freeBody gives the room of a request's body back: what it asked for is durable, or never
// will be.
func (a *API) freeBody(w http.ResponseWriter) {
	out := w.(*response)
	if out.room > 0 {
		a.bodies.free.Release(out.room)
	}
	out.room = 0
}
