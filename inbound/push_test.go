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
