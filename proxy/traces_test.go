package proxy_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"pannier/proxy"
)

const (
	shop   = "agent://acme/prod/shop"
	stores = "agent://acme/prod/stores" // receives by http
)

// sunk is a span as a collector got it.
type sunk struct {
	*otlp.Span
	service string // instance: the journal's id
}

func (s sunk) context() string {
	return "00-" + hex.EncodeToString(s.TraceId) + "-" + hex.EncodeToString(s.SpanId) + "-01"
}
func (s sunk) trace() string { return hex.EncodeToString(s.TraceId) }

func (s sunk) attribute(key string) string { return attribute(s.Attributes, key) }

func attribute(list []*common.KeyValue, key string) string {
	for _, kv := range list {
		if kv.Key == key {
			if v := kv.Value.GetStringValue(); v != "" {
				return v
			}
			return fmt.Sprint(kv.Value.GetIntValue())
		}
	}
	return ""
}

// links lists the span ids it links to.
func (s sunk) links() (ids []string) {
	for _, l := range s.Links {
		ids = append(ids, hex.EncodeToString(l.SpanId))
	}
	return ids
}

// sink is a collector: it keeps what it is sent.
type sink struct {
	*httptest.Server
	mu    sync.Mutex
	spans []sunk
}

func newSink(t *testing.T) *sink {
	k := &sink{}
	k.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var got collector.ExportTraceServiceRequest
		if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &got) != nil {
			t.Errorf("%s %s is no export of traces", r.Method, r.URL.Path)
			return
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, resource := range got.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				for _, s := range scope.Spans {
					k.spans = append(k.spans, sunk{s, attribute(resource.Resource.Attributes, "service.instance.id")})
				}
			}
		}
	}))
	t.Cleanup(k.Close)
	return k
}

// of waits for the n spans of an intent with that name and returns them in the order
// they began.
func (k *sink) of(t *testing.T, name, intent string, n int) []sunk {
	t.Helper()
	var got []sunk
	await(t, fmt.Sprintf("%d spans %q of %s", n, name, intent), func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		got = nil
		for _, s := range k.spans {
			if s.Name == name && s.attribute("messaging.message.id") == intent {
				got = append(got, s)
			}
		}
		return len(got) >= n
	})
	if len(got) != n {
		t.Fatalf("%d spans %q of %s, want %d", len(got), name, intent, n)
	}
	slices.SortFunc(got, func(a, b sunk) int { return int(int64(a.StartTimeUnixNano) - int64(b.StartTimeUnixNano)) })
	return got
}

// by is the span of an id.
func (k *sink) by(t *testing.T, name string, id []byte) (got sunk) {
	t.Helper()
	await(t, "the span "+name, func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, s := range k.spans {
			if bytes.Equal(s.SpanId, id) {
				got = s
				return true
			}
		}
		return false
	})
	if got.Name != name {
		t.Errorf("the span is %q, want %q", got.Name, name)
	}
	return got
}

// await waits for what is to come; a bound far beyond what it takes.
func await(t *testing.T, what string, there func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !there(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited a minute for %s", what)
		}
	}
}

// traced is a home, a holder with apps of each binding, and their collector.
type traced struct {
	*sink
	home, holder *sidecar
	hook         *httptest.Server
	mu           sync.Mutex
	answers      []int         // of the app that receives by http, in turn; then 200
	pushed       []http.Header // what it got
}

func newTraced(t *testing.T, young time.Duration) *traced {
	w := &traced{sink: newSink(t)}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", w.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
	w.hook = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.pushed = append(w.pushed, r.Header)
		status := http.StatusOK
		if len(w.answers) > 0 {
			status, w.answers = w.answers[0], w.answers[1:]
		}
		rw.WriteHeader(status)
	}))
	t.Cleanup(w.hook.Close)
	o := options(t)
	o.Tracing.OTLP, o.Tracing.TraceParentMaxAge = true, young
	o.Limits.RetryMin, o.Limits.RetryMax = 10*time.Millisecond, 20*time.Millisecond
	o.Agents = []proxy.AgentOption{{Address: billing}, {Address: stores, Binding: "http", URL: w.hook.URL}}
	w.holder = run(t, o)
	peers := filepath.Join(t.TempDir(), "peers.yaml")
	text := fmt.Sprintf(`{"agents": {%q: [%q], %q: [%q]}}`, billing, w.holder.Peer, stores, w.holder.Peer)
	if err := os.WriteFile(peers, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Journal, o.Agents, o.Peers = filepath.Join(t.TempDir(), "journal"), []proxy.AgentOption{{Address: shop}}, peers
	w.home = run(t, o)
	return w
}

