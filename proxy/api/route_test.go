package api_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pannier/journal"
	"pannier/proxy/api"
)

func TestDocHasTheRouteTable(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range regexp.MustCompile(`(?m)^//\t(GET|POST|DELETE)\s+(/\S+)\s`).FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, m[1]+" "+m[2])
	}
	slices.Sort(documented)
	if got := api.Routes(setup(t).api); !slices.Equal(documented, got) {
		t.Errorf("doc.go has\n%s\nthe API serves\n%s", strings.Join(documented, "\n"), strings.Join(got, "\n"))
	}
}

func TestHealthInAllSpellings(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, path := range []string{"/health", "/v1/health", "/healthz", "/readyz"} {
		a := w.get(path, "X-Trace-Id: tr-1", "Content-Type: application/json").want(200)
		if a.text("ok") != "true" || a.text("service") != "pannier" || a.text("status") != "ok" || a.text("version") != "v-test" {
			t.Errorf("%s: %s", path, a.raw)
		}
		if a.header.Get("X-Trace-Id") != "tr-1" || a.header.Get("X-Request-Id") == "" {
			t.Errorf("%s: trace or request id is missing: %v", path, a.header)
		}
	}
}

func TestUnknownRoutesAreProblems(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.intent("b")
	for _, c := range []struct {
		method, path string
		status       int
		code, allow  string
	}{
		{"GET", "/v1/letters", 404, "route_not_found", ""},
		{"POST", "/v1/routing/endpoints", 404, "route_not_found", ""},
		{"GET", "/v1/sessions", 404, "route_not_found", ""},
		{"GET", "/v1/agents/", 404, "route_not_found", ""},
		{"POST", "/v1/agents/acme/prod/billing", 405, "method_not_allowed", "GET"},
		{"GET", "/v1/agents/a/intents/streams", 405, "method_not_allowed", "POST"},
		{"GET", "/", 404, "route_not_found", ""},
		{"GET", "/v1//intents", 404, "route_not_found", ""},
		{"POST", "/v1/intents/../intents", 404, "route_not_found", ""},
		{"POST", "/v1/intents/", 404, "route_not_found", ""},
		{"DELETE", "/v1/intents", 405, "method_not_allowed", "GET, POST"},
		{"GET", "/v1/intents/" + id + "/ack", 405, "method_not_allowed", "POST"},
		{"POST", "/v1/intents/" + id + "/events/stream", 405, "method_not_allowed", "GET"},
		{"DELETE", "/v1/agents/a/b/intents", 405, "method_not_allowed", "GET"},
		{"GET", "/v1/agents/a/b/intents:settle", 405, "method_not_allowed", "POST"},
		{"GET", "/v1/intents/nonsense", 404, "intent_not_found", ""},
		{"GET", "/v1/intents/" + journal.NewID().String(), 404, "intent_not_found", ""},
		{"GET", "/v1/intents/" + journal.NewID().String() + "/why", 404, "intent_not_found", ""},
		{"GET", "/v1/intents/" + journal.NewID().String() + "/events", 404, "intent_not_found", ""},
		{"GET", "/v1/intents/" + journal.NewID().String() + "/events/stream", 404, "intent_not_found", ""},
		{"POST", "/v1/intents/" + journal.NewID().String() + "/resume", 404, "intent_not_found", ""},
	} {
		a := w.call(c.method, c.path, "").refused(c.status, c.code)
		if got := a.header.Get("Allow"); got != c.allow {
			t.Errorf("%s %s: Allow is %q, want %q", c.method, c.path, got, c.allow)
		}
	}
	for _, path := range []string{"/v1/intents/", "/v1/%69ntents/", "/%76%31/intents/"} {
		if a := w.call("HEAD", path+id+"/events/stream?wait_seconds=1", ""); a.status != 405 {
			t.Errorf("HEAD on a stream at %s: got %d, want 405", path, a.status)
		}
	}
}

