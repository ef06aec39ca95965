package inbound

import (
	"time"

	"pannier/journal"
)

// Shut says why a door is shut; Open is the zero value.
type Shut uint8

const (
	Open        Shut = iota
	NoReader         // nobody pulls, and nobody has for NoReaderAfter
	Failing          // failsToShut different intents failed with no success between
	Rejecting        // rejectsToShut rejections in a row
	Unreachable      // its URL cannot be connected to
	Throttled        // it asked for a pause
	Gone             // it answered that it is gone for good
)

var shutNames = [...]string{"open", "no_reader", "failing", "rejecting", "unreachable", "throttled", "gone"}

func (s Shut) String() string { return shutNames[s] }

const (
	failsToShut   = 5
	rejectsToShut = 20
	rampEnd       = 256  // in flight; beyond it the door sets no bound
	suspectsMax   = 1000 // remembered of what was in flight when the door shut
	suspectAfter  = 30 * time.Second
)

// heard is how the app took a hand-over.
type heard uint8

const (
	succeeded heard = iota + 1 // done, or still working: it was understood
	failed                     // given back, or the lease ran out
	rejected                   // the app will never take it
)

// door is the breaker between the mailbox of one agent and its app: a pure
// value. It says how many intents may be handed over now and which come last;
// it learns from what it hears. Time and randomness are arguments.
//
// A shut door protects the intents, not only the app: while it is shut no
// attempt is counted, so an app that is down does not burn the attempts of
// everything that waits for it.
type door struct {
	noReaderAfter, probeMin, probeMax time.Duration

	shut  Shut
	since time.Time // of shut; of the opening while open

	readers  int
	lastRead time.Time // when the last pull ended

	failed   map[journal.ID]struct{} // different intents that failed since the last success
	rejected int                     // rejections in a row
	limit    int                     // in flight while it ramps up; 0: no bound
	opened   int                     // times it has opened

	// suspects were in flight when the door shut: one of them may be why. They
	// come last, one by one, so that a poison intent burns only its own
	// attempts.
	suspects map[journal.ID]struct{}

	probing   bool
	probe     journal.ID // in flight, while probing
	lastProbe journal.ID
	tries     int       // probes since it shut
	nextProbe time.Time // not before
}

func newDoor(o Options, now time.Time) door {
	return door{
		noReaderAfter: o.NoReaderAfter, probeMin: o.ProbeMin, probeMax: o.ProbeMax,
		since: now, lastRead: now,
		failed: map[journal.ID]struct{}{}, suspects: map[journal.ID]struct{}{},
	}
}

// tripped reports whether it is shut on what was heard.
func (d *door) tripped() bool { return d.shut > NoReader }

// enter notes a reader. One that comes to a door shut only for want of readers
// opens it at once and without a ramp: its own limit bounds what it gets.
func (d *door) enter(now time.Time) {
	d.readers++
	if d.shut == NoReader {
		d.open(now, 0)
	}
}

// leave notes that a reader is gone.
func (d *door) leave(now time.Time) {
	d.readers--
	d.lastRead = now
}

// tick shuts the door that has had no reader for too long, and reports whether
// it did.
func (d *door) tick(now time.Time) bool {
	if d.shut != Open || d.readers > 0 || now.Before(d.lastRead.Add(d.noReaderAfter)) {
		return false
	}
	d.close(now, NoReader)
	return true
}

// next is when tick or allow may answer otherwise than now; zero: not by the
// passing of time.
func (d *door) next() time.Time {
	switch {
	case d.shut == Open && d.readers == 0:
		return d.lastRead.Add(d.noReaderAfter)
	case d.shut == Open && len(d.suspects) > 0:
		return d.since.Add(suspectAfter)
	case d.tripped() && !d.probing && d.readers > 0:
		return d.nextProbe
	}
	return time.Time{}
}

// allow is how many more may be handed over, with inFlight in the app's hands
// or on the way there since it opened: what the app has had for longer says
// nothing of how much it takes now.
func (d *door) allow(now time.Time, inFlight int) int {
	switch {
	case d.shut == NoReader:
		return 0
	case d.shut != Open:
		if d.probing || now.Before(d.nextProbe) {
			return 0
		}
		return 1
	case d.limit > 0:
		return max(0, d.limit-inFlight)
	}
	return int(^uint(0) >> 1)
}

// choice is what choose decides on.
type choice struct {
	ready      []journal.ID // oldest first
	all        bool         // ready is complete: nothing else waits
	want       int          // at most so many
	inFlight   int          // in the app's hands or on the way there, since it opened
	suspectOut bool         // one of them is a suspect
}

// choose picks what is handed over now. A probe is another intent each time,
// while there is another; suspects come when nothing else is ready or in
// flight, or one at a time once the door has been open for suspectAfter: they
// must not wait for ever behind a stream of new intents.
func (d *door) choose(now time.Time, c choice) (take []journal.ID) {
	settled := d.shut == Open && !now.Before(d.since.Add(suspectAfter))
	if c.want <= 0 || d.shut == Open && c.suspectOut && !settled {
		return nil
	}
	var last, again []journal.ID
	for _, id := range c.ready {
		_, suspect := d.suspects[id]
		switch {
		case d.shut != Open && id == d.lastProbe:
			again = append(again, id)
		case suspect:
			last = append(last, id)
		case len(take) < c.want:
			take = append(take, id)
		}
	}
	switch {
	case len(last) > 0 && settled && !c.suspectOut:
		return append(last[:1:1], take[:min(len(take), c.want-1)]...)
	case len(take) > 0 || !c.all || d.shut == Open && c.inFlight > 0:
		return take
	case len(last) > 0:
		return last[:1]
	}
	return again[:min(1, len(again))]
}