// call asks the app API of a sidecar.
func (w *traced) call(t *testing.T, s *sidecar, method, path string, body any, traceparent string, into any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(method, "http://"+s.API+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if traceparent != "" {
		r.Header.Set("Traceparent", traceparent)
		r.Header.Set("Tracestate", "vendor=1")
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	answer, err := io.ReadAll(a.Body)
	if err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %v, %d %s", method, path, err, a.StatusCode, answer)
	}
	if into != nil {
		if err := json.Unmarshal(answer, into); err != nil {
			t.Fatal(err)
		}
	}
}

const (
	appTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	appSpan  = "00f067aa0ba902b7"
	app      = "00-" + appTrace + "-" + appSpan + "-01"
	pollSpan = "1111111111111111"
	poller   = "00-2222222222222222222222222222222b-" + pollSpan + "-01"
)

func (w *traced) post(t *testing.T, to string) string {
	t.Helper()
	var doc struct {
		ID string `json:"intent_id"`
	}
	w.call(t, w.home, "POST", "/v1/intents", map[string]any{
		"intent_type": "intent.order.process.v1", "to_agent": to, "correlation_id": "c-1", "payload": map[string]any{"order_id": "ORD-1"},
	}, app, &doc)
	return doc.ID
}

// handed is a hand-over as the app got it.
type handed struct {
	ID          string `json:"intent_id"`
	Lease       string `json:"lease_id"`
	Seq         int    `json:"seq"`
	Attempt     int    `json:"delivery_attempt"`
	Traceparent string `json:"traceparent"`
}

func (w *traced) poll(t *testing.T) (got handed) {
	t.Helper()
	await(t, "something to poll", func() bool {
		var doc struct{ Intents []handed }
		w.call(t, w.holder, "GET", "/v1/agents/acme/prod/billing/intents?wait_seconds=5", nil, poller, &doc)
		if len(doc.Intents) == 1 {
			got = doc.Intents[0]
		}
		return len(doc.Intents) == 1
	})
	return got
}

// stream opens the log of hand-overs; next reads one of them.
func (w *traced) stream(t *testing.T, since int) (next func() handed, hangUp func()) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{}}
	a, err := client.Get(fmt.Sprintf("http://%s/v1/agents/acme/prod/billing/intents/stream?since=%d", w.holder.API, since))
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(a.Body)
	next = func() (got handed) {
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(data), &got); err != nil {
					t.Fatal(err)
				}
				return got
			}
		}
		t.Fatal("the stream ended")
		return got
	}
	return next, func() { a.Body.Close(); client.CloseIdleConnections() }
}

func (w *traced) settle(t *testing.T, verb string, h handed, more string) {
	t.Helper()
	w.call(t, w.holder, "POST", "/v1/intents/"+h.ID+"/"+verb, json.RawMessage(`{"lease_id":"`+h.Lease+`"`+more+`}`), "", nil)
}

// is holds a span to a row of the table.
func (s sunk) is(t *testing.T, kind otlp.Span_SpanKind, operation string, parent []byte, links ...[]byte) {
	t.Helper()
	if s.Kind != kind || !bytes.Equal(s.ParentSpanId, parent) || s.attribute("messaging.operation.type") != operation {
		t.Errorf("%s is %s, operation %q, below %x; want %s, %q, below %x", s.Name, s.Kind, s.attribute("messaging.operation.type"), s.ParentSpanId, kind, operation, parent)
	}
	var want []string
	for _, id := range links {
		want = append(want, hex.EncodeToString(id))
	}
	if got := s.links(); !slices.Equal(got, want) {
		t.Errorf("%s links to %v, want %v", s.Name, got, want)
	}
}

