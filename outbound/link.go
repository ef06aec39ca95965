package outbound

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// phase is what a link is doing.
type phase uint8

const (
	idle phase = iota
	waiting
	connecting
	reconciling
	open
)

// phaseNames are the states an operator sees.
var phaseNames = [...]string{idle: "idle", waiting: "down", connecting: "connecting", reconciling: "connecting", open: "open"}

// link is the way to one address: it dials when somebody needs it, keeps one
// session, and pauses between tries. Its fields are guarded by the
// dispatcher's mu; the loop of run is its only writer where not said otherwise.
type link struct {
	d       *Dispatcher
	address string
	breaker *breaker
	kick    chan struct{} // something below has changed

	demands  map[demand]int // of those destinations
	demand   demand         // in force
	spares   int            // destinations with too many open breakers beside this one
	failures int            // tries in a row that came to nothing

	phase     phase
	session   *session
	dests     int       // destinations with something due that name this address
	wanted    bool      // set by whoever needs it; unset when a try has ended
	notBefore time.Time // of the next dial, beside the breaker's gate
	knocked   bool      // somebody there asked to be dialed
	lastKnock time.Time
	alias     journal.ID // its journal is reached by another address
	self      bool       // it is this sidecar
	asked     bool       // it has said once since our start what it holds
	lastError string
	oldCopy   *journal.OldCopy // that the last try has found out; nil: none
	copyOf    journal.Identity // who answered when we found it out ourselves
	idleSince time.Time
	outSince  time.Time // since when a stream is wanted and not open; zero: it is, or none is wanted
	gone      bool      // out of the table
}

const (
	linksMost = 20_000 // knocks of strangers make no more
)

// link returns the link of an address. Called with mu held.
func (d *Dispatcher) link(address string) *link {
	l := d.mu.links[address]
	if l == nil {
		l = &link{d: d, address: address, breaker: newBreaker(demand{}.terms(d.opt)), kick: make(chan struct{}, 1), demands: map[demand]int{}}
		if f := d.told.Breaker; f != nil {
			l.breaker.told = func(from, to string) { f(address, from, to) }
		}
		d.mu.links[address] = l
		d.mu.idle = append(d.mu.idle, l)
		d.poke()
	}
	return l
}

// want asks for a stream. Called with mu held.
func (l *link) want() {
	if l.wanted || l.self {
		return
	}
	l.wanted = true
	l.poke()
}

func (l *link) poke() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// run dials as often as the link is needed until ctx ends, or nobody has
// needed it for a while.
func (l *link) run(ctx context.Context) {
	for {
		p, ok := l.await(ctx)
		if !ok {
			return
		}
		err := l.connect(ctx, p)
		l.over(ctx, err)
	}
}

// await returns with a permit when the link is needed and may be tried. The
// breaker's gate and the pause after a stream are one wait: while it lasts
// nothing is written and no attempt is counted.
func (l *link) await(ctx context.Context) (*permit, bool) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		wait, p := l.next(now)
		if p != nil {
			return p, true
		}
		if wait <= 0 {
			return nil, false
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil, false
		case <-l.kick:
		case <-timer.C:
		}
	}
}

// next gives a permit, or how long to wait; neither when the link is over.
func (l *link) next(now time.Time) (time.Duration, *permit) {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	if !l.wanted {
		if l.phase != idle {
			l.phase, l.idleSince, l.outSince = idle, now, time.Time{}
		}
		if l.idleSince.IsZero() {
			l.idleSince = now
		}
		left := l.idleSince.Add(l.d.opt.IdleClose).Sub(now)
		if left <= 0 && l.dests == 0 {
			l.gone = true
			delete(l.d.mu.links, l.address)
			return 0, nil
		}
		return max(left, time.Second), nil
	}
	l.phase = waiting
	if l.outSince.IsZero() {
		l.outSince = now
	}
	if now.Before(l.notBefore) {
		return l.notBefore.Sub(now), nil
	}
	p, err := l.breaker.allow(now)
	if err == nil {
		l.phase, l.knocked = connecting, false
		return 0, p
	}
	switch name, until := l.breaker.status(now); {
	case until.After(now):
		return until.Sub(now), nil
	case name == breakerOpen: // an operator will tell
		return time.Hour, nil
	}
	return 50 * time.Millisecond, nil // half-open, and the last probe not yet reported
}

