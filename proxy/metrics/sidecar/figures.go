package sidecar

import (
	"cmp"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pannier/inbound"
	"pannier/journal"
	"pannier/journal/state"
	"pannier/outbound"
	"pannier/proxy/api"
	"pannier/proxy/crowd"
	"pannier/proxy/metrics"
	"pannier/proxy/xds"
)

// Source is where figures come from at a scrape. All of it answers from memory.
type Source struct {
	Journal Journal
	Ready   func() bool
	Mailbox func() (all []inbound.AgentFigures, maxOpen int)
	Homes   func() inbound.ServerFigures
	Peers   func() outbound.Figures
	App     func() api.Figures
	Delays  func() map[state.Cause]int // of what no peer holds; NoCause are those that are too many to be asked about
	Rooms   func() []crowd.Use         // of the listeners
	Service Service
	Secrets func() map[string]time.Time    // when the one that signs for an agent was made; nil: none
	Config  func() (ok bool, at time.Time) // nil without a config file
	XDS     func() xds.Figures             // nil where no control plane is configured
}

// Service is whom OpenTelemetry takes all of this for.
type Service struct{ Name, Version, Instance string }

// Journal is a *journal.Journal.
type Journal interface {
	AgentName(journal.Agent) string
	Queues() []journal.Queue
	Backlogs() []journal.Backlog
	Uses() []journal.Use
	Size() int64
	Stats() journal.Stats
	Err() error
}

// Watch sets where figures come from. Call it once.
func (s *Sidecar) Watch(from Source) {
	s.source.Store(&from)
	s.Register(metrics.CollectorFunc(func(to metrics.To) {
		now := time.Now()
		s.journal(to, &from, now)
		s.mailboxes(to, &from)
		s.toPeers(to, &from, now)
		delays(to, &from)
		target.Send(to, 1, from.Service.Name, from.Service.Version, from.Service.Instance)
		app, in := from.App(), from.Homes()
		streams.Send(to, float64(app.Streams))
		homes.Send(to, float64(in.Homes))
		authFailures.Send(to, float64(app.Unauthenticated), "api")
		authFailures.Send(to, float64(in.Refused), "peer")
		connections(to, from.Rooms())
		ready.Is(to, from.Ready())
		s.settings(to, &from, now)
		if from.XDS != nil {
			discovery(to, from.XDS(), now)
		}
	}))
}

// connections are how many of each listener do not make way, of how many there may be.
func connections(to metrics.To, rooms []crowd.Use) {
	for _, u := range rooms {
		limitUsed.Send(to, float64(u.Open-u.Idle), u.Name+"_connections")
		limitMost.Send(to, float64(u.Most), u.Name+"_connections")
		turnedAway.Send(to, float64(u.Away.Count), u.Name)
	}
}

// settings are what is configured: secrets, of which the oldest of an agent's counts
// where many have one name, and the file.
func (s *Sidecar) settings(to metrics.To, from *Source, now time.Time) {
	if from.Secrets != nil {
		ages := map[string]float64{}
		for agent, made := range from.Secrets() {
			label := s.agents.Of(agent)
			ages[label] = max(ages[label], now.Sub(made).Seconds())
		}
		for label, age := range ages {
			secretAge.Send(to, age, label)
		}
	}
	if from.Config != nil {
		ok, at := from.Config()
		configOK.Is(to, ok)
		configTime.Send(to, float64(at.UnixMilli())/1000)
	}
}

// queues are the places an intent waits in, as their label has it.
var queues = map[string]string{
	journal.BacklogDue: "ready", journal.BacklogHeld: "inflight", journal.BacklogParked: "parked", journal.BacklogMail: "mailbox",
}

func (s *Sidecar) journal(to metrics.To, from *Source, now time.Time) {
	for _, b := range from.Journal.Backlogs() {
		n, age := float64(b.Count), 0.0
		if !b.Oldest.IsZero() {
			age = max(0, now.Sub(b.Oldest).Seconds())
		}
		switch b.Name {
		case journal.BacklogOpen:
			openDepth.Send(to, n)
			openAge.Send(to, age)
		case journal.BacklogDead:
			deadDepth.Send(to, n)
			deadAge.Send(to, age)
		default:
			queueDepth.Send(to, n, queues[b.Name])
			queueAge.Send(to, age, queues[b.Name])
		}
		if b.Name == journal.BacklogDue {
			queueDepth.Send(to, float64(b.Later), "scheduled")
		}
	}
	stats := from.Journal.Stats()
	unacked.Send(to, float64(stats.Live["report"]))
	free.Send(to, float64(stats.Free))
	clockAhead.Send(to, stats.Clock.Ahead.Seconds())
	clockWaits.Is(to, stats.Clock.Paused)
	inodes.Send(to, float64(stats.Inodes))
	low.Is(to, stats.Low)
	ballast.Send(to, float64(stats.Ballast))
	filesLeft.Send(to, float64(stats.Files.Left))
	filesSpare.Send(to, float64(stats.Files.Spare))
	stalled.Send(to, stats.Stalled.Seconds())
	history.Send(to, float64(stats.History))
	size.Send(to, float64(from.Journal.Size()))
	failed.Is(to, from.Journal.Err() != nil)
	scrubs.Send(to, float64(stats.Scrubs))
	compacted.Send(to, float64(stats.Compactions))
	corrupt.Send(to, float64(stats.Aside))
	unapplied.Send(to, float64(stats.ReportsAside))
	lateOnes.Send(to, float64(stats.LateAnswers))
	warnings.Send(to, float64(stats.Warnings))
	durable.Is(to, stats.Durable)
	for _, u := range from.Journal.Uses() {
		limitUsed.Send(to, float64(u.Used), u.Name)
		limitMost.Send(to, float64(u.Most), u.Name)
	}
}

