package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"pannier/inbound"
	"pannier/journal"
	"pannier/journal/journaltest"
	"pannier/journal/state"
	"pannier/journal/wire"
	"pannier/journal/wire/peer"
	"pannier/outbound"
	"pannier/proxy/api"
	"pannier/proxy/api/apitest"
)

// world is an app API over a real journal, with a mailbox and a dispatcher
// that do no more than the tests need.
type world struct {
	t       *testing.T
	journal *journal.Journal
	mailbox *mailbox
	sender  *dispatcher
	api     *api.API
	url     string
	client  *http.Client // holds every exchange to openapi.yaml
	askHome func(context.Context, journal.ID, *peer.Ask) (*peer.Answer, error)
}

func newWorld(t *testing.T) *world {
	return &world{t: t, sender: &dispatcher{}, client: &http.Client{Transport: apitest.Watch(t, http.DefaultTransport)}}
}

func setup(t *testing.T, change ...func(*api.Options)) *world {
	t.Helper()
	return newWorld(t).serve(openJournal(t), change...)
}

// serve puts the API before a journal.
func (w *world) serve(j *journal.Journal, change ...func(*api.Options)) *world {
	t := w.t
	t.Helper()
	w.journal = j
	w.mailbox = &mailbox{j: w.journal}
	o := api.Options{MaxBody: 64 << 10, DefaultAgent: "agent://test/app/sender", Version: "v-test"}
	o.AskHome = func(ctx context.Context, home journal.ID, ask *peer.Ask) (*peer.Answer, error) {
		if w.askHome == nil {
			return nil, errors.New("out of reach")
		}
		return w.askHome(ctx, home, ask)
	}
	for _, f := range change {
		f(&o)
	}
	w.api = api.New(o, w.journal, w.mailbox, w.sender, slog.New(slog.NewTextHandler(t.Output(), nil)))
	server := httptest.NewServer(w.api.Handler())
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

func openJournal(t *testing.T) *journal.Journal {
	t.Helper()
	return openJournalWith(t, journal.Options{Dir: t.TempDir()})
}

func openJournalWith(t *testing.T, o journal.Options) *journal.Journal {
	t.Helper()
	j, err := journaltest.Open(o)
	if err != nil {
		t.Fatalf("open journal: %v", err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Errorf("close journal: %v", err)
		}
	})
	return j
}

// answer is a response read to its end.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	raw    []byte
}

// call sends a request; headers are "Name: value". A body makes it JSON.
func (w *world) call(method, path, body string, headers ...string) *answer {
	w.t.Helper()
	r, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Set(name, value)
	}
	res, err := w.client.Do(r)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatalf("%s %s: read the answer: %v", method, path, err)
	}
	return &answer{w.t, res.StatusCode, res.Header, raw}
}

// direct is call without a connection, which a synctest bubble cannot have.
func direct(t *testing.T, a *api.API) func(method, path, body string, headers ...string) *answer {
	return func(method, path, body string, headers ...string) *answer {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Host = "localhost"
		r.Header.Set("Content-Type", "application/json")
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			r.Header.Set(name, value)
		}
		out := httptest.NewRecorder()
		a.Handler().ServeHTTP(out, r)
		return &answer{t, out.Code, out.Header(), out.Body.Bytes()}
	}
}

func (w *world) get(path string, headers ...string) *answer {
	w.t.Helper()
	return w.call("GET", path, "", headers...)
}

func (w *world) post(path, body string, headers ...string) *answer {
	w.t.Helper()
	return w.call("POST", path, body, headers...)
}

// intent accepts one and returns its id.
func (w *world) intent(to string) string {
	w.t.Helper()
	return w.post("/v1/intents", `{"intent_type":"a.v1","to_agent":"`+to+`","payload":{"n":1}}`).want(200).text("intent_id")
}

func (a *answer) want(status int) *answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("got status %d, want %d: %s", a.status, status, a.raw)
	}
	return a
}

// at walks a path like "error.code" or "results.0.ok"; nil where it leads nowhere.
func (a *answer) at(path string) any {
	a.t.Helper()
	var v any
	dec := json.NewDecoder(bytes.NewReader(a.raw))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		a.t.Fatalf("the answer is not JSON: %v: %s", err, a.raw)
	}
	return walk(v, path)
}

func walk(v any, path string) any {
	for step := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[step]
		case []any:
			var i int
			if err := json.Unmarshal([]byte(step), &i); err != nil || i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return nil
		}
	}
	return v
}

func (a *answer) text(path string) string {
	a.t.Helper()
	switch v := a.at(path).(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		if v {
			return "true"
		}
		return "false"
	case nil:
		return ""
	}
	a.t.Fatalf("%s is no scalar in %s", path, a.raw)
	return ""
}

func (a *answer) list(path string) []any {
	a.t.Helper()
	l, ok := a.at(path).([]any)
	if !ok {
		a.t.Fatalf("%s is no list in %s", path, a.raw)
	}
	return l
}

// refused checks a problem document in all its parts.
func (a *answer) refused(status int, code string) *answer {
	a.t.Helper()
	a.want(status)
	if got := a.text("error.code"); got != code {
		a.t.Fatalf("got code %q, want %q: %s", got, code, a.raw)
	}
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		a.t.Errorf("Content-Type is %q, want application/problem+json", got)
	}
	if got := a.text("status"); got != jsonNumber(status) {
		a.t.Errorf("the document's status is %s, the response's %d", got, status)
	}
	if a.text("ok") != "false" || a.text("detail") == "" || a.text("detail") != a.text("error.message") {
		a.t.Errorf("ok, detail or error.message is wrong: %s", a.raw)
	}
	if a.header.Get("X-Request-Id") == "" || a.text("instance") != "urn:uuid:"+a.header.Get("X-Request-Id") {
		a.t.Errorf("the request id is not the document's instance: %s", a.raw)
	}
	return a
}

