package pages

import (
	"net/netip"
	"sync"
	"time"
)

const (
	maxGuesses = 10 // wrong tokens from one address, before it has to wait
	// guessEvery is how often it may then be wrong again.
	guessEvery = 30 * time.Second
	// maxGuessers is how many addresses are told apart; others count as one.
	maxGuessers = 1000
	// oneNetwork is as much of an IPv6 address as one household has.
	oneNetwork = 64
)

// guesses bounds how often a wrong token is tried. A right one is not looked at either
// while an address has to wait: else it would be found all the same.
type guesses struct {
	mu sync.Mutex
	of map[netip.Addr]bucket
}

// bucket is what is left of maxGuesses, as the time at which it will be full again.
type bucket struct{ full time.Time }

func newGuesses() *guesses { return &guesses{of: map[netip.Addr]bucket{}} }

func guesser(at netip.Addr) netip.Addr {
	if at.Is6() {
		if p, err := at.Prefix(oneNetwork); err == nil {
			return p.Addr()
		}
	}
	return at
}

// take counts a guess, which is given back where it was right. wait is how long to wait
// before the next, where there is none left.
func (g *guesses) take(at netip.Addr, now time.Time) (wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	at = g.place(at, now)
	b := g.of[at]
	if b.full.Before(now) {
		b.full = now
	}
	next := b.full.Add(guessEvery)
	if over := next.Sub(now) - maxGuesses*guessEvery; over > 0 {
		return over
	}
	g.of[at] = bucket{next}
	return 0
}

// giveBack makes a guess not counted.
func (g *guesses) giveBack(at netip.Addr, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	at = g.place(at, now)
	if b, ok := g.of[at]; ok {
		g.of[at] = bucket{b.full.Add(-guessEvery)}
	}
}

// place is under which address somebody is counted: the zero one where there are too many.
func (g *guesses) place(at netip.Addr, now time.Time) netip.Addr {
	at = guesser(at)
	if _, known := g.of[at]; known || len(g.of) < maxGuessers {
		return at
	}
	for other, b := range g.of {
		if !b.full.After(now) {
			delete(g.of, other)
		}
	}
	if len(g.of) < maxGuessers {
		return at
	}
	return netip.Addr{}
}
