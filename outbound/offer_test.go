package outbound_test

import (
	"testing"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
	"pannier/journal/wire/peer"
)

// Credit is one until heard, absolute afterwards, and freed by what settles.
func TestOffersFollowCredit(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		b := w.receiver(addrA)
		ids := w.accept(billing, 5)
		first := b.expect(1)
		if offerID(first[0]) != ids[0] {
			t.Errorf("the first offer is not the oldest")
		}
		b.hold(first[0])
		b.expect(0)
		b.credit(billing, 3)
		next := b.expect(2)
		b.hold(next...)
		b.expect(0)
		b.report(report(1, first[0], state.FactAnswered))
		b.expect(1)
		if got := w.status(ids[0]); got != state.Completed {
			t.Errorf("after its answer the intent is %v", got)
		}
		w.after(2 * time.Second)
		place, holder, no := w.where(ids[1])
		if place != journal.PlaceHeld || holder != b.identity().Journal || no != 1 {
			t.Errorf("held, and on record as place %d at %v under %d", place, holder, no)
		}
	})
}

// A refusal for now is not journaled: the intent goes elsewhere at once under
// its number, and comes back here when the pause is over.
func TestBusyIsOfferedElsewhere(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.holder(addrA), w.holder(addrB)
		w.peers.set(billing, addrA)
		w.accept(billing, 1)
		o := a.expect(1)[0]
		w.peers.set(billing, addrA, addrB)
		w.after(time.Millisecond)
		a.refuse(o, "busy", 5000)
		again := b.expect(1)[0]
		if again.OfferNo != 1 {
			t.Errorf("refused, and offered elsewhere under number %d: nothing had to be raised", again.OfferNo)
		}
		b.refuse(again, "busy", 60_000)
		w.after(4 * time.Second)
		a.expect(0)
		w.after(2*time.Second + 100*time.Millisecond)
		a.expect(1)
	})
}

func TestRefusalIsNotJournaled(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.receiver(addrA)
		w.accept(billing, 1)
		o := a.expect(1)[0]
		seq := w.j.Stats().Seq
		for range 20 {
			a.refuse(o, "busy", 1000)
			w.after(1300 * time.Millisecond)
			o = a.expect(1)[0]
		}
		if got := w.j.Stats().Seq; got != seq {
			t.Errorf("20 refusals made %d batches, want none", got-seq)
		}
		if o.Attempts != 0 {
			t.Errorf("refusals counted as %d attempts", o.Attempts)
		}
	})
}

// A holder that refuses everything for a while is left alone for all agents.
func TestDrainingPausesTheEndpoint(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.receiver(addrA)
		w.peers.set("other", addrA)
		w.accept(billing, 1)
		a.refuse(a.expect(1)[0], "draining", 3000)
		w.accept("other", 1)
		w.after(2900 * time.Millisecond)
		a.expect(0)
		w.after(time.Second)
		a.expect(2)
	})
}

// What is released goes elsewhere under the next number, and the holder that
// gave it back gets nothing more of this agent until its window is above the
// floor.
func TestReleaseRaisesAndShutsTheFloor(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.holder(addrA), w.holder(addrB)
		w.peers.set(billing, addrA)
		ids := w.accept(billing, 2)
		o := a.expect(1)[0]
		a.hold(o)
		w.after(2 * time.Second)
		a.release(o)
		if place, _, no := w.where(ids[0]); place != journal.PlaceDue || no != 2 {
			t.Fatalf("released, and at place %d under number %d", place, no)
		}
		w.after(time.Hour)
		a.expect(0)
		w.peers.set(billing, addrA, addrB)
		b.credit(billing, 10)
		nos := map[journal.ID]uint64{}
		for _, o := range b.expect(2) {
			nos[offerID(o)] = o.OfferNo
		}
		if nos[ids[0]] != 2 || nos[ids[1]] != 1 {
			t.Errorf("offered elsewhere under %d and %d, want 2 and 1", nos[ids[0]], nos[ids[1]])
		}
		w.accept(billing, 1)
		b.expect(1)
		b.cut()
		w.net.unplug(addrB)
		w.accept(billing, 1)
		a.expect(0)
		a.credit(billing, 2)
		a.expect(1)
	})
}

// A release that comes before held is on record, or instead of it.
func TestReleaseBeforeTheRecord(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.holder(addrA)
		a.set(func() { a.mu.credits[billing] = 10 })
		w.peers.set(billing, addrA)
		ids := w.accept(billing, 2)
		offers := a.expect(2)
		a.hold(offers[0])
		a.release(offers...)
		w.after(3 * time.Second)
		for i, id := range ids {
			if place, _, no := w.where(id); place != journal.PlaceDue || no != 2 {
				t.Errorf("intent %d: place %d under number %d, want due under 2", i, place, no)
			}
		}
		if got := a.expect(2); got[0].OfferNo != 2 || got[1].OfferNo != 2 { // its window is 10
			t.Errorf("offered again under %d and %d", got[0].OfferNo, got[1].OfferNo)
		}
	})
}

