package journal

import (
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// askedNoMore takes what is held here out of the tasks that people have to decide.
func (t *tx) askedNoMore(h *hand) {
	if h.rec.HumanTask {
		h.rec.HumanTask = false
		t.delIndex(idKey(classTask, h.id))
	}
}

// handThreadEnded is threadEnded for what another home has sent, by a word that was given
// here. Home may have had another one before it: then handThreadRuled comes after.
func (t *tx) handThreadEnded(h *hand, actor, text string) error {
	decided := h.rec.HumanTask && actor != "" && actor != actorSelf
	t.askedNoMore(h)
	if !h.rec.Threaded || h.home() == t.j.self.Journal {
		return nil
	}
	turn := TaskDecided
	switch end := state.Status(h.rec.HomeStatus); {
	case end == state.TimedOut:
		turn = TaskExpired
	case actor == "":
		turn = 0 // its home knows by whom
	}
	return errors.Join(t.threadEnded(h.id, state.Status(h.rec.HomeStatus), actor, text, decided), t.handTurned(h, turn, actor, text))
}

// handThreadRuled says on the thread of what another home has sent how that home has ended
// it: its events, where it has told them. Whoever decided there has decided, also where
// somebody here had been let believe that it was them.
func (t *tx) handThreadRuled(h *hand, events []*wire.Event) error {
	asked, end := h.rec.HumanTask, state.Status(h.rec.HomeStatus)
	t.askedNoMore(h)
	if !h.rec.Threaded || h.home() == t.j.self.Journal || !end.Terminal() {
		return nil
	}
	if end == state.TimedOut && asked {
		if err := t.handTurned(h, TaskExpired, "", ""); err != nil {
			return err
		}
	}
	th, found, err := t.thread(h.id)
	if err != nil || !found {
		return err
	}
	done := ThreadStatus(th.rec.Status) == ThreadDone
	if len(events) == 0 || string(events[len(events)-1].Peer) == string(t.j.self.Journal[:]) {
		// It is the word that was given here, as far as is told: a stream that is full of
		// others has no room for events.
		return t.threadEnded(h.id, end, "", "", false)
	}
	last, was := events[len(events)-1], th.rec.Decision
	switch decided := DecidedBy(last) && (asked || was != nil); {
	case decided:
		th.rec.Decision = &wire.Decision{Decision: decisionOf(end), Actor: last.Actor, AtMs: last.AtMs}
	case !done:
		return t.threadEnded(h.id, end, "", "", false)
	}
	if done && (was == nil || proto.Equal(was, th.rec.Decision) && th.rec.Entries[len(th.rec.Entries)-1].Type == state.EventType(last.Type).String()) {
		return nil // it says so already
	}
	said := map[string]any{"status": end.String()}
	if DecidedBy(last) {
		said["decided_by"], said["decided_at"] = last.Actor, at(last.AtMs).UTC().Format(time.RFC3339Nano)
	}
	if was != nil {
		said["overruled"] = was.Decision + " by " + cut(was.Actor, maxText)
	}
	th.rec.Status = uint32(ThreadDone)
	t.enter(th, CompletionOf(h.id, end).Type, last.Actor, said)
	return t.saveThread(th)
}
