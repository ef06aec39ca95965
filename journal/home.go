package journal

import (
	"context"
	"fmt"
	"time"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// actorSelf is the actor of events Pannier itself caused.
const actorSelf = "pannier"

// Answer records a word on the intent that was given without a lease: at home
// it is the lifecycle's, at a holder it becomes a report. The first last word
// wins: an *EndedError names the end that was there before.
func (j *Journal) Answer(ctx context.Context, id ID, a Answer) (Answered, error) {
	var res Answered
	err := j.do(ctx, first, &op{run: func(t *tx) error {
		l, homed, err := t.life(id)
		if err != nil {
			return err
		}
		if homed {
			return t.answerAtHome(l, a, &res)
		}
		h, held, err := t.hand(id)
		if err != nil {
			return err
		}
		if !held {
			return ErrNotFound
		}
		return t.answerAtHolder(h, a, &res)
	}})
	return res, err
}

func (t *tx) answerAtHome(l *life, a Answer, res *Answered) error {
	if !l.open() {
		return &EndedError{Status: l.status()}
	}
	e := &wire.Event{Actor: a.Actor, Reason: uint32(a.Reason), Text: a.Text}
	if a.Trigger == state.Start || a.Trigger == state.Wait {
		if err := t.goOn(l, a, e); err != nil {
			return err
		}
	} else {
		if err := t.lastWord(l, a, e); err != nil {
			return err
		}
	}
	res.Status, res.Seq = l.status(), l.head.LastSeq
	return nil
}

// lastWord ends an intent by word of somebody without a lease.
func (t *tx) lastWord(l *life, a Answer, e *wire.Event) error {
	h, held, err := t.hand(l.id) // before the end revokes it
	if err != nil {
		return err
	}
	ended, err := t.end(l, a.Trigger, e, a.Body, a.Text)
	if err != nil {
		return err
	}
	if !ended {
		return fmt.Errorf("%w: %s while %s", ErrIllegal, a.Trigger, l.status())
	}
	if held && a.Trigger != state.Cancel {
		t.spoken(h, h.phase(), time.Time{})
	}
	return nil
}

// waitsForOperator reports whether nobody but an operator moves the intent.
func (l *life) waitsForOperator() bool {
	r := state.Reason(l.head.Reason)
	return l.status() == state.Waiting && (r == state.ReasonExhausted || r == state.ReasonOperator)
}

// goOn continues an intent, or lets it wait, by word of somebody without a
// lease. One that is already in progress stays so, without an event.
func (t *tx) goOn(l *life, a Answer, e *wire.Event) error {
	forOperator := l.waitsForOperator()
	if !t.move(l, a.Trigger, e) && l.status() != state.InProgress {
		return fmt.Errorf("%w: %s while %s", ErrIllegal, a.Trigger, l.status())
	}
	if forOperator && l.place() != PlaceLocal {
		t.offerAnew(l)
		return t.saveLife(l)
	}
	if l.place() != PlaceDue { // somebody has it, and goes on
		l.head.Taken = true
	}
	if l.place() != PlaceLocal {
		t.continueElsewhere(l, a.Trigger)
		return t.saveLife(l)
	}
	if forOperator {
		l.head.Attempts = 0
	}
	if err := t.saveLife(l); err != nil {
		return err
	}
	h, held, err := t.hand(l.id)
	if err != nil || !held {
		return err
	}
	if forOperator {
		h.rec.Attempts = 0
		return t.stepQuietly(h, state.Recover, t.now)
	}
	return t.continueHere(h, a.Trigger)
}

// offerAnew lets an intent that waited for an operator go on as itself: attempts
// are counted anew, under the next number, for whoever gets it now. A holder that
// still has it takes the number over.
func (t *tx) offerAnew(l *life) {
	l.head.Attempts = 0
	l.head.OfferNo++
	t.goTo(l, PlaceDue, t.now, ID{})
}

// continueElsewhere numbers a word for the journal that has the intent, or is
// offered it just now. It is told when the word is durable; if we crash before,
// or cannot reach it, the next reconcile finds the number missing there.
func (t *tx) continueElsewhere(l *life, on state.Trigger) {
	l.head.Continued++
	l.head.ContinuedBy, l.head.ContinuedOn = uint32(on), l.head.DeliveryAttempt
	c := continuedOf(l)
	t.after(func() {
		if f := t.j.hooks.Continued; f != nil {
			f(c)
		}
	})
}

func continuedOf(l *life) Continued {
	return Continued{
		ID: l.id, Holder: l.holder(), OfferNo: l.head.OfferNo,
		No: l.head.Continued, On: l.head.ContinuedOn, Trigger: state.Trigger(l.head.ContinuedBy),
	}
}

// continueHere does to a hand-over what a word at home asks for. Home knows, so
// nothing is told. One that no app has goes on by being handed over, and one that
// is out of attempts by a decision of home's.
func (t *tx) continueHere(h *hand, on state.Trigger) error {
	before, until := h.phase(), time.Time{}
	switch {
	case before == state.Ready || before == state.Spent:
		return nil
	case on == state.Wait:
		if err := t.stepQuietly(h, state.Park, never); err != nil {
			return err
		}
	default:
		until = t.work(h)
		if err := t.stepQuietly(h, state.Extend, until); err != nil {
			return err
		}
	}
	t.spoken(h, before, until)
	return nil
}

// Continue takes in words given at home on intents that are here. One that was
// taken in before, or is on an earlier offer or hand-over, changes nothing.
func (j *Journal) Continue(ctx context.Context, home ID, words []Continued) error {
	ops := make([]*op, len(words))
	for i, c := range words {
		ops[i] = &op{run: func(t *tx) error {
			h, found, err := t.hand(c.ID)
			if err != nil || !found || h.home() != home || h.rec.OfferNo != c.OfferNo || h.rec.Continued >= c.No {
				return err
			}
			h.rec.Continued = c.No
			if err := t.saveHand(h); err != nil || h.rec.Handovers != c.On {
				return err
			}
			return t.continueHere(h, c.Trigger)
		}}
	}
	return j.do(ctx, first, ops...)
}

// Raise gives the intents their next offer number: each may be at a journal
// that cannot be asked, and is about to be offered to another.
func (j *Journal) Raise(ctx context.Context, ids []ID) error {
	ops := make([]*op, len(ids))
	for i, id := range ids {
		ops[i] = &op{run: func(t *tx) error {
			l, found, err := t.life(id)
			if err != nil || !found || l.place() != PlaceDue {
				return err
			}
			l.head.OfferNo++
			l.head.Boot = t.j.birth.Boot // from now on it is as if accepted since the start
			return t.saveLife(l)
		}}
	}
	return j.do(ctx, first, ops...)
}

// RecordHeld notes which journal has said held. Nothing waits for it: it rides
// with the next batch. If we crash before, reconcile tells us again. done is
// called once, whatever becomes of it. now asks for a batch of its own: a sender
// waits to hear that a receiver has the intent.
func (j *Journal) RecordHeld(holder Identity, ids []ID, offerNos []uint64, now bool, done func()) {
	o := &op{
		run: func(t *tx) error {
			for i, id := range ids {
				if err := t.recordHeld(id, offerNos[i], holder.Journal); err != nil {
					return err
				}
			}
			return nil
		},
		done: func(error) { done() },
	}
	if now {
		j.submit(first, o)
		return
	}
	j.rideAlong(o)
}

func (t *tx) recordHeld(id ID, offerNo uint64, holder ID) error {
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
		ops[i] = &op{run: func(t *tx) error { return t.requeue(holder, r) }}
	}
	return j.do(ctx, first, ops...)
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
	if r.Raise {
		l.head.OfferNo++
		l.head.Boot = t.j.birth.Boot
	}
	if l.waitsForOperator() {
		t.goTo(l, PlaceParked, time.Time{}, holder)
		return t.saveLife(l)
	}
	lost := r.Reason == state.ReasonHolderLost
	if lost {
		t.move(l, state.Transfer, &wire.Event{Actor: actorSelf, Reason: uint32(r.Reason), Peer: holder[:], OfferNo: l.head.OfferNo})
	}
	if lost && l.head.OfferNo > lostLimit {
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
// on record; the verdicts name what the holder must let go, the words what it
// has not heard of the rest.
func (j *Journal) Reconcile(ctx context.Context, holder Identity, list []Holding) ([]Verdict, []Continued, error) {
	verdicts := make([]*Verdict, len(list))
	words := make([]*Continued, len(list))
	ops := make([]*op, len(list))
	for i, h := range list {
		ops[i] = &op{run: func(t *tx) (err error) {
			verdicts[i], words[i] = nil, nil
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
			return nil
		}}
	}
	if err := j.do(ctx, first, ops...); err != nil {
		return nil, nil, err
	}
	return some(verdicts), some(words), nil
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
		if h.HomeEpoch < t.j.self.Epoch {
			return nil, nil // offered before we were restored: the holder finishes it as an orphan
		}
		return &Verdict{ID: h.ID, OfferNo: h.OfferNo, Ended: true}, nil
	}
	if !l.open() {
		return &Verdict{ID: h.ID, OfferNo: h.OfferNo, Ended: true, Status: l.status()}, nil
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
	return j.do(ctx, first, &op{run: func(t *tx) error {
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
