package outbound

import (
	"container/heap"
	"slices"
	"time"

	"pannier/journal"
)

// dest is a destination with something due or in flight. Nothing in it grows
// with what is parked: the backlog is in the journal's index alone.
type dest struct {
	agent  journal.Agent
	name   string
	lane   bool      // of completions to it: see laneKey
	key    string    // in byName, and of its pairs
	queued bool      // in ready
	hungry bool      // in hungry
	more   parts     // the index may have an entry of these that is due now
	next   time.Time // when the next one is due; zero: none
	at     time.Time // when it is looked at again
	slot   int       // its place among the alarms, from 1; 0: none

	policy     Policy // as it was looked at last
	unanswered int    // claimed for a peer, or sent and not answered
	parts      parts  // there are of it
	turn       int    // the share that is looked at first

	size     int // of the largest envelope claimed lately
	inFlight int
	links    []*link // endpoints it waits for, or uses
	demand   demand  // made of them
	spared   []*link // whose breakers it passes over

	taking     bool      // our own mailbox is being given some
	localPause time.Time // our own mailbox had no room

	// After an unclean start: what was accepted before it may be held somewhere.
	oldOpen    bool      // it may be offered
	oldRaise   bool      // under the next number: not every endpoint could be asked
	knownSince time.Time // when its endpoints became known

	owed    map[journal.ID]*flight    // in flight, and owed an answer by a holder without a stream
	rejects map[journal.ID]*rejection // maxRejects, and what was in flight then
}

// dest returns the destination of an agent. Called with mu held.
func (d *Dispatcher) dest(a journal.Agent) *dest {
	dst := d.mu.dests[a]
	if dst == nil {
		dst = &dest{agent: a, name: d.journal.AgentName(a), lane: d.journal.ForThreads(a), key: d.keyOf(a), oldOpen: !d.unclean, size: 16 << 10}
		d.mu.dests[a] = dst
		d.mu.byName[dst.key] = dst
	}
	return dst
}

// laneWindow is how many completions for an agent may be unanswered at one
// endpoint. A holder that keeps them as threads counts them against no window of
// its own, so it announces none.
const laneWindow = 64

// laneKey names the lane of completions to an agent. What waits there for a reader
// must not keep them, nor they it.
func laneKey(agent string) string { return agent + "\x00" }

func (d *Dispatcher) keyOf(a journal.Agent) string {
	name := d.journal.AgentName(a)
	if d.journal.ForThreads(a) {
		return laneKey(name)
	}
	return name
}

// queue makes the loop look at the destination; due says that it may have
// something due now. Called with mu held.
func (d *Dispatcher) queue(dst *dest, due bool) {
	if due {
		dst.more = everyPart
	}
	if dst.queued {
		return
	}
	dst.queued = true
	d.mu.ready = append(d.mu.ready, dst)
	d.poke()
}

// queueKey queues a destination that something is due for. Called with mu held.
func (d *Dispatcher) queueKey(key string) {
	if dst := d.mu.byName[key]; dst != nil {
		d.queue(dst, false)
	}
}

// retire forgets a destination for which nothing is due or in flight. Called
// with mu held.
func (d *Dispatcher) retire(dst *dest) {
	if dst.queued || dst.more != 0 || dst.taking || !dst.next.IsZero() || dst.inFlight > 0 || len(dst.rejects) > 0 || d.mu.dests[dst.agent] != dst {
		return
	}
	if !dst.oldOpen {
		return // it may yet have intents from before the start
	}
	d.leave(dst)
	d.mu.alarms.remove(dst)
	delete(d.mu.dests, dst.agent)
	delete(d.mu.byName, dst.key)
}

// attach counts the destination among those that need a link. Called with mu
// held.
func (d *Dispatcher) attach(dst *dest, links []*link) {
	asks := dst.policy.demand()
	if asks == dst.demand && slices.Equal(links, dst.links) {
		return
	}
	for _, l := range links {
		l.dests++
		l.ask(asks, 1)
	}
	for _, l := range dst.links {
		l.dests--
		l.ask(dst.demand, -1)
	}
	dst.links, dst.demand = links, asks
}

// leave takes the destination off all links. Called with mu held.
func (d *Dispatcher) leave(dst *dest) {
	d.attach(dst, nil)
	d.spare(dst, nil)
}

func (d *Dispatcher) wakeAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wakeAllLocked()
}

func (d *Dispatcher) wakeAllLocked() {
	for _, dst := range d.mu.dests {
		d.queue(dst, false)
	}
}

// alarm makes sure that the destination is looked at again at t. Called with
// mu held.
func (d *Dispatcher) alarm(dst *dest, t time.Time) {
	switch {
	case !t.After(time.Now()): // nothing that time will bring
	case dst.slot == 0:
		dst.at = t
		heap.Push(&d.mu.alarms, dst)
	case t.Before(dst.at):
		dst.at = t
		heap.Fix(&d.mu.alarms, dst.slot-1)
	}
}

// alarms is a heap of destinations by when they matter again: each is in it at
// most once.
type alarms []*dest

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at.Before(a[j].at) }

func (a alarms) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].slot, a[j].slot = i+1, j+1
}

func (a *alarms) Push(x any) {
	dst := x.(*dest)
	*a = append(*a, dst)
	dst.slot = len(*a)
}

func (a *alarms) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	last.slot = 0
	return last
}

// past takes off what is due by now.
func (a *alarms) past(now time.Time) (dests []*dest) {
	for len(*a) > 0 && !(*a)[0].at.After(now) {
		dests = append(dests, heap.Pop(a).(*dest))
	}
	return dests
}

func (a *alarms) remove(dst *dest) {
	if dst.slot > 0 {
		heap.Remove(a, dst.slot-1)
	}
}
