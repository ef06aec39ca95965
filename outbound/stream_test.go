package outbound_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
	"pannier/journal/wire/peer"
	"pannier/outbound"
)

// An offer whose answer is owed when the stream breaks belongs to that holder:
// nobody else gets it, and it gets it again under the same number.
func TestOwedOfferStaysWithItsHolder(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.holder(addrA), w.holder(addrB)
		a.set(func() { a.mu.credits[billing] = 2 })
		w.peers.set(billing, addrA)
		ids := w.accept(billing, 2)
		offers := a.expect(2)
		w.net.unplug(addrA)
		a.cut()
		w.peers.set(billing, addrA, addrB)
		w.after(5 * time.Minute)
		b.expect(0)
		w.wantWhy(offerID(offers[0]), "breaker_open", "holder_unreachable") // though b would take it
		w.accept(billing, 1)                                                // a new one may go to b
		b.hold(b.expect(1)...)

		// It comes back, with one of the two.
		id := offerID(offers[0])
		a.set(func() { a.mu.holdings = []*peer.Holding{holding(id, 1)} })
		w.plug(a)
		w.after(2 * time.Minute)
		again := a.expect(1)[0]
		if offerID(again) != offerID(offers[1]) || again.OfferNo != 1 {
			t.Errorf("offered %v again under %d, want the one it did not list, under 1", offerID(again), again.OfferNo)
		}
		if place, holder, no := w.where(id); place != journal.PlaceHeld || holder != a.identity().Journal || no != 1 {
			t.Errorf("the one it listed is at place %d at %v under %d", place, holder, no)
		}
		if got := a.revokes(); len(got) != 0 {
			t.Errorf("revoked %v", got)
		}
		b.expect(0)
		if got := w.peer(addrA).Held; got != 1 {
			t.Errorf("%d count as held there, want 1", got)
		}
		_ = ids
	})
}

// What is on record and not listed is due under the next number; what is listed
// and has ended, or is elsewhere, is revoked.
func TestReconcile(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.holder(addrA), w.holder(addrB)
		a.set(func() { a.mu.credits[billing] = 3 })
		w.peers.set(billing, addrA)
		ids := w.accept(billing, 3)
		a.hold(a.expect(3)...)
		w.after(2 * time.Second)
		w.net.unplug(addrA)
		a.cut()
		w.cancel(ids[2])
		a.set(func() {
			a.mu.holdings = []*peer.Holding{holding(ids[0], 1), holding(ids[2], 1), holding(journal.NewID(), 1)}
		})
		w.plug(a)
		w.after(5 * time.Second)

		again := a.expect(1)[0]
		if offerID(again) != ids[1] || again.OfferNo != 2 {
			t.Errorf("offered %v under %d, want the missing one under 2", offerID(again), again.OfferNo)
		}
		ended := 0
		for _, r := range a.revokes() {
			if r.Why == peer.Revoke_ENDED {
				ended++
			}
			if journal.ID(r.Id) == ids[0] {
				t.Error("the one home keeps was revoked")
			}
		}
		if ended != 2 { // the canceled one, and the one home has never heard of
			t.Errorf("%d of what it listed was revoked as ended, want 2", ended)
		}

		// It is released and held elsewhere; the first holder lists it all the same.
		w.peers.set(billing, addrB)
		a.release(again)
		b.hold(b.expect(1)...)
		w.after(2 * time.Second)
		a.set(func() { a.mu.holdings = []*peer.Holding{holding(ids[0], 1), holding(ids[1], 2)} })
		a.cut()
		w.after(time.Minute)
		got := a.revokes()
		if len(got) != 1 || journal.ID(got[0].Id) != ids[1] || got[0].Why != peer.Revoke_SUPERSEDED {
			t.Errorf("revoked %v, want the one that is elsewhere, as superseded", got)
		}
		if _, holder, _ := w.where(ids[1]); holder != b.identity().Journal {
			t.Error("the second holder is no longer on record")
		}
	})
}

// What failed and was given back while there was no stream is told in the frame that no
// longer lists it: the attempt counts, and nothing is left counted against credit.
func TestFailedAndGivenBackMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.receiver(addrA)
		ids := w.accept(billing, 2)
		first := a.expect(1)[0]
		a.hold(first)
		w.after(2 * time.Second) // on record
		w.net.unplug(addrA)
		a.cut()
		failed := report(1, first, state.FactAttemptFailed)
		failed.Attempts = 1
		a.set(func() { a.mu.reports = []*wire.Report{failed} })
		w.plug(a)
		w.after(3 * time.Second)
		for n, want := range []struct {
			id       journal.ID
			no       uint64
			attempts uint32
		}{{ids[1], 1, 0}, {ids[0], 2, 1}} {
			o := a.expect(1)[0] // the window is 1
			if offerID(o) != want.id || o.OfferNo != want.no || o.Attempts != want.attempts {
				t.Errorf("offered %v under %d after %d attempts, want %+v", offerID(o), o.OfferNo, o.Attempts, want)
			}
			a.hold(o)
			a.report(report(uint64(n+2), o, state.FactAnswered))
		}
	})
}

