package api

import (
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// doc is a JSON text being written: members in the order in which they are
// given, and raw values (payloads, results) byte for byte. Reflection would
// compact them.
type doc struct{ b []byte }

// docs keeps buffers up to keepDoc for the next response.
var docs = sync.Pool{New: func() any { return &doc{b: make([]byte, 0, 4<<10)} }}

const (
	keepDoc = 256 << 10
	// afterRaw is room for what usually follows a raw value: a large one is not copied once
	// more for its closing brace.
	afterRaw = 1 << 10
)

func newDoc() *doc { return docs.Get().(*doc) }

func (d *doc) free() {
	if cap(d.b) <= keepDoc {
		d.b = d.b[:0]
		docs.Put(d)
	}
}

// open and close write a brace or bracket.
func (d *doc) open(c byte) *doc  { d.b = append(d.b, c); return d }
func (d *doc) close(c byte) *doc { d.b = append(d.b, c); return d }

// item goes before each element of an array.
func (d *doc) item() *doc {
	if last := d.b[len(d.b)-1]; last != '[' && last != '{' {
		d.b = append(d.b, ',')
	}
	return d
}

// element writes a string in an array.
func (d *doc) element(value string) *doc {
	d.item()
	d.b, _ = jsontext.AppendQuote(d.b, value)
	return d
}

// key begins a member; its value must follow.
func (d *doc) key(name string) *doc {
	d.item()
	d.b, _ = jsontext.AppendQuote(d.b, name) // bad UTF-8 is replaced, which is all we can do here
	d.b = append(d.b, ':')
	return d
}

func (d *doc) str(name, value string) *doc {
	d.key(name)
	d.b, _ = jsontext.AppendQuote(d.b, value)
	return d
}

// opt is str for a value that is left out when it is empty.
func (d *doc) opt(name, value string) *doc {
	if value == "" {
		return d
	}
	return d.str(name, value)
}

func (d *doc) num(name string, v int64) *doc {
	d.key(name)
	d.b = strconv.AppendInt(d.b, v, 10)
	return d
}

func (d *doc) boolean(name string, v bool) *doc {
	d.key(name)
	d.b = strconv.AppendBool(d.b, v)
	return d
}

func (d *doc) null(name string) *doc { return d.raw(name, []byte("null")) }

// raw writes a value that is JSON already; empty stands for {}.
func (d *doc) raw(name string, v []byte) *doc {
	d.key(name)
	if len(v) == 0 {
		v = []byte("{}")
	}
	d.b = append(slices.Grow(d.b, len(v)+afterRaw), v...)
	return d
}

// time writes RFC 3339 in UTC with milliseconds: all the journal keeps.
func (d *doc) time(name string, t time.Time) *doc {
	d.key(name)
	d.b = append(d.b, '"')
	d.b = t.UTC().AppendFormat(d.b, "2006-01-02T15:04:05.000Z07:00")
	d.b = append(d.b, '"')
	return d
}

// ms writes a time of a record, and nothing for zero.
func (d *doc) ms(name string, v int64) *doc {
	if v == 0 {
		return d
	}
	return d.time(name, time.UnixMilli(v))
}

// writeJSON is the one place where a response with a body of JSON begins.
func writeJSON(w http.ResponseWriter, status int, contentType string, d *doc) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(d.b)))
	w.WriteHeader(status)
	_, _ = w.Write(d.b) // the app has gone: it asks again, and nothing here depends on it
}

// answer writes a 200.
func answer(w http.ResponseWriter, d *doc) error {
	writeJSON(w, http.StatusOK, "application/json", d)
	return nil
}
