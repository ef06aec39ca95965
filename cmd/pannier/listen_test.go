package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pannier/proxy/webhook"
)

// mailbox is the app API of a sidecar that hands out what a test has put in, one at a poll, and hands
// over again what was not done.
type mailbox struct {
	addr string
	mu   struct {
		sync.Mutex
		ready   []string // JSON of hand-overs
		polls   int
		settles []string // verb, id and body
		refuse  []int    // statuses of the next answers
	}
	settled chan string
}

const item = `{"intent_id":"%[1]s","seq":7,"intent_type":"order.v1","from_agent":"a","to_agent":"b","correlation_id":"c","payload":{"n": 1},"status":"DELIVERED","delivery_attempt":%[2]d,"redelivered":false,"idempotency_key":"%[1]s","traceparent":"00-t","lease_id":"L-%[1]s","lease_until":"T"}`

func openMailbox(t *testing.T, ids ...string) *mailbox {
	t.Helper()
	m := &mailbox{settled: make(chan string, 100)}
	for _, id := range ids {
		m.mu.ready = append(m.mu.ready, fmt.Sprintf(item, id, 1))
	}
	s := httptest.NewServer(m)
	t.Cleanup(s.Close)
	m.addr = strings.TrimPrefix(s.URL, "http://")
	return m
}

func (m *mailbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.mu.refuse) > 0 {
		status := m.mu.refuse[0]
		m.mu.refuse = m.mu.refuse[1:]
		w.WriteHeader(status)
		return
	}
	if r.Method == http.MethodGet {
		m.mu.polls++
		if len(m.mu.ready) == 0 {
			m.mu.Unlock()
			select {
			case <-r.Context().Done():
			case <-time.After(20 * time.Millisecond):
			}
			m.mu.Lock()
			fmt.Fprint(w, `{"ok":true,"intents":[]}`)
			return
		}
		fmt.Fprintf(w, `{"ok":true,"intents":[%s]}`, m.mu.ready[0])
		m.mu.ready = m.mu.ready[1:]
		return
	}
	body, _ := io.ReadAll(r.Body)
	words := strings.Split(strings.TrimPrefix(r.URL.Path, "/v1/intents/"), "/")
	settle := words[1] + " " + words[0] + " " + strings.TrimSpace(string(body))
	m.mu.settles = append(m.mu.settles, settle)
	if words[1] == "nack" && !strings.Contains(string(body), `"reject":true`) {
		m.mu.ready = append(m.mu.ready, fmt.Sprintf(item, words[0], 2))
	}
	m.settled <- settle
	fmt.Fprint(w, `{"ok":true}`)
}

func (m *mailbox) settles() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.mu.settles)
}

func (m *mailbox) want(t *testing.T, got outcome, settles ...string) {
	t.Helper()
	if got.exit != 0 || !slices.Equal(m.settles(), settles) {
		t.Errorf("exit %d, settled %q, want %q\nstdout %s\nstderr %s", got.exit, m.settles(), settles, got.stdout, got.stderr)
	}
}

func TestListenAcknowledges(t *testing.T) {
	t.Parallel()
	m := openMailbox(t, "I", "J")
	got := pannier(t, "", "listen", "b", "--count", "2", "--addr", m.addr)
	m.want(t, got, `ack I {"lease_id":"L-I"}`, `ack J {"lease_id":"L-J"}`)
	for _, want := range []string{"I  order.v1  attempt 1  lease L-I\n", "I  acknowledged: done, after ", "J  acknowledged: done, after "} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("no %q in\n%s", want, got.stdout)
		}
	}
	if !strings.Contains(got.stderr, "listening for b at "+m.addr) {
		t.Errorf("stderr %s", got.stderr)
	}
}

func TestListenViews(t *testing.T) {
	t.Parallel()
	for view, want := range map[string]string{
		"quiet":       "",
		"interactive": "▶ I  order.v1  attempt 1\n    from a  to b  lease L-I\n    {\n      \"n\": 1\n    }\n◀ acknowledged: done, after ",
		"ndjson":      strings.Replace(fmt.Sprintf(item, "I", 1), `{"n": 1}`, `{"n":1}`, 1) + "\n",
	} {
		m := openMailbox(t, "I")
		got := pannier(t, "", "listen", "b", "--count", "1", "-o", view, "--addr", m.addr)
		if got.exit != 0 || !strings.HasPrefix(got.stdout, want) || want == "" && got.stdout != "" {
			t.Errorf("-o %s: exit %d\n%s\nwant\n%s", view, got.exit, got.stdout, want)
		}
	}
}

