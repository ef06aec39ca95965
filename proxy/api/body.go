package api

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth is how deep a body may nest.
const maxDepth = 64

// bodyTime is Options.BodyTime where nothing else is said.
const bodyTime = 30 * time.Second

// readBody reads the body whole, up to limit, and checks that it is announced
// as JSON. A request without a body gives nil: GET and body-less POST come
// with any Content-Type.
func (a *API) readBody(w http.ResponseWriter, r *http.Request, limit int) ([]byte, error) {
	raw, err := a.readRaw(w, r, limit)
	if err != nil || raw == nil {
		return nil, err
	}
	return raw, checkContentType(r.Header)
}

// readRaw is readBody for a body that may be something else than JSON.
func (a *API) readRaw(w http.ResponseWriter, r *http.Request, limit int) ([]byte, error) {
	if r.ContentLength > int64(limit) {
		w.Header().Set("Connection", "close")
		return nil, tooLarge("the body", int64(limit))
	}
	control := http.NewResponseController(w)
	timed := control.SetReadDeadline(time.Now().Add(cmp.Or(a.opt.BodyTime, bodyTime))) == nil
	raw, err := a.read(w, r, limit)
	if err != nil {
		// net/http reads the rest of the announced body before it answers: the
		// deadline stays, so that a client which hangs in it is cut off.
		w.Header().Set("Connection", "close")
	} else if timed {
		// Or the deadline would later be taken for the client's going away.
		if err := control.SetReadDeadline(time.Time{}); err != nil {
			return nil, fmt.Errorf("clear the read deadline: %w", err)
		}
	}
	var tooBig *http.MaxBytesError
	var busy *problem
	switch {
	case errors.As(err, &tooBig), errors.As(err, &busy):
		return nil, err
	case err != nil:
		return nil, refuse(codeInvalidRequest, "the body broke off after %d bytes", len(raw))
	case len(raw) == 0:
		return nil, nil
	}
	return raw, checkCoding(r.Header)
}

func checkCoding(h http.Header) error {
	if coding := strings.Join(h.Values("Content-Encoding"), ", "); coding != "" && coding != "identity" {
		return refuse(codeUnsupportedMedia, "the Content-Encoding %s is not taken; send the body as it is", clip(coding, 64))
	}
	return nil
}

// checkContentType refuses what is not announced as plain JSON, which is UTF-8
// (RFC 8259, 8.1).
func checkContentType(h http.Header) error {
	header := strings.Join(h.Values("Content-Type"), ", ")
	media, params, err := mime.ParseMediaType(header)
	charset := strings.ToLower(params["charset"])
	switch {
	case err == nil && media == "application/json" && charset != "" && charset != "utf-8" && charset != "us-ascii":
		return refuse(codeUnsupportedMedia, "the charset %s is not taken; JSON is UTF-8", clip(charset, 64))
	case err == nil && media == "application/json":
		return nil
	case err == nil && strings.HasPrefix(media, "application/cloudevents"):
		return refuse(codeUnsupportedMedia, "a CloudEvent is sent to POST /v1/intents; here send the header Content-Type: application/json")
	case header == "":
		return refuse(codeUnsupportedMedia, "the body has no Content-Type; add the header Content-Type: application/json")
	}
	return refuse(codeUnsupportedMedia, "the Content-Type %s is not taken; send the header Content-Type: application/json", clip(header, 64))
}

// parseBody reads a body that must be one JSON object.
func parseBody(raw []byte, faults *[]fault) (*object, error) {
	if len(raw) == 0 {
		return nil, refuse(codeInvalidJSON, "the body is empty; it must be a JSON object")
	}
	if at := tooDeep(raw); at >= 0 {
		return nil, refuse(codeInvalidJSON, "the body nests deeper than %d levels at byte %d", maxDepth, at)
	}
	return parseObject(raw, "", faults)
}

// parsePayload checks a body that is a payload: a JSON object of any members.
func parsePayload(raw []byte) (jsontext.Value, error) {
	return parseValue(raw, '{', "object, {} at least")
}

// Payload says what is wrong with bytes that are to be a payload; nil: nothing.
func Payload(raw []byte) error {
	_, err := parsePayload(raw)
	return err
}

// parseList checks a body that is a JSON array.
func parseList(raw []byte) (jsontext.Value, error) { return parseValue(raw, '[', "array") }

// parseValue checks a body that is one JSON value of a kind.
func parseValue(raw []byte, kind jsontext.Kind, what string) (jsontext.Value, error) {
	if len(raw) == 0 {
		return nil, refuse(codeInvalidJSON, "the body is empty; it must be a JSON %s", what)
	}
	if at := tooDeep(raw); at >= 0 {
		return nil, refuse(codeInvalidJSON, "the body nests deeper than %d levels at byte %d", maxDepth, at)
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw))
	value, err := dec.ReadValue()
	if err != nil {
		return nil, notJSON(err, "", len(raw))
	}
	end := int(dec.InputOffset())
	value = raw[end-len(value) : end : end]
	if _, err := dec.ReadToken(); err != io.EOF {
		return nil, refuse(codeInvalidJSON, "the body goes on after its %s, at byte %d", strings.Split(what, ",")[0], dec.InputOffset())
	}
	if value.Kind() != kind {
		return nil, refuse(codeSchemaInvalid, "the body must be a JSON %s", strings.Split(what, ",")[0])
	}
	return value, nil
}

// tooDeep returns the offset of the first bracket that opens a level beyond
// maxDepth, or -1. It is exact for valid JSON; for other text it does not
// matter, because the decoder refuses that.
func tooDeep(raw []byte) int {
	depth, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return i
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return -1
}

func notJSON(err error, at string, size int) *problem {
	p := refuse(codeInvalidJSON, "the body is not valid JSON")
	var syntax *jsontext.SyntacticError
	switch {
	case errors.As(err, &syntax):
		where := at + string(syntax.JSONPointer)
		why := strings.TrimPrefix(syntax.Err.Error(), "jsontext: ")
		if errors.Is(err, io.ErrUnexpectedEOF) {
			why = "it ends too early"
		}
		p.detail = fmt.Sprintf("the body is not valid JSON at byte %d, in %s: %s", syntax.ByteOffset, pointerOr(where, "the whole"), why)
		p.faults = []fault{{Pointer: where, Detail: why}} // "" points to the whole
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		p.detail = fmt.Sprintf("the body is not valid JSON: it ends too early, after %d bytes", size)
	}
	return p
}

func pointerOr(pointer, instead string) string {
	if pointer == "" {
		return instead
	}
	return pointer
}
