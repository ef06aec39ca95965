package journal

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// EntryWithdrawn says that people here are not asked any more, and nobody has decided.
const EntryWithdrawn = "thread.withdrawn"

var errWithdrawn = fmt.Errorf("%w: its home asks nobody here any more", ErrIllegal)

// handThreadEnded is threadEnded for what another home has sent, by a word that was
// given here. Home may have had another one before it: then handThreadRuled comes after.
func (t *tx) handThreadEnded(h *hand, actor, text string) error {
	if !t.hasOthersThread(h) {
		return nil
	}
	turn := TaskDecided
	if actor == "" {
		turn = 0 // its home knows by whom
	}
	decided := h.rec.HumanTask && actor != "" && actor != actorSelf
	return errors.Join(t.threadEnded(h.id, state.Status(h.rec.HomeStatus), actor, text, decided), t.handTurned(h, turn, actor, text))
}

// hasOthersThread reports whether people here read it in an inbox, and its home is another.
func (t *tx) hasOthersThread(h *hand) bool {
	return h.rec.Threaded && h.home() != t.j.self.Journal
}

// handThreadRuled does to the thread of what another home has sent what that home has
// ruled: it has ended it, as its log tells, or has given it to others. Home's word is the
// last one, whatever people here were told before.
//
//	home says                    where the thread                     it
//	anything                     is gone, or was ruled on before      stays as it is
//	it is not yours any more     is done                              stays: a word from here is on its way, and counts
//	                             is open                              is withdrawn, and decided by nobody here
//	it has ended (no log)        shows that end                       stays, until the log comes
//	                             is open, or shows another            shows that end, and that nobody is known to have decided
//	it has ended (log)           shows that end, and who decided it   stays, and is ruled on
//	                             is open, or shows another            shows that end, and who decided it: nobody where it ran
//	                                                                  out of time, was not needed any more, or failed
//
// Where people here had been let believe that somebody else had decided, the new entry
// says who is overruled. An end is refused in no case, however many have the thread and
// however much was said in it: it adds two entries at most, and no reader. What comes
// back after all that is open again, and was neither decided nor ruled on: see reopen.
func (t *tx) handThreadRuled(h *hand, log []*wire.Event) error {
	if !t.hasOthersThread(h) {
		return nil
	}
	th, found, err := t.thread(h.id)
	if err != nil || !found || th.rec.Ruled {
		return err
	}
	end, was, done := state.Status(h.rec.HomeStatus), th.rec.Decision, ThreadStatus(th.rec.Status) == ThreadDone
	shown := done && th.lastEnd() == CompletionOf(h.id, end).Type
	if !h.rec.EndedAtHome || !end.Terminal() { // ended, and how is unknown: it has left home's history
		if done {
			return nil
		}
		return t.withdraw(th)
	}
	if len(log) == 0 {
		if shown {
			return nil
		}
		return t.endedThere(h, th, &wire.Event{Status: uint32(end)}, nil)
	}
	last := log[len(log)-1]
	var by *wire.Decision
	if DecidedBy(last) && (h.rec.HumanTask || was != nil) {
		by = &wire.Decision{Decision: decisionOf(end), Actor: last.Actor, AtMs: last.AtMs}
	}
	th.rec.Ruled = true
	if shown && by.GetDecision() == was.GetDecision() && by.GetActor() == was.GetActor() {
		return t.put(idKey(classThread, h.id), &th.rec) // no change for whoever reads it
	}
	return t.endedThere(h, th, last, by)
}

// endedThere enters how home has ended it, and whose decision that is; nil: nobody's.
func (t *tx) endedThere(h *hand, th *thread, last *wire.Event, by *wire.Decision) error {
	end, was := state.Status(last.Status), th.rec.Decision
	said := map[string]any{"status": end.String()}
	if last.Text != "" {
		said["reason"] = last.Text
	}
	if by != nil {
		said["decided_by"], said["decided_at"] = by.Actor, at(by.AtMs).UTC().Format(time.RFC3339Nano)
	}
	if was != nil {
		said["overruled"] = was.Decision + " by " + cut(was.Actor, maxText)
	}
	th.rec.Status, th.rec.Decision = uint32(ThreadDone), by
	t.enter(th, CompletionOf(h.id, end).Type, cmp.Or(last.Actor, actorSelf), said)
	if err := t.saveThread(th); err != nil || end != state.TimedOut {
		return err
	}
	return t.handTurned(h, TaskExpired, "", "")
}

// withdraw takes a thread from people who are not asked any more.
func (t *tx) withdraw(th *thread) error {
	th.rec.Status = uint32(ThreadDone)
	t.enter(th, EntryWithdrawn, actorSelf, map[string]any{})
	return t.saveThread(th)
}

// withdrawn reports whether people here are not asked any more, and it has not ended as
// far as is known here.
func (h *hand) withdrawn() bool {
	return h.phase() == state.Revoked && !(h.rec.EndedAtHome && state.Status(h.rec.HomeStatus).Terminal())
}

// reopen lets people decide what is held here anew: home was put back to before its end,
// or others have lost it. What was decided or ruled then is in the timeline alone.
func (th *thread) reopen() {
	th.rec.Status = min(th.rec.Status, uint32(ThreadActive))
	th.rec.Decision, th.rec.Ruled = nil, false
}

// lastEnd is the end that the timeline says, unless it has been withdrawn since; "": none.
func (th *thread) lastEnd() string {
	for i := len(th.rec.Entries) - 1; i >= 0 && th.rec.Entries[i].Type != EntryWithdrawn; i-- {
		for _, end := range []state.Status{state.Completed, state.Failed, state.Canceled, state.TimedOut} {
			if what := CompletionOf(th.id, end).Type; th.rec.Entries[i].Type == what {
				return what
			}
		}
	}
	return ""
}