// mailboxes adds up those that are too many to be told apart.
func (s *Sidecar) mailboxes(to metrics.To, from *Source) {
	all, most := from.Mailbox()
	// Who is configured comes first: others must not take their place.
	slices.SortFunc(all, func(a, b inbound.AgentFigures) int {
		if a.Configured != b.Configured {
			if a.Configured {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Agent, b.Agent)
	})
	type sum struct {
		doors           map[inbound.Shut]int
		readers, number int
	}
	sums := map[string]*sum{}
	for _, a := range all {
		label := s.agents.Of(a.Agent)
		one := sums[label]
		if one == nil {
			one = &sum{doors: map[inbound.Shut]int{}}
			sums[label] = one
		}
		one.doors[a.Door]++
		one.readers += a.Readers
		one.number += a.Unsettled + a.Apart
	}
	for label, one := range sums {
		for _, shut := range inbound.Shuts() {
			doorState.Send(to, float64(one.doors[shut]), label, shut.String())
		}
		readers.Send(to, float64(one.readers), label)
		unsettled.Send(to, float64(one.number), label)
	}
	mailboxLimit.Send(to, float64(most))
}

func (s *Sidecar) toPeers(to metrics.To, from *Source, now time.Time) {
	f := from.Peers()
	slices.SortFunc(f.Peers, func(a, b outbound.PeerFigures) int { return cmp.Compare(a.Address, b.Address) })
	there := make(map[string]bool, len(f.Peers))
	for _, p := range f.Peers {
		there[p.Address] = true
	}
	for _, gone := range s.peers.Keep(there, peerGone, now) {
		s.offers.DeletePartialMatch(prometheus.Labels{"peer": gone})
		s.breakerMoves.DeletePartialMatch(prometheus.Labels{"peer": gone})
	}
	type sum struct {
		breakers        map[string]int
		connected, held int
	}
	sums := map[string]*sum{}
	for _, p := range f.Peers {
		label := s.peers.Of(p.Address)
		one := sums[label]
		if one == nil {
			one = &sum{breakers: map[string]int{}}
			sums[label] = one
		}
		one.breakers[p.Breaker]++
		one.held += p.Held
		if p.Connected {
			one.connected++
		}
	}
	for label, one := range sums {
		for _, name := range outbound.BreakerStates() {
			breakerState.Send(to, float64(one.breakers[name]), label, name)
		}
		connected.Send(to, float64(one.connected), label)
		heldAt.Send(to, float64(one.held), label)
	}
	destinations.Send(to, float64(f.Destinations))
	limitUsed.Send(to, float64(f.Bytes), "bytes_in_flight")
	limitMost.Send(to, float64(f.Most), "bytes_in_flight")
}

// delays has every code of the table, so that one that comes seldom is not unknown.
func delays(to metrics.To, from *Source) {
	waiting := from.Delays()
	shut := map[string]state.Cause{}
	boxes, _ := from.Mailbox()
	for _, b := range boxes {
		shut[b.Agent] = cmp.Or(b.Shut, state.CauseWaitingForApp)
	}
	for _, q := range from.Journal.Queues() {
		if q.Name == journal.BacklogMail {
			waiting[cmp.Or(shut[from.Journal.AgentName(q.Agent)], state.CauseNoReader)] += q.Count
		}
	}
	for _, c := range state.Causes() {
		delayed.Send(to, float64(waiting[c]), c.String())
	}
	delayed.Send(to, float64(waiting[state.NoCause]), metrics.Other)
}

func discovery(to metrics.To, f xds.Figures, now time.Time) {
	xdsConnected.Is(to, f.Live)
	if !f.Confirmed.IsZero() {
		xdsAge.Send(to, max(0, now.Sub(f.Confirmed).Seconds()))
	}
	xdsNacks.Send(to, float64(f.Nacks))
	xdsUnexpected.Send(to, float64(f.Unexpected))
	xdsAgents.Send(to, float64(f.Agents))
	for of, n := range f.Resources {
		xdsResources.Send(to, float64(n), of.Type, of.State)
	}
}
