package outbound

import (
	"context"
	"slices"
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

	handling           // in the frame it goes with
	until    time.Time // an injected delay holds it back so long

	session *session // claimed, sent
	pair    *pair
	frame   *sentFrame       // sent
	holder  journal.Identity // sent, owed, answered
	span    Span             // of the offer, from just before it is written to its answer; nil: none
}

// drop takes a flight out. Called with mu held.
func (d *Dispatcher) drop(f *flight) {
	if d.mu.flights[f.id] != f {
		return
	}
	delete(d.mu.flights, f.id)
	f.endSpan(spanUnwritten)
	f.dest.inFlight--
	d.written(f)
	if f.session != nil { // claimed or sent
		f.pair.out--
		f.session.inFlight--
		f.dest.unanswered--
	}
	if f.stage == owed {
		d.notOwed(f)
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
			dst.more = everyPart
			d.alarm(dst, time.Now().Add(pauseFault))
			continue
		}
		d.queue(dst, true)
	}
}

// owe makes the holder of a sent flight owe its answer beyond the stream.
// Called with mu held.
func (d *Dispatcher) owe(f *flight) {
	d.written(f)
	f.endSpan(spanCut)
	f.stage, f.session, f.pair, f.frame = owed, nil, nil, nil
	d.mu.holders[f.holder.Journal].owed++
	if f.dest.owed == nil {
		f.dest.owed = map[journal.ID]*flight{}
	}
	f.dest.owed[f.id] = f
}

func (d *Dispatcher) notOwed(f *flight) {
	delete(f.dest.owed, f.id)
	if h := d.mu.holders[f.holder.Journal]; h != nil {
		h.owed--
	}
}

// pickOwed finds an owed intent whose holder is back, and has not listed it: it
// never arrived, and goes there again under its number. Where that holder would
// not take it now, its word that it has nothing is as good as a refusal. Called
// with mu held, by the loop.
func (d *Dispatcher) pickOwed(ctx context.Context, dst *dest, options []option) (target, bool) {
	var stray []*flight
	found := target{}
	for id, f := range dst.owed {
		h := d.mu.holders[f.holder.Journal]
		if h == nil || h.session == nil || !h.session.live || h.session.peer != f.holder {
			continue // reconcile, or its loss, will tell
		}
		i := slices.IndexFunc(options, func(o option) bool { return o.session == h.session })
		switch {
		case i < 0 || options[i].pair == nil || options[i].pair.shut || options[i].refuses() || options[i].Health != Healthy || h.session.leaving:
			stray = append(stray, f)
		case options[i].room > 0 && found.n == 0:
			found = target{opt: options[i], n: options[i].room, seeks: id, part: strayPart}
			d.journal.Rewind(dst.agent, f.due)
		}
	}
	for _, f := range stray {
		d.notOwed(f)
		f.stage = answered
	}
	if len(stray) > 0 {
		d.tasks.Go(func() { d.disown(ctx, stray) })
	}
	return found, found.n > 0
}

// disown makes intents due for others that their holder has not listed: under
// the next number, which is durable before they are claimed again.
func (d *Dispatcher) disown(ctx context.Context, stray []*flight) {
	for _, f := range stray {
		err := d.journal.Requeue(ctx, f.holder.Journal, []journal.Requeue{{ID: f.id, OfferNo: f.offerNo, Raise: true}})
		if err != nil && ctx.Err() == nil {
			d.log.Error("cannot take back an offer", "intent_id", f.id.String(), "err", err)
		}
	}
	d.giveBack(stray, false)
}

// sought ends a claim that was made for the sake of one intent: one it did not
// find, though it saw all that is due, has moved on.
func (d *Dispatcher) sought(dst *dest, t target, all bool) {
	if t.seeks.IsZero() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	dst.more = everyPart // the cursor went back over what others may take
	switch f := d.mu.flights[t.seeks]; {
	case !all:
	case f == nil:
		delete(dst.rejects, t.seeks)
	case f.stage == owed:
		d.drop(f)
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
		for ids := range slices.Chunk(l.ids, page) {
			d.journal.RecordHeld(holder, ids, l.nos[:len(ids)], false, func() {})
			l.nos = l.nos[len(ids):]
		}
	}
}
