package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// abandonAfter is what a clean-up is given beyond its time before it is left
// behind: it may be cutting short because its context ended.
const abandonAfter = 50 * time.Millisecond

// cleanups undo a start, the last step first. Each has a name, to be blamed
// by, and a time: one that hangs must not keep the journal from being closed.
type cleanups []cleanup

type cleanup struct {
	name   string
	within time.Duration
	undo   func(context.Context) error
}

func (c *cleanups) add(name string, within time.Duration, undo func(context.Context) error) {
	*c = append(*c, cleanup{name, within, undo})
}

// run runs all of them whatever fails. One that overstays is left running:
// the process is about to end, and its error makes the end an unclean one.
func (c *cleanups) run(ctx context.Context, log *slog.Logger) error {
	var errs []error
	for len(*c) > 0 {
		last := (*c)[len(*c)-1]
		*c = (*c)[:len(*c)-1]
		began := time.Now()
		if err := last.run(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", last.name, err))
		}
		log.Debug("stopped", "part", last.name, "took", time.Since(began))
	}
	return errors.Join(errs...)
}

func (c cleanup) run(ctx context.Context) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, c.within)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- c.undo(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(abandonAfter):
		return fmt.Errorf("not done after %s", time.Since(began).Round(time.Millisecond))
	}
}

// crew starts the loops of a sidecar. The first that ends unasked is the
// sidecar's failure: none of them can be missed.
type crew struct {
	fail context.CancelCauseFunc // the first counts; never blocks
}

// start runs a loop and returns what ends it and waits for it.
func (c crew) start(name string, loop func(context.Context) error) (stop func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := loop(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("ended unasked")
		}
		c.fail(fmt.Errorf("%s: %w", name, err))
	}()
	return func(context.Context) error {
		cancel()
		<-done
		return nil
	}
}
