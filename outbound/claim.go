package outbound

import (
	"context"
	"time"

	"pannier/journal"
)

const (
	claimMost  = 128     // intents claimed at once for the only endpoint of an agent
	claimShare = 32      // and where there are several, so that they share a burst
	claimBytes = 1 << 20 // of envelopes, as far as the last claim tells their size
	queuedMost = 2 << 20 // bytes waiting for one peer's writer
	pauseLocal = time.Second
	pauseFault = time.Second
)

// target is who gets the next claim: our own mailbox, or a peer.
type target struct {
	local bool
	opt   option
	n     int
	part  int        // of the destination it is taken from
	seeks journal.ID // an intent that only this one, or not everyone, may get
}

// serve makes one claim for a destination and hands it on. It reports whether
// the destination may have more to do at once.
//
// A claim changes nothing in the journal: the intents stay in the due index
// until a holder has said held. If we crash here, they are due.
func (d *Dispatcher) serve(ctx context.Context, dst *dest) (again bool) {
	now := time.Now()
	local, window := d.localWindow(dst.name, dst.lane)
	eps, known := d.dir.Endpoints(dst.name)
	policy := d.dir.Policy(dst.name)

	d.mu.Lock()
	if !dst.next.IsZero() && !dst.next.After(now) {
		dst.next, dst.more = time.Time{}, everyPart
	}
	d.adopt(dst, policy, local)
	if policy.Paused {
		d.leave(dst)
		d.alarm(dst, dst.next)
		d.mu.Unlock()
		return false // the directory tells when that changes
	}
	if dst.more == 0 && dst.oldOpen && len(dst.rejects)+len(dst.owed) == 0 {
		d.alarm(dst, dst.next)
		d.mu.Unlock()
		return false
	}
	options := d.survey(dst, eps, now)
	d.alarm(dst, d.openOld(dst, options, known, local, now))
	d.refuseStale(ctx, dst, options)
	t, ok := d.pickOwed(ctx, dst, options)
	if !ok {
		t, ok = d.pickRejected(dst, options)
	}
	if !ok && dst.more != 0 && (local && window > 0 || !dst.crowded()) {
		t, ok = d.pick(dst, options, local, window, now)
	}
	if !ok {
		for _, o := range options {
			d.alarm(dst, o.until) // zero: some event tells
		}
		d.alarm(dst, dst.localPause)
		d.alarm(dst, dst.next)
		d.mu.Unlock()
		return false
	}
	t.n = min(t.n, max(1, claimBytes/max(1, dst.size)))
	oldOpen := dst.oldOpen
	dst.more &^= 1 << t.part
	d.mu.claiming = true
	d.mu.Unlock()

	offers, next, err := d.journal.DuePart(dst.agent, t.part, now, t.n, d.skip(dst, t, oldOpen))
	if err != nil {
		d.log.Error("cannot read what is due", "agent", dst.name, "err", err)
		next = now.Add(pauseFault)
	}
	taken := d.claimed(dst, t, offers, next, now)
	d.sought(dst, t, len(offers) < t.n)
	d.handOn(ctx, dst, t, taken)
	return err == nil
}

// localWindow is how many our own mailbox takes now, if it serves the agent.
func (d *Dispatcher) localWindow(agent string, lane bool) (local bool, window int) {
	switch local = d.local.Serves(agent); {
	case local && lane:
		return true, laneWindow
	case local:
		window = d.local.Window(agent)
	}
	return local, window
}

// skip tells a claim which intents to leave out. Whoever makes one of them
// free again sets the journal's cursor back.
func (d *Dispatcher) skip(dst *dest, t target, oldOpen bool) func(journal.ID) bool {
	return func(id journal.ID) bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		if f := d.mu.flights[id]; f != nil {
			// Its answer is owed by a holder: that one gets it again, and no other.
			return f.stage != owed || t.local || f.holder.Journal != t.opt.session.peer.Journal
		}
		if r := dst.rejects[id]; r != nil && !t.local {
			if _, by := r.by[t.opt.Address]; by || r.refusing {
				return true
			}
		}
		if !t.local && id != t.seeks && !mayGo(id, dst.policy.Split, t.opt.Endpoint) {
			return true
		}
		// The time in the id is a hint that saves reading the record; Offer.Old
		// decides.
		return !oldOpen && id.Time().Before(d.started)
	}
}

