package journal

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"pannier/journal/failpoint"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// Pushed is what came of one push: an intent sent to its app without a lease.
type Pushed struct {
	ID      ID
	Attempt uint32 // delivery_attempt it was sent with
	Came    Came
	Result  []byte        // Done: JSON object; nil: {}
	Reason  string        // Refused, Failed
	Delay   time.Duration // Failed: < 0: the usual backoff
	Spare   bool          // Failed: no attempt is counted

	Began time.Time // when it was sent
	Trace string    // traceparent of the push; empty: it was not traced
}

// Came says what came of a push.
type Came uint8

const (
	Done    Came = iota + 1 // the answer is the app's last word
	Taken                   // it works on it, and will resume or resolve
	Refused                 // it will never take it: a dead letter
	Failed                  // a failed attempt
	Cut                     // cut off by us when the app may have had it: no attempt
)

// Peek returns what ready intents would be pushed with. Nothing is written of them:
// if we crash before the answer of the app is in the journal, it is sent again, and
// is no attempt. Once each start it is noted that intents of the agent are sent; if
// we crash before that is durable, none has been. Each Handed has its own error:
// ErrIllegal for one that is not ready, ErrExpired for one that is out of time, which
// home is about to end.
func (j *Journal) Peek(ctx context.Context, ids []ID, pull *Pull) ([]Handed, error) {
	out := make([]Handed, len(ids))
	now := j.clock.forLimits(j.now())
	agents := map[Agent]struct{}{}
	err := j.view(func(txn *page) error {
		for i, id := range ids {
			var agent Agent
			err := j.guard(func() (err error) { agent, err = j.peek(txn, id, now, pull, &out[i]); return err })
			if err != nil {
				out[i] = Handed{ID: id, Err: err}
				if isFault(err) {
					j.suspect(id, err)
				}
				continue
			}
			agents[agent] = struct{}{}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for agent := range agents {
		if err := j.notePushed(ctx, agent); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (j *Journal) peek(txn *page, id ID, now time.Time, pull *Pull, out *Handed) (Agent, error) {
	if pull.full() {
		return 0, ErrPullFull // its payload is not read for that
	}
	var rec wire.Handover
	found, err := readMessage(txn, idKey(classHandover, id), &rec)
	switch {
	case err != nil:
		return 0, err
	case !found:
		return 0, ErrNotFound
	case state.Phase(rec.Phase) != state.Ready:
		return 0, fmt.Errorf("%w: push while %s", ErrIllegal, state.Phase(rec.Phase))
	case OutOfTime(&rec, now):
		return 0, ErrExpired
	case outOfAttempts(&rec):
		return 0, errOutOfAttempts
	case j.Killed(j.AgentName(Agent(rec.Agent))):
		return 0, ErrKilled
	}
	env := &wire.Envelope{}
	blob, found, err := readEnvelope(txn, id)
	if err != nil {
		return 0, err
	}
	if !found {
		return 0, &CorruptError{Key: chunkKey(classEnvelope, id, 0), Why: "the envelope of an open intent is missing"}
	}
	if err := proto.Unmarshal(blob, env); err != nil {
		return 0, &CorruptError{Key: chunkKey(classEnvelope, id, 0), Why: err.Error()}
	}
	if !pull.takes(id, env) {
		return 0, ErrPullFull
	}
	*out = Handed{
		ID: id, Envelope: env, Status: state.Status(rec.HomeStatus), Attempt: rec.Handovers + 1,
		Redelivered: j.mayBeKnown(&rec), Trace: traceOf(&rec), Traceparent: traceparent("", env),
	}
	j.panics("peek", id)
	return Agent(rec.Agent), nil
}

// mayBeKnown reports whether the app may have seen the intent, where it is one
// that is sent its intents. What was here when a start was killed may have been on
// its way to it.
func (j *Journal) mayBeKnown(rec *wire.Handover) bool {
	return rec.Redelivered || rec.Handovers > 0 || j.outlivedKill(rec) || j.outlivedLoss(rec.HeldBoot)
}

func (j *Journal) outlivedKill(rec *wire.Handover) bool { return rec.HeldBoot < j.birth.UncleanBoot }

// outlivedLoss reports whether a record of such a start may be older than what has become of its
// intent: a loss was accepted since.
func (j *Journal) outlivedLoss(boot uint32) bool { return boot < j.birth.LossBoot }

// pushedAndKilled is outlivedKill for an app that asks for its intents: it may have
// been sent them before. What was asked for has a lease, which the kill has left.
func (j *Journal) pushedAndKilled(rec *wire.Handover) bool {
	n := j.names
	e := n.at(Agent(rec.Agent))
	n.mu.RLock()
	defer n.mu.RUnlock()
	return j.outlivedKill(rec) && e.pushed >= rec.HeldBoot
}

// notePushed makes it durable that in this start the agent's app is sent intents.
func (j *Journal) notePushed(ctx context.Context, agent Agent) error {
	n, e := j.names, j.names.at(agent)
	n.mu.RLock()
	noted := e.pushed == j.birth.Boot
	n.mu.RUnlock()
	if noted {
		return nil
	}
	return j.do(ctx, first, &op{run: func(t *tx) error {
		t.after(func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			e.pushed = j.birth.Boot
		})
		return t.changeName(e, func(rec *wire.Name) { rec.PushedBoot = j.birth.Boot })
	}})
}

// OutOfTime reports whether the hand-over is past a limit of time: nothing is handed
// over any more, and home ends the intent.
func OutOfTime(rec *wire.Handover, now time.Time) bool {
	for _, by := range []struct {
		at      time.Time
		applies bool
	}{{at(rec.DeliverByMs), !rec.Taken}, {at(rec.DeadlineAtMs), true}} {
		if by.applies && !by.at.IsZero() && !by.at.After(now) {
			return true
		}
	}
	return false
}

func (t *tx) outOfTime(h *hand) bool { return OutOfTime(&h.rec, t.j.clock.forLimits(t.now)) }

// Push records what came of pushes. An attempt that is not the next one of a
// ready intent changes nothing (ErrLeaseLost): somebody has answered for it, or
// home has taken it back. The answer, its report and the freeing of credit are
// one commit.
func (j *Journal) Push(ctx context.Context, list []Pushed) ([]Settled, error) {
	out := make([]Settled, len(list))
	ops := make([]*op, len(list))
	for i := range list {
		p, res := &list[i], &out[i]
		ops[i] = &op{
			before: failpoint.HolderBeforeSettleCommit, after: failpoint.HolderAfterSettleCommit, about: p.ID, asked: true,
			run: func(t *tx) error { return t.pushed(p, res) },
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

func (t *tx) pushed(p *Pushed, res *Settled) error {
	h, found, err := t.hand(p.ID)
	switch {
	case err != nil:
		return err
	case !found:
		return ErrNotFound
	case !h.phase().Open():
		return &EndedError{Status: state.Status(h.rec.HomeStatus)}
	case h.phase() != state.Ready || h.rec.Handovers != p.Attempt-1:
		return ErrLeaseLost
	}
	h.rec.Handovers, h.began, h.pushed = p.Attempt, p.Began, true
	h.attempted(p.Trace)
	switch p.Came {
	case Done:
		h.see(state.Deliver)
		err = t.answerFinally(h, Answer{Trigger: state.Complete, Body: p.Result}, p.Attempt)
	case Taken:
		res.Until, err = t.takenByPush(h)
	case Refused:
		err = t.nack(h, &Settle{Reject: true, Reason: p.Reason})
	case Failed:
		if p.Spare {
			err = t.again(h, t.now.Add(max(0, p.Delay)))
			break
		}
		err = t.failAttempt(h, state.ReasonNack, p.Reason, p.Delay)
	case Cut:
		err = t.again(h, t.now)
	default:
		err = fmt.Errorf("%w: unknown outcome %d of a push", ErrIllegal, p.Came)
	}
	res.Status, res.Again = state.Status(h.rec.HomeStatus), h.phase() == state.Ready
	return err
}

// again leaves a pushed intent ready; nothing is counted.
func (t *tx) again(h *hand, due time.Time) error {
	t.delIndex(dueKey(classMail, h.agent(), h.rec.DueMs, h.id))
	t.mailAt(h, due)
	h.rec.Redelivered = true
	return t.saveHand(h)
}

// takenByPush: the app has acknowledged it, and works until the time returned.
// From here on it does not count against credit: what is under way is the app's
// own queue.
func (t *tx) takenByPush(h *hand) (time.Time, error) {
	h.see(state.Deliver)
	if err := t.saveHand(h); err != nil {
		return time.Time{}, err
	}
	if err := t.tell(h, state.FactDelivered, &wire.Report{Attempt: h.rec.Handovers, Attempts: h.rec.Attempts, Redelivered: h.rec.Redelivered}); err != nil {
		return time.Time{}, err
	}
	h.rec.LeasedAtMs, h.rec.LeaseUntilMs = ms(t.now), 0
	until := t.work(h)
	row, err := t.step(h, state.Extend, until)
	if err != nil {
		return time.Time{}, err
	}
	was := h.standing()
	h.rec.Freed = true
	t.moved(h, was)
	h.rec.Taken = true
	h.seeWorking(false)
	if err := t.saveHand(h); err != nil {
		return time.Time{}, err
	}
	return until, t.tell(h, row.Tells, &wire.Report{Attempt: h.rec.Handovers})
}
