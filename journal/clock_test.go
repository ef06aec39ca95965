package journal_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// wrong is a journal with a wall clock that can be put forward and back.
type wrong struct {
	*world
	ahead atomic.Int64
	heard atomic.Int64 // how often it was said how the clock stands
}

const year = 365 * 24 * time.Hour

func setupWrong(t *testing.T, ahead time.Duration) *wrong {
	t.Helper()
	w := &wrong{world: &world{T: t, dir: t.TempDir()}}
	w.ahead.Store(int64(ahead))
	w.start(journal.Options{})
	return w
}

func (w *wrong) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

func (w *wrong) start(o journal.Options) {
	w.Helper()
	o.Hooks.Clock = func(journal.Clock) { w.heard.Add(1) }
	w.open(journal.WithWall(o, w.now))
}

// set puts the clock forward or back, while the journal runs or while it does not.
func (w *wrong) set(ahead time.Duration, down bool) {
	w.Helper()
	if down {
		w.close()
	}
	w.ahead.Store(int64(ahead))
	if down {
		w.start(journal.Options{})
	}
}

func (w *wrong) close() {
	w.Helper()
	if err := w.j.Close(); err != nil {
		w.Fatal(err)
	}
}

// after lets time pass while the process is down: in a bubble days are cheap only then.
func (w *wrong) after(d time.Duration) {
	w.Helper()
	w.close()
	time.Sleep(d)
	w.start(journal.Options{})
}

// limited is an intent that is to be taken, or to end, within some time.
func (w *wrong) limited(by, deadline time.Duration) journal.ID {
	w.Helper()
	a := journal.Accept{Envelope: envelope(), DeliverBy: w.now().Add(by)}
	if deadline > 0 {
		a.Deadline = w.now().Add(deadline)
	}
	got, err := w.j.Accept(w.Context(), []journal.Accept{a})
	if err != nil || got[0].Err != nil {
		w.Fatal(err, got)
	}
	return got[0].ID
}

func (w *wrong) offers() []journal.Offer {
	w.Helper()
	offers, _, err := w.j.Due(1, w.now(), 10, func(journal.ID) bool { return false })
	if err != nil {
		w.Fatal(err)
	}
	return offers
}

// lease hands over the one that is due.
func (w *wrong) lease(d time.Duration, offers []journal.Offer) {
	w.Helper()
	res, err := w.j.HoldLocal(w.Context(), offers, []journal.Terms{{For: d}})
	if err != nil || len(res) != 1 || res[0].Err != nil || res[0].Handed == nil || res[0].Handed.Err != nil {
		w.Fatalf("handed over: %+v, %v", res, err)
	}
}

// expired is how many of some intents are out of time.
func (w *wrong) expired(ids ...journal.ID) (n int) {
	w.Helper()
	for _, id := range ids {
		if w.status(id) == state.TimedOut {
			n++
		}
	}
	return n
}

func (w *wrong) keyed() journal.Accepted {
	w.Helper()
	key := &journal.Key{Hash: [32]byte{1}, Fingerprint: [32]byte{1}}
	got, err := w.j.Accept(w.Context(), []journal.Accept{{Envelope: envelope(), Key: key}})
	if err != nil || got[0].Err != nil {
		w.Fatal(err, got)
	}
	return got[0]
}

