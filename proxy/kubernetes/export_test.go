package kubernetes

import "time"

// Settle makes refusals be told after another while. It is for before Run.
func (s *Source) Settle(d time.Duration) { s.events.settle = d }

// The times for which a token is believed, and without an API server.
const (
	BelievedFor     = believedFor
	BelievedWithout = believedWithout
)

// Age makes all that is remembered of tokens older.
func (r *Reviewer) Age(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, is := range r.mu.known {
		is.at = is.at.Add(-d)
		r.mu.known[key] = is
	}
}
