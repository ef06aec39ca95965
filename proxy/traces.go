package proxy

import (
	"context"
	"time"

	"pannier/journal"
	"pannier/journal/wire"
	"pannier/outbound"
	"pannier/proxy/trace"
	"pannier/proxy/trace/otlp"
)

// Tracing says whether spans are made and exported.
type Tracing struct {
	OTLP      bool // as the OTEL_ variables say; else nothing of it runs
	NoHeaders bool // OTEL_PROPAGATORS has no tracecontext: the headers of apps are neither read nor written
	trace.Options
}

// flushTime is how long a stop waits for spans to be taken: no app and no peer does.
const flushTime = 500 * time.Millisecond

// openTraces makes the tracer; nil where nothing is exported. Its clean-up comes after
// those of all that makes spans.
func (r *run) openTraces(ctx context.Context) error {
	if !r.opts.Tracing.OTLP {
		return nil
	}
	to, err := otlp.Open(ctx, otlp.Options{
		Version: r.opts.Version, Instance: r.journal.Identity().Journal.String(), Log: r.log,
		Lost: func() int64 { return r.tracer.Load().Lost() },
	})
	if err != nil {
		return err
	}
	tracer := trace.New(r.opts.Tracing.Options, to.Provider(), r.opts.Version, r.journal.Get)
	r.tracer.Store(tracer)
	join := r.crew.start("traces", tracer.Run)
	r.cleanups.add("traces", flushTime, func(ctx context.Context) error {
		err := join(ctx)
		to.Shutdown(ctx)
		return err
	})
	return nil
}

// traced are the journal's hooks for traces; they find the tracer once it is open.
func (r *run) traced(o *journal.Options) {
	if !r.opts.Tracing.OTLP {
		return
	}
	o.Trace = func(h *journal.Handed, now time.Time) string { return r.tracer.Load().HandOver(h, now) }
	o.Hooks.HandedOver = func(h journal.HandedOver) { r.tracer.Load().HandedOver(h) }
}

var _ outbound.Tracer = (*trace.Tracer)(nil)

// redriven is journal.Redrive, traced.
func (d *deadLetters) redriven(ctx context.Context, r journal.Redrive, original *wire.Envelope) (journal.Redriven, error) {
	span := d.tracer.Redrive(&r, original)
	out, err := d.Journal.Redrive(ctx, r)
	if err != nil {
		span.End("refused")
		return out, err
	}
	span.End("")
	return out, nil
}
