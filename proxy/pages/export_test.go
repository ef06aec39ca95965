package pages

import (
	"net/netip"
	"time"
)

// Guesses count wrong tokens.
type Guesses struct{ g *guesses }

func NewGuesses() Guesses { return Guesses{newGuesses()} }

func (g Guesses) Take(at netip.Addr, now time.Time) time.Duration { return g.g.take(at, now) }
func (g Guesses) Len() int                                        { return len(g.g.of) }
