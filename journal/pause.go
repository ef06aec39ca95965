package journal

import "time"

// pause is what a loop sleeps by that begins at once. It is not a timer that is due at once:
// in a test's bubble such timers of several loops end the race detector (go.dev/issue/78156).
type pause struct {
	timer *time.Timer
	now   chan struct{}
}

func newPause() *pause {
	p := &pause{timer: time.NewTimer(time.Hour), now: make(chan struct{}, 1)}
	p.set(0)
	return p
}

// set ends it after d, and at any time before: who is woken looks.
func (p *pause) set(d time.Duration) {
	if d > 0 {
		p.timer.Reset(d)
		return
	}
	select {
	case p.now <- struct{}{}:
	default:
	}
}
