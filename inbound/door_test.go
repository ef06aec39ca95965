package inbound_test

import (
	"slices"
	"testing"
	"time"

	"pannier/inbound"
	"pannier/journal"
)

// id makes the n-th intent of a test.
func id(n int) journal.ID { return journal.ID{15: byte(n), 14: byte(n >> 8)} }

type step func(d *inbound.Door, now *time.Time)

func enter(d *inbound.Door, now *time.Time) { d.Enter(*now) }
func leave(d *inbound.Door, now *time.Time) { d.Leave(*now) }
func pass(by time.Duration) step {
	return func(d *inbound.Door, now *time.Time) { *now = now.Add(by); d.Tick(*now) }
}
func succeed(n int) step {
	return func(d *inbound.Door, now *time.Time) { d.Hear(*now, id(n), inbound.Succeeded, nil, 1) }
}
func fail(n int, inFlight ...journal.ID) step {
	return func(d *inbound.Door, now *time.Time) { d.Hear(*now, id(n), inbound.Failed, inFlight, 1) }
}
func reject(n int) step {
	return func(d *inbound.Door, now *time.Time) { d.Hear(*now, id(n), inbound.Rejected, nil, 1) }
}
func away(n int, why inbound.Shut) step {
	return func(d *inbound.Door, now *time.Time) { d.TurnAway(*now, id(n), why, 30*time.Second, 1) }
}
func hand(n int) step {
	return func(d *inbound.Door, _ *time.Time) { d.Handed(id(n)) }
}
func times(n int, f func(int) step) step {
	return func(d *inbound.Door, now *time.Time) {
		for i := range n {
			f(i)(d, now)
		}
	}
}

const unbounded = int(^uint(0) >> 1)

func TestDoor(t *testing.T) {
	t.Parallel()
	failing := []step{enter, times(5, func(i int) step { return fail(i) })}
	with := func(more ...step) []step { return append(slices.Clone(failing), more...) }
	for _, row := range []struct {
		rule  string
		steps []step
		shut  inbound.Shut
		allow int
	}{
		{"a new door is open", nil, inbound.Open, unbounded},
		{"no reader for a minute shuts it", []step{pass(time.Minute)}, inbound.NoReader, 0},
		{"a minute less a second does not", []step{pass(59 * time.Second)}, inbound.Open, unbounded},
		{"a pull that waits keeps it open", []step{enter, pass(time.Hour)}, inbound.Open, unbounded},
		{"the minute counts from the end of the last pull", []step{enter, pass(time.Hour), leave, pass(59 * time.Second)}, inbound.Open, unbounded},
		{"and then it shuts", []step{enter, pass(time.Hour), leave, pass(time.Minute)}, inbound.NoReader, 0},
		{"the next pull opens it at once, without a ramp", []step{pass(time.Minute), enter}, inbound.Open, unbounded},
		{"an answer alone does not open it", []step{pass(time.Minute), succeed(1)}, inbound.NoReader, 0},
		{"five failures of different intents shut it", with(), inbound.Failing, 0},
		{"four do not", []step{enter, times(4, func(i int) step { return fail(i) })}, inbound.Open, unbounded},
		{"five of one intent do not", []step{enter, times(5, func(int) step { return fail(7) })}, inbound.Open, unbounded},
		{"a success between starts the count anew", []step{enter, times(4, func(i int) step { return fail(i) }), succeed(9), fail(5)}, inbound.Open, unbounded},
		{"twenty rejections in a row shut it", []step{enter, times(20, reject)}, inbound.Rejecting, 0},
		{"nineteen do not", []step{enter, times(19, reject)}, inbound.Open, unbounded},
		{"any other answer breaks the row", []step{enter, times(19, reject), succeed(30), times(19, reject)}, inbound.Open, unbounded},
		{"rejections are no failures", []step{enter, times(5, reject)}, inbound.Open, unbounded},
		{"the first probe comes after probeMin", with(pass(500 * time.Millisecond)), inbound.Failing, 1},
		{"and not before", with(pass(499 * time.Millisecond)), inbound.Failing, 0},
		{"one probe at a time", with(pass(time.Second), hand(9)), inbound.Failing, 0},
		{"a failed probe waits twice as long", with(pass(time.Second), hand(9), fail(9), pass(900*time.Millisecond)), inbound.Failing, 0},
		{"and then the next may go", with(pass(time.Second), hand(9), fail(9), pass(time.Second)), inbound.Failing, 1},
		{"failures of what was in flight move no probe", with(pass(time.Second), fail(1), fail(2)), inbound.Failing, 1},
		{"a success opens it with one in flight", with(pass(time.Second), hand(9), succeed(9)), inbound.Open, 1},
		{"and doubles", with(pass(time.Second), hand(9), succeed(9), succeed(10), succeed(11)), inbound.Open, 4},
		{"until it sets no bound", with(pass(time.Second), hand(9), times(10, func(i int) step { return succeed(20 + i) })), inbound.Open, unbounded},
		{"a failure on the way halves", with(hand(9), succeed(9), succeed(10), succeed(11), fail(12)), inbound.Open, 2},
		{"an app that asked for a pause gets it, whatever it still answers", []step{enter, away(1, inbound.Throttled), succeed(2), pass(29 * time.Second)}, inbound.Throttled, 0},
		{"and then a probe", []step{enter, away(1, inbound.Throttled), pass(30 * time.Second)}, inbound.Throttled, 1},
		{"whose success opens", []step{enter, away(1, inbound.Throttled), pass(30 * time.Second), hand(2), succeed(2)}, inbound.Open, 1},
		{"one that was not there may be back", []step{enter, away(1, inbound.Unreachable), succeed(2)}, inbound.Open, 1},
		{"a reader that goes leaves it shut for its failures", with(leave, pass(time.Hour)), inbound.Failing, 1},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			now := time.Unix(1_000_000, 0)
			d := inbound.NewDoor(inbound.DefaultOptions(), now)
			for _, s := range row.steps {
				s(d, &now)
			}
			if got := d.Shut(); got != row.shut {
				t.Errorf("door is %s, want %s", got, row.shut)
			}
			if got := d.Allow(now, 0); got != row.allow {
				t.Errorf("door lets %d pass, want %d", got, row.allow)
			}
			if got, want := d.Spares(), row.shut != inbound.Open; got != want {
				t.Errorf("a failure now is spared: %v, want %v", got, want)
			}
		})
	}
}

