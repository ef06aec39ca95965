// Package otlp exports spans by OTLP over HTTP, as the standard OTEL_ variables say.
//
//	Tracer ─▶ span ends ─▶ queue (bounded) ─▶ batches ─▶ POST …/v1/traces
//	                         │                   │
//	                         └─ full: lost ──────┴─ refused: lost ──▶ log, once a minute
//
// # The environment
//
// [Asked] reads what turns it on; until then nothing here runs.
//
//	OTEL_SDK_DISABLED                     true: nothing is exported
//	OTEL_TRACES_EXPORTER                  otlp or none; unless said, otlp where an endpoint is set
//	OTEL_EXPORTER_OTLP_ENDPOINT, _PROTOCOL (http/protobuf), _HEADERS, _COMPRESSION, _TIMEOUT,
//	_INSECURE, _CERTIFICATE, _CLIENT_CERTIFICATE, _CLIENT_KEY; the same with _TRACES_ come first
//	OTEL_PROPAGATORS                      tracecontext or none; baggage is known and carries nothing
//	OTEL_SERVICE_NAME                     unless said, pannier
//	OTEL_RESOURCE_ATTRIBUTES              beside service.name, .version and .instance.id (the journal's)
//	OTEL_TRACES_SAMPLER, _ARG             unless said, parentbased_always_on
//	OTEL_BSP_SCHEDULE_DELAY, _EXPORT_TIMEOUT, _MAX_QUEUE_SIZE, _MAX_EXPORT_BATCH_SIZE
//	OTEL_ATTRIBUTE_…, OTEL_SPAN_…, OTEL_EVENT_… and OTEL_LINK_…_LIMIT
//
// No other is read: none of metrics, which are scraped, none of logs, no
// OTEL_CONFIG_FILE. What is wrong in one is said on stderr, and its default in force: it
// is no reason not to start.
//
// A span that ends waits for nothing: with a collector that is down or slow the queue
// fills up, and what does not fit is counted and lost. Shutdown sends what is queued,
// for as long as it is given.
//
// It speaks no gRPC: that exporter is several times as large, and every collector
// takes this one.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	spans "pannier/proxy/trace"
)

// Options say whose spans they are.
type Options struct {
	Version  string
	Instance string       // of the service: the journal's id
	Queue    int          // spans that wait; 0: OTEL_BSP_MAX_QUEUE_SIZE, or the SDK's default
	Lost     func() int64 // spans lost before they came here, since it was last asked; nil: none
	Log      *slog.Logger
}

const (
	service   = "pannier"   // unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES name another
	queueMost = 1 << 16     // spans: the SDK makes room for all of them at once
	tellEvery = time.Minute // how often losses are logged
)

// Exporter is where spans go.
type Exporter struct {
	provider *sdktrace.TracerProvider
	queue    *queue
}

// Open starts the exporter. Nothing is sent before the first span, and a collector
// that cannot be reached is no error.
func Open(ctx context.Context, o Options) (*Exporter, error) {
	to, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("otlp: %w", err)
	}
	return open(ctx, o, to)
}

func open(ctx context.Context, o Options, to sdktrace.SpanExporter) (*Exporter, error) {
	who, err := resourceOf(ctx, o.Version, o.Instance)
	if err != nil {
		return nil, fmt.Errorf("otlp: %w", err)
	}
	if o.Queue <= 0 {
		o.Queue = bounded("OTEL_BSP_MAX_QUEUE_SIZE", sdktrace.DefaultMaxQueueSize)
	}
	batch := min(o.Queue, bounded("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", sdktrace.DefaultMaxExportBatchSize))
	q := &queue{most: int64(o.Queue), before: o.Lost, log: o.Log}
	q.SpanProcessor = sdktrace.NewBatchSpanProcessor(&sender{to, q}, sdktrace.WithMaxQueueSize(o.Queue), sdktrace.WithMaxExportBatchSize(batch))
	return &Exporter{queue: q, provider: sdktrace.NewTracerProvider(
		sdktrace.WithSpanProcessor(q), sdktrace.WithResource(who), sdktrace.WithIDGenerator(spans.IDs{}),
	)}, nil
}

