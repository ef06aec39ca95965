package controlplane

import (
	"context"
	"sync"

	"pannier/proxy/mesh"
)

// Source is a place that agents are known from. Its owner lists the sources in
// the order in which they are believed.
type Source interface {
	// Name is what operators know it by, one word.
	Name() string
	// Run reports what the source knows, and again whenever that has changed, until
	// ctx ends. The first report says that the source has synced: it comes when all
	// that was there at the start is in it, and never before, since clients would
	// take a part of the world for the whole. report keeps what it is given, does
	// not block, and may be called from any goroutine. An error ends the control
	// plane: what can pass, a source waits for by itself, with its last report in
	// force.
	Run(ctx context.Context, report func(Update)) error
}

// Update is all that a source knows, in place of all it said before.
type Update struct {
	// Services are the agents it knows, each once. Nil Endpoints say nothing of
	// where an agent is, empty ones that it is nowhere; a zero Policy says nothing
	// of its traffic.
	Services []mesh.Service
	Policies mesh.Policies // of agents for which Services have no policy
	Paused   bool          // all sidecars are to send nothing
}

// inbox keeps the last update of each source until it is looked at.
type inbox struct {
	wake chan struct{} // something is new
	mu   struct {
		sync.Mutex
		latest []*Update // by source; nil until it has synced
	}
}

func newInbox(sources int) *inbox {
	b := &inbox{wake: make(chan struct{}, 1)}
	b.mu.latest = make([]*Update, sources)
	return b
}

// report is what source i is given to report with.
func (b *inbox) report(i int) func(Update) {
	return func(u Update) {
		b.mu.Lock()
		b.mu.latest[i] = &u
		b.mu.Unlock()
		select {
		case b.wake <- struct{}{}:
		default: // whoever is woken looks at all of it
		}
	}
}

// updates returns what each source said last, nil for one that has not synced.
func (b *inbox) updates() []*Update {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]*Update(nil), b.mu.latest...)
}
