package outbound_test

import (
	"context"
	"testing"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
	"pannier/journal/wire/peer"
)

// TestChangedOptionsAreTold: with the offer, at once to whoever holds the intent, and
// at the reconcile of one that could not be told.
func TestChangedOptionsAreTold(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.holder(addrA)
		id := w.accept(billing, 1)[0]
		change := func(attempts uint32) {
			if _, err := w.j.Change(context.Background(), id, &wire.Change{Controls: []byte(`{}`), MaxAttempts: attempts, WorkTimeoutMs: 7000}); err != nil {
				t.Fatal(err)
			}
			w.after(time.Second)
		}
		told := func(when string, generation uint64, attempts uint32) {
			t.Helper()
			got := a.updates()
			if len(got) != 1 || journal.ID(got[0].Id) != id || got[0].PolicyGeneration != generation || got[0].MaxDeliveryAttempts != attempts || got[0].WorkTimeoutMs != 7000 || got[0].DeadlineLeftMs == 0 {
				t.Errorf("%s: told %v, want generation %d", when, got, generation)
			}
		}
		change(9)
		w.peers.set(billing, addrA)
		o := a.expect(1)
		if o[0].PolicyGeneration != 1 || o[0].MaxDeliveryAttempts != 9 || o[0].WorkTimeoutMs != 7000 {
			t.Errorf("offered as %v", o[0])
		}
		change(8) // sent, and held is not said yet
		told("on the way", 2, 8)
		a.hold(o...)
		w.after(2 * time.Second)
		change(7)
		told("on record", 3, 7)
		w.net.unplug(addrA)
		a.cut()
		w.after(time.Second)
		change(6)
		heard := holding(id, 1)
		heard.PolicyGeneration = 3
		a.set(func() { a.mu.holdings = []*peer.Holding{heard} })
		w.plug(a)
		w.after(5 * time.Second)
		told("out of reach", 4, 6)
	})
}

// TestOnlyItsHolderHasASay: a change is made for a sidecar that has the intent, and
// for nobody else.
func TestOnlyItsHolderHasASay(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.receiver(addrA)
		theirs := w.accept(billing, 1)[0]
		a.hold(a.expect(1)...)
		w.after(time.Second)
		others := w.accept("agent://acme/prod/elsewhere", 1)[0]
		c := &wire.Change{Controls: []byte(`{"a":1}`)}
		l := a.line()
		a.send(&peer.Frame{Asks: []*peer.Ask{
			{No: 1, What: peer.Ask_CHANGE, Id: theirs[:], Change: c}, {No: 2, What: peer.Ask_CHANGE, Id: others[:], Change: c},
			{No: 3, What: peer.Ask_CHANGE, Id: theirs[:]}, {No: 4, What: peer.Ask_CHANGE, Id: theirs[:], Change: &wire.Change{Controls: []byte(`[]`)}},
		}})
		w.after(time.Second)
		got := map[uint64]*peer.Answer{}
		for _, x := range l.mu.answers {
			got[x.No] = x
		}
		if got[1].GetError() != "" || got[1].GetPolicyGeneration() != 1 {
			t.Errorf("of its own: %v", got[1])
		}
		for no, want := range map[uint64]string{2: "not_found", 3: "unsupported", 4: "journal_failed"} {
			if got[no].GetError() != want {
				t.Errorf("question %d: %v, want %s", no, got[no], want)
			}
		}
		for id, want := range map[journal.ID]uint64{theirs: 1, others: 0} {
			if i, err := w.j.Get(id); err != nil || i.Head.PolicyGeneration != want {
				t.Errorf("%v: generation %d, want %d", err, i.Head.PolicyGeneration, want)
			}
		}
		// The apps of a holder may all ask at once.
		many := &peer.Frame{}
		for no := range uint64(50) {
			many.Asks = append(many.Asks, &peer.Ask{No: 10 + no, What: peer.Ask_CHANGE, Id: theirs[:], Change: c})
		}
		a.send(many)
		w.after(time.Second)
		for _, x := range l.mu.answers {
			if x.No >= 10 && x.Error != "" {
				t.Errorf("question %d of 50 at once: %v", x.No, x)
			}
		}
		if n := len(l.mu.answers); n != 54 {
			t.Errorf("%d answers, want 54", n)
		}
		if w.cancel(theirs); w.status(theirs) != state.Canceled {
			t.Error("it was not canceled")
		}
	})
}

// TestCompletionsPassWhatWaits: an agent whose window is used up and whose door gave
// something back is still told how things ended.
func TestCompletionsPassWhatWaits(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.receiver(addrA)
		w.accept(billing, 1)
		a.hold(a.expect(1)...)
		a.credit(billing, 1)
		w.after(time.Second)
		w.accept(billing, 2)
		w.after(time.Second)
		if got := a.offers(); len(got) != 0 {
			t.Fatalf("%d offers beyond the window", len(got))
		}
		for range 3 {
			res, err := w.j.Accept(context.Background(), []journal.Accept{{Envelope: &wire.Envelope{
				IntentType: "a.v1", ToAgent: "agent://acme/prod/nobody", ReplyTo: billing, Payload: []byte(`{}`),
			}}})
			if err != nil {
				t.Fatal(err)
			}
			w.cancel(res[0].ID)
		}
		w.after(time.Second)
		if got := a.offers(); len(got) != 3 {
			t.Errorf("%d completions were offered, want 3", len(got))
		}
	})
}
