package kubernetes

import "time"

// Settle makes refusals be told after another while. It is for before Run.
func (s *Source) Settle(d time.Duration) { s.events.settle = d }