// A holder can give back only what it has.
func TestReleaseOfAnotherHoldersIntent(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.holder(addrA), w.holder(addrB)
		w.peers.set(billing, addrA)
		w.peers.set("other", addrB)
		ids := w.accept(billing, 1)
		w.accept("other", 1)
		o := a.expect(1)[0]
		b.release(o) // in flight at a
		a.hold(o)
		b.hold(o)
		b.refuse(o, "busy", 0)
		b.release(o) // not yet on record
		w.after(2 * time.Second)
		b.release(o) // on record at a
		w.after(2 * time.Second)
		if place, holder, no := w.where(ids[0]); place != journal.PlaceHeld || holder != a.identity().Journal || no != 1 {
			t.Errorf("place %d at %v under %d: another holder moved it", place, holder, no)
		}
	})
}

// One endpoint's word that it will never take an intent ends it only when no
// healthy other is left to ask.
func TestRejectedByAll(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.holder(addrA), w.holder(addrB)
		w.peers.set(billing, addrA, addrB)
		w.peers.set("warm", addrA, addrB)
		ids := w.accept(billing, 1)
		w.after(time.Second)
		both := append(a.offers(), b.offers()...)
		if len(both) != 1 {
			t.Fatalf("offered %d times", len(both))
		}
		first, second := a, b
		if len(b.mustLine().mu.sizes) > 0 {
			first, second = b, a
		}
		first.refuse(both[0], "schema_invalid", 0)
		if got := w.status(ids[0]); got.Terminal() {
			t.Fatalf("ended %v though another endpoint was left", got)
		}
		first.expect(0)
		o := second.expect(1)[0]
		second.refuse(o, "policy_denied", 0)
		if got := w.status(ids[0]); got != state.Failed {
			t.Errorf("refused by all, and %v", got)
		}
		i, _ := w.j.Get(ids[0])
		if got := state.Reason(i.Head.Reason); got != state.ReasonPolicyDenied {
			t.Errorf("the dead letter's reason is %v", got)
		}
		w.after(time.Minute)
		first.expect(0)
		second.expect(0)
	})
}

// An endpoint that is only just being dialed, or whose sidecar is being restarted,
// is left to ask: it is healthy until its breaker opens.
func TestRejectedWhileTheOtherConnects(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.holder(addrA), w.holder(addrB)
		w.net.unplug(addrB)
		w.peers.set(billing, addrA, addrB)
		id := w.accept(billing, 1)[0]
		a.refuse(a.expect(1)[0], "policy_denied", 0)
		if got := w.status(id); got.Terminal() {
			t.Fatalf("ended %v before the other endpoint was asked", got)
		}
		w.plug(b)
		w.after(5 * time.Second)
		b.hold(b.expect(1)...)
		w.after(2 * time.Second)
		if place, holder, _ := w.where(id); place != journal.PlaceHeld || holder != b.identity().Journal {
			t.Errorf("it is %v at %s", place, holder)
		}
	})
}

// Whatever one endpoint refuses for good, and however much of it there is, another
// that has no room yet is asked.
func TestManyRejectedWhileTheOtherIsFull(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.holder(addrA), w.holder(addrB)
		w.peers.set("warm", addrA, addrB)
		w.accept("warm", 2) // both streams are open
		w.after(time.Second)
		a.release(a.offers()...)
		b.release(b.offers()...)
		a.credit(billing, 100)
		b.credit(billing, 0)
		w.peers.set(billing, addrA, addrB)
		ids := w.accept(billing, 1000)
		refused := 0
		for range 100 {
			for _, o := range a.offers() {
				a.refuse(o, "policy_denied", 0)
				refused++
			}
			w.after(10 * time.Millisecond)
		}
		if refused == len(ids) {
			t.Error("all is offered to the endpoint that refuses it: whom else to ask is remembered without a bound")
		}
		b.credit(billing, 1000)
		held := 0
		for range 100 {
			for _, o := range a.offers() {
				a.refuse(o, "policy_denied", 0)
			}
			got := b.offers()
			held += len(got)
			b.hold(got...)
			w.after(10 * time.Millisecond)
		}
		failed := 0
		for _, id := range ids {
			if w.status(id) == state.Failed {
				failed++
			}
		}
		if failed > 0 || held != len(ids) {
			t.Errorf("of %d intents that the other endpoint takes %d are dead letters, and it got %d", len(ids), failed, held)
		}
	})
}

