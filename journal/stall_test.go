package journal_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pannier/journal"
)

// TestHungDisk: a batch that does not get done is said to be stalled after five seconds,
// and fails the journal after thirty, with the stacks of who waits for what; one that
// takes a little less does neither. What became of it is found at the next start.
func TestHungDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, dir: t.TempDir()}
		var stacks atomic.Bool
		w.open(journal.Options{Hooks: journal.Hooks{Warning: func(text string) {
			if strings.Count(text, "\ngoroutine ") > 1 { // which of them, if there are many, is chance
				stacks.Store(true)
			}
		}}})
		hang := func() (release chan struct{}, accepted chan error) {
			synctest.Wait() // whoever reads now would wait for the disk, too
			release, accepted = make(chan struct{}), make(chan error, 1)
			hung := w.j.HangCommit(release)
			go func() { accepted <- w.try() }()
			<-hung
			return release, accepted
		}
		slow, accepted := hang()
		time.Sleep(4 * time.Second)
		if s := w.j.Stats(); s.Stalled != 0 {
			t.Errorf("after 4 s it is stalled: %s", s.Stalled)
		}
		time.Sleep(24 * time.Second)
		if s := w.j.Stats(); s.Stalled < 20*time.Second || w.j.Err() != nil {
			t.Errorf("after 28 s it is stalled for %s, and has failed: %v", s.Stalled, w.j.Err())
		}
		close(slow)
		if err := <-accepted; err != nil {
			t.Errorf("by a slow disk: %v", err)
		}
		// Beyond the looks of other loops, each minute, which would wait for the disk, too; and
		// between two looks at the disk: one batch is done, and the next begins, at the same moment.
		time.Sleep(35*time.Second + 500*time.Millisecond)
		if s := w.j.Stats(); s.Stalled != 0 {
			t.Errorf("done, it is stalled still: %s", s.Stalled)
		}

		for range 3 { // one after the other: a disk that is busy
			next, accepted := hang()
			time.Sleep(4 * time.Second)
			if s := w.j.Stats(); s.Stalled != 0 {
				t.Errorf("busy, it is stalled: %s", s.Stalled)
			}
			close(next)
			if err := <-accepted; err != nil {
				t.Fatalf("by a busy disk: %v", err)
			}
		}

		never, accepted := hang()
		time.Sleep(35 * time.Second)
		if err := w.j.Err(); err == nil || !stacks.Load() {
			t.Errorf("after 35 s: failed %v, said who waits for what: %t", err, stacks.Load())
		}
		if err := w.try(); !errors.Is(err, journal.ErrFailed) {
			t.Errorf("of one that hangs is taken: %v", err)
		}
		close(never)
		if err := <-accepted; err != nil { // it is there by now, and nobody was told otherwise
			t.Errorf("the one that hung: %v", err)
		}
		w.j.Abandon()
		w.open(journal.Options{})
		w.whole()
	})
}
