package journal_test

import (
	"testing"
	"testing/synctest"
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

// delayed accepts so many intents that are due later.
func (w *wrong) delayed(n int, by time.Duration) {
	w.Helper()
	in := make([]journal.Accept, n)
	for i := range in {
		in[i] = journal.Accept{Envelope: envelope(), DeliverAt: w.now().Add(by)}
	}
	if _, err := w.j.Accept(w.Context(), in); err != nil {
		w.Fatal(err)
	}
}

// believed waits until a clock that is right again is believed.
func (w *wrong) believed() {
	w.Helper()
	w.set(0, false)
	time.Sleep(2*time.Minute + 15*time.Second)
	if c := w.j.Stats().Clock; c.Paused {
		w.Fatalf("the clock is not believed: %+v", c)
	}
}

// handed hands over a new intent on some terms.
func (w *wrong) handed(terms journal.Terms) *journal.Handed {
	w.Helper()
	id := w.limited(90*24*time.Hour, 0)
	offers, _, err := w.j.DuePart(1, 1, w.now(), 10, func(other journal.ID) bool { return other != id })
	if err != nil {
		w.Fatal(err)
	}
	res, err := w.j.HoldLocal(w.Context(), offers, []journal.Terms{terms})
	if err != nil || len(res) != 1 || res[0].Err != nil {
		w.Fatalf("hold: %v, %+v", err, res)
	}
	return res[0].Handed
}

func (w *wrong) lapsed() int {
	w.Helper()
	mail, _, err := w.j.Mail(1, w.now(), 10, none)
	if err != nil {
		w.Fatal(err)
	}
	return len(mail)
}

// Once a clock that was years ahead is right, what it has put off comes when it would have: all
// of it, however much that is. What is with somebody, or waits for nothing, stays where it is, and
// what was put off by the clock as it is now is due when it was.
func TestComesBackWhereItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setupWrong(t, 0)
		const more = 501 // than one batch brings back
		w.delayed(1, 6*time.Minute)
		w.handed(journal.Terms{For: 6 * time.Minute})
		w.handed(journal.Terms{For: 72 * time.Hour})
		time.Sleep(10 * time.Second)
		w.set(10*year, false)
		w.delayed(more, 6*time.Minute)
		w.handed(journal.Terms{For: 20 * time.Minute})
		w.handed(journal.Terms{Inbox: true})
		waits := func() (latest time.Time) {
			t.Helper()
			mail, err := w.j.MailAll(1)
			if err != nil || len(mail) != 4 {
				t.Fatalf("%d are in the mailbox, %v, want 4", len(mail), err)
			}
			for _, m := range mail {
				if m.Due.After(latest) {
					latest = m.Due
				}
			}
			return latest
		}
		person := waits()
		w.believed()
		if got := waits(); !got.Equal(person) {
			t.Errorf("what waits for a person is due at %s, and was at %s", got, person)
		}
		for _, row := range []struct {
			passes      time.Duration
			due, lapsed int // of which nobody has read before
		}{{3 * time.Minute, 0, 0}, {45 * time.Second, 1, 1}, {2*time.Minute + 30*time.Second, more, 0}} {
			time.Sleep(row.passes)
			offers, _, err := w.j.Due(1, w.now(), 2*more, func(journal.ID) bool { return false })
			if lapsed := w.lapsed(); err != nil || len(offers) != row.due || lapsed != row.lapsed {
				t.Errorf("%d are due, %v, and %d leases have lapsed; want %d and %d", len(offers), err, lapsed, row.due, row.lapsed)
			}
		}
		w.whole()
	})
}

// What a clock that was years ahead has let an app have counts from when that clock is right:
// it may be worked on for so long, and no longer.
func TestWorkOfAWrongClockEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setupWrong(t, 10*year)
		terms := journal.Terms{For: time.Minute}
		started, later, extended := w.handed(terms), w.handed(terms), w.handed(terms)
		w.settle(journal.Settle{ID: later.ID, Lease: later.Lease, Action: journal.Nack, Delay: 30 * time.Hour})
		w.believed()
		w.say(started.ID, state.Start)
		w.say(later.ID, state.Start)
		w.settle(journal.Settle{ID: extended.ID, Lease: extended.Lease, Action: journal.Extend, For: 72 * time.Hour})
		for what, row := range map[string]struct {
			id   journal.ID
			most time.Duration
		}{
			"what was leased, and is worked on":  {started.ID, time.Hour},
			"what was to wait, and is worked on": {later.ID, time.Hour},
			"what is extended":                   {extended.ID, 24 * time.Hour},
		} {
			if _, until := w.hand(row.id); until.Sub(w.now()) > row.most {
				t.Errorf("%s has %s, want %s at most", what, until.Sub(w.now()), row.most)
			}
		}
		w.whole()
	})
}

// Who works while the clock is put ahead can go on doing so.
func TestWorkGoesOnThroughAJump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setupWrong(t, 0)
		h := w.handed(journal.Terms{For: time.Minute})
		w.set(10*year, false)
		for range 2 {
			time.Sleep(50 * time.Second)
			w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Extend, For: time.Minute})
		}
		if time.Sleep(50 * time.Second); w.lapsed() != 0 {
			t.Error("its lease has lapsed, though it was extended")
		}
		if time.Sleep(20 * time.Second); w.lapsed() != 1 {
			t.Error("its lease has not lapsed in its time")
		}
	})
}
