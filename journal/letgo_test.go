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

// noRoom is a history that there is no room for.
var noRoom = journal.Options{History: journal.History{HistoryBytes: 1}}

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

// TestHistoryOfABusyHour: more than a slice goes at once, not one a minute: of what is old, and for
// want of room.
func TestHistoryOfABusyHour(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		o     journal.Options
		sleep time.Duration
	}{
		"old":     {brief, 3*time.Minute + 10*time.Second}, // the clock has held for two, and it is looked once a minute
		"no room": {noRoom, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := setup(t)
				w.cancelMany(w.acceptMany(2*journal.HistorySlice+10, "")...)
				if err := w.j.Close(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour)
				w.open(row.o)
				time.Sleep(row.sleep)
				if n := w.j.Count('r') + w.j.Count('H'); n != 0 {
					t.Errorf("%d are left", n)
				}
				w.whole()
			})
		})
	}
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
		w.later(time.Minute, noRoom) // of these ids are left
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
		w.open(journal.WithWall(noRoom, fast))
		time.Sleep(20 * time.Second)
		w.wantBody(last[0], "gone")
		w.whole()
	})
}

// TestRoomOnceItMayGo: what must stay where there is no room is asked about again while the
// journal runs.
func TestRoomOnceItMayGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, dir: t.TempDir()}
		w.open(noRoom)
		home := journal.Identity{Journal: journal.NewID(), Epoch: 1}
		r := w.holdMany(home, 1, time.Hour)[0]
		if s := w.settle(journal.Settle{ID: r.ID, Lease: r.Handed.Lease, Action: journal.Ack}); s.Err != nil {
			t.Fatal(s.Err)
		}
		time.Sleep(time.Minute)
		w.wantBody(r.ID, "whole") // home has not heard of it
		if err := w.j.AckReports(t.Context(), home.Journal, 1<<20, []journal.Acked{{ID: r.ID, Status: state.Completed}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		w.wantBody(r.ID, "bare")
		w.whole()
	})
}

// TestRecordDecidesWhatGoes: whatever an entry of the history says, what is open and what is a dead
// letter stays, whoever is home of it, and so does what ended since.
func TestRecordDecidesWhatGoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := setupPair(t)
		dead := p.die()
		done := p.home.done(10)
		lately := p.holder.finishMany(journal.Identity{Journal: journal.NewID(), Epoch: 1}, 1)[0]
		held := p.home.accept()
		if _, err := p.offer(time.Minute); err != nil {
			t.Fatal(err)
		}
		due, task := p.home.accept(), p.home.ask(nil)
		for _, w := range []*world{p.home, p.holder} {
			for _, id := range []journal.ID{dead, done, lately, held, due, task} {
				for _, class := range []byte("rH") {
					for _, ended := range []time.Time{time.Now().Add(-30 * 24 * time.Hour), time.UnixMilli(0)} {
						if err := w.j.Plant(journal.KeyOfHistory(class, ended, id)); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			d, err := w.j.DeadLetter(dead)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.j.Plant(journal.KeyOfHistory('r', d.At, dead)); err != nil {
				t.Fatal(err)
			}
			w.letGo()
			w.wantDead(journal.DeadFilter{}, dead)
			w.wantBody(held, "whole")
			if n := w.j.Count('r') + w.j.Count('H'); n != 2 {
				t.Errorf("there are %d entries of what has ended, want one of what has, and that of the dead letter", n)
			}
		}
		for _, id := range []journal.ID{done, due, task} {
			p.home.wantBody(id, "whole")
		}
		p.holder.wantBody(lately, "whole")
		if _, err := p.home.j.Thread(task); err != nil {
			t.Error(err)
		}
		p.home.j.Close()
		p.holder.j.Close()
		time.Sleep(25 * time.Hour)
		for _, w := range []*world{p.home, p.holder} {
			w.open(journal.Options{})
			w.letGo()
			w.wantDead(journal.DeadFilter{}, dead)
			w.whole()
		}
	})
}

// TestHistoryOfRevoked: what home has taken back from a holder has no answer that home could
// hear of.
func TestHistoryOfRevoked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		home := journal.Identity{Journal: journal.NewID(), Epoch: 1}
		id := w.holdMany(home, 1, 0)[0].ID
		if err := w.j.Revoke(t.Context(), home.Journal, []journal.Verdict{{ID: id, OfferNo: 2}}); err != nil {
			t.Fatal(err)
		}
		w.later(time.Hour, noRoom)
		w.wantBody(id, "bare")
		if out := w.get(id).Outcome; out != nil {
			t.Errorf("its outcome is %v", out)
		}
		w.later(24*time.Hour, noRoom)
		w.wantNothing()
	})
}

