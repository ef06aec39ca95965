package sidecar

import (
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pannier/proxy/api"
	"pannier/proxy/metrics"
	"pannier/proxy/webhook"
)

// request is what requests are told apart by: little enough to be looked up without
// making the labels.
type request struct {
	method, place string // route, or host
	status        int
	failed        bool
}

// durations are the histograms that a request counts in.
type durations []prometheus.Observer

func (d durations) observe(took time.Duration, traceparent string) {
	for _, to := range d {
		if to != nil {
			observe(to, took, traceparent)
		}
	}
}

// methods are those of HTTP that have a name; the conventions call all others _OTHER.
var methods = map[string]bool{http.MethodGet: true, http.MethodPost: true, http.MethodPut: true, http.MethodPatch: true, http.MethodDelete: true, http.MethodHead: true, http.MethodOptions: true}

const otherValue = "_OTHER"

// Served takes a request of the app that has been answered.
func (s *Sidecar) Served(r api.Served) {
	if !methods[r.Method] {
		r.Method = otherValue
	}
	key := request{method: r.Method, place: r.Route, status: r.Status}
	to, found := s.requests.Load(key)
	if !found {
		to, _ = s.requests.LoadOrStore(key, durations{s.served.WithLabelValues(r.Method, r.Route, status(r.Status)), s.messages.operation(&r)})
	}
	to.(durations).observe(r.Took, r.Trace)
}

// Pushed takes a request to an app or a subscriber.
func (s *Sidecar) Pushed(r webhook.Request) {
	r.Status = named(r.Status)
	key := request{place: s.hosts.Of(r.Host), status: r.Status, failed: r.Failed}
	to, found := s.requests.Load(key)
	if !found {
		host, port, err := net.SplitHostPort(key.place)
		if err != nil {
			host = metrics.Other
		}
		code := status(r.Status)
		why := code
		switch {
		case r.Failed:
			why = otherValue
		case r.Status < http.StatusBadRequest:
			why = ""
		}
		to, _ = s.requests.LoadOrStore(key, durations{s.pushes.WithLabelValues(http.MethodPost, host, port, code, why)})
	}
	to.(durations).observe(r.Took, r.Trace)
}

// named is the status itself where it has a name, and else the first of its class: apps
// may make up 900 of them.
func named(n int) int {
	if http.StatusText(n) == "" {
		return n / 100 * 100
	}
	return n
}

func status(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// observe adds a duration, with the trace it was part of where that is exported: one
// of each bucket is shown to who asks for OpenMetrics, an exemplar.
func observe(to prometheus.Observer, took time.Duration, traceparent string) {
	seconds := max(0, took.Seconds())
	const length, id, flags = 55, 3, 53 // of traceparent, version 00
	with, can := to.(prometheus.ExemplarObserver)
	if !can || len(traceparent) != length || traceparent[flags:] != "01" {
		to.Observe(seconds)
		return
	}
	with.ObserveWithExemplar(seconds, prometheus.Labels{"trace_id": traceparent[id : id+32], "span_id": traceparent[id+33 : id+49]})
}
