package journal

import (
	"sync"
	"time"
)

// Limits of time are kept by the wall clock, which may be put forward or back: by whoever
// corrects it, or with a machine that slept. What has passed meanwhile is known from the
// monotonic clock; over a restart from how long the machine has been up, unless that has
// started anew, too.
const (
	// clockJump is how far the wall clock may stray from the time that has passed. More is
	// a jump, until which all was right.
	clockJump = time.Minute
	// clockHolds is how long the clock has to hold after a jump, at least.
	clockHolds = 2 * time.Minute
	// clockRest is how often a clock that has jumped is looked at.
	clockRest = 10 * time.Second
	// downtime is how long a sidecar may have been down, as the clock says, where nothing
	// else tells. More is a clock that is wrong, or was.
	downtime = 366 * 24 * time.Hour
	// clockSlew is how much of the time that passes the wall clock may be adjusted by
	// without that ever adding up to a jump: one part in so many.
	clockSlew = 100
	// clockNoise is how far the two may be apart without anything being made of it. Beyond
	// that, below a jump, nothing pauses, and what was to last lasts as long as it was to.
	clockNoise = time.Second
	// clockSeen is how old the last time on record may be while nothing is committed.
	clockSeen = time.Hour
)

// Clock is how the wall clock stands to the time that has passed.
type Clock struct {
	Paused bool          // it has jumped: nothing expires, and nothing is forgotten
	Ahead  time.Duration // of the time that has passed; negative: behind
	Back   time.Duration // how far it has been put back since
	Left   time.Duration // until it is believed, unless it jumps again
}

// held is how long it has held since it jumped last: clockHolds where it has not.
func (c Clock) held() time.Duration { return max(clockHolds, c.Ahead) - c.Left }

// clock tells a wall clock that jumps. After one forward, limits of time wait until as
// much has passed as it has jumped, so that nothing loses to it the time it had left: a
// clock that is ten years ahead ends nothing until it is set right, or somebody says that
// it is (Options.AcceptClock).
type clock struct {
	wall  func() time.Time // time.Now, but for a test
	told  func(Clock)
	up    func() (boot string, up time.Duration)
	began time.Time // of the time that passes

	mu struct {
		sync.Mutex
		time   time.Time     // what it is, if the wall clock had not jumped, at passed
		passed time.Duration // since began
		jumped bool
		ahead  time.Duration // of time, since it jumped last
		stray  time.Duration // of time, where it has not jumped
		since  time.Duration // when that was
		most   time.Duration // the largest of ahead before it is believed again
	}
}

// clockMark is what outlives the process.
type clockMark struct {
	SeenMs  int64 `json:"seen_ms"`
	Jumped  bool  `json:"jumped,omitempty"`
	AheadMs int64 `json:"ahead_ms,omitempty"`
	BackMs  int64 `json:"back_ms,omitempty"`
	HeldMs  int64 `json:"held_ms,omitempty"`

	Boot string `json:"boot_id,omitempty"`
	UpMs int64  `json:"up_ms,omitempty"` // of that boot, when the time was seen
}

func newClock(o Options) *clock {
	c := &clock{wall: o.wall, told: o.Hooks.Clock, up: o.SinceBoot, began: time.Now()}
	if c.wall == nil {
		c.wall = time.Now
	}
	if c.up == nil {
		c.up = func() (string, time.Duration) { return "", 0 }
	}
	return c
}

// start goes on from the last time on record, nil where there is none. How long we were
// down this boot of the machine knows. After another one, or elsewhere, nobody does: the
// clock is believed, unless that would be very long, or less than nothing.
func (c *clock) start(before *mark, accept bool) {
	var last clockMark
	if before != nil {
		last = before.Clock
	}
	c.mu.Lock()
	c.mu.time = c.wall().Round(0)
	if last.SeenMs != 0 && !accept {
		gap := c.mu.time.Sub(at(last.SeenMs))
		down, stray := max(0, gap), gap
		if boot, up := c.up(); boot != "" && boot == last.Boot {
			down = up - time.Duration(last.UpMs)*time.Millisecond
			stray = gap - down
		} else if -clockJump <= gap && gap <= downtime {
			stray = 0
		}
		c.mu.jumped, c.mu.ahead = last.Jumped, time.Duration(last.AheadMs)*time.Millisecond
		c.mu.since = -time.Duration(last.HeldMs)*time.Millisecond - down
		c.mu.most = c.mu.ahead + time.Duration(last.BackMs)*time.Millisecond
		if stray.Abs() > clockJump {
			c.jump(c.mu.ahead + stray)
		}
		c.mu.time = c.mu.time.Add(-c.mu.ahead)
	}
	now := c.state()
	c.mu.Unlock()
	c.tell(now, now.Paused)
}

