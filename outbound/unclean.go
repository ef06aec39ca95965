package outbound

import (
	"slices"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// openOld decides, after an unclean start, whether what was accepted before it
// and has no holder on record may be offered: an offer may have been on the way
// to a holder when we died. It may when every endpoint of the destination has
// said what it holds, or some time after the endpoints are known; in the second
// case under the next number. It returns when to look again. Called with mu
// held.
func (d *Dispatcher) openOld(dst *dest, options []option, known, local bool, now time.Time) time.Time {
	switch {
	case dst.oldOpen:
		return time.Time{}
	case len(options) == 0 && !local:
		return time.Time{} // nobody to offer it to: the clock has not started
	case len(options) == 0: // our own mailbox is in the same journal: it knows
		d.letOld(dst, false)
		return time.Time{}
	}
	asked := true
	for _, o := range options {
		asked = asked && (o.link.asked || o.session != nil && o.session.live)
	}
	if asked && known {
		d.letOld(dst, false)
		return time.Time{}
	}
	if dst.knownSince.IsZero() {
		dst.knownSince = now
	}
	until := dst.knownSince.Add(d.opt.UncleanWait)
	if !now.Before(until) {
		d.letOld(dst, true)
		return time.Time{}
	}
	return until
}

// epoch is before everything that is due.
var epoch = time.UnixMilli(0)

// letOld sets the cursor back to the first of them. Called with mu held.
func (d *Dispatcher) letOld(dst *dest, raise bool) {
	dst.oldOpen, dst.oldRaise, dst.more = true, raise, everyPart
	d.journal.Rewind(dst.agent, epoch)
}

// past are the facts of a hand-over that may be over: its holder may have given the
// intent back since. After any other it is listed, at least until that is acked.
var past = []state.Fact{state.FactDelivered, state.FactWorking, state.FactAttemptFailed}

// believe takes a report of an intent that was accepted before an unclean start and
// has no holder on record: that it was offered to this one is what we may have
// forgotten. It does so until the list is complete, while nobody else is offered the
// intent: what the holder has given back since is then on record there and not in its
// list, and so due again, under the next number, with its attempts. The flight it
// returns is to be recorded; ours is true for a further report of the same intent.
func (d *Dispatcher) believe(s *session, r *wire.Report) (proven *flight, ours bool) {
	id := journal.ID(r.Id)
	if !d.unclean || !slices.Contains(past, state.Fact(r.Fact)) {
		return nil, false
	}
	i, err := d.journal.Get(id)
	if err != nil || i.Head == nil || journal.Place(i.Head.Place) != journal.PlaceDue ||
		i.Head.OfferNo != r.OfferNo || i.Head.Boot == d.journal.Stats().Boot {
		return nil, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.mu.flights[id]; f != nil {
		return nil, f.holder.Journal == s.peer.Journal
	}
	dst := d.dest(journal.Agent(i.Head.Dest))
	if s.live || dst.oldOpen {
		return nil, false
	}
	f := &flight{id: id, offerNo: r.OfferNo, due: time.UnixMilli(i.Head.DueMs), dest: dst, stage: answered, holder: s.peer}
	d.mu.flights[id] = f
	dst.inFlight++
	d.mu.holders[s.peer.Journal].recording++
	return f, true
}