func TestAddressesInPaths(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, c := range []struct{ path, agent string }{
		{"acme/prod/billing", "agent://acme/prod/billing"},
		{"agent://acme/prod/billing", "agent://acme/prod/billing"},
		{"agent%3A%2F%2Facme%2Fprod%2Fbilling", "agent://acme/prod/billing"},
		{"acme%2Fprod%2Fbilling", "agent://acme/prod/billing"},
		{"billing", "billing"},
		{"agent://billing", "billing"},
		{"initiator://x", "initiator://x"},
		{"a%2Fintents", "agent://a/intents"},
		{"a/intents/b", "agent://a/intents/b"},
	} {
		w.get("/v1/agents/" + c.path + "/intents").want(200)
		if got := w.mailbox.lastPull().Agent; got != c.agent {
			t.Errorf("poll of %s reads %s, want %s", c.path, got, c.agent)
		}
		id := w.post("/v1/agents/"+c.path+"/intents/a.v1", `{}`).want(200).text("intent_id")
		if got := w.get("/v1/intents/" + id).text("intent.to_agent"); got != c.agent {
			t.Errorf("short form to %s reached %s, want %s", c.path, got, c.agent)
		}
		w.post("/v1/agents/"+c.path+"/intents:settle", `{"items":[]}`).want(200)
	}
	w.post("/v1/agents/x/intents%3Asettle", `{"items":[]}`).want(200)
	for _, bad := range []string{"a//b", "a/../b", "a%2541", "a%20b", "%ff", "a/", strings.Repeat("x", 400)} {
		w.get("/v1/agents/"+bad+"/intents").refused(422, "invalid_agent_address")
	}
	w.post("/v1/agents/b/intents/Bad-Type", `{}`).refused(422, "schema_invalid")
}

func TestShortFormTakesAnyObjectAndNothingElse(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.post("/v1/agents/b/intents/a", `{"payload":3,"to_agent":"x","a":{}}`).want(200)
	w.post("/v1/agents/b/intents/a", ``).refused(400, "invalid_json")
	w.post("/v1/agents/b/intents/a", `[]`).refused(422, "schema_invalid")
	w.post("/v1/agents/b/intents/a", `{"a":1,"a":2}`).refused(400, "invalid_json")
	w.post("/v1/agents/b/intents/a", `{} {}`).refused(400, "invalid_json")
	w.post("/v1/agents/b/intents/a", strings.Repeat(`{"a":`, 65)+"1"+strings.Repeat("}", 65)).refused(400, "invalid_json")
}

func TestGuards(t *testing.T) {
	t.Parallel()
	w := setup(t, func(o *api.Options) { o.Hosts = []string{"Pannier.Local"} })
	own := strings.TrimPrefix(w.url, "http://")
	for _, c := range []struct {
		rule   string
		header []string
		status int
		code   string
	}{
		{"loopback name", []string{"Host: localhost:7400"}, 200, ""},
		{"loopback IPv6", []string{"Host: [::1]:7400"}, 200, ""},
		{"configured name", []string{"Host: pannier.local"}, 200, ""},
		{"foreign name", []string{"Host: evil.example"}, 403, "host_not_allowed"},
		{"name that only begins well", []string{"Host: localhost.evil.example"}, 403, "host_not_allowed"},
		{"own origin", []string{"Origin: http://" + own}, 200, ""},
		{"other origin", []string{"Origin: http://evil.example"}, 403, "cross_site_request"},
		{"other port", []string{"Origin: http://localhost:3000"}, 403, "cross_site_request"},
		{"opaque origin", []string{"Origin: null"}, 403, "cross_site_request"},
		{"fetched by another site", []string{"Sec-Fetch-Site: cross-site"}, 403, "cross_site_request"},
		{"typed by a person", []string{"Sec-Fetch-Site: none"}, 200, ""},
		{"owners differ", []string{"X-Owner-Agent: a"}, 400, "invalid_request"},
	} {
		a := w.get("/v1/agents/b/intents?owner_agent=b", append(c.header, "X-Trace-Id: t")...)
		if c.code == "" {
			a.want(200)
		} else {
			a.refused(c.status, c.code)
		}
		if a.header.Get("X-Trace-Id") != "t" {
			t.Errorf("%s: X-Trace-Id is not echoed", c.rule)
		}
	}
}

