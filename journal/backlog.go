package journal

import (
	"encoding/binary"
	"sync"
	"time"
)

// Backlog is how much waits in one place, and since when.
type Backlog struct {
	Name   string // of the place
	Count  int    // of Due: those due by now
	Later  int    // Due only: those due later
	Oldest time.Time
}

// The places whose backlog is known. What is due is timed from when it became due,
// a dead letter from its end, and all else from when the intent was made.
const (
	BacklogDue    = "due"    // home: to be offered
	BacklogHeld   = "held"   // home: on record at another journal
	BacklogParked = "parked" // home: waits for an operator
	BacklogOpen   = "open"   // home: has not ended, wherever it is
	BacklogMail   = "mail"   // holder: not settled
	BacklogDead   = "dead"   // dead letters, ours and those we held
)

var backlogs = [...]struct {
	class byte
	name  string
}{
	{classDue, BacklogDue}, {classHeld, BacklogHeld}, {classParked, BacklogParked},
	{classExpiry, BacklogOpen}, {classMail, BacklogMail}, {classDead, BacklogDead},
}

// times counts the entries of an index by time, so that how many there are and how
// old they are is known without reading any. There is one count for each 2^shift ms
// in which an entry lies: a second at first, and twice as long each time there are
// more than most counts. That is all that is kept: with timesMost an age is right to
// within a second for a backlog of an hour, and to within a part in 2,000 of any
// other; with agentTimesMost to within a part in 32.
type times struct {
	shift uint
	most  int
	by    map[int64]int // entries of each span
}

const (
	timesMost      = 4096
	agentTimesMost = 64
	timesShift     = 10
)

func newTimes(most int) *times { return &times{shift: timesShift, most: most, by: map[int64]int{}} }

func (x *times) add(ms int64, n int) {
	span := ms >> x.shift
	if x.by[span] += n; x.by[span] == 0 {
		delete(x.by, span)
	}
	if len(x.by) == 0 {
		x.shift = timesShift
	}
	for len(x.by) > x.most {
		x.shift++
		coarse := make(map[int64]int, x.most/2)
		for span, n := range x.by {
			if coarse[span>>1] += n; coarse[span>>1] == 0 {
				delete(coarse, span>>1)
			}
		}
		x.by = coarse
	}
}

// count returns how many lie up to now, how many later, and the end of the span of
// the first: an age that is made of it is no more than the true one. An entry whose
// time is not known has none.
func (x *times) count(now int64) (by, later int, oldest int64) {
	first := int64(1<<63 - 1)
	for span, n := range x.by {
		if span > now>>x.shift {
			later += n
			continue
		}
		by += n
		if span > 0 {
			first = min(first, span)
		}
	}
	if by == 0 || first == 1<<63-1 {
		return by, later, 0
	}
	return by, later, min(now, (first+1)<<x.shift)
}

// Use is how much is taken of one limit.
type Use struct {
	Name       string
	Used, Most int
}

// Uses says how far the bounds of what is kept in memory are used: operations that
// wait for the committer by urgency, and addresses in the dictionary; and how far that of
// the history on disk is, in bytes.
func (j *Journal) Uses() []Use {
	return []Use{
		{"finish", len(j.queues.ops[first]), queueLength},
		{"hold", len(j.queues.ops[second]), queueLength},
		{"accept", len(j.queues.ops[third]), queueLength},
		{"addresses", j.names.count() - 1, maxAgents},
		{"history_bytes", int(j.history.figures.bytes.Load()), j.history.HistoryBytes},
	}
}

// Size is about how many bytes the store has on disk: its tables, as it has them in
// memory. What is not in a table yet, less than 16 MiB, is left out.
func (j *Journal) Size() (bytes int64) {
	for _, l := range j.db.Levels() {
		bytes += l.Size
	}
	return bytes
}

// ledger has the times of every index of backlogs, and of those by agent also each
// agent's. The committer writes, anybody reads.
type ledger struct {
	mu struct {
		sync.Mutex
		by     map[byte]*times
		agents map[queue]*times // none is empty
	}
}

// queue is the part of an index that is of one agent.
type queue struct {
	class byte
	agent Agent
}

func newLedger() *ledger {
	l := &ledger{}
	l.mu.by, l.mu.agents = map[byte]*times{}, map[queue]*times{}
	for _, b := range backlogs {
		l.mu.by[b.class] = newTimes(timesMost)
	}
	return l
}

// entry is an index key that came or went.
type entry struct {
	queue // agent 0: of an index that is not by agent
	ms    int64
	n     int
}

// entryOf reads the time off a key; ok is false for one of another class.
func entryOf(key []byte, n int) (e entry, ok bool) {
	e = entry{queue: queue{class: key[0]}, n: n}
	if key[0] == classDue || key[0] == classMail {
		e.agent = Agent(binary.BigEndian.Uint32(key[1:]))
	}
	switch key[0] {
	case classDue, classDead:
		e.ms = int64(binary.BigEndian.Uint64(key[len(key)-24:]))
	case classHeld, classParked, classExpiry, classMail:
		// A foreign home may make ids otherwise: those say no time.
		if id := ID(key[len(key)-16:]); id[6]>>4 == 7 {
			e.ms = ms(id.Time())
		}
	default:
		return e, false
	}
	return e, true
}

func (l *ledger) take(entries []entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range entries {
		l.mu.by[e.class].add(e.ms, e.n)
		if e.agent != 0 {
			l.ofAgent(e)
		}
	}
}

// ofAgent counts an entry in its agent's part. Called with mu held.
func (l *ledger) ofAgent(e entry) {
	x := l.mu.agents[e.queue]
	if x == nil {
		x = newTimes(agentTimesMost)
		l.mu.agents[e.queue] = x
	}
	if x.add(e.ms, e.n); len(x.by) == 0 {
		delete(l.mu.agents, e.queue)
	}
}

// Backlogs says how much waits where. It reads memory only: at most a few thousand
// counts of each place, with the committer kept out for as long.
func (j *Journal) Backlogs() []Backlog {
	now := ms(j.now())
	out := make([]Backlog, len(backlogs))
	for i, b := range backlogs {
		out[i] = j.ledger.backlog(b.class, b.name, now)
	}
	return out
}

func (l *ledger) backlog(class byte, name string, now int64) Backlog {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.by[class].backlog(class, name, now)
}

// Queue is what waits for one agent: at home to be offered (BacklogDue), or here in
// its mailbox (BacklogMail).
type Queue struct {
	Agent Agent
	Backlog
}

// Queues says how much waits for whom; who is not listed has nothing. It reads memory
// only.
func (j *Journal) Queues() (out []Queue) {
	now := ms(j.now())
	j.ledger.mu.Lock()
	defer j.ledger.mu.Unlock()
	for of, x := range j.ledger.mu.agents {
		name := BacklogMail
		if of.class == classDue {
			name = BacklogDue
		}
		out = append(out, Queue{of.agent, x.backlog(of.class, name, now)})
	}
	return out
}

func (x *times) backlog(class byte, name string, now int64) Backlog {
	by, later, oldest := x.count(now)
	if class != classDue {
		by, later = by+later, 0 // a clock was put back
	}
	return Backlog{Name: name, Count: by, Later: later, Oldest: at(oldest)}
}
