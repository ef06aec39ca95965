package outbound_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire/peer"
	"pannier/outbound"
)

// roomy is a holder that takes many intents of the agent.
func (w *world) roomy(address string) *fake {
	f := w.holder(address)
	f.set(func() { f.mu.credits[billing] = 20_000 })
	return f
}

func (w *world) wantWhy(id journal.ID, want ...string) {
	w.t.Helper()
	if got := causes(w.d.Why(id, billing, false)); !slices.Equal(got, want) {
		w.t.Errorf("why: %v, want %v", got, want)
	}
}

// untouched fails if anything was counted against an intent, or it has ended.
func (w *world) untouched(ids ...journal.ID) {
	w.t.Helper()
	for _, id := range ids {
		i, err := w.j.Get(id)
		if err != nil {
			w.t.Fatal(err)
		}
		if i.Status().Terminal() || i.Head.Attempts != 0 {
			w.t.Errorf("%v is %v after %d attempts", id, i.Status(), i.Head.Attempts)
		}
	}
}

// A paused destination is offered to nobody, our own mailbox included, and what is
// held goes on. Nothing is lost, and the end of the pause needs no time.
func TestPaused(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.roomy(addrA)
		w.peers.set(billing, addrA)
		first := w.accept(billing, 1)
		held := a.expect(1)
		a.hold(held...)
		w.peers.policy(billing, outbound.Policy{Paused: true})
		ids := w.accept(billing, 5)
		w.local.window.Store(10)
		w.local.serves.Store(true)
		w.d.LocalWindow(billing)
		w.after(time.Minute)
		if got := w.local.took.Load(); got != 0 {
			t.Errorf("our own mailbox took %d of a paused agent", got)
		}
		w.local.serves.Store(false)
		a.report(report(1, held[0], state.FactAnswered))
		if got := w.status(first[0]); got != state.Completed {
			t.Errorf("what was held is %v: the pause held it up", got)
		}
		w.after(time.Hour)
		a.expect(0)
		w.wantWhy(ids[0], "paused")
		w.untouched(ids...)
		dials := w.net.dialed(addrA)
		w.after(time.Hour)
		if got := w.net.dialed(addrA) - dials; got != 0 {
			t.Errorf("dialed %d times while paused and with nothing held", got)
		}
		before := time.Now()
		w.peers.policy(billing, outbound.Policy{})
		a.expect(5)
		if took := time.Since(before); took != 0 {
			t.Errorf("offered %v after the end of the pause", took)
		}
	})
}

// What is claimed and still waits to be written when the pause comes is not sent.
func TestPauseTakesBackWhatHasNotLeft(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.roomy(addrA)
		w.peers.set(billing, addrA)
		slow := outbound.Policy{Fault: outbound.Fault{Delay: 10 * time.Second, DelayPercent: 100}}
		w.peers.policy(billing, slow)
		ids := w.accept(billing, 3)
		w.after(5 * time.Second)
		w.wantWhy(ids[0], "fault_injected")
		w.peers.policy(billing, outbound.Policy{Paused: true})
		w.after(time.Minute)
		a.expect(0)
		if flights, _, _, bytes := w.d.InFlight(); flights+bytes != 0 {
			t.Errorf("%d flights and %d bytes while paused", flights, bytes)
		}
		w.peers.policy(billing, outbound.Policy{})
		a.expect(3)
	})
}

func TestMaxRequests(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.roomy(addrA)
		w.peers.set(billing, addrA)
		w.peers.policy(billing, outbound.Policy{MaxRequests: 3})
		ids := w.accept(billing, 20)
		got := a.expect(3)
		w.wantWhy(ids[19], "max_requests")
		a.hold(got[0])
		got = append(got[1:], a.expect(1)...)
		a.refuse(got[0], "busy", 1000) // an answer is an answer, but it asks for a pause
		w.after(999 * time.Millisecond)
		a.expect(0)
		w.after(time.Second)
		a.expect(1)
		w.peers.policy(billing, outbound.Policy{MaxRequests: 5})
		a.expect(2)
		w.peers.policy(billing, outbound.Policy{})
		a.expect(14)
	})
}

