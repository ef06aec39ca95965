package journal

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"pannier/journal/failpoint"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// Apply takes a holder's reports in the order of their numbers. The number of
// the last one applied and the events it caused are one commit: a repeat after
// a crash of either side changes nothing. done runs on the committer with one
// Acked per intent and the number up to which all is durable.
func (j *Journal) Apply(from Identity, reports []*wire.Report, done func(acked []Acked, upTo uint64, err error)) {
	acked := make([]Acked, 0, len(reports))
	upTo := uint64(0)
	var failed error // owned by the committer: a later number must not be applied over a gap
	ops := make([]*op, len(reports))
	for i, r := range reports {
		ops[i] = &op{after: failpoint.HomeAfterEventsCommit, run: func(t *tx) error {
			if failed != nil {
				return failed
			}
			a, err := t.takeReport(from, r)
			if err != nil {
				failed = err
				return err
			}
			t.after(func() { acked, upTo = append(acked, a), r.No })
			return nil
		}}
	}
	j.submitAll(first, ops, func(err error) { done(acked, upTo, err) })
}

// takeReport applies a report. One that no batch has room for is applied without its body.
// One that cannot be applied at all is set aside: its number counts, so that those after it
// are heard, and its intent ends as a dead letter, if it has not ended. An error is about
// all that follow, too.
func (t *tx) takeReport(from Identity, r *wire.Report) (a Acked, err error) {
	apply := func(r *wire.Report) error {
		return t.attempt(func() (err error) { a, err = t.applyReport(from, r); return err })
	}
	why := apply(r)
	if errors.Is(why, ErrTooLarge) {
		why = apply(withoutBody(r))
	}
	if why == nil || errors.Is(why, errGap) || errors.Is(why, errStore) {
		return a, why
	}
	id, _ := IDOf(r.Id) // zero, and nobody's, where it says none
	fault := fmt.Errorf("report %d of journal %s could not be applied: %w", r.No, from.Journal, why)
	for _, end := range append(t.endings(), func(ID, error) error { return nil }) {
		err = t.attempt(func() error {
			if err := t.passReport(from, r); err != nil {
				return err
			}
			t.after(func() { t.j.figures.reportsAside.Add(1); t.j.warn(fault.Error()) })
			a = Acked{ID: id}
			if err := end(id, fault); err != nil {
				return err
			}
			if l, found, err := t.life(id); err == nil && found {
				a = l.acked()
			}
			return nil
		})
		if err == nil {
			break
		}
	}
	return a, err
}

// passReport counts a report as applied.
func (t *tx) passReport(from Identity, r *wire.Report) error {
	rec, err := t.pair(from)
	if err != nil {
		return err
	}
	if rec.Applied+1 < r.No {
		return errGap // one that says no intent is found out before its number is
	}
	rec.Applied = max(rec.Applied, r.No)
	return t.put(idKey(classHolder, from.Journal), rec)
}

// withoutBody is a report that says how an intent ended and where its body is, for one
// that no batch has room for together with all it moves. Its holder has told the app that
// it is taken, and would repeat it for ever, with nothing after it heard.
func withoutBody(r *wire.Report) *wire.Report {
	short := proto.CloneOf(r)
	short.Body = OmittedBody(r)
	return short
}

// OmittedBody stands for the body of a report that cannot be taken.
func OmittedBody(r *wire.Report) []byte {
	return fmt.Appendf(nil, `{"omitted":true,"bytes":%d}`, len(r.Body))
}

// pair reads the record of a holder, with applied counting for the present
// pair of identities.
func (t *tx) pair(from Identity) (*wire.Holder, error) {
	var rec wire.Holder
	if _, err := t.get(idKey(classHolder, from.Journal), &rec); err != nil {
		return nil, err
	}
	if rec.Epoch != from.Epoch || rec.OwnEpoch != t.j.self.Epoch {
		rec.Epoch, rec.OwnEpoch, rec.Applied = from.Epoch, t.j.self.Epoch, 0
	}
	return &rec, nil
}

func (t *tx) applyReport(from Identity, r *wire.Report) (Acked, error) {
	id, err := IDOf(r.Id)
	if err != nil {
		return Acked{}, fmt.Errorf("report %d: %w", r.No, err)
	}
	rec, err := t.pair(from)
	if err != nil {
		return Acked{}, err
	}
	if r.No > rec.Applied+1 {
		return Acked{}, fmt.Errorf("%w: report %d of journal %s after %d", errGap, r.No, from.Journal, rec.Applied)
	}
	l, found, err := t.life(id)
	if err != nil {
		return Acked{}, err
	}
	t.j.panics("report", id)
	isNew := r.No == rec.Applied+1
	if isNew {
		rec.Applied = r.No
		if err := t.put(idKey(classHolder, from.Journal), rec); err != nil {
			return Acked{}, err
		}
	}
	// Two copies of one journal that both run give the same numbers. An answer has ended its
	// intent: while that is open, this is the answer of the other, and no repeat.
	ofCopy := found && l.open() && state.Fact(r.Fact) == state.FactAnswered
	if found && (isNew || ofCopy) {
		if err := t.fact(l, from.Journal, r); err != nil {
			return Acked{}, err
		}
	}
	if !found {
		p, err := t.purged(id)
		return Acked{ID: id, Unknown: p == nil, Status: state.Status(p.GetStatus())}, err
	}
	return l.acked(), nil
}

func (l *life) acked() Acked {
	a := Acked{ID: l.id, Status: l.status(), Park: l.status() == state.Waiting}
	if !l.open() {
		a.Events = l.events.Events
	}
	return a
}

