package journal_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dgraph-io/badger/v4"

	"pannier/journal"
	"pannier/journal/state"
)

// A scrub of a set that changes as it reads finds nothing wrong.
func TestScrubOfWhatChanges(t *testing.T) {
	t.Parallel()
	w := setup(t)
	many := make([]journal.Accept, 300) // of two entries each: some pages
	for i := range many {
		many[i].Envelope = envelope()
	}
	if _, err := w.j.Accept(t.Context(), many); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var group sync.WaitGroup
	for n := range 2 {
		group.Go(func() {
			r := rand.New(rand.NewPCG(uint64(n), 5))
			for {
				select {
				case <-done:
					return
				default:
				}
				got, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: envelope(), DeliverBy: time.Now().Add(time.Duration(1+r.IntN(100)) * time.Hour)}})
				if err == nil && r.IntN(2) == 0 {
					_, err = w.j.Answer(t.Context(), got[0].ID, journal.Answer{Trigger: state.Cancel})
				}
				if err != nil {
					t.Errorf("beside the scrub: %v", err)
					return
				}
				time.Sleep(4 * time.Millisecond) // else the set grows as fast as it is read
			}
		})
	}
	var scrubs sync.WaitGroup // at once: as when one is asked for while the journal's own is under way
	for range 3 {
		scrubs.Go(func() {
			if err := w.j.Scrub(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	scrubs.Wait()
	close(done)
	group.Wait()
	if err := w.j.Err(); err != nil || w.j.Stats().Scrubs < 2 {
		t.Fatalf("%v, after %d scrubs", err, w.j.Stats().Scrubs)
	}
	w.whole()
}

// TestScrubsComeByThemselves: as often as is asked for, and soon after the set of tables has
// changed.
func TestScrubsComeByThemselves(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		compact       bool
		before, after time.Duration // it is not found by then, and found
	}{
		"in time":           {before: 9 * time.Minute, after: 2 * time.Minute},
		"with other tables": {compact: true, after: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := &world{T: t, dir: t.TempDir()}
				w.open(journal.Options{})
				for n := range 6 { // five tables are compacted, and one is left
					w.accept()
					if err := w.j.Close(); err != nil {
						t.Fatal(err)
					}
					w.open(journal.Options{ScrubEvery: 10 * time.Minute})
					if n == 4 {
						if err := w.j.Compact(); err != nil {
							t.Fatal(err)
						}
					}
				}
				time.Sleep(time.Minute) // the first one, of what the start has not read
				if n := w.j.Stats().Scrubs; n != 1 {
					t.Fatalf("%d scrubs after a start", n)
				}
				if err := w.j.Behind(func(txn *badger.Txn) error { return txn.Delete(firstKey(txn, 'o')) }); err != nil {
					t.Fatal(err)
				}
				if row.compact {
					if err := w.j.Compact(); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(row.before)
				if err := w.j.Err(); err != nil && row.before > 0 {
					t.Errorf("read again before its time: %v", err)
				}
				time.Sleep(row.after)
				if !errors.As(w.j.Err(), new(*journal.DamageError)) {
					t.Errorf("a lost key is not found: %v", w.j.Err())
				}
				w.j.Abandon()
			})
		})
	}
}

// A key that is lost, or comes back, stops the journal; what the records say is enough for the next start
// to put it right, and nothing is lost.
func TestScrubFindsWhatTheStoreLoses(t *testing.T) {
	t.Parallel()
	for name, plant := range map[string]func(*badger.Txn) error{
		"lost":      func(txn *badger.Txn) error { return txn.Delete(firstKey(txn, 'o')) },
		"came back": func(txn *badger.Txn) error { return txn.Set([]byte("x0123456789012345678901234"), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			ids := []journal.ID{w.accept(), w.accept(), w.accept()}
			if err := w.j.Scrub(t.Context()); err != nil || w.j.Err() != nil {
				t.Fatalf("of one that is whole: %v, %v", err, w.j.Err())
			}
			if err := w.j.Behind(plant); err != nil {
				t.Fatal(err)
			}
			if err := w.j.Scrub(t.Context()); err != nil {
				t.Fatal(err)
			}
			var damage *journal.DamageError
			if !errors.As(w.j.Err(), &damage) {
				t.Fatalf("after the scrub: %v, want it stopped by the damage", w.j.Err())
			}
			if _, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: envelope()}}); !errors.Is(err, journal.ErrFailed) {
				t.Errorf("accept after that: %v", err)
			}
			w.j.Abandon()
			w.open(journal.Options{})
			if got := w.j.Stats().Rebuilt; got != 1 {
				t.Errorf("%d entries were built anew, want 1", got)
			}
			if got := len(w.due()); got != len(ids) {
				t.Errorf("%d are due, want %d", got, len(ids))
			}
			w.whole()
		})
	}
}

