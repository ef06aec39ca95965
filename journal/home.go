package journal

import (
	"context"
	"slices"
	"time"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// actorSelf is the actor of events Pannier itself caused.
const actorSelf = "pannier"

// Raise gives the intents their next offer number: each may be at a journal
// that cannot be asked, and is about to be offered to another.
func (j *Journal) Raise(ctx context.Context, ids []ID) error {
	ops := make([]*op, len(ids))
	for i, id := range ids {
		ops[i] = &op{about: id, run: func(t *tx) error {
			l, found, err := t.life(id)
			if err != nil || !found || l.place() != PlaceDue {
				return err
			}
			l.head.OfferNo++
			l.head.Boot = t.j.birth.Boot // from now on it is as if accepted since the start
			return t.saveLife(l)
		}}
	}
	return j.doApart(ctx, first, ops...)
}

// RecordHeld notes which journal has said held. Nothing waits for it: it rides
// with the next batch. If we crash before, reconcile tells us again. done is
// called once, whatever becomes of it. now asks for a batch of its own: a sender
// waits to hear that a receiver has the intent.
func (j *Journal) RecordHeld(holder Identity, ids []ID, offerNos []uint64, now bool, done func()) {
	o := &op{
		run:  func(t *tx) error { return t.recordAllHeld(ids, offerNos, holder.Journal) },
		done: func(error) { done() },
	}
	if now {
		j.submit(first, o)
		return
	}
	j.rideAlong(o)
}

// recordAllHeld leaves out what cannot be worked on, and begins anew without it.
func (t *tx) recordAllHeld(ids []ID, offerNos []uint64, holder ID) error {
	for i := 0; i < len(ids); i++ {
		id := ids[i]
		if slices.ContainsFunc(t.blamed, func(b blame) bool { return b.id == id }) {
			continue
		}
		switch err := t.j.guard(func() error { return t.recordHeld(id, offerNos[i], holder) }); {
		case isFault(err):
			t.blamed = append(t.blamed, blame{id, err})
			t.drop()
			i = -1
		case err != nil:
			return err
		}
	}
	return nil
}

func (t *tx) recordHeld(id ID, offerNo uint64, holder ID) error {
	t.j.panics("held", id)
	l, found, err := t.life(id)
	if err != nil || !found || !l.open() || l.place() != PlaceDue || l.head.OfferNo != offerNo {
		return err
	}
	t.goTo(l, PlaceHeld, time.Time{}, holder)
	return t.saveLife(l)
}

// Requeue makes intents due again that were on record at holder, or offered to
// it without an answer. Those that are elsewhere by now stay where they are.
func (j *Journal) Requeue(ctx context.Context, holder ID, rs []Requeue) error {
	ops := make([]*op, len(rs))
	for i, r := range rs {
		ops[i] = &op{about: r.ID, run: func(t *tx) error { return t.requeue(holder, r) }}
	}
	return j.doApart(ctx, first, ops...)
}

func (t *tx) requeue(holder ID, r Requeue) error {
	l, found, err := t.life(r.ID)
	if err != nil || !found || !l.open() {
		return err
	}
	held := l.place() == PlaceHeld && l.holder() == holder
	offered := l.place() == PlaceDue && r.OfferNo == l.head.OfferNo
	if r.OfferNo != 0 && r.OfferNo != l.head.OfferNo || !held && !offered {
		return nil
	}
	if held && l.head.InInbox && r.Reason == state.ReasonHolderLost && !r.Threads {
		return nil // people take their time, and a thread elsewhere would be a second one
	}
	if r.Raise {
		l.head.OfferNo++
		l.head.Boot = t.j.birth.Boot
	}
	l.head.InInbox = false
	if l.waitsForOperator() {
		t.goTo(l, PlaceParked, time.Time{}, holder)
		return t.saveLife(l)
	}
	lost := r.Reason == state.ReasonHolderLost
	if lost {
		l.head.Lost++
		t.move(l, state.Transfer, &wire.Event{Actor: actorSelf, Reason: uint32(r.Reason), Peer: holder[:], OfferNo: l.head.OfferNo})
	}
	if lost && l.head.Lost >= lostLimit {
		text := "its holders were lost again and again; an operator must look"
		t.move(l, state.Wait, &wire.Event{Actor: actorSelf, Reason: uint32(state.ReasonOperator), Text: text})
		t.goTo(l, PlaceParked, time.Time{}, holder)
		return t.saveLife(l)
	}
	due := t.now
	if r.NotBefore.After(due) {
		due = r.NotBefore
	}
	t.goTo(l, PlaceDue, due, holder)
	return t.saveLife(l)
}

// Reconcile takes a holder's list of what it has from us. What we keep is put
// on record; the verdicts name what the holder must let go, the words and the
// policies what it has not heard of the rest.
func (j *Journal) Reconcile(ctx context.Context, holder Identity, list []Holding) ([]Verdict, []Continued, []Policy, error) {
	verdicts := make([]*Verdict, len(list))
	words, policies := make([]*Continued, len(list)), make([]*Policy, len(list))
	ops := make([]*op, len(list))
	for i, h := range list {
		ops[i] = &op{about: h.ID, run: func(t *tx) (err error) {
			verdicts[i], words[i], policies[i] = nil, nil, nil
			l, found, err := t.life(h.ID)
			if err != nil {
				return err
			}
			if verdicts[i], err = t.reconcile(holder, h, l, found); err != nil || verdicts[i] != nil {
				return err
			}
			if found && h.Phase.Open() && h.Continued < l.head.Continued {
				c := continuedOf(l)
				c.OfferNo = h.OfferNo // its own; nothing else of it has changed
				words[i] = &c
			}
			if found && h.Phase.Open() && h.Policy < l.head.PolicyGeneration {
				p := policyOf(l.id, &l.head)
				p.Deadline = j.clock.limit(p.Deadline)
				policies[i] = &p
			}
			return nil
		}}
	}
	if err := j.doApart(ctx, first, ops...); err != nil {
		return nil, nil, nil, err
	}
	return some(verdicts), some(words), some(policies), nil
}

// some collects what there is.
func some[T any](list []*T) (out []T) {
	for _, x := range list {
		if x != nil {
			out = append(out, *x)
		}
	}
	return out
}

func (t *tx) reconcile(holder Identity, h Holding, l *life, found bool) (*Verdict, error) {
	if !found {
		if p, err := t.purged(h.ID); err != nil || p != nil {
			return &Verdict{ID: h.ID, OfferNo: h.OfferNo, Ended: true, Status: state.Status(p.GetStatus()), Reason: state.Reason(p.GetReason())}, err
		}
		if h.HomeEpoch < t.j.self.Epoch {
			return nil, nil // offered before we were restored: the holder finishes it as an orphan
		}
		return &Verdict{ID: h.ID, OfferNo: h.OfferNo, Ended: true}, nil
	}
	if !l.open() {
		return &Verdict{ID: h.ID, OfferNo: h.OfferNo, Ended: true, Status: l.status(), Reason: l.endedFor(), Events: l.toldEvents()}, nil
	}
	here := l.place() == PlaceHeld && l.holder() == holder.Journal
	answered := h.Phase == state.Answered // its report counts under any number, and is on its way
	switch {
	case here && h.OfferNo == l.head.OfferNo:
		return nil, nil
	case l.place() == PlaceLocal, h.OfferNo < l.head.OfferNo && !answered, l.place() == PlaceHeld && !here && !answered:
		return &Verdict{ID: h.ID, OfferNo: l.head.OfferNo}, nil
	}
	l.head.OfferNo = max(l.head.OfferNo, h.OfferNo)
	t.goTo(l, PlaceHeld, time.Time{}, holder.Journal)
	return nil, t.saveLife(l)
}

// Refuse ends an intent that every endpoint has refused for good.
func (j *Journal) Refuse(ctx context.Context, id ID, offerNo uint64, why state.Reason, text string) error {
	return j.do(ctx, first, &op{about: id, run: func(t *tx) error {
		l, found, err := t.life(id)
		if err != nil || !found || !l.open() || l.head.OfferNo != offerNo || l.place() != PlaceDue {
			return err
		}
		t.move(l, state.DeliveryFailed, &wire.Event{Actor: actorSelf, Reason: uint32(why), Text: text})
		_, err = t.end(l, state.Fail, &wire.Event{Actor: actorSelf, Reason: uint32(why)},
			deliveryError(why.String(), why, text, l.head.Attempts), text)
		return err
	}})
}
