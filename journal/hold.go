package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"pannier/journal/failpoint"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// Hold journals offers of a home in the order given. It returns at once; done
// runs on the committer when all of them are durable here: only then may home
// be told held. A repeated offer is answered as held again, and its higher
// number taken over.
func (j *Journal) Hold(home Identity, rs []HoldRequest, done func([]HoldResult, error)) {
	out := make([]HoldResult, len(rs))
	ops, of := make([]*op, 0, len(rs)), make([]*HoldResult, 0, len(rs))
	for i := range rs {
		r, res := &rs[i], &out[i]
		var env wire.Envelope
		if err := proto.Unmarshal(r.Envelope, &env); err != nil {
			res.Err = fmt.Errorf("offer: %w", err)
			continue
		}
		id, err := IDOf(env.Id)
		if err != nil {
			res.Err = fmt.Errorf("offer: %w", err)
			continue
		}
		res.ID, res.OfferNo = id, r.OfferNo
		o := &op{before: failpoint.HolderBeforeHeldCommit, after: failpoint.HolderAfterHeldCommit, about: id}
		o.run = func(t *tx) error {
			res.Handed, res.Fresh = nil, false
			res.Err = t.hold(home, id, r, &env, res)
			return res.Err
		}
		ops, of = append(ops, o), append(of, res)
	}
	j.submitAll(second, ops, func(err error) {
		for i, o := range ops {
			if o.err != nil {
				of[i].refuse(o.err)
			}
		}
		switch {
		case j.running() == nil:
			err = nil // each result carries its own
		case err != nil:
			for i := range out {
				out[i].refuse(err)
			}
		}
		done(out, err)
	})
}

// refuse makes sure that nothing is reported as held that is not.
func (r *HoldResult) refuse(err error) {
	if r.Err == nil {
		r.Err, r.Handed = err, nil
	}
}

func (t *tx) hold(home Identity, id ID, r *HoldRequest, env *wire.Envelope, res *HoldResult) error {
	h, found, err := t.hand(id)
	if err != nil {
		return err
	}
	if found && (h.phase().Open() || h.phase().Settled()) {
		return t.holdAgain(h, home, r)
	}
	if homed, err := t.has(idKey(classHead, id)); err != nil || homed {
		return errors.Join(err, fmt.Errorf("offer of %s: it is homed here", id))
	}
	if err := t.hasRoom(); err != nil {
		return err
	}
	agent, err := t.intern(env.ToAgent)
	if err != nil {
		return err
	}
	if found {
		t.forgetCopy(h) // home was restored from before its end
		t.outOfHistory(h)
	}
	if err := t.noteRedriven(home.Journal, id, env); err != nil {
		return err
	}
	fresh := &hand{id: id, rec: wire.Handover{
		Home: home.Journal[:], HomeEpoch: home.Epoch, OfferNo: r.OfferNo, Agent: uint32(agent.no),
		Attempts: r.Attempts, Redelivered: r.Redelivered || found && h.rec.Handovers > 0, Handovers: max(h.rec.Handovers, r.Handovers),
		MaxAttempts: env.MaxDeliveryAttempts, HomeStatus: uint32(state.Submitted), HeldMs: ms(t.now), HeldBoot: t.j.birth.Boot,
		Taken: r.Taken, Continued: r.Continued, ReceiverDurability: env.ReceiverDurability,
		OfferTraceparent: cut(r.Trace.Offer, maxTraceparent), OfferForeign: r.Trace.Foreign, PreviousTraceparent: cut(r.Trace.Previous, maxTraceparent), OfferedMs: r.Offered, Waited: copied(r.Waited),
		FromAgent: noteSender(env), KeptBytes: int64(len(r.Envelope)),
	}}
	if len(env.HumanTask) > 0 {
		fresh.rec.HumanTask, fresh.rec.HomeStatus = true, uint32(state.Waiting)
		t.putIndex(idKey(classTask, id))
	}
	fresh.rec.DeliverByMs = ms(r.limit(r.DeliverBy, t.now))
	fresh.rec.DeadlineAtMs = ms(r.limit(r.Deadline, t.now))
	fresh.takes(r.Policy, r.limit(r.Deadline, t.now))
	t.putChunks(classEnvelope, id, r.Envelope)
	res.Fresh = true
	if err := t.threadHeld(fresh, env, r.Lease.Inbox); err != nil {
		return err
	}
	return t.intoMailbox(fresh, env, r.Lease, res)
}

// limit is one of an offer by our own clock; zero: none. It counts from when the offer
// came, not from its commit: a slow disk gives nobody more time.
func (r *HoldRequest) limit(left time.Duration, now time.Time) time.Time {
	switch {
	case left <= 0:
		return time.Time{}
	case r.Received.IsZero():
		return now.Add(left)
	}
	return r.Received.Add(left)
}

// intoMailbox takes the hold row and, where a reader waits, the lease row in
// the same commit. What is only a thread does not stay in it.
func (t *tx) intoMailbox(h *hand, env *wire.Envelope, lease Terms, res *HoldResult) error {
	if lease.Thread {
		return t.keepThread(h, env)
	}
	if lease.Inbox {
		return t.handToInbox(h, env)
	}
	if _, err := t.step(h, state.Hold, t.now); err != nil {
		return err
	}
	if lease.For <= 0 {
		return t.saveHand(h)
	}
	handed, err := t.lease(h, env, lease)
	if errors.Is(err, ErrExpired) || errors.Is(err, ErrKilled) || errors.Is(err, errOutOfAttempts) || errors.Is(err, ErrPullFull) {
		return t.saveHand(h)
	}
	res.Handed = handed
	return err
}

