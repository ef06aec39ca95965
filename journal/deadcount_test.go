package journal_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"pannier/journal"
	"pannier/journal/wire"
)

// Dead letters are counted by whom they were for and why, and those that have a successor
// apart; the same at both ends, and after a restart.
func TestCountDead(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	first, second, third := p.die(), p.die(), p.die()
	p.home.redrive(journal.Redrive{ID: second})
	for _, w := range []*world{p.home, p.holder} {
		for range 2 {
			counts, more, err := w.j.CountDead(100)
			if err != nil || more {
				t.Fatal(err, more)
			}
			slices.SortFunc(counts, func(a, b journal.DeadCount) int { return cmp.Compare(b.Count, a.Count) })
			var got []string
			for _, c := range counts {
				got = append(got, fmt.Sprintf("%s %s %t %d", w.j.AgentName(c.To), c.Reason, c.Redriven, c.Count))
			}
			want := []string{"agent://acme/prod/billing rejected false 2", "agent://acme/prod/billing rejected true 1"}
			if w == p.holder { // it has not heard of the successor
				want = []string{"agent://acme/prod/billing rejected false 3"}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("got %q, want %q", got, want)
			}
			if ended := w.ended(first); !counts[0].Oldest.Equal(ended) || !counts[0].Newest.Equal(w.ended(third)) {
				t.Errorf("from %v to %v, want %v to %v", counts[0].Oldest, counts[0].Newest, ended, w.ended(third))
			}
			w.reopen()
		}
	}
	if counts, more, err := p.home.j.CountDead(2); err != nil || !more || len(counts) != 2 {
		t.Errorf("of two: %v, more %v, %v", counts, more, err)
	}
}

func (w *world) ended(id journal.ID) time.Time {
	w.Helper()
	d, err := w.j.DeadLetter(id)
	if err != nil {
		w.Fatal(err)
	}
	return d.At
}

// Of what waits for somebody, only what waits for an operator is counted.
func TestCountWaiting(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.ask(nil)
	if n, _, _, err := w.j.CountWaiting(10); n != 0 || err != nil {
		t.Errorf("%d wait for an operator where a person is asked, %v", n, err)
	}
	id := w.acceptHeld(true)
	h := w.local(time.Minute)
	w.settle(journal.Settle{ID: id, Lease: h.Lease, Action: journal.Nack})
	if _, err := w.j.Release(t.Context(), []journal.ID{id}); err != nil {
		t.Fatal(err)
	}
	w.change(id, &wire.Change{Controls: []byte(`{}`), MaxAttempts: 1})
	if n, oldest, more, err := w.j.CountWaiting(10); n != 1 || !oldest.Equal(id.Time()) || more || err != nil {
		t.Errorf("%d since %v, more %v, %v; want the one of %v", n, oldest, more, err, id.Time())
	}
	if _, _, more, err := w.j.CountWaiting(1); !more || err != nil {
		t.Errorf("among one, there are no more: %v", err)
	}
}