// claimed puts the offers in flight and returns those that may be handed on.
func (d *Dispatcher) claimed(dst *dest, t target, offers []journal.Offer, next, now time.Time) []*flight {
	var missed []*flight
	defer func() { d.rewind(missed, false) }() // after the unlock below
	d.mu.Lock()
	defer d.mu.Unlock()
	taken := make([]*flight, 0, len(offers))
	size := dst.size / 2 // forgotten by halves
	for _, o := range offers {
		if _, ended := d.mu.ended[o.ID]; ended || o.Old && !dst.oldOpen || d.mu.draining {
			continue // openOld sets the cursor back for the old ones
		}
		if p, changed := d.mu.changed[o.ID]; changed {
			o.Policy = p
		}
		if !t.local && t.opt.session.detached {
			missed = append(missed, &flight{dest: dst, due: o.Due})
			continue // it ended while we read: they are due again
		}
		if f := d.mu.flights[o.ID]; f != nil {
			d.drop(f)
		}
		f := &flight{id: o.ID, offerNo: o.OfferNo, due: o.Due, dest: dst, offer: o, bytes: len(o.Envelope), stage: claimed}
		f.handling = d.handling(dst.policy)
		if !t.local {
			f.session, f.pair = t.opt.session, t.opt.pair
			f.pair.out++
			dst.unanswered++
			f.session.inFlight++
			f.session.queued += f.bytes
		}
		d.mu.flights[o.ID] = f
		d.mu.bytes += f.bytes
		size = max(size, f.bytes)
		dst.inFlight++
		taken = append(taken, f)
	}
	dst.size = size
	d.mu.claiming = false
	clear(d.mu.ended)
	clear(d.mu.changed)
	for _, f := range d.mu.recorded {
		d.drop(f)
	}
	d.mu.recorded = d.mu.recorded[:0]
	switch {
	case next.IsZero(): // to the end of the index
		dst.next = next
	case next.After(now):
		dst.next = next
		d.alarm(dst, next)
	default:
		dst.more |= 1 << t.part
	}
	return taken
}

// handOn gives the claim to its target.
func (d *Dispatcher) handOn(ctx context.Context, dst *dest, t target, taken []*flight) {
	var fresh, raise []*flight
	for _, f := range taken {
		if f.offer.Old && dst.oldRaise {
			raise = append(raise, f)
		} else {
			fresh = append(fresh, f)
		}
	}
	if len(raise) > 0 {
		d.raise(ctx, raise)
	}
	if len(fresh) == 0 {
		return
	}
	if t.local {
		d.mu.Lock()
		dst.taking = true
		d.mu.Unlock()
		d.tasks.Go(func() { d.take(ctx, dst, fresh) })
		return
	}
	t.opt.session.out.offer(fresh)
}

// raise gives offers their next number before another journal sees them. The
// number is durable when Raise returns; only then are they claimed again, with
// it. If we crash in between, they are due under the one or the other.
func (d *Dispatcher) raise(ctx context.Context, flights []*flight) {
	ids := make([]journal.ID, len(flights))
	for i, f := range flights {
		ids[i] = f.id
	}
	err := d.journal.Raise(ctx, ids)
	if err != nil {
		d.log.Error("cannot raise offer numbers", "err", err)
	}
	d.giveBack(flights, err != nil)
}

// take gives offers to our own mailbox. When Take returns they are in it and
// out of the due index, in one commit; if we crash before, they are due.
func (d *Dispatcher) take(ctx context.Context, dst *dest, flights []*flight) {
	offers := make([]journal.Offer, len(flights))
	for i, f := range flights {
		offers[i] = f.offer
	}
	results, err := d.local.Take(ctx, dst.name, offers)
	var back []*flight
	d.mu.Lock()
	dst.taking = false
	for i, f := range flights {
		if err == nil && i < len(results) && results[i].Err == nil {
			d.drop(f)
		} else if d.mu.flights[f.id] == f { // else it has ended meanwhile
			back = append(back, f)
		}
	}
	if len(back) > 0 {
		dst.localPause = time.Now().Add(pauseLocal)
	}
	d.queue(dst, false)
	d.mu.Unlock()
	d.giveBack(back, false)
}