// However the clock jumps, nothing has less time than it was given, no key is forgotten,
// and somebody hears of it. When the clock has held, or is right again, all goes on.
func TestNothingExpiresByAJump(t *testing.T) {
	for name, row := range map[string]struct {
		jump  time.Duration
		down  bool          // the clock is put forward or back while the process is down
		after time.Duration // when the clock goes on by itself; 0: not while it is wrong
	}{
		"an hour ahead":                        {jump: time.Hour, after: time.Hour},
		"an hour back":                         {jump: -time.Hour, after: 2 * time.Minute},
		"ten years ahead":                      {jump: 10 * year},
		"ten years back":                       {jump: -10 * year, after: 2 * time.Minute},
		"ten years ahead over a restart":       {jump: 10 * year, down: true},
		"an hour back over a restart":          {jump: -time.Hour, down: true, after: 2 * time.Minute},
		"ten years back over a restart":        {jump: -10 * year, down: true, after: 2 * time.Minute},
		"a leap of seconds is none":            {jump: 50 * time.Second},
		"nor is one over a restart":            {jump: -50 * time.Second, down: true},
		"a downtime of an hour is one no more": {jump: time.Hour, down: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := setupWrong(t, 0)
				soon, late := w.limited(90*time.Minute, 0), w.limited(48*time.Hour, 20*24*time.Hour)
				first := w.keyed()
				time.Sleep(3 * time.Minute)
				w.set(row.jump, row.down)
				time.Sleep(90 * time.Second)
				c := w.j.Stats().Clock
				if jumps := row.jump.Abs() > time.Minute && (row.jump != time.Hour || !row.down); c.Paused != jumps || jumps != (w.heard.Load() == 1) {
					t.Errorf("after the jump: %+v, said %d times", c, w.heard.Load())
				}
				if n := w.expired(soon, late); n != 0 {
					t.Errorf("%d have expired at once", n)
				}
				if again := w.keyed(); !again.Replayed || again.ID != first.ID {
					t.Errorf("the key has made %+v, want the first one again", again)
				}
				if row.after > 0 {
					time.Sleep(row.after - 90*time.Second - 10*time.Second)
					if !w.j.Stats().Clock.Paused {
						t.Error("it goes on before the clock has held")
					}
					time.Sleep(30 * time.Second)
					if c := w.j.Stats().Clock; c.Paused || w.heard.Load() != 2 {
						t.Errorf("it does not go on, said %d times: %+v", w.heard.Load(), c)
					}
				} else if c.Paused {
					w.after(24 * time.Hour)
					time.Sleep(time.Second) // in which the sweep comes by
					if n := w.expired(soon, late); n != 0 || !w.j.Stats().Clock.Paused {
						t.Errorf("%d have expired by a clock that is wrong: %+v", n, w.j.Stats().Clock)
					}
					w.set(0, row.down)
					time.Sleep(3 * time.Minute)
				}
				// Its 90 minutes are over by now, by any clock but one that is ten years behind.
				w.after(100*time.Minute + max(0, min(-row.jump, time.Hour)))
				time.Sleep(time.Second)
				if n := w.expired(soon); n != 1 && row.jump > -year {
					t.Errorf("what was to be taken in 90 minutes is %s", w.status(soon))
				}
				if n := w.expired(late); n != 0 {
					t.Error("what had days has expired")
				}
				w.whole()
			})
		})
	}
}

// How long we were down the machine knows: an hour is no downtime where it says minutes.
// One that has started anew knows nothing.
func TestDowntimeIsWhatTheMachineSays(t *testing.T) {
	for name, row := range map[string]struct {
		wall, up time.Duration // by which each goes on while we are down
		boot     string        // which it is then
		jumped   bool
	}{
		"an hour ahead":            {wall: time.Hour + 5*time.Minute, up: 5 * time.Minute, boot: "a", jumped: true},
		"an hour back":             {wall: -55 * time.Minute, up: 5 * time.Minute, boot: "a", jumped: true},
		"back, but not before":     {wall: 5 * time.Minute, up: time.Hour, boot: "a", jumped: true},
		"an hour of downtime":      {wall: time.Hour, up: time.Hour, boot: "a"},
		"two years of downtime":    {wall: 2 * year, up: 2 * year, boot: "a"},
		"another boot":             {wall: time.Hour, up: 0, boot: "b"},
		"another boot, far ahead":  {wall: 2 * year, up: 0, boot: "b", jumped: true},
		"a machine that tells not": {wall: time.Hour, up: 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began, boot, more := time.Now(), "a", time.Duration(0)
				machine := journal.Options{SinceBoot: func() (string, time.Duration) { return boot, time.Since(began) + more }}
				w := &wrong{world: &world{T: t, dir: t.TempDir()}}
				w.start(machine)
				id := w.limited(30*time.Minute, 0)
				time.Sleep(3 * time.Second)
				w.close()
				w.ahead.Store(int64(row.wall))
				boot, more = row.boot, row.up
				w.start(machine)
				time.Sleep(2 * time.Second)
				if c := w.j.Stats().Clock; c.Paused != row.jumped {
					t.Errorf("the clock: %+v", c)
				}
				if late := row.wall > 30*time.Minute && !row.jumped; (w.expired(id) == 1) != late {
					t.Errorf("what had half an hour is %s", w.status(id))
				}
				w.whole()
			})
		})
	}
}

