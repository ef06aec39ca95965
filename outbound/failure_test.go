package outbound_test

import (
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
	"pannier/journal/wire/peer"
	"pannier/outbound"
)

func causes(list []state.Delay) (out []string) {
	for _, c := range list {
		out = append(out, c.Cause.String())
	}
	slices.Sort(out)
	return out
}

// A dead endpoint costs a probe now and then, whatever waits for it: nothing is
// written, nothing is counted, and memory does not follow the backlog. It runs alone,
// since the heap is everybody's.
func TestParkedCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, outbound.DefaultOptions())
		w.peers.set(billing, addrA)
		w.accept(billing, 100)
		w.after(time.Minute)
		small := heap()
		w.accept(billing, 20_000)
		w.after(time.Minute)
		seq, dials := w.j.Stats().Seq, w.net.dialed(addrA)
		w.after(time.Hour)
		if got := w.j.Stats().Seq; got != seq {
			t.Errorf("%d batches in an hour of waiting", got-seq)
		}
		if got := w.net.dialed(addrA) - dials; got < 30 || got > 125 {
			t.Errorf("dialed %d times in an hour, want about one a minute", got)
		}
		if f, u, dests, bytes := w.d.InFlight(); f+u+bytes != 0 || dests != 1 {
			t.Errorf("kept in memory: %d flights, %d unsettled, %d destinations, %d bytes", f, u, dests, bytes)
		}
		if grown := int64(heap()) - int64(small); grown > 16<<20 { // Badger's memtables take part in it
			t.Errorf("20,000 parked intents took %d KiB of heap", grown>>10)
		}
		if got := causes(w.d.Why(journal.ID{}, billing, false)); len(got) != 1 || got[0] != "breaker_open" {
			t.Errorf("why: %v", got)
		}
		if got := w.peer(addrA); got.State != "breaker_open" || got.Breaker != "open" || got.NextTry == nil || got.LastError == "" {
			t.Errorf("peer %+v", got)
		}
	})
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// After an open breaker one frame with one intent goes; only its answer lets
// the others follow.
func TestHalfOpenSendsOne(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.peers.set(billing, addrA)
		w.accept(billing, 50)
		w.after(time.Minute)
		if got := w.peer(addrA).Breaker; got != "open" {
			t.Fatalf("after a minute of refused dials the breaker is %s", got)
		}
		a := w.holder(addrA)
		a.set(func() { a.mu.credits[billing] = 20 })
		w.after(2 * time.Minute)
		if got := w.net.dialed(addrA); got == 0 || !a.connected() && len(a.mustLine().mu.sizes) == 0 {
			t.Fatal("not dialed again")
		}
		sizes := a.mustLine().mu.sizes
		if len(sizes) != 1 || sizes[0] != 1 {
			t.Fatalf("half-open, and frames of %v offers were sent; want one of one", sizes)
		}
	})
}

func TestHalfOpenClosesOnAnAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.peers.set(billing, addrA)
		ids := w.accept(billing, 50)
		w.after(time.Minute)
		a := w.holder(addrA)
		a.set(func() { a.mu.credits[billing] = 20 })
		for n := 0; !a.connected(); n++ {
			if n > 200 {
				t.Fatal("not dialed again")
			}
			w.after(time.Second)
		}
		o := a.expect(1)[0]
		if got := w.peer(addrA).Breaker; got != "half_open" {
			t.Errorf("with the probe out the breaker is %s", got)
		}
		if offerID(o) != ids[0] {
			t.Error("the probe is not the oldest")
		}
		a.refuse(o, "busy", 100) // an answer is an answer
		if got := w.peer(addrA).Breaker; got != "closed" {
			t.Errorf("after the answer the breaker is %s", got)
		}
		w.after(150 * time.Millisecond)
		a.expect(20)
	})
}