// fact applies what a holder (or our own mailbox) says of an intent. An app's
// final answer ends an open intent whoever held it; any other fact counts only
// from the journal on record, under the present offer number.
func (t *tx) fact(l *life, from ID, r *wire.Report) error {
	if state.Fact(r.Fact) == state.FactAnswered {
		return t.finalAnswer(l, from, r)
	}
	if !l.open() || r.OfferNo != l.head.OfferNo {
		return nil
	}
	switch l.place() {
	case PlaceDue: // offered, and its held not yet on record: the fact proves it
		t.goTo(l, PlaceHeld, time.Time{}, from)
	case PlaceHeld, PlaceLocal:
		if l.holder() != from {
			return nil
		}
	default:
		return nil
	}
	e := &wire.Event{Actor: r.Actor, HolderAtMs: r.AtMs, Peer: from[:], OfferNo: r.OfferNo, Text: r.Text, Reason: r.Reason, NextDueMs: r.NextDueMs}
	l.timed(e, r)
	switch state.Fact(r.Fact) {
	case state.FactDelivered:
		e.Attempt = r.Attempt
		l.head.DeliveryAttempt = r.Attempt
		l.head.Taken, l.head.InInbox = l.head.Taken || r.Thread, r.Thread
		t.move(l, state.Deliver, e)
	case state.FactWorking:
		l.head.Taken = true
		start := state.Trigger(r.Answer) == state.Start
		if start && l.waitsForOperator() { // the word was given there, and is as good here
			t.offerAnew(l)
		}
		if start || !t.move(l, state.Acknowledge, e) {
			t.move(l, state.Start, e)
		}
	case state.FactWaiting:
		l.head.Taken = true
		t.move(l, state.Wait, e)
	case state.FactAttemptFailed:
		l.handedOver(e, r)
		l.head.Attempts = r.Attempts
		t.move(l, state.DeliveryFailed, e)
	case state.FactExhausted:
		return t.exhausted(l, e, r)
	case state.FactRejected:
		l.handedOver(e, r)
		code, why := "rejected", state.ReasonRejected
		if state.Reason(r.Reason) == state.ReasonSidecarFault { // it was not the app's word
			code, why = "sidecar_fault", state.ReasonSidecarFault
		}
		_, err := t.end(l, state.Fail, e, deliveryError(code, why, r.Text, r.Attempts), r.Text)
		return err
	}
	return t.saveLife(l)
}

// handedOver notes which hand-over a report is of: of a push home hears only by what
// came of it. The next holder counts on from there.
func (l *life) handedOver(e *wire.Event, r *wire.Report) {
	e.Attempt = r.Attempt
	l.head.DeliveryAttempt = max(l.head.DeliveryAttempt, r.Attempt)
}

// exhausted: at the limit of attempts home alone ends the intent, or parks it
// for an operator where that was asked for. Parked, it stays with its holder. An
// attempt that was told before, under a limit that was higher then, fails once.
func (t *tx) exhausted(l *life, e *wire.Event, r *wire.Report) error {
	l.handedOver(e, r)
	if r.Attempts != l.head.Attempts {
		t.move(l, state.DeliveryFailed, e)
	}
	l.head.Attempts = r.Attempts
	return t.exhaust(l, &wire.Event{Attempt: r.Attempt, Text: r.Text})
}

// exhaust is exhausted for whoever has it: nobody, where it is due.
func (t *tx) exhaust(l *life, end *wire.Event) error {
	end.Actor, end.Reason = actorSelf, uint32(state.ReasonExhausted)
	if !l.head.HoldWhenExhausted {
		_, err := t.end(l, state.Fail, end, deliveryError("delivery_failed", state.ReasonExhausted, end.Text, l.head.Attempts), end.Text)
		return err
	}
	t.move(l, state.Wait, end)
	if l.place() == PlaceDue {
		t.goTo(l, PlaceParked, time.Time{}, ID{})
	}
	return t.saveLife(l)
}

func (t *tx) finalAnswer(l *life, from ID, r *wire.Report) error {
	on := state.Trigger(r.Answer)
	if on != state.Complete && on != state.Fail && on != state.Cancel {
		return fmt.Errorf("report %d answers with %s: %w", r.No, on, ErrIllegal)
	}
	if l.open() {
		e := &wire.Event{Actor: r.Actor, HolderAtMs: r.AtMs, Peer: from[:], OfferNo: r.OfferNo, Text: r.Text, Reason: uint32(state.ReasonApp)}
		if r.Attempt > 0 { // pushed: that it was handed over is told with its answer
			l.head.DeliveryAttempt = r.Attempt
			handed := &wire.Event{HolderAtMs: r.AtMs, Peer: from[:], OfferNo: r.OfferNo, Attempt: r.Attempt}
			l.timed(handed, r)
			t.move(l, state.Deliver, handed)
		}
		_, err := t.end(l, on, e, r.Body, r.Text)
		return err
	}
	// The answer that won, said again by the journal that said it, is not late.
	last := l.events.Events[len(l.events.Events)-1]
	if string(last.Peer) == string(from[:]) {
		return nil
	}
	t.after(func() { t.j.figures.lateAnswers.Add(1) })
	if len(l.head.LateAnswers) >= maxLateAnswers {
		return nil
	}
	l.head.LateAnswers = append(l.head.LateAnswers, &wire.LateAnswer{
		From: from[:], Kind: uint32(on), AtMs: ms(t.now), Body: r.Body[:min(len(r.Body), maxLateBody)],
	})
	return t.saveLife(l)
}