// holdAgain answers an offer of what is already here.
func (t *tx) holdAgain(h *hand, home Identity, r *HoldRequest) error {
	if h.home() != home.Journal {
		return fmt.Errorf("offer of %s by journal %s: held from %s", h.id, home.Journal, h.home())
	}
	resumed := h.phase() == state.Spent && r.OfferNo > h.rec.OfferNo && r.Attempts < h.rec.MaxAttempts
	h.rec.OfferNo = max(h.rec.OfferNo, r.OfferNo)
	h.rec.HomeEpoch = home.Epoch
	if h.phase().Open() {
		h.takes(r.Policy, r.limit(r.Deadline, t.now))
	}
	if r.Taken {
		t.take(h)
	}
	if resumed {
		// An operator lets it go on. Home's count of attempts is the one that counts.
		h.rec.Attempts = r.Attempts
		_, err := t.step(h, state.Recover, t.now)
		return errors.Join(err, t.saveHand(h))
	}
	if err := t.saveHand(h); err != nil {
		return err
	}
	// Home drops what was told under an earlier number, so what it must know to
	// go on is told again under this one.
	switch h.phase() {
	case state.Answered:
		return t.answerAgain(h)
	case state.Rejected:
		return t.tell(h, state.FactRejected, &wire.Report{Text: h.rec.LastError, Attempt: h.rec.Handovers, Attempts: h.rec.Attempts, Reason: uint32(state.ReasonRejected)})
	case state.Spent:
		return t.tell(h, state.FactExhausted, &wire.Report{Text: h.rec.LastError, Attempt: h.rec.Handovers, Attempts: h.rec.Attempts})
	case state.Parked:
		if h.rec.Thread {
			return t.tell(h, state.FactDelivered, &wire.Report{Attempt: h.rec.Handovers, Thread: true})
		}
		return t.tell(h, state.FactWaiting, &wire.Report{})
	case state.Working:
		return t.tell(h, state.FactWorking, &wire.Report{Attempt: h.rec.Handovers})
	}
	return nil
}

func (t *tx) answerAgain(h *hand) error {
	blob, found, err := t.getChunks(classOutcome, h.id)
	if err != nil || !found {
		return err
	}
	var out wire.Outcome
	if err := proto.Unmarshal(blob, &out); err != nil {
		return &CorruptError{Key: chunkKey(classOutcome, h.id, 0), Why: err.Error()}
	}
	return t.tell(h, state.FactAnswered, &wire.Report{Text: out.Text, Answer: uint32(triggerOf(state.Status(out.Status)))})
}

func triggerOf(end state.Status) state.Trigger {
	switch end {
	case state.Completed:
		return state.Complete
	case state.Canceled:
		return state.Cancel
	default:
		return state.Fail
	}
}

// HoldLocal moves intents of our own from the due index to our own mailbox: an
// offer that needs no frame. lease[i].For > 0 hands the i-th over at once.
func (j *Journal) HoldLocal(ctx context.Context, offers []Offer, lease []Terms) ([]HoldResult, error) {
	out := make([]HoldResult, len(offers))
	ops := make([]*op, len(offers))
	for i := range offers {
		o, res := &offers[i], &out[i]
		res.ID, res.OfferNo = o.ID, o.OfferNo
		var env wire.Envelope
		if err := proto.Unmarshal(o.Envelope, &env); err != nil {
			return nil, &CorruptError{Key: chunkKey(classEnvelope, o.ID, 0), Why: err.Error()}
		}
		ops[i] = &op{
			before: failpoint.HolderBeforeHeldCommit, after: failpoint.HolderAfterHeldCommit, about: o.ID,
			run: func(t *tx) error {
				res.Handed, res.Fresh = nil, false
				res.Err = t.holdLocal(o, &env, lease[i], res)
				return res.Err
			},
		}
	}
	if err := j.do(ctx, second, ops...); err != nil && j.running() != nil {
		return nil, err
	}
	for i := range out {
		if out[i].Err == nil {
			out[i].Err = ops[i].err
		}
	}
	return out, nil
}

func (t *tx) holdLocal(o *Offer, env *wire.Envelope, lease Terms, res *HoldResult) error {
	l, found, err := t.life(o.ID)
	if err != nil {
		return err
	}
	if !found {
		return ErrNotFound
	}
	if !l.open() {
		return &EndedError{Status: l.status()}
	}
	if l.place() != PlaceDue || l.head.OfferNo != o.OfferNo {
		return fmt.Errorf("%w: it is elsewhere", ErrIllegal)
	}
	self := t.j.self
	agent, err := t.intern(env.ToAgent) // its destination may be the lane of completions
	if err != nil {
		return err
	}
	t.goTo(l, PlaceLocal, time.Time{}, self.Journal)
	if err := t.saveLife(l); err != nil {
		return err
	}
	h := &hand{id: o.ID, rec: wire.Handover{
		Home: self.Journal[:], HomeEpoch: self.Epoch, OfferNo: o.OfferNo, Agent: uint32(agent.no), Attempts: l.head.Attempts,
		Redelivered: o.Redelivered, Handovers: l.head.DeliveryAttempt, MaxAttempts: l.head.MaxAttempts, HomeStatus: l.head.Status,
		HeldMs: ms(t.now), HeldBoot: t.j.birth.Boot, Taken: l.head.Taken, DeadlineAtMs: l.head.DeadlineAtMs, ReceiverDurability: env.ReceiverDurability,
		DeliverByMs: l.head.DeliverByMs, PolicyGeneration: l.head.PolicyGeneration, WorkTimeoutMs: l.head.WorkTimeoutMs,
		PreviousTraceparent: l.head.Traceparent,
	}}
	res.Fresh = true
	return t.intoMailbox(h, env, lease, res)
}
