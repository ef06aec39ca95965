package api_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
	"pannier/journal/wire/peer"
	"pannier/proxy/api"
)

func (w *world) resolve(id, body string) *answer {
	w.t.Helper()
	return w.post("/v1/intents/"+id+"/resolve", body)
}

func TestEventsHaveAXPsShape(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.intent("b")
	a := w.get("/v1/intents/" + id + "/events?since=0").want(200)
	if n := len(a.list("events")); n != 2 {
		t.Fatalf("got %d events right after create, want 2: %s", n, a.raw)
	}
	for i, want := range []string{"intent.created CREATED", "intent.submitted SUBMITTED"} {
		at := fmt.Sprintf("events.%d.", i)
		if got := a.text(at+"event_type") + " " + a.text(at+"status"); got != want || a.text(at+"seq") != fmt.Sprint(i+1) {
			t.Errorf("event %d is %s with seq %s, want %s", i+1, got, a.text(at+"seq"), want)
		}
		ev := a.list("events")[i].(map[string]any)
		for _, key := range []string{"handler", "waiting_reason"} {
			if v, ok := ev[key]; !ok || v != nil {
				t.Errorf("event %d: %s is %v, want null", i+1, key, v)
			}
		}
		if _, ok := ev["details"].(map[string]any); !ok || ev["actor"] == "" || ev["intent_id"] != id {
			t.Errorf("event %d: details, actor or intent_id is wrong: %v", i+1, ev)
		}
	}
	for since, want := range map[string]int{"?since=1": 1, "?since=2": 0, "?since=99": 0, "": 2} {
		if n := len(w.get("/v1/intents/" + id + "/events" + since).want(200).list("events")); n != want {
			t.Errorf("%s: got %d events, want %d", since, n, want)
		}
	}
}

// A delay that begins with an event has there the code and the time that why gives.
func TestEventsSayWhatWhySays(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, row := range []struct {
		event int
		begin func() (id string)
	}{
		{1, func() string {
			return w.post("/v1/intents", `{"intent_type":"a.v1","to_agent":"b","payload":{},"delivery":{"delay_seconds":600}}`).want(200).text("intent_id")
		}},
		{3, func() string {
			id := w.intent("b")
			lease := w.get("/v1/agents/b/intents").want(200).text("intents.0.lease_id")
			w.post("/v1/intents/"+id+"/nack", `{"lease_id":"`+lease+`","delay_seconds":600}`).want(200)
			return id
		}},
	} {
		id := row.begin()
		said, why := w.get("/v1/intents/"+id+"/events").want(200), w.get("/v1/intents/"+id+"/why").want(200)
		at := fmt.Sprintf("events.%d.details.", row.event)
		if code := said.text(at + "delay"); code == "" || code != why.text("causes.0.code") || said.text(at+"next_try_at") != why.text("next_try_at") {
			t.Errorf("the event says %q until %s, and why %s", code, said.text(at+"next_try_at"), why.raw)
		}
	}
	if a := w.get("/v1/intents/" + w.intent("b") + "/events").want(200); a.text("events.1.details.delay") != "" {
		t.Errorf("of one that is due at once: %s", a.raw)
	}
}

func TestTerminalDetailsCarryTheOutcome(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, c := range []struct{ body, event, detail, value string }{
		{`{"status":"COMPLETED","result":{"a": [1.0]}}`, "intent.completed", "result", `{"a": [1.0]}`},
		{`{"status":"COMPLETED"}`, "intent.completed", "result", `{}`},
		{`{"status":"FAILED","error":{"code":"x"}}`, "intent.failed", "error", `{"code":"x"}`},
		{`{"status":"FAILED"}`, "intent.failed", "error", `{}`},
		{`{"status":"CANCELED","reason":"not wanted"}`, "intent.canceled", "reason", `"not wanted"`},
		{`{"status":"CANCELLED"}`, "intent.canceled", "reason", `"canceled"`},
	} {
		id := w.intent("b")
		w.resolve(id, c.body).want(200)
		events := w.get("/v1/intents/" + id + "/events").want(200)
		last := fmt.Sprintf("events.%d.", len(events.list("events"))-1)
		want := `"` + c.detail + `":` + c.value
		if events.text(last+"event_type") != c.event || !strings.Contains(string(events.raw), want) {
			t.Errorf("%s: the last event is not %s with %s: %s", c.body, c.event, want, events.raw)
		}
		if i := w.get("/v1/intents/" + id); !strings.Contains(string(i.raw), want) {
			t.Errorf("%s: the intent does not show %s: %s", c.body, want, i.raw)
		}
	}
}