// A word at home goes to whoever has the intent, at once or with the reconcile.
func TestWordAtHomeIsTold(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.receiver(addrA)
		id := w.accept(billing, 1)[0]
		a.hold(a.expect(1)...)
		say := func() {
			if _, err := w.j.Answer(context.Background(), id, journal.Answer{Trigger: state.Start}); err != nil {
				t.Fatal(err)
			}
			w.after(time.Second)
		}
		told := func(when string, no uint32) {
			t.Helper()
			got := a.updates()
			if len(got) != 1 || journal.ID(got[0].Id) != id || got[0].OfferNo != 1 || got[0].Continued != no || state.Trigger(got[0].ContinuedBy) != state.Start {
				t.Errorf("%s: told %v, want word %d", when, got, no)
			}
		}
		say() // held, and perhaps not yet on record
		told("just held", 1)
		w.after(2 * time.Second)
		say()
		told("on record", 2)
		w.net.unplug(addrA)
		a.cut()
		w.after(time.Second)
		say()
		for n := range uint32(2) {
			heard := holding(id, 1)
			heard.Continued = 2 + n
			a.set(func() { a.mu.holdings = []*peer.Holding{heard} })
			w.plug(a)
			w.after(5 * time.Second)
			if n == 0 {
				told("out of reach", 3)
				a.cut()
				continue
			}
			if got := a.updates(); len(got) > 0 {
				t.Errorf("told again: %v", got)
			}
		}
	})
}

// What was said held is on record before it can be missed.
func TestHeldThenBrokenIsNotMissed(t *testing.T) {
	quick := func(o *outbound.Options) { o.RedialMin = time.Millisecond }
	bubbleWith(t, quick, func(t *testing.T, w *world) {
		a := w.receiver(addrA)
		ids := w.accept(billing, 1)
		a.hold(a.expect(1)...) // the record rides along, up to a second later
		a.cut()                // and it lists nothing when it comes back
		w.after(5 * time.Second)
		again := a.expect(1)[0]
		if offerID(again) != ids[0] || again.OfferNo != 2 {
			t.Errorf("offered again under %d, want 2", again.OfferNo)
		}
	})
}

func TestLostHolder(t *testing.T) {
	for name, c := range map[string]struct {
		ephemeral bool
		after     time.Duration
	}{
		"durable":   {false, 10 * time.Minute},
		"ephemeral": {true, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				a, b := w.holder(addrA), w.holder(addrB)
				a.set(func() { a.mu.ephemeral, a.mu.credits[billing] = c.ephemeral, 2 })
				b.set(func() { b.mu.credits[billing] = 10 })
				w.peers.set(billing, addrA)
				ids := w.accept(billing, 2)
				offers := a.expect(2)
				a.hold(offers[0]) // the other's answer is owed
				w.after(2 * time.Second)
				w.net.unplug(addrA)
				a.cut()
				w.peers.set(billing, addrA, addrB)
				w.peers.set("warm", addrB)
				w.accept("warm", 1)
				b.hold(b.expect(1)...)
				w.after(c.after - time.Second)
				b.expect(0)
				w.after(2 * time.Second)
				for _, o := range b.expect(2) {
					if o.OfferNo != 2 || !o.Redelivered {
						t.Errorf("offered elsewhere under %d, redelivered %v", o.OfferNo, o.Redelivered)
					}
					b.hold(o)
				}
				w.after(2 * time.Second)

				// It comes back: what is elsewhere is revoked, and its answer counts all
				// the same.
				a.set(func() { a.mu.holdings = []*peer.Holding{holding(ids[0], 1), holding(ids[1], 1)} })
				w.plug(a)
				w.d.Knocked(a.identity(), addrA) // nobody dials the lost for their own sake
				w.after(10 * time.Second)
				if got := a.revokes(); len(got) != 2 || got[0].Why != peer.Revoke_SUPERSEDED {
					t.Errorf("revoked %v, want both as superseded", got)
				}
				a.expect(0)
				a.report(report(1, offers[0], state.FactAnswered))
				if got := w.status(ids[0]); got != state.Completed {
					t.Errorf("the late answer was the first, and the intent is %v", got)
				}
				if got := b.revokes(); len(got) != 1 || got[0].Why != peer.Revoke_ENDED {
					t.Errorf("the other holder was told %v", got)
				}
			})
		})
	}
}

