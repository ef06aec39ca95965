package trace

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// parent is what a hand-over hangs below: the offer it came with, or the creation
// where home is here. Long after that it is nothing, and so is a stranger's trace: how
// much of it is sampled is their decision, and its other spans are in their hands.
func (t *Tracer) parent(tr *journal.Trace, e *wire.Envelope, now time.Time) trace.SpanContext {
	if tr.Foreign {
		return trace.SpanContext{}
	}
	if tr.Offer != "" {
		return t.young(within(tr.Offer, e), tr.Held, now)
	}
	return t.young(creation(e), time.UnixMilli(e.CreatedAtMs), now)
}

// process begins the span of a hand-over.
func (t *Tracer) process(parent trace.SpanContext, given context.Context, tr *journal.Trace, e *wire.Envelope, dest string, id journal.ID, no uint32, mode string, at time.Time) trace.Span {
	var offer trace.SpanContext // a link where it is no parent for being a stranger's
	if tr.Foreign {
		offer = within(tr.Offer, e)
	}
	attributes := append(messaging(semconv.MessagingOperationTypeProcess, opProcess, dest, id, e), attempt.Int64(int64(no)), deliveryMode.String(mode))
	_, s := t.to.Start(trace.ContextWithSpanContext(given, parent), opProcess+" "+dest, trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithTimestamp(at), trace.WithLinks(linksTo(creation(e), offer, within(tr.Previous, e))...), trace.WithAttributes(attributes...))
	return s
}

// HandOver returns the context of a hand-over on a stream, whose span is made when it
// is over. Empty where it is not sampled: the app is told of the creation then, which
// says the same.
func (t *Tracer) HandOver(h *journal.Handed, now time.Time) string {
	if t == nil {
		return ""
	}
	s := t.process(t.parent(&h.Trace, h.Envelope, now), context.Background(), &h.Trace, h.Envelope, h.Envelope.ToAgent, h.ID, h.Attempt, "stream", now)
	if !s.SpanContext().IsSampled() {
		return ""
	}
	return span{s}.Traceparent()
}

// HandedOver takes note of a hand-over on a stream that is over. Where too many wait
// for their spans it is lost.
func (t *Tracer) HandedOver(h journal.HandedOver) {
	if t == nil {
		return
	}
	select {
	case t.over <- h:
	default:
		t.lost.Add(1)
	}
}

// Run makes the spans of hand-overs that are over, until ctx ends and all of them are
// made. They are not made where they end: that is on the journal's one writer.
func (t *Tracer) Run(ctx context.Context) error {
	for {
		select {
		case h := <-t.over:
			t.make(&h)
			continue
		default:
		}
		select {
		case h := <-t.over:
			t.make(&h)
		case <-ctx.Done():
			if len(t.over) == 0 {
				return nil
			}
		}
	}
}

// make makes the span of a hand-over under the ids it was given. Its parent is the one
// it had then, if it is of that trace: a root has a trace of its own.
func (t *Tracer) make(h *journal.HandedOver) {
	own := parse(h.Trace.Own, "")
	if !own.IsSampled() {
		return
	}
	var e *wire.Envelope
	if i, err := t.read(h.ID); err == nil {
		e = i.Envelope // nil: it has left, and the span says less
	}
	parent := within(h.Trace.Offer, e)
	if h.Trace.Offer == "" {
		parent = creation(e)
	}
	if parent.TraceID() != own.TraceID() {
		parent = trace.SpanContext{}
	}
	given := context.WithValue(context.Background(), givenKey{}, own)
	s := t.process(parent, given, &h.Trace, e, h.Agent, h.ID, h.Attempt, "stream", h.Began)
	if h.Move == state.FailTry {
		t.retried(s, failed)
	} else {
		fail(s, failure(h.Move))
	}
	s.End(trace.WithTimestamp(h.End))
}

// failed is the code of a failed attempt.
const failed = "attempt_failed"

// failure is the code of a hand-over that the move has ended.
func failure(m state.Move) string {
	switch m {
	case state.GiveFinal:
		return ""
	case state.FailTry, state.Exhaust:
		return failed
	case state.Refuse:
		return "rejected"
	case state.Recover:
		return "taken_back" // no attempt was counted
	}
	return m.String()
}

// Lost returns how many spans were lost since it was last asked.
func (t *Tracer) Lost() int64 { return t.lost.Swap(0) }

// Pushing is a hand-over that is being sent to its app.
type Pushing struct {
	t     *Tracer
	s     trace.Span
	began time.Time
}

// Push begins the span of a hand-over by http, and tells the app its context.
func (t *Tracer) Push(h *journal.Handed, to string) Pushing {
	p := Pushing{t: t, began: time.Now()}
	if t == nil {
		return p
	}
	p.s = t.process(t.parent(&h.Trace, h.Envelope, p.began), context.Background(), &h.Trace, h.Envelope, h.Envelope.ToAgent, h.ID, h.Attempt, "http", p.began)
	if u, err := url.Parse(to); err == nil {
		p.s.SetAttributes(semconv.ServerAddress(u.Hostname()))
		if n, err := strconv.Atoi(u.Port()); err == nil {
			p.s.SetAttributes(semconv.ServerPort(n))
		}
	}
	h.Traceparent, _ = format(p.s.SpanContext())
	return p
}

