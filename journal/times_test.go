package journal

import (
	"math/rand/v2"
	"testing"
)

// However long a backlog is, few counts are kept, none is lost, and the age that
// they give is no more than the true one, nor much less.
func TestTimes(t *testing.T) {
	t.Parallel()
	const entries, hour = 200_000, int64(3600_000)
	x, now := newTimes(timesMost), int64(1<<40)
	all := make([]int64, entries)
	for i := range all {
		all[i] = now - rand.Int64N(30*24*hour)
		x.add(all[i], 1)
	}
	all[0] = now - 31*24*hour
	x.add(all[0], 1)
	if len(x.by) > timesMost {
		t.Errorf("%d counts are kept, want at most %d", len(x.by), timesMost)
	}
	n, later, oldest := x.count(now)
	if n != entries+1 || later != 0 {
		t.Errorf("got %d and %d later, want %d", n, later, entries+1)
	}
	if late := oldest - all[0]; late < 0 || late > 31*24*hour/2000 {
		t.Errorf("the oldest is said to be %d ms younger than it is", late)
	}
	if _, later, _ := x.count(all[0] - 24*hour); later != entries+1 {
		t.Errorf("a day before the first, %d are later", later)
	}
}

// What leaves is counted out of where it was counted in, also after spans have
// become longer.
func TestTimesLeave(t *testing.T) {
	t.Parallel()
	x := newTimes(timesMost)
	for i := range int64(3 * timesMost) {
		x.add(1<<40+i<<timesShift, 1)
	}
	for i := range int64(3 * timesMost) {
		x.add(1<<40+i<<timesShift, -1)
	}
	if n, later, oldest := x.count(1 << 41); n != 0 || later != 0 || oldest != 0 || len(x.by) != 0 {
		t.Errorf("got %d and %d later, oldest %d, in %d counts; want nothing", n, later, oldest, len(x.by))
	}
	if x.shift != timesShift {
		t.Errorf("an empty one counts in spans of 2^%d ms, want 2^%d", x.shift, timesShift)
	}
}
