package outbound

import (
	"time"

	"pannier/journal"
)

// Pause and HoldOff are the pure schedule.
func Pause(n int, min, max time.Duration, r float64) time.Duration { return pause(n, min, max, r) }

func HoldOff(asked time.Duration, n int, min, max time.Duration, r float64) time.Duration {
	return holdOff(asked, n, min, max, r)
}

// Breaker is the breaker of one address, with its randomness fixed.
type Breaker struct{ b *breaker }

func NewBreaker(o Options) Breaker {
	b := newBreaker(demand{}.terms(o))
	b.rand = func() float64 { return 0.5 } // pauses as long as their middle
	return Breaker{b}
}

// Allow returns the report of one permit; nil where there is none.
func (b Breaker) Allow() func(error) {
	p, err := b.b.allow(time.Now())
	if err != nil {
		return nil
	}
	return p.done
}

// Set puts a policy in force.
func (b Breaker) Set(p Policy) { b.b.set(p.demand().terms(DefaultOptions())) }

// Jittered and Ejection are the pauses a policy asks for.
func Jittered(n int, b Backoff, r float64) time.Duration { return jittered(n, b, r) }

func Ejection(n int, base, max time.Duration, r float64) time.Duration {
	return ejection(n, base, max, r)
}

func (b Breaker) State() string { s, _ := b.b.status(time.Now()); return s }

func (b Breaker) Until() time.Time { _, until := b.b.status(time.Now()); return until }

func (b Breaker) Lift() { b.b.lift() }

var ErrExcluded = errExcluded

// Judge returns what a refusal code means: which of intent, agent or endpoint
// it is about, the reason of the dead letter, and the least pause.
func Judge(code string) (about, reason string, least time.Duration) {
	v := judge(code)
	return map[scope]string{ofIntent: "intent", ofAgent: "agent", ofEndpoint: "endpoint"}[v.scope], v.reason.String(), v.least
}

// InFlight counts what the dispatcher keeps per intent, and destinations.
func (d *Dispatcher) InFlight() (flights, unsettled, dests, bytes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.mu.flights), len(d.mu.unsettled), len(d.mu.dests), d.mu.bytes
}

// Claim is a claim of an agent's intents for the endpoint at an address, held
// open between the read of the journal and its end.
type Claim struct {
	d   *Dispatcher
	dst *dest
	t   target
}

// Claiming begins one.
func (d *Dispatcher) Claiming(agent, address string) *Claim {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.claiming = true
	a, _ := d.journal.AgentNo(agent)
	s := d.mu.links[address].session
	return &Claim{d, d.dest(a), target{opt: option{Endpoint: Endpoint{Address: address}, session: s, pair: s.pair(agent)}, n: 10}}
}

// Skips asks whether the claim would leave the intent out.
func (c *Claim) Skips(id journal.ID) bool { return c.d.skip(c.dst, c.t, true)(id) }

// End ends it with what was read, and returns how many of that may be offered.
func (c *Claim) End(read ...journal.Offer) int {
	return len(c.d.claimed(c.dst, c.t, read, time.Time{}, time.Now()))
}

// ShareOf is the share of a split an intent falls to.
func ShareOf(id journal.ID, split []Share) int { return shareOf(id, split) }