// An answer may take as long as the policy says, shorter or longer than the
// sidecar's own time, and frames of one stream have each their own.
func TestPerTryTimeout(t *testing.T) {
	const slow = "agent://acme/prod/slow"
	bubble(t, func(t *testing.T, w *world) {
		a := w.roomy(addrA)
		a.set(func() { a.mu.credits[slow] = 10 })
		w.peers.set(billing, addrA)
		w.peers.set(slow, addrA)
		w.peers.policy(billing, outbound.Policy{PerTryTimeout: 300 * time.Millisecond})
		w.peers.policy(slow, outbound.Policy{PerTryTimeout: time.Minute})
		w.accept(slow, 1)
		late := a.expect(1)
		w.after(50 * time.Second)
		if !a.connected() {
			t.Fatal("a stream was ended before the minute its only frame has")
		}
		w.accept(billing, 2)
		a.expect(2)
		w.after(299 * time.Millisecond)
		if !a.connected() {
			t.Error("ended before its time")
		}
		w.after(5 * time.Millisecond)
		if a.connected() {
			t.Error("nothing was answered for more than 300 ms, and the stream goes on")
		}
		w.untouched(offerID(late[0]))
	})
}

// How often an endpoint that cannot be reached is tried.
func TestBackoff(t *testing.T) {
	dials := func(name string, p outbound.Policy, least, most int) {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				p.Breaker.Consecutive = 1_000_000 // the breaker's gate is another thing
				w.peers.policy(billing, p)
				w.peers.set(billing, addrA)
				w.accept(billing, 1)
				w.after(time.Minute)
				if got := w.net.dialed(addrA); got < least || got > most {
					t.Errorf("%d dials in a minute, want %d to %d", got, least, most)
				}
			})
		})
	}
	dials("unsaid", outbound.Policy{}, 40, 110)
	dials("short", outbound.Policy{Backoff: outbound.Backoff{Base: 60 * time.Millisecond, Max: 100 * time.Millisecond}}, 600, 1200)
	dials("long", outbound.Policy{Backoff: outbound.Backoff{Base: 10 * time.Second, Max: time.Hour}}, 1, 15)
}

// A breaker opens after as many failures as the policy says, also where it says
// so only now, and stays open n times as long as it says.
func TestBreakerPolicy(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.peers.policy(billing, outbound.Policy{Breaker: outbound.BreakerPolicy{Consecutive: 50}})
		w.peers.set(billing, addrA)
		w.accept(billing, 1)
		w.after(20 * time.Second)
		if got := w.peer(addrA); got.Breaker != "closed" || w.net.dialed(addrA) < 10 {
			t.Fatalf("%s after %d of 50 failures", got.Breaker, w.net.dialed(addrA))
		}
		w.peers.policy(billing, outbound.Policy{Breaker: outbound.BreakerPolicy{Consecutive: 2, BaseEjection: time.Hour, MaxEjection: 2 * time.Hour}})
		w.after(2 * time.Second) // one more failure, and it has seen enough
		got := w.peer(addrA)
		if got.Breaker != "open" {
			t.Fatalf("%s though it has failed more often than the new policy allows: the counts are lost", got.Breaker)
		}
		before := w.net.dialed(addrA)
		w.after(57 * time.Minute)
		if n := w.net.dialed(addrA) - before; n != 0 {
			t.Errorf("dialed %d times in an ejection of an hour", n)
		}
		w.after(time.Hour)
		if n := w.net.dialed(addrA) - before; n != 1 {
			t.Errorf("dialed %d times between one and two hours, want 1: the second ejection is of two", n)
		}
	})
}