// direct reports whether an intent that arrives may be leased in the commit
// that holds it: nothing about it needs choosing.
func (d *door) direct() bool { return d.shut == Open && len(d.suspects) == 0 }

// handed notes that an intent is on its way to the app.
func (d *door) handed(id journal.ID) {
	if d.shut == Open {
		return
	}
	d.probing, d.probe, d.lastProbe = true, id, id
	d.tries++
}

// returned notes that a hand-over came to nothing: it never reached the app.
func (d *door) returned(id journal.ID) {
	if d.probing && d.probe == id {
		d.probing = false
	}
}

// gone notes that the intent has left the mailbox, however it ended.
func (d *door) gone(id journal.ID) {
	d.returned(id)
	delete(d.suspects, id)
	delete(d.failed, id)
}

// renew opens the door to another app: nothing that was heard of the former one
// counts.
func (d *door) renew(now time.Time) {
	if d.tripped() {
		d.open(now, 0)
	}
	clear(d.failed)
	clear(d.suspects)
	d.rejected, d.limit = 0, 0
}

// spares reports whether a failure heard now is no attempt.
func (d *door) spares() bool { return d.shut != Open }

// hear takes in how the app took an intent. inFlight lists what else the app
// has, asked for only when the door shuts; rnd is in [0,1).
func (d *door) hear(now time.Time, id journal.ID, what heard, inFlight func() []journal.ID, rnd float64) {
	probe := d.probing && d.probe == id
	if probe {
		d.probing = false
	}
	if what == succeeded {
		clear(d.failed)
		d.rejected = 0
		delete(d.suspects, id)
		d.grow(now, probe)
		return
	}
	if d.shut != Open {
		if probe {
			d.nextProbe = now.Add(d.pause(rnd))
		}
		if what == failed {
			d.suspect(id)
		}
		return
	}
	if what == rejected {
		delete(d.suspects, id)
		if d.rejected++; d.rejected >= rejectsToShut {
			d.trip(now, Rejecting, nil, rnd)
		}
		return
	}
	d.rejected = 0
	if d.limit > 1 {
		d.limit /= 2
	}
	d.failed[id] = struct{}{}
	if len(d.failed) >= failsToShut {
		d.trip(now, Failing, inFlight(), rnd)
	}
}

// turnAway notes that the app took nothing: it could not be reached, or asked
// for a pause. The door is shut at once, for at least as long as was asked.
func (d *door) turnAway(now time.Time, id journal.ID, why Shut, least time.Duration, rnd float64) {
	probe := d.probing && d.probe == id
	d.returned(id)
	if !d.tripped() {
		d.trip(now, why, nil, rnd)
		probe = true
	}
	d.shut = why
	if why != Unreachable { // it may be this one that the app does not take
		d.suspect(id)
	}
	next := now.Add(least)
	if paused := now.Add(d.pause(rnd)); probe && paused.After(next) {
		next = paused
	}
	if next.After(d.nextProbe) {
		d.nextProbe = next
	}
}

// grow opens a shut door, or lets an open one that ramps up double. An answer
// does not open a door that has no reader, nor one whose app asked for a pause: what
// it was sent before says nothing of that.
func (d *door) grow(now time.Time, probe bool) {
	switch {
	case d.shut == NoReader:
	case (d.shut == Throttled || d.shut == Gone) && !probe:
	case d.shut != Open:
		d.open(now, 1)
	case d.limit > 0:
		if d.limit *= 2; d.limit >= rampEnd {
			d.limit = 0
		}
	}
}

// trip shuts the door on what has been heard. The intents that failed are
// suspects like those still in flight.
func (d *door) trip(now time.Time, why Shut, inFlight []journal.ID, rnd float64) {
	for id := range d.failed {
		d.suspect(id)
	}
	for _, id := range inFlight {
		d.suspect(id)
	}
	d.close(now, why)
	d.nextProbe = now.Add(d.pause(rnd))
}

func (d *door) suspected(id journal.ID) bool {
	_, ok := d.suspects[id]
	return ok
}

func (d *door) suspect(id journal.ID) {
	if len(d.suspects) < suspectsMax {
		d.suspects[id] = struct{}{}
	}
}

func (d *door) close(now time.Time, why Shut) {
	d.shut, d.since = why, now
	d.probing, d.lastProbe, d.tries, d.limit = false, journal.ID{}, 0, 0
	d.nextProbe = now
	d.rejected = 0
	clear(d.failed)
}

func (d *door) open(now time.Time, limit int) {
	d.shut, d.since = Open, now
	d.opened++
	d.probing, d.limit, d.rejected = false, limit, 0
	clear(d.failed)
}

// pause is the time before the next probe: it doubles from probeMin to
// probeMax, and the upper half of it is random.
func (d *door) pause(rnd float64) time.Duration {
	full := d.probeMax
	if d.tries < 30 {
		full = min(full, d.probeMin<<d.tries)
	}
	return full/2 + time.Duration(rnd*float64(full/2))
}
