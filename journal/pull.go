package journal

import (
	"sync"

	"pannier/journal/wire"
)

// Pull is one answer to an app, and how much payload it may hold: what is leased is then read
// and encoded at once, whatever the app thought it would be. One that is larger goes alone.
type Pull struct {
	most int

	mu struct {
		sync.Mutex
		given map[ID]int // bytes
		sum   int
		full  bool // something had no room: what comes later may not overtake it
	}
}

// NewPull returns one that takes so many bytes of payload.
func NewPull(most int) *Pull {
	p := &Pull{most: most}
	p.mu.given = map[ID]int{}
	return p
}

// takes counts an intent, once however often its batch is run, and reports whether there is
// room for it.
func (p *Pull) takes(id ID, e *wire.Envelope) bool {
	if p == nil {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, again := p.mu.given[id]; again {
		return true
	}
	n := len(e.Payload)
	if p.mu.full || len(p.mu.given) > 0 && p.mu.sum+n > p.most {
		p.mu.full = true
		return false
	}
	p.mu.given[id], p.mu.sum = n, p.mu.sum+n
	return true
}

func (p *Pull) full() bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.full
}