// TestHistoryOfAPurgedAnswer: of what our app has finished after home gave it up is left, purged,
// what it was for as long as any history, and then nothing.
func TestHistoryOfAPurgedAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		home := journal.Identity{Journal: journal.NewID(), Epoch: 1}
		r := w.holdMany(home, 1, time.Hour)[0]
		w.settle(journal.Settle{ID: r.ID, Lease: r.Handed.Lease, Action: journal.Ack})
		events := []*wire.Event{{Type: uint32(state.EventTimedOut), Reason: uint32(state.ReasonDeadline)}}
		if err := w.j.AckReports(t.Context(), home.Journal, 1<<20, []journal.Acked{{ID: r.ID, Status: state.TimedOut, Events: events}}); err != nil {
			t.Fatal(err)
		}
		w.wantDead(journal.DeadFilter{}, r.ID)
		w.letGo()
		if s := w.j.Stats(); s.History != 0 {
			t.Errorf("with a dead letter alone the history takes %d bytes", s.History)
		}
		if errs, err := w.j.Purge(t.Context(), []journal.ID{r.ID}, "ann"); err != nil || errs[0] != nil {
			t.Fatal(err, errs)
		}
		w.later(8*24*time.Hour, journal.Options{})
		if n := w.j.Count('h') + w.j.Count('y'); n != 0 {
			t.Errorf("%d records of it are left", n)
		}
		w.whole()
	})
}

// TestHistoryOfACompletion: a completion goes with its own time, and leaves the thread of what it
// tells of.
func TestHistoryOfACompletion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		e := envelope()
		e.ReplyTo, e.HumanTask = desk, []byte(`{"title":"?"}`)
		got, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: e, Deadline: time.Now().Add(time.Second)}})
		if err != nil || got[0].Err != nil {
			t.Fatal(err, got)
		}
		time.Sleep(2 * time.Second)
		id := got[0].ID
		w.wantDead(journal.DeadFilter{}, id)
		if res, err := w.j.HoldLocal(t.Context(), w.completions(), []journal.Terms{{Thread: true}}); err != nil || res[0].Err != nil {
			t.Fatal(err, res)
		}
		w.later(8*24*time.Hour, journal.Options{})
		w.wantBody(journal.CompletionID(id), "gone")
		if _, err := w.j.Thread(id); err != nil {
			t.Errorf("the thread of a dead letter: %v", err)
		}
		w.whole()
	})
}

// TestHistoryOfAPartThatWaited: what was for an intent that was open goes when that has ended,
// while the journal runs.
func TestHistoryOfAPartThatWaited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, dir: t.TempDir()}
		w.open(journal.Options{History: journal.History{HistoryBodies: time.Minute, HistoryFor: time.Minute}})
		parent := w.gated(journal.Accept{}, part(1, false, "ann"), part(2, false, "bob"))
		if err := w.decide(parent, 0, true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		w.wantBody(journal.PartID(parent, 0), "whole")
		if err := w.decide(parent, 1, false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		w.wantNothing()
	})
}

// TestHistoryOfWhatCannotBeRead: what has ended goes in its time, though a body of it cannot be read.
func TestHistoryOfWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, class := range []byte("va") { // the envelope, the outcome
		for _, damage := range []func(w *world, id journal.ID) error{
			func(w *world, id journal.ID) error { return w.j.Break(id, class) },
			func(w *world, id journal.ID) error { return w.j.Behind(cutOff(class, id)) },
		} {
			synctest.Test(t, func(t *testing.T) {
				w := setup(t)
				id := w.done(10)
				if err := damage(w, id); err != nil {
					t.Fatal(err)
				}
				w.later(25*time.Hour, journal.Options{})
				if i := w.get(id); i.Status() != state.Completed || !i.BodyGone() {
					t.Errorf("after a day it is %s, its body gone: %t", i.Status(), i.BodyGone())
				}
				w.later(7*24*time.Hour, journal.Options{})
				w.wantNothing()
			})
		}
	}
}

// TestWhatIsLeftHasItsWeight: what is kept of an intent without its bodies takes room, too.
func TestWhatIsLeftHasItsWeight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		ids := append(w.finishMany(journal.Identity{Journal: journal.NewID(), Epoch: 1}, 1), w.done(10))
		want := func(state string) {
			t.Helper()
			for _, id := range ids {
				w.wantBody(id, state)
			}
			if s := w.j.Stats(); s.History < 2<<10 {
				t.Errorf("%s two take %d bytes, want a KiB each at least", state, s.History)
			}
		}
		want("whole")
		w.later(23*time.Hour, journal.Options{History: journal.History{HistoryBodies: time.Hour, HistoryFor: 72 * time.Hour}})
		want("bare")
		w.whole()
	})
}

// TestSweepTakesSlices: however much there is to let go, of keys and events too, a slice is what
// is asked for at once.
func TestSweepTakesSlices(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		all := accepts(journal.HistorySlice + 10)
		for i := range all {
			all[i].Key = &journal.Key{Hash: [32]byte{byte(i), byte(i >> 8)}}
		}
		if _, err := w.j.Accept(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		w.later(25*time.Hour, journal.Options{})
		if n := w.j.Count('d') + w.j.Count('g'); n != 0 {
			t.Errorf("%d records of keys are left", n)
		}
		w.whole()
	})
}