// stream is an event stream read live.
type stream struct {
	t    *testing.T
	res  *http.Response
	scan *bufio.Scanner
}

func (w *world) stream(path string, headers ...string) *stream {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), "GET", w.url+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	res, err := w.client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = res.Body.Close() })
	if ct := res.Header.Get("Content-Type"); res.StatusCode != 200 || ct != "text/event-stream" {
		w.t.Fatalf("stream answered %d %s", res.StatusCode, ct)
	}
	return &stream{w.t, res, bufio.NewScanner(res.Body)}
}

// next returns the next frame's event name and id, or "end".
func (s *stream) next() (name, id string) {
	s.t.Helper()
	var lines []string
	for s.scan.Scan() {
		switch line := s.scan.Text(); {
		case line == "" && len(lines) > 0:
			return s.frame(lines)
		case line == "" || strings.HasPrefix(line, ":"):
		default:
			lines = append(lines, line)
		}
	}
	if len(lines) > 0 {
		s.t.Errorf("the last frame is not ended by a blank line: %q", lines)
	}
	return "end", ""
}

func (s *stream) frame(lines []string) (name, id string) {
	s.t.Helper()
	if len(lines) == 3 {
		var ok bool
		if id, ok = strings.CutPrefix(lines[0], "id: "); !ok {
			s.t.Errorf("a frame begins with %q", lines[0])
		}
		lines = lines[1:]
	}
	name, ok := strings.CutPrefix(lines[0], "event: ")
	data, ok2 := strings.CutPrefix(lines[1], "data: ")
	if len(lines) != 2 || !ok || !ok2 {
		s.t.Fatalf("not a frame: %q", lines)
	}
	m := decode(s.t, []byte(data))
	if id != "" && (fmt.Sprint(m["seq"]) != id || m["event_type"] != name) {
		s.t.Errorf("id, event and data differ: %s %s %v", id, name, m)
	}
	if name == "stream.timeout" {
		id = fmt.Sprint(m["next_seq"])
	}
	return name, id
}

func (s *stream) wants(frames ...string) {
	s.t.Helper()
	for _, want := range frames {
		name, id := s.next()
		if got := strings.TrimSpace(name + " " + id); got != want {
			s.t.Fatalf("got frame %q, want %q", got, want)
		}
	}
}

func TestStreamOfALineByLineReader(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.intent("b")
	s := w.stream("/v1/intents/"+id+"/events/stream?since=0&wait_seconds=30", "X-Axme-Client: axme-sdk-python/0.2.0")
	s.wants("intent.created 1", "intent.submitted 2")
	w.get("/v1/agents/b/intents").want(200) // each event comes as it is written
	s.wants("intent.delivered 3")
	w.resolve(id, "{\"status\":\"COMPLETED\",\"result\":{\n\t\"a\":\r\n1}}").want(200) // white space of a result stays on the line
	s.wants("intent.in_progress 4", "intent.completed 5", "end")
}

func TestStreamOfAReaderThatSeesOnlyTheWhole(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.intent("b")
	began := time.Now()
	s := w.stream("/v1/intents/"+id+"/events/stream?wait_seconds=30", "X-Axme-Client: axme-sdk-typescript/0.2.0")
	s.wants("intent.created 1", "intent.submitted 2")
	if name, _ := s.next(); name != "end" && name != "stream.timeout" {
		t.Fatalf("got %s after the batch", name)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the response ended %s after its batch", took)
	}
	waiting := w.stream("/v1/intents/"+id+"/events/stream?since=2&wait_seconds=30", "X-Axme-Client: axme-sdk-typescript/0.2.0")
	w.resolve(id, `{"status":"CANCELED"}`).want(200)
	waiting.wants("intent.canceled 3", "end")
}

