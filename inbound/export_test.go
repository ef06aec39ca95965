package inbound

import (
	"context"
	"time"

	"pannier/journal"
)

const (
	Succeeded = succeeded
	Failed    = failed
	Rejected  = rejected
)

// Door is the pure door, for tables.
type Door struct{ d door }

func NewDoor(o Options, now time.Time) *Door { return &Door{newDoor(o, now)} }

func (d *Door) Enter(now time.Time)                   { d.d.enter(now) }
func (d *Door) Leave(now time.Time)                   { d.d.leave(now) }
func (d *Door) Tick(now time.Time)                    { d.d.tick(now) }
func (d *Door) Allow(now time.Time, inFlight int) int { return d.d.allow(now, inFlight) }
func (d *Door) Handed(id journal.ID)                  { d.d.handed(id) }
func (d *Door) Returned(id journal.ID)                { d.d.returned(id) }
func (d *Door) Shut() Shut                            { return d.d.shut }
func (d *Door) Spares() bool                          { return d.d.spares() }
func (d *Door) NextProbe() time.Time                  { return d.d.nextProbe }
func (d *Door) TurnAway(now time.Time, id journal.ID, why Shut, least time.Duration, rnd float64) {
	d.d.turnAway(now, id, why, least, rnd)
}
func (d *Door) Hear(now time.Time, id journal.ID, what heard, inFlight []journal.ID, rnd float64) {
	d.d.hear(now, id, what, func() []journal.ID { return inFlight }, rnd)
}

// Choice is choice with its fields to set.
type Choice struct {
	Ready          []journal.ID
	All            bool
	Want, InFlight int
	SuspectOut     bool
}

func (d *Door) Choose(now time.Time, c Choice) []journal.ID {
	return d.d.choose(now, choice{ready: c.Ready, all: c.All, want: c.Want, inFlight: c.InFlight, suspectOut: c.SuspectOut})
}

// Credit is the pure credit, for tables.
type Credit struct{ c credit }

func NewCredit(o Options) *Credit                        { return &Credit{newCredit(o)} }
func (c *Credit) Ask(now time.Time, n int)               { c.c.ask(now, n) }
func (c *Credit) Starve(now time.Time)                   { c.c.starve(now) }
func (c *Credit) Count(home journal.ID, n int)           { c.c.count(home, n) }
func (c *Credit) Earn()                                  { c.c.earn() }
func (c *Credit) Window(d *Door, homes int) int          { return c.c.window(&d.d, homes) }
func (c *Credit) Admit(home journal.ID, window int) bool { return c.c.admit(home, window) }

// Pulls is how many pulls of an agent wait.
func (m *Mailbox) Pulls(agent string) int {
	m.mu.Lock()
	defer m.unlock()
	if b := m.mu.boxes[agent]; b != nil {
		return len(b.pulls)
	}
	return 0
}

// TurnAround gives a mailbox that rests a turn, and runs between after its first look.
func (m *Mailbox) TurnAround(ctx context.Context, agent string, between func()) {
	m.mu.Lock()
	b := m.mu.boxes[agent]
	b.turning = true
	m.unlock()
	for over := false; !over; between = func() {} {
		p := m.plan(b)
		found, err := m.look(ctx, b, p)
		between()
		over = m.conclude(ctx, b, p, found, err)
	}
}

// RefusalOf is what home is told of an offer that the journal would not take.
func RefusalOf(err error) (code string) {
	code, _ = refusalOf(err)
	return code
}

// Locked reports whether somebody has the lock that figures wait for.
func (m *Mailbox) Locked() bool {
	if !m.mu.TryLock() {
		return true
	}
	m.mu.Unlock()
	return false
}

// BeforeRead runs f before the journal is read for an offer.
func (m *Mailbox) BeforeRead(f func()) {
	get := m.get
	m.get = func(id journal.ID) (*journal.Intent, error) { f(); return get(id) }
}
