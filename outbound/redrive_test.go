package outbound_test

import (
	"errors"
	"testing"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire/peer"
)

// TestHolderRedrives: the holder on record has a dead letter redriven, asks again
// after a lost answer, and another holder is refused.
func TestHolderRedrives(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.holder(addrA), w.holder(addrB)
		w.peers.set(billing, addrA)
		w.peers.set("warm", addrB)
		w.accept("warm", 1)
		b.hold(b.expect(1)...)
		ids := w.accept(billing, 2)
		offers := a.expect(1)
		a.hold(offers...)
		rejected := report(1, offers[0], state.FactRejected)
		rejected.Reason, rejected.Text = uint32(state.ReasonRejected), "no such order"
		a.report(rejected)
		dead, open := ids[0], ids[1]
		if w.status(dead) != state.Failed {
			dead, open = open, dead
		}
		ask := func(f *fake, no uint64, id journal.ID, wish *peer.Redrive) *peer.Answer {
			t.Helper()
			f.send(&peer.Frame{Asks: []*peer.Ask{{No: no, What: peer.Ask_REDRIVE, Id: id[:], Redrive: wish}}})
			w.after(time.Second)
			for _, x := range f.mustLine().mu.answers {
				if x.No == no {
					return x
				}
			}
			t.Fatalf("question %d has no answer", no)
			return nil
		}
		if got := ask(b, 1, dead, nil); got.Error != "policy_denied" {
			t.Errorf("another holder: %v", got)
		}
		if got := ask(a, 1, dead, &peer.Redrive{Payload: []byte(`[]`)}); got.Error != "unsupported" {
			t.Errorf("a payload that is no object: %v", got)
		}
		if i, err := w.j.DeadLetter(dead); err != nil || len(i.Head.RedrivenAs) > 0 {
			t.Fatalf("refused, and done: %v", err)
		}
		original, err := w.j.Get(dead)
		if err != nil {
			t.Fatal(err)
		}
		w.d.HoldTo(func(intentType string, payload []byte) error {
			if intentType == original.Envelope.IntentType && string(payload) == `{"n":"two"}` {
				return errors.New("/payload/n must be a number")
			}
			return nil
		})
		if got := ask(a, 5, dead, &peer.Redrive{Payload: []byte(`{"n":"two"}`)}); got.Error != "schema_invalid" || got.Text != "/payload/n must be a number" {
			t.Errorf("a payload that does not fit home's schema: %v", got)
		}
		kill := func(killed bool) {
			if err := w.j.SetKilled(t.Context(), original.Envelope.FromAgent, killed, "ann"); err != nil {
				t.Fatal(err)
			}
		}
		kill(true)
		if got := ask(a, 4, dead, nil); got.Error != "agent_killed" {
			t.Errorf("the sender has been killed: %v", got)
		}
		kill(false)
		got := ask(a, 2, dead, &peer.Redrive{Payload: []byte(`{"n":2}`), DeliverByLeftMs: 60_000, Actor: "ann"})
		next, err := journal.IDOf(got.RedrivenAs)
		if err != nil || got.Error != "" || got.CreatedMs == 0 {
			t.Fatalf("redriven: %v", got)
		}
		i, err := w.j.Get(next)
		if err != nil || string(i.Envelope.Payload) != `{"n":2}` || journal.ID(i.Envelope.RedriveOf) != dead || i.Head.DeliverByMs-i.Head.CreatedMs > 60_000 {
			t.Errorf("%v: the successor is %v", err, i)
		}
		if got := ask(a, 3, dead, nil); got.Error != "already_redriven" || journal.ID(got.RedrivenAs) != next {
			t.Errorf("asked again: %v", got)
		}
		unknown := journal.NewID()
		for no, row := range map[uint64]struct {
			id   journal.ID
			want string
		}{10: {unknown, "not_found"}, 11: {open, "policy_denied"}} {
			if got := ask(a, no, row.id, nil); got.Error != row.want {
				t.Errorf("%s: %v, want %s", row.id, got, row.want)
			}
		}
	})
}