// A peer that is up again with nothing to offer closes its breaker by the dial.
func TestHalfOpenWithNothingToOffer(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.peers.set(billing, addrA)
		ids := w.accept(billing, 1)
		w.after(time.Minute)
		w.cancel(ids[0])
		a := w.holder(addrA)
		w.d.Knocked(a.identity(), addrA)
		w.after(10 * time.Second)
		if got := w.peer(addrA); got.Breaker != "closed" || got.State != "open" {
			t.Errorf("peer %+v", got)
		}
	})
}

// A peer that takes offers and says nothing is given up after the time-out, and
// is tried ever more rarely.
func TestNoAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.receiver(addrA)
		w.accept(billing, 1)
		a.expect(1)
		w.after(9 * time.Second)
		if !a.connected() {
			t.Fatal("given up too early")
		}
		for n := 0; a.connected(); n++ {
			if n > 40 {
				t.Fatal("not given up")
			}
			w.after(100 * time.Millisecond)
		}
		if got := w.peer(addrA).LastError; got == "" {
			t.Error("no error shown")
		}
		w.after(10 * time.Minute)
		dials := w.net.dialed(addrA)
		w.after(time.Hour)
		if got := w.net.dialed(addrA) - dials; got > 70 {
			t.Errorf("dialed %d times in an hour", got)
		}
	})
}

// A peer that accepts the stream and never says hello counts as a failure.
func TestMutePeer(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.holder(addrA)
		a.set(func() { a.mu.mute = true })
		w.peers.set(billing, addrA)
		w.accept(billing, 1)
		w.after(2 * time.Minute)
		if got := w.peer(addrA); got.Breaker == "closed" { // or just being probed
			t.Errorf("breaker %s after two minutes of silence", got.Breaker)
		}
		if got := causes(w.d.Why(journal.ID{}, billing, false)); got[0] != "breaker_open" && got[0] != "connecting" {
			t.Errorf("why %v", got)
		}
	})
}

// A live stream whose other end is dead is noticed by its silence.
func TestSilentStream(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.receiver(addrA)
		w.accept(billing, 1)
		a.hold(a.expect(1)...)
		w.after(time.Minute)
		n := w.net.dialed(addrA)
		if n != 1 {
			t.Fatalf("a peer that answers pings was dialed %d times", n)
		}
		a.set(func() { a.mu.mute = true })
		w.after(75 * time.Second)
		if got := w.net.dialed(addrA); got == n {
			t.Error("75 s of silence went unnoticed")
		}
	})
}

// One broken stream is one failure, however many frames were owed on it.
func TestOneBreakIsOneFailure(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.holder(addrA)
		a.set(func() { a.mu.credits[billing] = 100 })
		w.peers.set(billing, addrA)
		for range 10 {
			w.accept(billing, 1)
		}
		a.expect(10)
		if n := len(a.mustLine().mu.sizes); n < 5 {
			t.Fatalf("only %d frames", n)
		}
		a.cut()
		if got := w.peer(addrA).Breaker; got != "closed" {
			t.Errorf("one cut made the breaker %s", got)
		}
		w.after(2 * time.Second)
		a.expect(10)
	})
}

// Our own stop is no failure, and leaves nothing behind.
func TestStopLeavesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.holder(addrA)
		a.set(func() { a.mu.credits[billing] = 100 })
		w.peers.set(billing, addrA)
		w.accept(billing, 20)
		a.expect(20)
		w.stop()
		if a.connected() {
			t.Error("the stream outlived Run")
		}
		if _, _, _, bytes := w.d.InFlight(); bytes != 0 {
			t.Errorf("%d bytes of envelopes are still counted", bytes)
		}
		w.run()
	})
}

