package journal

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"pannier/journal/failpoint"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// How long an intent may take when neither sender nor configuration says.
const (
	DefaultDeliverBy = 72 * time.Hour
	DefaultDeadline  = 30 * 24 * time.Hour
	defaultAttempts  = 10
	keepKeys         = 24 * time.Hour
)

// Accept takes intents. When it returns, each one without an error is durable:
// that is what a 2xx to the app means. Several are one commit as far as they
// fit one batch.
func (j *Journal) Accept(ctx context.Context, in []Accept) ([]Accepted, error) {
	out := make([]Accepted, len(in))
	ops := make([]*op, len(in))
	for i := range in {
		a, res := &in[i], &out[i]
		id := NewID()
		env, err := j.encodeEnvelope(a, id, j.now())
		if err != nil {
			return nil, err
		}
		ops[i] = &op{
			before: failpoint.HomeBeforeAcceptCommit, after: failpoint.HomeAfterAcceptCommit,
			run: func(t *tx) error {
				err := t.accept(a, id, env, res)
				res.Err = err
				return err
			},
		}
	}
	err := j.do(ctx, third, ops...)
	for i := range ops {
		if out[i].Err == nil && ops[i].err != nil {
			out[i].Err = ops[i].err
		}
	}
	if err != nil && len(in) > 0 && j.running() != nil {
		return nil, err
	}
	return out, nil
}

// encodeEnvelope fills what the journal decides and encodes the envelope, once:
// these bytes are journaled here, sent, and journaled by the holder.
func (j *Journal) encodeEnvelope(a *Accept, id ID, now time.Time) ([]byte, error) {
	e := a.Envelope
	e.Id = id[:]
	e.CreatedAtMs = ms(now)
	if e.MaxDeliveryAttempts == 0 {
		e.MaxDeliveryAttempts = defaultAttempts
	}
	if a.DeliverAt.IsZero() {
		a.DeliverAt = now
	}
	if a.DeliverBy.IsZero() && a.Plan == nil { // with gates it counts from when they have passed
		a.DeliverBy = a.DeliverAt.Add(j.deliverBy)
	}
	if a.Deadline.IsZero() && len(e.HumanTask) == 0 && a.Plan == nil { // a person is given all the time there is
		a.Deadline = now.Add(j.deadline)
	}
	e.DeliverByMs, e.DeadlineAtMs = ms(a.DeliverBy), ms(a.Deadline)
	return proto.Marshal(e)
}

func (t *tx) accept(a *Accept, id ID, env []byte, res *Accepted) error {
	if a.Key != nil {
		replayed, err := t.replay(a.Key, res)
		if err != nil || replayed {
			return err
		}
	}
	if a.Refusal != nil {
		return a.Refusal
	}
	if err := t.hasRoom(); err != nil {
		return err
	}
	if t.killed(a.Envelope.FromAgent) {
		return fmt.Errorf("accept from %s: %w", a.Envelope.FromAgent, ErrKilled)
	}
	dest, err := t.internName(&name{address: a.Envelope.ToAgent, threads: t.isLetter(a.Envelope)})
	if err != nil {
		return err
	}
	l := t.newLife(id, a.Envelope, dest)
	if a.Envelope.ReplyTo != "" {
		// Now, while it can be refused: an end cannot.
		lane, err := t.internName(&name{address: a.Envelope.ReplyTo, threads: true})
		if err != nil {
			return err
		}
		l.head.ReplyDest = uint32(lane.no)
	}
	if err := t.threadOf(l, a.Envelope, a.Asked); err != nil {
		return err
	}
	if a.Plan != nil {
		l.head.Planned, l.head.Stepped = true, isWorkflow(a.Plan)
		l.head.Gated = !l.head.Stepped
		l.head.Taken = l.head.Stepped // no app will, and deliver_by is not for it
		if err := t.internParts(a.Plan); err != nil {
			return err
		}
	}
	if err := t.begin(l, a.event(), env, a.DeliverAt); err != nil {
		return err
	}
	if a.Plan != nil {
		if err := t.openPlan(l, proto.CloneOf(a.Plan), a.DeliverAt); err != nil {
			return err
		}
	}
	if a.Key != nil {
		if err := t.remember(a.Key, &wire.Dedupe{Id: l.id[:], CreatedMs: l.head.CreatedMs}); err != nil {
			return err
		}
	}
	res.ID, res.Status, res.CreatedAt = id, l.status(), at(l.head.CreatedMs)
	return nil
}

// isLetter reports whether an intent waits for no reader, and so in the lane beside those
// that do: a completion, when it is redriven, and what people elsewhere are asked.
func (t *tx) isLetter(e *wire.Envelope) bool {
	return len(e.CompletionOf) > 0 || len(e.HumanTask) > 0 && t.j.elsewhere != nil && t.j.elsewhere(e.ToAgent)
}

