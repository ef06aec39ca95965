package journal

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"pannier/journal/failpoint"
	"pannier/journal/state"
	"pannier/journal/wire"
)

func leaseOf(rec *wire.Handover) ID {
	if len(rec.LeaseId) == 0 {
		return ID{}
	}
	return ID(rec.LeaseId)
}

// Settle takes the app's answers under their leases. A lease that is not the
// one in force changes nothing (ErrLeaseLost); the settle that won is answered
// in the same way again when it is repeated. The answer, its report (or, for
// our own intents, its events) and the freeing of credit are one commit.
func (j *Journal) Settle(ctx context.Context, settles []Settle) ([]Settled, error) {
	out := make([]Settled, len(settles))
	ops := make([]*op, len(settles))
	for i := range settles {
		s, res := &settles[i], &out[i]
		ops[i] = &op{
			before: failpoint.HolderBeforeSettleCommit, after: failpoint.HolderAfterSettleCommit, about: s.ID, asked: true,
			run: func(t *tx) error { return t.settleOne(s, res) },
		}
	}
	if err := j.do(ctx, first, ops...); err != nil && j.running() != nil {
		return nil, err
	}
	for i := range out {
		out[i].Err = ops[i].err
	}
	return out, nil
}

func (s *Settle) digest() []byte {
	h := sha256.New()
	var head [18]byte
	head[0] = byte(s.Action)
	if s.Reject {
		head[1] = 1
	}
	binary.BigEndian.PutUint64(head[2:], uint64(s.Delay))
	binary.BigEndian.PutUint64(head[10:], uint64(s.For))
	h.Write(head[:])
	fmt.Fprintf(h, "%d:%s", len(s.Reason), s.Reason)
	h.Write(s.Result)
	return h.Sum(nil)
}

func (t *tx) settleOne(s *Settle, res *Settled) error {
	h, found, err := t.hand(s.ID)
	if err != nil {
		return err
	}
	if !found || s.Agent != 0 && s.Agent != h.agent() {
		return ErrNotFound
	}
	if s.Lease.IsZero() {
		return ErrLeaseLost // and no id that an unleased hand-over could be said to have
	}
	digest := s.digest()
	if s.Lease == ID(pad(h.rec.SettledLease)) && string(h.rec.SettledDigest) == string(digest) {
		res.Status = state.Status(h.rec.HomeStatus)
		return nil
	}
	if !h.phase().Open() {
		return &EndedError{Status: state.Status(h.rec.HomeStatus)}
	}
	if p := h.phase(); p != state.Leased && p != state.Working || s.Lease != leaseOf(&h.rec) {
		return ErrLeaseLost
	}
	if s.Action != Extend {
		h.rec.SettledLease, h.rec.SettledDigest = s.Lease[:], digest
	}
	switch s.Action {
	case Ack:
		err = t.answerFinally(h, Answer{Trigger: state.Complete, Body: s.Result}, 0)
	case Nack:
		err = t.nack(h, s)
	case Extend:
		res.Until, err = t.extend(h, s.For)
	default:
		return fmt.Errorf("%w: unknown settle action %d", ErrIllegal, s.Action)
	}
	res.Status = state.Status(h.rec.HomeStatus)
	return err
}

// pad makes a fixed-size id of a record's bytes; none is the zero id, which is
// no lease.
func pad(b []byte) (id [16]byte) {
	copy(id[:], b)
	return id
}

// answerFinally takes the app's last word and tells home; attempt is that of a
// push, whose hand-over home hears of only now.
func (t *tx) answerFinally(h *hand, a Answer, attempt uint32) error {
	row, err := t.step(h, state.GiveFinal, time.Time{})
	if err != nil {
		return err
	}
	h.see(a.Trigger)
	if h.home() != t.j.self.Journal {
		// For our own intents the lifecycle writes the outcome.
		out, err := proto.Marshal(&wire.Outcome{Status: h.rec.HomeStatus, Body: a.Body, Text: cut(a.Text, maxText)})
		if err != nil {
			return err
		}
		t.putChunks(classOutcome, h.id, out)
		t.keepMore(h, len(out))
	}
	if err := t.handThreadEnded(h, a.Actor, a.Text); err != nil {
		return err
	}
	if err := t.saveHand(h); err != nil {
		return err
	}
	r := &wire.Report{Text: a.Text, Actor: a.Actor, Answer: uint32(a.Trigger), Attempts: h.rec.Attempts, Attempt: attempt}
	if h.home() == t.j.self.Journal {
		r.Body = a.Body
	} // else Reports reads it from the outcome: a result is in the journal once
	return t.tell(h, row.Tells, r)
}