// After an unclean start what may be held somewhere waits until the endpoints
// have said what they hold; what is new does not.
func TestUncleanStartAsks(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.holder(addrA)
		a.set(func() { a.mu.credits[billing] = 10 })
		w.peers.set(billing, addrA)
		w.accept("unrelated", 1)
		w.after(2 * time.Second)
		ids := w.accept(billing, 3)
		a.expect(3) // on the wire when home dies
		a.set(func() { a.mu.holdings = []*peer.Holding{holding(ids[0], 1)} })
		w.crash()
		offers := a.expect(2)
		for _, o := range offers {
			if o.OfferNo != 1 || offerID(o) == ids[0] {
				t.Errorf("offered %v under %d", offerID(o), o.OfferNo)
			}
		}
		if place, holder, no := w.where(ids[0]); place != journal.PlaceHeld || holder != a.identity().Journal || no != 1 {
			t.Errorf("the one it held is at place %d at %v under %d", place, holder, no)
		}
	})
}

// TestUncleanStartHearsOfWhatIsOver: home forgets to whom it had offered, and the
// holder gave the intent back meanwhile. What it has to tell of it counts, and comes
// before the next offer.
func TestUncleanStartHearsOfWhatIsOver(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.holder(addrA)
		a.set(func() { a.mu.credits[billing] = 10 })
		w.peers.set(billing, addrA)
		w.accept("unrelated", 1)
		w.after(2 * time.Second)
		w.accept(billing, 2)
		given := a.expect(2)[0] // on the wire when home dies; of the other it never heard
		failed := report(2, given, state.FactAttemptFailed)
		failed.Attempts = 1
		a.set(func() { a.mu.reports = []*wire.Report{report(1, given, state.FactDelivered), failed} })
		w.crash()
		w.after(2 * time.Second)
		for _, o := range a.expect(2) {
			no, attempts := uint64(1), uint32(0)
			if offerID(o) == offerID(given) {
				no, attempts = 2, 1
			}
			if o.OfferNo != no || o.Attempts != attempts {
				t.Errorf("offered %v under %d after %d attempts, want %d, %d", offerID(o), o.OfferNo, o.Attempts, no, attempts)
			}
		}
		events, _, err := w.j.Events(offerID(given), 2)
		if err != nil || len(events) != 2 || state.EventType(events[0].Type).String() != "intent.delivered" || state.EventType(events[1].Type).String() != "intent.delivery_failed" {
			t.Errorf("%v, %v; want delivered and delivery_failed", events, err)
		}
	})
}

// Of what was accepted since, or once its list is complete, a holder proves nothing by
// telling of it.
func TestUncleanStartBelievesNoMore(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.holder(addrA), w.holder(addrB)
		a.set(func() { a.mu.credits[billing] = 0 })
		b.set(func() { b.mu.mute = true })
		w.peers.set(billing, addrA)
		w.accept("unrelated", 1)
		w.after(2 * time.Second)
		old := w.accept(billing, 1)[0]
		w.peers.set(billing, addrA, addrB) // b says nothing: what is old waits
		w.crash()
		a.line()
		for no, id := range []journal.ID{old, w.accept("unrelated", 1)[0]} {
			a.report(&wire.Report{No: uint64(no) + 1, Id: id[:], OfferNo: 1, Fact: uint32(state.FactDelivered), Attempt: 1})
			if place, _, _ := w.where(id); place != journal.PlaceDue || w.status(id) != state.Submitted {
				t.Errorf("report %d: place %d, %s", no, place, w.status(id))
			}
		}
	})
}

