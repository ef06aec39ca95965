package outbound

import (
	"errors"
	"math/rand/v2"
	"time"

	"pannier/journal/state"
)

var errAborted = errors.New("a traffic policy aborted the exchange: an injected fault")

// handling is what the policy of a destination means for the frame an offer goes
// with. Only offers of one handling are in one frame.
type handling struct {
	answer time.Duration // the holder may take so long
	fault  Fault
}

func (d *Dispatcher) handling(p Policy) handling {
	h := handling{answer: d.opt.OfferTimeout, fault: p.Fault}
	if p.PerTryTimeout > 0 {
		h.answer = p.PerTryTimeout
	}
	return h
}

func drawn(percent float64) bool { return percent > 0 && rand.Float64()*100 < percent }

// inject does to a frame of offers what the policy asks for, before any of it is
// sent, and reports whether that is anything. A delayed frame keeps its place in
// the credit, as one that a slow line carries does; whether it is aborted is drawn
// when it would go.
func (s *session) inject(offers []*flight, now time.Time) bool {
	f := offers[0].fault
	switch {
	case offers[0].until.IsZero() && f.Delay > 0 && drawn(f.DelayPercent):
		s.d.hold(offers, now.Add(f.Delay))
		s.out.postpone(offers)
	case drawn(f.AbortPercent):
		s.d.abort(s, offers)
	default:
		return false
	}
	return true
}

// hold notes until when offers are held back.
func (d *Dispatcher) hold(offers []*flight, until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range offers {
		f.until = until
	}
}

// abort lets an exchange fail: one failure for the breaker, and the intents,
// which nobody has seen, are due again after a pause. A stream whose breaker this
// opens ends; the next dial is the probe, as ever.
func (d *Dispatcher) abort(s *session, offers []*flight) {
	now := time.Now()
	d.mu.Lock()
	var back []*flight
	for _, f := range offers {
		if d.mu.flights[f.id] == f && f.stage == claimed && f.session == s {
			back = append(back, f)
			p := f.pair
			if !now.Before(p.pausedUntil) {
				p.refusals++
				p.pausedUntil = now.Add(d.holdOff(f.dest.policy.Backoff, 0, p.refusals))
			}
			p.pausedBy, p.away = state.CauseFaultInjected, false
		}
	}
	p := s.probe
	if len(back) > 0 {
		s.probe, s.lastWork = nil, now
	}
	d.mu.Unlock()
	if len(back) == 0 {
		return // they have ended meanwhile
	}
	if p == nil {
		p, _ = s.link.breaker.allow(now) // none: it is open, and this session is ending
	}
	if p != nil {
		p.done(errAborted)
	}
	if name, _ := s.link.breaker.status(now); name != breakerClosed {
		s.cancel(errAborted)
	}
	d.giveBack(back, false)
}