// newLife is an intent that has not begun, as its envelope says.
func (t *tx) newLife(id ID, e *wire.Envelope, dest *name) *life {
	l := &life{id: id, head: wire.Head{
		OfferNo: 1, Dest: uint32(dest.no), CreatedMs: e.CreatedAtMs, DeliverByMs: e.DeliverByMs, DeadlineAtMs: e.DeadlineAtMs,
		Boot: t.j.birth.Boot, MaxAttempts: e.MaxDeliveryAttempts, HoldWhenExhausted: e.HoldWhenExhausted,
		HumanTask: len(e.HumanTask) > 0,
	}}
	if r := e.Reminders; l.head.HumanTask && r.GetAfterMs() > 0 {
		l.head.RemindMs = ms(t.now) + r.AfterMs
	}
	return l
}

// begin writes the first two events of an intent, its envelope and its head, and
// makes it due. said is what the events say beside their type.
func (t *tx) begin(l *life, said *wire.Event, env []byte, due time.Time) error {
	l.head.EnvelopeBytes = uint32(len(env))
	t.putChunks(classEnvelope, l.id, env)
	for _, on := range []state.Trigger{state.Accept, state.Submit} {
		if on == state.Submit && due.After(t.now) && !l.head.Planned {
			said = proto.CloneOf(said)
			said.NextDueMs = ms(due)
		}
		if !t.move(l, on, said) {
			return fmt.Errorf("accept %s: %w", l.id, ErrIllegal)
		}
	}
	switch {
	case l.head.HumanTask:
		if err := t.assign(l, said); err != nil {
			return err
		}
	case l.head.WakeMs != 0:
		if err := t.rest(l); err != nil {
			return err
		}
	case l.head.Gated, l.head.Stepped:
		t.goTo(l, PlaceParked, time.Time{}, ID{})
	default:
		t.goTo(l, PlaceDue, due, ID{})
	}
	t.expireAt(l)
	t.op.tally.Submitted++
	return t.saveLife(l)
}

// event is what the events of an accept say beside their type.
func (a *Accept) event() *wire.Event {
	if len(a.Envelope.RedriveOf) == 0 {
		return &wire.Event{Actor: a.Envelope.FromAgent, Text: a.text}
	}
	return &wire.Event{Actor: a.by, Text: "redrive of " + ID(a.Envelope.RedriveOf).String()}
}

// replay answers a known idempotency key. It sees what earlier operations of
// the same batch have written, so two posts in one batch make one intent.
func (t *tx) replay(k *Key, res *Accepted) (bool, error) {
	d, err := t.known(k)
	if err != nil || d == nil {
		return false, err
	}
	res.ID, res.Status, res.CreatedAt, res.Replayed = ID(d.Id), state.Submitted, at(d.CreatedMs), true
	var h wire.Head
	if _, err := t.get(idKey(classHead, res.ID), &h); err != nil {
		return false, err
	}
	if h.HumanTask {
		res.Status = state.Waiting
	}
	return true, nil
}

// known returns what a key was used for, nil where it was not, and
// ErrKeyConflict where it was used for something else, ErrKeyLost where nobody knows for what.
func (t *tx) known(k *Key) (*wire.Dedupe, error) {
	var d wire.Dedupe
	found, err := t.get(append([]byte{classDedupe}, k.Hash[:]...), &d)
	if err != nil || !found || d.CreatedMs < ms(t.now.Add(-keepKeys)) && t.j.clock.mayForget() {
		return nil, err
	}
	switch {
	case d.Lost:
		return nil, ErrKeyLost
	case !bytes.Equal(d.Fingerprint, k.Fingerprint[:]):
		return nil, ErrKeyConflict
	}
	t.op.tally.Replayed++
	return &d, nil
}

// once is known and remember for a key of what is no intent: it returns the id of
// what the key has stored before, nil where it is new or there is none.
func (t *tx) once(k *Key, thing []byte) ([]byte, error) {
	if k == nil {
		return nil, nil
	}
	d, err := t.known(k)
	if err != nil {
		return nil, err
	}
	if d != nil {
		return d.Thing, nil
	}
	return nil, t.remember(k, &wire.Dedupe{CreatedMs: ms(t.now), Thing: thing})
}

func (t *tx) remember(k *Key, d *wire.Dedupe) error {
	d.Fingerprint = k.Fingerprint[:]
	t.putIndex(timeKey(classForget, ms(t.now.Add(keepKeys)), k.Hash[:]))
	return t.put(append([]byte{classDedupe}, k.Hash[:]...), d)
}
