package journal_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"

	"pannier/journal"
)

// TestQueuesAreBounded: while no batch gets done so many operations wait, and then their callers
// do. What nobody waits for may ride along beside them, and then waits in the same queue.
func TestQueuesAreBounded(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		lazy bool
		most int64
	}{
		"asked for":  {false, journal.QueueLength},
		"ride along": {true, journal.QueueLength + journal.LazyLimit},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := setup(t)
				release := make(chan struct{})
				<-w.j.Queue(release) // the batch that does not get done
				var queued atomic.Int64
				done := make(chan struct{})
				go func() {
					defer close(done)
					for range row.most + 100 {
						w.j.QueueIdle(row.lazy)
						queued.Add(1)
					}
				}()
				synctest.Wait()
				if n := queued.Load(); n != row.most {
					t.Errorf("%d operations wait in memory, want %d and their callers", n, row.most)
				}
				close(release)
				<-done
				w.whole()
			})
		})
	}
}
