package outbound

import (
	"slices"
	"time"

	"pannier/journal/state"
)

// What a policy makes of the endpoints' own room: here, after weigh.

// restrict takes room away that the policy or discovery does not give. Called
// with mu held.
func (dst *dest) restrict(options []option) {
	for i := range options {
		o := &options[i]
		if o.Health != Healthy {
			o.free, o.usable, o.until = 0, false, time.Time{}
			o.cause = state.CauseUnhealthy
			if o.Health == Draining {
				o.cause = state.CauseDraining
			}
		}
		o.room = o.free
	}
	groups := map[string][]*option{}
	for i := range options {
		key := ""
		if len(dst.policy.Split) > 0 {
			key = options[i].Subset
		}
		groups[key] = append(groups[key], &options[i])
	}
	for _, g := range groups {
		firstPriority(g)
	}
	if most := dst.policy.MaxRequests; most > 0 {
		left := max(0, most-dst.unanswered)
		for i := range options {
			o := &options[i]
			if o.free > 0 && left == 0 {
				o.cause = state.CauseMaxRequests
			}
			o.free = min(o.free, left)
		}
	}
}

// firstPriority leaves room only at the first priority of which an endpoint is
// usable: there may be none free just now, but one that works is waited for. Where
// none of any is, the first that takes something gets it: as a probe.
func firstPriority(options []*option) {
	best, found := 0, false
	for _, usable := range []bool{true, false} {
		for _, o := range options {
			if (usable && o.usable || !usable && o.free > 0) && (!found || o.Priority < best) {
				best, found = o.Priority, true
			}
		}
		if found {
			break
		}
	}
	for _, o := range options {
		if !found || o.Priority == best {
			continue
		}
		if o.free > 0 || o.Priority > best && o.usable {
			o.cause, o.until = state.CauseStandby, time.Time{}
		}
		o.free = 0
	}
}

// spare passes over the breakers of a destination's endpoints that are open
// beyond the share its policy allows: those that opened last. Their gate does not
// count, the pause between tries does, and a try is still one intent. Called with
// mu held.
func (d *Dispatcher) spare(dst *dest, links []*link) {
	var over []*link
	if most := dst.policy.Breaker.MaxEjectionPercent; most > 0 && len(links) > 0 {
		type ejected struct {
			*link
			since time.Time
		}
		var open []ejected
		for _, l := range links {
			if since, yes := l.breaker.ejected(); yes {
				open = append(open, ejected{l, since})
			}
		}
		slices.SortFunc(open, func(a, b ejected) int { return a.since.Compare(b.since) })
		for _, e := range open[min(len(open), len(links)*most/100):] {
			over = append(over, e.link)
		}
	}
	if slices.Equal(over, dst.spared) {
		return
	}
	for _, l := range over {
		l.spares++
	}
	for _, l := range dst.spared {
		l.spares--
	}
	for _, l := range slices.Concat(over, dst.spared) {
		l.breaker.spare(l.spares > 0)
		l.poke()
	}
	dst.spared = over
}
