package trace

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"pannier/journal"
)

// Options configure a Tracer.
type Options struct {
	// TraceParentMaxAge is how long after an intent was created, or held, what is done
	// with it is still part of that trace.
	TraceParentMaxAge time.Duration
	// TraceRetriedAttemptStatus is the status of the span of an attempt that failed
	// and is made again: error, or unset for who samples by errors and wants only the
	// intents that failed in the end.
	TraceRetriedAttemptStatus string
}

const (
	statusError = "error"
	statusUnset = "unset"
)

// Validate names every option that makes no sense.
func (o *Options) Validate() error {
	var wrong []error
	if o.TraceParentMaxAge <= 0 {
		wrong = append(wrong, fmt.Errorf("trace_parent_max_age: %s; use a duration above zero", o.TraceParentMaxAge))
	}
	if s := o.TraceRetriedAttemptStatus; s != statusError && s != statusUnset {
		wrong = append(wrong, fmt.Errorf("trace_retried_attempt_status: %q; use %s or %s", s, statusError, statusUnset))
	}
	return errors.Join(wrong...)
}

// DefaultOptions are what a sidecar runs with when nothing else is said.
func DefaultOptions() Options {
	return Options{TraceParentMaxAge: time.Minute, TraceRetriedAttemptStatus: statusError}
}

// Tracer makes spans. The nil Tracer makes none: nothing is exported. All methods
// are safe concurrently, and none waits for an exporter.
type Tracer struct {
	o    Options
	to   trace.Tracer
	read func(journal.ID) (*journal.Intent, error)

	over chan journal.HandedOver
	lost atomic.Int64 // of over

	mu struct {
		sync.Mutex
		sends map[journal.ID]string // context of the last send that was not answered well
	}
}

const (
	overMost  = 2048 // ends of hand-overs that wait for their span
	sendsMost = 4096 // intents whose last send is remembered
)

// New returns a tracer that makes spans of the provider, whose ids are to come from
// [IDs]. read reads an intent from the journal.
func New(o Options, p trace.TracerProvider, version string, read func(journal.ID) (*journal.Intent, error)) *Tracer {
	t := &Tracer{
		o: o, read: read, over: make(chan journal.HandedOver, overMost),
		to: p.Tracer(scope, trace.WithInstrumentationVersion(version), trace.WithSchemaURL(schemaURL)),
	}
	t.mu.sends = map[journal.ID]string{}
	return t
}

// start begins a span below parent, or a root where there is none. Links say what it
// has to do with other traces, or with other parts of this one.
func (t *Tracer) start(parent trace.SpanContext, name string, kind trace.SpanKind, at time.Time, links []trace.Link, attributes ...attribute.KeyValue) trace.Span {
	_, s := t.to.Start(trace.ContextWithSpanContext(context.Background(), parent), name,
		trace.WithSpanKind(kind), trace.WithTimestamp(at), trace.WithLinks(links...), trace.WithAttributes(attributes...))
	return s
}

// young is the context while what began then is still to be part of its trace; later
// it is none, and a span below it a root.
func (t *Tracer) young(sc trace.SpanContext, began, now time.Time) trace.SpanContext {
	if began.IsZero() || now.Sub(began) > t.o.TraceParentMaxAge {
		return trace.SpanContext{}
	}
	return sc
}

// fail marks a span with a code of a closed set; empty: nothing is wrong.
func fail(s trace.Span, code string) {
	if code != "" {
		s.SetAttributes(semconv.ErrorTypeKey.String(code))
		s.SetStatus(codes.Error, code)
	}
}

// retried is fail for what is made again. Its code stays in the attributes either way.
func (t *Tracer) retried(s trace.Span, code string) {
	if t.o.TraceRetriedAttemptStatus != statusUnset {
		fail(s, code)
	} else if code != "" {
		s.SetAttributes(semconv.ErrorTypeKey.String(code))
	}
}

// none is the span of a Tracer that makes none.
type none struct{}

func (none) Traceparent() string { return "" }
func (none) End(string)          {}

// span is one under way whose context others get as text.
type span struct{ trace.Span }

// Traceparent is the span's context.
func (s span) Traceparent() string {
	parent, _ := format(s.SpanContext())
	return parent
}

// End ends it; code is empty where all is well.
func (s span) End(code string) {
	fail(s.Span, code)
	s.Span.End()
}