func jsonNumber(n int) string {
	b, err := json.Marshal(n)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// mailbox hands over what is due here, straight from the journal.
type mailbox struct {
	*inbound.Mailbox // nil: what is not overridden is not called
	j                *journal.Journal
	served           []string
	causes           []state.Delay // of Why; nil: what a mailbox without readers says

	mu    sync.Mutex
	asked []inbound.PullRequest
	back  int // hand-overs
}

func (m *mailbox) Pull(ctx context.Context, p inbound.PullRequest) ([]journal.Handed, error) {
	m.mu.Lock()
	m.asked = append(m.asked, p)
	m.mu.Unlock()
	until := time.Now().Add(p.Wait)
	for {
		got, err := m.take(ctx, p)
		if err != nil || len(got) > 0 || !time.Now().Before(until) {
			return got, err
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (m *mailbox) take(ctx context.Context, p inbound.PullRequest) ([]journal.Handed, error) {
	if p.Room != nil && !p.Room.Claim(4<<20) {
		p.Limit = 1
	}
	no, err := m.j.Learn(ctx, p.Agent)
	if err != nil {
		return nil, err
	}
	offers, _, err := m.j.Due(no, time.Now(), p.Limit, func(journal.ID) bool { return false })
	if p.Room != nil && len(offers) == 0 {
		p.Room.Waive()
	}
	if err != nil || len(offers) == 0 {
		return nil, err
	}
	leases := make([]journal.Terms, len(offers))
	for i := range leases {
		if leases[i].For = p.Lease; p.Lease == 0 {
			leases[i].For = 30 * time.Second
		}
	}
	held, err := m.j.HoldLocal(ctx, offers, leases)
	var got []journal.Handed
	for _, h := range held {
		if h.Handed != nil {
			got = append(got, *h.Handed)
		}
	}
	return got, err
}

func (m *mailbox) TakeBack(ctx context.Context, got []journal.Handed) error {
	for _, h := range got {
		if err := m.j.Recover(ctx, []journal.ID{h.ID}, []journal.ID{h.Lease}); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.back += len(got)
	return nil
}

func (m *mailbox) takenBack() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.back
}

func (m *mailbox) Served(int) []string { return m.served }

func (m *mailbox) SetKilled(ctx context.Context, agent string, killed bool, actor string) error {
	return m.j.SetKilled(ctx, agent, killed, actor)
}

func (m *mailbox) Settle(ctx context.Context, s []journal.Settle) ([]journal.Settled, error) {
	for i := range s {
		if s[i].Action == journal.Extend && s[i].For == 0 {
			s[i].For = time.Hour
		}
	}
	return m.j.Settle(ctx, s)
}

func (m *mailbox) Why(id journal.ID) []state.Delay {
	if m.causes != nil {
		return m.causes
	}
	return inbound.NewMailbox(inbound.DefaultOptions(), m.j, slog.New(slog.DiscardHandler)).Why(id)
}

func (m *mailbox) lastPull() inbound.PullRequest {
	m.mu.Lock()
	defer m.mu.Unlock()
	last := m.asked[len(m.asked)-1]
	last.Room, last.Bytes = nil, 0 // each has its own
	return last
}

// dispatcher answers what the test has put in.
type dispatcher struct {
	causes  []state.Delay
	holder  journal.ID // that has said held, and is not on record
	answer  *peer.Answer
	givenUp time.Time // when the holder is
}

func (d *dispatcher) Why(journal.ID, string, bool) []state.Delay { return d.causes }

func (d *dispatcher) HeldBy(journal.ID) journal.ID { return d.holder }

func (d *dispatcher) GivenUpAt(journal.ID) time.Time { return d.givenUp }

func (d *dispatcher) Ask(ctx context.Context, _, _ journal.ID, _ peer.Ask_What) (*peer.Answer, error) {
	if d.answer == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return d.answer, nil
}

// held puts an intent of another home into this journal and returns its id.
func (w *world) held(home journal.Identity, to string) journal.ID {
	w.t.Helper()
	return w.holds(home, &wire.Envelope{ToAgent: to})
}

// holds is held of an envelope that says more.
func (w *world) holds(home journal.Identity, e *wire.Envelope) journal.ID {
	w.t.Helper()
	id := journal.NewID()
	e.Id, e.IntentType, e.FromAgent, e.CorrelationId = id[:], "a.v1", "x", "c"
	e.Payload, e.CreatedAtMs, e.MaxDeliveryAttempts = []byte(`{"far":true}`), time.Now().UnixMilli(), 10
	env, err := proto.Marshal(e)
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan error, 1)
	w.journal.Hold(home, []journal.HoldRequest{{Envelope: env, OfferNo: 1, DeliverBy: time.Hour, Deadline: time.Hour}},
		func(_ []journal.HoldResult, err error) { done <- err })
	if err := <-done; err != nil {
		w.t.Fatalf("hold: %v", err)
	}
	return id
}

// dial opens a plain connection to the API.
func (w *world) dial() net.Conn {
	w.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

// What proxy hands to New.
var (
	_ api.Mailbox    = (*inbound.Mailbox)(nil)
	_ api.Dispatcher = (*outbound.Dispatcher)(nil)
)
