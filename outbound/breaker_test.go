package outbound_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pannier/outbound"
)

var errDown = errors.New("down")

func inBubble(t *testing.T, f func(t *testing.T, b outbound.Breaker)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { f(t, outbound.NewBreaker(outbound.DefaultOptions())) })
}

// trip makes it open by failures d apart.
func trip(t *testing.T, b outbound.Breaker, d time.Duration) {
	t.Helper()
	for range 5 {
		time.Sleep(d)
		done := b.Allow()
		if done == nil {
			t.Fatal("refused before it was open")
		}
		done(errDown)
	}
	if got := b.State(); got != "open" {
		t.Fatalf("after 5 failures %v apart it is %s", d, got)
	}
}

func TestBreakerTripsOnConsecutiveFailures(t *testing.T) {
	inBubble(t, func(t *testing.T, b outbound.Breaker) {
		trip(t, b, 0)
		if b.Allow() != nil {
			t.Error("a permit while open")
		}
		if got := time.Until(b.Until()); got != time.Second {
			t.Errorf("the first gate is %v, want 1s", got)
		}
	})
}

// Trap: outcomes older than gobreaker's interval are dropped, so that slow
// hangs of 10 s and more never trip a breaker whose interval is 10 s.
func TestBreakerTripsOnSlowHangs(t *testing.T) {
	inBubble(t, func(t *testing.T, b outbound.Breaker) {
		for n := 1; b.State() == "closed"; n++ {
			if n > 8 {
				t.Fatal("8 hangs of 10 s and still closed")
			}
			done := b.Allow()
			time.Sleep(10 * time.Second)
			done(errDown)
			time.Sleep(time.Second)
		}
	})
}

func TestBreakerTripsOnHalfFailing(t *testing.T) {
	inBubble(t, func(t *testing.T, b outbound.Breaker) {
		for i := range 19 {
			b.Allow()([]error{errDown, nil}[i%2])
		}
		if got := b.State(); got != "closed" {
			t.Fatalf("after 19 it is %s", got)
		}
		b.Allow()(errDown)
		if got := b.State(); got != "open" {
			t.Errorf("20 with half of them failed, and it is %s", got)
		}
	})
}

// Trap: an open breaker of gobreaker is open for one constant time.
func TestBreakerGateGrowsAndResets(t *testing.T) {
	inBubble(t, func(t *testing.T, b outbound.Breaker) {
		trip(t, b, 0)
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			if got := time.Until(b.Until()); got != want*time.Second {
				t.Fatalf("gate of %v, want %v", got, want*time.Second)
			}
			time.Sleep(want*time.Second + 1)
			b.Allow()(errDown)
		}
		time.Sleep(time.Until(b.Until()) + 1)
		b.Allow()(nil)
		if got := b.State(); got != "closed" {
			t.Fatalf("after a good probe it is %s", got)
		}
		trip(t, b, 0) // at once: it was not healthy for a minute
		if got := time.Until(b.Until()); got != time.Minute {
			t.Errorf("gate of %v after a short recovery, want 1m", got)
		}
		time.Sleep(time.Minute + 1)
		b.Allow()(nil)
		time.Sleep(time.Minute)
		trip(t, b, 0)
		if got := time.Until(b.Until()); got != time.Second {
			t.Errorf("gate of %v after a healthy minute, want 1s", got)
		}
	})
}

func TestBreakerHalfOpenIsOne(t *testing.T) {
	inBubble(t, func(t *testing.T, b outbound.Breaker) {
		trip(t, b, 0)
		time.Sleep(time.Second + 1)
		done := b.Allow()
		if done == nil {
			t.Fatal("no probe after the gate")
		}
		if b.Allow() != nil {
			t.Error("a second probe beside the first")
		}
		done(nil)
		done(errDown) // Trap: an outcome reported twice counts twice
		done(errDown)
		done(errDown)
		done(errDown)
		done(errDown)
		if got := b.State(); got != "closed" {
			t.Errorf("one probe reported several times left it %s", got)
		}
	})
}

