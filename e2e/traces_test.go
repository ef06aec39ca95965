package e2e_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// spanSink is a collector: spans by id.
type spanSink struct {
	*httptest.Server
	mu    sync.Mutex
	spans map[string]*otlp.Span
}

func newSpanSink(t testing.TB) *spanSink {
	k := &spanSink{spans: map[string]*otlp.Span{}}
	k.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var got collector.ExportTraceServiceRequest
		if err != nil || proto.Unmarshal(body, &got) != nil {
			return // a sender that was killed
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, resource := range got.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				for _, s := range scope.Spans {
					k.spans[hex.EncodeToString(s.SpanId)] = s
				}
			}
		}
	}))
	t.Cleanup(k.Close)
	return k
}

// span waits for the span of an id, which must have that name.
func (k *spanSink) span(t testing.TB, name, id string) *otlp.Span {
	t.Helper()
	var s *otlp.Span
	eventually(t, "the span "+name, func() error {
		k.mu.Lock()
		defer k.mu.Unlock()
		if s = k.spans[id]; s == nil {
			return fmt.Errorf("%d other spans", len(k.spans))
		}
		return nil
	})
	if s.Name != name {
		t.Errorf("span %s is %q, want %q", id, s.Name, name)
	}
	return s
}

// TestTraceOutlivesItsSidecars: the app that sends and the one that receives see one
// trace, also when both sidecars are killed while the second one works; `pannier
// trace` draws it from either, with no collector.
func TestTraceOutlivesItsSidecars(t *testing.T) {
	t.Parallel()
	k := newSpanSink(t)
	home, holder := pair(t, nil)
	for _, s := range []*sidecar{home, holder} {
		s.set.env = append(s.set.env, "OTEL_EXPORTER_OTLP_ENDPOINT="+k.URL, "OTEL_BSP_SCHEDULE_DELAY=10")
		s.launch()
	}
	home.awaitReady()
	holder.awaitReady()
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	var posted struct {
		ID string `json:"intent_id"`
	}
	home.call("POST", "/v1/intents", message(billing, map[string]any{"order_id": "ORD-1"}), "traceparent", "00-"+trace+"-"+parent+"-01").into(t, &posted)
	app := holder.read("?wait_seconds=60")
	it, _ := app.next()
	if it.ID != posted.ID || len(it.Traceparent) != 55 || it.Traceparent[3:35] != trace {
		t.Fatalf("handed over %s under %q, want the trace %s", it.ID, it.Traceparent, trace)
	}
	// What home has to say is with the collector before it is killed.
	var send *otlp.Span
	eventually(t, "the spans of post, creation and offer", func() error {
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, s := range k.spans {
			if s.Name == "send "+billing {
				send = s
			}
		}
		if len(k.spans) < 3 || send == nil {
			return fmt.Errorf("%d spans", len(k.spans))
		}
		return nil
	})
	home.kill()
	holder.kill()
	home.start()
	holder.start()
	holder.ack(it, nil)
	home.wait(it.ID)

	process := k.span(t, "process "+billing, it.Traceparent[36:52])
	if hex.EncodeToString(process.ParentSpanId) != hex.EncodeToString(send.SpanId) || process.Status.GetCode() == otlp.Status_STATUS_CODE_ERROR {
		t.Errorf("the hand-over's span is %v", process)
	}
	create := k.span(t, "create "+billing, hex.EncodeToString(send.ParentSpanId))
	post := k.span(t, "POST /v1/intents", hex.EncodeToString(create.ParentSpanId))
	if hex.EncodeToString(post.ParentSpanId) != parent || hex.EncodeToString(post.TraceId) != trace {
		t.Errorf("the post's span is %v, want it below the app's", post)
	}

	for _, s := range []*sidecar{home, holder} {
		out, err := exec.Command(binary(t), "trace", it.ID, "--addr", s.api, "-o", "json").Output()
		var drawn struct {
			Status  string
			TraceID string `json:"trace_id"`
			Bars    []struct{ Name string }
		}
		if err != nil || json.Unmarshal(out, &drawn) != nil {
			t.Fatalf("trace at %s: %v\n%s", s.set.name, err, out)
		}
		names := ""
		for _, b := range drawn.Bars {
			names += b.Name + " "
		}
		if drawn.Status != "COMPLETED" || drawn.TraceID != trace || names != "journal queue wire mailbox app report " {
			t.Errorf("trace at %s draws %s", s.set.name, out)
		}
	}
}
