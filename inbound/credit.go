package inbound

import (
	"time"

	"pannier/journal"
)

// floorHomes is how many homes may each have one intent here of an agent whose
// door is shut, so that durability at the receiver, and the first pull, find
// something.
const floorHomes = 64

// credit counts what is unsettled here of one agent and decides the window of
// its homes: how many each may have here unsettled. Windows of several homes
// may add up to more than maxOpen; admit then says busy, which is no attempt.
type credit struct {
	base, cap, maxOpen int

	held  map[journal.ID]int // unsettled, by home; offers on their way into the journal included
	total int

	// ramp is the window the app has earned: 1 after a start or a shut door,
	// one more for each success, which doubles it per round.
	ramp int
	// appetite is the largest sum of limits of the pulls open at once, lately:
	// what the app asks for it gets at once. before is that of the period before.
	appetite, before int
	period           time.Duration
	since            time.Time // of the present period
}

func newCredit(o Options) credit {
	return credit{base: o.HomeWindow, cap: o.WindowMax, maxOpen: o.MaxOpen, held: map[journal.ID]int{}, ramp: 1, period: o.NoReaderAfter}
}

// window is the credit of each home.
func (c *credit) window(d *door, homes int) int {
	share := max(1, c.maxOpen/max(1, homes))
	switch {
	case d.shut == NoReader:
		return 1
	case d.shut != Open:
		// A reader is there, but its answers were bad. Home offers nothing to a
		// window at the floor, and without an intent there is no probe.
		return 1 + min(1, d.readers)
	case d.limit > 0:
		return min(2*d.limit, share)
	}
	return max(1, min(max(min(c.ramp, c.base), min(max(c.appetite, c.before), c.cap)), share))
}

// admit counts one more intent of home, and reports whether it may come.
func (c *credit) admit(home journal.ID, window int) bool {
	n := c.held[home]
	switch {
	case n >= window || c.total >= c.maxOpen:
		return false
	case window == 1 && c.total >= floorHomes:
		return false
	}
	c.count(home, 1)
	return true
}

// count adds n unsettled intents of home.
func (c *credit) count(home journal.ID, n int) {
	now := max(0, c.held[home]+n)
	c.total += now - c.held[home]
	if now == 0 {
		delete(c.held, home)
		return
	}
	c.held[home] = now
}

// ask notes how much all pulls open at once want together.
func (c *credit) ask(now time.Time, limits int) {
	if age := now.Sub(c.since); age >= c.period {
		c.before, c.appetite, c.since = c.appetite, 0, now
		if age >= 2*c.period {
			c.before = 0
		}
	}
	c.appetite = max(c.appetite, limits)
}

// earn notes a success.
func (c *credit) earn() { c.ramp = min(c.ramp+1, c.base) }

// reset is for a door that has shut: the app has to earn its window again.
func (c *credit) reset() { c.ramp, c.appetite, c.before = 1, 0, 0 }