// Trap: a probe that is never reported jams a half-open breaker for ever.
func TestBreakerLostProbe(t *testing.T) {
	inBubble(t, func(t *testing.T, b outbound.Breaker) {
		trip(t, b, 0)
		time.Sleep(time.Second + 1)
		lost := b.Allow()
		time.Sleep(19 * time.Second)
		if b.Allow() != nil {
			t.Fatal("the probe was given up before its deadline")
		}
		time.Sleep(2 * time.Second)
		if b.Allow() != nil || b.State() != "open" {
			t.Fatalf("a lost probe is a failed one; the state is %s", b.State())
		}
		time.Sleep(2*time.Second + 1)
		next := b.Allow()
		if next == nil {
			t.Fatal("jammed")
		}
		lost(nil) // too late: it says nothing about the present probe
		if got := b.State(); got != "half_open" {
			t.Errorf("the lost probe's late report made it %s", got)
		}
		next(nil)
		if got := b.State(); got != "closed" {
			t.Errorf("%s", got)
		}
	})
}

// Trap: our own stop is no failure of the peer.
func TestBreakerExcludes(t *testing.T) {
	inBubble(t, func(t *testing.T, b outbound.Breaker) {
		for range 50 {
			b.Allow()(outbound.ErrExcluded)
		}
		if got := b.State(); got != "closed" {
			t.Fatalf("own stops made it %s", got)
		}
		trip(t, b, 0)
		time.Sleep(time.Second + 1)
		b.Allow()(outbound.ErrExcluded)
		if b.Allow() == nil {
			t.Error("an excluded probe used up the half-open breaker")
		}
	})
}

// Trap: looking at the state turns it half-open.
func TestBreakerLookIsNoAct(t *testing.T) {
	inBubble(t, func(t *testing.T, b outbound.Breaker) {
		trip(t, b, 0)
		for range 10 {
			time.Sleep(300 * time.Millisecond)
			b.State()
		}
		done := b.Allow()
		done(errDown)
		if got := time.Until(b.Until()); got != 2*time.Second {
			t.Errorf("second gate of %v: looking moved it", got)
		}
	})
}

func TestBreakerLift(t *testing.T) {
	inBubble(t, func(t *testing.T, b outbound.Breaker) {
		trip(t, b, 0)
		time.Sleep(time.Millisecond)
		b.Lift()
		if b.Allow() == nil {
			t.Error("no probe though the peer has shown that it lives")
		}
	})
}

// Trap: gobreaker's settings are those it was made with. New terms count on from
// what was counted, and leave an open breaker open as long as it was told.
func TestBreakerTakesNewTerms(t *testing.T) {
	inBubble(t, func(t *testing.T, b outbound.Breaker) {
		fail := func(n int) {
			for range n {
				b.Allow()(errDown)
			}
		}
		longer := outbound.Policy{Breaker: outbound.BreakerPolicy{Interval: time.Hour}}
		fail(2)
		b.Allow()(nil)
		fail(3)
		late := b.Allow()
		b.Set(longer)
		if got := b.State(); got != "closed" {
			t.Fatalf("new terms made it %s", got)
		}
		late(errDown) // asked for under the former terms
		if got := b.State(); got != "closed" {
			t.Fatalf("four failures in a row of five made it %s", got)
		}
		time.Sleep(20 * time.Minute) // within the new interval, not the old
		fail(1)
		if got := b.State(); got != "open" {
			t.Fatalf("five failures in a row within an hour left it %s", got)
		}
		until := b.Until()
		b.Set(outbound.Policy{Breaker: outbound.BreakerPolicy{Interval: 10 * time.Minute, BaseEjection: time.Hour}})
		if got := b.Until(); !got.Equal(until) || b.State() != "open" {
			t.Errorf("%s until %v, want open until %v as before", b.State(), got, until)
		}
		time.Sleep(time.Until(until) + 1)
		b.Allow()(nil)
		fail(4)
		time.Sleep(11 * time.Minute) // they are too old for the terms it closed with
		fail(1)
		if got := b.State(); got != "closed" {
			t.Errorf("a failure 11 minutes after four others made it %s, want an interval of 10", got)
		}
	})
}

// An interval too short for as many failures as open it would never see them.
func TestBreakerIntervalHoldsWhatTripsIt(t *testing.T) {
	inBubble(t, func(t *testing.T, b outbound.Breaker) {
		b.Set(outbound.Policy{Breaker: outbound.BreakerPolicy{Interval: time.Second, Consecutive: 8}, PerTryTimeout: 20 * time.Second})
		for range 8 {
			time.Sleep(time.Second)
			done := b.Allow()
			time.Sleep(20 * time.Second)
			done(errDown)
		}
		if got := b.State(); got != "open" {
			t.Errorf("8 hangs of 20 s left it %s", got)
		}
	})
}
