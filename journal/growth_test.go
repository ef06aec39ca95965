package journal_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"pannier/journal"
	"pannier/journal/journaltest"
	"pannier/journal/state"
)

// acceptBytes accepts an intent whose body is that large.
func (w *world) acceptBytes(n int) (journal.ID, error) {
	e := envelope()
	e.Payload = make([]byte, n)
	got, err := w.j.Accept(w.Context(), []journal.Accept{{Envelope: e}})
	if err != nil {
		return journal.ID{}, err
	}
	return got[0].ID, got[0].Err
}

// aboutToCompact is a store with eight tables of a MiB at level 0, which nobody compacts.
func aboutToCompact(t *testing.T) *world {
	t.Helper()
	w := setup(t)
	for range 8 {
		if _, err := w.acceptBytes(1 << 20); err != nil {
			t.Fatal(err)
		}
		w.reopen()
	}
	return w
}

// take makes a file that takes up so much room.
func take(t *testing.T, path string, bytes int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, bytes); err != nil {
		t.Fatal(err)
	}
}

// TestRoomForACompaction: the store makes all tables of a compaction before the first of the old
// ones goes. Before there is no room for that the journal takes nothing new, and where there is
// none it stops, whatever share of the volume is free; what has been made of them already is
// ahead no longer.
func TestRoomForACompaction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := aboutToCompact(t)
		const mib = 1 << 20
		on := func(free int64) { w.j.OnVolume(free, 0, 64*mib, 0) }
		on(34 * mib)
		w.accept()
		first, second := w.local2(), w.local2()
		on(25 * mib)
		if err := w.try(); !errors.Is(err, journal.ErrFull) {
			t.Errorf("accepted without room for what is under way and then a compaction: %v", err)
		}
		on(12 * mib)
		if s := w.settle(journal.Settle{ID: first.ID, Lease: first.Lease, Action: journal.Ack}); s.Err != nil {
			t.Fatalf("with room for a compaction nothing is finished: %v", s.Err)
		}
		made := filepath.Join(w.dir, "store", "900000.sst")
		take(t, made, 4*mib)
		on(7 * mib)
		if s := w.settle(journal.Settle{ID: second.ID, Lease: second.Lease, Action: journal.Ack}); s.Err != nil {
			t.Fatalf("in the midst of a compaction that has room nothing is finished: %v", s.Err)
		}
		if err := os.Remove(made); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if w.j.Err() == nil {
			t.Error("goes on without room for a compaction that may begin")
		}
		w.j.Abandon()
	})
}

// TestCompactionsOfLevels: one of level 0 takes all of it and all of the base, and one below a table
// and what that covers of the next level.
func TestCompactionsOfLevels(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for name, row := range map[string]struct {
		tables                   int
		top, base, target, below int64
		now                      int64
	}{
		"nothing":         {0, 0, 0, 16 * mib, 0, 0},
		"half of level 0": {2, 16 * mib, 8 * mib, 16 * mib, 0, 0},
		"with the next":   {3, 24 * mib, 8 * mib, 16 * mib, 0, 32 * mib},
		"a full base":     {0, 0, 20 * mib, 16 * mib, 1 << 30, 24 * mib},
		"of a small one":  {0, 0, 2 * mib, mib, 3 * mib, 5 * mib},
		"a full last":     {0, 0, 0, 16 * mib, 2 << 40, 0}, // there is no level below it
		"both":            {4, 32 * mib, 20 * mib, 16 * mib, 1 << 30, 76 * mib},
	} {
		now, soon := journal.CompactionOf([]badger.LevelInfo{
			{NumTables: row.tables, Size: row.top}, {Level: 1, IsBaseLevel: true, Size: row.base, TargetSize: row.target}, {Level: 2, Size: row.below, TargetSize: 1 << 40},
		})
		if now != row.now || soon < max(now, row.top+row.base) {
			t.Errorf("%s: %d bytes now and %d soon, want %d now, and no less soon", name, now, soon, row.now)
		}
	}
}

