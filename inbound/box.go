package inbound

import (
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

// box is what the mailbox keeps in memory of one agent: bounded by the limits
// of its pulls and by its window, never by what waits in the journal. All of
// it is guarded by the mailbox's mutex.
type box struct {
	name     string
	no       journal.Agent
	numbered bool // no is known: something of this agent is in the journal
	learned  bool
	killed   bool // nothing is handed over, whoever asks

	door   door
	credit credit
	told   int  // window last announced
	hungry bool // pulls wait, and nothing here may be handed over

	toldShut state.Cause // announced with it

	push     *Push // the app is sent its intents; nil: it asks for them
	app      int   // which app: counts the switches from one to another
	switched time.Time
	pulls    []*pull // waiting, the next to be served first
	wanted   int     // sum of the limits of all pulls not yet returned
	streamed int     // flights that went out on a stream
	reserved int     // slots of pulls promised to a commit under way
	flights  map[journal.ID]flight
	size     int // payload bytes of an intent, about

	turning bool   // a turn is queued or under way
	again   bool   // something came in since it looked
	round   uint64 // turns begun
	timer   *time.Timer

	skipped time.Time // due of the oldest ready entry that was read and left: the cursor is past it
	sweep   time.Time // next time an entry becomes due, as far as is known
	release time.Time // next time something unleased has waited too long behind a shut door
}

// flight is a hand-over the app has not settled.
type flight struct {
	lease    journal.ID
	until    time.Time // at least: the journal may have it sooner
	settling bool      // its settle is on the way to the journal
	old      bool      // granted before this start
	pushed   bool      // sent to the app; no lease, and ready as far as the journal knows
	due      time.Time // of the entry, when pushed
	opening  int       // of the door, in which it was handed over
	app      int       // of the box, to which it was handed over
	spared   bool      // a failure is no attempt: the door of its app was shut at the switch

	seq      uint64
	streamed bool    // a stream may take it up again
	stream   *Stream // that carried it last; nil: of an earlier start, or not taken up
	conn     *Conn   // of stream
}

// pull is one waiting reader.
type pull struct {
	limit    int
	lease    time.Duration
	free     int // slots neither filled nor reserved
	reserved int
	got      []journal.Handed
	stream   *Stream // this pull is for; nil: a poll, or a push
	push     bool
	adopted  []journal.ID // handed over on a connection that is gone
	bytes    int
	room     *journal.Pull // for payload
	trace    string        // traceparent of the poll
	memory   Room          // for what it gets; nil: enough
	claimed  bool          // of memory
	once     bool          // does not wait
	round    uint64        // the first turn that has seen it
	leaving  bool          // takes nothing more; ends when nothing is on its way to it
	done     chan struct{}
	closed   bool
	err      error
}

func (p *pull) terms() journal.Terms {
	return journal.Terms{For: p.lease, Stream: p.stream != nil, Trace: p.trace, Pull: p.room}
}

// slot is a place in a pull, reserved for one intent whose lease is on its way
// to the disk. Each is filled or given back.
type slot struct {
	pull *pull
	due  time.Time // of the entry it is for, where that was read
}

func newBox(name string, o Options, now time.Time) *box {
	return &box{
		name: name, door: newDoor(o, now), credit: newCredit(o), told: 1,
		flights: map[journal.ID]flight{}, size: 64 << 10,
	}
}

// room is how many more intents the waiting pulls would take.
func (b *box) room() int {
	n := 0
	for _, p := range b.pulls {
		if b.feeds(p) {
			n += p.free
		}
	}
	return n
}

// feeds reports whether the pull may get something: while intents are pushed only a
// push may, and none that is left over from before a switch.
func (b *box) feeds(p *pull) bool { return p.push == (b.push != nil) }

// flightOf is the flight of an intent, or one to the present app.
func (b *box) flightOf(id journal.ID) flight {
	if f, flying := b.flights[id]; flying {
		return f
	}
	return flight{app: b.app}
}

// spares reports whether a failure of what went out on that flight is no attempt.
func (b *box) spares(f flight) bool {
	if f.app != b.app {
		return f.spared
	}
	return b.door.spares()
}

// renew is for another app: what the former one still says is no word of its.
func (b *box) renew(now time.Time) {
	for id, f := range b.flights {
		if f.app == b.app {
			f.spared = b.door.spares()
			b.flights[id] = f
		}
	}
	b.app, b.switched = b.app+1, now
	b.door.renew(now)
}

// pushed are the intents that are on their way to the app without a lease.
func (b *box) pushed() map[journal.ID]bool {
	var ids map[journal.ID]bool
	for id, f := range b.flights {
		if f.pushed {
			if ids == nil {
				ids = map[journal.ID]bool{}
			}
			ids[id] = true
		}
	}
	return ids
}

// inFlight is how many were handed over since the door opened, or are on their
// way.
func (b *box) inFlight() int {
	if b.door.opened == 0 {
		return len(b.flights) + b.reserved
	}
	n := b.reserved
	for _, f := range b.flights {
		if f.opening == b.door.opened {
			n++
		}
	}
	return n
}

// capacity is how many may be handed over now.
func (b *box) capacity(now time.Time) int {
	room := b.room()
	if room == 0 || b.killed {
		return 0
	}
	inFlight := 0
	if b.door.limit > 0 {
		inFlight = b.inFlight()
	}
	return min(room, b.door.allow(now, inFlight))
}

// suspectOut reports whether a suspect was handed over since the door opened.
func (b *box) suspectOut() bool {
	for id := range b.door.suspects {
		if f, out := b.flights[id]; out && f.opening == b.door.opened {
			return true
		}
	}
	return false
}

func (b *box) flightIDs() []journal.ID {
	ids := make([]journal.ID, 0, len(b.flights))
	for id := range b.flights {
		ids = append(ids, id)
	}
	return ids
}

// reserve takes a slot of the pull whose turn it is: each intent to one, in
// turn.
func (b *box) reserve() (slot, bool) {
	for i, p := range b.pulls {
		if p.free == 0 || !b.feeds(p) {
			continue
		}
		if p.memory != nil && !p.claimed && !p.memory.Claim(p.free*b.size) {
			p.free = 1
		}
		p.claimed = true
		p.free--
		p.reserved++
		b.reserved++
		copy(b.pulls[i:], b.pulls[i+1:])
		b.pulls[len(b.pulls)-1] = p
		return slot{pull: p}, true
	}
	return slot{}, false
}

// fill gives the slot's pull its intent.
func (b *box) fill(s slot, h journal.Handed, maxBytes int) {
	s.pull.reserved--
	b.reserved--
	s.pull.got = append(s.pull.got, h)
	n := len(h.Envelope.GetPayload())
	b.size += (n + 512 - b.size) / 8
	if s.pull.bytes += n; s.pull.bytes >= maxBytes {
		s.pull.free = 0
	}
}

// giveBack frees a slot whose intent did not come.
func (b *box) giveBack(s slot) {
	s.pull.reserved--
	b.reserved--
	if !s.pull.leaving {
		s.pull.free++
	}
	if p := s.pull; p.memory != nil && p.reserved == 0 && len(p.got) == 0 {
		p.memory.Waive()
		p.claimed = false
		if !p.leaving {
			p.free = p.limit
		}
	}
}

// full gives a slot back whose intent had no room in its pull, which ends with what it has.
func (b *box) full(s slot) {
	b.giveBack(s)
	s.pull.free = 0
}

const maxInt = int(^uint(0) >> 1)

// finish ends the pulls that have what they wait for.
func (b *box) finish() {
	for i := 0; i < len(b.pulls); {
		p := b.pulls[i]
		served := len(p.got) > 0 || len(p.adopted) > 0 || p.err != nil || p.leaving || p.once && p.round <= b.round
		if p.reserved > 0 || !served {
			i++
			continue
		}
		b.end(p)
	}
}

// end takes a pull out of the queue and wakes it.
func (b *box) end(p *pull) {
	for i, other := range b.pulls {
		if other == p {
			b.pulls = append(b.pulls[:i:i], b.pulls[i+1:]...)
			break
		}
	}
	if !p.closed {
		p.closed = true
		close(p.done)
	}
}