func TestUncleanStartWithAnEndpointDown(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.holder(addrA), w.holder(addrB)
		b.set(func() { b.mu.credits[billing] = 10 })
		w.peers.set(billing, addrA)
		ids := w.accept(billing, 2)
		a.expect(1)
		w.net.unplug(addrA)
		w.peers.set(billing, addrA, addrB)
		w.crash()
		w.after(3 * time.Second)
		b.expect(0)
		if got := causes(w.d.Why(journal.ID{}, billing, false)); !slices.Contains(got, "unclean_wait") {
			t.Errorf("why: %v", got)
		}
		fresh := w.accept(billing, 1)
		got := b.expect(1)
		if offerID(got[0]) != fresh[0] || got[0].OfferNo != 1 {
			t.Errorf("the new one did not go at once")
		}
		b.hold(got...)
		w.after(3 * time.Second)
		old := b.expect(2)
		for _, o := range old {
			if o.OfferNo != 2 {
				t.Errorf("offered under %d: a journal that cannot be asked may have it under 1", o.OfferNo)
			}
		}
		b.hold(old...)
		w.after(2 * time.Second)
		a.set(func() { a.mu.holdings = []*peer.Holding{holding(ids[0], 1)} })
		w.plug(a)
		w.after(2 * time.Minute)
		if got := a.revokes(); len(got) != 1 || got[0].Why != peer.Revoke_SUPERSEDED {
			t.Errorf("the late holder was told %v", got)
		}
	})
}

// With nobody known the wait has not begun.
func TestUncleanStartWithoutEndpoints(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.holder(addrA)
		w.accept(billing, 1)
		w.crash()
		w.after(time.Hour)
		w.net.unplug(addrA)
		w.peers.set(billing, addrA, addrB)
		b := w.holder(addrB)
		w.after(4 * time.Second)
		b.expect(0)
		w.after(2 * time.Second)
		if o := b.expect(1)[0]; o.OfferNo != 2 {
			t.Errorf("offered under %d", o.OfferNo)
		}
		_ = a
	})
}

func TestUncleanStartLocal(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		ids := w.accept(billing, 1)
		w.crash()
		w.local.serves.Store(true)
		w.local.window.Store(5)
		w.d.LocalWindow(billing)
		w.after(time.Millisecond)
		if place, _, no := w.where(ids[0]); place != journal.PlaceLocal || no != 1 {
			t.Errorf("place %d under %d, want our own mailbox at once", place, no)
		}
	})
}

// Our own mailbox comes first while it has room.
func TestLocalFirst(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.holder(addrA)
		a.set(func() { a.mu.credits[billing] = 10 })
		w.local.serves.Store(true)
		w.local.window.Store(2)
		w.peers.set(billing, addrA)
		ids := w.accept(billing, 2)
		for _, id := range ids {
			if place, _, _ := w.where(id); place != journal.PlaceLocal {
				t.Errorf("place %d, want our own mailbox", place)
			}
		}
		w.accept(billing, 1)
		w.after(time.Second)
		a.hold(a.expect(1)...) // no room at home
		w.local.window.Store(1)
		w.accept(billing, 1)
		a.expect(0)
		if got := w.local.took.Load(); got != 3 {
			t.Errorf("our own mailbox took %d, want 3", got)
		}
	})
}

// A mailbox that fails is tried again, and at once when it says so.
func TestLocalFailure(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.local.serves.Store(true)
		w.local.window.Store(5)
		w.local.fails.Store(true)
		ids := w.accept(billing, 3)
		w.after(10 * time.Second)
		if got := causes(w.d.Why(journal.ID{}, billing, false)); len(got) != 1 || got[0] != "offering" {
			t.Errorf("why: %v", got)
		}
		w.local.fails.Store(false)
		w.d.LocalWindow(billing)
		w.after(time.Millisecond)
		if place, _, _ := w.where(ids[2]); place != journal.PlaceLocal {
			t.Errorf("place %d after room was announced", place)
		}
	})
}

func TestNearestZone(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.holder(addrA), w.holder(addrB)
		for _, f := range []*fake{a, b} {
			f.set(func() { f.mu.credits[billing], f.mu.credits["warm"] = 5, 50 })
		}
		w.peers.set("warm", addrA, addrB)
		w.accept("warm", 1)
		w.after(time.Second)
		a.hold(a.offers()...)
		b.hold(b.offers()...)
		w.peers.zones(billing, outbound.Endpoint{Address: addrA, Zone: "z2"}, outbound.Endpoint{Address: addrB, Zone: "z1"})
		w.accept(billing, 5)
		b.hold(b.expect(5)...)
		w.accept(billing, 1)
		a.hold(a.expect(1)...) // the near one is full
	})
}

