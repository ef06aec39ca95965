package journal

import "sync"

// watches wake those who wait for the events of one intent.
type watches struct {
	mu struct {
		sync.Mutex
		by map[ID][]chan struct{}
	}
}

func newWatches() *watches {
	w := &watches{}
	w.mu.by = map[ID][]chan struct{}{}
	return w
}

// Watch returns a channel that receives after each commit that changed the
// intent, at home or as its holder; several commits may be one wake-up. Watch first and read
// then: nothing is missed in between. stop must be called.
func (j *Journal) Watch(id ID) (wake <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	w := j.watches
	w.mu.Lock()
	w.mu.by[id] = append(w.mu.by[id], c)
	w.mu.Unlock()
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		rest := w.mu.by[id][:0]
		for _, other := range w.mu.by[id] {
			if other != c {
				rest = append(rest, other)
			}
		}
		if len(rest) == 0 {
			delete(w.mu.by, id)
			return
		}
		w.mu.by[id] = rest
	}
}

func (w *watches) wake(id ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.mu.by[id] {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}