const (
	server   = otlp.Span_SPAN_KIND_SERVER
	client   = otlp.Span_SPAN_KIND_CLIENT
	producer = otlp.Span_SPAN_KIND_PRODUCER
	consumer = otlp.Span_SPAN_KIND_CONSUMER
)

// sentOff checks the spans at home: request, creation, offer.
func (w *traced) sentOff(t *testing.T, id, to string) (create, send sunk) {
	t.Helper()
	create, send = w.of(t, "create "+to, id, 1)[0], w.of(t, "send "+to, id, 1)[0]
	post := w.by(t, "POST /v1/intents", create.ParentSpanId)
	if post.Kind != server || hex.EncodeToString(post.ParentSpanId) != appSpan || post.attribute("http.route") != "/v1/intents" || post.attribute("http.response.status_code") != "200" {
		t.Errorf("the request's span is %+v", post.Span)
	}
	create.is(t, producer, "create", post.SpanId)
	send.is(t, client, "send", create.SpanId, create.SpanId)
	for _, s := range []sunk{post, create, send} {
		if s.trace() != appTrace || s.service != w.home.Node || s.TraceState != "vendor=1" {
			t.Errorf("%s is in trace %s of %s, state %q; want the app's, of home", s.Name, s.trace(), s.service, s.TraceState)
		}
	}
	if send.attribute("server.address") != "127.0.0.1" || send.attribute("messaging.destination.name") != to || send.attribute("messaging.system") != "intent" ||
		send.attribute("messaging.message.conversation_id") != "c-1" || send.attribute("messaging.message.body.size") != "20" {
		t.Errorf("send says %v", send.Attributes)
	}
	return create, send
}

