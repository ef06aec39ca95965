package trace

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"pannier/journal"
	"pannier/journal/wire"
	"pannier/outbound"
)

// Serve begins the span of a request of the app that changes something, below the
// one the app names. One that only reads has none, but what is done for it hangs
// below the app's. ended is to be called with the route and the status, once.
func (t *Tracer) Serve(r *http.Request) (_ *http.Request, ended func(route string, status int)) {
	if t == nil {
		return r, func(string, int) {}
	}
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	if !methods[r.Method] {
		return r.WithContext(ctx), func(string, int) {}
	}
	ctx, s := t.to.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(semconv.HTTPRequestMethodKey.String(r.Method), semconv.URLScheme("http")))
	return r.WithContext(ctx), func(route string, status int) {
		if route != "" {
			s.SetName(r.Method + " " + route)
			s.SetAttributes(semconv.HTTPRoute(route))
		}
		s.SetAttributes(semconv.HTTPResponseStatusCode(status))
		if status >= http.StatusInternalServerError { // what is wrong with a request is no error of its server
			fail(s, strconv.Itoa(status))
		}
		s.End()
	}
}

// Created is an intent that is being accepted.
type Created struct{ s trace.Span }

// Create begins the span of an intent's creation and puts its context into the
// envelope, in the place of the one that came with it: the request's, or the
// event's own, which is then its parent.
func (t *Tracer) Create(ctx context.Context, e *wire.Envelope) Created {
	if t == nil {
		return Created{}
	}
	parent, server := creation(e), trace.SpanContextFromContext(ctx)
	var links []trace.Link
	switch {
	case !parent.IsValid() || parent.TraceID() == server.TraceID():
		parent = server
	case server.IsValid():
		links = linksTo(server)
	}
	s := t.start(parent, opCreate+" "+e.ToAgent, trace.SpanKindProducer, time.Now(), links,
		messaging(semconv.MessagingOperationTypeCreate, opCreate, e.ToAgent, journal.ID{}, e)...)
	e.Traceparent, e.Tracestate = format(s.SpanContext())
	return Created{s}
}

// End ends it with what the journal said; code is of an error, empty where there is none.
func (c Created) End(a journal.Accepted, code string) {
	if c.s == nil {
		return
	}
	if !a.ID.IsZero() {
		c.s.SetAttributes(semconv.MessagingMessageID(a.ID.String()))
	}
	if a.Replayed {
		c.s.SetAttributes(replayed.Bool(true))
	}
	fail(c.s, code)
	c.s.End()
}

// Send begins the span of an offer to another sidecar.
func (t *Tracer) Send(o *journal.Offer, agent, address string) outbound.Span {
	if t == nil {
		return none{}
	}
	e := &wire.Envelope{}
	if err := proto.Unmarshal(o.Envelope, e); err != nil {
		return none{} // it is offered all the same, and refused for that
	}
	now, made := time.Now(), creation(e)
	t.mu.Lock()
	before := t.mu.sends[o.ID]
	t.mu.Unlock()
	if before == "" {
		before = o.Previous
	}
	attributes := append(messaging(semconv.MessagingOperationTypeSend, opSend, agent, o.ID, e), offerNo.Int64(int64(o.OfferNo)), attempt.Int64(int64(o.Attempts)+1))
	if host, port, err := net.SplitHostPort(address); err == nil {
		n, _ := strconv.Atoi(port)
		attributes = append(attributes, semconv.ServerAddress(host), semconv.ServerPort(n))
	}
	s := t.start(t.young(made, time.UnixMilli(e.CreatedAtMs), now), opSend+" "+agent, trace.SpanKindClient, now,
		linksTo(made, within(before, e)), attributes...)
	return sending{span{s}, t, o.ID}
}

// sending is a send under way.
type sending struct {
	span
	t  *Tracer
	id journal.ID
}

// End remembers a send that came to nothing, for the next to link to.
func (s sending) End(code string) {
	s.t.retried(s.Span, code)
	s.Span.End()
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	if code == "" {
		delete(s.t.mu.sends, s.id)
		return
	}
	if len(s.t.mu.sends) >= sendsMost {
		clear(s.t.mu.sends) // a link less
	}
	s.t.mu.sends[s.id] = s.Traceparent()
}

// Redrive begins the span of a redrive: the creation of the successor.
func (t *Tracer) Redrive(r *journal.Redrive, original *wire.Envelope) outbound.Span {
	if t == nil || original == nil {
		return none{}
	}
	dest := original.ToAgent
	if r.ToAgent != "" {
		dest = r.ToAgent
	}
	s := t.start(trace.SpanContext{}, opRedrive+" "+dest, trace.SpanKindProducer, time.Now(), linksTo(creation(original)),
		messaging(semconv.MessagingOperationTypeCreate, opRedrive, dest, journal.ID{}, original)...)
	r.Traceparent, r.Tracestate = format(s.SpanContext())
	return span{s}
}
