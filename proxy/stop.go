package proxy

import (
	"context"
	"errors"
	"time"

	"pannier/journal"
)

// serve returns when the sidecar is to close: nil when it was asked to, and
// has let apps finish.
func (r *run) serve(ctx, force, alive context.Context) error {
	select {
	case <-ctx.Done():
	case <-alive.Done():
		return context.Cause(alive)
	}
	began := time.Now()
	r.phase.Store(draining)
	r.announce()
	r.log.Info("stopping: no new work is taken on, apps may finish theirs", "within", r.config.limits.Load().drain())
	r.drain(force, alive)
	r.log.Info("closing", "after", time.Since(began).Round(time.Millisecond))
	if n := r.alone(); n > 0 {
		r.log.Error("accepted intents that no other sidecar has are lost with the journal", "intents", n)
	}
	return context.Cause(alive)
}

// drain lets apps finish: new intents and answers are still taken, nothing
// new is handed over. It ends when no app request has been open for a while,
// nothing is leased and nothing would be lost, when the time is over, or when
// force ends.
func (r *run) drain(force, alive context.Context) {
	ctx, cancel := context.WithTimeout(alive, r.config.limits.Load().drain()-closeMargin)
	defer cancel()
	defer context.AfterFunc(force, cancel)()

	released := make(chan struct{})
	go func() { // on a disk that hangs it reads without end, until the process does
		defer close(released)
		r.parts.Load().mailbox.Drain(ctx)
	}()
	select {
	case <-released:
	case <-ctx.Done():
		return
	}
	look := time.NewTicker(idleEvery)
	defer look.Stop()
	for !r.idle() {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

const (
	// quiet is how long no app request has been open before a stop goes on. It
	// may lie before the signal: a sidecar nobody talks to stops at once.
	quiet     = 2 * time.Second
	idleEvery = 20 * time.Millisecond
	// failFast bounds the stop of a sidecar that has failed: what it still says
	// to anybody may be wrong.
	failFast = 700 * time.Millisecond
)

func (r *run) idle() bool {
	p := r.parts.Load()
	open, last := p.api.Active()
	return open == 0 && time.Since(last) >= quiet && p.mailbox.Leased() == 0 && r.alone() == 0
}

// alone is how many intents are due, and in no other journal than one that is known to go
// with its pod: what is not delivered now never is. One that is due later, or waits for a
// person, is not waited for; neither is a volume that just looks as if it did not last.
func (r *run) alone() (n int) {
	if !r.opts.Ephemeral {
		return 0
	}
	for _, b := range r.journal.Backlogs() {
		if b.Name == journal.BacklogDue {
			n += b.Count
		}
	}
	return n
}

// close undoes start. A sidecar that failed only gets out of the way.
func (r *run) close(alive context.Context, cause error) error {
	ctx := context.Background()
	if cause != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, failFast)
		defer cancel()
	}
	err := r.cleanups.run(ctx, r.log)
	if cause == nil && alive.Err() != nil {
		err = errors.Join(context.Cause(alive), err) // it failed while closing
	}
	return err
}