// A record that is gone with its entries is not made up: the start is refused.
func TestLostRecordIsNotBuiltAnew(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.accept()
	w.accept()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.plant(func(txn *badger.Txn) error {
		return errors.Join(txn.Delete(firstKey(txn, 'o')), txn.Delete(firstKey(txn, 'x')), txn.Delete(firstKey(txn, 'i')))
	})
	w.wantDamage("the records do not say what is missing")
}

// A compaction whose tables cannot be made loses their keys, and says nothing. The scrub
// does, before anything of it is called done.
func TestScrubFindsALostTable(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for n := range 6 { // five tables are compacted, and one is left
		many := make([]journal.Accept, 50)
		for i := range many {
			many[i].Envelope = envelope()
		}
		if _, err := w.j.Accept(t.Context(), many); err != nil {
			t.Fatal(err)
		}
		w.reopen()
		if n == 4 {
			if err := w.j.Compact(); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Whatever a compaction makes next is there already.
	store := os.DirFS(filepath.Join(w.dir, "store"))
	tables, err := fs.Glob(store, "*.sst")
	if err != nil {
		t.Fatal(err)
	}
	var newest int
	fmt.Sscanf(tables[len(tables)-1], "%06d.sst", &newest)
	var there []string
	for n := range 20 {
		path := filepath.Join(w.dir, "store", fmt.Sprintf("%06d.sst", newest+1+n))
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		there = append(there, path)
	}
	if err := w.j.Compact(); err != nil {
		t.Fatalf("the store says so: %v", err)
	}
	for _, path := range there {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	_ = w.j.Scrub(t.Context()) // it is stopped on the way
	var damage *journal.DamageError
	if !errors.As(w.j.Err(), &damage) {
		t.Fatalf("after a compaction that lost its tables: %v, want it stopped by the damage", w.j.Err())
	}
	w.j.Abandon()
}

// An envelope that cannot be read costs its intent, which ends as a dead letter that says
// why; the others go on.
func TestScrubSetsAside(t *testing.T) {
	t.Parallel()
	var told []journal.Corrupt
	w := &world{T: t, dir: t.TempDir()}
	w.open(journal.Options{Hooks: journal.Hooks{Corrupt: func(c journal.Corrupt) { told = append(told, c) }}})
	bad, good := w.accept(), w.accept()
	if err := w.j.BreakEnvelope(bad); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.j.Scrub(t.Context()); err != nil || w.j.Err() != nil {
			t.Fatalf("scrub: %v, %v", err, w.j.Err())
		}
	}
	i := w.get(bad)
	if i.Status() != state.Failed || state.Reason(i.Head.Reason) != state.ReasonSidecarFault || !strings.Contains(string(i.Outcome.Body), journal.CorruptRecord) {
		t.Errorf("the one that cannot be read is %s for %s: %s", i.Status(), state.Reason(i.Head.Reason), i.Outcome.GetBody())
	}
	w.wantDead(journal.DeadFilter{}, bad)
	if len(told) != 1 || told[0].ID != bad || w.j.Stats().Aside != 1 {
		t.Errorf("told of %+v, counted %d; want it once", told, w.j.Stats().Aside)
	}
	if offers := w.due(); len(offers) != 1 || offers[0].ID != good {
		t.Errorf("due: %d, want the other one", len(offers))
	}
	if _, err := w.j.Redrive(t.Context(), journal.Redrive{ID: bad}); err == nil {
		t.Error("what nobody can read was sent again")
	}
	w.whole()
}

// A scrub that fails is said, and another comes; of one that is well nothing is.
func TestScrubThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said []string
		w := &world{T: t, dir: t.TempDir()}
		w.open(journal.Options{ScrubEvery: time.Minute, Hooks: journal.Hooks{Warning: func(line string) {
			if strings.HasPrefix(line, "scrub: ") {
				said = append(said, line)
			}
		}}})
		var fails atomic.Bool
		w.j.PlantPanics(func(string, journal.ID) {
			if fails.Load() {
				panic("planted")
			}
		})
		fails.Store(true)
		time.Sleep(90 * time.Second)
		synctest.Wait()
		if len(said) == 0 || w.j.Stats().Scrubs > 0 {
			t.Fatalf("while they fail: %d scrubs, and said is %q", w.j.Stats().Scrubs, said)
		}
		said = nil
		fails.Store(false)
		time.Sleep(90 * time.Second)
		synctest.Wait()
		if len(said) > 0 || w.j.Stats().Scrubs == 0 {
			t.Fatalf("while they do not fail: %d scrubs, and said is %q", w.j.Stats().Scrubs, said)
		}
	})
}

