package outbound_test

import (
	"slices"
	"testing"
	"time"

	"pannier/journal"
	"pannier/outbound"
)

// A holder whose journal is gone is shown beside the one that answers in its place, with the time
// at which it is given up, and until then.
func TestReplacedHolderIsShownUntilItIsGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.receiver(addrA)
		w.accept(billing, 1)
		a.hold(a.expect(1)...)
		old := a.identity().Journal
		if at := w.d.GivenUpAt(old); !at.IsZero() {
			t.Errorf("connected, it is given up at %v", at)
		}
		a.set(func() { a.mu.id = journal.Identity{Journal: journal.NewID(), Epoch: 1} })
		a.cut()
		w.after(5 * time.Second)
		shown := func() (out []outbound.PeerStatus) {
			return slices.DeleteFunc(w.d.Peers(), func(p outbound.PeerStatus) bool { return p.JournalID != old.String() })
		}
		got, at := shown(), w.d.GivenUpAt(old)
		if left := time.Until(at); left <= 0 || left > w.opt.HolderMovedAfter {
			t.Errorf("it is given up in %v, want that within %v", left, w.opt.HolderMovedAfter)
		}
		if len(got) != 1 || got[0].State != "down" || got[0].Held != 1 || got[0].LastError == "" || got[0].GivenUpAt == nil || !got[0].GivenUpAt.Equal(at) {
			t.Errorf("it is shown as %+v, given up at %v", got, at)
		}
		w.after(w.opt.HolderMovedAfter)
		a.expect(1)
		if got := shown(); len(got) != 0 {
			t.Errorf("given up, it is shown as %+v", got)
		}
	})
}

// One that takes connections and says nothing is out of reach since it was dialed first.
func TestOutSinceItIsWanted(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.holder(addrA)
		a.set(func() { a.mu.mute = true })
		w.peers.set(billing, addrA)
		w.accept(billing, 1)
		w.after(15 * time.Second)
		if out := w.peer(addrA).OutSince; out == nil || time.Since(*out) != 15*time.Second {
			t.Errorf("out since %v", out)
		}
		a.set(func() { a.mu.mute = false })
		a.cut()
		w.d.Knocked(a.identity(), addrA)
		a.hold(a.expect(1)...)
		if p := w.peer(addrA); p.State != "open" || p.OutSince != nil {
			t.Errorf("%s, and out since %v", p.State, p.OutSince)
		}
	})
}
