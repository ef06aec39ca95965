package inbound_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pannier/inbound"
	"pannier/journal"
	"pannier/journal/state"
)

// pushing is a push of n intents of our own home, all of them taken.
func pushing(t *testing.T, o inbound.Options, n int) (*world, *inbound.Push, []journal.ID) {
	t.Helper()
	w := setup(t, o)
	p := w.m.OpenPush(agent)
	t.Cleanup(p.Close)
	ids := w.accept(n)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	asked := make(chan []journal.Handed)
	go func() { // asks for all of them, so that so many may come
		got, err := p.Next(ctx, n)
		if err != nil {
			t.Error(err)
		}
		asked <- got
	}()
	taken := 0
	until(t, "all are in the mailbox", func() bool { taken += w.take(n); return taken == n })
	for _, h := range <-asked {
		p.Unsent(h.ID)
	}
	return w, p, ids
}

func next(t *testing.T, p *inbound.Push, limit int) []journal.Handed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	got, err := p.Next(ctx, limit)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func came(c journal.Came, list ...journal.Handed) (out []journal.Pushed) {
	for _, h := range list {
		out = append(out, journal.Pushed{ID: h.ID, Attempt: h.Attempt, Came: c, Delay: -1})
	}
	return out
}

func TestPushHandsOverOnceWithoutALease(t *testing.T) {
	t.Parallel()
	w, p, ids := pushing(t, fast(), 3)
	got := next(t, p, 10)
	if len(got) != 3 || got[0].ID != ids[0] || !got[0].Lease.IsZero() || got[0].Attempt != 1 {
		t.Fatalf("got %+v, want three in order, without leases", got)
	}
	if phase := state.Phase(w.get(ids[0]).Handover.Phase); phase != state.Ready {
		t.Errorf("while it is sent the journal says %s", phase)
	}
	if n := w.m.Leased(); n != 3 {
		t.Errorf("%d are under way, want 3", n)
	}
	if c := w.m.Why(ids[0]); len(c) != 1 || c[0].Cause != state.CauseSending {
		t.Errorf("why: %+v", c)
	}
	out, err := p.Answer(t.Context(), came(journal.Done, got...)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range out {
		if s.Err != nil || s.Status != state.Completed {
			t.Errorf("done: %+v", s)
		}
	}
	if n := w.m.Leased(); n != 0 {
		t.Errorf("%d are under way after their answers", n)
	}
}

func TestNobodyElseGetsWhatIsPushed(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	w.accept(1)
	waiting := make(chan error, 1)
	go func() {
		_, err := w.m.Pull(t.Context(), inbound.PullRequest{Agent: agent, Limit: 1, Wait: 10 * time.Second})
		waiting <- err
	}()
	until(t, "the poll waits", func() bool { return w.m.Window(agent) > 1 })
	p := w.m.OpenPush(agent)
	if err := <-waiting; !errors.Is(err, inbound.ErrPushed) {
		t.Errorf("the poll that waited: %v, want ErrPushed", err)
	}
	if _, err := w.m.Pull(t.Context(), inbound.PullRequest{Agent: agent, Limit: 1}); !errors.Is(err, inbound.ErrPushed) {
		t.Errorf("a poll: %v, want ErrPushed", err)
	}
	p.Close()
	w.ready(1)
	if w.take(1) != 1 || len(w.ready(1)) != 1 {
		t.Error("after the push a poll gets nothing")
	}
}

// What the app did not take is sent again, when its door lets it, and counts as
// no attempt.
func TestTurnedAwayIsNoAttempt(t *testing.T) {
	for why, least := range map[inbound.Shut]time.Duration{inbound.Unreachable: 0, inbound.Throttled: 7 * time.Second, inbound.Gone: 5 * time.Minute} {
		t.Run(why.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				o := inbound.DefaultOptions()
				o.ReleaseAfter = time.Hour
				w, p, ids := pushing(t, o, 2)
				got := next(t, p, 2)
				began := time.Now()
				for _, h := range got {
					p.TurnedAway(h.ID, why, least)
				}
				if d := w.m.Door(agent); d.Open || d.Reason != why.String() {
					t.Fatalf("door %+v, want shut: %s", d, why)
				}
				for round := range 3 {
					probe, err := p.Next(t.Context(), 2)
					if err != nil || len(probe) != 1 {
						t.Fatalf("round %d: %d intents, want one probe (%v)", round, len(probe), err)
					}
					if waited := time.Since(began); waited < least || waited > max(least, 30*time.Second)+time.Second {
						t.Errorf("round %d: the probe came after %v, asked for were %v", round, waited, least)
					}
					began = time.Now()
					p.TurnedAway(probe[0].ID, why, least)
				}
				probe, err := p.Next(t.Context(), 2)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := p.Answer(t.Context(), came(journal.Done, probe...)...); err != nil {
					t.Fatal(err)
				}
				if d := w.m.Door(agent); !d.Open {
					t.Errorf("door %+v after a success", d)
				}
				rest, err := p.Next(t.Context(), 2)
				if err != nil || len(rest) != 1 || rest[0].Attempt != 1 || rest[0].Redelivered {
					t.Errorf("the other one: %+v, want its first attempt (%v)", rest, err)
				}
				for _, id := range ids {
					if n := w.get(id).Handover.Attempts; n != 0 {
						t.Errorf("%d attempts counted of %s, want none", n, id)
					}
				}
			})
		})
	}
}