func TestDoorPauseGrowsWithJitter(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	for _, row := range []struct {
		probes int
		rnd    float64
		want   time.Duration
	}{
		{0, 0, 250 * time.Millisecond}, {0, 1, 500 * time.Millisecond},
		{3, 1, 4 * time.Second}, {3, 0.5, 3 * time.Second},
		{6, 1, 30 * time.Second}, {60, 0, 15 * time.Second}, {60, 1, 30 * time.Second},
	} {
		d := inbound.NewDoor(inbound.DefaultOptions(), now)
		d.Enter(now)
		for i := range 4 {
			d.Hear(now, id(i), inbound.Failed, nil, 1)
		}
		d.Hear(now, id(4), inbound.Failed, nil, row.rnd)
		for i := range row.probes {
			d.Handed(id(i))
			d.Hear(now, id(i), inbound.Failed, nil, row.rnd)
		}
		if got := d.NextProbe().Sub(now); got != row.want {
			t.Errorf("after %d probes at %.1f: %s to the next, want %s", row.probes, row.rnd, got, row.want)
		}
	}
}

func TestDoorChooses(t *testing.T) {
	t.Parallel()
	list := func(ns ...int) (ids []journal.ID) {
		for _, n := range ns {
			ids = append(ids, id(n))
		}
		return ids
	}
	shut := func(d *inbound.Door, now *time.Time) { // on 0 to 4, with 10 and 11 in flight
		d.Enter(*now)
		for i := range 5 {
			d.Hear(*now, id(i), inbound.Failed, list(10, 11), 1)
		}
		*now = now.Add(time.Second)
	}
	opened := func(d *inbound.Door, now *time.Time) {
		shut(d, now)
		d.Handed(id(20))
		d.Hear(*now, id(20), inbound.Succeeded, nil, 1)
	}
	old := func(d *inbound.Door, now *time.Time) { opened(d, now); *now = now.Add(30 * time.Second) }
	for _, row := range []struct {
		rule string
		as   step
		c    inbound.Choice
		want []journal.ID
	}{
		{"oldest first, as many as wanted", enter, inbound.Choice{Ready: list(3, 1, 2), All: true, Want: 2}, list(3, 1)},
		{"a probe is no suspect while there is another", shut, inbound.Choice{Ready: list(0, 10, 30, 31), All: true, Want: 1}, list(30)},
		{"a suspect where there is no other", shut, inbound.Choice{Ready: list(10, 11), All: true, Want: 1}, list(10)},
		{"but not before all has been seen", shut, inbound.Choice{Ready: list(10, 11), Want: 1}, nil},
		{"another intent each time", func(d *inbound.Door, now *time.Time) { shut(d, now); d.Handed(id(30)); d.Returned(id(30)) },
			inbound.Choice{Ready: list(30, 31), All: true, Want: 1}, list(31)},
		{"the same again where it is the only one", func(d *inbound.Door, now *time.Time) { shut(d, now); d.Handed(id(30)); d.Returned(id(30)) },
			inbound.Choice{Ready: list(30), All: true, Want: 1}, list(30)},
		{"suspects last once it is open", opened, inbound.Choice{Ready: list(10, 30, 11, 31), All: true, Want: 3}, list(30, 31)},
		{"one alone when nothing else is ready", opened, inbound.Choice{Ready: list(10, 11), All: true, Want: 3}, list(10)},
		{"not while something is in flight", opened, inbound.Choice{Ready: list(10, 11), All: true, Want: 3, InFlight: 1}, nil},
		{"and nothing beside it", opened, inbound.Choice{Ready: list(11, 30), All: true, Want: 3, InFlight: 1, SuspectOut: true}, nil},
		{"after a while one at a time among the others", old, inbound.Choice{Ready: list(30, 10, 11, 31), All: true, Want: 3, InFlight: 5}, list(10, 30, 31)},
		{"and no second one", old, inbound.Choice{Ready: list(30, 10, 11), All: true, Want: 3, InFlight: 5, SuspectOut: true}, list(30)},
		{"nothing where nothing is wanted", enter, inbound.Choice{Ready: list(1), All: true}, nil},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			now := time.Unix(1_000_000, 0)
			d := inbound.NewDoor(inbound.DefaultOptions(), now)
			row.as(d, &now)
			if got := d.Choose(now, row.c); !slices.Equal(got, row.want) {
				t.Errorf("chose %v, want %v", got, row.want)
			}
		})
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	readers := func(limit int) func(*inbound.Credit, *inbound.Door, *time.Time) {
		return func(c *inbound.Credit, d *inbound.Door, now *time.Time) { d.Enter(*now); c.Ask(*now, limit) }
	}
	earn := func(n int) func(*inbound.Credit, *inbound.Door, *time.Time) {
		return func(c *inbound.Credit, _ *inbound.Door, _ *time.Time) {
			for range n {
				c.Earn()
			}
		}
	}
	holds := func(n int) func(*inbound.Credit, *inbound.Door, *time.Time) {
		return func(c *inbound.Credit, _ *inbound.Door, now *time.Time) {
			c.Count(id(1), n)
			c.Starve(*now)
		}
	}
	do := func(s step) func(*inbound.Credit, *inbound.Door, *time.Time) {
		return func(_ *inbound.Credit, d *inbound.Door, now *time.Time) { s(d, now) }
	}
	shut := do(times(5, func(i int) step { return fail(i) }))
	type act = func(*inbound.Credit, *inbound.Door, *time.Time)
	for _, row := range []struct {
		rule  string
		acts  []act
		homes int
		want  int
	}{
		{"one after a start", nil, 1, 1},
		{"one behind a door without a reader", []act{do(pass(time.Minute))}, 1, 1},
		{"a pull gets at once what it asks for", []act{readers(64)}, 1, 64},
		{"but no more than the cap", []act{readers(5000)}, 1, 2000},
		{"and keeps it for a while though it asks for less", []act{readers(64), do(pass(time.Minute)), readers(8)}, 1, 64},
		{"but not for ever", []act{readers(64), do(pass(time.Minute)), readers(8), do(pass(time.Minute)), readers(8)}, 1, 8},
		{"on top of what the app holds already", []act{holds(40), readers(8)}, 1, 48},
		{"but no more than the cap, whatever it holds", []act{holds(1990), readers(64)}, 1, 2000},
		{"on top of that while its door opens, too", []act{readers(64), shut, do(succeed(9)), do(succeed(10)), holds(3)}, 1, 7},
		{"one more with each success", []act{readers(1), earn(9)}, 1, 10},
		{"up to the base", []act{readers(1), earn(1000)}, 1, 256},
		{"two behind a door shut for failures, so that there is a probe", []act{readers(64), shut}, 1, 2},
		{"one of them without a reader", []act{readers(64), shut, do(leave)}, 1, 1},
		{"twice what may be in flight while it opens", []act{readers(64), shut, do(succeed(9)), do(succeed(10))}, 1, 4},
		{"homes share what may be open", []act{readers(1000)}, 100, 100},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			now := time.Unix(1_000_000, 0)
			d, c := inbound.NewDoor(inbound.DefaultOptions(), now), inbound.NewCredit(inbound.DefaultOptions())
			for _, a := range row.acts {
				a(c, d, &now)
			}
			if got := c.Window(d, row.homes); got != row.want {
				t.Errorf("window is %d, want %d", got, row.want)
			}
		})
	}
}

func TestFloorIsForSixtyFourHomes(t *testing.T) {
	t.Parallel()
	c := inbound.NewCredit(inbound.DefaultOptions())
	in := 0
	for n := range 100 {
		for range 2 {
			if c.Admit(id(n), 1) {
				in++
			}
		}
	}
	if in != 64 {
		t.Errorf("%d intents admitted at the floor from 100 homes, want 64", in)
	}
}