// Header adds what the app is told to the headers of a request.
func (p Pushing) Header(h http.Header, handed *journal.Handed) {
	if handed.Traceparent == "" {
		return
	}
	h.Set("Traceparent", handed.Traceparent)
	state := handed.Envelope.Tracestate
	if p.s != nil {
		_, state = format(p.s.SpanContext())
	}
	if state != "" {
		h.Set("Tracestate", state)
	}
}

// Answered notes the status of the app's answer.
func (p Pushing) Answered(status int) {
	if p.s != nil {
		p.s.SetAttributes(semconv.HTTPResponseStatusCode(status))
	}
}

// Note gives the journal what it keeps of it.
func (p Pushing) Note(out *journal.Pushed) {
	out.Began = p.began
	if p.s != nil && p.s.SpanContext().IsSampled() {
		out.Trace, _ = format(p.s.SpanContext())
	}
}

// End ends it, as of when the answer came. again: it failed, and will be sent again;
// at the last attempt it will not, as the journal alone can say.
func (p Pushing) End(came journal.Came, answered time.Time, code string, again bool) {
	switch {
	case p.s == nil:
		return
	case came == journal.Taken:
		p.s.SetAttributes(acknowledged.Bool(true))
	case again:
		p.t.retried(p.s, code)
	default:
		fail(p.s, code)
	}
	p.s.End(trace.WithTimestamp(answered))
}

// Receiving is a poll.
type Receiving struct {
	s trace.Span
}

// Receive begins the span of a poll, below what the app has named in its request.
func (t *Tracer) Receive(ctx context.Context, agent string) Receiving {
	if t == nil {
		return Receiving{}
	}
	return Receiving{t.start(trace.SpanContextFromContext(ctx), opReceive+" "+agent, trace.SpanKindClient, time.Now(), nil,
		messaging(semconv.MessagingOperationTypeReceive, opReceive, agent, journal.ID{}, nil)...)}
}

// Traceparent is what the hand-overs of the poll are known by; empty: by nothing.
func (r Receiving) Traceparent() string {
	if r.s == nil || !r.s.SpanContext().IsSampled() {
		return ""
	}
	return span{r.s}.Traceparent()
}

// End ends the poll with what it got. One that got nothing has no span.
func (r Receiving) End(got []journal.Handed) {
	if r.s == nil || len(got) == 0 {
		return
	}
	for i := range got {
		h := &got[i]
		for _, l := range linksTo(creation(h.Envelope), within(h.Trace.Previous, h.Envelope)) {
			l.Attributes = []attribute.KeyValue{semconv.MessagingMessageID(h.ID.String()), attempt.Int64(int64(h.Attempt))}
			r.s.AddLink(l)
		}
	}
	r.s.SetAttributes(deliveryMode.String("poll"), semconv.MessagingBatchMessageCount(len(got)))
	if len(got) == 1 {
		e := got[0].Envelope
		r.s.SetAttributes(semconv.MessagingMessageID(got[0].ID.String()), semconv.MessagingMessageConversationID(e.CorrelationId),
			semconv.MessagingMessageBodySize(len(e.Payload)), intentType.String(e.IntentType), attempt.Int64(int64(got[0].Attempt)))
	}
	r.s.End()
}

// settleLinks is how many of what is settled at once is linked to: as many links as
// the SDK keeps of a span.
const settleLinks = 64

// Settled makes the span of answers that came in one request: it began then, and is
// over. It links to how each of the intents was handed over, and to its creation.
func (t *Tracer) Settled(ctx context.Context, verb string, began time.Time, ids []journal.ID, code string) {
	if t == nil || len(ids) == 0 {
		return
	}
	s := t.start(trace.SpanContextFromContext(ctx), verb, trace.SpanKindClient, began, nil)
	if !s.IsRecording() {
		return
	}
	dest, one := "", journal.ID{}
	var only *wire.Envelope
	for _, id := range ids[:min(len(ids), settleLinks)] {
		i, err := t.read(id)
		if err != nil || i.Envelope == nil {
			continue
		}
		dest = i.Envelope.ToAgent
		if len(ids) == 1 {
			one, only = id, i.Envelope
		}
		for _, l := range linksTo(creation(i.Envelope), within(i.Handover.GetTraceparent(), i.Envelope)) {
			s.AddLink(l)
		}
	}
	s.SetName(verb + " " + dest)
	s.SetAttributes(messaging(semconv.MessagingOperationTypeSettle, verb, dest, one, only)...)
	if len(ids) > 1 {
		s.SetAttributes(semconv.MessagingBatchMessageCount(len(ids)))
	}
	fail(s, code)
	s.End()
}
