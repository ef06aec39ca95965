package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// sidecar is a stand-in for a running one: it remembers what it was asked and gives set answers.
type sidecar struct {
	addr string
	mu   struct {
		sync.Mutex
		calls []call
	}
}

// call is a request as it came over the wire.
type call struct {
	method, path, query, body string
	header                    http.Header
}

// answer is a set answer; kind defaults to JSON.
type answer struct {
	status int
	body   string
	header map[string]string
}

// newSidecarDouble answers the n-th call with the n-th answer, and any further call with the last.
func newSidecarDouble(t *testing.T, answers ...answer) *sidecar {
	t.Helper()
	s := &sidecar{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read request: %v", err)
		}
		s.mu.Lock()
		n := len(s.mu.calls)
		s.mu.calls = append(s.mu.calls, call{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, strings.TrimSpace(string(body)), r.Header})
		s.mu.Unlock()
		a := answers[min(n, len(answers)-1)]
		for name, value := range a.header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(a.status)
		io.WriteString(w, a.body)
	}))
	t.Cleanup(server.Close)
	s.addr = strings.TrimPrefix(server.URL, "http://")
	return s
}

func (s *sidecar) calls() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]call(nil), s.mu.calls...)
}

// stream is an answer of the event stream.
func stream(frames ...string) answer {
	return answer{status: 200, body: strings.Join(frames, "")}
}

// frame is one event with the given number and status.
func frame(seq, status string) string {
	kind := "intent." + strings.ToLower(status)
	return "id: " + seq + "\nevent: " + kind + "\ndata: " + eventJSON(seq, status) + "\n\n"
}

func eventJSON(seq, status string) string {
	return `{"intent_id":"I","seq":` + seq + `,"event_type":"intent.` + strings.ToLower(status) + `","status":"` + status +
		`","at":"2026-01-02T03:04:05Z","details":{"n":` + seq + `}}`
}

const idle = "event: stream.timeout\ndata: {\"ok\":true,\"next_seq\":1}\n\n"