func TestPushIsCutOffAndGoesOn(t *testing.T) {
	t.Parallel()
	w, p, ids := pushing(t, fast(), 2)
	got := next(t, p, 2)
	if _, err := p.Answer(t.Context(), came(journal.Cut, got[0])...); err != nil {
		t.Fatal(err)
	}
	p.Unsent(got[1].ID)
	again := map[journal.ID]journal.Handed{}
	for len(again) < 2 {
		for _, h := range next(t, p, 2) {
			again[h.ID] = h
		}
	}
	if h := again[ids[0]]; h.Attempt != 2 || !h.Redelivered {
		t.Errorf("cut off: %+v, want it redelivered", h)
	}
	if h := again[ids[1]]; h.Attempt != 1 || h.Redelivered {
		t.Errorf("never sent: %+v, want its first attempt", h)
	}
	for _, id := range ids {
		if n := w.get(id).Handover.Attempts; n != 0 {
			t.Errorf("%d attempts counted, want none", n)
		}
	}
}

// takeOne is take of one, for another goroutine.
func takeOne(w *world) int {
	no, _ := w.j.AgentNo(agent)
	offers, _, err := w.j.Due(no, time.Now(), 1, func(journal.ID) bool { return false })
	if err != nil {
		return 0
	}
	results, err := w.m.Take(context.Background(), agent, offers)
	if err != nil || len(results) == 0 || results[0].Err != nil {
		return 0
	}
	return len(results)
}

// A push whose caller goes away takes nothing with it.
func TestPushThatIsNotFetchedIsNotLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := setup(t, fast())
		p := w.m.OpenPush(agent)
		defer p.Close()
		ids := w.accept(1)
		ctx, cancel := context.WithCancel(t.Context())
		fetched := make(chan []journal.Handed)
		go func() {
			got, _ := p.Next(ctx, 1)
			fetched <- got
		}()
		synctest.Wait()
		halted, goOn := w.halt()
		taking := make(chan int)
		go func() { taking <- takeOne(w) }()
		<-halted
		cancel()
		goOn()
		if n := <-taking; n != 1 {
			t.Errorf("took %d", n)
		}
		if got := <-fetched; len(got) == 0 {
			got = next(t, p, 1)
			if len(got) != 1 || got[0].ID != ids[0] {
				t.Errorf("after a caller that went away: %+v", got)
			}
		}
	})
}

func TestPushEndsWithADrain(t *testing.T) {
	t.Parallel()
	w, p, ids := pushing(t, fast(), 2)
	got := next(t, p, 1)
	w.m.Drain(t.Context())
	if phase := state.Phase(w.get(got[0].ID).Handover.Phase); phase != state.Ready {
		t.Errorf("what is with the app is %s, want it kept", phase)
	}
	if n := w.due(ids); n != 1 {
		t.Errorf("%d were given back, want the other one", n)
	}
	if _, err := p.Next(t.Context(), 1); !errors.Is(err, inbound.ErrDraining) {
		t.Errorf("next: %v, want ErrDraining", err)
	}
	if out, err := p.Answer(t.Context(), came(journal.Done, got...)...); err != nil || out[0].Err != nil {
		t.Errorf("its answer: %+v %v", out, err)
	}
}