func TestRejectedWhenTheOtherIsGone(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.holder(addrA)
		w.peers.set(billing, addrA, addrB) // nobody listens at b
		ids := w.accept(billing, 1)
		a.refuse(a.expect(1)[0], "too_large", 0)
		w.after(time.Minute) // its breaker has opened
		if got := w.status(ids[0]); got != state.Failed {
			t.Errorf("refused by the only endpoint there is, and %v", got)
		}
	})
}

// An end at home is told to whoever may have the intent.
func TestEndedIsRevoked(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.holder(addrA)
		a.set(func() { a.mu.credits[billing] = 3 })
		w.peers.set(billing, addrA)
		ids := w.accept(billing, 4)
		offers := a.expect(3)
		a.hold(offers[0])
		w.after(2 * time.Second) // on record
		a.hold(offers[1])        // not yet
		for i := range 4 {
			w.cancel(ids[3-i]) // the one that was never offered first
		}
		revoked := map[journal.ID]bool{}
		for _, r := range a.revokes() {
			revoked[journal.ID(r.Id)] = true
			if r.Why.String() != "ENDED" || state.Status(r.Status) != state.Canceled {
				t.Errorf("revoked as %v with status %v", r.Why, state.Status(r.Status))
			}
		}
		for i := range 3 {
			if !revoked[ids[i]] {
				t.Errorf("intent %d was canceled and not revoked", i)
			}
		}
		a.hold(offers[2]) // its answer crosses the revoke
		w.after(2 * time.Second)
		a.expect(0)
		if got := w.peer(addrA); got.Held != 0 || got.Credit[billing] != 3 {
			t.Errorf("after all have ended %d count as held, credit %d", got.Held, got.Credit[billing])
		}
	})
}

// A dead letter is revoked with its events, which its holder's copy shows; what was
// canceled is none.
func TestDeadLetterIsRevokedWithItsEvents(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.holder(addrA)
		a.set(func() { a.mu.credits[billing] = 3 })
		w.peers.set(billing, addrA)
		ids := w.accept(billing, 2)
		a.hold(a.expect(2)...)
		w.cancel(ids[0])
		if _, err := w.j.Change(t.Context(), ids[1], &wire.Change{Controls: []byte(`{}`), TtlMs: 1}); err != nil {
			t.Fatal(err)
		}
		w.after(time.Minute)
		got := map[journal.ID]int{}
		for _, r := range a.revokes() {
			got[journal.ID(r.Id)] = len(r.Events)
		}
		if n, revoked := got[ids[0]]; !revoked || n != 0 {
			t.Errorf("the one that was canceled: revoked %t, with %d events", revoked, n)
		}
		if n := got[ids[1]]; n != 3 {
			t.Errorf("the one out of time is revoked with %d events, want 3", n)
		}
	})
}

// The end that a holder's own answer made is told in the ack, not as a revoke.
func TestOwnAnswerIsAckedNotRevoked(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.receiver(addrA)
		ids := w.accept(billing, 1)
		o := a.expect(1)[0]
		a.hold(o)
		a.report(report(1, o, state.FactDelivered), report(2, o, state.FactAnswered))
		w.after(2 * time.Second)
		if got := a.revokes(); len(got) != 0 {
			t.Errorf("%d revokes of what the holder itself has ended", len(got))
		}
		acks := a.acks()
		if len(acks) == 0 || acks[len(acks)-1].UpTo != 2 {
			t.Fatalf("acks %v, want up to 2", acks)
		}
		events := 0
		for _, ack := range acks {
			for _, x := range ack.Acked {
				if journal.ID(x.Id) == ids[0] && state.Status(x.Status) == state.Completed {
					events = len(x.Events)
				}
			}
		}
		if events < 4 { // created, submitted, delivered, in progress, completed
			t.Errorf("the ack of the end carries %d events", events)
		}
		a.report(report(2, o, state.FactAnswered)) // its ack was lost
		if acks := a.acks(); len(acks) != 1 || acks[0].UpTo != 2 || len(acks[0].Acked) != 1 {
			t.Errorf("a repeat is acked with %v", acks)
		}
	})
}

// A report proves what a lost held would have said.
func TestReportProvesHeld(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.receiver(addrA)
		ids := w.accept(billing, 1)
		o := a.expect(1)[0]
		a.report(report(1, o, state.FactDelivered))
		w.after(11 * time.Second) // the answer to the offer is not missed
		if !a.connected() {
			t.Error("the stream was ended as if the offer had no answer")
		}
		if place, holder, _ := w.where(ids[0]); place != journal.PlaceHeld || holder != a.identity().Journal {
			t.Errorf("place %d at %v", place, holder)
		}
	})
}