// A scrub of which one step fails has read nothing, and does not count.
func TestScrubThatFailsHalfWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		w.accept()
		left := 0
		w.j.PlantPanics(func(string, journal.ID) {
			if left--; left == 0 {
				panic("planted")
			}
		})
		steps := 0
		for err := errors.New("not yet"); err != nil; steps++ {
			if n := w.j.Stats().Scrubs; n > 0 {
				t.Fatalf("%d scrubs are counted, though step %d failed", n, steps)
			}
			left = steps + 1
			err = w.j.Scrub(t.Context())
		}
		if steps < 4 { // it begins, reads a page, and finds that there is no other
			t.Errorf("it fails at %d steps only", steps-1)
		}
	})
}

// Where the disk fails while an intent is set aside it is not ended in another way, which would
// tell nobody: the next scrub comes by again.
func TestScrubWhileReadsFail(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.asked()
	if err := w.j.Break(id, 't'); err != nil {
		t.Fatal(err)
	}
	w.j.FailReadsAt("whole")
	if err := w.j.Scrub(t.Context()); !errors.Is(err, badger.ErrDiscardedTxn) {
		t.Errorf("the scrub says %v, want that reads fail", err)
	}
	if got := w.status(id); got != state.Submitted {
		t.Errorf("it is %s", got)
	}
	w.j.PlantPanics(nil)
	if err := w.j.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.status(id); got != state.Failed || len(w.completions()) != 1 {
		t.Errorf("it is %s, and %d are told", got, len(w.completions()))
	}
	w.whole()
}

// The committer reads a page for the scrub, and then hears others.
func TestScrubGoesByPages(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.acceptMany(300, "") // of two entries each
	if keys, err := w.j.ScrubPage(t.Context()); err != nil || len(keys) != 256 {
		t.Errorf("%d keys were read at once, %v; want 256", len(keys), err)
	}
}

// What has gone since a page named it is not missing.
func TestScrubOfWhatHasGone(t *testing.T) {
	t.Parallel()
	w := setup(t)
	if err := w.j.ReadNamed(t.Context(), [][]byte{journal.KeyOfDue(1, time.Now().UnixMilli(), journal.NewID())}); err != nil {
		t.Fatal(err)
	}
	if n := w.j.Stats().Aside; n != 0 {
		t.Errorf("%d records are said to be corrupt", n)
	}
}

// What a scrub reads of records is as short as any read.
func TestScrubReadsShortPages(t *testing.T) {
	t.Parallel()
	w, most := &world{T: t, dir: t.TempDir()}, 0
	w.open(journal.WithPages(journal.Options{}, func(_, bytes int) { most = max(most, bytes) }))
	w.acceptMany(7, strings.Repeat("x", 1<<20))
	keys, err := w.j.ScrubPage(t.Context())
	if err := errors.Join(err, w.j.ReadNamed(t.Context(), keys)); err != nil {
		t.Fatal(err)
	}
	if most > journal.PageBytes+2<<20 {
		t.Errorf("it has read %d bytes in one snapshot", most)
	}
}

// What is whole is left alone, wherever it is and whosever.
func TestScrubLeavesWhatIsWhole(t *testing.T) {
	t.Parallel()
	w := everywhere(t)
	w.open(journal.Options{Hooks: journal.Hooks{Corrupt: func(c journal.Corrupt) { t.Errorf("%+v is said to be corrupt", c) }}})
	if err := w.j.Scrub(t.Context()); err != nil || w.j.Err() != nil {
		t.Fatal(err, w.j.Err())
	}
	w.whole()
}
