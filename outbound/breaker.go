package outbound

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
)

// errExcluded is the outcome of something that says nothing about the peer:
// our own stop, an exchange overtaken by another outcome of the same cause.
var errExcluded = errors.New("no outcome")

// errOpen: nothing may be tried before the breaker's gate.
var errOpen = errors.New("breaker open")

var errOperator = errors.New("an operator opened the breaker")

const (
	tripRequests = 20 // at least so many, for a share of failures to say something
	healthyAfter = time.Minute
	buckets      = 12
	replayMost   = 10_000
)

// breaker is the circuit breaker of one address. gobreaker counts and decides;
// around it stand guards against what it does not do:
//
//   - Its open state has one length and no jitter: a gate of ours, which doubles
//     from min to max, is asked first. Its own time-out is next to nothing.
//   - It turns half-open inside State, so that a look at the metrics is an act:
//     status looks at the gate.
//   - A half-open probe that is never reported jams it for ever: the permit has
//     a deadline, after which the next call reports it failed.
//   - An outcome reported twice counts twice: permits report once.
//   - Outcomes older than its interval are thrown away, so slow hangs never trip
//     it: the interval holds as many of the longest exchanges, with the pauses
//     between them, as trip it.
//   - Its settings are those it was made with: the threshold and the gate are
//     read from ours, and for another interval a new one takes the counts over.
type breaker struct {
	rand func() float64
	told func(from, to string) // of each change; nil: nobody

	mu struct {
		sync.Mutex
		cb      *gobreaker.TwoStepCircuitBreaker[struct{}]
		terms   terms
		state   gobreaker.State
		life    int // counts the changes of state
		opened  int // times in a row without being healthy in between
		gate    time.Time
		tripped time.Time // when it last was closed no more
		closed  time.Time // when it last closed
		probing *permit

		spared bool // the gate is passed over: too many others are open
		forced bool // an operator holds it open
		stale  bool // cb counts in another interval than the terms say
		replay bool // counts are being taken over: nothing trips
	}
}

// permit is the right to one exchange with the peer.
type permit struct {
	b        *breaker
	cb       *gobreaker.TwoStepCircuitBreaker[struct{}]
	life     int
	report   func(error)
	deadline time.Time
	halfOpen bool
	once     sync.Once
}

func newBreaker(t terms) *breaker {
	b := &breaker{rand: rand.Float64}
	b.mu.terms = t
	b.mu.cb = b.counter()
	return b
}

// counter makes gobreaker's part. Called with b.mu held.
func (b *breaker) counter() *gobreaker.TwoStepCircuitBreaker[struct{}] {
	interval := b.mu.terms.interval
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:  1,
		Interval:     interval,
		BucketPeriod: interval / buckets,
		Timeout:      time.Nanosecond, // the gate is ours
		// Both run under gobreaker's lock, and under ours: every call of gobreaker is
		// made with b.mu held.
		ReadyToTrip:   b.trips,
		OnStateChange: func(_ string, from, to gobreaker.State) { b.changed(from, to) },
		IsExcluded:    func(err error) bool { return errors.Is(err, errExcluded) },
	})
}

func (b *breaker) trips(c gobreaker.Counts) bool {
	trip := uint32(b.mu.terms.trip)
	return !b.mu.replay && (c.ConsecutiveFailures >= trip ||
		c.Requests >= max(tripRequests, 4*trip) && c.TotalFailures*2 >= c.Requests)
}

func (b *breaker) changed(from, to gobreaker.State) {
	now := time.Now()
	b.mu.state = to
	b.mu.life++
	if b.told != nil {
		b.told(stateNames[from], stateNames[to])
	}
	switch to {
	case gobreaker.StateClosed:
		b.mu.closed = now
		if b.mu.stale {
			b.mu.cb, b.mu.stale = b.counter(), false
		}
	case gobreaker.StateOpen:
		if from == gobreaker.StateClosed {
			b.mu.tripped = now
			if now.Sub(b.mu.closed) >= healthyAfter {
				b.mu.opened = 0
			}
		}
		b.mu.opened++
		b.mu.gate = now.Add(b.stay())
	}
}

// stay is how long it is open this time.
func (b *breaker) stay() time.Duration {
	t := b.mu.terms
	if t.linear {
		return ejection(b.mu.opened, t.min, t.max, b.rand())
	}
	return pause(b.mu.opened, t.min, t.max, b.rand())
}

// set changes the terms. What was counted counts on, and one that is open stays
// so, as long as it was told then.
func (b *breaker) set(t terms) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.mu.terms.interval
	b.mu.terms = t
	switch {
	case t.interval == before && !b.mu.stale:
	case b.mu.state != gobreaker.StateClosed:
		b.mu.stale = true // it closes with nothing counted
	default:
		b.recount()
	}
}

