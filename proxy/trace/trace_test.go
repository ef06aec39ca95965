package trace_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/protobuf/proto"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
	"pannier/proxy/trace"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	made    = "00-" + traceID + "-00f067aa0ba902b7-01" // creation
	unseen  = "00-" + traceID + "-00f067aa0ba902b7-00" // not sampled
	offered = "00-" + traceID + "-00f067aa0ba902b8-01"
	before  = "00-" + traceID + "-00f067aa0ba902b9-01"
)

// setup returns a tracer and what has become of its spans. Journals have nothing to read.
func setup(o trace.Options) (*trace.Tracer, *tracetest.SpanRecorder) {
	r := tracetest.NewSpanRecorder()
	p := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r), sdktrace.WithIDGenerator(trace.IDs{}))
	return trace.New(o, p, "test", func(journal.ID) (*journal.Intent, error) { return nil, errors.New("gone") }), r
}

func envelope(traceparent string, created time.Time) *wire.Envelope {
	return &wire.Envelope{ToAgent: "b", Traceparent: traceparent, Tracestate: "vendor=1", CreatedAtMs: created.UnixMilli()}
}

// links are the span ids that a span links to.
func links(s sdktrace.ReadOnlySpan) (ids []string) {
	for _, l := range s.Links() {
		ids = append(ids, l.SpanContext.SpanID().String())
	}
	return ids
}

// A send that came to nothing is what the next one links to, also where no attempt was
// heard of; one that was held is not.
func TestSendsAreLinked(t *testing.T) {
	t.Parallel()
	tracer, spans := setup(trace.DefaultOptions())
	e, _ := proto.Marshal(envelope(made, time.Now()))
	o := &journal.Offer{ID: journal.NewID(), OfferNo: 1, Envelope: e, Previous: before}
	for _, code := range []string{"busy", "", ""} {
		tracer.Send(o, "b", "127.0.0.1:1").End(code)
	}
	s := spans.Ended()
	for i, want := range []string{"00f067aa0ba902b9", s[0].SpanContext().SpanID().String(), "00f067aa0ba902b9"} {
		if got := links(s[i]); len(got) != 2 || got[0] != "00f067aa0ba902b7" || got[1] != want {
			t.Errorf("send %d links to %v, want the creation and %s", i+1, got, want)
		}
	}
}

// What begins soon is a child; what begins late is a root, with the same links.
func TestLateIsARoot(t *testing.T) {
	t.Parallel()
	tracer, spans := setup(trace.DefaultOptions())
	for _, row := range []struct {
		rule          string
		created, held time.Duration // ago
		offer         string
		parent        string
	}{
		{"held just now", time.Hour, time.Second, offered, "00f067aa0ba902b8"},
		{"held long ago", time.Hour, time.Hour, offered, ""},
		{"home is here, and it was created just now", time.Second, time.Hour, "", "00f067aa0ba902b7"},
		{"home is here, and it was created long ago", time.Hour, time.Second, "", ""},
	} {
		now := time.Now()
		h := &journal.Handed{ID: journal.NewID(), Attempt: 1, Envelope: envelope(made, now.Add(-row.created))}
		h.Trace = journal.Trace{Offer: row.offer, Previous: before, Held: now.Add(-row.held)}
		var out journal.Pushed
		p := tracer.Push(h, "http://127.0.0.1:1")
		p.Note(&out)
		p.End(journal.Done, time.Now(), "", false)
		s := spans.Ended()[len(spans.Ended())-1]
		got := ""
		if s.Parent().IsValid() {
			got = s.Parent().SpanID().String()
		}
		if got != row.parent || (s.SpanContext().TraceID().String() == traceID) != (row.parent != "") {
			t.Errorf("%s: below %q in %s, want below %q", row.rule, got, s.SpanContext().TraceID(), row.parent)
		}
		if l := links(s); len(l) != 2 || l[0] != "00f067aa0ba902b7" || l[1] != "00f067aa0ba902b9" {
			t.Errorf("%s: links to %v", row.rule, l)
		}
		if out.Trace != h.Traceparent || out.Began.IsZero() {
			t.Errorf("%s: the journal is given %+v, the app was told %s", row.rule, out, h.Traceparent)
		}
	}
}

