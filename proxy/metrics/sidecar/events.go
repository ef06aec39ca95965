// Package sidecar is what a sidecar counts: [Sidecar] is told of events by the
// journal and the dispatcher, and asks all packages for their figures at a scrape.
package sidecar

import (
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/outbound"
	"pannier/proxy/metrics"
)

const (
	// agentsMost and peersMost are told apart, all others are one.
	agentsMost = 100
	peersMost  = 200
	hostsMost  = 100 // that webhooks are at
	// peerGone is how long a peer is known by name after nothing needs it any more.
	peerGone = 15 * time.Minute
)

// Sidecar counts. Its methods that take events do not block, and do no more for
// each than an addition; they may be called before Watch.
type Sidecar struct {
	*metrics.Page
	source atomic.Pointer[Source]
	agents *metrics.Names
	peers  *metrics.Names

	submitted, replays, operations prometheus.Counter
	endToEnd, syncTime, offerTime  prometheus.Observer
	finished                       map[state.Status]prometheus.Counter
	deadEntered, redriven          *prometheus.CounterVec
	attempts, offers, breakerMoves *prometheus.CounterVec
	messages                       messaging
	attemptTime, served, pushes    *prometheus.HistogramVec
	requests                       sync.Map // request → prometheus.Observer: what WithLabelValues has found
	hosts                          *metrics.Names
	syncs                          recent

	// of is the label of an agent's number. The committer's alone, like
	tried map[attempt]*tries // what WithLabelValues has found
	of    map[journal.Agent]string
}

// attempt is what attempts are told apart by.
type attempt struct {
	agent  string
	way    journal.Way
	move   state.Move
	reason state.Reason
}

// New returns what counts for a sidecar of these agents: they are always told apart
// from others.
func New(version string, agents []string, log *slog.Logger) *Sidecar {
	s := &Sidecar{
		Page: metrics.NewPage(version, log), agents: metrics.NewNames(agentsMost), peers: metrics.NewNames(peersMost), hosts: metrics.NewNames(hostsMost),
		finished: map[state.Status]prometheus.Counter{}, tried: map[attempt]*tries{}, of: map[journal.Agent]string{},
	}
	for _, a := range agents {
		s.agents.Of(a)
	}
	counter := func(f *metrics.Family) *prometheus.CounterVec {
		v := f.Events()
		s.Register(v)
		return v
	}
	histogram := func(f *metrics.Family, buckets []float64) *prometheus.HistogramVec {
		v := f.Durations(buckets)
		s.Register(v)
		return v
	}
	s.submitted, s.replays = counter(submitted).WithLabelValues(), counter(replays).WithLabelValues()
	s.operations = counter(operations).WithLabelValues()
	s.endToEnd, s.syncTime = histogram(endToEnd, slow).WithLabelValues(), histogram(syncTime, quick).WithLabelValues()
	s.offerTime, s.attemptTime = histogram(offerTime, quick).WithLabelValues(), histogram(attemptTime, slow)
	s.served, s.pushes = histogram(served, web), histogram(pushes, web)
	s.deadEntered, s.redriven, s.attempts = counter(deadEntered), counter(redriven), counter(attempts)
	s.messages = newMessaging(counter(sent), counter(consumed), histogram(operationTime, web), histogram(processTime, slow))
	s.offers, s.breakerMoves = counter(offers), counter(breakerMoves)
	// What has not happened yet is zero, not unknown: an alert can be written on it.
	ends := counter(finished)
	for _, end := range []state.Status{state.Completed, state.Failed, state.Canceled, state.TimedOut} {
		s.finished[end] = ends.WithLabelValues(strings.ToLower(end.String()))
	}
	for _, r := range []state.Reason{state.ReasonExhausted, state.ReasonRejected, state.ReasonDeliverBy, state.ReasonSidecarFault} {
		s.deadEntered.WithLabelValues(r.DeadLetter())
		s.redriven.WithLabelValues(r.DeadLetter())
	}
	return s
}

// tries are the counters of one kind of attempt.
type tries struct {
	prometheus.Counter
	consumption
}

// outcomes of hand-overs, by the step they take.
var outcomes = map[state.Move]string{
	state.GiveFinal: "answered", state.Extend: "acknowledged", state.FailTry: "failed",
	state.Exhaust: "exhausted", state.Refuse: "rejected", state.Recover: "taken_back",
}

// Counted takes what a batch of the journal has done. It is a journal's hook.
func (s *Sidecar) Counted(y *journal.Tally) {
	if y.Took > 0 {
		s.syncTime.Observe(y.Took.Seconds())
		s.syncs.add(y.Took)
	}
	s.operations.Add(float64(y.Operations))
	s.submitted.Add(float64(y.Submitted))
	s.replays.Add(float64(y.Replayed))
	for _, r := range y.Redriven {
		s.redriven.WithLabelValues(r.DeadLetter()).Inc()
	}
	for _, e := range y.Ended {
		s.finished[e.Status].Inc()
		observe(s.endToEnd, e.Took, e.Trace)
		if class := e.Dead.DeadLetter(); class != "" {
			s.deadEntered.WithLabelValues(class).Inc()
		}
	}
	for _, a := range y.Attempts {
		s.attempted(a)
	}
}

func (s *Sidecar) attempted(a journal.AttemptTally) {
	key := attempt{s.agent(a.Agent), a.Way, a.Move, a.Reason}
	c := s.tried[key]
	if c == nil {
		c = &tries{Counter: s.attempts.WithLabelValues(key.agent, a.Way.String(), outcomes[a.Move], a.Reason.String())}
		c.consumption = s.messages.consumption(key)
		s.tried[key] = c
	}
	c.Inc()
	c.take(&a)
	if a.Timed {
		observe(s.attemptTime.WithLabelValues(a.Way.String()), a.Took, a.Trace)
	}
}

// agent is the label of an agent. Numbers are never reused, and bounded like the
// dictionary they are of.
func (s *Sidecar) agent(no journal.Agent) string {
	label, known := s.of[no]
	if from := s.source.Load(); !known && from != nil {
		label = s.agents.Of(from.Journal.AgentName(no))
		s.of[no] = label
	}
	if label == "" {
		return metrics.Other
	}
	return label
}

// Told is what the dispatcher tells.
func (s *Sidecar) Told() outbound.Told {
	return outbound.Told{
		Offers: func(address, outcome string, n int) {
			s.offers.WithLabelValues(s.peers.Of(address), outcome).Add(float64(n))
			s.messages.offered(outcome, n)
		},
		Answered: func(took time.Duration) {
			s.offerTime.Observe(max(0, took.Seconds()))
			s.messages.send.Observe(max(0, took.Seconds()))
		},
		Breaker: func(address, from, to string) {
			s.breakerMoves.WithLabelValues(s.peers.Of(address), from, to).Inc()
		},
	}
}
