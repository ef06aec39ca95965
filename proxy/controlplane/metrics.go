package controlplane

import (
	"time"

	"pannier/proxy/metrics"
)

// Families are the metrics of a control plane, beside those of every process.
var Families metrics.Families

var (
	cpReady     = Families.Gauge("pannier_control_plane_ready", "1 while /readyz says so.")
	cpClients   = Families.Gauge("pannier_control_plane_clients", "Streams of clients that are open.", "protocol")
	cpResources = Families.Gauge("pannier_control_plane_resources", "Resources that are served.", "type")
	cpNacks     = Families.Counter("pannier_control_plane_nacks_total", "Responses that clients refused.", "type")
	cpLimited   = Families.Counter("pannier_control_plane_limited_total", "What clients were refused, or made to wait for, because it was too much.", "limit")
	cpApplied   = Families.Gauge("pannier_control_plane_last_change_age_seconds", "Since what is served last changed, or was looked at for a change.")
	cpSynced    = Families.Gauge("pannier_control_plane_source_synced", "1 once a source has said what it knows.", "source")
	cpAgents    = Families.Gauge("pannier_control_plane_source_agents", "Agents that a source knows.", "source")
	cpTrouble   = Families.Gauge("pannier_control_plane_source_troubled", "1 while a source goes on with what it knew.", "source")
)

// page is the control plane's /metrics. Its labels are the types served and the
// sources configured: no client can add one.
func (c *ControlPlane) page() *metrics.Page {
	p := metrics.NewPage(c.opts.Version, c.log)
	p.Register(metrics.CollectorFunc(c.collect))
	return p
}

func (c *ControlPlane) collect(to metrics.To) {
	cpReady.Is(to, c.health().Ready())
	for kind, n := range c.caches.sizes() {
		cpResources.Send(to, float64(n), kind)
	}
	f := c.streams.figures()
	for protocol, n := range f.clients {
		cpClients.Send(to, float64(n), protocol)
	}
	for kind, n := range f.nacks {
		cpNacks.Send(to, float64(n), kind)
	}
	for which, name := range limitWords {
		cpLimited.Send(to, float64(c.opts.limits.reached[which].Load()), name)
	}
	names := map[string]int{}
	for i, u := range c.inbox.updates() {
		source := c.opts.Sources[i]
		name := source.Name()
		if names[name]++; names[name] > 1 {
			continue // two of a kind that say the same name: the first speaks
		}
		cpSynced.Is(to, u != nil, name)
		if u != nil {
			cpAgents.Send(to, float64(len(u.Services)), name)
		}
		if t, ok := source.(Troubled); ok {
			cpTrouble.Is(to, t.Trouble() != "", name)
		}
	}
	c.mu.Lock()
	applied := c.mu.applied
	c.mu.Unlock()
	if !applied.IsZero() {
		cpApplied.Send(to, time.Since(applied).Seconds())
	}
}

// figures are what is counted of streams.
type figures struct {
	clients map[string]int // by protocol
	nacks   map[string]int // by type, those served and "other"
}

func (s *streams) figures() figures {
	f := figures{clients: map[string]int{"delta": 0, "sotw": 0}, nacks: map[string]int{metrics.Other: 0}}
	for _, name := range typeNames {
		f.nacks[name] = 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.mu.open {
		if key.delta {
			f.clients["delta"]++
		} else {
			f.clients["sotw"]++
		}
	}
	for typeURL, n := range s.mu.total {
		name, served := typeNames[typeURL]
		if !served {
			name = metrics.Other
		}
		f.nacks[name] += n
	}
	return f
}
