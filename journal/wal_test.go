package journal_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"pannier/journal"
)

// What is written and not synced is shown to nobody: who reads it would act on it, and
// a power cut would take back what others were told.
func TestNobodyReadsWhatIsNotSynced(t *testing.T) {
	t.Parallel()
	w := setup(t)
	syncs := 0
	w.j.AtSync(func(readable bool) error {
		syncs++
		if readable {
			t.Error("a batch that is not synced can be read")
		}
		return nil
	})
	w.accept()
	if syncs == 0 {
		t.Error("an intent was accepted without a sync")
	}
}

// A batch whose sync has failed is answered by nobody, and never read again; nor is the sync
// tried again, which would succeed: the kernel reports an error once.
func TestFailedSyncStopsTheJournal(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.accept()
	syncs := 0
	w.j.AtSync(func(bool) error {
		if syncs++; syncs > 1 {
			return nil
		}
		return errors.New("injected")
	})
	got, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: envelope()}})
	if !errors.Is(err, journal.ErrFailed) {
		t.Errorf("accepted without a sync: %v, %v", got, err)
	}
	if _, err := w.j.Get(id); !errors.Is(err, journal.ErrFailed) {
		t.Errorf("a read after that: %v, want %v", err, journal.ErrFailed)
	}
	if _, _, err := w.j.Mail(1, time.Now(), 1, none); !errors.Is(err, journal.ErrFailed) {
		t.Errorf("a look at a mailbox after that: %v, want %v", err, journal.ErrFailed)
	}
}

// A log that cannot be synced, or the next one opened, and a key that the store does not take: a
// batch that is not whole on the disk is answered by nobody.
func TestBatchThatIsNotWhole(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(*world) error{
		"its log cannot be synced": func(w *world) error {
			w.j.CloseLog()
			return w.j.WriteKeys(w.Context(), 1)
		},
		"its log cannot be opened": func(w *world) error {
			w.j.RefuseNextLog()
			return w.j.WriteKeys(w.Context(), 1)
		},
		"its key is too long":                 func(w *world) error { return w.j.WriteKey(w.Context(), make([]byte, 70_000), false) },
		"the key that it deletes is too long": func(w *world) error { return w.j.WriteKey(w.Context(), make([]byte, 70_000), true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			if err := do(w); !errors.Is(err, journal.ErrFailed) || w.j.Err() == nil {
				t.Errorf("it is answered with %v, and the journal goes on", err)
			}
			w.j.Abandon()
		})
	}
}

// Each commit is synced in the file it went to, which is the newest when the commit is
// done: the sync goes on to another file with the first commit that is in it.
func TestEachCommitIsSyncedWhereItIs(t *testing.T) {
	t.Parallel()
	w := setup(t)
	files := map[string]bool{}
	for n := 0; len(files) < 3; n++ {
		if n == 400 {
			t.Fatal("200 MiB were accepted into memtables of 8, and the log is in one file")
		}
		e := envelope()
		e.Payload = make([]byte, 512<<10)
		if got, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: e}}); err != nil || got[0].Err != nil {
			t.Fatalf("accept: %v, %v", err, got)
		}
		newest := ""
		entries, err := os.ReadDir(filepath.Dir(w.j.Synced()))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if filepath.Ext(e.Name()) == ".mem" {
				newest = e.Name() // they are listed in order
			}
		}
		if got := filepath.Base(w.j.Synced()); got != newest {
			t.Fatalf("commit %d was synced in %s; the newest log is %s", n, got, newest)
		}
		files[newest] = true
	}
}

// An open that only looks makes room for all that a crash has left in the logs, though
// nothing is compacted: else the start would wait for ever.
func TestLookDoesNotStall(t *testing.T) {
	t.Parallel()
	small := journal.LookOptions(t.TempDir()).WithMemTableSize(1 << 16).WithValueThreshold(1 << 10)
	db, err := badger.Open(small)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		for n := range 300 { // about thirty tables
			err := db.Update(func(txn *badger.Txn) (err error) {
				for k := range 10 {
					err = errors.Join(err, txn.Set(binary.BigEndian.AppendUint32(nil, uint32(10*n+k)), make([]byte, 512)))
				}
				return err
			})
			if err != nil {
				done <- err
				return
			}
		}
		done <- db.Close()
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it waits for a compaction that never comes")
	}
}

// A store that is removed or moved while it is open takes no more commits: what they say would
// be nowhere at the next start.
func TestStoreIsTakenAway(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(store string) error{
		"removed": os.RemoveAll,
		"moved":   func(store string) error { return os.Rename(store, store+"-elsewhere") },
		"another in its place": func(store string) error {
			if err := os.Rename(store, store+"-elsewhere"); err != nil {
				return err
			}
			return os.CopyFS(store, os.DirFS(store+"-elsewhere"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			w.accept()
			if err := take(filepath.Join(w.dir, "store")); err != nil {
				t.Fatal(err)
			}
			if err := w.try(); !errors.Is(err, journal.ErrFailed) {
				t.Errorf("accepted into a store that is gone: %v", err)
			}
		})
	}
}

// Files of two volumes may have the same number: one that was put in the place of the other, a
// copy of it, takes no commits either.
func TestVolumeIsAnother(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.accept()
	w.j.OnAnotherVolume()
	if err := w.try(); !errors.Is(err, journal.ErrFailed) {
		t.Errorf("accepted into the log of another volume: %v", err)
	}
}

// A call that a signal has ended is made again; what is wrong with the disk is said at once.
func TestInterruptedCallIsMadeAgain(t *testing.T) {
	for _, want := range []error{nil, unix.EIO} {
		answers, calls := []error{unix.EINTR, os.NewSyscallError("fdatasync", unix.EINTR), want, unix.ENOSPC}, 0
		err := journal.Uninterrupted(func() error { calls++; return answers[calls-1] })
		if calls != 3 || !errors.Is(err, want) {
			t.Errorf("called %d times: %v, want 3 and %v", calls, err, want)
		}
	}
}