func (t *tx) nack(h *hand, s *Settle) error {
	if s.Reject {
		h.rec.LastError = cut(s.Reason, 500)
		row, err := t.step(h, state.Refuse, time.Time{})
		if err != nil {
			return err
		}
		h.see(state.Fail)
		if err := t.saveHand(h); err != nil {
			return err
		}
		return t.tell(h, row.Tells, &wire.Report{Text: s.Reason, Attempt: h.rec.Handovers, Attempts: h.rec.Attempts, Reason: uint32(state.ReasonRejected)})
	}
	if s.Spare {
		return t.takeBack(h, t.now.Add(max(0, s.Delay)))
	}
	return t.failAttempt(h, state.ReasonNack, s.Reason, s.Delay)
}

// failAttempt counts a failed attempt; the last one of them leaves the intent
// to home.
func (t *tx) failAttempt(h *hand, why state.Reason, text string, delay time.Duration) error {
	h.rec.Attempts++
	h.rec.LastError, h.why = cut(text, 500), why
	if delay < 0 {
		delay = t.j.backoff(int(h.rec.Attempts))
	}
	m, due := state.FailTry, t.now.Add(delay)
	if h.rec.Attempts >= h.rec.MaxAttempts {
		m, due = state.Exhaust, never
	}
	row, err := t.step(h, m, due)
	if err != nil {
		return err
	}
	h.rec.LeaseId, h.rec.LeaseUntilMs = nil, 0
	if err := t.saveHand(h); err != nil {
		return err
	}
	r := &wire.Report{Attempt: h.rec.Handovers, Attempts: h.rec.Attempts, Text: text, Reason: uint32(why)}
	if m == state.FailTry {
		r.NextDueMs = ms(due)
	}
	return t.tell(h, row.Tells, r)
}

// takeBack makes a hand-over that came to nothing ready again; it counts as no
// attempt.
func (t *tx) takeBack(h *hand, due time.Time) error {
	if _, err := t.step(h, state.Recover, due); err != nil {
		return err
	}
	h.rec.LeaseId, h.rec.LeaseUntilMs = nil, 0
	h.rec.Redelivered = true
	return t.saveHand(h)
}

// extend moves the lease's end. Home hears of it twice: the intent is
// acknowledged, then in progress.
func (t *tx) extend(h *hand, d time.Duration) (time.Time, error) {
	if d <= 0 {
		d = t.workTime(h)
	}
	until := t.now.Add(d)
	if limit := t.workLimit(h); until.After(limit) {
		until = limit
	}
	row, err := t.step(h, state.Extend, until)
	if err != nil {
		return time.Time{}, err
	}
	h.rec.LeaseUntilMs = ms(until)
	until = at(h.rec.LeaseUntilMs)
	h.rec.Taken = true
	h.rec.Extends++
	if h.rec.Extends > 2 {
		return until, t.saveHand(h)
	}
	h.seeWorking(false)
	if err := t.saveHand(h); err != nil {
		return time.Time{}, err
	}
	return until, t.tell(h, row.Tells, &wire.Report{Attempt: h.rec.Handovers})
}

// seeWorking mirrors what home does with a working fact.
func (h *hand) seeWorking(start bool) {
	_, acknowledge := state.Next(state.Status(h.rec.HomeStatus), state.Acknowledge)
	if acknowledge && !start {
		h.see(state.Acknowledge)
		return
	}
	h.see(state.Start)
}

// Lapse ends leases whose time is up: a failed attempt each, but for those
// that were granted before this start of the journal. The app could not have
// answered while we were down, so that is no attempt of its.
func (j *Journal) Lapse(ctx context.Context, ids []ID) error {
	return j.each(ctx, ids, func(t *tx, h *hand, _ int) error {
		p := h.phase()
		if p != state.Leased && p != state.Working || t.j.clock.keeps(dueOf(&h.rec)).After(t.now) {
			return nil
		}
		if h.rec.Boot != t.j.birth.Boot {
			return t.takeBack(h, t.now)
		}
		if p == state.Working {
			return t.failAttempt(h, state.ReasonWorkTimeout, "acknowledged, then silent", -1)
		}
		return t.failAttempt(h, state.ReasonLapsed, "the lease ran out", -1)
	})
}

