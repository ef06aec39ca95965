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
	apart int // worked on after a 202: not unsettled, and yet here

	// ramp is the window the app has earned: 1 after a start or a shut door,
	// one more for each success, which doubles it per round.
	ramp int
	// appetite is the largest sum of limits of the pulls open at once, lately:
	// what the app asks for it gets at once.
	appetite lately
	// busy is how much of one home's window, lately, was nothing that could be
	// handed over: leased, worked on or put off by the app. It comes on top, or
	// an app that holds as much as it asks for would get nothing more.
	busy lately
}

func newCredit(o Options) credit {
	return credit{base: o.HomeWindow, cap: o.WindowMax, maxOpen: o.MaxOpen, held: map[journal.ID]int{}, ramp: 1,
		appetite: lately{period: o.NoReaderAfter}, busy: lately{period: o.NoReaderAfter}}
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
		// What is put off, or with the app still, leaves none for it.
		return min(1+min(1, d.readers)+c.busy.most(), max(c.cap, 2))
	case d.limit > 0:
		return min(c.busy.most()+2*d.limit, c.cap, share)
	}
	least := 1
	if c.appetite.most() > 0 {
		least = 2 // home offers nothing to a floor from which it was given something back
	}
	return max(least, min(max(min(c.ramp, c.base), min(c.busy.most()+c.appetite.most(), c.cap)), share))
}

// admit counts one more intent of home, and reports whether it may come.
func (c *credit) admit(home journal.ID, window int) bool {
	n := c.held[home]
	switch {
	case n >= window || c.total+c.apart >= c.maxOpen:
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
func (c *credit) ask(now time.Time, limits int) { c.appetite.note(now, limits) }

// starve notes that pulls wait though nothing that is here may be handed over.
func (c *credit) starve(now time.Time) {
	most := 0
	for _, n := range c.held {
		most = max(most, n)
	}
	c.busy.note(now, most)
}

// earn notes a success.
func (c *credit) earn() { c.ramp = min(c.ramp+1, c.base) }

// reset is for a door that has shut: the app has to earn its window again.
func (c *credit) reset() {
	c.ramp = 1
	c.appetite.forget()
	c.busy.forget()
}

// lately is the largest of the numbers noted in this period and the one before.
type lately struct {
	period      time.Duration
	now, before int
	since       time.Time // of the present period
}

func (l *lately) note(now time.Time, n int) {
	if age := now.Sub(l.since); age >= l.period {
		l.before, l.now, l.since = l.now, 0, now
		if age >= 2*l.period {
			l.before = 0
		}
	}
	l.now = max(l.now, n)
}

func (l *lately) most() int { return max(l.now, l.before) }

func (l *lately) forget() { l.now, l.before = 0, 0 }
