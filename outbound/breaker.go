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

const (
	tripConsecutive = 5
	tripRequests    = 20
	healthyAfter    = time.Minute
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
type breaker struct {
	min, max time.Duration // of the gate
	probe    time.Duration // deadline of a half-open permit
	rand     func() float64

	mu struct {
		sync.Mutex
		cb      *gobreaker.TwoStepCircuitBreaker[struct{}]
		state   gobreaker.State
		opened  int // times in a row without being healthy in between
		gate    time.Time
		closed  time.Time // when it last closed
		probing *permit
	}
}

// permit is the right to one exchange with the peer.
type permit struct {
	b        *breaker
	report   func(error)
	deadline time.Time
	halfOpen bool
	once     sync.Once
}

func newBreaker(o Options) *breaker {
	b := &breaker{min: o.RedialMin, max: o.RedialMax, probe: 2 * o.OfferTimeout, rand: rand.Float64}
	interval := max(time.Minute, tripConsecutive*2*(o.OfferTimeout+o.RedialMin))
	b.mu.cb = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:  1,
		Interval:     interval,
		BucketPeriod: interval / 12,
		Timeout:      time.Nanosecond, // the gate is ours
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.ConsecutiveFailures >= tripConsecutive ||
				c.Requests >= tripRequests && c.TotalFailures*2 >= c.Requests
		},
		IsExcluded: func(err error) bool { return errors.Is(err, errExcluded) },
		// It runs under gobreaker's lock, and under ours: every call of
		// gobreaker is made with b.mu held.
		OnStateChange: func(_ string, from, to gobreaker.State) { b.changed(from, to) },
	})
	return b
}

func (b *breaker) changed(from, to gobreaker.State) {
	now := time.Now()
	b.mu.state = to
	switch to {
	case gobreaker.StateClosed:
		b.mu.closed = now
	case gobreaker.StateOpen:
		if from == gobreaker.StateClosed && now.Sub(b.mu.closed) >= healthyAfter {
			b.mu.opened = 0
		}
		b.mu.opened++
		b.mu.gate = now.Add(pause(b.mu.opened, b.min, b.max, b.rand()))
	}
}

// allow asks for one exchange. It returns errOpen while nothing may be tried,
// or while the one probe of a half-open breaker is out.
func (b *breaker) allow(now time.Time) (*permit, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reap(now)
	if now.Before(b.mu.gate) || b.mu.probing != nil {
		return nil, errOpen
	}
	report, err := b.mu.cb.Allow()
	if err != nil {
		return nil, errOpen
	}
	p := &permit{b: b, report: report}
	if b.mu.cb.State() == gobreaker.StateHalfOpen {
		p.halfOpen, p.deadline = true, now.Add(b.probe)
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
	if p.b.mu.probing == p {
		p.b.mu.probing = nil
	}
	p.report(err)
}

// lift opens the gate at once: the peer has shown that it lives.
func (b *breaker) lift() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.gate = time.Time{}
}

const (
	breakerClosed   = "closed"
	breakerOpen     = "open"
	breakerHalfOpen = "half_open"
)

// status names the state without changing it; an open breaker whose gate is
// past is half-open. until is the end of the gate where it is open.
func (b *breaker) status(now time.Time) (name string, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.mu.state == gobreaker.StateClosed:
		return breakerClosed, time.Time{}
	case now.Before(b.mu.gate):
		return breakerOpen, b.mu.gate
	}
	return breakerHalfOpen, time.Time{}
}
