package metrics

import (
	"log/slog"
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"
)

// Page serves what is registered with it. It begins with what every process has:
// its build, the Go runtime, and what the kernel knows of it.
type Page struct {
	registry *prometheus.Registry
	log      *slog.Logger
}

// Process has the families of every process that are ours.
var Process Families

var buildInfo = Process.Gauge("pannier_build_info", "Always 1: the version of the program, and of Go.", "version", "goversion")

// NewPage returns a page of the process alone.
func NewPage(version string, log *slog.Logger) *Page {
	p := &Page{registry: prometheus.NewRegistry(), log: log}
	p.Register(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		CollectorFunc(func(to To) { buildInfo.Send(to, 1, version, runtime.Version()) }))
	return p
}

// Register adds collectors. Two of one metric are a mistake of ours: it panics.
func (p *Page) Register(all ...prometheus.Collector) { p.registry.MustRegister(all...) }

// ServeHTTP answers in the format that is asked for: the classic text, or OpenMetrics.
// What cannot be collected is logged, and the rest is shown.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	families, err := p.registry.Gather()
	if err != nil {
		p.log.Error("metrics are not complete", "err", err)
	}
	format := expfmt.NegotiateIncludingOpenMetrics(r.Header)
	w.Header().Set("Content-Type", string(format))
	to := expfmt.NewEncoder(w, format)
	for _, f := range families {
		if err := to.Encode(f); err != nil {
			return // a reader that hung up
		}
	}
	if end, ok := to.(expfmt.Closer); ok {
		_ = end.Close() // likewise
	}
}

// To is where a scrape collects.
type To = chan<- prometheus.Metric

// CollectorFunc collects what is read at each scrape. It describes nothing ahead,
// which the registry takes as it is.
type CollectorFunc func(to To)

// Describe implements prometheus.Collector.
func (CollectorFunc) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (f CollectorFunc) Collect(to To) { f(to) }