func TestStreamEndsOfAnEndedIntent(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.intent("b")
	w.resolve(id, `{"status":"FAILED"}`).want(200)
	began := time.Now()
	w.stream("/v1/intents/"+id+"/events/stream?since=2&wait_seconds=30").wants("intent.failed 3", "end")
	w.stream("/v1/intents/" + id + "/events/stream?since=3&wait_seconds=30").wants("end")
	w.stream("/v1/intents/" + id + "/events/stream?since=99&wait_seconds=30").wants("end")
	w.stream("/v1/intents/"+id+"/events/stream?since=1", "Last-Event-ID: 2").wants("intent.failed 3", "end")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("streams of an ended intent took %s", took)
	}
}

func TestIdleStreamIsHeldAndSaysWhereToGoOn(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.intent("b")
	began := time.Now()
	w.stream("/v1/intents/"+id+"/events/stream?since=77&wait_seconds=1").wants("stream.timeout 3", "end")
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("an idle stream ended after %s", took)
	}
	// A cursor beyond the last event loses nothing.
	s := w.stream("/v1/intents/" + id + "/events/stream?since=77&wait_seconds=30")
	w.resolve(id, `{"status":"CANCELED"}`).want(200)
	s.wants("intent.canceled 3", "end")
}

func TestStreamsMissNoEvent(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for range 20 {
		id := w.intent("b")
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.post("/v1/intents/"+id+"/resume", `{}`).want(200)
			w.resolve(id, `{"status":"COMPLETED"}`).want(200)
		}()
		s := w.stream("/v1/intents/" + id + "/events/stream?wait_seconds=30")
		s.wants("intent.created 1", "intent.submitted 2", "intent.in_progress 3", "intent.completed 4", "end")
		<-done
	}
}

// meddler is a response writer that does something at the first flush: after
// the log was read, before the stream waits for news.
type meddler struct {
	*httptest.ResponseRecorder
	once   sync.Once
	meddle func()
}

func (m *meddler) FlushError() error { m.once.Do(m.meddle); return nil }

func TestNoEventIsMissedBetweenReadingAndWaiting(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.intent("b")
	r := httptest.NewRequest("GET", "/v1/intents/"+id+"/events/stream?since=2&wait_seconds=30", nil)
	r.Host = "localhost"
	out := &meddler{ResponseRecorder: httptest.NewRecorder(), meddle: func() { w.resolve(id, `{"status":"CANCELED"}`).want(200) }}
	began := time.Now()
	w.api.Handler().ServeHTTP(out, r)
	if took := time.Since(began); took > 10*time.Second || !strings.Contains(out.Body.String(), "event: intent.canceled\n") {
		t.Errorf("after %s the stream has %q", took, out.Body.String())
	}
}

