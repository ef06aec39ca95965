package apitest_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"pannier/proxy/api/apitest"
)

const (
	id      = "0193f0c0-0000-7000-8000-000000000002"
	body    = `{"intent_type":"a.v1","to_agent":"b","payload":{"n":null}}`
	created = `{"ok":true,"intent_id":"` + id + `","status":"SUBMITTED","created_at":"2026-11-23T18:00:00.000Z"}`
	problem = `{"ok":false,"type":"urn:pannier:error:draining","title":"Draining","status":503,"detail":"stopping","instance":"urn:uuid:` + id + `",` +
		`"error":{"code":"draining","message":"stopping","category":"internal","retryable":true,"at":"2026-11-23T18:00:00.000Z","details":{}}}`
	timeout = "event: stream.timeout\ndata: {\"ok\":true,\"next_seq\":3}\n\n"
	events  = "/v1/intents/" + id + "/events/stream"
)

// said is an exchange, and how it is made wrong.
type said struct {
	method, path, sent string
	status             int
	media, body        string
	with, without      string // a header more, "Name: value"; one less
}

func (s said) exchange(t *testing.T) *apitest.Exchange {
	t.Helper()
	r, err := http.NewRequest(s.method, "http://localhost"+s.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Trace-Id", "t")
	h := http.Header{}
	h.Set("Content-Type", s.media)
	h.Set("X-Request-Id", id)
	h.Set("X-Trace-Id", "t")
	h.Set("Retry-After", "1")
	h.Set("Cache-Control", "no-transform")
	h.Set("X-Accel-Buffering", "no")
	if name, value, ok := strings.Cut(s.with, ": "); ok {
		h.Set(name, value)
	}
	h.Del(s.without)
	return &apitest.Exchange{Request: r, Sent: []byte(s.sent), Status: s.status, Header: h, Body: []byte(s.body)}
}

const (
	asJSON    = "application/json"
	asProblem = "application/problem+json"
	asStream  = "text/event-stream"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	d, err := apitest.Load()
	if err != nil {
		t.Fatal(err)
	}
	for rule, c := range map[string]struct {
		said
		finds string // "": nothing
	}{
		"as described":            {said{"POST", "/v1/intents", body, 200, asJSON, created, "", ""}, ""},
		"null is absent":          {said{"POST", "/v1/intents", strings.Replace(body, `{`, `{"reply_to":null,`, 1), 200, asJSON, created, "", ""}, ""},
		"a refusal":               {said{"POST", "/v1/intents", body, 503, asProblem, problem, "", ""}, ""},
		"a wrong request refused": {said{"POST", "/v1/intents", "x", 503, asProblem, problem, "", ""}, ""},
		"a stream":                {said{"GET", events, "", 200, asStream, ": ok\n\n" + timeout, "", ""}, ""},
		"a stream cut off":        {said{"GET", events, "", 200, asStream, timeout + "event: x", "", ""}, ""},
		"an agent of segments":    {said{"POST", "/v1/agents/a/b/c/intents/t", "{}", 200, asJSON, created, "", ""}, ""},

		"a wrong request taken":      {said{"POST", "/v1/intents", `{"to_agent":"b"}`, 200, asJSON, created, "", ""}, "not as described"},
		"a wrong parameter taken":    {said{"GET", "/v1/intents?limit=0", "", 200, asJSON, `{"ok":true,"intents":[],"next_cursor":null}`, "", ""}, "limit"},
		"a missing body taken":       {said{"POST", "/v1/agents/b/intents/t", "", 200, asJSON, created, "", ""}, "no body"},
		"a member more":              {said{"POST", "/v1/intents", body, 200, asJSON, strings.Replace(created, "{", `{"a":1,`, 1), "", ""}, "'a' not allowed"},
		"a member less":              {said{"POST", "/v1/intents", body, 200, asJSON, strings.Replace(created, "status", "stat", 1), "", ""}, "status"},
		"a wrong value":              {said{"POST", "/v1/intents", body, 200, asJSON, strings.Replace(created, "SUBMITTED", "SENT", 1), "", ""}, "SUBMITTED"},
		"a status of another route":  {said{"GET", "/health", "", 409, asProblem, problem, "", ""}, "409 is not described"},
		"a route nobody described":   {said{"GET", "/v1/nothing", "", 200, asJSON, `{}`, "", ""}, "no such route"},
		"not JSON by its type":       {said{"POST", "/v1/intents", body, 200, "text/plain", created, "", ""}, "Content-Type"},
		"an array":                   {said{"GET", "/openapi.json", "", 200, asJSON, `[]`, "", ""}, "object"},
		"a refusal in plain text":    {said{"POST", "/v1/intents", body, 503, "text/plain", "no", "", ""}, "problem document"},
		"no request id":              {said{"POST", "/v1/intents", body, 200, asJSON, created, "", "X-Request-Id"}, "X-Request-Id"},
		"no trace id":                {said{"POST", "/v1/intents", body, 200, asJSON, created, "", "X-Trace-Id"}, "X-Trace-Id"},
		"another trace id":           {said{"POST", "/v1/intents", body, 200, asJSON, created, "X-Trace-Id: u", ""}, "X-Trace-Id"},
		"no word when to come again": {said{"POST", "/v1/intents", body, 503, asProblem, problem, "", "Retry-After"}, "Retry-After"},
		"a wrong header":             {said{"POST", "/v1/intents", body, 200, asJSON, created, "Pannier-Durability: both", ""}, "Pannier-Durability"},
		"a code not registered":      {said{"POST", "/v1/intents", body, 503, asProblem, strings.ReplaceAll(problem, "draining", "drowning"), "", ""}, "code"},
		"another code's status":      {said{"POST", "/v1/intents", body, 503, asProblem, strings.ReplaceAll(problem, "draining", "internal_error"), "", ""}, "in the registry 500"},
		"not retryable":              {said{"POST", "/v1/intents", body, 503, asProblem, strings.Replace(problem, `"retryable":true`, `"retryable":false`, 1), "", ""}, "retryable"},
		"an unknown kind of frame":   {said{"GET", "/v1/agents/b/intents/stream", "", 200, asStream, "event: intent.new\ndata: {}\n\n", "", ""}, "no kind"},
		"a frame of wrong data":      {said{"GET", events, "", 200, asStream, strings.Replace(timeout, "3", "0", 1), "", ""}, "next_seq"},
		"a frame on three lines":     {said{"GET", events, "", 200, asStream, strings.Replace(timeout, ",", ",\n", 1), "", ""}, "one line"},
		"a stream that is buffered":  {said{"GET", events, "", 200, asStream, timeout, "", "X-Accel-Buffering"}, "X-Accel-Buffering"},
	} {
		err := d.Check(c.exchange(t))
		switch {
		case c.finds == "" && err != nil:
			t.Errorf("%s: %v", rule, err)
		case c.finds != "" && (err == nil || !strings.Contains(err.Error(), c.finds)):
			t.Errorf("%s: found %v, want %q", rule, err, c.finds)
		}
	}
}

// TestCheckAgainstAXP: what openapi.yaml would let pass, AXP's schemas do not.
func TestCheckAgainstAXP(t *testing.T) {
	t.Parallel()
	apitest.NeedAXP(t)
	d, err := apitest.Load()
	if err != nil {
		t.Fatal(err)
	}
	event := `{"intent_id":"` + id + `","seq":%,"event_type":"intent.timed_out","status":"TIMED_OUT","at":"2026-11-23T18:00:00.000Z","actor":"x","handler":null,"waiting_reason":null,"details":{}}`
	log := `{"ok":true,"events":[` + event + `]}`
	wrong := strings.NewReplacer("draining", "schema_invalid", "Draining", "Missing or wrong fields", "503", "422", `"internal"`, `"validation"`, "true", "false")
	for rule, c := range map[string]struct {
		said
		finds bool
	}{
		"an event":                  {said{"GET", "/v1/intents/" + id + "/events", "", 200, asJSON, strings.Replace(log, "%", "1", 1), "", ""}, false},
		"an event without a number": {said{"GET", "/v1/intents/" + id + "/events", "", 200, asJSON, strings.Replace(log, "%", "0", 1), "", ""}, true},
		"a frame without a number":  {said{"GET", events, "", 200, asStream, "event: intent.timed_out\ndata: " + strings.Replace(event, "%", "0", 1) + "\n\n", "", ""}, true},
		"what AXP does not allow":   {said{"POST", "/v1/intents", body, 422, asProblem, wrong.Replace(problem), "", ""}, false},
		"what AXP allows":           {said{"POST", "/v1/intents", strings.NewReplacer("a.v1", "a.b.v1", "{\"i", `{"correlation_id":"`+id+`","i`, `"b"`, `"bob"`).Replace(body), 422, asProblem, wrong.Replace(problem), "", ""}, true},
	} {
		err := d.Check(c.exchange(t))
		if found := err != nil && strings.Contains(err.Error(), "AXP"); found != c.finds || !found && err != nil {
			t.Errorf("%s: found %v, want something of AXP: %v", rule, err, c.finds)
		}
	}
}

// listener is a test that remembers how it was failed.
type listener struct {
	testing.TB
	cleanup func()
	said    []any
}

func (l *listener) Helper()           {}
func (l *listener) Cleanup(f func())  { l.cleanup = f }
func (l *listener) Error(args ...any) { l.said = append(l.said, args...) }

type answers func(*http.Request) (*http.Response, error)

func (f answers) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestWatchFailsTheTest: what a test did not look at is found at its end, and
// the request reaches the other side as it was.
func TestWatchFailsTheTest(t *testing.T) {
	t.Parallel()
	for answer, finds := range map[string]bool{created: false, `{"ok":true}`: true} {
		l := &listener{TB: t}
		var got []byte
		client := &http.Client{Transport: apitest.Watch(l, answers(func(r *http.Request) (*http.Response, error) {
			var err error
			if got, err = io.ReadAll(r.Body); err != nil {
				return nil, err
			}
			x := said{"POST", "/v1/intents", "", 200, asJSON, answer, "", "X-Trace-Id"}.exchange(t)
			return &http.Response{StatusCode: 200, Header: x.Header, Body: io.NopCloser(bytes.NewReader(x.Body)), Request: r}, nil
		}))}
		res, err := client.Post("http://localhost/v1/intents", asJSON, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		l.cleanup()
		if string(got) != body {
			t.Errorf("the request's body arrived as %q", got)
		}
		if (len(l.said) > 0) != finds {
			t.Errorf("answered %s: the test was failed with %v", answer, l.said)
		}
	}
}
