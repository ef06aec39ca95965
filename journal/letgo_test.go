package journal_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// brief is a history of an hour.
var brief = journal.Options{History: journal.History{HistoryBodies: time.Hour, HistoryFor: time.Hour}}

// cancelMany ends what is open.
func (w *world) cancelMany(ids ...journal.ID) {
	w.Helper()
	if err := atOnce(len(ids), func(i int) error {
		_, err := w.j.Answer(w.Context(), ids[i], journal.Answer{Trigger: state.Cancel, Reason: state.ReasonCanceled})
		return err
	}); err != nil {
		w.Fatal(err)
	}
}

// finishMany holds intents of a home, has our app finish them, and says that home has heard it.
func (w *world) finishMany(home journal.Identity, n int) (ids []journal.ID) {
	w.Helper()
	var settles []journal.Settle
	for _, r := range w.holdMany(home, n, time.Hour) {
		ids = append(ids, r.ID)
		settles = append(settles, journal.Settle{ID: r.ID, Lease: r.Handed.Lease, Action: journal.Ack})
	}
	settled, err := w.j.Settle(w.Context(), settles)
	if err != nil {
		w.Fatal(err)
	}
	var heard []journal.Acked
	for i, s := range settled {
		if s.Err != nil {
			w.Fatal(s.Err)
		}
		heard = append(heard, journal.Acked{ID: ids[i], Status: state.Completed})
	}
	if err := w.j.AckReports(w.Context(), home.Journal, 1<<20, heard); err != nil {
		w.Fatal(err)
	}
	return ids
}

// TestNoticesGoWithTheirDeliveries: a webhook event stays while a delivery of it is left, and
// for as long as any history, however many there are.
func TestNoticesGoWithTheirDeliveries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, dir: t.TempDir()}
		w.open(brief)
		publish := func(deliveries int) (journal.ID, []journal.ID) {
			at := journal.IDAt(time.Now()) // a new one may be of the time of another bubble
			unique := journal.NewID()
			copy(at[6:], unique[6:])
			id, n, _, err := w.j.Publish(t.Context(), at, &wire.Notice{EventType: "e"}, accepts(deliveries), nil)
			if err != nil {
				t.Error(err)
				return id, nil
			}
			var of []journal.ID
			for _, d := range n.Deliveries {
				of = append(of, journal.ID(d))
			}
			return id, of
		}
		open, deliveries := publish(2)
		if err := atOnce(journal.HistorySlice, func(int) error { publish(1); return nil }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		alone, _ := publish(0)
		want := func(when string, id journal.ID, there bool) {
			t.Helper()
			if _, err := w.j.Notice(id); (err == nil) != there || err != nil && !errors.Is(err, journal.ErrNotFound) {
				t.Errorf("%s: %v, want it there: %v", when, err, there)
			}
		}
		w.later(59*time.Minute, brief)
		want("of nothing, after less than an hour", alone, true)
		w.later(2*time.Minute, brief)
		want("of nothing, after an hour", alone, false)
		want("with two deliveries", open, true)
		for n, d := range deliveries {
			w.cancelMany(d)
			w.later(2*time.Hour, brief)
			w.wantBody(d, "gone")
			want("with fewer deliveries", open, n == 0)
		}
		w.whole()
	})
}

func accepts(n int) []journal.Accept {
	all := make([]journal.Accept, n)
	for i := range all {
		all[i].Envelope = envelope()
	}
	return all
}

// TestHistoryOfABusyHour: more than a slice goes at once, not one a minute.
func TestHistoryOfABusyHour(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		w.cancelMany(w.acceptMany(2*journal.HistorySlice+10, "")...)
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		w.open(brief)
		time.Sleep(3*time.Minute + 10*time.Second) // the clock has held for two, and it is looked once a minute
		if n := w.j.Count('r') + w.j.Count('H'); n != 0 {
			t.Errorf("%d are left", n)
		}
		w.whole()
	})
}

// TestHistoryOfAHolderThatKeepsLittle: what is held for others stays a day, though no more than an
// hour of history is kept, and then goes.
func TestHistoryOfAHolderThatKeepsLittle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, dir: t.TempDir()}
		w.open(brief)
		id := w.finishMany(journal.Identity{Journal: journal.NewID(), Epoch: 1}, 1)[0]
		w.later(24*time.Hour-2*time.Minute, brief)
		w.wantBody(id, "bare")
		time.Sleep(4 * time.Minute)
		w.wantBody(id, "gone")
		w.whole()
	})
}

// TestRoomBehindWhatStays: where there is more than may be, what must stay keeps nothing else from
// being let go, however much of it there is.
func TestRoomBehindWhatStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		w.finishMany(journal.Identity{Journal: journal.NewID(), Epoch: 1}, 2*journal.HistorySlice)
		full := journal.Options{History: journal.History{HistoryBytes: 1}}
		w.later(time.Minute, full) // of these ids are left
		w.later(0, journal.Options{})
		last := w.acceptMany(1, "")
		w.cancelMany(last...)
		time.Sleep(2 * time.Second)
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		// By this clock minutes pass between two slices: what must stay is looked at again, each time.
		began := time.Now()
		fast := func() time.Time { return time.Now().Add(100 * time.Since(began)) }
		w.open(journal.WithWall(full, fast))
		time.Sleep(20 * time.Second)
		w.wantBody(last[0], "gone")
		w.whole()
	})
}
