package api

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

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
	raw, err := readAll(http.MaxBytesReader(w, r.Body, int64(limit)), r.ContentLength)
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
	switch {
	case errors.As(err, &tooBig):
		return nil, err
	case err != nil:
		return nil, refuse(codeInvalidRequest, "the body broke off after %d bytes", len(raw))
	case len(raw) == 0:
		return nil, nil
	}
	return raw, checkCoding(r.Header)
}

func readAll(r io.Reader, length int64) ([]byte, error) {
	buf := bytes.NewBuffer(make([]byte, 0, max(length, 0)+bytes.MinRead))
	_, err := buf.ReadFrom(r)
	return buf.Bytes(), err
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

// object is a JSON object as it was received: its members in order, each value
// the bytes of the request. Taking a member checks its type; what is wrong is
// added to faults, so that one answer names all of it.
type object struct {
	raw     jsontext.Value // the whole of it
	at      string         // JSON pointer to the object
	members []member
	faults  *[]fault
}

type member struct {
	name  string
	value jsontext.Value
	taken bool
}

// parseObject splits an object. Duplicate names, bad UTF-8 and everything else
// that is not JSON is refused here, at any depth.
func parseObject(raw []byte, at string, faults *[]fault) (*object, error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw))
	if kind := dec.PeekKind(); kind != '{' && kind != 0 {
		return nil, refuse(codeSchemaInvalid, "%s must be a JSON object", pointerOr(at, "the body"))
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, notJSON(err, at, len(raw))
	}
	o := &object{raw: bytes.TrimSpace(raw), at: at, faults: faults}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, notJSON(err, at, len(raw))
		}
		m := member{name: name.String()}
		value, err := dec.ReadValue()
		if err != nil {
			return nil, notJSON(err, at, len(raw))
		}
		// The decoder's value lives until its next call; the request's bytes stay.
		end := int(dec.InputOffset())
		m.value = raw[end-len(value) : end : end]
		if len(o.members) == maxMembers {
			return nil, refuse(codeSchemaInvalid, "%s has more than %d members", pointerOr(at, "the body"), maxMembers)
		}
		o.members = append(o.members, m)
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, notJSON(err, at, len(raw))
	}
	if _, err := dec.ReadToken(); err != io.EOF {
		return nil, refuse(codeInvalidJSON, "the body goes on after its object, at byte %d", dec.InputOffset())
	}
	return o, nil
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

func (o *object) pointer(name string) string {
	return o.at + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

func (o *object) fault(name string, c code, format string, args ...any) {
	*o.faults = append(*o.faults, fault{o.pointer(name), fmt.Sprintf(format, args...), c})
}

// has reports whether there is such a member.
func (o *object) has(name string) bool {
	for i := range o.members {
		if o.members[i].name == name {
			return true
		}
	}
	return false
}

// take returns a member's value; null counts as absent.
func (o *object) take(name string) (jsontext.Value, bool) {
	for i := range o.members {
		if m := &o.members[i]; m.name == name {
			m.taken = true
			return m.value, m.value.Kind() != 'n'
		}
	}
	return nil, false
}

// rest returns the members nobody has taken.
func (o *object) rest() []member {
	var rest []member
	for _, m := range o.members {
		if !m.taken {
			rest = append(rest, m)
		}
	}
	return rest
}

// text takes a string of 1 to most bytes; "" where it is absent or wrong.
func (o *object) text(name string, most int) string {
	raw, ok := o.take(name)
	if !ok {
		return ""
	}
	s, why := readText(raw, most)
	if why != "" {
		o.fault(name, codeSchemaInvalid, "%s", why)
	}
	return s
}

// label is text that goes into headers, logs and terminals: without control
// characters.
func (o *object) label(name string, most int) string {
	s := o.text(name, most)
	if why := labelFault(s); why != "" {
		o.fault(name, codeSchemaInvalid, "%s", why)
	}
	return s
}

func labelFault(s string) string {
	if strings.ContainsFunc(s, unicode.IsControl) {
		return "has a control character"
	}
	return ""
}

// required is text for a member that must be there.
func (o *object) required(name string, most int) string {
	if _, ok := o.take(name); !ok {
		o.fault(name, codeSchemaInvalid, "is required")
		return ""
	}
	return o.text(name, most)
}

// integer takes a whole number in [least, most].
func (o *object) integer(name string, least, most int64) (int64, bool) {
	raw, ok := o.take(name)
	if !ok {
		return 0, false
	}
	n, why := readInteger(raw, least, most)
	if why != "" {
		o.fault(name, codeSchemaInvalid, "%s", why)
	}
	return n, why == ""
}

// boolean takes true or false.
func (o *object) boolean(name string) (value, given bool) {
	raw, ok := o.take(name)
	if !ok {
		return false, false
	}
	if k := raw.Kind(); k != 't' && k != 'f' {
		o.fault(name, codeSchemaInvalid, "must be true or false")
		return false, false
	}
	return raw.Kind() == 't', true
}

// object takes a JSON object as raw bytes; nil where it is absent or wrong.
func (o *object) object(name string) jsontext.Value {
	raw, ok := o.take(name)
	if !ok {
		return nil
	}
	if raw.Kind() != '{' {
		o.fault(name, codeSchemaInvalid, "must be a JSON object")
		return nil
	}
	return raw
}

func readText(raw jsontext.Value, most int) (text, why string) {
	if raw.Kind() != '"' {
		return "", "must be a string"
	}
	b, err := jsontext.AppendUnquote(nil, raw)
	switch {
	case err != nil:
		return "", "is not a valid string"
	case len(b) == 0:
		return "", "must not be empty"
	case len(b) > most:
		return "", fmt.Sprintf("has %d bytes; the limit is %d", len(b), most)
	}
	return string(b), ""
}

func readInteger(raw jsontext.Value, least, most int64) (n int64, why string) {
	if raw.Kind() != '0' {
		return 0, "must be a whole number"
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return 0, "must be a whole number"
	}
	if n < least || n > most {
		return 0, fmt.Sprintf("must be from %d to %d, not %d", least, most, n)
	}
	return n, ""
}
