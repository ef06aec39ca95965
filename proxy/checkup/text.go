package checkup

import (
	"fmt"
	"time"
)

// SyncText says how long writes take to be durable; empty where there were none.
func (s *Status) SyncText() string {
	q := s.Journal.Syncs
	if q.Of == 0 {
		return ""
	}
	return fmt.Sprintf("p50 %.1f ms, p99 %.1f ms, of the last %s", q.P50, q.P99, plural(q.Of, "write"))
}

// Age is a duration in its largest unit.
func Age(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d d", d/day)
}

// plural is a number of things.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