// No more of a destination's endpoints than its policy allows are left alone: the
// others are tried on.
func TestMaxEjectionPercent(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		all := []string{addrA, addrB, "c.test:7401", "d.test:7401", "e.test:7401"}
		w.peers.policy(billing, outbound.Policy{Breaker: outbound.BreakerPolicy{BaseEjection: 10 * time.Hour, MaxEjection: 10 * time.Hour, MaxEjectionPercent: 50}})
		w.peers.set(billing, all...)
		w.accept(billing, 10)
		w.after(5 * time.Minute)
		count := func() (open []string) {
			for _, a := range all {
				if w.peer(a).Breaker == "open" {
					open = append(open, a)
				}
			}
			return open
		}
		first := count()
		if len(first) != 2 {
			t.Fatalf("of 5 endpoints that are down the breakers of %v are open, want 2: half of them", first)
		}
		before := map[string]int{}
		for _, a := range all {
			before[a] = w.net.dialed(a)
		}
		w.after(time.Minute)
		for _, a := range all {
			n := w.net.dialed(a) - before[a]
			if left := slices.Contains(first, a); left && n != 0 || !left && n < 10 {
				t.Errorf("%s, open: %t, was dialed %d times in a minute", a, left, n)
			}
		}
		if again := count(); !slices.Equal(again, first) {
			t.Errorf("now %v are open, not %v: those that opened first stay", again, first)
		}
		// What comes back is found within moments, and one that answers is closed.
		up := all[slices.IndexFunc(all, func(a string) bool { return !slices.Contains(first, a) })]
		f := w.roomy(up)
		w.after(10 * time.Second)
		f.hold(f.expect(1)...)
		if got := w.peer(up).Breaker; got != "closed" {
			t.Errorf("the breaker of one that answered is %s", got)
		}
		f.expect(9)
	})
}

// The demands on one address are joined: the most careful one is in force, and it
// is so still when only another destination is due.
func TestDemandsOnOneAddress(t *testing.T) {
	const other = "agent://acme/prod/other"
	bubble(t, func(t *testing.T, w *world) {
		w.peers.policy(billing, outbound.Policy{Breaker: outbound.BreakerPolicy{Consecutive: 2, BaseEjection: time.Minute}})
		w.peers.policy(other, outbound.Policy{Breaker: outbound.BreakerPolicy{Consecutive: 4, BaseEjection: time.Hour}})
		w.peers.set(billing, addrA)
		w.peers.set(other, addrA)
		w.accept(billing, 1)
		w.accept(other, 1)
		w.after(10 * time.Second)
		if got := w.net.dialed(addrA); got != 2 {
			t.Errorf("%d dials before it opened, want 2", got)
		}
		if got := w.peer(addrA); got.NextTry == nil || time.Until(*got.NextTry) < 50*time.Minute {
			t.Errorf("the next try is at %v, want in an hour", got.NextTry)
		}
	})
}

// An aborted frame is a failure for the breaker and nothing else: no attempt, no
// end, nothing lost, and nothing at the holder.
func TestFaultAbort(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.roomy(addrA)
		w.peers.policy(billing, outbound.Policy{Fault: outbound.Fault{AbortPercent: 100}, Breaker: outbound.BreakerPolicy{BaseEjection: time.Hour}})
		w.peers.set(billing, addrA)
		ids := w.accept(billing, 10)
		w.wantWhy(ids[0], "fault_injected")
		w.after(time.Minute)
		if got := w.peer(addrA); got.Breaker != "open" || got.LastError == "" {
			t.Errorf("after a minute of aborted frames the breaker is %s, the last error %q", got.Breaker, got.LastError)
		}
		a.expect(0)
		w.untouched(ids...)
		if flights, _, _, bytes := w.d.InFlight(); flights+bytes != 0 {
			t.Errorf("%d flights, %d bytes", flights, bytes)
		}
		w.peers.policy(billing, outbound.Policy{})
		var probe []*peer.Offer
		for n := 0; len(probe) == 0; n++ {
			if n > 7200 {
				t.Fatal("not offered again")
			}
			w.after(time.Second)
			probe = a.offers()
		}
		if len(probe) != 1 {
			t.Fatalf("half-open, and %d were offered", len(probe))
		}
		a.hold(probe...)
		a.hold(a.expect(9)...)
	})
}

