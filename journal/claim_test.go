package journal_test

import (
	"testing"
	"time"

	"pannier/journal"
)

// Readers that divide a destination's intents among them each find all of their
// own, however far ahead another is, and a cursor that goes back goes back for
// all.
func TestDueInParts(t *testing.T) {
	w := setup(t)
	of := map[journal.ID]int{}
	accept := func(n int) {
		for range n {
			of[w.accept()] = len(of) % 2
		}
	}
	read := func(part, most int) (ids []journal.ID) {
		t.Helper()
		a, _ := w.j.AgentNo(billing)
		offers, _, err := w.j.DuePart(a, part, time.Now().Add(time.Second), most, func(id journal.ID) bool { return of[id] != part })
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range offers {
			if of[o.ID] != part {
				t.Errorf("part %d was given %v of part %d", part, o.ID, of[o.ID])
			}
			ids = append(ids, o.ID)
		}
		return ids
	}
	accept(10)
	if got := len(read(0, 100)); got != 5 {
		t.Fatalf("the first part has %d, want 5", got)
	}
	if got := len(read(1, 2)) + len(read(1, 100)); got != 5 {
		t.Errorf("the second part has %d behind the first, want 5", got)
	}
	if got := len(read(0, 100)) + len(read(1, 100)); got != 0 {
		t.Errorf("%d came twice", got)
	}
	accept(4)
	if a, b := len(read(1, 100)), len(read(0, 100)); a != 2 || b != 2 {
		t.Errorf("of four new ones the parts have %d and %d", b, a)
	}
	a, _ := w.j.AgentNo(billing)
	w.j.Rewind(a, time.UnixMilli(0))
	if got := len(read(0, 100)) + len(read(1, 100)); got != 14 {
		t.Errorf("after going back both have %d, want 14", got)
	}
}
