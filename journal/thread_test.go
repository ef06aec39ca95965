package journal_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// changed pages through the changes of an inbox after one.
func (w *world) changed(owner string, after uint64) (ids []journal.ID, last uint64) {
	last = after
	for more := true; more; {
		page, again, err := w.j.ThreadChanges(journal.ThreadFilter{Owner: owner, Limit: 2}, last)
		if err != nil {
			w.Fatal(err)
		}
		for _, th := range page {
			if th.Change <= last {
				w.Errorf("change %x comes after %x", th.Change, last)
			}
			ids, last = append(ids, th.ID), th.Change
		}
		more = again
	}
	return ids, last
}

// Threads, their changes and their decisions are there after a start; a cursor from before
// it shows what came after, and nothing else.
func TestInboxOverARestart(t *testing.T) {
	w := setup(t)
	one, two := w.ask(nil), w.ask(nil)
	owner := w.get(one).Envelope.ToAgent
	if got, _ := w.changed(owner, 0); fmt.Sprint(got) != fmt.Sprint([]journal.ID{one, two}) {
		t.Fatalf("changed are %v, want both", got)
	}
	_, cursor := w.changed(owner, 0)
	act := journal.ThreadAct{Verb: journal.ThreadDecide, Actor: "ann", Decision: journal.Approve, Word: &journal.Answer{Trigger: state.Complete, Reason: state.ReasonApp, Actor: "ann", Body: []byte("{}")}}
	if _, err := w.j.ActOnThread(t.Context(), one, act); err != nil {
		t.Fatal(err)
	}
	w.reopen()
	got, _ := w.changed(owner, cursor)
	if fmt.Sprint(got) != fmt.Sprint([]journal.ID{one}) {
		t.Errorf("changed since are %v, want what was decided", got)
	}
	if th, err := w.j.Thread(one); err != nil || th.Decision.GetActor() != "ann" || journal.ThreadStatus(th.Status) != journal.ThreadDone {
		t.Errorf("the thread is %v, %v", th, err)
	}
	three := w.ask(nil)
	if got, _ := w.changed(owner, cursor); fmt.Sprint(got) != fmt.Sprint([]journal.ID{one, three}) {
		t.Errorf("changed since are %v, want the decided and the new", got)
	}
	w.ask(&wire.Reminders{})
	if got, _, err := w.j.Threads(journal.ThreadFilter{Owner: owner, Limit: 10}, 0); err != nil || len(got) != 4 || got[2].ID != one {
		t.Errorf("the inbox has %d threads, %v; want 4, the last that was changed first", len(got), err)
	}
}

// However many look at a task, it ends, and all who have it by right are told: a reader
// more than a thread is passed on to takes nobody's place.
func TestThreadThatManyHaveStillEnds(t *testing.T) {
	t.Parallel()
	w := setup(t)
	e := envelope()
	e.HumanTask, e.ReplyTo = []byte(`{"title":"?"}`), "teller"
	got, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: e}})
	if err != nil || got[0].Err != nil {
		t.Fatal(err, got)
	}
	id, full := got[0].ID, error(nil)
	for n := 0; full == nil; n++ {
		if n > 64 {
			t.Fatal("it is passed on without an end")
		}
		_, full = w.j.ActOnThread(t.Context(), id, journal.ThreadAct{Verb: journal.ThreadDelegate, Actor: "ann", DelegateTo: fmt.Sprint("reader ", n)})
	}
	if !errors.Is(full, journal.ErrThreadFull) {
		t.Fatal(full)
	}
	if _, err := w.j.Answer(t.Context(), id, journal.Answer{Trigger: state.Complete, Reason: state.ReasonApp, Actor: "ann", Body: []byte("{}")}); err != nil {
		t.Fatalf("a task that many have is not decided: %v", err)
	}
	if th, err := w.j.Thread(id); err != nil || th.View("teller") == nil || journal.ThreadStatus(th.Status) != journal.ThreadDone {
		t.Errorf("the thread is %v, %v; want it done, and in the inbox of who hears of the end", th, err)
	}
	w.whole()
}

// A thread says who decided where somebody did: not of a task that ran out of time, and not of a
// message, of which nothing is decided.
func TestThreadOfWhatNobodyDecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		if err := w.j.KeepInbox(t.Context(), billing); err != nil {
			t.Fatal(err)
		}
		e := envelope()
		e.HumanTask = []byte("{}")
		task, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: e, Deadline: time.Now().Add(time.Minute)}})
		if err != nil || task[0].Err != nil {
			t.Fatal(err, task)
		}
		message := w.accept()
		if _, err := w.j.Answer(t.Context(), message, journal.Answer{Trigger: state.Cancel, Reason: state.ReasonCanceled, Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute + time.Second)
		for _, id := range []journal.ID{task[0].ID, message} {
			th, err := w.j.Thread(id)
			if err != nil {
				t.Fatal(err)
			}
			if journal.ThreadStatus(th.Status) != journal.ThreadDone || th.Decision != nil {
				t.Errorf("the thread is %d, decided by %v; want it done, and by nobody", th.Status, th.Decision)
			}
		}
		w.whole()
	})
}