// The offer of a stranger is linked to: the hand-over is a root, sampled as we sample.
func TestForeignIsLinked(t *testing.T) {
	t.Parallel()
	tracer, spans := setup(trace.DefaultOptions())
	h := &journal.Handed{ID: journal.NewID(), Attempt: 2, Envelope: envelope(unseen, time.Now())}
	h.Trace = journal.Trace{Offer: offered, Foreign: true, Previous: before, Held: time.Now()}
	tracer.Push(h, "").End(journal.Done, time.Now(), "", false)
	h.Trace.Own = tracer.HandOver(h, time.Now())
	tracer.HandedOver(journal.HandedOver{ID: h.ID, Agent: "b", Attempt: 2, Trace: h.Trace, Move: state.GiveFinal})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tracer.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if len(spans.Ended()) != 2 {
		t.Fatalf("%d spans", len(spans.Ended()))
	}
	want := [][]string{{"00f067aa0ba902b7", "00f067aa0ba902b8", "00f067aa0ba902b9"}, {"00f067aa0ba902b8", "00f067aa0ba902b9"}}
	for i, s := range spans.Ended() { // of the second the envelope is not read here
		if got := links(s); s.Parent().IsValid() || s.SpanContext().TraceID().String() == traceID || !slices.Equal(got, want[i]) {
			t.Errorf("below %v in %s, with links to %v; want %v", s.Parent(), s.SpanContext().TraceID(), got, want[i])
		}
	}
}

// The span of a hand-over on a stream has the ids that were given when it began, its
// parent and its times, whoever makes it.
func TestSpanIsMadeAtItsEnd(t *testing.T) {
	t.Parallel()
	first, _ := setup(trace.DefaultOptions())
	second, spans := setup(trace.DefaultOptions()) // after a restart
	began := time.Now().Truncate(time.Millisecond)
	h := &journal.Handed{ID: journal.NewID(), Attempt: 2, Envelope: envelope(made, began)}
	h.Trace = journal.Trace{Offer: offered, Held: began}
	own := first.HandOver(h, began)
	h.Trace.Own = own
	second.HandedOver(journal.HandedOver{ID: h.ID, Agent: "b", Attempt: 2, Trace: h.Trace, Began: began, End: began.Add(time.Hour), Move: state.FailTry})
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // what waits is made all the same
	if err := second.Run(ctx); err != nil {
		t.Fatal(err)
	}
	s := spans.Ended()
	if len(s) != 1 {
		t.Fatalf("%d spans", len(s))
	}
	if got := "00-" + s[0].SpanContext().TraceID().String() + "-" + s[0].SpanContext().SpanID().String() + "-01"; got != own {
		t.Errorf("the span is %s, and the app was told %s", got, own)
	}
	if s[0].Parent().SpanID().String() != "00f067aa0ba902b8" || !s[0].StartTime().Equal(began) || s[0].EndTime().Sub(began) != time.Hour || s[0].Name() != "process b" || s[0].Status().Description != "attempt_failed" {
		t.Errorf("the span is %+v", s[0])
	}
}

// A failed attempt that is made again is no error for who does not want it to be; its
// code is there all the same. The last one is an error, and so is a rejection.
func TestRetriedAttemptStatus(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		status string
		came   journal.Came
		again  bool
		want   codes.Code
	}{
		{"error", journal.Failed, true, codes.Error}, {"unset", journal.Failed, true, codes.Unset},
		{"unset", journal.Failed, false, codes.Error}, {"unset", journal.Refused, false, codes.Error},
	} {
		o := trace.DefaultOptions()
		o.TraceRetriedAttemptStatus = row.status
		tracer, spans := setup(o)
		tracer.Push(&journal.Handed{ID: journal.NewID(), Attempt: 1, Envelope: envelope(made, time.Now())}, "").End(row.came, time.Now(), "code", row.again)
		s := spans.Ended()[0]
		if s.Status().Code != row.want || !slices.Contains(s.Attributes(), attribute.String("error.type", "code")) {
			t.Errorf("%s, %d: %v, %v", row.status, row.came, s.Status(), s.Attributes())
		}
	}
}