// Several endpoints share a burst.
func TestBurstIsShared(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.holder(addrA), w.holder(addrB)
		for _, f := range []*fake{a, b} {
			f.set(func() { f.mu.credits[billing] = 1000 })
		}
		w.peers.set("warm", addrA, addrB)
		w.accept("warm", 1)
		w.after(time.Second)
		a.hold(a.offers()...)
		b.hold(b.offers()...)
		w.accept(billing, 400)
		w.peers.set(billing, addrA, addrB)
		na, nb := len(a.offers()), len(b.offers())
		if na+nb != 400 || na < 150 || nb < 150 {
			t.Errorf("a burst of 400 was shared %d to %d", na, nb)
		}
	})
}

// What a peer's hello says of its clock is shown, and nothing of one that says nothing.
func TestClocksAreCompared(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.holder(addrA), w.holder(addrB)
		a.set(func() { a.mu.now = time.Now().Add(-90 * time.Second).UnixMilli() })
		w.peers.set(billing, addrA, addrB)
		w.accept(billing, 2)
		w.after(0)
		if got := w.peer(addrA).ClockAheadMs; got == nil || *got > -89_000 || *got < -91_000 {
			t.Errorf("a clock 90 s behind is %v ms ahead", got)
		}
		if got := w.peer(addrB).ClockAheadMs; got != nil {
			t.Errorf("a clock nobody has told is %d ms ahead", *got)
		}
		a.hold(a.offers()...)
		b.hold(b.offers()...)
	})
}

// An offer says how long a breaker had kept it, that of another time or of nothing none;
// what became due meanwhile was kept from then on.
func TestOffersSayWhatABreakerDelayed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.peers.set(billing, addrA)
		began := time.Now()
		w.accept(billing, 1)
		w.after(time.Minute)
		if got := causes(w.d.Why(journal.ID{}, billing, false)); !slices.Equal(got, []string{"breaker_open"}) {
			t.Fatalf("why: %v", got)
		}
		late := time.Now()
		w.accept(billing, 1)
		w.after(time.Second)
		a := w.holder(addrA)
		a.set(func() { a.mu.credits[billing] = 10 })
		for i := 0; i < 2; {
			w.after(time.Second)
			for _, o := range a.offers() {
				a.hold(o)
				wait := o.Waited
				if state.Cause(wait.GetCause()) != state.CauseBreakerOpen || wait.UntilMs > o.OfferedMs || wait.UntilMs <= late.UnixMilli() {
					t.Fatalf("offer %d, made at %d, waited %v", i, o.OfferedMs, wait)
				}
				if from := time.UnixMilli(wait.FromMs); i == 0 && !from.After(began) || i == 1 && from.Before(late.Truncate(time.Millisecond)) {
					t.Errorf("offer %d waited from %s, the first was accepted at %s, the other at %s", i, from, began, late)
				}
				i++
			}
			if time.Since(late) > time.Hour {
				t.Fatalf("%d offers in an hour", i)
			}
		}
		w.after(time.Second)
		w.accept(billing, 1)
		if o := a.expect(1)[0]; o.Waited != nil {
			t.Errorf("after it closed an offer waited %v", o.Waited)
		}
	})
}

func TestWhy(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.peers.unknown = true
		w.accept(billing, 3)
		expect := func(want ...string) {
			t.Helper()
			if got := causes(w.d.Why(journal.ID{}, billing, false)); !slices.Equal(got, want) {
				t.Errorf("why: %v, want %v", got, want)
			}
		}
		expect("discovery_pending")
		w.peers.unknown = false
		w.peers.set(billing)
		expect("no_endpoint")
		w.peers.set(billing, addrA)
		w.after(time.Millisecond)
		expect("connecting")
		a := w.holder(addrA)
		w.after(5 * time.Second)
		o := a.expect(1)[0]
		expect("no_credit")
		a.refuse(o, "busy", 60_000)
		expect("refused")
		if got := w.d.Why(journal.ID{}, billing, false)[0]; got.Peer != addrA || got.Until.IsZero() {
			t.Errorf("cause %+v", got)
		}
	})
}