// A journal that comes back with a higher epoch was restored: what it had is
// lost, whatever it lists.
func TestHigherEpochIsLost(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.receiver(addrA)
		ids := w.accept(billing, 1)
		a.hold(a.expect(1)...)
		w.after(2 * time.Second)
		a.set(func() {
			a.mu.id.Epoch++
			a.mu.holdings = []*peer.Holding{holding(ids[0], 1)}
		})
		a.cut()
		w.after(10 * time.Second)
		if got := a.revokes(); len(got) != 1 || got[0].Why != peer.Revoke_SUPERSEDED {
			t.Errorf("revoked %v", got)
		}
		if o := a.expect(1)[0]; o.OfferNo != 2 {
			t.Errorf("offered again under %d", o.OfferNo)
		}
		a.set(func() { a.mu.id.Epoch-- })
		a.cut()
		w.after(time.Minute)
		if got := w.peer(addrA); got.State == "open" || got.LastError == "" {
			t.Errorf("an older life of the journal is talked to: %+v", got)
		}
	})
}

// Another journal at a holder's address gives the holder a minute.
func TestMovedHolder(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.receiver(addrA)
		w.accept(billing, 1)
		a.hold(a.expect(1)...)
		w.after(2 * time.Second)
		a.set(func() { a.mu.id = journal.Identity{Journal: journal.NewID(), Epoch: 1} })
		a.cut()
		w.after(50 * time.Second)
		a.expect(0)
		w.after(20 * time.Second)
		if o := a.expect(1)[0]; o.OfferNo != 2 {
			t.Errorf("offered to the new one under %d", o.OfferNo)
		}
	})
}

// A holder that moved with its journal keeps what it has.
func TestMovedWithItsJournal(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.receiver(addrA)
		ids := w.accept(billing, 1)
		a.hold(a.expect(1)...)
		w.after(2 * time.Second)
		w.net.unplug(addrA)
		a.cut()
		b := w.holder(addrB)
		b.set(func() { b.mu.id, b.mu.holdings = a.identity(), []*peer.Holding{holding(ids[0], 1)} })
		w.peers.set(billing, addrB)
		w.d.Knocked(a.identity(), addrB)
		w.after(time.Hour)
		b.expect(0)
		if place, _, no := w.where(ids[0]); place != journal.PlaceHeld || no != 1 {
			t.Errorf("place %d under %d", place, no)
		}
	})
}

func TestForget(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.holder(addrA), w.holder(addrB)
		w.peers.set(billing, addrA)
		ids := w.accept(billing, 1)
		a.hold(a.expect(1)...)
		w.after(2 * time.Second)
		if err := w.d.Forget(t.Context(), journal.NewID()); err != outbound.ErrUnknownPeer {
			t.Errorf("forgetting a stranger: %v", err)
		}
		a.set(func() { a.mu.holdings = []*peer.Holding{holding(ids[0], 1)} })
		w.peers.set(billing, addrB)
		if err := w.d.Forget(t.Context(), a.identity().Journal); err != nil {
			t.Fatalf("forget: %v", err)
		}
		if o := b.expect(1)[0]; o.OfferNo != 2 {
			t.Errorf("offered elsewhere under %d", o.OfferNo)
		}
		w.d.Knocked(a.identity(), addrA)
		w.after(10 * time.Second)
		if got := a.revokes(); len(got) != 1 || got[0].Why != peer.Revoke_SUPERSEDED {
			t.Errorf("when it came back it was told %v", got)
		}
	})
}

// One journal behind two addresses is one holder with one stream.
func TestOneJournalAtTwoAddresses(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.holder(addrA), w.holder(addrB)
		b.set(func() { b.mu.id = a.identity(); b.mu.credits[billing] = 2 })
		a.set(func() { a.mu.credits[billing] = 2 })
		w.peers.set(billing, addrA, addrB)
		w.accept(billing, 2)
		w.after(5 * time.Second)
		if a.connected() == b.connected() {
			t.Errorf("connected at a: %v, at b: %v; want one", a.connected(), b.connected())
		}
		open := a
		if b.connected() {
			open = b
		}
		open.hold(open.expect(2)...)
		w.after(5 * time.Minute)
		if n := w.net.dialed(addrA) + w.net.dialed(addrB); n > 4 {
			t.Errorf("dialed %d times: the two streams keep ending each other", n)
		}
	})
}