// TestWhoIsSaidOnce: of two words on who sends a request neither is believed.
func TestWhoIsSaidOnce(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, name := range []string{"Origin", "Sec-Fetch-Site", "X-Api-Key", "X-Owner-Agent"} {
		r, err := http.NewRequest("GET", w.url+"/v1/intents", nil)
		if err != nil {
			t.Fatal(err)
		}
		first := map[string]string{"Origin": w.url, "Sec-Fetch-Site": "none"}[name]
		r.Header[name] = []string{first, "other"}
		res, err := w.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		(&answer{t, res.StatusCode, res.Header, raw}).refused(400, "invalid_request")
	}
	w.get("/v1/intents?owner_agent=a&owner_agent=b").refused(400, "invalid_request")
}

func TestUnixSocketTakesAnyHost(t *testing.T) {
	t.Parallel()
	w := setup(t)
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: w.api.Handler()}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	dial := func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", l.Addr().String()) }
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	res, err := client.Get("http://app.example/health")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != 200 {
		t.Errorf("got %d, want 200", res.StatusCode)
	}
	_ = s.Close()
	<-served
}

func TestPanicIsAProblem(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.intent("b")
	a := api.New(api.Options{}, w.journal, w.mailbox, nil, slog.New(slog.NewTextHandler(t.Output(), nil)))
	s := httptest.NewServer(a.Handler())
	defer s.Close()
	w.url = s.URL
	w.get("/v1/intents/"+id+"/why").refused(500, "internal_error") // no dispatcher: a nil pointer
	w.get("/health").want(200)
}

func TestContentTypes(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.post("/v1/intents", good, "Content-Type: application/json; charset=utf-8").want(200)
	for _, ct := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/cloudevents+xml"} {
		a := w.post("/v1/intents", good, "Content-Type: "+ct).refused(415, "unsupported_media_type")
		if !strings.Contains(a.text("detail"), "Content-Type: application/json") {
			t.Errorf("%q: the answer does not name the header to add: %s", ct, a.raw)
		}
	}
	for _, h := range []string{"Content-Type: application/json; charset=utf-16", "Content-Encoding: gzip"} {
		a := w.post("/v1/intents", good, "Content-Type: application/json", h).refused(415, "unsupported_media_type")
		if word := strings.Fields(h)[len(strings.Fields(h))-1]; !strings.Contains(a.text("detail"), strings.TrimPrefix(word, "charset=")) {
			t.Errorf("%q: the answer does not name it: %s", h, a.raw)
		}
	}
	id := w.intent("b")
	w.post("/v1/intents/"+id+"/resume", "", "Content-Type: application/json").want(200)
}

func TestQueryParameters(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.intent("b")
	for _, c := range []struct {
		path   string
		status int
	}{
		{"/v1/intents?limit=10&limit=20", 400},
		{"/v1/intents?limit=%zz", 400},
		{"/v1/intents?limit=0", 422},
		{"/v1/intents?limit=201", 422},
		{"/v1/intents?limit=ten", 422},
		{"/v1/intents?limit=1e1", 422},
		{"/v1/intents?status=SLEEPING", 422},
		{"/v1/intents?cursor=x", 422},
		{"/v1/intents?to_agent=a//b", 422},
		{"/v1/intents?unknown=1", 200},
		{"/v1/intents/" + id + "/events?since=-1", 422},
		{"/v1/intents/" + id + "/events?since=1&since=1", 400},
		{"/v1/intents/" + id + "/events/stream?wait_seconds=61", 422},
		{"/v1/intents/" + id + "/events/stream?wait_seconds=0", 422},
		{"/v1/intents/" + id + "?wait_for=delivered", 422},
		{"/v1/intents/" + id + "?wait_for=terminal&wait_seconds=61", 422},
		{"/v1/agents/b/intents?limit=1001", 422},
		{"/v1/agents/b/intents?wait_seconds=61", 422},
		{"/v1/agents/b/intents?lease_seconds=3601", 422},
		{"/v1/agents/b/intents?lease_seconds=0", 422},
	} {
		if a := w.get(c.path); a.status != c.status {
			t.Errorf("%s: got %d, want %d: %s", c.path, a.status, c.status, a.raw)
		}
	}
}