// Another app is another door: what the former one asked for is not its word.
func TestSwitchedBindingHasADoorOfItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := inbound.DefaultOptions()
		w, p, _ := pushing(t, o, 3)
		p.TurnedAway(next(t, p, 1)[0].ID, inbound.Gone, 5*time.Minute)
		began := time.Now()
		other := w.m.OpenPush(agent)
		p.Close()
		if got := next(t, other, 3); len(got) != 3 || time.Since(began) > time.Second {
			t.Errorf("the other URL got %d after %v, want all at once", len(got), time.Since(began))
		}
		for _, id := range next2(w) {
			other.TurnedAway(id, inbound.Throttled, time.Hour)
		}
		began = time.Now()
		other.Close()
		if got := w.pull(3); len(got) == 0 || time.Since(began) > time.Second {
			t.Errorf("a poll after the push got %d after %v", len(got), time.Since(began))
		}
	})
}

// next2 are the intents that are with the app.
func next2(w *world) (ids []journal.ID) {
	entries, err := w.j.MailAll(1)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		ids = append(ids, e.ID)
	}
	return ids
}

// One that was turned away does not hold the others up: what hangs with the app is
// no reason not to probe, and the one that is never taken comes last.
func TestTurnedAwayDoesNotHoldUpTheOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, ids := pushing(t, inbound.DefaultOptions(), 17)
		hang := next(t, p, 3)
		poison := next(t, p, 1)[0]
		p.TurnedAway(poison.ID, inbound.Throttled, 0)
		began, tries := time.Now(), 0
		for done := 0; done < 8; {
			got, err := p.Next(t.Context(), 1)
			if err != nil || len(got) != 1 {
				t.Fatalf("%v %v", got, err)
			}
			if got[0].ID == poison.ID {
				tries++
				p.TurnedAway(poison.ID, inbound.Throttled, 0)
				continue
			}
			if _, err := p.Answer(t.Context(), came(journal.Done, got...)...); err != nil {
				t.Fatal(err)
			}
			done++
		}
		if took := time.Since(began); took > 5*time.Second || tries > 1 {
			t.Errorf("the others took %v, and the one that is not taken was tried %d times meanwhile", took, tries)
		}
		for more := range 4 { // beside the three of before, and behind the one that comes last
			got := next(t, p, 1)
			if len(got) != 1 || got[0].ID == poison.ID {
				t.Fatalf("with %d at work since the door opened came %v, want another one", more, got)
			}
			hang = append(hang, got...)
		}
		if _, err := p.Answer(t.Context(), came(journal.Done, hang...)...); err != nil {
			t.Fatal(err)
		}
		if n := w.get(ids[0]).Handover.Attempts; n != 0 {
			t.Errorf("%d attempts", n)
		}
	})
}

// The door shuts while the mailbox is looked through, and the time of its probe has passed
// before that is done: it is probed all the same.
func TestDoorThatShutsDuringALook(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := inbound.DefaultOptions()
		o.ReleaseAfter, o.ProbeMin, o.ProbeMax = time.Hour, time.Millisecond, 5*time.Millisecond
		w, p, _ := pushing(t, o, 1)
		first := next(t, p, 1)[0]
		probe := make(chan []journal.Handed, 1)
		go func() {
			got, _ := p.Next(t.Context(), 1)
			probe <- got
		}()
		synctest.Wait()
		w.m.TurnAround(t.Context(), agent, func() {
			p.TurnedAway(first.ID, inbound.Throttled, 0)
			time.Sleep(2 * o.ProbeMax)
		})
		synctest.Wait() // any longer, and the sweep might come by
		select {
		case got := <-probe:
			if len(got) != 1 || got[0].ID != first.ID {
				t.Fatalf("%v came, want the one that was turned away", got)
			}
		default:
			t.Fatal("nothing probes the door")
		}
		if _, err := p.Answer(t.Context(), came(journal.Done, first)...); err != nil {
			t.Fatal(err)
		}
	})
}

