package proxy_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pannier/proxy"
)

func TestCleanupsRunBackwardsWhateverFails(t *testing.T) {
	t.Parallel()
	var order []string
	c := proxy.NewCleanups()
	for _, name := range []string{"journal", "listener", "api"} {
		c.Add(name, time.Second, func(context.Context) error {
			order = append(order, name)
			if name == "listener" {
				return errors.New("stuck")
			}
			return nil
		})
	}
	err := c.Run(context.Background(), slog.New(slog.DiscardHandler))
	if got := strings.Join(order, " "); got != "api listener journal" {
		t.Errorf("order %q, want the reverse of what was added", got)
	}
	if err == nil || err.Error() != "stop listener: stuck" {
		t.Errorf("got %v, want the one error with its name", err)
	}
}

func TestCleanupThatHangsIsNamedAndLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		closed := false
		c := proxy.NewCleanups()
		c.Add("journal", time.Second, func(context.Context) error { closed = true; return nil })
		release := make(chan struct{})
		c.Add("dispatcher", 3*time.Second, func(context.Context) error { <-release; return nil })
		began := time.Now()
		err := c.Run(context.Background(), slog.New(slog.DiscardHandler))
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("took %s", took)
		}
		if err == nil || err.Error() != "stop dispatcher: not done after 3.05s" {
			t.Errorf("got %v, want the one that hangs by name", err)
		}
		if !closed {
			t.Error("the journal was not closed because something else hung")
		}
		close(release)
	})
}

func TestCleanupMayUseItsWholeTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := proxy.NewCleanups()
		c.Add("deliveries", 3*time.Second, func(ctx context.Context) error { <-ctx.Done(); return nil })
		if err := c.Run(context.Background(), slog.New(slog.DiscardHandler)); err != nil {
			t.Errorf("got %v: cutting short when its time is over is no fault", err)
		}
	})
}

// TestFailedSidecarEndsWithinASecond: what it has under way is waited for by one that was told
// to stop.
func TestFailedSidecarEndsWithinASecond(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		cause       error
		least, most time.Duration
	}{
		"told to": {nil, 20 * time.Second, 30 * time.Second},
		"failed":  {errors.New("journal: commit"), 0, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := proxy.NewCleanups()
				for _, part := range []string{"mailbox", "deliveries"} {
					c.Add(part, 10*time.Second, func(ctx context.Context) error { <-ctx.Done(); return nil })
				}
				began := time.Now()
				if err := c.Close(t.Context(), row.cause); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took < row.least || took > row.most {
					t.Errorf("its end took %v, want %v to %v", took, row.least, row.most)
				}
			})
		})
	}
}

// TestFailureWhileClosing: a sidecar that fails while it closes does not end as if all were well,
// and one that has failed before says so once.
func TestFailureWhileClosing(t *testing.T) {
	t.Parallel()
	alive, fail := context.WithCancelCause(t.Context())
	c, failure := proxy.NewCleanups(), errors.New("journal: commit")
	c.Add("journal", time.Second, func(context.Context) error { fail(failure); return nil })
	if err := c.Close(alive, nil); !errors.Is(err, failure) {
		t.Errorf("it ended with %v", err)
	}
	if err := proxy.NewCleanups().Close(alive, failure); err != nil {
		t.Errorf("its end adds %v", err)
	}
	if err := proxy.NewCleanups().Close(t.Context(), nil); err != nil {
		t.Errorf("where nothing has failed: %v", err)
	}
}

func TestLoopThatEndsUnaskedIsAFailure(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, want string
		result     error
	}{
		{"without an error", "mailbox: ended unasked", nil},
		{"with one", "mailbox: boom", errors.New("boom")},
	} {
		t.Run(row.name, func(t *testing.T) {
			alive, fail := context.WithCancelCause(context.Background())
			stop := proxy.StartLoop(fail, "mailbox", func(context.Context) error { return row.result })
			<-alive.Done()
			if got := context.Cause(alive).Error(); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
			if err := stop(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLoopThatIsStoppedIsNoFailure(t *testing.T) {
	t.Parallel()
	alive, fail := context.WithCancelCause(context.Background())
	stop := proxy.StartLoop(fail, "mailbox", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	if err := stop(context.Background()); err != nil {
		t.Error(err)
	}
	if alive.Err() != nil {
		t.Errorf("got %v", context.Cause(alive))
	}
}

// Go's clients keep an idle connection for 90 s: a request on one that the server
// closes meanwhile fails, and they repeat no POST.
func TestIdleConnectionsOutliveClients(t *testing.T) {
	t.Parallel()
	if got := proxy.IdleTimeout(); got <= 90*time.Second {
		t.Errorf("idle connections are closed after %v", got)
	}
}