// Who knows that the clock is right says so at a start.
func TestClockIsAcceptedAtAWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setupWrong(t, 0)
		id := w.limited(time.Hour, 0)
		w.set(10*year, true)
		if time.Sleep(5 * time.Minute); w.expired(id) != 0 {
			t.Fatal("it has expired")
		}
		w.close()
		w.start(journal.Options{AcceptClock: true})
		time.Sleep(time.Second)
		if c := w.j.Stats().Clock; w.expired(id) != 1 || c.Paused {
			t.Errorf("it is %s, and the clock %+v", w.status(id), c)
		}
	})
}

// While the clock is ahead, what is offered and handed over has the time that it had.
func TestWhatIsHandedOverHasItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setupWrong(t, 0)
		w.limited(time.Hour, 2*time.Hour)
		w.set(10*year, false)
		time.Sleep(10 * time.Minute)
		offers := w.offers()
		if len(offers) != 1 {
			t.Fatal(offers)
		}
		for what, left := range map[time.Duration]time.Duration{
			50 * time.Minute: offers[0].DeliverBy.Sub(w.now()), 110 * time.Minute: offers[0].Policy.Deadline.Sub(w.now()),
		} {
			if (left - what).Abs() > time.Second {
				t.Errorf("offered with %v left, want %v", left, what)
			}
		}
		w.lease(time.Minute, offers)
	})
}

// What a clock that was years ahead has put off comes when it would have come.
func TestWhatAWrongClockPutOffComesBack(t *testing.T) {
	for name, row := range map[string]struct {
		began time.Duration // how far it was ahead at the start
		down  bool          // it is set right while the process is down
		again bool          // the process starts again before that is believed
	}{"from the start": {10 * year, false, false}, "until a restart": {10 * year, true, false}, "since": {0, false, false}, "and a restart after": {0, false, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, down := setupWrong(t, row.began), row.down
				w.set(10*year, false)
				w.limited(48*time.Hour, 0)
				w.lease(10*time.Minute, w.offers())
				got, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: envelope(), DeliverAt: w.now().Add(10 * time.Minute)}})
				if err != nil || got[0].Err != nil {
					t.Fatal(got, err)
				}
				task := w.ask(&wire.Reminders{AfterMs: 600_000, Most: 1})
				often := w.schedule(&wire.Schedule{EveryMs: 600_000})
				time.Sleep(5 * time.Second)
				w.set(0, down)
				if row.again {
					time.Sleep(30 * time.Second)
					w.set(0, true)
				}
				time.Sleep(20 * time.Minute)
				if offers := w.offers(); !slices.ContainsFunc(offers, func(o journal.Offer) bool { return o.ID == got[0].ID }) {
					t.Errorf("offered are %v; want what was delayed by 10 minutes", offers)
				}
				if mail, _, err := w.j.Mail(1, w.now(), 10, func(journal.ID, time.Time) bool { return false }); err != nil || len(mail) != 1 {
					t.Errorf("%v has run out in the mailbox, %v; want the lease", mail, err)
				}
				if reminded, _ := remindersOf(t, w.world, task); len(reminded) != 1 {
					t.Errorf("reminded %v", reminded)
				}
				if s := w.j.Schedule(often); len(s.Runs) != 1 || len(s.Runs[0].Intent) == 0 {
					t.Errorf("the schedule has made %v, and is due at %s", s.Runs, time.UnixMilli(s.NextMs))
				}
				w.whole()
			})
		})
	}
}

