package journal

import (
	"context"
	"fmt"
	"time"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// Answer records a word on the intent that was given without a lease: at home
// it is the lifecycle's, at a holder it becomes a report. The first last word
// wins: an *EndedError names the end that was there before.
func (j *Journal) Answer(ctx context.Context, id ID, a Answer) (Answered, error) {
	var res Answered
	err := j.do(ctx, first, &op{about: id, asked: true, run: func(t *tx) error {
		res = Answered{}
		return t.answer(id, a, &res)
	}})
	return res, err
}

func (t *tx) answer(id ID, a Answer, res *Answered) error {
	l, homed, err := t.life(id)
	if err != nil {
		return err
	}
	h, held, err := t.hand(id)
	switch {
	case err != nil:
		return err
	case !homed && !held:
		return ErrNotFound
	}
	if a.Key != nil {
		d, err := t.known(a.Key)
		if err != nil {
			return err
		}
		if d != nil {
			*res = Answered{Status: state.Status(h.rec.HomeStatus), Seq: d.Seq, Provisional: !homed, Replayed: true, Stale: d.Stale, Generation: d.PolicyGeneration}
			if homed {
				res.Status = l.status()
			}
			return nil
		}
	}
	res.Generation = h.rec.PolicyGeneration
	if homed {
		res.Generation = l.head.PolicyGeneration
	}
	if res.Stale = a.Expects && a.Expected != res.Generation; res.Stale {
		return t.rememberAnswer(id, a, res)
	}
	if homed {
		err = t.answerAtHome(l, a, res)
	} else {
		err = t.answerAtHolder(h, a, res)
	}
	if err != nil {
		return err
	}
	return t.rememberAnswer(id, a, res)
}

func (t *tx) rememberAnswer(id ID, a Answer, res *Answered) error {
	if a.Key == nil {
		return nil
	}
	return t.remember(a.Key, &wire.Dedupe{Id: id[:], CreatedMs: ms(t.now), Seq: res.Seq, PolicyGeneration: res.Generation, Stale: res.Stale})
}

func (t *tx) answerAtHome(l *life, a Answer, res *Answered) error {
	if !l.open() {
		return l.endedBy()
	}
	e := &wire.Event{Actor: a.Actor, Reason: uint32(a.Reason), Text: a.Text}
	if a.Trigger == state.Start || a.Trigger == state.Wait {
		if l.head.HumanTask {
			return fmt.Errorf("%w: a person's task is decided, not gone on with", ErrIllegal)
		}
		if l.head.Gated {
			return fmt.Errorf("%w: it waits for approvals, and those who are asked decide", ErrIllegal)
		}
		if l.head.Stepped {
			return fmt.Errorf("%w: its steps move it: answer the one that it waits for", ErrIllegal)
		}
		if l.head.WakeMs != 0 { // it waits for a time, which need not pass
			a.Trigger, a.Body = state.Complete, []byte("{}")
			return t.answerAtHome(l, a, res)
		}
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
	// A word takes the intent wherever it is: who has it may not be on record yet,
	// and will not be bound by deliver_by either.
	l.head.Taken = true
	forOperator := l.waitsForOperator()
	if !t.move(l, a.Trigger, e) && l.status() != state.InProgress {
		return fmt.Errorf("%w: %s while %s", ErrIllegal, a.Trigger, l.status())
	}
	if forOperator && l.place() != PlaceLocal {
		t.offerAnew(l)
		return t.saveLife(l)
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
		t.take(h)
		h.rec.Attempts = 0
		return t.stepQuietly(h, state.Recover, t.now)
	}
	return t.continueHere(h, a.Trigger)
}

// take notes that the intent counts as taken, as home does: deliver_by binds it
// no longer. One that was put out of reach because of that limit is ready again.
func (t *tx) take(h *hand) {
	late := h.phase() == state.Ready && t.outOfTime(h)
	h.rec.Taken = true
	if late && !t.outOfTime(h) {
		t.delIndex(dueKey(classMail, h.agent(), h.rec.DueMs, h.id))
		t.mailAt(h, t.now)
	}
}

// offerAnew lets an intent that waited for an operator go on as itself: attempts
// are counted anew, under the next number, for whoever gets it now. A holder that
// still has it takes the number over.
func (t *tx) offerAnew(l *life) {
	l.head.Attempts, l.head.Lost = 0, 0
	l.head.OfferNo++
	t.goTo(l, PlaceDue, t.now, ID{})
}

// answerAtHolder takes a word without a lease at a sidecar that is not home.
func (t *tx) answerAtHolder(h *hand, a Answer, res *Answered) error {
	if h.withdrawn() {
		return errWithdrawn
	}
	if !h.phase().Open() {
		return t.endedElsewhere(h)
	}
	res.Provisional = true
	var err error
	switch a.Trigger {
	case state.Start, state.Wait:
		err = t.goOnHere(h, a)
	default:
		before := h.phase()
		if err = t.answerFinally(h, a, 0); err == nil && a.Trigger != state.Cancel {
			t.spoken(h, before, time.Time{})
		}
	}
	res.Status = state.Status(h.rec.HomeStatus)
	return err
}

// goOnHere tells home that the intent goes on, or waits, and does to the
// hand-over what continueHere does.
func (t *tx) goOnHere(h *hand, a Answer) error {
	if h.inInbox() {
		return t.goOnInInbox(h, a)
	}
	before, fact, until := h.phase(), state.FactWorking, time.Time{}
	switch {
	case a.Trigger == state.Wait:
		row, err := t.step(h, state.Park, never)
		if err != nil {
			return err
		}
		fact = row.Tells
		h.see(state.Wait)
	case before != state.Ready && before != state.Spent:
		until = t.work(h)
		row, err := t.step(h, state.Extend, until)
		if err != nil {
			return err
		}
		fact = row.Tells
		h.seeWorking(true)
	default:
		h.seeWorking(true)
	}
	t.take(h)
	if err := t.saveHand(h); err != nil {
		return err
	}
	t.spoken(h, before, until)
	return t.tell(h, fact, &wire.Report{Actor: a.Actor, Text: a.Text, Reason: uint32(a.Reason), Answer: uint32(state.Start)})
}

// work lets the app work on without its having said how long: never shorter than
// it was told before. The intent is as if leased now where nothing was. It
// returns when that is over.
func (t *tx) work(h *hand) time.Time {
	if h.rec.LeasedAtMs == 0 || h.phase() == state.Parked { // waiting is not working
		h.rec.LeasedAtMs = ms(t.now)
	}
	until := t.now.Add(t.workTime(h))
	if limit := t.workLimit(h); until.After(limit) {
		until = limit
	}
	if told := at(h.rec.LeaseUntilMs); until.Before(told) {
		until = told
	}
	h.rec.LeaseUntilMs = ms(until)
	h.rec.Boot = t.j.birth.Boot
	return at(h.rec.LeaseUntilMs)
}

// workTime is how long the app of this intent has to say something again.
func (t *tx) workTime(h *hand) time.Duration {
	if h.rec.WorkTimeoutMs > 0 {
		return time.Duration(h.rec.WorkTimeoutMs) * time.Millisecond
	}
	return t.j.workTimeout
}

// workLimit is how far a hand-over can be extended: what the app was told already
// holds.
func (t *tx) workLimit(h *hand) time.Time {
	leased := at(h.rec.LeasedAtMs)
	limit := t.j.clock.keeps(leased.Add(t.j.workMax), leased)
	if told := at(h.rec.LeaseUntilMs); limit.Before(told) {
		return told
	}
	return limit
}

// spoken tells the mailbox of a word on a hand-over, if the app had it: it has it
// until then, or no more.
func (t *tx) spoken(h *hand, before state.Phase, until time.Time) {
	if before != state.Leased && before != state.Working {
		return
	}
	s := Spoken{ID: h.id, Agent: h.agent(), Until: until}
	t.after(func() {
		if f := t.j.hooks.Spoken; f != nil {
			f(s)
		}
	})
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
	t.take(h)
	switch {
	case before == state.Ready || before == state.Spent || h.inInbox():
		return t.saveHand(h)
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
		ops[i] = &op{about: c.ID, run: func(t *tx) error {
			h, found, err := t.hand(c.ID)
			if err != nil || !found || h.home() != home || h.rec.OfferNo != c.OfferNo || h.rec.Continued >= c.No {
				return err
			}
			h.rec.Continued = c.No
			t.take(h)
			if err := t.saveHand(h); err != nil || h.rec.Handovers != c.On {
				return err
			}
			return t.continueHere(h, c.Trigger)
		}}
	}
	return j.doApart(ctx, first, ops...)
}