// What a holder proves of an older copy is said as that, and by its own code whether it is ours:
// until a stream opens.
func TestOlderCopyIsNamed(t *testing.T) {
	for _, c := range []struct {
		name string
		code string
		ours bool
	}{{"ours", "journal_put_back", true}, {"its own", "peer_put_back", false}} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				a := w.holder(addrA)
				proven := a.identity().Journal
				if c.ours {
					proven = w.j.Identity().Journal
				}
				refused, err := status.New(codes.Unavailable, "no").WithDetails(&peer.PutBack{Journal: proven[:], Proof: "home acked report 2, and has now applied 1"})
				if err != nil {
					t.Fatal(err)
				}
				a.set(func() { a.mu.refuses = refused.Err() })
				w.peers.set(billing, addrA)
				ids := w.accept(billing, 1)
				w.after(5 * time.Minute)
				w.wantWhy(ids[0], c.code)
				if got := w.peer(addrA); got.State != c.code || !strings.Contains(got.LastError, "has now applied 1: journal "+proven.String()+" was put back") {
					t.Errorf("the peer is %s: %q", got.State, got.LastError)
				}
				if got := w.d.OldCopies()[addrA]; got == nil || got.Journal != proven {
					t.Errorf("older copies: %v", w.d.OldCopies())
				}
				a.set(func() { a.mu.refuses = nil })
				w.d.Knocked(a.identity(), addrA)
				a.hold(a.expect(1)...)
				if got := w.peer(addrA); got.State != "open" || len(w.d.OldCopies()) != 0 {
					t.Errorf("mended, it is %s, older copies: %v", got.State, w.d.OldCopies())
				}
			})
		})
	}
}

// An older copy of a journal is refused, and the stream of the newer goes on.
func TestOlderCopyDoesNotEndAStream(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		newer, older := w.receiver(addrA), w.holder(addrB)
		w.accept(billing, 1)
		o := newer.expect(1)[0]
		newer.hold(o)
		newer.report(report(1, o, state.FactDelivered))
		w.after(time.Second)
		older.set(func() { older.mu.id, older.mu.told = newer.identity(), &peer.Told{} })
		w.peers.set(billing, addrA, addrB)
		w.d.Knocked(newer.identity(), addrB)
		w.after(5 * time.Minute)
		if got := w.peer(addrB); !strings.Contains(got.LastError, "was put back") || got.State != "peer_put_back" {
			t.Errorf("the older copy is %s, refused with %q", got.State, got.LastError)
		}
		if n := w.net.dialed(addrA); n != 1 || !newer.connected() {
			t.Errorf("the newer was dialed %d times, connected: %t", n, newer.connected())
		}
	})
}

func TestOwnAddress(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.holder(addrA)
		a.set(func() { a.mu.id = w.j.Identity() })
		w.peers.set(billing, addrA)
		w.accept(billing, 1)
		w.after(time.Hour)
		if n := w.net.dialed(addrA); n != 1 {
			t.Errorf("dialed ourselves %d times", n)
		}
	})
}

func TestVersionWithoutOverlap(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.holder(addrA)
		a.set(func() { a.mu.version = 7 })
		w.peers.set(billing, addrA)
		ids := w.accept(billing, 1)
		w.after(time.Hour)
		if got := w.peer(addrA).LastError; got == "" {
			t.Error("no error shown")
		}
		if n := w.net.dialed(addrA); n > 65 {
			t.Errorf("dialed %d times in an hour", n)
		}
		if got := w.status(ids[0]); got != state.Submitted {
			t.Errorf("the intent is %v", got)
		}
	})
}

// A stream with nothing on it is closed, and dialed again at need or at a knock.
func TestIdleClose(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.receiver(addrA)
		w.accept(billing, 1)
		o := a.expect(1)[0]
		a.hold(o)
		w.after(time.Hour)
		if !a.connected() {
			t.Fatal("closed although something is held there")
		}
		a.report(report(1, o, state.FactAnswered))
		w.after(9 * time.Minute)
		if !a.connected() {
			t.Fatal("closed too early")
		}
		w.after(2 * time.Minute)
		if a.connected() || !a.mustLine().mu.goodbye {
			t.Fatal("not closed with a goodbye")
		}
		w.after(time.Hour)
		if n := w.net.dialed(addrA); n != 1 {
			t.Errorf("dialed %d times with no need", n)
		}
		w.d.Knocked(a.identity(), addrA)
		w.after(time.Second)
		if !a.connected() {
			t.Error("a knock was not answered")
		}
		w.after(time.Hour)
		if a.connected() {
			t.Error("not closed again")
		}
		w.accept(billing, 1)
		w.after(time.Second)
		a.expect(1)
	})
}