// A schedule goes by a clock that has held. What an hour ahead passes over is missed; an
// hour back makes nothing again; and ten years ahead are no time at all.
func TestSchedulesWhenTheClockJumps(t *testing.T) {
	for _, row := range []struct {
		jump, stays time.Duration // and then it is right again; 0: it stays
		want        string
	}{
		{time.Hour, 0, "[10 20-70 80 90 100]"},
		{-time.Hour, 0, "[10]"},
		{10 * year, 0, "[10]"},
		{10 * year, 15 * time.Minute, "[10 20-30 40]"},
		{time.Hour, 90 * time.Second, "[10 20 30 40]"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := setupWrong(t, 0)
			id := w.schedule(&wire.Schedule{})
			time.Sleep(15 * time.Minute)
			w.set(row.jump, false)
			if row.stays > 0 {
				time.Sleep(row.stays)
				w.set(0, false)
			}
			time.Sleep(27*time.Minute - row.stays)
			if got := w.runsOf(id); got != row.want {
				t.Errorf("by %v for %v: %s, want %s", row.jump, row.stays, got, row.want)
			}
		})
	}
}

// A lease lasts as long as it was given for, however the clock jumps: one put forward ends
// none, and one put back, here by an hour, keeps a dead app's for two minutes at most.
func TestLeaseLastsByTheTimeThatPasses(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"forward": 3 * time.Hour, "years": 10 * year, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := setupWrong(t, 0)
				id := w.limited(48*time.Hour, 0)
				w.lease(10*time.Minute, w.offers())
				w.set(ahead, false)
				lapsed := func() bool {
					t.Helper()
					mail, next, err := w.j.Mail(1, w.now(), 10, func(journal.ID, time.Time) bool { return false })
					if err != nil || len(mail) == 0 && next.IsZero() {
						t.Fatalf("nothing is in the mailbox, and nothing comes: %v", err)
					}
					if len(mail) > 0 {
						if err := w.j.Lapse(t.Context(), []journal.ID{mail[0].ID}); err != nil {
							t.Fatal(err)
						}
					}
					return len(mail) > 0
				}
				time.Sleep(9 * time.Minute)
				if lapsed() {
					t.Error("it has lapsed before its time")
				}
				time.Sleep(4 * time.Minute)
				if !lapsed() {
					t.Error("it has not lapsed in its time")
				}
				// What is leased by the clock as it is has its own time.
				time.Sleep(time.Second)
				if got, err := w.j.Lease(t.Context(), []journal.ID{id}, []journal.Terms{{For: 10 * time.Minute}}); err != nil || got[0].Err != nil {
					t.Fatal(got, err)
				}
				time.Sleep(9 * time.Minute)
				if lapsed() {
					t.Error("the next one has lapsed before its time")
				}
				time.Sleep(2 * time.Minute)
				if !lapsed() {
					t.Error("the next one has not lapsed in its time")
				}
			})
		})
	}
}

// A clock that is put ahead by less than is called a jump ends nothing early, no lease and no
// limit of time; what begins after it has at most as much more than its own.
func TestLittleJumpEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setupWrong(t, 0)
		const little = 59 * time.Second
		w.limited(48*time.Hour, 0)
		w.lease(50*time.Second, w.offers())
		taken, ended := w.limited(40*time.Second, 0), w.limited(time.Hour, 50*time.Second)
		w.set(little, false)
		after := func(passes time.Duration, lapsed, out int, ids ...journal.ID) {
			t.Helper()
			time.Sleep(passes)
			synctest.Wait()
			if n := w.expired(ids...); n != out {
				t.Errorf("%d of %d are out of time, want %d", n, len(ids), out)
			}
			mail, _, err := w.j.Mail(1, w.now(), 10, none)
			if err != nil || len(mail) != lapsed {
				t.Errorf("%d leases have lapsed, %v, want %d", len(mail), err, lapsed)
			}
		}
		after(30*time.Second, 0, 0, taken, ended)
		if offers := w.offers(); len(offers) != 2 || offers[0].DeliverBy.Sub(w.now()) < 9*time.Second {
			t.Errorf("with 10 seconds left of 40 it is offered as %+v", offers)
		}
		after(13*time.Second, 0, 1, taken, ended)
		after(10*time.Second, 1, 2, taken, ended)
		late := w.limited(5*time.Second, 0)
		after(4*time.Second, 0, 0, late)
		after(little+3*time.Second, 0, 1, late)
		if w.heard.Load() != 0 || w.j.Stats().Clock.Paused {
			t.Error("it is called a jump")
		}
	})
}
