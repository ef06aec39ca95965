package journal

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"pannier/journal/failpoint"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// Redrive asks for the successor of a dead letter of this home. Limits of time that
// are not given are as long, from now, as those of the original were. Options are
// those that the original had in the end: what controls and policy changed stays so.
type Redrive struct {
	ID        ID
	Payload   []byte    // nil: as it was
	ToAgent   string    // "": as it was
	DeliverBy time.Time // zero: anew
	Actor     string    // who asks
	Key       *Key      // nil: none

	Traceparent, Tracestate string // its creation context; empty: that of the original
}

// Redriven is the successor.
type Redriven struct {
	ID        ID
	CreatedAt time.Time
	Replayed  bool // the key was known: this is the first answer again
}

// Redrive makes the successor of a dead letter: a new intent that tells its
// receiver the id of the first ancestor, unless its payload was edited. Successor
// and the mark on the original are one commit.
//
// A dead letter has one successor. A second redrive is refused with a
// *RedrivenError even when that one has died too: it is itself the dead letter to
// redrive, so that what has a common ancestor is a chain, and never twice under way.
// Other errors: ErrNotFound, ErrNotHome, ErrNotDead, ErrLost.
func (j *Journal) Redrive(ctx context.Context, r Redrive) (Redriven, error) {
	original, err := j.Get(r.ID)
	if err != nil {
		return Redriven{}, err
	}
	if original.Head == nil {
		return Redriven{}, ErrNotHome
	}
	if original.Envelope == nil {
		return Redriven{}, ErrLost
	}
	now, id := j.now(), NewID()
	a := r.accept(original, now)
	env, err := j.encodeEnvelope(a, id, now)
	if err != nil {
		return Redriven{}, err
	}
	var res Accepted
	err = j.do(ctx, third, &op{
		before: failpoint.HomeBeforeAcceptCommit, after: failpoint.HomeAfterAcceptCommit,
		run: func(t *tx) error {
			res = Accepted{}
			return t.redrive(r.ID, a, id, env, &res)
		},
	})
	if err != nil {
		return Redriven{}, err
	}
	return Redriven{ID: res.ID, CreatedAt: res.CreatedAt, Replayed: res.Replayed}, nil
}

// accept is the successor as if its sender had posted it now.
func (r *Redrive) accept(original *Intent, now time.Time) *Accept {
	was := original.Envelope
	e := proto.CloneOf(was)
	e.RedriveOf, e.IdempotencyKey = original.ID[:], "" // the key made the original
	if len(e.FirstId) == 0 {
		e.FirstId = original.ID[:]
	}
	if r.Traceparent != "" {
		e.Traceparent, e.Tracestate = r.Traceparent, r.Tracestate
	}
	if r.Payload != nil {
		e.Payload, e.FirstId = r.Payload, nil
	}
	if r.ToAgent != "" {
		e.ToAgent = r.ToAgent
	}
	e.MaxDeliveryAttempts = original.Head.MaxAttempts
	a := &Accept{Envelope: e, Key: r.Key, DeliverBy: r.DeliverBy, by: r.Actor}
	if a.DeliverBy.IsZero() {
		a.DeliverBy = again(now, was.CreatedAtMs, was.DeliverByMs)
	}
	a.Deadline = again(now, was.CreatedAtMs, original.Head.DeadlineAtMs)
	if !a.Deadline.IsZero() && a.Deadline.Before(a.DeliverBy) {
		a.Deadline = a.DeliverBy
	}
	if p := original.Plan; p != nil && (waits(p) || original.Head.Gated || original.Head.Stepped || r.Payload != nil || r.ToAgent != "") {
		a.Plan = asAsked(p) // nobody has approved this
	}
	return a
}

// waits reports whether a plan has a part that has not come to its end: a head that was made
// of what is left does not say so.
func waits(p *wire.Plan) bool {
	return slices.ContainsFunc(p.Parts, func(part *wire.Part) bool { return part.Status != uint32(state.Completed) })
}

// again is a limit as far from now as it was from the time it was set; zero where
// there was none.
func again(now time.Time, setMS, limitMS int64) time.Time {
	if limitMS <= setMS {
		return time.Time{}
	}
	return now.Add(time.Duration(limitMS-setMS) * time.Millisecond)
}

func (t *tx) redrive(of ID, a *Accept, id ID, env []byte, res *Accepted) error {
	if a.Key != nil {
		replayed, err := t.replay(a.Key, res)
		if err != nil || replayed {
			return err
		}
	}
	l, found, err := t.life(of)
	switch {
	case err != nil:
		return err
	case !found:
		return ErrNotFound // purged since it was read
	case l.head.DeadMs == 0:
		return ErrNotDead
	}
	if aside, err := t.has(idKey(classAside, of)); err != nil || aside {
		return cmp.Or(err, ErrLost)
	}
	if as, err := IDOf(l.head.RedrivenAs); err == nil {
		return &RedrivenError{As: as}
	}
	if a.Asked, err = t.askedOf(l, a.Envelope); err != nil {
		return err
	}
	if err := t.accept(a, id, env, res); err != nil {
		return err
	}
	if err := t.inherit(id, l); err != nil {
		return err
	}
	l.head.RedrivenAs = id[:]
	t.op.tally.Redriven = append(t.op.tally.Redriven, state.Reason(l.head.Reason))
	return t.saveLife(l)
}

// askedOf are the addresses that a task named: those in whose inbox it was, beside whoever
// it was escalated or passed on to.
func (t *tx) askedOf(l *life, env *wire.Envelope) (all []string, err error) {
	th, found, err := t.thread(l.id)
	if err != nil || !found || !l.head.HumanTask {
		return nil, err
	}
	for _, v := range th.rec.Views {
		address := t.j.AgentName(Agent(v.Owner))
		if ThreadRole(v.Role) == RoleAsked && !(l.head.Escalated && address == env.Reminders.GetEscalateTo()) {
			all = append(all, address)
		}
	}
	return all, nil
}

// inherit gives a successor what of the changed options is in no envelope: the work
// timeout, and what was stored to be shown.
func (t *tx) inherit(id ID, from *life) error {
	if from.head.PolicyGeneration == 0 {
		return nil
	}
	l, _, err := t.life(id)
	if err != nil {
		return err
	}
	var rec wire.Policy
	if _, err := t.get(idKey(classPolicy, from.id), &rec); err != nil {
		return err
	}
	if err := t.put(idKey(classPolicy, id), &rec); err != nil {
		return err
	}
	l.head.PolicyGeneration, l.head.WorkTimeoutMs = 1, from.head.WorkTimeoutMs
	return t.saveLife(l)
}

// NoteRedriven lets a holder's copy of a dead letter show the successor its home
// has made.
func (j *Journal) NoteRedriven(ctx context.Context, home, of, as ID) error {
	err := j.do(ctx, third, &op{run: func(t *tx) error {
		return t.noteRedriven(home, as, &wire.Envelope{RedriveOf: of[:]})
	}})
	if errors.Is(err, ErrFailed) || errors.Is(err, ErrClosed) {
		return err
	}
	return nil // the copy is gone, and with it what would show it
}