// TestRoomForTheLog: what is in a log is written once more, as a table. It counts as it is
// written, and where nothing is.
func TestRoomForTheLog(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for name, full := range map[string]func(*world) error{
		"written by us": func(w *world) error {
			for range 6 {
				if _, err := w.acceptBytes(mib); err != nil {
					w.Fatal(err)
				}
			}
			h := w.local2()
			w.j.OnVolume(5*mib, 0, 64*mib, 0)
			_, err := w.j.Settle(w.Context(), []journal.Settle{{ID: h.ID, Lease: h.Lease, Action: journal.Ack}})
			return err
		},
		"of before": func(w *world) error {
			log := filepath.Join(w.dir, "store", "90000.mem")
			take(w.T, log, 8*mib)
			w.j.OnVolumeUnseen(5*mib, 0, 64*mib, 0)
			time.Sleep(time.Second)
			if err := os.Remove(log); err != nil {
				w.Fatal(err)
			}
			return w.try()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := setup(t)
				if err := full(w); !errors.Is(err, journal.ErrFailed) {
					t.Errorf("goes on without room for the table of its log: %v", err)
				}
				w.j.Abandon()
			})
		})
	}
}

// TestSmallVolume: a journal that has a small volume to itself fills it, and is not killed by
// what its store makes of that.
func TestSmallVolume(t *testing.T) {
	const env = "JOURNAL_ON_A_SMALL_VOLUME"
	if dir := os.Getenv(env); dir != "" {
		fillVolume(t, dir)
		return
	}
	needsRoot(t)
	filled := smallVolume(t, false) // before others run: a process that is forked has their locks for a moment
	var said bytes.Buffer
	cmd := exec.Command(os.Args[0], "-test.run=^TestSmallVolume$") // a SIGBUS ends the process
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env+"="+filepath.Join(filled, "journal")), &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Parallel()
	if err := cmd.Wait(); err != nil {
		t.Errorf("a journal alone on its volume: %v\n%.2000s", err, &said)
	}
}

// TestNoRoomToCompact: a store that begins with a compaction is not opened without room for that.
func TestNoRoomToCompact(t *testing.T) {
	needsRoot(t)
	volume := smallVolume(t, false) // before others run, as above
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := aboutToCompact(t)
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(volume, "journal")
		if err := os.CopyFS(dir, os.DirFS(w.dir)); err != nil {
			t.Fatal(err)
		}
		var is unix.Statfs_t
		if err := unix.Statfs(volume, &is); err != nil {
			t.Fatal(err)
		}
		take(t, filepath.Join(volume, "filler"), int64(is.Bavail)*is.Bsize-7<<20)
		// Not only at its first commit: it may have a million intents to read before.
		if j, err := journaltest.Open(journal.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "its volume is full: ") || !strings.Contains(err.Error(), "nothing is known to be damaged: make room") {
			t.Errorf("opened without room for the compaction that it begins with: %v, %v", j, err)
		}
	})
}

// fillVolume accepts until there is no more room, finishes some of that, and begins again.
func fillVolume(t *testing.T, dir string) {
	w := &world{T: t, dir: dir}
	j, err := journal.Open(journal.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	w.j = j
	var open []journal.ID
	for full := 0; full < 400; {
		id, err := w.acceptBytes(300_000)
		switch {
		case err == nil:
			open = append(open, id)
			continue
		case errors.Is(err, journal.ErrFull) && len(open) > 0:
			full++
			_, err = j.Answer(t.Context(), open[0], journal.Answer{Trigger: state.Complete, Actor: "ann", Body: make([]byte, 150_000)})
			open = open[1:]
		}
		if errors.Is(err, journal.ErrFailed) && strings.Contains(j.Err().Error(), "make room") {
			return // it has stopped before the wall
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