// Acknowledged, then silent: a failed attempt, but not behind a shut door.
func TestSilenceAfterAnAcknowledgement(t *testing.T) {
	for _, shut := range []bool{false, true} {
		bubbleRun(t, shut, func(t *testing.T) {
			o := inbound.DefaultOptions()
			o.ReleaseAfter = 24 * time.Hour
			w, p, _ := pushing(t, o, 2)
			got := next(t, p, 2)
			if _, err := p.Answer(t.Context(), came(journal.Taken, got[0])...); err != nil {
				t.Fatal(err)
			}
			want := uint32(1)
			if shut {
				p.TurnedAway(got[1].ID, inbound.Throttled, 3*time.Hour)
				want = 0
			}
			time.Sleep(time.Hour + time.Minute)
			synctest.Wait()
			if h := w.get(got[0].ID).Handover; state.Phase(h.Phase) != state.Ready || h.Attempts != want {
				t.Errorf("%s with %d attempts, want ready with %d", state.Phase(h.Phase), h.Attempts, want)
			}
			if !shut {
				if _, err := p.Answer(t.Context(), came(journal.Done, got[1])...); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func bubbleRun(t *testing.T, shut bool, f func(t *testing.T)) {
	t.Run(map[bool]string{false: "open", true: "shut"}[shut], func(t *testing.T) { bubble(t, f) })
}

// A lease ends in its last millisecond whenever that is looked at.
func TestExtendedLeaseEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := fast()
		o.NoReaderAfter = time.Hour
		w := setup(t, o)
		ids := w.accept(1)
		w.ready(1)
		w.take(1)
		got := w.pull(1)
		time.Sleep(300 * time.Microsecond)
		if _, err := w.m.Settle(t.Context(), []journal.Settle{{ID: got[0].ID, Lease: got[0].Lease, Action: journal.Extend, For: 200 * time.Millisecond}}); err != nil {
			t.Fatal(err)
		}
		again, err := w.m.Pull(t.Context(), inbound.PullRequest{Agent: agent, Limit: 1, Wait: 10 * time.Second})
		if err != nil || len(again) != 1 || w.get(ids[0]).Handover.Attempts != 1 {
			t.Errorf("after its end: %+v, want it handed over again (%v)", again, err)
		}
	})
}

// A stream that can carry no more is a reader still.
func TestFullStreamIsAReader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := setup(t, fast())
		s, _ := w.reader(0)
		w.carry(s, 64)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if got, err := s.Next(t.Context(), time.Minute); len(got) > 0 || err != nil {
				t.Errorf("a full stream got %v %v", got, err)
			}
		}()
		time.Sleep(50 * time.Second)
		if d := w.m.Door(agent); !d.Open {
			t.Errorf("door %+v under an open stream", d)
		}
		<-ended
	})
}

// What an app says that another has taken over from is no word of that one's, and
// what it turned away goes to the other.
func TestAnswersOfAFormerApp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, ids := pushing(t, inbound.DefaultOptions(), 14)
		got := next(t, p, 7)
		other := w.m.OpenPush(agent)
		p.Close()
		out, err := p.Answer(t.Context(), came(journal.Failed, got[:6]...)...)
		if err != nil || out[0].Err != nil {
			t.Fatal(err, out)
		}
		p.TurnedAway(got[6].ID, inbound.Gone, time.Hour)
		if d := w.m.Door(agent); !d.Open {
			t.Errorf("door %+v of an app that was sent nothing", d)
		}
		if n := w.get(ids[0]).Handover.Attempts; n != 1 {
			t.Errorf("%d attempts, want 1: the former app received it and failed", n)
		}
		began := time.Now()
		sent := map[journal.ID]bool{}
		for tries := 0; len(sent) < 8 && tries < 20; tries++ {
			for _, h := range next(t, other, 14) {
				sent[h.ID] = true
				other.Unsent(h.ID)
			}
		}
		if !sent[got[6].ID] || time.Since(began) > time.Second {
			t.Errorf("what the former app turned away: sent %v, after %v; want it at once", sent[got[6].ID], time.Since(began))
		}
	})
}

