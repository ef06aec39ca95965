package sidecar

import (
	"slices"
	"sync"
	"time"
)

// recentMost is how many durations are remembered: a few seconds of a busy journal.
const recentMost = 512

// recent remembers the last durations of something, so that an operator sees how it is
// and not how it has been since the start.
type recent struct {
	mu  sync.Mutex
	all [recentMost]time.Duration
	n   int // seen
}

func (r *recent) add(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[r.n%recentMost] = d
	r.n++
}

// Quantiles are of the last Of durations.
type Quantiles struct {
	Of       int
	P50, P99 time.Duration
}

func (r *recent) quantiles() Quantiles {
	r.mu.Lock()
	all := slices.Clone(r.all[:min(r.n, recentMost)])
	r.mu.Unlock()
	if len(all) == 0 {
		return Quantiles{}
	}
	slices.Sort(all)
	at := func(percent int) time.Duration { return all[(len(all)-1)*percent/100] }
	return Quantiles{Of: len(all), P50: at(50), P99: at(99)}
}

// Syncs says how long the journal's last batches took to be durable.
func (s *Sidecar) Syncs() Quantiles { return s.syncs.quantiles() }