// A push whose app works on says so: its end is not that of the work.
func TestAcknowledgedPush(t *testing.T) {
	t.Parallel()
	tracer, spans := setup(trace.DefaultOptions())
	answered := time.Now().Add(-time.Minute)
	tracer.Push(&journal.Handed{ID: journal.NewID(), Attempt: 1, Envelope: envelope(made, time.Now())}, "").End(journal.Taken, answered, "", false)
	s := spans.Ended()[0]
	if !slices.Contains(s.Attributes(), attribute.Bool("intent.acknowledged", true)) || s.Status().Code != codes.Unset || !s.EndTime().Equal(answered) {
		t.Errorf("%v, %v until %v", s.Attributes(), s.Status(), s.EndTime())
	}
}

// What the sender's side does not sample is not sampled here, and kept nowhere.
func TestUnsampled(t *testing.T) {
	t.Parallel()
	tracer, spans := setup(trace.DefaultOptions())
	h := &journal.Handed{ID: journal.NewID(), Attempt: 1, Envelope: envelope(unseen, time.Now())}
	if own := tracer.HandOver(h, time.Now()); own != "" {
		t.Errorf("a hand-over is given %s", own)
	}
	var out journal.Pushed
	p := tracer.Push(h, "http://127.0.0.1:1")
	header := http.Header{}
	p.Header(header, h)
	p.Note(&out)
	p.End(journal.Done, time.Now(), "", false)
	if out.Trace != "" || header.Get("Traceparent")[53:] != "00" || header.Get("Tracestate") != "vendor=1" {
		t.Errorf("a push is kept as %q, and its app told %v", out.Trace, header)
	}
	if n := len(spans.Ended()); n > 0 {
		t.Errorf("%d spans", n)
	}
}

// An event's own context is what its creation hangs below; the request is linked to.
func TestEventsKeepTheirTrace(t *testing.T) {
	t.Parallel()
	tracer, spans := setup(trace.DefaultOptions())
	r := httptest.NewRequest("POST", "/v1/intents", nil)
	r.Header.Set("Traceparent", "00-2222222222222222222222222222222b-1111111111111111-01")
	r, ended := tracer.Serve(r)
	e := envelope(made, time.Now())
	tracer.Create(r.Context(), e).End(journal.Accepted{ID: journal.NewID()}, "")
	ended("/v1/intents", 500)
	s := spans.Ended()
	if s[0].Parent().SpanID().String() != "00f067aa0ba902b7" || len(links(s[0])) != 1 || links(s[0])[0] != s[1].SpanContext().SpanID().String() || e.Traceparent == made || e.Tracestate != "vendor=1" {
		t.Errorf("created below %v with links to %v, as %s %s", s[0].Parent(), links(s[0]), e.Traceparent, e.Tracestate)
	}
	if s[1].Name() != "POST /v1/intents" || s[1].Status().Description != "500" {
		t.Errorf("the request is %s, %v", s[1].Name(), s[1].Status())
	}
}

// The tracer that makes nothing changes nothing.
func TestNilTracer(t *testing.T) {
	t.Parallel()
	var tracer *trace.Tracer
	e := envelope(made, time.Now())
	tracer.Create(t.Context(), e).End(journal.Accepted{}, "")
	h := &journal.Handed{Envelope: e, Traceparent: made}
	header := http.Header{}
	tracer.Push(h, "").Header(header, h)
	tracer.HandedOver(journal.HandedOver{})
	tracer.Settled(t.Context(), trace.Ack, time.Now(), []journal.ID{{}}, "")
	if e.Traceparent != made || header.Get("Traceparent") != made || header.Get("Tracestate") != "vendor=1" || tracer.Receive(t.Context(), "b").Traceparent() != "" {
		t.Errorf("the envelope says %s, the app is told %v", e.Traceparent, header)
	}
}
