package outbound

import "time"

// demand is what a destination's policy asks of the way to an endpoint. An
// address has one stream and one breaker for all it serves: the most careful
// demand is in force there, and one that is zero has no say.
type demand struct {
	backoff Backoff
	breaker BreakerPolicy // but MaxEjectionPercent, which is the destination's own
	answer  time.Duration
}

func (p Policy) demand() demand {
	b := p.Breaker
	b.MaxEjectionPercent = 0
	return demand{p.Backoff, b, p.PerTryTimeout}
}

// with joins two demands.
func (a demand) with(b demand) demand {
	trip := min(a.breaker.Consecutive, b.breaker.Consecutive)
	if trip == 0 {
		trip = max(a.breaker.Consecutive, b.breaker.Consecutive)
	}
	return demand{
		backoff: Backoff{max(a.backoff.Base, b.backoff.Base), max(a.backoff.Max, b.backoff.Max)},
		breaker: BreakerPolicy{
			Consecutive:  trip,
			Interval:     max(a.breaker.Interval, b.breaker.Interval),
			BaseEjection: max(a.breaker.BaseEjection, b.breaker.BaseEjection),
			MaxEjection:  max(a.breaker.MaxEjection, b.breaker.MaxEjection),
		},
		answer: max(a.answer, b.answer),
	}
}

// said fills in what a backoff leaves open; false where it says nothing.
func (b Backoff) said(o Options) (Backoff, bool) {
	if b == (Backoff{}) {
		return b, false
	}
	if b.Max == 0 {
		b.Max = max(o.RedialMax, b.Base)
	}
	if b.Base == 0 {
		b.Base = min(o.RedialMin, b.Max)
	}
	b.Max = max(b.Max, b.Base)
	return b, true
}

// terms are what a breaker goes by.
type terms struct {
	trip     int           // failures in a row that open it
	interval time.Duration // in which they are counted
	min, max time.Duration // how long it stays open
	linear   bool          // times the number of openings in a row; else doubled
	probe    time.Duration // deadline of a half-open permit
}

const (
	tripConsecutive = 5
	intervalLeast   = time.Minute // where no policy says less
)

// terms says what a demand means for the breaker.
func (a demand) terms(o Options) terms {
	t := terms{trip: tripConsecutive, interval: intervalLeast, min: o.RedialMin, max: o.RedialMax}
	if a.breaker.Consecutive > 0 {
		t.trip = a.breaker.Consecutive
	}
	if a.breaker.BaseEjection > 0 {
		t.min, t.linear = a.breaker.BaseEjection, true
	}
	if a.breaker.MaxEjection > 0 {
		t.max = a.breaker.MaxEjection
	}
	t.max = max(t.max, t.min)
	longest, rest := max(o.OfferTimeout, a.answer), o.RedialMin
	if b, said := a.backoff.said(o); said {
		rest = doubled(t.trip, b.Base, b.Max)
	}
	if a.breaker.Interval > 0 {
		t.interval = a.breaker.Interval
	}
	t.interval = max(t.interval, time.Duration(t.trip)*2*(longest+rest))
	t.probe = 2 * longest
	return t
}

// ask counts a destination's demand at the link, or takes it off, and puts in
// force what is asked for then. With nobody left to ask, what was in force
// stays: a destination is forgotten whenever nothing of it is due. Called with mu
// held.
func (l *link) ask(a demand, n int) {
	if l.demands[a] += n; l.demands[a] == 0 {
		delete(l.demands, a)
	}
	if len(l.demands) == 0 {
		return
	}
	var all demand
	for x := range l.demands {
		all = all.with(x)
	}
	if all != l.demand {
		l.demand = all
		l.breaker.set(all.terms(l.d.opt))
		l.poke()
	}
}
