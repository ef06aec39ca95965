package journal_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// remindersOf lists when what was written of a task, in seconds after it was accepted.
func remindersOf(t *testing.T, w *world, id journal.ID) (reminded []int, escalated int) {
	t.Helper()
	events, _, err := w.j.Events(id, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		at := int(time.UnixMilli(e.AtMs).Sub(time.UnixMilli(events[0].AtMs)).Round(time.Second).Seconds())
		switch state.EventType(e.Type) {
		case state.EventReminder:
			reminded = append(reminded, at)
		case state.EventEscalated:
			escalated = at
		}
	}
	return reminded, escalated
}

func (w *world) ask(r *wire.Reminders) journal.ID {
	e := envelope()
	e.HumanTask, e.Reminders = []byte(`{"title":"?"}`), r
	got, err := w.j.Accept(w.Context(), []journal.Accept{{Envelope: e}})
	if err != nil || got[0].Err != nil {
		w.Fatal(err, got)
	}
	return got[0].ID
}

// A person is reminded on time, as often as was said, and then another one is asked, who
// has all the time there is.
func TestRemindersAndEscalation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		both := w.ask(&wire.Reminders{AfterMs: 4_000, IntervalMs: 24_000, Most: 3, EscalateTo: "boss"})
		once := w.ask(&wire.Reminders{AfterMs: 4_000, Most: 1})
		decided := w.ask(&wire.Reminders{AfterMs: 4_000, IntervalMs: 1_000, Most: 9})
		time.Sleep(5*time.Second + 500*time.Millisecond)
		if _, err := w.j.Answer(t.Context(), decided, journal.Answer{Trigger: state.Complete, Body: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute) // not days: what Badger does in the background takes time even here
		for _, row := range []struct {
			name      string
			id        journal.ID
			reminded  string
			escalated int
			status    state.Status
		}{
			{"three, then another", both, "[4 28 52]", 76, state.Waiting},
			{"one, and nobody else", once, "[4]", 0, state.Waiting},
			{"decided between two", decided, "[4 5]", 0, state.Completed},
		} {
			reminded, escalated := remindersOf(t, w, row.id)
			if got := fmt.Sprint(reminded); got != row.reminded || escalated != row.escalated {
				t.Errorf("%s: reminded after %s seconds, escalated after %d; want %s and %d", row.name, got, escalated, row.reminded, row.escalated)
			}
			if i := w.get(row.id); i.Status() != row.status || i.Head.RemindMs != 0 {
				t.Errorf("%s: it is %s, the next reminder at %d; want %s and none", row.name, i.Status(), i.Head.RemindMs, row.status)
			}
		}
	})
}

// What came due while the process was down is one reminder, and the next is an interval
// after it. The deadline ends a task as it ends anything.
func TestRemindersOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		id := w.ask(&wire.Reminders{AfterMs: 60_000, Most: 100})
		e := envelope()
		e.HumanTask = []byte("{}")
		got, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: e, Deadline: time.Now().Add(48*time.Hour + 2*time.Minute)}})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(48 * time.Hour)
		w.open(journal.Options{})
		time.Sleep(90 * time.Second)
		if reminded, _ := remindersOf(t, w, id); fmt.Sprint(reminded) != "[172800 172860]" {
			t.Errorf("reminded after %v seconds, want once at the start, and a minute later", reminded)
		}
		if s := w.get(got[0].ID).Status(); s != state.Waiting {
			t.Errorf("before its deadline the other is %s, want WAITING", s)
		}
		time.Sleep(time.Minute)
		if s := w.get(got[0].ID).Status(); s != state.TimedOut {
			t.Errorf("after its deadline it is %s, want TIMED_OUT", s)
		}
	})
}

// A task without any limit of time is counted among what has not ended, and no more once
// it has.
func TestTasksAreOpen(t *testing.T) {
	t.Parallel()
	w := setup(t)
	open := func() int {
		for _, b := range w.j.Backlogs() {
			if b.Name == journal.BacklogOpen {
				return b.Count
			}
		}
		return 0
	}
	id := w.ask(nil)
	if n := open(); n != 1 {
		t.Errorf("%d are open, want the one", n)
	}
	w.reopen()
	if n := open(); n != 1 {
		t.Errorf("%d are open after a restart, want the one", n)
	}
	if _, err := w.j.Answer(t.Context(), id, journal.Answer{Trigger: state.Complete, Body: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	if n := open(); n != 0 {
		t.Errorf("%d are open after the decision, want none", n)
	}
	w.whole()
}

// The successor of a task is in the inboxes that the task named, and not where that was
// escalated or passed on to.
func TestRedrivenTaskIsWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		e := envelope()
		e.HumanTask, e.Reminders = []byte(`{"title":"?"}`), &wire.Reminders{AfterMs: 1_000, EscalateTo: "boss"}
		got, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: e, Asked: []string{"ann", "zoe"}, Deadline: time.Now().Add(10 * time.Second)}})
		if err != nil || got[0].Err != nil {
			t.Fatal(err, got)
		}
		act := journal.ThreadAct{Verb: journal.ThreadDelegate, Actor: "ann", DelegateTo: "tom"}
		if _, err := w.j.ActOnThread(t.Context(), got[0].ID, act); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		next := w.redrive(journal.Redrive{ID: got[0].ID})
		for owner, want := range map[string]bool{"ann": true, "zoe": true, "boss": false, "tom": false} {
			ids, _ := w.changed(owner, 0)
			if has := slices.Contains(ids, next); has != want || !slices.Contains(ids, got[0].ID) {
				t.Errorf("%s has %v: of the successor, %t, want %t", owner, ids, has, want)
			}
		}
		w.whole()
	})
}
