package journal_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"pannier/journal"
)

// Of homes that only ever said hello those longest gone are forgotten, and only when
// they are many; what is held, told, or connected keeps its home on record.
func TestForgetStrangers(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ctx := context.Background()
	var homes []journal.Identity
	for range 10 {
		home := journal.Identity{Journal: journal.NewID(), Epoch: 1}
		homes = append(homes, home)
		if _, err := w.j.SawHome(ctx, home, "127.0.0.1:1", nil); err != nil {
			t.Fatal(err)
		}
	}
	held, acked, owed, live := homes[0], homes[1], homes[2], homes[3]
	w.held(held, "orders", 0, nil)
	for _, home := range []journal.Identity{acked, owed} {
		one := w.held(home, "orders", time.Minute, nil)
		w.settle(journal.Settle{ID: one.ID, Lease: one.Handed.Lease, Action: journal.Ack})
	}
	reports, err := w.j.Reports(acked.Journal, 0, 100)
	if err != nil || len(reports) == 0 {
		t.Fatalf("%d reports, %v", len(reports), err)
	}
	last := reports[len(reports)-1].No
	if err := w.j.AckReports(ctx, acked.Journal, last, nil); err != nil {
		t.Fatal(err)
	}
	forget := func(most, keep, want int) {
		t.Helper()
		n, err := w.j.ForgetStrangersBeyond(most, keep, func(id journal.ID) bool { return id == live.Journal })
		if err != nil || n != want {
			t.Errorf("beyond %d, %d kept: %d are forgotten, %v, want %d", most, keep, n, err, want)
		}
	}
	known := func() (ids []journal.ID) {
		all, err := w.j.Homes()
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range all {
			ids = append(ids, h.ID)
		}
		return ids
	}
	forget(10, 0, 0) // as many as there are
	forget(7, 0, 0)  // of ten homes seven may be strangers, one of which has something here
	forget(6, 4, 2)
	forget(6, 0, 0)
	forget(1, 0, 4)
	left := known()
	for _, home := range []journal.Identity{held, acked, owed, live} {
		if !slices.Contains(left, home.Journal) {
			t.Errorf("a home that is needed is forgotten")
		}
	}
	if len(left) != 4 {
		t.Errorf("%d homes are left, want those four", len(left))
	}
	w.reopen()
	if got := known(); len(got) != 4 {
		t.Errorf("after a start there are %d homes, want 4", len(got))
	}
	// One that comes back is a home like any other, and the numbers of one that was
	// told something go on.
	if _, err := w.j.SawHome(ctx, homes[9], "127.0.0.1:2", nil); err != nil {
		t.Fatal(err)
	}
	for home, want := range map[journal.Identity]uint64{homes[9]: 1, acked: last + 1} {
		one := w.held(home, "orders", time.Minute, nil)
		w.settle(journal.Settle{ID: one.ID, Lease: one.Handed.Lease, Action: journal.Ack})
		if reports, err := w.j.Reports(home.Journal, 0, 100); err != nil || len(reports) == 0 || reports[0].No != want {
			t.Errorf("the first report is %v, %v, want number %d", reports, err, want)
		}
	}
	w.whole()
}
