package api

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"
)

// A body is in memory whole until what it asks for is durable, and some three times in all:
// as it came, as an envelope, as a record. However many clients send large ones at once,
// there are as many bytes of them as one batch may have; who comes then waits, and reads
// nothing meanwhile. Small ones pass: what apps say of work they have does not stand behind
// what others send.
const (
	smallBody = 16 << 10
	bodyWait  = 5 * time.Second // Options.BodyWait where nothing else is said
)

// bodies is room for large bodies, in bytes.
type bodies struct {
	most int64
	room *semaphore.Weighted
}

func newBodies(most int) bodies {
	return bodies{int64(most), semaphore.NewWeighted(int64(most))}
}

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

// takeRoom waits for room for n bytes, in the order of arrival. One that is larger than all
// the room has it to itself.
func (a *API) takeRoom(w http.ResponseWriter, r *http.Request, n int) error {
	ctx, cancel := context.WithTimeout(r.Context(), cmp.Or(a.opt.BodyWait, bodyWait))
	defer cancel()
	room := min(int64(n), a.bodies.most)
	if a.bodies.room.Acquire(ctx, room) != nil {
		return refuse(codeRateLimited, "bodies of %d bytes are being read at once, as many as may be; send fewer large ones at a time", a.bodies.most)
	}
	w.(*response).room += room
	return nil
}

// freeBody gives the room of a request's body back: what it asked for is durable, or never
// will be.
func (a *API) freeBody(w http.ResponseWriter) {
	out := w.(*response)
	if out.room > 0 {
		a.bodies.room.Release(out.room)
	}
	out.room = 0
}