func TestListPagesNewestFirst(t *testing.T) {
	t.Parallel()
	w := setup(t)
	var ids []string
	for range 40 {
		ids = append(ids, w.intent("b"))
	}
	other := w.intent("c")
	w.post("/v1/intents/"+ids[3]+"/resolve", `{"status":"CANCELED"}`).want(200)
	slices.Reverse(ids)
	var got []string
	path := "/v1/intents?to_agent=b&limit=18"
	for path != "" {
		a := w.get(path).want(200)
		for _, i := range a.list("intents") {
			got = append(got, walk(i, "intent_id").(string))
		}
		if path = a.text("next_cursor"); path != "" {
			path = "/v1/intents?to_agent=b&limit=18&cursor=" + path
		}
	}
	if !slices.Equal(got, ids) {
		t.Errorf("pages have %d intents, want %d, newest first, each once", len(got), len(ids))
	}
	for filter, want := range map[string]int{"status=CANCELED": 1, "status=CANCELLED": 1, "status=pending&limit=200": 40, "status=WAITING": 0, "to_agent=c": 1} {
		if n := len(w.get("/v1/intents?" + filter).want(200).list("intents")); n != want {
			t.Errorf("%s: got %d intents, want %d", filter, n, want)
		}
	}
	if a := w.get("/v1/intents"); len(a.list("intents")) != 41 || a.text("intents.0.intent_id") != other || a.text("intents.0.role") != "home" {
		t.Errorf("the list does not begin with the newest intent: %.300s", a.raw)
	}
}

// Intents are found by the trace of their creation: as the app called it in X-Trace-Id,
// or as its traceparent did. What is no text is echoed, and not kept.
func TestIntentsOfATrace(t *testing.T) {
	t.Parallel()
	w := setup(t)
	post := func(headers ...string) string {
		return w.post("/v1/intents", `{"intent_type":"a.v1","to_agent":"b","payload":{}}`, headers...).want(200).text("intent_id")
	}
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	const uuid = "0b9ad0f8-5bd5-4b3c-9a6b-1f1a1c9f3d11"
	first, second := post("X-Trace-Id: "+uuid, "Traceparent: "+trace), post("X-Trace-Id: "+uuid)
	post("X-Trace-Id: other")
	post("X-Trace-Id: caf\xe9")
	for id, want := range map[string][]string{uuid: {second, first}, trace[3:35]: {first}, "nothing": nil, "caf%E9": nil} {
		a := w.get("/v1/intents?trace_id=" + id).want(200)
		var got []string
		for _, i := range a.list("intents") {
			got = append(got, walk(i, "intent_id").(string))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", id, got, want)
		}
	}
	if got := w.get("/v1/intents/" + second).text("intent.client_trace_id"); got != uuid {
		t.Errorf("its trace is called %q", got)
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.intent("b")
	item := w.get("/v1/agents/b/intents").want(200)
	polled, streamed := make(chan *answer), make(chan *answer)
	go func() { polled <- w.get("/v1/agents/c/intents?wait_seconds=60") }()
	go func() { streamed <- w.get("/v1/intents/" + id + "/events/stream?wait_seconds=60") }()
	for open, _ := w.api.Active(); open < 2; open, _ = w.api.Active() {
		time.Sleep(time.Millisecond)
	}
	began := time.Now()
	w.api.Drain()
	w.api.Drain() // a second signal
	if a := (<-polled).want(200); len(a.list("intents")) != 0 {
		t.Errorf("a poll cut by the drain: %s", a.raw)
	}
	if a := (<-streamed).want(200); !strings.Contains(string(a.raw), "event: stream.timeout\n") {
		t.Errorf("a stream cut by the drain has no stream.timeout: %s", a.raw)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the drain left a poll or a stream open for %s", took)
	}
	for _, path := range []string{"/v1/intents", "/v1/intents:batch", "/v1/agents/b/intents/a"} {
		if a := w.post(path, good).refused(503, "draining"); a.header.Get("Retry-After") != "1" {
			t.Errorf("%s: Retry-After is %q, want 1", path, a.header.Get("Retry-After"))
		}
	}
	w.get("/readyz").refused(503, "draining")
	w.get("/healthz").want(200)
	w.post("/v1/intents/"+id+"/ack", `{"lease_id":"`+item.text("intents.0.lease_id")+`"}`).want(200)
	for open, last := w.api.Active(); open != 0 || time.Since(last) > time.Minute; open, last = w.api.Active() {
		time.Sleep(time.Millisecond)
	}
}

func TestFailedJournalIs503(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.intent("b")
	if err := w.journal.Close(); err != nil {
		t.Fatal(err)
	}
	for _, a := range []*answer{
		w.post("/v1/intents", good), w.get("/v1/intents/" + id), w.get("/v1/intents/" + id + "/events/stream"),
		w.post("/v1/intents/"+id+"/resolve", `{"status":"CANCELED"}`), w.get("/v1/agents/b/intents"),
	} {
		if a.refused(503, "draining"); a.header.Get("Retry-After") == "" {
			t.Errorf("no Retry-After: %s", a.raw)
		}
	}
}

func TestRegistryIsWellFormed(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	categories := []string{"validation", "auth", "policy", "transport", "timeout", "internal"}
	for _, e := range api.Codes() {
		if seen[e.Code] {
			t.Errorf("%s is there twice", e.Code)
		}
		seen[e.Code] = true
		if !regexp.MustCompile(`^[a-z0-9_:.\-]{3,128}$`).MatchString(e.Code) || !slices.Contains(categories, e.Category) {
			t.Errorf("%s: code or category %q is not AXP's", e.Code, e.Category)
		}
		for what, text := range map[string]string{"what it means": e.Means, "what to do": e.Remedy} {
			if !strings.HasSuffix(text, ".") || text[:1] != strings.ToUpper(text[:1]) {
				t.Errorf("%s: %s is no sentence: %q", e.Code, what, text)
			}
		}
		if e.Status < 400 || e.Title == "" || e.RetryAfter > 5 {
			t.Errorf("%s: status %d, title %q, Retry-After %d", e.Code, e.Status, e.Title, e.RetryAfter)
		}
		if needs := e.Status == 429 || e.Status == 503; needs != (e.RetryAfter > 0) {
			t.Errorf("%s: status %d with Retry-After %d", e.Code, e.Status, e.RetryAfter)
		}
	}
}

func TestJournalErrorsHaveTheirStatus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{journal.ErrNotFound, 404, "intent_not_found"},
		{&journal.EndedError{}, 409, "intent_ended"},
		{journal.ErrIllegal, 409, "invalid_transition"},
		{journal.ErrLeaseLost, 409, "lease_lost"},
		{journal.ErrKeyConflict, 409, "idempotency_conflict"},
		{journal.ErrTooLarge, 413, "payload_too_large"},
		{journal.ErrTooManyAgents, 429, "too_many_agents"},
		{journal.ErrFailed, 503, "journal_failed"},
		{journal.ErrClosed, 503, "draining"},
		{journal.ErrFault, 500, "sidecar_fault"},
	} {
		if status, code := api.ProblemOf(c.err); status != c.status || code != c.code {
			t.Errorf("%v: got %d %s, want %d %s", c.err, status, code, c.status, c.code)
		}
	}
}