// What a holder refuses all of is told as what it is: a disk that is full nobody finds in
// its app.
func TestWhySaysWhyAHolderRefuses(t *testing.T) {
	for code, want := range map[string]string{"disk": "peer_disk_full", "draining": "refused"} {
		t.Run(code, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.peers.set(billing, addrA)
				w.accept(billing, 1)
				a := w.holder(addrA)
				w.after(5 * time.Second)
				a.refuse(a.expect(1)[0], code, 60_000)
				w.after(time.Second)
				got := w.d.Why(journal.ID{}, billing, false)
				if said := causes(got); !slices.Equal(said, []string{want}) || got[0].Peer != addrA || got[0].Until.IsZero() {
					t.Errorf("why: %v, %+v, want %s of %s until some time", said, got, want, addrA)
				}
			})
		})
	}
}

// Where a holder takes nothing more, why says what is the matter with its app, not
// only that there is no credit: also of what it gave back, and of our own mailbox.
func TestWhySaysWhatShutTheDoor(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.receiver(addrA)
		w.accept(billing, 2)
		say := func(code string) {
			a.send(&peer.Frame{Credits: []*peer.Credit{{Agent: billing, Window: 1, Shut: code}}})
		}
		expect := func(want string) {
			t.Helper()
			if got := causes(w.d.Why(journal.ID{}, billing, false)); !slices.Equal(got, []string{want}) {
				t.Errorf("why: %v, want %s", got, want)
			}
		}
		o := a.expect(1)[0]
		a.hold(o)
		expect("no_credit")
		for _, code := range []string{"app_unreachable", "app_throttled", "app_gone", "door_shut", "no_reader", "agent_killed"} {
			say(code)
			expect(code)
		}
		for _, code := range []string{"", "of_a_later_version", "parked"} {
			say(code)
			expect("no_credit")
		}
		say("app_gone")
		a.release(o)
		w.after(time.Second)
		expect("app_gone")

		w.peers.set(billing)
		w.local.serves.Store(true)
		expect("no_credit")
		w.local.shut.Store(uint32(state.CauseAppGone))
		expect("app_gone")
	})
}

// A stranger's knocks neither multiply dials nor links.
func TestKnocksAreLimited(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		stranger := journal.Identity{Journal: journal.NewID(), Epoch: 1}
		for range 100 {
			w.d.Knocked(stranger, addrA)
			w.after(10 * time.Millisecond)
		}
		if n := w.net.dialed(addrA); n > 3 {
			t.Errorf("100 knocks in a second made %d dials", n)
		}
		w.after(time.Hour)
		if n := w.net.dialed(addrA); n > 3 {
			t.Errorf("%d dials: a stranger's knock is no reason to go on", n)
		}
		w.d.Knocked(w.j.Identity(), addrB)
		w.d.Knocked(stranger, "")
		w.after(time.Second)
		if n := w.net.dialed(addrB); n != 0 {
			t.Error("dialed ourselves at a knock")
		}
	})
}

// The lines of a large ack are cut into frames, and the number goes with the
// last of them.
func TestLargeAcksAreCut(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.holder(addrA)
		a.set(func() { a.mu.credits[billing] = 1000 })
		w.peers.set(billing, addrA)
		w.accept(billing, 600)
		offers := a.expect(600)
		a.hold(offers...)
		text := string(make([]byte, 1999))
		no := uint64(0)
		for _, o := range offers {
			no++
			r := report(no, o, state.FactDelivered)
			r.Text = text
			a.mustLine().queue(r)
		}
		a.mustLine().flush()
		last := no
		for _, o := range offers {
			no++
			r := report(no, o, state.FactAnswered)
			r.Text = text
			a.mustLine().queue(r)
		}
		a.mustLine().flush()
		w.after(5 * time.Second)
		lines, upTo := 0, uint64(0)
		for _, ack := range a.acks() {
			lines += len(ack.Acked)
			upTo = max(upTo, ack.UpTo)
			if upTo > last && uint64(lines) < upTo {
				t.Fatalf("acked up to %d after %d lines", upTo, lines)
			}
		}
		if upTo != no || uint64(lines) != no {
			t.Errorf("acked up to %d with %d lines, want %d of both", upTo, lines, no)
		}
	})
}