// recount puts a new counter in the place of one of another interval. Of the
// order of what was counted only its end matters.
func (b *breaker) recount() {
	_ = b.mu.cb.State() // what is too old by now it forgets only when asked
	c := b.mu.cb.Counts()
	b.mu.cb, b.mu.stale, b.mu.replay = b.counter(), false, true
	defer func() { b.mu.replay = false }()
	again := func(n uint32, err error) {
		for range min(n, replayMost) {
			if report, refused := b.mu.cb.Allow(); refused == nil {
				report(err)
			}
		}
	}
	failed := errors.New("counted before")
	again(c.TotalFailures-min(c.ConsecutiveFailures, c.TotalFailures), failed)
	again(c.TotalSuccesses, nil)
	again(c.ConsecutiveFailures, failed)
}

// allow asks for one exchange. It returns errOpen while nothing may be tried,
// or while the one probe of a half-open breaker is out.
func (b *breaker) allow(now time.Time) (*permit, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reap(now)
	if b.mu.forced || now.Before(b.mu.gate) && !b.mu.spared || b.mu.probing != nil {
		return nil, errOpen
	}
	report, err := b.mu.cb.Allow()
	if err != nil {
		return nil, errOpen
	}
	p := &permit{b: b, cb: b.mu.cb, report: report}
	half := b.mu.cb.State() == gobreaker.StateHalfOpen
	p.life = b.mu.life
	if half {
		p.halfOpen, p.deadline = true, now.Add(b.mu.terms.probe)
		b.mu.probing = p
	}
	return p, nil
}

// reap reports a probe that has not reported by its deadline as failed: the
// half-open state has no time-out of its own.
func (b *breaker) reap(now time.Time) {
	p := b.mu.probing
	if p == nil || now.Before(p.deadline) {
		return
	}
	p.once.Do(func() { p.settle(errors.New("the probe was never answered")) })
}

// done reports the outcome; the first report counts.
func (p *permit) done(err error) {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	p.once.Do(func() { p.settle(err) })
}

func (p *permit) settle(err error) {
	b := p.b
	if b.mu.probing == p {
		b.mu.probing = nil
	}
	switch {
	case p.cb == b.mu.cb:
		p.report(err)
	case p.life == b.mu.life: // counted by the one that took over
		if report, refused := b.mu.cb.Allow(); refused == nil {
			report(err)
		}
	}
}

// lift opens the gate at once: the peer has shown that it lives.
func (b *breaker) lift() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.gate = time.Time{}
}

// spare says whether the gate is passed over.
func (b *breaker) spare(yes bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.spared = yes
}

// force holds it open until reset.
func (b *breaker) force() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.forced = true
}

// reset closes it, with nothing counted.
func (b *breaker) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.cb, b.mu.stale = b.counter(), false
	b.mu.life++
	b.mu.state, b.mu.opened, b.mu.gate = gobreaker.StateClosed, 0, time.Time{}
	b.mu.probing, b.mu.forced = nil, false
}

// ejected reports whether it is other than closed, and since when.
func (b *breaker) ejected() (since time.Time, yes bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.tripped, b.mu.state != gobreaker.StateClosed && !b.mu.forced
}

// outage returns when it was last not closed: until now, where it still is not; zeros
// where an operator has closed it, or there was none.
func (b *breaker) outage(now time.Time) (from, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.mu.state != gobreaker.StateClosed:
		return b.mu.tripped, now
	case b.mu.closed.After(b.mu.tripped):
		return b.mu.tripped, b.mu.closed
	}
	return time.Time{}, time.Time{}
}

// inForce returns what operators ask of a breaker beside its state.
func (b *breaker) inForce() (forced bool, o Opens) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.mu.terms
	return b.mu.forced, Opens{After: t.trip, Interval: t.interval.String(), Least: t.min.String(), Most: t.max.String()}
}

const (
	breakerClosed   = "closed"
	breakerOpen     = "open"
	breakerHalfOpen = "half_open"
)

var stateNames = map[gobreaker.State]string{
	gobreaker.StateClosed: breakerClosed, gobreaker.StateOpen: breakerOpen, gobreaker.StateHalfOpen: breakerHalfOpen,
}

// status names the state without changing it; an open breaker whose gate is
// past, or passed over, is half-open. until is the end of the gate where it is
// open; zero while an operator holds it.
func (b *breaker) status(now time.Time) (name string, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.mu.forced:
		return breakerOpen, time.Time{}
	case b.mu.state == gobreaker.StateClosed:
		return breakerClosed, time.Time{}
	case now.Before(b.mu.gate) && !b.mu.spared:
		return breakerOpen, b.mu.gate
	}
	return breakerHalfOpen, time.Time{}
}
