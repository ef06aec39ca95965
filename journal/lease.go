package journal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"pannier/journal/failpoint"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// lease hands the intent over: the lease is durable before its bytes leave.
func (t *tx) lease(h *hand, env *wire.Envelope, terms Terms) (*Handed, error) {
	if t.outOfTime(h) {
		return nil, ErrExpired
	}
	if t.j.names.at(h.agent()).killed {
		return nil, ErrKilled
	}
	if outOfAttempts(&h.rec) {
		return nil, errOutOfAttempts
	}
	if _, ok := state.Step(h.phase(), state.Lease); ok && !terms.Pull.takes(h.id, env) {
		return nil, ErrPullFull
	}
	row, err := t.step(h, state.Lease, t.now.Add(terms.For))
	if err != nil {
		return nil, err
	}
	seq, err := t.nextSeq(h.agent())
	if err != nil {
		return nil, err
	}
	lease := newLease()
	h.rec.Handovers++
	h.rec.Seq, h.rec.LeaseId, h.rec.LeaseUntilMs, h.rec.LeasedAtMs = seq, lease[:], h.rec.DueMs, ms(t.now)
	h.rec.Boot, h.rec.Extends, h.rec.Streamed = t.j.birth.Boot, 0, terms.Stream
	handed := &Handed{
		ID: h.id, Envelope: env, Seq: seq, Attempt: h.rec.Handovers, Lease: lease, Until: at(h.rec.LeaseUntilMs),
		Redelivered: h.rec.Redelivered || h.rec.Handovers > 1 || t.j.pushedAndKilled(&h.rec) || t.j.outlivedLoss(h.rec.HeldBoot),
	}
	t.trace(h, handed, terms)
	h.see(state.Deliver)
	handed.Status = state.Status(h.rec.HomeStatus)
	if err := t.saveHand(h); err != nil {
		return nil, err
	}
	return handed, t.tell(h, row.Tells, &wire.Report{Attempt: h.rec.Handovers, Attempts: h.rec.Attempts, Redelivered: handed.Redelivered})
}

// errOutOfAttempts: what is out of attempts is given to nobody; see Exhaust.
var errOutOfAttempts = fmt.Errorf("%w: out of attempts", ErrIllegal)

// see keeps the holder's idea of home's status up with what it tells home.
func (h *hand) see(on state.Trigger) {
	for _, row := range state.Path(state.Status(h.rec.HomeStatus), on) {
		h.rec.HomeStatus = uint32(row.To)
	}
}

// newLease makes a lease id: random, so that no app can guess another's.
func newLease() ID {
	var id ID
	rand.Read(id[:])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}

// Lease hands ready intents over. Each Handed has its own error: one that is
// no longer ready, or has run out of time, is left out of the app's answer.
func (j *Journal) Lease(ctx context.Context, ids []ID, terms []Terms) ([]Handed, error) {
	out := make([]Handed, len(ids))
	ops := make([]*op, len(ids))
	for i, id := range ids {
		res := &out[i]
		ops[i] = &op{after: failpoint.HolderAfterLeaseCommit, about: id, run: func(t *tx) error {
			handed, err := t.leaseReady(id, terms[i])
			if handed != nil {
				*res = *handed
			}
			return err
		}}
	}
	if err := j.do(ctx, first, ops...); err != nil && j.running() != nil {
		return nil, err
	}
	for i := range out {
		if out[i].Err == nil && ops[i].err != nil {
			out[i] = Handed{ID: ids[i], Err: ops[i].err}
		}
	}
	return out, nil
}

func (t *tx) leaseReady(id ID, terms Terms) (*Handed, error) {
	if terms.Pull.full() {
		return nil, ErrPullFull // its payload is not read for that
	}
	h, found, err := t.hand(id)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, ErrNotFound
	}
	blob, found, err := t.getChunks(classEnvelope, id)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, &CorruptError{Key: chunkKey(classEnvelope, id, 0), Why: "the envelope of an open intent is missing"}
	}
	env := &wire.Envelope{}
	if err := proto.Unmarshal(blob, env); err != nil {
		return nil, &CorruptError{Key: chunkKey(classEnvelope, id, 0), Why: err.Error()}
	}
	handed, err := t.lease(h, env, terms)
	if errors.Is(err, ErrExpired) {
		// Home will say so; until then it must not come up again and again.
		t.delIndex(dueKey(classMail, h.agent(), h.rec.DueMs, h.id))
		t.mailAt(h, never)
		return &Handed{ID: id, Err: ErrExpired}, t.saveHand(h)
	}
	return handed, err
}

// Renew moves the ends of leases, to later only. One that is no longer in force
// is left alone.
func (j *Journal) Renew(ctx context.Context, list []Renewal) error {
	ops := make([]*op, len(list))
	for i, r := range list {
		ops[i] = &op{about: r.ID, run: func(t *tx) error {
			h, found, err := t.hand(r.ID)
			if err != nil || !found || leaseOf(&h.rec) != r.Lease || h.rec.DueMs >= ms(r.Until) {
				return err
			}
			if p := h.phase(); p != state.Leased && p != state.Working {
				return nil
			}
			t.delIndex(dueKey(classMail, h.agent(), h.rec.DueMs, h.id))
			t.mailAt(h, r.Until)
			h.rec.LeaseUntilMs = h.rec.DueMs
			return t.saveHand(h)
		}}
	}
	return j.doApart(ctx, first, ops...)
}