// A gap in the reports ends the stream; the next one starts where home is.
func TestReportGap(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.receiver(addrA)
		w.accept(billing, 1)
		o := a.expect(1)[0]
		a.hold(o)
		a.report(report(1, o, state.FactDelivered))
		first := a.line()
		a.report(report(3, o, state.FactAnswered))
		w.after(5 * time.Second)
		if a.line() == first {
			t.Fatal("a gap was passed over")
		}
		if got := a.line().hello; got.Applied != 1 || journal.ID(got.AppliedPair.Journal) != a.identity().Journal || got.AppliedPair.Epoch != 1 {
			t.Errorf("home greets with applied %d of %v", got.Applied, got.AppliedPair)
		}
	})
}

// A report that cannot be taken as it is costs itself alone: the stream goes on, and what
// follows it is heard.
func TestReportThatIsNotFit(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.holder(addrA)
		a.set(func() { a.mu.credits[billing] = 3 })
		w.peers.set(billing, addrA)
		ids := w.accept(billing, 3)
		offers := a.expect(3)
		a.hold(offers...)
		bad := report(1, offers[0], state.FactAnswered)
		bad.Body = []byte("[1]")
		strange := report(2, offers[1], state.FactAnswered)
		strange.Answer = uint32(state.Assign)
		a.report(bad)
		a.report(strange)
		a.report(report(3, offers[2], state.FactAnswered))
		w.after(time.Second)
		for i, want := range []state.Status{state.Completed, state.Failed, state.Completed} {
			if got := w.status(ids[i]); got != want {
				t.Errorf("the end of the %d. is %s, want %s", i+1, got, want)
			}
		}
		if i, err := w.j.Get(ids[0]); err != nil || string(i.Outcome.Body) != `{"omitted":true,"bytes":3}` {
			t.Errorf("the outcome that was none: %v, %s", err, i.Outcome.GetBody())
		}
		if n := w.net.dialed(addrA); n != 1 || !a.connected() {
			t.Errorf("dialed %d times", n)
		}
	})
}

// What a holder cannot work on is a dead letter when there is no other.
func TestHolderThatCannotWorkOnIt(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.receiver(addrA)
		id := w.accept(billing, 1)[0]
		a.refuse(a.expect(1)[0], "sidecar_fault", 0)
		w.after(time.Second)
		if i, err := w.j.Get(id); err != nil || i.DeadReason() != state.ReasonSidecarFault {
			t.Errorf("%v, it is dead for %q", err, i.DeadReason())
		}
	})
}

// A frame on which home fails costs its stream, not the process.
func TestFrameThatPanics(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		left := 1
		w.d.SetTold(outbound.Told{Offers: func(string, string, int) {
			if left--; left == 0 {
				panic("planted")
			}
		}})
		a := w.receiver(addrA)
		id := w.accept(billing, 1)[0]
		o := a.expect(1)[0]
		a.set(func() { a.mu.holdings = []*peer.Holding{holding(id, 1)} })
		a.hold(o)
		w.after(10 * time.Second)
		if n := w.net.dialed(addrA); n != 2 {
			t.Errorf("dialed %d times, want twice", n)
		}
		if place, _, _ := w.where(id); place != journal.PlaceHeld {
			t.Errorf("it is at place %d, want held", place)
		}
	})
}