// An app may resolve an intent while it handles it, and then say that all is well:
// that is a success like any other, and until it has answered nobody else gets it.
func TestResolvedBeforeItIsAnswered(t *testing.T) {
	for why, least := range map[inbound.Shut]time.Duration{inbound.Unreachable: 0, inbound.Throttled: time.Second} {
		t.Run(why.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				o := inbound.DefaultOptions()
				o.ReleaseAfter = time.Hour
				w, p, _ := pushing(t, o, 3)
				p.TurnedAway(next(t, p, 1)[0].ID, why, least)
				probe := next(t, p, 3)
				w.say(probe[0].ID, state.Complete)
				if n := w.m.Leased(); n != 1 {
					t.Errorf("%d are with the app, whose answer is awaited; want 1", n)
				}
				out, err := p.Answer(t.Context(), came(journal.Done, probe...)...)
				var ended *journal.EndedError
				if err != nil || !errors.As(out[0].Err, &ended) {
					t.Fatalf("the answer: %v %+v, want that it has ended", err, out)
				}
				if d := w.m.Door(agent); !d.Open {
					t.Errorf("door %+v, want open", d)
				}
				if n := w.m.Leased(); n != 0 {
					t.Errorf("%d are with the app", n)
				}
			})
		})
	}
}

// What an app has acknowledged is its own list, and that has an end too.
func TestAcknowledgedIsBounded(t *testing.T) {
	t.Parallel()
	o := fast()
	o.MaxOpen = 3
	w := setup(t, o)
	p := w.m.OpenPush(agent)
	t.Cleanup(p.Close)
	w.accept(6)
	var got []journal.Handed
	for len(got) < 3 {
		w.take(6)
		list := next(t, p, 6)
		if _, err := p.Answer(t.Context(), came(journal.Taken, list...)...); err != nil {
			t.Fatal(err)
		}
		got = append(got, list...)
	}
	if n := w.m.Window(agent); n != 0 || w.take(6) != 0 {
		t.Errorf("room for %d beside three that are worked on, want none", n)
	}
	w.say(got[0].ID, state.Complete)
	until(t, "there is room for one", func() bool { return w.m.Window(agent) == 1 })

	w.stop()
	w.start()
	if got := w.ready(6); len(got) != 0 { // and the counts are rebuilt
		t.Errorf("what is worked on was handed over again: %+v", got)
	}
	if n := w.m.Window(agent); n != 1 {
		t.Errorf("room for %d after a restart, want 1", n)
	}
	if n := w.m.Leased(); n != 0 {
		t.Errorf("%d are with the app after a restart: what it acknowledged it has answered", n)
	}
}

// An app that acknowledged and fell silent says nothing of the one that took over.
func TestSilenceOfAFormerApp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, ids := pushing(t, inbound.DefaultOptions(), 7)
		got := next(t, p, 7)
		if _, err := p.Answer(t.Context(), came(journal.Taken, got...)...); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		other := w.m.OpenPush(agent)
		defer other.Close()
		p.Close()
		time.Sleep(2 * time.Hour)
		if n := w.get(ids[0]).Handover.Attempts; n != 1 {
			t.Fatalf("%d attempts, want 1: acknowledged, then silent", n)
		}
		if got := next(t, other, 7); len(got) != 7 {
			t.Errorf("the app that was sent nothing yet is sent %d, want 7 (door %+v)", len(got), w.m.Door(agent))
		}
	})
}

// What was handed over behind a shut door is no attempt, however many apps have come
// and gone before it fails.
func TestProbeOfAFormerAppIsNoAttempt(t *testing.T) {
	t.Parallel()
	o := fast()
	o.ReleaseAfter = time.Hour
	w, p, ids := pushing(t, o, 1)
	p.TurnedAway(next(t, p, 1)[0].ID, inbound.Throttled, 0)
	probe := next(t, p, 1)
	for range 2 {
		other := w.m.OpenPush(agent)
		t.Cleanup(other.Close)
	}
	if _, err := p.Answer(t.Context(), came(journal.Failed, probe...)...); err != nil {
		t.Fatal(err)
	}
	if n := w.get(ids[0]).Handover.Attempts; n != 0 {
		t.Errorf("%d attempts, want none", n)
	}
}

// A door that its app has shut for good opens on the word of somebody who has looked,
// and what is out of time waits for no door.
func TestSomebodyHasLooked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, ids := pushing(t, inbound.DefaultOptions(), 1)
		p.TurnedAway(next(t, p, 1)[0].ID, inbound.Gone, 5*time.Minute)
		if c := w.m.Why(ids[0]); len(c) != 1 || c[0].Cause != state.CauseAppGone {
			t.Errorf("why: %+v, want that the app is gone", c)
		}
		began := time.Now()
		w.m.LookAgain(agent)
		if got := next(t, p, 1); len(got) != 1 || time.Since(began) > time.Second {
			t.Errorf("sent %d after %v, want it at once", len(got), time.Since(began))
		}
	})
}