// One trace from app to app over each binding, over a retry, a hand-over that is taken
// up after its connection has closed, and a redrive.
func TestTraces(t *testing.T) {
	w := newTraced(t, time.Minute)

	t.Run("poll", func(t *testing.T) {
		id := w.post(t, billing)
		first := w.poll(t)
		create, _ := w.sentOff(t, id, billing)
		if first.Traceparent != create.context() {
			t.Errorf("the app is told %s, want the creation's %s", first.Traceparent, create.context())
		}
		w.settle(t, "nack", first, `,"delay_seconds":0`)
		second := w.poll(t)
		w.settle(t, "ack", second, "")
		receives := w.of(t, "receive "+billing, id, 2)
		below, _ := hex.DecodeString(pollSpan)
		receives[0].is(t, client, "receive", below, create.SpanId)
		receives[1].is(t, client, "receive", below, create.SpanId, receives[0].SpanId)
		w.of(t, "nack "+billing, id, 1)
		ack := w.of(t, "ack "+billing, id, 1)[0]
		ack.is(t, client, "settle", w.by(t, "POST /v1/intents/{id}/ack", ack.ParentSpanId).SpanId, create.SpanId, receives[1].SpanId)
	})

	t.Run("http", func(t *testing.T) {
		w.answers = []int{500}
		id := w.post(t, stores)
		create, send := w.sentOff(t, id, stores)
		tries := w.of(t, "process "+stores, id, 2)
		tries[0].is(t, consumer, "process", send.SpanId, create.SpanId)
		tries[1].is(t, consumer, "process", send.SpanId, create.SpanId, tries[0].SpanId)
		if s := tries[0]; s.Status.Code != otlp.Status_STATUS_CODE_ERROR || s.attribute("error.type") != "attempt_failed" || s.attribute("http.response.status_code") != "500" {
			t.Errorf("the failed attempt: %v, %v", s.Status, s.Attributes)
		}
		if s := tries[1]; s.Status.GetCode() == otlp.Status_STATUS_CODE_ERROR || s.attribute("intent.attempt") != "2" || s.service != w.holder.Node {
			t.Errorf("the second attempt: %v, %v", s.Status, s.Attributes)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for i, h := range w.pushed {
			if h.Get("Traceparent") != tries[i].context() || h.Get("Tracestate") != "vendor=1" {
				t.Errorf("attempt %d told the app %s %s, want %s", i+1, h.Get("Traceparent"), h.Get("Tracestate"), tries[i].context())
			}
		}
	})

	t.Run("stream", func(t *testing.T) {
		id := w.post(t, billing)
		next, hangUp := w.stream(t, 0)
		first := next()
		hangUp()
		next, hangUp = w.stream(t, first.Seq-1)
		defer hangUp()
		again := next() // redelivered: the same hand-over
		if again.ID != id || again.Seq != first.Seq || again.Traceparent != first.Traceparent {
			t.Errorf("taken up as %+v, want %+v", again, first)
		}
		w.settle(t, "nack", again, `,"delay_seconds":0`)
		second := next()
		w.settle(t, "ack", second, "")
		create, send := w.sentOff(t, id, billing)
		tries := w.of(t, "process "+billing, id, 2)
		tries[0].is(t, consumer, "process", send.SpanId, create.SpanId)
		tries[1].is(t, consumer, "process", send.SpanId, create.SpanId, tries[0].SpanId)
		if tries[0].context() != first.Traceparent || tries[1].context() != second.Traceparent {
			t.Errorf("the app was told %s and %s, want %s and %s", first.Traceparent, second.Traceparent, tries[0].context(), tries[1].context())
		}
		if tries[0].attribute("error.type") != "attempt_failed" || tries[1].Status.GetCode() == otlp.Status_STATUS_CODE_ERROR {
			t.Errorf("they ended as %v and %v", tries[0].Status, tries[1].Status)
		}
		if ack := w.of(t, "ack "+billing, id, 1)[0]; !slices.Contains(ack.links(), hex.EncodeToString(tries[1].SpanId)) {
			t.Errorf("ack links to %v, not to the hand-over", ack.links())
		}
	})

	t.Run("lapse", func(t *testing.T) {
		id := w.post(t, billing)
		var doc struct{ Intents []handed }
		await(t, "something to poll", func() bool {
			w.call(t, w.holder, "GET", "/v1/agents/acme/prod/billing/intents?wait_seconds=5&lease_seconds=1", nil, poller, &doc)
			return len(doc.Intents) == 1
		})
		second := w.poll(t)
		if second.ID != id || second.Attempt != 2 {
			t.Fatalf("polled %+v, want what has lapsed", second)
		}
		w.call(t, w.holder, "POST", "/v1/agents/acme/prod/billing/intents:settle", json.RawMessage(`{"items":[{"intent_id":"`+id+`","lease_id":"`+second.Lease+`","action":"ack"}]}`), "", nil)
		create, _ := w.sentOff(t, id, billing)
		receives := w.of(t, "receive "+billing, id, 2)
		below, _ := hex.DecodeString(pollSpan)
		receives[1].is(t, client, "receive", below, create.SpanId, receives[0].SpanId)
		settle := w.of(t, "settle "+billing, id, 1)[0]
		settle.is(t, client, "settle", settle.ParentSpanId, create.SpanId, receives[1].SpanId)
	})

	t.Run("redrive", func(t *testing.T) {
		id := w.post(t, billing)
		w.settle(t, "nack", w.poll(t), `,"reject":true`)
		create, _ := w.sentOff(t, id, billing)
		var doc struct {
			ID string `json:"intent_id"`
		}
		r := *w.home
		r.API = w.home.Admin
		await(t, "the dead letter", func() bool { code, _ := w.home.get(t, "/v1/admin/dead-letters/"+id); return code == 200 })
		w.call(t, &r, "POST", "/v1/admin/dead-letters/"+id+"/redrive", struct{}{}, "", &doc)
		successor := w.poll(t)
		w.settle(t, "ack", successor, "")
		var redrive sunk
		await(t, "the redrive's span", func() bool {
			w.sink.mu.Lock()
			defer w.sink.mu.Unlock()
			for _, s := range w.spans {
				if s.Name == "redrive "+billing {
					redrive = s
				}
			}
			return redrive.Span != nil
		})
		redrive.is(t, producer, "create", nil, create.SpanId)
		if redrive.context() != successor.Traceparent || redrive.trace() == appTrace {
			t.Errorf("the successor carries %s, want that of the redrive, a trace of its own: %s", successor.Traceparent, redrive.context())
		}
		w.of(t, "send "+billing, successor.ID, 1)[0].is(t, client, "send", redrive.SpanId, redrive.SpanId)
	})
}

// Where home is here too there is no send: the hand-over is below the creation. A push
// that is acknowledged says that the work goes on, and the last word links to it. Of
// failed attempts only the last is an error, where that is asked for.
func TestTracesAtHome(t *testing.T) {
	w := &traced{sink: newSink(t)}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", w.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
	answers := make(chan int, 8)
	hook := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		rw.WriteHeader(<-answers)
	}))
	t.Cleanup(hook.Close)
	o := options(t)
	o.Tracing.OTLP, o.Tracing.TraceRetriedAttemptStatus = true, "unset"
	o.Limits.RetryMin, o.Limits.RetryMax = 10*time.Millisecond, 20*time.Millisecond
	o.Agents = []proxy.AgentOption{{Address: stores, Binding: "http", URL: hook.URL}}
	w.home = run(t, o)
	w.holder = w.home

	answers <- 202
	id := w.post(t, stores)
	create, process := w.of(t, "create "+stores, id, 1)[0], w.of(t, "process "+stores, id, 1)[0]
	process.is(t, consumer, "process", create.SpanId, create.SpanId)
	if process.attribute("intent.acknowledged") == "" || process.attribute("http.response.status_code") != "202" {
		t.Errorf("acknowledged: %v", process.Attributes)
	}
	w.call(t, w.home, "POST", "/v1/intents/"+id+"/resolve", json.RawMessage(`{"status":"COMPLETED"}`), "", nil)
	resolve := w.of(t, "resolve "+stores, id, 1)[0]
	resolve.is(t, client, "settle", resolve.ParentSpanId, create.SpanId, process.SpanId)

	for range 3 {
		answers <- 500
	}
	var doc struct {
		ID string `json:"intent_id"`
	}
	w.call(t, w.home, "POST", "/v1/intents", map[string]any{
		"intent_type": "intent.order.process.v1", "to_agent": stores, "payload": struct{}{}, "delivery": map[string]any{"max_delivery_attempts": 3},
	}, app, &doc)
	for i, s := range w.of(t, "process "+stores, doc.ID, 3) {
		if is := s.Status.GetCode() == otlp.Status_STATUS_CODE_ERROR; is != (i == 2) || s.attribute("error.type") != "attempt_failed" {
			t.Errorf("attempt %d: %v, %v", i+1, s.Status, s.Attributes)
		}
	}
}

