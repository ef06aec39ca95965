package journal_test

import "testing"

// A start answers a store that Badger panics on, whichever part of the live set it is read for:
// a panic that nobody can recover would be a crash, and one that nobody sees a set that is short.
func TestScanPanicsForWhoAsks(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.accept()
	defer func() {
		if recover() == nil {
			t.Error("the live set of a store that is closed was read, and nobody was told that it cannot be")
		}
	}()
	if err := w.j.ScanClosed(); err != nil {
		t.Fatal(err)
	}
}