func TestListenByHand(t *testing.T) {
	t.Parallel()
	m := openMailbox(t, "I")
	got := pannier(t, "", "listen", "b", "--ack=false", "--count", "1", "--addr", m.addr)
	if m.want(t, got); !strings.Contains(got.stdout, "lease L-I") {
		t.Errorf("stdout %s", got.stdout)
	}
}

// A script answers each intent from its beginning. What asks for a pause costs no attempt: it is asked
// again under the same lease.
func TestListenResponds(t *testing.T) {
	t.Parallel()
	m := openMailbox(t, "I")
	got := pannier(t, "", "listen", "b", "--respond", "503,500,200", "--count", "2", "--addr", m.addr)
	m.want(t, got, `nack I {"lease_id":"L-I","reason":"the app answered 500 Internal Server Error"}`, `ack I {"lease_id":"L-I"}`)
	for _, want := range []string{"I  503 Service Unavailable: not taken, again in 500ms\n", "I  500 Internal Server Error: failed attempt, after ", "I  200 OK: done, after "} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("no %q in\n%s", want, got.stdout)
		}
	}
}

// An app that it is forwarded to gets what a sidecar would send it, and its answer means the same.
func TestListenForwards(t *testing.T) {
	t.Parallel()
	secret := webhook.NewSecret()
	for _, row := range []struct {
		status  int
		body    string
		settles string
	}{
		{200, `{"paid": true}`, `ack I {"lease_id":"L-I","result":{"paid":true}}`},
		{204, "", `ack I {"lease_id":"L-I"}`},
		{202, "", `extend I {"lease_id":"L-I"}`},
		{422, "no such order", `nack I {"lease_id":"L-I","reason":"the app answered 422 Unprocessable Entity: no such order","reject":true}`},
		{302, "", `nack I {"lease_id":"L-I","reason":"the app answered 302 Found"}`},
	} {
		var wrong error
		var header http.Header
		var body string
		app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			raw, _ := io.ReadAll(r.Body)
			wrong, header, body = webhook.Verify(r.Header, raw, time.Now(), secret), r.Header, string(raw)
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(row.status)
			io.WriteString(w, row.body)
		}))
		m := openMailbox(t, "I")
		got := pannier(t, "", "listen", "b", "--forward", app.URL, "--secret", secret.Reveal(), "--count", "1", "--addr", m.addr)
		app.Close()
		m.want(t, got, row.settles)
		const sent = `{"intent_id":"I","intent_type":"order.v1","from_agent":"a","to_agent":"b","correlation_id":"c","payload":{"n": 1},"status":"DELIVERED","delivery_attempt":1,"redelivered":false,"idempotency_key":"I","traceparent":"00-t"}`
		if wrong != nil || body != sent {
			t.Errorf("signature: %v, body\n%s\nwant\n%s", wrong, body, sent)
		}
		for name, want := range map[string]string{"Content-Type": "application/json", "Idempotency-Key": "I", "Intent-Attempt": "1", "Webhook-Id": "I", "Traceparent": "00-t"} {
			if header.Get(name) != want {
				t.Errorf("%s: %q, want %q", name, header.Get(name), want)
			}
		}
	}
}

// While nothing listens at the URL nothing is taken, so nothing fails.
func TestListenTakesNothingForAnAppThatIsNotThere(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.NotFoundHandler())
	app.Close()
	m := openMailbox(t, "I")
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second) // where it is not heard of, this is red
	defer stop()
	heard := &watched{to: "nothing listens at", then: stop}
	var stdout bytes.Buffer
	exit := execute(ctx, context.Background(), []string{"listen", "b", "--forward", app.URL, "--addr", m.addr}, strings.NewReader(""), &stdout, heard)
	m.mu.Lock()
	defer m.mu.Unlock()
	if exit != 0 || m.mu.polls != 0 || !strings.Contains(heard.String(), "nothing is taken until something does") {
		t.Errorf("exit %d, %d polls\n%s", exit, m.mu.polls, heard.String())
	}
}

// watched calls a func once a text was written.
type watched struct {
	mu   sync.Mutex
	text strings.Builder
	to   string
	then func()
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	if w.then != nil && strings.Contains(w.text.String(), w.to) {
		w.then()
		w.then = nil
	}
	return len(p), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// Ctrl-C lets the app finish what it has, settles that, and takes nothing more. A second one does not
// wait, and leaves it to its lease.
func TestListenStops(t *testing.T) {
	t.Parallel()
	for _, twice := range []bool{false, true} {
		m := openMailbox(t, "I")
		ctx, stop := context.WithCancel(t.Context())
		force, halt := context.WithCancel(t.Context())
		release := make(chan struct{})
		app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			m.mu.Lock()
			m.mu.ready = append(m.mu.ready, fmt.Sprintf(item, "J", 1)) // which nobody is to take
			m.mu.Unlock()
			stop()
			if twice {
				halt()
				<-r.Context().Done()
				return
			}
			<-release
		}))
		if !twice {
			context.AfterFunc(ctx, func() { close(release) })
		}
		var stdout, stderr bytes.Buffer
		exit := execute(ctx, force, []string{"listen", "b", "--forward", app.URL, "--addr", m.addr}, strings.NewReader(""), &stdout, &stderr)
		app.Close()
		halt()
		want := []string{`ack I {"lease_id":"L-I"}`}
		if twice {
			want = nil
		}
		if got := m.settles(); exit != 0 || !slices.Equal(got, want) {
			t.Errorf("twice %v: exit %d, settled %q\n%s", twice, exit, got, stderr.String())
		}
		if twice != strings.Contains(stderr.String(), "I is left to its lease") {
			t.Errorf("twice %v: %s", twice, stderr.String())
		}
	}
}

