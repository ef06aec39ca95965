package outbound

import "time"

// Told is how a dispatcher tells of what happens, for those who count. A nil func is
// not called; none may block. They are called for each frame, not for each intent.
type Told struct {
	// Offers: a peer has said of n offers that they are held, refused or released.
	Offers func(address, outcome string, n int)
	// Answered: all of a frame of offers is answered, so long after it was sent.
	Answered func(took time.Duration)
	// Breaker: a breaker has gone from one state to another.
	Breaker func(address, from, to string)
}

// What a peer may say of an offer.
const (
	OutcomeHeld     = "held"
	OutcomeRefused  = "refused"
	OutcomeReleased = "released"
)

// SetTold sets who is told. Call it before Run.
func (d *Dispatcher) SetTold(t Told) { d.told = t }

func (d *Dispatcher) tellOffers(s *session, outcome string, n int) {
	if f := d.told.Offers; f != nil && n > 0 {
		f(s.link.address, outcome, n)
	}
}

// BreakerStates lists the states of a breaker.
func BreakerStates() []string { return []string{breakerClosed, breakerOpen, breakerHalfOpen} }

// Figures is what an operator watches of this side.
type Figures struct {
	Peers        []PeerFigures
	Destinations int // with something due or in flight
	Bytes, Most  int // of envelopes claimed and not yet written, and how many there may be
}

// PeerFigures is what an operator watches of one address.
type PeerFigures struct {
	Address   string
	Breaker   string
	Connected bool
	Held      int // intents unsettled there
}

// Figures describes the addresses that something here needs, or that there is a
// stream to: not those that strangers have merely named. It reads memory only.
func (d *Dispatcher) Figures() Figures {
	d.mu.Lock()
	out := Figures{Destinations: len(d.mu.dests), Bytes: d.mu.bytes, Most: d.opt.MaxInFlightBytes}
	held := map[string]int{}
	for _, h := range d.mu.holders {
		held[h.address] += h.held
	}
	var breakers []*breaker
	for _, l := range d.mu.links {
		p := PeerFigures{Address: l.address, Held: held[l.address]}
		if s := l.session; s != nil {
			p.Connected, p.Held = s.live, s.held
		}
		if l.self || !p.Connected && p.Held == 0 && l.dests == 0 {
			continue
		}
		out.Peers, breakers = append(out.Peers, p), append(breakers, l.breaker)
	}
	d.mu.Unlock()
	now := time.Now()
	for i, b := range breakers {
		out.Peers[i].Breaker, _ = b.status(now)
	}
	return out
}