func TestConnectionIsUsableAfterAStream(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.intent("b")
	w.resolve(id, `{"status":"CANCELED"}`).want(200)
	c := w.dial()
	in := bufio.NewReader(c)
	for _, path := range []string{"/v1/intents/" + id + "/events/stream", "/health", "/v1/intents/" + id} {
		if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for buf := make([]byte, 1024); err == nil; {
			_, err = res.Body.Read(buf)
		}
		_ = res.Body.Close()
		if res.StatusCode != 200 {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
}

func TestEventsOfAnIntentHeldForAnotherHome(t *testing.T) {
	t.Parallel()
	w := setup(t)
	home := journal.Identity{Journal: journal.NewID(), Epoch: 1}
	id := w.held(home, "here").String()
	if i := w.get("/v1/intents/" + id).want(200); i.text("intent.role") != "holder" || i.text("intent.payload.far") != "true" {
		t.Errorf("the holder's own record: %s", i.raw)
	}
	if a := w.get("/v1/intents/"+id+"/events").refused(503, "home_unreachable"); a.header.Get("Retry-After") != "2" {
		t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
	}
	w.get("/v1/intents/"+id+"/events/stream").refused(503, "home_unreachable")

	log := []*wire.Event{
		{Type: uint32(state.EventCreated), Status: uint32(state.Created), AtMs: 1},
		{Type: uint32(state.EventSubmitted), Status: uint32(state.Submitted), AtMs: 2, Waited: &wire.Wait{Cause: uint32(state.CauseBreakerOpen), FromMs: 1, UntilMs: 2}},
		{Type: uint32(state.EventCanceled), Status: uint32(state.Canceled), AtMs: 3, Outcome: true},
	}
	shown := 2
	w.askHome = func(_ context.Context, asked journal.ID, ask *peer.Ask) (*peer.Answer, error) {
		if asked != home.Journal || ask.What != peer.Ask_EVENTS {
			t.Errorf("asked %s for %s", asked, ask.What)
		}
		from := min(int(ask.Since), shown)
		a := &peer.Answer{Events: log[from:shown], FirstSeq: uint32(from) + 1}
		shown = 3 // home goes on
		return a, nil
	}
	s := w.stream("/v1/intents/" + id + "/events/stream?wait_seconds=30")
	s.wants("intent.created 1", "intent.submitted 2", "intent.canceled 3", "end")
	shown = 2
	at := "events.1.details.delayed."
	if a := w.get("/v1/intents/" + id + "/events").want(200); a.text(at+"code") != "breaker_open" || a.text(at+"from") != "1970-01-01T00:00:00.001Z" || a.text(at+"until") != "1970-01-01T00:00:00.002Z" {
		t.Errorf("what had delayed it: %s", a.raw)
	}
	shown = 2
	s = w.stream("/v1/intents/" + id + "/events/stream?wait_seconds=30&since=99") // beyond the last: the last
	s.wants("intent.canceled 3", "end")
}

func TestIdleStreamIsKeptAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t)
		a := api.New(api.Options{}, j, nil, nil, slog.New(slog.DiscardHandler))
		out := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/v1/agents/b/intents/a", strings.NewReader(`{}`))
		r.Host = "localhost"
		r.Header.Set("Content-Type", "application/json")
		a.Handler().ServeHTTP(out, r)
		began := time.Now()
		r = httptest.NewRequest("GET", out.Header().Get("Location")+"/events/stream?since=2&wait_seconds=40", nil)
		r.Host = "localhost"
		out = httptest.NewRecorder()
		a.Handler().ServeHTTP(out, r)
		if took := time.Since(began); took != 40*time.Second {
			t.Errorf("the stream was held %s, want 40s", took)
		}
		want := ": ok\n\n: ka\n\n: ka\n\nevent: stream.timeout\ndata: {\"ok\":true,\"next_seq\":3}\n\n"
		if got := out.Body.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// pipes is a listener of connections that hold no byte that is not read.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, open := <-p; open {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func TestReaderThatTakesNothingIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t)
		a := api.New(api.Options{}, j, nil, nil, slog.New(slog.DiscardHandler))
		out := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/v1/agents/b/intents/a", strings.NewReader(`{}`))
		r.Host = "localhost"
		r.Header.Set("Content-Type", "application/json")
		a.Handler().ServeHTTP(out, r)

		listener, s := make(pipes), &http.Server{Handler: a.Handler()}
		go s.Serve(listener)
		client, server := net.Pipe()
		listener <- server
		defer s.Close()
		defer close(listener)
		defer client.Close()
		if _, err := fmt.Fprintf(client, "GET %s/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n", out.Header().Get("Location")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(9 * time.Second)
		if open, _ := a.Active(); open != 1 {
			t.Errorf("after 9 s %d requests are open, want 1", open)
		}
		time.Sleep(2 * time.Second)
		if open, _ := a.Active(); open != 0 {
			t.Fatalf("after 11 s %d requests are open", open)
		}
		if rest, err := io.ReadAll(client); len(rest) > 0 || err != nil {
			t.Errorf("it could still read %q, %v", rest, err)
		}
	})
}
