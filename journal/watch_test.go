package journal_test

import (
	"testing"

	"pannier/journal"
)

// TestWatchersOfOneIntent: who stops waiting takes nobody else with it, and leaves nothing behind.
func TestWatchersOfOneIntent(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.accept()
	_, stopFirst := w.j.Watch(id)
	second, stopSecond := w.j.Watch(id)
	third, stopThird := w.j.Watch(id)
	stopFirst()
	stopThird()
	h := w.hand1(id)
	w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Ack})
	if len(second) != 1 {
		t.Error("who still waits is not woken")
	}
	if len(third) != 0 {
		t.Error("who has stopped is woken")
	}
	stopSecond()
	if n := w.j.Watched(); n != 0 {
		t.Errorf("nobody waits, and %d intents are watched", n)
	}
}
