package otlp

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

func TestAsked(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule    string
		env     string // NAME=VALUE, separated by spaces
		asked   bool
		refusal string
	}{
		{"nothing is said", "", false, ""},
		{"where to", "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318", true, ""},
		{"where traces go", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://c:4318/v1/traces", true, ""},
		{"where metrics go", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://c:4318", false, ""},
		{"to the usual place", "OTEL_TRACES_EXPORTER=otlp", true, ""},
		{"not at all", "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318 OTEL_TRACES_EXPORTER=none", false, ""},
		{"the SDK is off", "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318 OTEL_SDK_DISABLED=true", false, ""},
		{"elsewhere", "OTEL_TRACES_EXPORTER=zipkin", false, "OTEL_TRACES_EXPORTER"},
		{"by gRPC", "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4317 OTEL_EXPORTER_OTLP_PROTOCOL=grpc", false, "OTEL_EXPORTER_OTLP_PROTOCOL"},
		{"traces by HTTP, the rest by gRPC", "OTEL_EXPORTER_OTLP_ENDPOINT=http://c OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf", true, ""},
	} {
		env := map[string]string{}
		for _, kv := range strings.Fields(row.env) {
			name, value, _ := strings.Cut(kv, "=")
			env[name] = value
		}
		asked, err := Asked(func(name string) string { return env[name] })
		if asked != row.asked || (err != nil) != (row.refusal != "") || err != nil && !strings.Contains(err.Error(), row.refusal) {
			t.Errorf("%s: asked %v, %v; want %v, %q", row.rule, asked, err, row.asked, row.refusal)
		}
	}
}

// collector takes a batch once it is let, and answers with err.
type collector struct {
	let  chan struct{}
	err  error
	took int
}

func (c *collector) ExportSpans(ctx context.Context, batch []sdktrace.ReadOnlySpan) error {
	select {
	case <-c.let:
	case <-ctx.Done():
		return ctx.Err()
	}
	c.took += len(batch)
	return c.err
}

func (c *collector) Shutdown(context.Context) error { return nil }

// What does not fit the queue is lost without anybody's waiting, and said once a minute.
func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := &collector{let: make(chan struct{})}
		x, err := open(t.Context(), Options{Queue: 10, Log: slog.New(slog.NewTextHandler(&log, nil))}, c)
		if err != nil {
			t.Fatal(err)
		}
		end := func(n int) {
			for range n {
				_, s := x.Provider().Tracer("test").Start(t.Context(), "span")
				s.End()
			}
			synctest.Wait()
		}
		end(25)
		if n := strings.Count(log.String(), "spans lost"); n != 1 {
			t.Errorf("said %d times, want at the first and then no more: %s", n, &log)
		}
		time.Sleep(time.Minute) // the first batch has been given up meanwhile
		end(12)
		if n := strings.Count(log.String(), "spans lost"); n != 2 {
			t.Errorf("said %d times after a minute, want once more: %s", n, &log)
		}
		close(c.let)
		time.Sleep(time.Minute)
		end(3)
		x.Shutdown(t.Context())
		lost := 0
		for line := range strings.Lines(log.String()) {
			_, rest, _ := strings.Cut(line, "count=")
			n, _, _ := strings.Cut(rest, " ")
			count, err := strconv.Atoi(n)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			lost += count
		}
		if c.took != 13 || lost != 40-13 {
			t.Errorf("exported %d and lost %d of 40 spans, want 13 and the rest", c.took, lost)
		}
	})
}

// A refused batch is lost and counted; the errors go to the log alone.
func TestRefusedBatchesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := &collector{let: make(chan struct{}), err: errors.New("401 Unauthorized")}
		close(c.let)
		x, err := open(t.Context(), Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, c)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			_, s := x.Provider().Tracer("test").Start(t.Context(), "span")
			s.End()
		}
		x.Shutdown(t.Context())
		if want := `msg="spans lost" count=3 err="401 Unauthorized"`; !strings.Contains(log.String(), want) {
			t.Errorf("said %q, want %s", log.String(), want)
		}
	})
}

// A collector that takes nothing holds a stop up no longer than it is given.
func TestShutdownIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := &collector{let: make(chan struct{})}
		x, err := open(t.Context(), Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, c)
		if err != nil {
			t.Fatal(err)
		}
		_, s := x.Provider().Tracer("test").Start(t.Context(), "span")
		s.End()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		x.Shutdown(ctx)
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
		if !strings.Contains(log.String(), "spans lost") {
			t.Error("nobody was told of the span")
		}
		close(c.let)
		time.Sleep(time.Minute) // the SDK's own goroutine ends with the export
	})
}