// Some frames of many: the others arrive, and all do in the end.
func TestFaultAbortSome(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.holder(addrA)
		a.set(func() { a.mu.credits[billing] = 1 }) // one intent a frame
		w.peers.policy(billing, outbound.Policy{Fault: outbound.Fault{AbortPercent: 30}, Breaker: outbound.BreakerPolicy{Consecutive: 1000}})
		w.peers.set(billing, addrA)
		ids := w.accept(billing, 200)
		seen := map[journal.ID]bool{}
		for n := uint64(1); len(seen) < len(ids); {
			o := a.offers()
			if len(o) == 0 {
				w.after(100 * time.Millisecond)
				continue
			}
			seen[offerID(o[0])] = true
			a.hold(o...)
			a.report(report(n, o[0], state.FactAnswered))
			n++
		}
		if got := w.net.dialed(addrA); got != 1 {
			t.Errorf("%d dials: an aborted frame ended the stream", got)
		}
	})
}

// A delayed frame leaves when its time has come, and what is more urgent than
// offers does not wait for it.
func TestFaultDelay(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.roomy(addrA)
		w.peers.set(billing, addrA)
		w.accept(billing, 1)
		held := a.expect(1)
		a.hold(held...)
		w.peers.policy(billing, outbound.Policy{Fault: outbound.Fault{Delay: 40 * time.Second, DelayPercent: 100}})
		ids := w.accept(billing, 2)
		w.wantWhy(ids[0], "fault_injected")
		w.after(39 * time.Second)
		a.acks()
		a.report(report(1, held[0], state.FactAnswered))
		if got := len(a.acks()); got == 0 {
			t.Error("a report-ack waits behind a delayed offer")
		}
		a.expect(0)
		w.after(time.Second)
		a.hold(a.expect(2)...)
	})
}

// What a delay holds back goes at once when the policy injects it no more.
func TestFaultDelayTakenBack(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.roomy(addrA)
		w.peers.set(billing, addrA)
		w.accept(billing, 1)
		a.hold(a.expect(1)...)
		w.peers.policy(billing, outbound.Policy{Fault: outbound.Fault{Delay: 10 * time.Minute, DelayPercent: 100}})
		ids := w.accept(billing, 2)
		w.wantWhy(ids[0], "fault_injected")
		w.peers.policy(billing, outbound.Policy{})
		w.after(time.Second)
		a.hold(a.expect(2)...)
		w.after(10 * time.Minute)
		a.expect(0)
	})
}

// What discovery calls draining or unhealthy gets nothing new, not even what was
// claimed for it; what it holds goes on; the others take the rest.
func TestHealth(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.roomy(addrA)
		w.peers.set(billing, addrA)
		first := w.accept(billing, 1)
		held := a.expect(1)
		a.hold(held...)
		w.peers.policy(billing, outbound.Policy{Fault: outbound.Fault{Delay: 10 * time.Second, DelayPercent: 100}})
		ids := w.accept(billing, 3)
		w.after(5 * time.Second)
		w.peers.zones(billing, outbound.Endpoint{Address: addrA, Health: outbound.Draining})
		w.peers.policy(billing, outbound.Policy{})
		w.after(time.Minute)
		a.expect(0)
		w.wantWhy(ids[0], "endpoint_draining")
		if !a.connected() {
			t.Error("the stream to a draining endpoint was closed though it holds something")
		}
		w.peers.zones(billing, outbound.Endpoint{Address: addrA, Health: outbound.Unhealthy})
		synctest.Wait()
		w.wantWhy(ids[0], "endpoint_unhealthy")
		b := w.roomy(addrB)
		w.peers.zones(billing, outbound.Endpoint{Address: addrA, Health: outbound.Draining}, outbound.Endpoint{Address: addrB})
		b.hold(b.expect(3)...)
		a.expect(0)
		a.report(report(1, held[0], state.FactAnswered))
		if got := w.status(first[0]); got != state.Completed {
			t.Errorf("what a draining endpoint answered is %v", got)
		}
	})
}

// An offer whose answer a draining endpoint owes, and does not list, goes
// elsewhere: it would not be sent there again.
func TestOwedByOneThatDrains(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.roomy(addrA), w.roomy(addrB)
		w.peers.set(billing, addrA)
		w.accept(billing, 1)
		a.expect(1)
		w.peers.zones(billing, outbound.Endpoint{Address: addrA, Health: outbound.Draining}, outbound.Endpoint{Address: addrB})
		w.after(time.Second)
		a.cut()
		w.after(10 * time.Second)
		a.expect(0)
		if got := b.expect(1); got[0].OfferNo != 2 {
			t.Errorf("offered elsewhere under number %d, want 2", got[0].OfferNo)
		}
	})
}