// What is done late is the root of a trace of its own, and linked to where it comes from.
func TestLateTraces(t *testing.T) {
	const young = time.Millisecond
	w := newTraced(t, young)
	w.answers = []int{500, 500, 500, 500, 500, 500, 500, 500}
	id := w.post(t, stores)
	create := w.of(t, "create "+stores, id, 1)[0]
	tries := w.of(t, "process "+stores, id, 9)
	late := 0
	for i, s := range tries[1:] {
		if !slices.Equal(s.links(), []string{hex.EncodeToString(create.SpanId), hex.EncodeToString(tries[i].SpanId)}) {
			t.Errorf("attempt %d links to %v", i+2, s.links())
		}
		if len(s.ParentSpanId) == 0 {
			late++
			if s.trace() == appTrace {
				t.Error("a root in the app's trace")
			}
		}
	}
	if late == 0 {
		t.Fatal("no attempt was late")
	}

	// aged posts an intent that has been held for longer than it is young.
	aged := func(t *testing.T) (id string, create sunk) {
		id = w.post(t, billing)
		await(t, "it is held", func() bool {
			a, err := http.Get("http://" + w.holder.API + "/v1/intents/" + id)
			if err != nil {
				t.Fatal(err)
			}
			a.Body.Close()
			return a.StatusCode == http.StatusOK
		})
		seen := time.Now()
		await(t, "it is not young", func() bool { return time.Since(seen) > 2*young })
		return id, w.of(t, "create "+billing, id, 1)[0]
	}
	t.Run("stream", func(t *testing.T) {
		id, create := aged(t)
		next, hangUp := w.stream(t, 0)
		defer hangUp()
		h := next()
		w.settle(t, "ack", h, "")
		process := w.of(t, "process "+billing, id, 1)[0]
		process.is(t, consumer, "process", nil, create.SpanId)
		if process.trace() == appTrace || h.Traceparent != process.context() {
			t.Errorf("the app is told %s, want that of the hand-over, a trace of its own: %s", h.Traceparent, process.context())
		}
	})
	t.Run("poll", func(t *testing.T) {
		id, create := aged(t)
		h := w.poll(t)
		w.settle(t, "ack", h, "")
		below, _ := hex.DecodeString(pollSpan)
		// However late, it is the app's own poll that receives it.
		w.of(t, "receive "+billing, id, 1)[0].is(t, client, "receive", below, create.SpanId)
	})
}

