package journal_test

import (
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// everywhere is a journal, stopped, with something in each index: its own, and what it holds for
// a home, open and ended, with reports that nobody has heard.
func everywhere(t *testing.T) *world {
	t.Helper()
	w := setup(t)
	home, holder := journal.Identity{Journal: journal.NewID(), Epoch: 1}, journal.Identity{Journal: journal.NewID(), Epoch: 1}
	reject := func(h journal.Handed) {
		if got := w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Nack, Reject: true}); got.Err != nil {
			t.Fatal(got.Err)
		}
	}
	w.accept()
	reject(w.local(time.Minute)) // dead by its head, and by its hand-over
	if err := w.j.Refuse(t.Context(), w.accept(), 1, state.ReasonRejected, "no"); err != nil {
		t.Fatal(err)
	}
	held := w.accept()
	noted := make(chan struct{})
	w.j.RecordHeld(holder, []journal.ID{held}, []uint64{1}, true, func() { close(noted) })
	<-noted
	w.accept()
	w.local(time.Minute)
	w.gated(journal.Accept{}, part(0, false, "a"))
	w.held(home, "orders", 0, nil)
	known := w.held(home, "orders", time.Minute, nil) // dead at home, and known to be
	reject(*known.Handed)
	if err := w.j.AckReports(t.Context(), home.Journal, 0, []journal.Acked{{ID: known.ID, Status: state.Failed, Events: []*wire.Event{
		{Status: uint32(state.Failed), Reason: uint32(state.ReasonRejected)},
	}}}); err != nil {
		t.Fatal(err)
	}
	w.accept()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	return w
}

// Whatever index has lost an entry, its records name it, and no other: the start puts it back.
func TestEachIndexIsBuiltAnew(t *testing.T) {
	t.Parallel()
	w := everywhere(t)
	for _, class := range "olwxnz" {
		t.Run(string(class), func(t *testing.T) {
			t.Parallel()
			v := w.copied(t)
			v.plant(func(txn *badger.Txn) error { return txn.Delete(firstKey(txn, byte(class))) })
			v.open(journal.Options{})
			if n := v.j.Stats().Rebuilt; n != 1 {
				t.Errorf("%d entries were built anew, want 1", n)
			}
			v.whole()
		})
	}
}

// Where a record cannot be read nobody knows what it named: indexes that are wrong beside it are
// not built anew.
func TestUnreadableRecordIsNotBuiltUpon(t *testing.T) {
	t.Parallel()
	for _, class := range "ihq" {
		t.Run(string(class), func(t *testing.T) {
			t.Parallel()
			w := everywhere(t)
			w.plant(rewrite(byte(class), func(rec []byte) []byte { return rec[:len(rec)-1] }))
			w.plant(remove('x'))
			w.wantDamage("the records do not say what is missing")
		})
	}
}