// bounded is a number of spans from the environment, and what is usual where it is none
// from 1 to queueMost: the SDK takes it as it is, and ends the process on one below.
func bounded(name string, usual int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 && n <= queueMost {
		return n
	}
	return usual
}

// resourceOf leaves out what is wrong in OTEL_RESOURCE_ATTRIBUTES; the rest is as good.
func resourceOf(ctx context.Context, version, instance string) (*resource.Resource, error) {
	who, err := resource.New(ctx, resource.WithAttributes(
		semconv.ServiceName(service), semconv.ServiceVersion(version), semconv.ServiceInstanceID(instance),
	), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if errors.Is(err, resource.ErrPartialResource) {
		err = nil
	}
	return who, err
}

// Service is what spans say whose they are, so that metrics say the same.
func Service(ctx context.Context, version, instance string) (name, ofVersion, ofInstance string) {
	who, err := resourceOf(ctx, version, instance)
	if err != nil {
		return service, version, instance
	}
	of := func(key attribute.Key) string {
		value, _ := who.Set().Value(key)
		return value.AsString()
	}
	return of(semconv.ServiceNameKey), of(semconv.ServiceVersionKey), of(semconv.ServiceInstanceIDKey)
}

// Provider makes the spans that are exported.
func (x *Exporter) Provider() trace.TracerProvider { return x.provider }

// Shutdown sends what is queued until ctx ends. What is lost by then is logged: it is
// no error of whoever stops.
func (x *Exporter) Shutdown(ctx context.Context) {
	err := x.provider.Shutdown(ctx)
	if left := x.queue.waiting.Load(); err != nil && left > 0 {
		x.queue.lose(left, err)
	}
	x.queue.tell(true)
}

// queue is the bound on the spans that wait, those being sent included. The SDK's own
// drops without saying so.
type queue struct {
	sdktrace.SpanProcessor
	most    int64
	waiting atomic.Int64
	before  func() int64
	log     *slog.Logger

	mu struct {
		sync.Mutex
		lost  int64 // since it was last logged
		cause error // the last one
		told  time.Time
	}
}

var errFull = errors.New("the queue is full: the collector is slow, or cannot be reached")

// OnEnd takes a span that is over.
func (q *queue) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	if q.waiting.Add(1) > q.most {
		q.waiting.Add(-1)
		q.lose(1, errFull)
		return
	}
	q.SpanProcessor.OnEnd(s)
}

func (q *queue) lose(n int64, cause error) {
	q.mu.Lock()
	q.mu.lost += n
	q.mu.cause = cause
	q.mu.Unlock()
	q.tell(false)
}

// tell logs what was lost, at most once a minute.
func (q *queue) tell(last bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if !last && now.Sub(q.mu.told) < tellEvery {
		return
	}
	if q.before != nil {
		if n := q.before(); n > 0 {
			q.mu.lost += n
			q.mu.cause = errFull
		}
	}
	if q.mu.lost == 0 {
		return
	}
	q.log.Warn("spans lost", "count", q.mu.lost, "err", q.mu.cause)
	q.mu.lost, q.mu.told = 0, now
}

// sender is the exporter behind the queue. Its errors end here: the SDK would hand
// them to a handler of the whole process, which logs each.
type sender struct {
	sdktrace.SpanExporter
	q *queue
}

func (s *sender) ExportSpans(ctx context.Context, batch []sdktrace.ReadOnlySpan) error {
	err := s.SpanExporter.ExportSpans(ctx, batch)
	s.q.waiting.Add(-int64(len(batch)))
	if err != nil {
		s.q.lose(int64(len(batch)), err)
	} else {
		s.q.tell(false)
	}
	return nil
}