// Nothing is exported, and nothing runs, unless it is asked for; contexts are passed on.
func TestNoTraces(t *testing.T) {
	w := newTraced(t, time.Minute)
	w.home.halt(t)
	w.holder.halt(t)
	w.sink.mu.Lock()
	w.spans = nil
	w.sink.mu.Unlock()
	o := options(t)
	o.Agents = []proxy.AgentOption{{Address: billing}}
	w.home = run(t, o)
	w.holder = w.home
	w.post(t, billing)
	h := w.poll(t)
	if h.Traceparent != app {
		t.Errorf("the app is told %s, want what the sender's said", h.Traceparent)
	}
	w.settle(t, "ack", h, "")
	w.home.halt(t)
	if len(w.spans) > 0 {
		t.Errorf("%d spans", len(w.spans))
	}
}

// Where OTEL_PROPAGATORS names no context, none passes by header, in or out.
func TestNoTraceHeaders(t *testing.T) {
	w := &traced{sink: newSink(t)}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", w.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
	got := make(chan http.Header, 1)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header }))
	t.Cleanup(hook.Close)
	o := options(t)
	o.Tracing.OTLP, o.Tracing.NoHeaders = true, true
	o.Agents = []proxy.AgentOption{{Address: stores, Binding: "http", URL: hook.URL}}
	w.home = run(t, o)
	id := w.post(t, stores)
	if h := <-got; h.Get("Traceparent") != "" || h.Get("Tracestate") != "" {
		t.Errorf("the app is told %q %q", h.Get("Traceparent"), h.Get("Tracestate"))
	}
	create := w.of(t, "create "+stores, id, 1)[0]
	if create.trace() == appTrace || create.TraceState != "" {
		t.Errorf("the creation is in trace %s, state %q, of a header", create.trace(), create.TraceState)
	}
}

// A collector that never answers delays neither deliveries nor, beyond its time, a stop.
func TestDeadCollector(t *testing.T) {
	stuck := make(chan struct{})
	k := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stuck }))
	t.Cleanup(k.Close)
	t.Cleanup(func() { close(stuck) })
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", k.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
	o := options(t)
	var log journalOfLogs
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	o.Agents = []proxy.AgentOption{{Address: billing}}
	o.Tracing.OTLP = true
	s := run(t, o)
	w := &traced{home: s, holder: s}
	for range 20 {
		w.post(t, billing)
		w.settle(t, "ack", w.poll(t), "")
	}
	if _, err := s.halt(t); err != nil {
		t.Errorf("stopped with %v", err)
	}
	if !strings.Contains(log.String(), "spans lost") {
		t.Error("nobody was told of the spans lost")
	}
	if n := strings.Count(log.String(), "spans lost"); n > 2 { // the first, and the rest at the stop
		t.Errorf("losses were logged %d times", n)
	}
}
