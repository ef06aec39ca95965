package journal_test

import (
	"errors"
	"testing"
	"time"

	"pannier/journal"
)

// More reports than a batch has room for: a home of a new epoch hears them from 1, and what
// it acks at once is forgotten.
func TestMoreReportsThanABatch(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ctx := t.Context()
	home := journal.Identity{Journal: journal.NewID(), Epoch: 1}
	saw := func(applied *uint64) (bool, error) { return w.j.SawHome(ctx, home, "127.0.0.1:1", applied) }
	told := func(when string, last, acked uint64) {
		t.Helper()
		gotLast, gotAcked, err := w.j.Told(ctx, home.Journal)
		if err != nil || gotLast != last || gotAcked != acked {
			t.Errorf("%s: the last report is %d, acked up to %d, %v; want %d and %d", when, gotLast, gotAcked, err, last, acked)
		}
	}
	ack := func(upTo uint64) {
		t.Helper()
		if err := w.j.AckReports(ctx, home.Journal, upTo, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := saw(nil); err != nil {
		t.Fatal(err)
	}
	held := w.holdMany(home, many, time.Hour)
	if err := atOnce(many, func(i int) error {
		_, err := w.j.Settle(ctx, []journal.Settle{{ID: held[i].ID, Lease: held[i].Handed.Lease, Action: journal.Ack}})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	const all, first = uint64(2 * many), 10 // leased, and answered
	told("at first", all, 0)
	ack(first)
	told("then", all, first)

	home.Epoch++
	if anew, err := saw(nil); err != nil || !anew {
		t.Fatalf("of a new epoch: numbered anew %v, %v", anew, err)
	}
	told("of a new epoch", all-first, 0)
	for _, after := range []uint64{0, all - first - 1} {
		if got, err := w.j.Reports(home.Journal, after, 1); err != nil || len(got) != 1 || got[0].No != after+1 {
			t.Errorf("after report %d comes %v, %v", after, got, err)
		}
	}
	w.reopen()
	told("after a start", all-first, 0)
	ack(all - first)
	told("acked at once", all-first, all-first)
	if got, err := w.j.Reports(home.Journal, 0, 10); err != nil || len(got) > 0 {
		t.Errorf("of what is acked %d are left, %v", len(got), err)
	}
	w.held(home, "orders", time.Hour, nil)
	if got, err := w.j.Reports(home.Journal, 0, 10); err != nil || len(got) != 1 || got[0].No != all-first+1 {
		t.Errorf("the next is %v, %v, want number %d", got, err, all-first+1)
	}
	for applied, want := range map[uint64]error{all - first: nil, all - first - 1: journal.ErrOldCopy, all: journal.ErrOldCopy} {
		if _, err := saw(&applied); !errors.Is(err, want) {
			t.Errorf("a home that has applied %d: %v, want %v", applied, err, want)
		}
	}
	w.whole()
}
