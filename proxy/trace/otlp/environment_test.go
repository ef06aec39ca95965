package otlp

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

func TestPropagated(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		said, unknown string
		tracecontext  bool
	}{
		{"", "", true},
		{"tracecontext,baggage", "", true},
		{" tracecontext ", "", true},
		{"none", "", false},
		{"baggage", "", false},
		{"b3,tracecontext", `"b3"`, true},
		{"b3multi,jaeger", `"b3multi", "jaeger"`, false},
	} {
		got, err := Propagated(func(name string) string { return map[string]string{"OTEL_PROPAGATORS": row.said}[name] })
		if got != row.tracecontext || (err != nil) != (row.unknown != "") || err != nil && !strings.Contains(err.Error(), row.unknown) {
			t.Errorf("%q: %v, %v; want %v, %q", row.said, got, err, row.tracecontext, row.unknown)
		}
	}
}

// exported is what a collector got, and when.
type exported struct {
	batches [][]sdktrace.ReadOnlySpan
	first   time.Time
}

func (e *exported) ExportSpans(_ context.Context, batch []sdktrace.ReadOnlySpan) error {
	if e.batches = append(e.batches, slices.Clone(batch)); e.first.IsZero() {
		e.first = time.Now()
	}
	return nil
}

func (e *exported) Shutdown(context.Context) error { return nil }

// Each variable that the document names has an effect; each row sets one, and checks
// it against what is the default in the others.
func TestEnvironment(t *testing.T) {
	const nobody = ""
	for _, row := range []struct {
		env            string // NAME=VALUE, separated by spaces
		service, extra string // service.name; deployment.environment.name
		instance       string
		spans          int // of three
		batches        int
		after          time.Duration
		attributes     int // of two
		length         int // of a value of ten
	}{
		{"", service, nobody, "j", 3, 1, 5 * time.Second, 2, 10},
		{"OTEL_SERVICE_NAME=shop", "shop", nobody, "j", 3, 1, 5 * time.Second, 2, 10},
		{"OTEL_RESOURCE_ATTRIBUTES=service.name=shop,deployment.environment.name=prod,service.instance.id=k", "shop", "prod", "k", 3, 1, 5 * time.Second, 2, 10},
		{"OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=prod,nonsense", service, "prod", "j", 3, 1, 5 * time.Second, 2, 10},
		{"OTEL_TRACES_SAMPLER=always_off", service, nobody, "j", 0, 0, 0, 0, 0},
		{"OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=0", service, nobody, "j", 0, 0, 0, 0, 0},
		{"OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=1", service, nobody, "j", 3, 1, 5 * time.Second, 2, 10},
		{"OTEL_BSP_SCHEDULE_DELAY=100", service, nobody, "j", 3, 1, 100 * time.Millisecond, 2, 10},
		{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE=2", service, nobody, "j", 3, 2, 0, 2, 10},
		{"OTEL_BSP_MAX_QUEUE_SIZE=2 OTEL_BSP_SCHEDULE_DELAY=100", service, nobody, "j", 3, 2, 0, 2, 10}, // a batch is no larger than the queue
		{"OTEL_BSP_MAX_QUEUE_SIZE=-5", service, nobody, "j", 3, 1, 5 * time.Second, 2, 10},
		{"OTEL_BSP_MAX_QUEUE_SIZE=99999999999", service, nobody, "j", 3, 1, 5 * time.Second, 2, 10},
		{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE=-1", service, nobody, "j", 3, 1, 5 * time.Second, 2, 10},
		{"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=1", service, nobody, "j", 3, 1, 5 * time.Second, 1, 10},
		{"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT=4", service, nobody, "j", 3, 1, 5 * time.Second, 2, 4},
	} {
		t.Run(row.env, func(t *testing.T) {
			for _, kv := range strings.Fields(row.env) {
				name, value, _ := strings.Cut(kv, "=")
				t.Setenv(name, value)
			}
			synctest.Test(t, func(t *testing.T) {
				e := &exported{}
				x, err := open(t.Context(), Options{Instance: "j", Log: slog.New(slog.DiscardHandler)}, e)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				for range 3 {
					_, s := x.Provider().Tracer("test").Start(t.Context(), "span")
					s.SetAttributes(attribute.String("a", "0123456789"), attribute.String("b", "0123456789"))
					s.End()
					synctest.Wait() // it is in a batch, and not in the queue
				}
				time.Sleep(time.Minute)
				x.Shutdown(t.Context())
				all := slices.Concat(e.batches...)
				if len(all) != row.spans || len(e.batches) != row.batches || row.spans > 0 && e.first.Sub(began) != row.after {
					t.Fatalf("%d spans in %d batches, the first after %v; want %d in %d after %v", len(all), len(e.batches), e.first.Sub(began), row.spans, row.batches, row.after)
				}
				if len(all) == 0 {
					return
				}
				who := func(key attribute.Key) string { v, _ := all[0].Resource().Set().Value(key); return v.AsString() }
				if who("service.name") != row.service || who("deployment.environment.name") != row.extra || who("service.instance.id") != row.instance {
					t.Errorf("they are of %s", all[0].Resource())
				}
				if a := all[0].Attributes(); len(a) != row.attributes || len(a[0].Value.AsString()) != row.length {
					t.Errorf("attributes %v", a)
				}
			})
		})
	}
}