// over notes the end of a try and decides whether there will be another.
func (l *link) over(ctx context.Context, err error) {
	d := l.d
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	_, aliased := d.aliased(l)
	l.wanted = l.knocked || d.needs(l) || l.dests > 0 && !aliased
	l.phase, l.idleSince = waiting, now
	if l.failures++; err == nil || errors.Is(err, errOperator) {
		l.failures = 0
	}
	l.notBefore = now.Add(l.rest())
	l.oldCopy = oldCopyIn(err)
	switch {
	case err == nil || ctx.Err() != nil:
	case errors.Is(err, errSelf):
		l.self, l.wanted = true, false // until a knock says otherwise
		l.lastError = err.Error()
	case errors.Is(err, errVersion):
		l.lastError = err.Error()
		l.notBefore = now.Add(judge("version").least)
		d.log.Error("peer speaks no version of ours", "peer", l.address, "err", err)
	default:
		if l.lastError != err.Error() {
			d.log.Warn("stream to peer ended", "peer", l.address, "err", err)
		}
		l.lastError = err.Error()
	}
	if l.dests > 0 {
		d.wakeAllLocked() // each of them may have another endpoint
	}
}

// rest is the pause before the next try, beside the breaker's gate. Where no
// policy asks for more it does not grow: the gate does. Called with mu held.
func (l *link) rest() time.Duration {
	if b, said := l.demand.backoff.said(l.d.opt); said {
		return jittered(l.failures, b, rand.Float64())
	}
	return pause(1, l.d.opt.RedialMin, l.d.opt.RedialMax, rand.Float64())
}

// aliased reports whether the journal of this address is reached by another
// one, and returns its session there. Called with mu held.
func (d *Dispatcher) aliased(l *link) (*session, bool) {
	h := d.mu.holders[l.alias]
	if h == nil {
		return nil, false
	}
	return h.session, h.session != nil || h.heir != nil
}

// unalias lets every address of a journal be dialed again. Called with mu held.
func (d *Dispatcher) unalias(id journal.ID) {
	for _, l := range d.mu.links {
		if l.alias == id {
			l.alias = journal.ID{}
		}
	}
}

// needs reports whether a holder that was last seen at the address still has
// something of ours, or has not yet been asked since our start. Called with mu
// held.
func (d *Dispatcher) needs(l *link) bool {
	for _, h := range d.mu.holders {
		if h.address == l.address && h.session == nil && h.heir == nil && !h.lost && (h.held+h.owed+h.recording > 0 || !l.asked) {
			return true
		}
	}
	return false
}

// obstacle says why there is no session to use, and until when. Called with mu
// held.
func (l *link) obstacle(now time.Time) (state.Cause, time.Time) {
	name, until := l.breaker.status(now)
	switch {
	case l.oldCopy != nil:
		return l.putBack(), until
	case name == breakerOpen:
		return state.CauseBreakerOpen, until
	}
	return state.CauseConnecting, time.Time{}
}

// waited is what kept something that was due then from being offered here until now, as
// far as that is known when it is over; nil: nothing.
func (l *link) waited(due, now time.Time) *wire.Wait {
	from, until := l.breaker.outage(now)
	if from.Before(due) {
		from = due
	}
	if !from.Before(until) {
		return nil
	}
	return &wire.Wait{Cause: uint32(state.CauseBreakerOpen), FromMs: from.UnixMilli(), UntilMs: until.UnixMilli()}
}

// Knocked is told that a sidecar asks us to dial it. One knock passes the
// pause and the breaker's gate; knocks that follow it too soon do not.
func (d *Dispatcher) Knocked(id journal.Identity, address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, known := d.mu.holders[id.Journal]
	if address == "" || id.Journal == d.self.Identity.Journal || !known && len(d.mu.links) >= linksMost {
		return
	}
	l := d.link(address)
	now := time.Now()
	if now.Sub(l.lastKnock) < d.opt.RedialMin {
		return
	}
	l.lastKnock = now
	if s := l.session; s != nil {
		if s.peer.Journal == id.Journal {
			s.out.ping() // it thinks there is no stream: ours may be dead
		}
		return
	}
	l.knocked, l.self, l.alias = true, false, journal.ID{}
	l.breaker.lift()
	l.notBefore = time.Time{}
	l.wanted = true
	l.poke()
}
