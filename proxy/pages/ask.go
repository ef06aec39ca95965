package pages

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

// reply is the answer of one of this process's own routes.
type reply struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (r *reply) Header() http.Header         { return r.header }
func (r *reply) Write(b []byte) (int, error) { return r.body.Write(b) }
func (r *reply) WriteHeader(status int)      { r.status = status }

// refused is an answer that is no success, as an error.
type refused struct {
	Status  int
	Detail  string `json:"detail"`
	Problem struct {
		Code string `json:"code"`
	} `json:"error"`
	Faults []refusedFault `json:"errors"`
}

type refusedFault struct {
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

func (r *refused) Error() string {
	if r.Detail == "" {
		return "the sidecar answered " + strconv.Itoa(r.Status)
	}
	return r.Detail
}

// request is one to a route of this process.
type request struct {
	method, path string
	query        url.Values
	key          string // Idempotency-Key; empty: none
	remote       string // where the visitor asks from; empty: nobody wants to know
	body         any    // nil: none
	into         any    // what the answer is read into
}

// ask asks h, which is no listener but the routes behind one. A *refused is what they
// say to anybody.
func ask(ctx context.Context, h http.Handler, q request) (http.Header, error) {
	var body []byte
	if q.body != nil {
		var err error
		if body, err = json.Marshal(q.body); err != nil {
			return nil, fmt.Errorf("write the request: %w", err)
		}
	}
	target := "http://localhost" + q.path
	if len(q.query) > 0 {
		target += "?" + q.query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, q.method, target, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask for %s: %w", q.path, err)
	}
	if q.body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if q.key != "" {
		r.Header.Set("Idempotency-Key", q.key)
	}
	r.RemoteAddr = q.remote
	got := &reply{status: http.StatusOK, header: http.Header{}}
	h.ServeHTTP(got, r)
	if got.status/100 != 2 {
		why := &refused{}
		_ = json.Unmarshal(got.body.Bytes(), why) // one that is no problem document says its status
		why.Status = got.status
		return nil, why
	}
	if q.into == nil {
		return got.header, nil
	}
	if err := json.Unmarshal(got.body.Bytes(), q.into); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", q.path, err)
	}
	return got.header, nil
}

func intentPath(id, rest string) string { return "/v1/intents/" + url.PathEscape(id) + rest }