// look takes in what the wall clock says now.
func (c *clock) look() (now time.Time, state Clock) {
	c.mu.Lock()
	wall, passed := c.wall().Round(0), time.Since(c.began)
	on := passed - c.mu.passed
	c.mu.time, c.mu.passed = c.mu.time.Add(on), passed
	ahead := wall.Sub(c.mu.time)
	jumped := (ahead - c.mu.ahead).Abs() > clockJump
	switch {
	case jumped:
		c.jump(ahead)
	case !c.mu.jumped:
		slew := max(-on/clockSlew, min(ahead, on/clockSlew))
		c.mu.time, c.mu.stray = c.mu.time.Add(slew), ahead-slew
	}
	state = c.state()
	c.mu.Unlock()
	c.tell(state, jumped)
	return wall, state
}

func (c *clock) jump(ahead time.Duration) {
	c.mu.jumped, c.mu.ahead, c.mu.stray, c.mu.since = true, ahead, 0, c.mu.passed
	c.mu.most = max(c.mu.most, ahead)
}

func (c *clock) state() Clock {
	if !c.mu.jumped {
		return Clock{}
	}
	left := max(clockHolds, c.mu.ahead) - (c.mu.passed - c.mu.since)
	return Clock{Paused: true, Ahead: c.mu.ahead, Back: c.mu.most - c.mu.ahead, Left: max(0, left)}
}

func (c *clock) tell(now Clock, changed bool) {
	if changed && c.told != nil {
		c.told(now)
	}
}

// believe takes the wall clock for right again.
func (c *clock) believe() {
	c.mu.Lock()
	c.mu.time, c.mu.jumped, c.mu.ahead, c.mu.most = c.mu.time.Add(c.mu.ahead), false, 0, 0
	c.mu.Unlock()
	c.tell(Clock{}, true)
}

// mayForget reports whether what is old by the clock may be forgotten: keys, and what has
// ended. A wrong clock would forget what nothing brings back, so it must have held since
// the start, too.
func (c *clock) mayForget() bool {
	_, now := c.look()
	return !now.Paused && time.Since(c.began) >= clockHolds
}

// mayFire reports whether schedules go by the clock: by another time as soon as that has
// held, unless it is too far ahead to be one.
func (c *clock) mayFire() bool {
	_, now := c.look()
	return now.held() >= clockHolds && now.Ahead <= downtime
}

// limit is where a limit of time is while the clock is ahead: those who are told how much
// is left of it are told what would be by the time that has passed.
func (c *clock) limit(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	_, ahead := c.forward()
	return t.Add(ahead)
}

// forLimits is now as far as limits of time are concerned.
func (c *clock) forLimits(now time.Time) time.Time {
	_, ahead := c.forward()
	return now.Add(-ahead)
}

// keeps is when something is due that was put off to then at the time set: as much later
// as the clock has jumped ahead since.
func (c *clock) keeps(due, set time.Time) time.Time {
	if now, ahead := c.forward(); ahead > 0 && !set.After(now.Add(-ahead)) {
		return due.Add(ahead)
	}
	return due
}

// forward is how far the wall clock, which says now, is ahead of the time that has passed:
// by a jump, or by less than one, which wears off by one part in clockSlew.
func (c *clock) forward() (now time.Time, ahead time.Duration) {
	now, is := c.look()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !is.Paused && c.mu.stray >= clockNoise {
		return now, c.mu.stray
	}
	return now, max(0, is.Ahead)
}

// mark is what is to be on record.
func (c *clock) mark() clockMark {
	wall, now := c.look()
	boot, up := c.up()
	return clockMark{
		SeenMs: ms(wall), Jumped: now.Paused, AheadMs: now.Ahead.Milliseconds(), BackMs: now.Back.Milliseconds(), HeldMs: now.held().Milliseconds(),
		Boot: boot, UpMs: up.Milliseconds(),
	}
}

// news reports whether a mark says enough else than the last one to be written though
// nothing was committed.
func (m clockMark) news(last clockMark) bool {
	return m.Jumped != last.Jumped || m.AheadMs != last.AheadMs || m.SeenMs-last.SeenMs >= clockSeen.Milliseconds()
}