// What is on its way when it is stopped is taken and settled: else it would wait for its lease to end.
func TestListenStopsAfterWhatIsOnItsWay(t *testing.T) {
	t.Parallel()
	m := openMailbox(t, "I")
	ctx, stop := context.WithCancel(t.Context())
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			stop()
			time.Sleep(10 * time.Millisecond) // time for what must not happen: that the poll is given up
		}
		m.ServeHTTP(w, r)
	}))
	defer busy.Close()
	var stdout, stderr bytes.Buffer
	exit := execute(ctx, context.Background(), []string{"listen", "b", "--addr", strings.TrimPrefix(busy.URL, "http://")}, strings.NewReader(""), &stdout, &stderr)
	m.want(t, outcome{exit, stdout.String(), stderr.String()}, `ack I {"lease_id":"L-I"}`)
}

// A sidecar that goes away is come back to, and what was answered is settled once it is there.
func TestListenComesBack(t *testing.T) {
	t.Parallel()
	m := openMailbox(t, "I", "J")
	m.mu.refuse = []int{503}
	refuse := m.settledOnce(t, "I", 500, 503)
	got := pannier(t, "", "listen", "b", "--count", "2", "--addr", m.addr)
	refuse()
	m.want(t, got, `ack I {"lease_id":"L-I"}`, `ack J {"lease_id":"L-J"}`)
	if !strings.Contains(got.stderr, "trying again until it answers") || !strings.Contains(got.stderr, "answers again") {
		t.Errorf("stderr %s", got.stderr)
	}
}

// settledOnce makes the sidecar refuse with these statuses once the id was settled.
func (m *mailbox) settledOnce(t *testing.T, id string, statuses ...int) (done func()) {
	t.Helper()
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case settle := <-m.settled:
				if strings.Contains(settle, " "+id+" ") {
					m.mu.Lock()
					m.mu.refuse = statuses
					m.mu.Unlock()
				}
			case <-stop:
				return
			}
		}
	}()
	return func() { close(stop); <-ended }
}

// One that was never there is an error at once, as is a refusal that time does not mend.
func TestListenGivesUp(t *testing.T) {
	t.Parallel()
	if got := pannier(t, "", "listen", "b", "--addr", "127.0.0.1:1"); got.exit != exitUnreachable {
		t.Errorf("nobody there: exit %d: %s", got.exit, got.stderr)
	}
	m := openMailbox(t)
	m.mu.refuse = []int{403}
	if got := pannier(t, "", "listen", "b", "--max", "1", "--addr", m.addr); got.exit != exitRefused {
		t.Errorf("refused: exit %d: %s", got.exit, got.stderr)
	}
}

func TestListenUsage(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"":                                     "1 argument",
		"b --forward http://h --respond 200":   "not both",
		"b --forward file:/x":                  "no URL of an app",
		"b --respond 200,ok":                   `"ok" is no status`,
		"b --respond 200 --ack=false":          "by hand",
		"b --forward http://h --timeout 55s":   "does not fit into --lease 1m0s",
		"b --max 65":                           "1 to 64",
		"b --lease 2h":                         "1s to 1h",
		"b -o yaml":                            "-o yaml",
		"b --forward http://h --secret whsec_": "--secret",
	} {
		if got := pannier(t, "", append([]string{"listen"}, strings.Fields(args)...)...); got.exit != exitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("listen %s: exit %d: %s", args, got.exit, got.stderr)
		}
	}
}

func TestPushBody(t *testing.T) {
	t.Parallel()
	got, err := pushBody([]byte(`{"lease_id":"L","a": [1, 2],"seq":1,"payload":{"lease_id":"kept"},"lease_until":"T"}`))
	if err != nil || string(got) != `{"a":[1, 2],"payload":{"lease_id":"kept"}}` || !json.Valid(got) {
		t.Errorf("%s, %v", got, err)
	}
}