// The first priority takes everything while one of it works, however busy; the
// next takes over when none does, and gives it back.
func TestPriority(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.holder(addrA), w.roomy(addrB)
		a.set(func() { a.mu.credits[billing] = 2 })
		w.peers.zones(billing, outbound.Endpoint{Address: addrB, Priority: 1}, outbound.Endpoint{Address: addrA, Priority: 0})
		ids := w.accept(billing, 5)
		w.after(time.Second)
		got := a.expect(2)
		b.expect(0) // full is not failed
		w.wantWhy(ids[4], "no_credit", "standby")
		a.hold(got...)
		w.net.unplug(addrA)
		a.cut()
		b.hold(b.expect(3)...)
		w.plug(a)
		a.set(func() {
			a.mu.credits[billing] = 100
			a.mu.holdings = []*peer.Holding{holding(offerID(got[0]), 1), holding(offerID(got[1]), 1)}
		})
		w.after(2 * time.Minute)
		w.accept(billing, 5)
		w.after(5 * time.Second)
		a.hold(a.expect(5)...)
		b.expect(0)
	})
}

// One whose app is down gives back what it has: the next priority gets it.
func TestPriorityWhenTheDoorIsShut(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.holder(addrA), w.roomy(addrB)
		w.peers.zones(billing, outbound.Endpoint{Address: addrA}, outbound.Endpoint{Address: addrB, Priority: 3})
		w.accept(billing, 3)
		w.after(time.Second)
		o := a.expect(1)
		a.hold(o...)
		a.release(o...)
		w.after(time.Second)
		b.expect(3)
	})
}

// An operator's word opens a breaker until another, and ends the stream without
// blame; closing forgets what was counted.
func TestOperatorSetsABreaker(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.roomy(addrA)
		w.peers.set(billing, addrA)
		w.accept(billing, 1)
		a.hold(a.expect(1)...)
		if err := w.d.OpenBreaker(addrA); err != nil {
			t.Fatal(err)
		}
		ids := w.accept(billing, 2)
		w.after(5 * time.Minute)
		a.expect(0)
		w.wantWhy(ids[0], "breaker_open")
		if p := w.peer(addrA); a.connected() || p.Breaker != "open" || !p.BreakerForced || w.net.dialed(addrA) != 1 {
			t.Errorf("opened by an operator: %+v, %d dials", p, w.net.dialed(addrA))
		}
		if err := w.d.CloseBreaker(addrA); err != nil {
			t.Fatal(err)
		}
		// The one it held and does not list is missing, and comes again.
		a.expect(3)
		if err := w.d.OpenBreaker("nobody:1"); !errors.Is(err, outbound.ErrNoLink) {
			t.Errorf("an address nothing is sent to: %v", err)
		}
	})
}

// What operators see of an address: health and policy by agent, the breaker's
// terms.
func TestPeersShowPolicy(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.peers.policy(billing, outbound.Policy{MaxRequests: 4, PerTryTimeout: 2 * time.Second, Breaker: outbound.BreakerPolicy{Consecutive: 3, BaseEjection: time.Minute, MaxEjection: time.Hour}})
		w.peers.zones(billing, outbound.Endpoint{Address: addrA, Zone: "a", Priority: 1, Subset: "canary"})
		w.accept(billing, 1)
		w.after(time.Second)
		p := w.peer(addrA)
		if p.Opens.After != 3 || p.Opens.Least != "1m0s" || p.Opens.Most != "1h0m0s" {
			t.Errorf("the breaker's terms: %+v", p.Opens)
		}
		got, err := json.Marshal(p.Serves)
		want := `[{"agent":"agent://acme/prod/billing","health":"healthy","zone":"a","priority":1,"subset":"canary","policy":{"max_requests":4,"per_try_timeout":"2s","breaker":{"consecutive":3,"base_ejection":"1m0s","max_ejection":"1h0m0s"}}}]`
		if err != nil || string(got) != want {
			t.Errorf("got  %s, %v\nwant %s", got, err, want)
		}
	})
}
