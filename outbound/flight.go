package outbound

import (
	"time"

	"pannier/journal"
)

// stage is how far an offer has come.
type stage uint8

const (
	claimed  stage = iota + 1 // taken for a target, not yet on the wire
	sent                      // the answer is owed, on a stream that lives
	owed                      // the answer is owed by a holder whose stream broke
	answered                  // it leaves as soon as the journal, or its cursor, knows
)

// flight is an intent between its claim and the record of who holds it: while
// it exists no claim returns it, except, once owed, one for the holder that
// owes the answer. Their number is bounded by the credit of the holders.
//
//	claimed ──written──▶ sent ──held──▶ answered ──on record──▶ (gone)
//	   │                  │ └──refused──▶ answered ──▶ (gone, due again)
//	   │                  └──stream broke──▶ owed ──claimed for that holder──▶ claimed
//	   └──not written──▶ (gone, due again)    └──listed at reconcile, or holder lost──▶ (gone)
type flight struct {
	id      journal.ID
	offerNo uint64
	due     time.Time // where the cursor goes back to
	dest    *dest
	offer   journal.Offer // until written
	bytes   int           // of the envelope, until written
	stage   stage
	ended   bool // meanwhile: the answer is awaited, and counts for nothing

	session *session // claimed, sent
	pair    *pair
	frame   *sentFrame       // sent
	holder  journal.Identity // sent, owed, answered
}

// drop takes a flight out. Called with mu held.
func (d *Dispatcher) drop(f *flight) {
	if d.mu.flights[f.id] != f {
		return
	}
	delete(d.mu.flights, f.id)
	f.dest.inFlight--
	d.written(f)
	if f.session != nil { // claimed or sent
		f.pair.out--
		f.session.inFlight--
	}
	if f.stage == owed {
		if h := d.mu.holders[f.holder.Journal]; h != nil {
			h.owed--
		}
	}
	// The loop looks whether more may go now, or retires the destination.
	d.queue(f.dest, false)
}

// written gives back the room of a flight's envelope. Called with mu held.
func (d *Dispatcher) written(f *flight) {
	if f.bytes == 0 {
		return
	}
	d.mu.bytes -= f.bytes
	if f.session != nil {
		f.session.queued -= f.bytes
	}
	f.bytes, f.offer.Envelope = 0, nil
	for _, dst := range d.mu.hungry {
		dst.hungry = false
		d.queue(dst, false)
	}
	d.mu.hungry = d.mu.hungry[:0]
}

// giveBack makes flights due again that nobody has: no journal write, only the
// cursor goes back. With wait the destination is left alone for a moment.
func (d *Dispatcher) giveBack(flights []*flight, wait bool) {
	if len(flights) == 0 {
		return
	}
	var again []*flight
	d.mu.Lock()
	for _, f := range flights {
		if d.mu.flights[f.id] == f {
			again = append(again, f)
			d.drop(f)
		}
	}
	d.mu.Unlock()
	// The cursor goes back only when no claim skips the intent any more, and
	// the destination is queued only after that.
	d.rewind(again, wait)
}

func (d *Dispatcher) rewind(flights []*flight, wait bool) {
	earliest := map[journal.Agent]time.Time{}
	for _, f := range flights {
		if due, ok := earliest[f.dest.agent]; !ok || f.due.Before(due) {
			earliest[f.dest.agent] = f.due
		}
	}
	for a, due := range earliest {
		d.journal.Rewind(a, due)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for a := range earliest {
		dst := d.dest(a)
		if wait {
			dst.more = true
			d.alarm(dst, time.Now().Add(pauseFault))
			continue
		}
		d.queue(dst, true)
	}
}

// unanswered counts the offers whose answer may still come. Called without mu.
func (d *Dispatcher) unanswered() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.mu.flights {
		if f.stage == sent && !f.ended {
			n++
		}
	}
	return n
}

// recordUnanswered puts every offer whose answer is owed on record as held by
// the journal that owes it.
func (d *Dispatcher) recordUnanswered() {
	type list struct {
		ids []journal.ID
		nos []uint64
	}
	lists := map[journal.Identity]*list{}
	d.mu.Lock()
	for _, f := range d.mu.flights {
		if f.ended || f.stage != sent && f.stage != owed {
			continue
		}
		l := lists[f.holder]
		if l == nil {
			l = &list{}
			lists[f.holder] = l
		}
		l.ids, l.nos = append(l.ids, f.id), append(l.nos, f.offerNo)
	}
	d.mu.Unlock()
	for holder, l := range lists {
		// Lazy, but Close of the journal commits what rides along. A crash before
		// that makes the next start an unclean one, which asks.
		d.journal.RecordHeld(holder, l.ids, l.nos, func() {})
	}
}
