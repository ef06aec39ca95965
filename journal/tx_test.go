package journal_test

import (
	"testing"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// TestWhatComesAndGoesInOneBatch: a key of an index is in the store after a batch
// exactly if it came last, whatever was there before, and however the steps are spread
// over operations.
func TestWhatComesAndGoesInOneBatch(t *testing.T) {
	t.Parallel()
	w := setup(t)
	there := false
	for _, steps := range []string{
		"+-", "+|-", "+-|+|-", "+-+", "-+-", "+", "-|+|-", "+", "-|+-", "+|-|+|-|+", "-+", "-+|-+", "-", "|+|-|+-|", "+|-+-", "-|+-+-", "+-|-+-", "+|+-+-", "-+-|+-+",
	} {
		got, err := w.j.Walk(steps)
		if err != nil {
			t.Fatal(err)
		}
		before := there
		for _, s := range steps {
			there = s == '+' || s == '|' && there
		}
		if got != there {
			t.Fatalf("there before: %v; after %s: %v", before, steps, got)
		}
	}
}

// TestNoTraceOfWhatComesAndGoes: held and leased in one commit, an intent is in the
// mailbox index once, with no tombstone before it; and events that have not changed are
// not written with a head that has.
func TestNoTraceOfWhatComesAndGoes(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	id := p.home.accept()
	if res, err := p.offer(time.Minute); err != nil || res[0].Err != nil || res[0].Handed == nil {
		t.Fatalf("offer: %v, %+v", err, res)
	}
	if n := journal.Versions(p.holder.j, 'n'); n != 1 {
		t.Errorf("%d writes to the mailbox index, want one", n)
	}
	noted := make(chan struct{})
	p.home.j.RecordHeld(p.holder.j.Identity(), []journal.ID{id}, []uint64{1}, true, func() { close(noted) })
	<-noted
	if heads, events := journal.Versions(p.home.j, 'i'), journal.Versions(p.home.j, 't'); heads != 2 || events != 1 {
		t.Errorf("%d writes of the head and %d of the events, want two and one", heads, events)
	}
	for range 2 { // and what is left is whole
		p.home.reopen()
		p.holder.reopen()
	}
}

// What a batch has deleted is not there for what comes later in it, and is no damage.
func TestDeletedInItsBatch(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.accept()
	if found, err := w.j.GetDeleted(t.Context(), id); found || err != nil {
		t.Errorf("found: %v, %v", found, err)
	}
	if got := w.status(id); got != state.Submitted {
		t.Errorf("it is %s", got)
	}
}

// What an operation writes, and writes again, counts once: by it the room in a batch is
// judged, in which more than the store takes stops the journal.
func TestWritesCountOnce(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, steps := range []string{"a", "aba", "ab", "+", "+-+-+", "a+b-", "2", "22", "21", "20", "1+-0a"} {
		if err := w.j.CountWrites(t.Context(), steps); err != nil {
			t.Error(err)
		}
	}
}

// A blob is what was stored last, whatever a longer one has left behind it; and one that is
// removed in the batch that has stored it leaves no chunk.
func TestBlobInPlaceOfALongerOne(t *testing.T) {
	t.Parallel()
	w := setup(t)
	const long = 2*journal.ChunkSize + 10
	for _, row := range [][2]int{{long, 10}, {10, long}, {0, 10}, {long, 0}, {long, journal.ChunkSize}} {
		if is, _, err := w.j.Rewrite(t.Context(), row[0], row[1]); err != nil || is != row[1] {
			t.Errorf("%d bytes after %d: %d of them are read, %v", row[1], row[0], is, err)
		}
	}
	if _, left, err := w.j.Rewrite(t.Context(), 10, long); err != nil || left {
		t.Errorf("removed at once, it is there: %v, %v", left, err)
	}
}

// What is replaced is not one more, and what a batch has made and removed not one less.
func TestCountOfABatch(t *testing.T) {
	t.Parallel()
	w := setup(t)
	if n, err := w.j.CountInBatch(w.schedule(&wire.Schedule{}), w.schedule(&wire.Schedule{})); err != nil || n != 2 {
		t.Errorf("there are said to be %d, %v; want 2", n, err)
	}
}