// TestStalledBodyIsCutOff: a client that hangs in the middle of its body gets
// its connection closed, and holds nothing for ever.
func TestStalledBodyIsCutOff(t *testing.T) {
	t.Parallel()
	w := setup(t, func(o *api.Options) { o.BodyTime = 50 * time.Millisecond })
	c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "POST /v1/intents HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is still open long after the limit")
	}
}

// Chunks may hide that somebody on the way was told of another length: no request is
// read after them.
func TestChunkedRequestIsTheLast(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, chunked := range []bool{false, true} {
		body := io.Reader(strings.NewReader(`{"intent_type":"a.v1","to_agent":"b","payload":{}}`))
		if chunked {
			body = io.MultiReader(body) // of no known length
		}
		r, err := http.NewRequest("POST", w.url+"/v1/intents", body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		res, err := w.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != 200 || res.Close != chunked {
			t.Errorf("in chunks: %t; status %d, and the connection ends: %t", chunked, res.StatusCode, res.Close)
		}
	}
}

// What of AXP is somebody else's is refused in words, and whatever merely begins alike is
// a route like any other that is not there.
func TestOutOfScope(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for path, out := range map[string]bool{
		"/v1/principals": true, "/v1/principals/7": true, "/v1/aliases/resolve": true, "/v1/routing/endpoints": true,
		"/v1/transports/bindings": true, "/mcp": true, "/v1/principal": false, "/v2/routing": false, "/v1/nothing": false,
	} {
		a := w.post(path, `{}`).refused(404, "route_not_found")
		if strings.Contains(a.text("error.message"), "out of scope") != out {
			t.Errorf("%s is refused with %s", path, a.raw)
		}
	}
}
