package journal

import (
	"time"

	"pannier/journal/state"
)

// Tally is what one batch has done, for those who count. It is given out once it is
// durable and before any caller hears of it, and is valid for the call only.
type Tally struct {
	Took       time.Duration // of its commit; 0: nothing was written
	Operations int

	Submitted int            // intents home has made: accepted, successors, completions
	Replayed  int            // writes answered as before, for a known idempotency key
	Redriven  []state.Reason // for which dead letters had ended that have got a successor
	Ended     []EndTally
	Attempts  []AttemptTally
}

// EndTally is one intent that has ended at home.
type EndTally struct {
	Status state.Status
	Dead   state.Reason // of a dead letter; NoReason: it is none
	Took   time.Duration
	Trace  string // traceparent of the last attempt; empty: it was not traced
}

// AttemptTally is what came of one hand-over at its holder.
type AttemptTally struct {
	Agent  Agent
	Way    Way
	Move   state.Move   // GiveFinal, Extend (the first), FailTry, Exhaust, Refuse or Recover
	Reason state.Reason // of FailTry and Exhaust
	Took   time.Duration
	Timed  bool   // Took is known
	Trace  string // traceparent of the hand-over; empty: it was not traced
}

// Way is how the app had an intent that it answered.
type Way uint8

const (
	ByWord   Way = iota // it spoke without a lease, before it was handed anything
	ByPoll              //
	ByStream            //
	ByPush              //
)

var wayNames = [...]string{"word", "poll", "stream", "http"}

func (w Way) String() string { return wayNames[w] }

// add takes over what one operation has done.
func (y *Tally) add(of *Tally) {
	y.Submitted += of.Submitted
	y.Replayed += of.Replayed
	y.Redriven = append(y.Redriven, of.Redriven...)
	y.Ended = append(y.Ended, of.Ended...)
	y.Attempts = append(y.Attempts, of.Attempts...)
}

func (y *Tally) reset() {
	*y = Tally{Redriven: y.Redriven[:0], Ended: y.Ended[:0], Attempts: y.Attempts[:0]}
}

// give tells what a batch has done.
func (j *Journal) give(y *Tally) {
	if f := j.hooks.Counted; f != nil {
		f(y)
	}
}

// ended counts an intent that home has just ended.
func (t *tx) ended(l *life) {
	e := EndTally{Status: l.status(), Took: max(0, t.now.Sub(at(l.head.CreatedMs))), Trace: l.head.Traceparent}
	if l.head.DeadMs != 0 {
		e.Dead = state.Reason(l.head.Reason)
	}
	t.op.tally.Ended = append(t.op.tally.Ended, e)
}

// tried counts a step of a hand-over that ends what the app was at, or takes it on.
// Called before the record is changed.
func (t *tx) tried(h *hand, row state.HandoverRow) {
	switch row.On {
	case state.GiveFinal, state.FailTry, state.Exhaust, state.Refuse, state.Recover:
	case state.Extend:
		if row.From == state.Working {
			return
		}
	default:
		return
	}
	if h.rec.Thread || row.From == state.Spent {
		return // no app has had it
	}
	a := AttemptTally{Agent: h.agent(), Way: h.way(), Move: row.On, Reason: h.why}
	switch {
	case row.From == state.Leased || row.From == state.Working:
		a.Took, a.Timed = max(0, t.now.Sub(at(h.rec.LeasedAtMs))), true
	case h.pushed && !h.began.IsZero(): // no lease tells when it was sent
		a.Took, a.Timed = max(0, t.now.Sub(h.began)), true
	}
	if a.Timed {
		a.Trace = h.rec.Traceparent
	}
	t.op.tally.Attempts = append(t.op.tally.Attempts, a)
}

func (h *hand) way() Way {
	switch p := h.phase(); {
	case h.pushed, p == state.Working && len(h.rec.LeaseId) == 0:
		return ByPush
	case p != state.Leased && p != state.Working:
		return ByWord
	case h.rec.Streamed:
		return ByStream
	}
	return ByPoll
}