// Recover takes back leases that came to nothing through no fault of the app:
// their bytes never left, or the door was shut. No attempt is counted.
func (j *Journal) Recover(ctx context.Context, ids, leases []ID) error {
	return j.each(ctx, ids, func(t *tx, h *hand, i int) error {
		if p := h.phase(); p != state.Leased && p != state.Working || leaseOf(&h.rec) != leases[i] {
			return nil
		}
		return t.takeBack(h, t.now)
	})
}

// Release gives ready intents back. Those of our own become due again here;
// the others are returned, for their homes to be told. If we crash before they
// are, reconcile tells them.
func (j *Journal) Release(ctx context.Context, ids []ID) ([]Given, error) {
	given := make([]*Given, len(ids))
	err := j.each(ctx, ids, func(t *tx, h *hand, i int) error {
		if _, ok := state.Step(h.phase(), state.GiveBack); !ok {
			return nil
		}
		if _, err := t.step(h, state.GiveBack, time.Time{}); err != nil {
			return err
		}
		t.del(idKey(classHandover, h.id))
		if h.home() == t.j.self.Journal {
			return t.backHome(h)
		}
		t.outOfHistory(h)
		given[i] = &Given{ID: h.id, Home: h.home(), OfferNo: h.rec.OfferNo, Agent: h.agent(), Due: t.putOff(h)}
		return t.delChunks(classEnvelope, h.id)
	})
	var out []Given
	for _, g := range given {
		if g != nil {
			out = append(out, *g)
		}
	}
	return out, err
}

// putOff is when a ready intent may be handed over, where that is still to come;
// zero otherwise.
func (t *tx) putOff(h *hand) time.Time {
	if due := at(h.rec.DueMs); due.After(t.now) && due.Before(never) {
		return due
	}
	return time.Time{}
}

// backHome moves an intent of our own from the mailbox to the due index.
func (t *tx) backHome(h *hand) error {
	l, found, err := t.life(h.id)
	if err != nil || !found || l.place() != PlaceLocal {
		return err
	}
	due := t.now
	if put := t.putOff(h); !put.IsZero() {
		due = put
	}
	l.head.Redelivered = l.head.Redelivered || t.j.mayBeKnown(&h.rec)
	t.goTo(l, PlaceDue, due, ID{})
	return t.saveLife(l)
}

// Revoke takes back what home has ended or given to another.
func (j *Journal) Revoke(ctx context.Context, home ID, verdicts []Verdict) error {
	ids := make([]ID, len(verdicts))
	for i, v := range verdicts {
		ids[i] = v.ID
	}
	return j.each(ctx, ids, func(t *tx, h *hand, i int) error {
		v := verdicts[i]
		if h.home() != home || !v.Ended && v.OfferNo < h.rec.OfferNo {
			return nil
		}
		if v.Ended {
			h.rec.EndedAtHome = true
			if v.Status.Terminal() {
				h.rec.HomeStatus = uint32(v.Status)
			}
		}
		if h.phase().Open() {
			if _, err := t.step(h, state.Revoke, time.Time{}); err != nil {
				return err
			}
		}
		if v.Ended {
			if err := t.layCopy(h, v.Reason); err != nil {
				return err
			}
		}
		if err := t.handThreadRuled(h, v.Events); err != nil {
			return err
		}
		if len(v.Events) > 0 && (h.rec.DeadReason != 0 || h.rec.Threaded) {
			if err := t.put(idKey(classEvents, h.id), &wire.Events{Events: v.Events}); err != nil {
				return err
			}
		}
		return t.saveHand(h)
	})
}

// each runs f for every id that has a hand-over here, one operation each. One that cannot
// be worked on is set aside, and is no error.
func (j *Journal) each(ctx context.Context, ids []ID, f func(t *tx, h *hand, i int) error) error {
	ops := make([]*op, len(ids))
	for i, id := range ids {
		ops[i] = &op{about: id, run: func(t *tx) error {
			h, found, err := t.hand(id)
			if err != nil || !found {
				return err
			}
			return f(t, h, i)
		}}
	}
	return j.doApart(ctx, first, ops...)
}
