package controlplane

import (
	"reflect"
	"slices"
	"strings"

	"pannier/outbound"
	"pannier/proxy/mesh"
)

// world is all that is known, put together from the sources.
type world struct {
	services map[string]mesh.Service // by agent
	paused   bool
}

// merge puts together what the sources say, the most believed first:
//
//   - where an agent is, is said by the first source that says anything of it. A
//     later one adds no endpoint to it: what an operator wrote down, or
//     Kubernetes knows, nobody can widen by registering.
//   - of the same address a later source adds what is lacking (zone, region,
//     journal), and the worse health counts: whoever says it drains is right.
//   - the policy is the first one that says anything, whole: that of the agent
//     before that of a pattern.
//   - an agent, or everything, pauses when one source wants it.
func merge(updates []*Update) world {
	w := world{services: map[string]mesh.Service{}}
	for _, u := range updates {
		w.paused = w.paused || u.Paused
		for _, s := range u.Services {
			known, ok := w.services[s.Agent]
			if !ok {
				known = mesh.Service{Agent: s.Agent}
			}
			w.services[s.Agent] = combine(known, s)
		}
	}
	for _, u := range updates {
		if u.Policies.Len() == 0 {
			continue
		}
		for agent, s := range w.services {
			s.Policy = before(s.Policy, u.Policies.For(agent))
			w.services[agent] = s
		}
	}
	return w
}

// before is the more believed of two policies, paused when either is.
func before(known, later outbound.Policy) outbound.Policy {
	paused := known.Paused || later.Paused
	known.Paused = false
	if reflect.ValueOf(known).IsZero() {
		known = later
	}
	known.Paused = paused
	return known
}

// combine adds to a service what a less believed source says of it. It changes
// neither.
func combine(known, later mesh.Service) mesh.Service {
	known.Policy = before(known.Policy, later.Policy)
	if known.Endpoints == nil {
		known.Endpoints, known.Hints = later.Endpoints, later.Hints
		return known
	}
	if len(known.Endpoints) == 0 || len(later.Endpoints) == 0 {
		return known
	}
	others := make(map[string]outbound.Endpoint, len(later.Endpoints))
	for _, e := range later.Endpoints {
		others[e.Address] = e
	}
	endpoints := make([]outbound.Endpoint, len(known.Endpoints))
	hints := make(map[string]mesh.Hint, len(known.Endpoints))
	for i, e := range known.Endpoints {
		hint := known.Hints[e.Address]
		if other, ok := others[e.Address]; ok {
			e.Zone = first(e.Zone, other.Zone)
			e.Health = max(e.Health, other.Health)
			hint.Region = first(hint.Region, later.Hints[e.Address].Region)
			hint.Journal = first(hint.Journal, later.Hints[e.Address].Journal)
		}
		endpoints[i] = e
		if hint != (mesh.Hint{}) {
			hints[e.Address] = hint
		}
	}
	known.Endpoints, known.Hints = endpoints, hints
	return known
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// sortEndpoints gives a service's endpoints one order, whoever lists them.
func sortEndpoints(endpoints []outbound.Endpoint) {
	slices.SortFunc(endpoints, func(a, b outbound.Endpoint) int { return strings.Compare(a.Address, b.Address) })
}