// One that was kept from before we crashed proves too much: the holder may have given
// the intent back meanwhile, and says so when it is offered.
func TestRefusalDisprovesHeld(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.receiver(addrA)
		ids := w.accept(billing, 1)
		o := a.expect(1)[0]
		a.report(report(1, o, state.FactDelivered))
		a.refuse(o, "busy", 1000)
		w.after(3 * time.Second)
		if place, _, no := w.where(ids[0]); place != journal.PlaceDue || no != 2 {
			t.Errorf("place %d under number %d, want due under 2", place, no)
		}
		a.credit(billing, 2)
		if again := a.expect(1)[0]; again.OfferNo != 2 {
			t.Errorf("offered again under number %d", again.OfferNo)
		}
	})
}

// Frames stay within a MiB; a larger message goes alone.
func TestFramesAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.holder(addrA)
		a.set(func() { a.mu.credits[billing] = 100 })
		w.peers.set(billing, addrA)
		w.acceptBody(billing, 20, append(append([]byte{'"'}, make([]byte, 300<<10)...), '"'))
		w.acceptBody(billing, 2, append(append([]byte{'"'}, make([]byte, 1000<<10)...), '"'))
		w.after(time.Second)
		a.expect(22)
		l := a.mustLine()
		for _, n := range l.mu.sizes {
			if n > 3 {
				t.Errorf("a frame of %d offers of 300 KiB", n)
			}
		}
		if n := len(l.mu.sizes); n < 8 {
			t.Errorf("22 large offers in %d frames", n)
		}
	})
}

// A claim reads a snapshot of the journal. What is put on record as held while
// it reads is still due in the snapshot, and must not be offered a second time.
func TestRecordedDuringAClaim(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.receiver(addrA)
		ids := w.accept(billing, 1)
		o := a.expect(1)[0]
		c := w.d.Claiming(billing, addrA)
		a.hold(o)
		w.after(2 * time.Second)
		if place, _, _ := w.where(ids[0]); place != journal.PlaceHeld {
			t.Fatalf("place %d, want it on record", place)
		}
		if !c.Skips(ids[0]) {
			t.Error("a claim that began before the record would offer it again")
		}
		c.End()
		if flights, _, _, _ := w.d.InFlight(); flights != 0 {
			t.Errorf("%d flights are kept beyond the claim", flights)
		}
	})
}

// What ends while a claim reads is not offered.
func TestEndedDuringAClaim(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.receiver(addrA)
		ids := w.accept(billing, 2)
		a.expect(1)
		c := w.d.Claiming(billing, addrA)
		w.cancel(ids[1])
		if n := c.End(journal.Offer{ID: ids[1], OfferNo: 1, Due: time.Now()}); n != 0 {
			t.Error("an intent that ended while the claim read is offered")
		}
	})
}

// What an app has acknowledged, and counts no more at its holder, leaves room for the
// next; ready once more it takes it again.
func TestAcknowledgedMakesRoom(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		b := w.receiver(addrA)
		ids := w.accept(billing, 5)
		first := b.expect(1)[0]
		b.hold(first)
		b.report(report(1, first, state.FactWorking))
		b.expect(0) // a lease that was extended still counts
		acknowledged := report(2, first, state.FactWorking)
		acknowledged.Uncounted = true
		b.report(acknowledged)
		second := b.expect(1)[0]
		b.hold(second)
		b.report(report(3, first, state.FactAttemptFailed))
		b.report(report(4, second, state.FactAnswered))
		b.expect(0)
		b.report(report(5, first, state.FactAnswered))
		third := b.expect(1)[0]
		b.hold(third)
		w.after(2 * time.Second) // on record
		line := holding(ids[2], 1)
		line.Phase, line.Uncounted = uint32(state.Working), true
		b.set(func() { b.mu.holdings = []*peer.Holding{line} })
		b.cut()
		w.after(time.Minute)
		b.expect(1)
	})
}

// What failed and was acknowledged again in one frame does not stay counted.
func TestFailedAndAcknowledgedInOneFrame(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		b := w.receiver(addrA)
		w.accept(billing, 4)
		first := b.expect(1)[0]
		b.hold(first)
		w.after(2 * time.Second) // on record
		acknowledged := report(1, first, state.FactWorking)
		acknowledged.Uncounted = true
		b.report(acknowledged)
		second := b.expect(1)[0]
		b.hold(second)
		again := report(3, first, state.FactWorking)
		again.Uncounted = true
		b.report(report(2, first, state.FactAttemptFailed), again)
		b.report(report(4, second, state.FactAnswered))
		b.expect(1)
	})
}

// A frame may say held of more than one batch of the journal has room for.
func TestHeldOfManyInOneFrame(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.roomy(addrA)
		w.peers.set(billing, addrA)
		ids := w.accept(billing, 5000)
		a.hold(a.expect(5000)...)
		w.after(time.Minute) // it rides along with one batch a second
		for _, id := range ids {
			if place, _, _ := w.where(id); place != journal.PlaceHeld {
				t.Fatalf("%v is at place %d, want on record", id, place)
			}
		}
	})
}
