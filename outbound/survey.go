package outbound

import (
	"bytes"
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"pannier/journal/state"
)

// option is one endpoint of a destination, and whether it takes anything now.
type option struct {
	Endpoint
	link    *link
	session *session
	pair    *pair
	room    int         // how many more it takes now
	free    int         // how many of these the policy gives it
	usable  bool        // nothing is wrong with it: where it has no room it will
	cause   state.Cause // why it takes none
	why     error       // with CauseUntrusted: who answers there
	until   time.Time   // when that may change by itself
}

// survey looks at every endpoint of a destination. Called with mu held.
func (d *Dispatcher) survey(dst *dest, eps []Endpoint, now time.Time) []option {
	links := make([]*link, 0, len(eps))
	for _, ep := range eps {
		if ep.Address != d.self.Address {
			l := d.link(ep.Address)
			if ep.Health != Healthy && dst.oldOpen {
				continue // only what it may have from before our start is asked for
			}
			if _, aliased := d.aliased(l); l.session == nil && !aliased {
				l.want()
			}
			links = append(links, l)
		}
	}
	d.attach(dst, links)
	d.spare(dst, links)
	options := d.look(dst, eps, now)
	for _, o := range options {
		if o.why != nil && o.link.lastError != o.why.Error() {
			o.link.lastError = o.why.Error()
			d.log.Warn("nothing is offered to a peer that may not speak for the agent", "agent", dst.name, "peer", o.Address, "err", o.why)
		}
	}
	return options
}

// look weighs the endpoints of a destination and changes nothing. Called with mu
// held.
func (d *Dispatcher) look(dst *dest, eps []Endpoint, now time.Time) []option {
	options := make([]option, 0, len(eps))
	for _, ep := range eps {
		o := option{Endpoint: ep, link: d.mu.links[ep.Address], cause: state.CauseConnecting, usable: true}
		if ep.Address == d.self.Address || o.link != nil && o.link.self {
			continue
		}
		if o.link != nil {
			o.session = d.sessionOf(o.link)
			o.weigh(dst.key, dst.lane, now)
		}
		options = append(options, o)
	}
	dst.restrict(options)
	return options
}

// sessionOf is the stream to whoever answers at an address, also where it was
// opened at another. Called with mu held.
func (d *Dispatcher) sessionOf(l *link) *session {
	if l.session != nil {
		return l.session
	}
	s, _ := d.aliased(l)
	return s
}

// weigh decides how many intents an endpoint takes now, or why none, and whether
// anything is wrong with it: one that is dialed for the first time, has no credit
// left or is busy for a moment is usable.
func (o *option) weigh(key string, lane bool, now time.Time) {
	s := o.session
	o.cause = state.NoCause
	if s == nil || !s.live {
		o.cause, o.until = o.link.obstacle(now)
		if s != nil {
			o.cause = state.CauseReconciling
		}
		o.usable = o.cause != state.CauseBreakerOpen && o.link.failures == 0
		return
	}
	o.usable = false
	if o.why = s.speaks(strings.TrimSuffix(key, laneKey(""))); o.why != nil {
		o.cause = state.CauseUntrusted
		return
	}
	o.pair = s.pair(key)
	if lane {
		o.pair.window = laneWindow
	}
	switch {
	case s.leaving:
		o.cause = state.CauseConnecting
	case now.Before(s.pausedUntil):
		o.cause, o.until = s.pausedBy, s.pausedUntil
	case now.Before(o.pair.pausedUntil):
		o.cause, o.until, o.usable = o.pair.pausedBy, o.pair.pausedUntil, !o.pair.away
	case o.pair.shut:
		o.cause = o.pair.noCredit()
	case s.testing():
		// Half-open: one frame with one intent, and nothing beside it.
		if s.inFlight == 0 && s.probe != nil {
			o.free = 1
		} else {
			o.cause = state.CauseBreakerOpen
		}
	default:
		o.free, o.usable = o.pair.window-o.pair.out, true
	}
	if o.free <= 0 && o.cause == state.NoCause {
		o.free, o.cause = 0, o.pair.noCredit()
	}
}

// noCredit is why a pair takes nothing more: the door of its app, if that is shut.
func (p *pair) noCredit() state.Cause { return cmp.Or(p.closed, state.CauseNoCredit) }

// pick chooses who gets the next claim, and how much. Called with mu held.
func (d *Dispatcher) pick(dst *dest, options []option, local bool, window int, now time.Time) (target, bool) {
	split := dst.policy.Split
	if local && window > 0 {
		part := 0
		if len(split) > 0 {
			part = localPart
		}
		if dst.taking || now.Before(dst.localPause) || !dst.more.has(part) {
			return target{}, false
		}
		return target{local: true, n: min(window, claimMost), part: part}, true
	}
	if len(split) == 0 {
		return d.choose(dst, options, 0)
	}
	for i := range split { // in turn, so that none waits for the room of all
		part := (dst.turn + i) % len(split)
		if !dst.more.has(part) {
			continue
		}
		if t, ok := d.choose(dst, subset(options, split[part].Subset), part); ok {
			dst.turn = part + 1
			return t, true
		}
	}
	return target{}, false
}

// choose picks one of the endpoints that share a part of the intents. Called with
// mu held.
func (d *Dispatcher) choose(dst *dest, options []option, part int) (target, bool) {
	var open []option
	full := false
	for _, o := range options {
		switch {
		case o.free == 0:
		case o.session.queued >= queuedMost || d.mu.bytes >= d.opt.MaxInFlightBytes:
			full = true
		default:
			open = append(open, o)
		}
	}
	if len(open) == 0 {
		if full && !dst.hungry {
			dst.hungry = true
			d.mu.hungry = append(d.mu.hungry, dst) // fed when a writer has written
		}
		return target{}, false
	}
	most := claimMost
	if len(open) > 1 {
		most = claimShare
	}
	if dst.lane { // what is for people: all of an agent's in one place, as long as that is there
		lowest := slices.MinFunc(open, func(a, b option) int {
			return bytes.Compare(a.session.peer.Journal[:], b.session.peer.Journal[:])
		})
		return target{opt: lowest, n: min(lowest.free, most), part: part}, true
	}
	o := d.better(nearest(open, d.self.Zone))
	return target{opt: o, n: min(o.free, most), part: part}, true
}

// nearest leaves the endpoints of our own zone where there are any.
func nearest(open []option, zone string) []option {
	var near []option
	for _, o := range open {
		if zone != "" && o.Zone == zone {
			near = append(near, o)
		}
	}
	if len(near) > 0 {
		return near
	}
	return open
}

// better takes the one with less outstanding of two: near the best of all, and
// without every sender choosing the same.
func (d *Dispatcher) better(open []option) option {
	i := rand.IntN(len(open))
	if len(open) == 1 {
		return open[i]
	}
	k := rand.IntN(len(open) - 1)
	if k >= i {
		k++
	}
	if open[k].pair.out < open[i].pair.out {
		return open[k]
	}
	return open[i]
}
