package trace

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"math/rand/v2"
	"slices"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"pannier/journal/wire"
)

// carrier has the two headers of W3C Trace Context.
type carrier struct{ parent, state string }

func (c *carrier) Get(key string) string {
	switch key {
	case "traceparent":
		return c.parent
	case "tracestate":
		return c.state
	}
	return ""
}

func (c *carrier) Set(key, value string) {
	switch key {
	case "traceparent":
		c.parent = value
	case "tracestate":
		c.state = value
	}
}

func (c *carrier) Keys() []string { return []string{"traceparent", "tracestate"} }

// parse reads a context; the zero one where there is none, or none that is well formed.
func parse(traceparent, tracestate string) trace.SpanContext {
	if traceparent == "" {
		return trace.SpanContext{}
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), &carrier{traceparent, tracestate})
	return trace.SpanContextFromContext(ctx)
}

func format(sc trace.SpanContext) (traceparent, tracestate string) {
	c := &carrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpanContext(context.Background(), sc), c)
	return c.parent, c.state
}

// Exported is the traceparent of what a context is in, where spans of it are exported.
func Exported(ctx context.Context) string {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsSampled() {
		return ""
	}
	return span{trace.SpanFromContext(ctx)}.Traceparent()
}

// creation is the context of an intent's creation.
func creation(e *wire.Envelope) trace.SpanContext {
	return parse(e.GetTraceparent(), e.GetTracestate())
}

// within is a context of which only the traceparent was kept. In the trace of the
// creation it has the same state.
func within(traceparent string, e *wire.Envelope) trace.SpanContext {
	sc := parse(traceparent, "")
	if made := creation(e); made.TraceID() == sc.TraceID() {
		return sc.WithTraceState(made.TraceState())
	}
	return sc
}

// linksTo makes a link of each context there is, once.
func linksTo(list ...trace.SpanContext) (links []trace.Link) {
	for i, sc := range list {
		if !sc.IsValid() || slices.ContainsFunc(list[:i], sc.Equal) {
			continue
		}
		links = append(links, trace.Link{SpanContext: sc})
	}
	return links
}

// givenKey is where a context has the ids that a span is to have.
type givenKey struct{}

// IDs makes the ids of spans: those that one was given at its start, or random ones.
// It is the id generator of the provider behind a Tracer.
type IDs struct{}

// NewIDs is for the root of a trace.
func (IDs) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if sc, given := ctx.Value(givenKey{}).(trace.SpanContext); given {
		return sc.TraceID(), sc.SpanID()
	}
	var id trace.TraceID
	crand.Read(id[:])
	return id, newSpanID()
}

// NewSpanID is for a span below another.
func (IDs) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	if sc, given := ctx.Value(givenKey{}).(trace.SpanContext); given {
		return sc.SpanID()
	}
	return newSpanID()
}

func newSpanID() (id trace.SpanID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}
