package metrics

import (
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Family is one metric: its name, what it says, and by what it is told apart.
type Family struct {
	Name   string
	Help   string
	Labels []string

	kind prometheus.ValueType // of what Send sends
	desc *prometheus.Desc
}

// Families are those of one process, in the order in which they are shown.
type Families []*Family

// Rows are the families as a table of the README has them.
func (all Families) Rows() string {
	var b strings.Builder
	for _, f := range all {
		labels := ""
		if len(f.Labels) > 0 {
			labels = "`" + strings.Join(f.Labels, "` `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, labels, f.Help)
	}
	return b.String()
}

func (all *Families) add(kind prometheus.ValueType, name, help string, labels []string) *Family {
	f := &Family{Name: name, Help: help, Labels: labels, kind: kind, desc: prometheus.NewDesc(name, help, labels, nil)}
	*all = append(*all, f)
	return f
}

// Counter adds a metric that only grows.
func (all *Families) Counter(name, help string, labels ...string) *Family {
	return all.add(prometheus.CounterValue, name, help, labels)
}

// Gauge adds a metric that goes up and down.
func (all *Families) Gauge(name, help string, labels ...string) *Family {
	return all.add(prometheus.GaugeValue, name, help, labels)
}

// Histogram adds a metric of durations, made with Durations.
func (all *Families) Histogram(name, help string, labels ...string) *Family {
	return all.add(prometheus.UntypedValue, name, help, labels)
}

// Send gives a scrape one value.
func (f *Family) Send(to To, value float64, labels ...string) {
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "?") // else it would be refused, with a panic
	}
	to <- prometheus.MustNewConstMetric(f.desc, f.kind, value, labels...)
}

// Is gives a scrape 1 for the value that holds, and 0 for every other of a closed set.
func (f *Family) Is(to To, holds bool, labels ...string) {
	value := 0.0
	if holds {
		value = 1
	}
	f.Send(to, value, labels...)
}

// Events returns the counter of a family whose values are counted as things happen.
func (f *Family) Events() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: f.Name, Help: f.Help}, f.Labels)
}

// Durations returns the histogram of a family. buckets are seconds.
func (f *Family) Durations(buckets []float64) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: f.Name, Help: f.Help, Buckets: buckets}, f.Labels)
}
