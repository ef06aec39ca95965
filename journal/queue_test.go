package journal_test

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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

// TestUrgency: what finishes work goes before what takes on more, and what the history lets go
// after both; but each batch takes a slice of that, or a journal that is never idle only grows.
func TestUrgency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		release := make(chan struct{})
		<-w.j.Queue(release)
		const more = 100
		queued := []int{journal.BatchOperations + more, more, more, journal.HistorySlice + more}
		var ran []int
		for urgency := journal.Urgencies - 1; urgency >= 0; urgency-- {
			for range queued[urgency] {
				w.j.QueueAt(urgency, func() { ran = append(ran, urgency) })
			}
		}
		close(release)
		synctest.Wait()
		// The one that a batch begins with is any.
		for _, row := range []struct{ from, to, urgency int }{
			{1, journal.BatchOperations, 0},
			{journal.BatchOperations, journal.BatchOperations + journal.HistorySlice, 3},
		} {
			if part := ran[row.from:row.to]; slices.ContainsFunc(part, func(u int) bool { return u != row.urgency }) {
				t.Errorf("of the operations from %d to %d not all are of urgency %d: %v", row.from, row.to, row.urgency, slices.Compact(slices.Clone(part)))
			}
		}
		if second := slices.Compact(slices.Clone(ran[journal.BatchOperations+journal.HistorySlice+1:])); !slices.IsSorted(second) {
			t.Errorf("the second batch has urgencies in the order %v", second)
		}
		w.whole()
	})
}

// TestOperationTooLarge: what no batch has room for is refused, and the next is done.
func TestOperationTooLarge(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, lazy := range []bool{false, true} {
		if err := w.j.QueueLarge(lazy); !errors.Is(err, journal.ErrTooLarge) {
			t.Errorf("rides along: %t: %v", lazy, err)
		}
		w.accept()
	}
	w.whole()
}

// TestFailedJournalIsLeftAsItIs: to close one that has failed closes no store, and above all does
// not say that all was well: the next start looks at what is there.
func TestFailedJournalIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.j.FailCommit(1, true)
	if err := w.try(); !errors.Is(err, journal.ErrFailed) {
		t.Fatal(err)
	}
	if err := w.j.Close(); err == nil {
		t.Error("closed as if all were well")
	}
	left := &world{T: t, dir: t.TempDir()}
	if err := journal.CopyStopped(w.dir, left.dir); err != nil {
		t.Fatal(err)
	}
	left.open(journal.Options{})
	if !left.j.Stats().Unclean {
		t.Error("the next start takes it for one that was closed")
	}
	left.whole()
}

// TestCloseCommitsWhatIsQueued: what waits when the journal is told to close is done, and what
// rides along with it; what comes later is refused, and hears that.
func TestCloseCommitsWhatIsQueued(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		release := make(chan struct{})
		<-w.j.Queue(release)
		var ran atomic.Int64
		for range 3 * journal.BatchOperations / 2 {
			w.j.QueueAt(0, func() { ran.Add(1) })
		}
		closed := make(chan error)
		go func() { closed <- w.j.Close() }()
		synctest.Wait()
		close(release)
		if err := <-closed; err != nil || ran.Load() != 3*journal.BatchOperations/2 {
			t.Errorf("closed with %v, when %d of %d operations had run", err, ran.Load(), 3*journal.BatchOperations/2)
		}
		if err := w.try(); !errors.Is(err, journal.ErrClosed) {
			t.Errorf("accepted by a journal that is closed: %v", err)
		}
	})
}

// TestRidesInTheNextBatch: what rides along with a batch that has no room for it is in the next.
func TestRidesInTheNextBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		id, release := w.accept(), make(chan struct{})
		var noted atomic.Bool
		go func() { _ = w.j.Write(t.Context(), journal.NewID(), journal.BatchBytes-200, release) }()
		synctest.Wait()
		w.j.RecordHeld(journal.Identity{Journal: journal.NewID(), Epoch: 1}, []journal.ID{id}, []uint64{1}, false, func() { noted.Store(true) })
		close(release)
		time.Sleep(2 * time.Second) // nobody else writes: it goes by itself
		if p := journal.Place(w.get(id).Head.Place); !noted.Load() || p != journal.PlaceHeld {
			t.Errorf("noted: %v, it is at place %d", noted.Load(), p)
		}
	})
}

// TestBatchOfManyKeys: operations of few bytes and many keys are not more in one batch than the
// store takes in one transaction: it would refuse them, and the journal fail.
func TestBatchOfManyKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, release := setup(t), make(chan struct{})
		<-w.j.Queue(release)
		for range 4 {
			go func() {
				if err := w.j.WriteKeys(t.Context(), 3900); err != nil {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		close(release)
		synctest.Wait()
		if err := w.try(); err != nil {
			t.Error(err)
		}
	})
}

// TestQueuedWhenItFails: whoever waits for a batch when one fails is refused, and so is who has
// found no room in the batch that did.
func TestQueuedWhenItFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		w.j.FailCommit(1, false)
		release := make(chan struct{})
		<-w.j.Queue(release)
		refused := make(chan error, 2)
		go func() {
			_, err := w.acceptBytes(1 << 20) // with which a batch is full
			refused <- err
		}()
		synctest.Wait()
		go func() {
			many := make([]journal.Accept, journal.BatchOperations+100) // more than are gathered
			for i := range many {
				many[i].Envelope = envelope()
			}
			_, err := w.j.Accept(t.Context(), many)
			refused <- err
		}()
		synctest.Wait()
		close(release)
		for range cap(refused) {
			select {
			case err := <-refused:
				if !errors.Is(err, journal.ErrFailed) {
					t.Errorf("answered with %v", err)
				}
			case <-time.After(time.Minute):
				t.Error("not answered")
			}
		}
		w.j.Abandon()
	})
}

// TestRidesAlongWithNobody: what nobody waits for is committed within a second though no batch
// comes that it could ride along with.
func TestRidesAlongWithNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		var ran atomic.Bool
		w.j.QueueLazy(func() { ran.Store(true) })
		time.Sleep(2 * time.Second)
		if !ran.Load() {
			t.Error("two seconds later it is not done")
		}
		w.whole()
	})
}

// A close waits for who is reading: the store must not be closed under them. Who comes later reads
// nothing.
func TestCloseWaitsForReaders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		w.accept()
		release, read, closed := make(chan struct{}), make(chan error, 1), make(chan error, 1)
		go func() { read <- w.j.Read(func() { <-release }) }()
		synctest.Wait()
		go func() { closed <- w.j.Close() }()
		synctest.Wait()
		select {
		case err := <-closed:
			t.Errorf("closed under a reader: %v", err)
		default:
		}
		if err := w.j.Read(func() {}); !errors.Is(err, journal.ErrClosed) {
			t.Errorf("a read of what is being closed: %v", err)
		}
		close(release)
		if err := errors.Join(<-read, <-closed); err != nil {
			t.Error(err)
		}
		w.whole()
	})
}