// After a start every holder on record is dialed, and every endpoint with
// something due.
func TestStartDials(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.holder(addrA), w.holder(addrB)
		w.peers.set(billing, addrA)
		ids := w.accept(billing, 2)
		a.hold(a.expect(1)...)
		w.after(2 * time.Second)
		w.restart()
		a.set(func() { a.mu.holdings = []*peer.Holding{holding(ids[0], 1)} })
		w.peers.set(billing, addrB)
		w.after(2 * time.Second)
		if !a.connected() {
			t.Error("the holder on record was not dialed")
		}
		if o := b.expect(1)[0]; o.OfferNo != 1 {
			t.Errorf("what was never offered goes out under %d", o.OfferNo)
		}
	})
}

// A clean stop records what is unanswered as held; the next start asks first.
func TestDrainRecordsTheUnanswered(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.holder(addrA), w.holder(addrB)
		w.peers.set(billing, addrA)
		ids := w.accept(billing, 1)
		a.expect(1)
		w.restart(func() { w.net.unplug(addrA) }) // or it is asked, and lists nothing
		if place, holder, no := w.where(ids[0]); place != journal.PlaceHeld || holder != a.identity().Journal || no != 1 {
			t.Fatalf("after the stop: place %d at %v under %d", place, holder, no)
		}
		w.peers.set(billing, addrB)
		w.after(5 * time.Minute)
		if w.net.dialed(addrB) > 0 {
			b.expect(0)
		}
		w.plug(a)
		w.after(2 * time.Minute)
		if o := b.expect(1)[0]; o.OfferNo != 2 {
			t.Errorf("not listed, and offered elsewhere under %d", o.OfferNo)
		}
	})
}

func TestDrainWaitsForAnswers(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.receiver(addrA)
		ids := w.accept(billing, 2)
		o := a.expect(1)[0]
		done := make(chan struct{})
		go func() { w.d.Drain(t.Context()); close(done) }()
		w.after(3 * time.Second)
		select {
		case <-done:
			t.Fatal("Drain returned with an answer owed")
		default:
		}
		a.hold(o)
		w.after(2 * time.Second)
		select {
		case <-done:
		default:
			t.Fatal("Drain did not return when all was answered")
		}
		a.credit(billing, 10)
		a.expect(0)
		if place, _, _ := w.where(ids[1]); place != journal.PlaceDue {
			t.Errorf("the one never offered is at place %d", place)
		}
	})
}

func TestAskBothWays(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.receiver(addrA)
		ids := w.accept(billing, 1)
		a.hold(a.expect(1)...)
		type reply struct {
			a   *peer.Answer
			err error
		}
		got := make(chan reply, 1)
		go func() {
			x, err := w.d.Ask(t.Context(), ids[0], a.identity().Journal, peer.Ask_WHY)
			got <- reply{x, err}
		}()
		l := a.line()
		if len(l.mu.asks) != 1 || journal.ID(l.mu.asks[0].Id) != ids[0] {
			t.Fatalf("asked %v", l.mu.asks)
		}
		a.send(&peer.Frame{Answers: []*peer.Answer{{No: 99}, {No: l.mu.asks[0].No, Text: "no_reader"}, {No: l.mu.asks[0].No}}})
		if r := <-got; r.err != nil || r.a.Text != "no_reader" {
			t.Errorf("answer %v, %v", r.a, r.err)
		}
		if _, err := w.d.Ask(t.Context(), ids[0], journal.NewID(), peer.Ask_WHY); err != outbound.ErrNoStream {
			t.Errorf("asking a stranger: %v", err)
		}
		go func() {
			x, err := w.d.Ask(t.Context(), ids[0], a.identity().Journal, peer.Ask_WHY)
			got <- reply{x, err}
		}()
		a.line()
		unknown := journal.NewID()
		a.send(&peer.Frame{Asks: []*peer.Ask{
			{No: 1, What: peer.Ask_EVENTS, Id: ids[0][:], Since: 1}, {No: 2, What: peer.Ask_STATUS, Id: unknown[:]}, {No: 3, What: peer.Ask_STATUS, Id: ids[0][:]}, {No: 4, Id: []byte("x")},
		}})
		answers := l.mu.answers
		if len(answers) != 4 || len(answers[0].Events) != 1 || answers[1].Error != "not_found" || answers[2].Status != uint32(state.Submitted) || answers[3].Error == "" {
			t.Errorf("answers %v", answers)
		}
		a.cut()
		if r := <-got; r.err != outbound.ErrNoStream {
			t.Errorf("asked on a stream that broke: %v, %v", r.a, r.err)
		}
	})
}
