package metrics

import (
	"sync"
	"time"
)

// Other is what a label says of all that are too many to be named.
const Other = "other"

// Names bounds a label whose values others choose: the first so many names are told
// apart, and all later ones are Other, until some have left.
type Names struct {
	most int
	mu   struct {
		sync.Mutex
		seen map[string]time.Time // when it was last here
	}
}

// NewNames tells most names apart. It may be asked by many at once.
func NewNames(most int) *Names {
	n := &Names{most: most}
	n.mu.seen = map[string]time.Time{}
	return n
}

// Of returns the label of a name.
func (n *Names) Of(name string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.mu.seen[name]; !known {
		if len(n.mu.seen) >= n.most {
			return Other
		}
		n.mu.seen[name] = time.Now()
	}
	return name
}

// Keep is told which names are there, and returns those that it has let go of: they
// have not been for that long. Their series are to be let go of, too.
func (n *Names) Keep(there map[string]bool, long time.Duration, now time.Time) (gone []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, at := range n.mu.seen {
		switch {
		case there[name]:
			n.mu.seen[name] = now
		case now.Sub(at) > long:
			delete(n.mu.seen, name)
			gone = append(gone, name)
		}
	}
	return gone
}
