package journal_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"pannier/journal"
)

const (
	ballastBytes = 4 << 20
	// betweenLooks is when the reserve has been made, and nobody makes it just then: looks are each 250 ms.
	betweenLooks = 1100 * time.Millisecond
)

// roomy is a journal on a volume with plenty of room, which keeps that much in reserve; said
// is what it has warned of, and told how often it was told of its room.
func roomy(t *testing.T, dir string, ballast int) (w *world, said func() string, told func() int) {
	t.Helper()
	var mu sync.Mutex
	var lines []string
	var changes int
	w = &world{T: t, dir: dir}
	w.open(journal.Options{
		Space: journal.Space{BallastBytes: ballast},
		Hooks: journal.Hooks{
			Warning: func(line string) { mu.Lock(); defer mu.Unlock(); lines = append(lines, line) },
			Space:   func(journal.Volume) { mu.Lock(); defer mu.Unlock(); changes++ },
		},
	})
	w.j.OnVolume(90<<30, 0, 100<<30, 0)
	return w, func() string { mu.Lock(); defer mu.Unlock(); return strings.Join(lines, "\n") }, func() int { mu.Lock(); defer mu.Unlock(); return changes }
}

// TestBallastOfTheLastRun: what a start finds in its place is kept where it takes up its room
// and is no more than there is to be, and is added to; else it is made anew, or goes.
func TestBallastOfTheLastRun(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		bytes, taken int64 // of the file; and how much of it takes up room
		asked        int
		kept         bool
	}{
		"whole":             {ballastBytes, ballastBytes, ballastBytes, true},
		"sparse, of a copy": {ballastBytes, 0, ballastBytes, false},
		"sparse in part":    {ballastBytes, ballastBytes / 2, ballastBytes, false},
		"half made":         {ballastBytes / 2, ballastBytes / 2, ballastBytes, true},
		"just begun":        {0, 0, ballastBytes, false},
		"of another size":   {ballastBytes, ballastBytes, ballastBytes / 4, false},
		"not asked for":     {ballastBytes, ballastBytes, -1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				f, err := os.Create(filepath.Join(dir, journal.BallastName))
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close() // as long as it is open no other file gets its number
				if row.taken > 0 {
					if err := unix.Fallocate(int(f.Fd()), 0, 0, row.taken); err != nil {
						t.Fatal(err)
					}
				}
				if err := f.Truncate(row.bytes); err != nil {
					t.Fatal(err)
				}
				before, err := f.Stat()
				if err != nil {
					t.Fatal(err)
				}
				w, _, _ := roomy(t, dir, row.asked)
				time.Sleep(time.Second)
				v := w.j.Stats().Volume
				now, err := os.Stat(filepath.Join(dir, journal.BallastName))
				if row.asked < 0 {
					if !errors.Is(err, fs.ErrNotExist) || v.Ballast != 0 {
						t.Errorf("what nobody asks for is kept: %v, %+v", err, v)
					}
					return
				}
				if err != nil || os.SameFile(before, now) != row.kept {
					t.Errorf("kept: %t, %v; want %t", err == nil && os.SameFile(before, now), err, row.kept)
				}
				var is unix.Stat_t
				if err := unix.Stat(filepath.Join(dir, journal.BallastName), &is); err != nil || v.Ballast != int64(row.asked) || is.Size != int64(row.asked) || is.Blocks*512 < is.Size {
					t.Errorf("of %d bytes %d are counted, its file has %d and takes %d: %v", row.asked, v.Ballast, is.Size, is.Blocks*512, err)
				}
			})
		})
	}
}

// TestBallastThatCannotBeMade: why is said once, and it is tried again a minute later; on a file
// system that cannot keep room in reserve never, and nobody is told that any is missing.
func TestBallastThatCannotBeMade(t *testing.T) {
	t.Parallel()
	for name, never := range map[string]bool{"what is there is no file": false, "the file system cannot": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, said, told := roomy(t, t.TempDir(), ballastBytes) // which is made when time passes
				path, other := filepath.Join(w.dir, journal.BallastName), filepath.Join(t.TempDir(), "other")
				if never {
					w.j.BallastAt("/proc/self/comm")
				} else if err := errors.Join(os.WriteFile(other, []byte("theirs"), 0o600), os.Symlink(other, path)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(50 * time.Second)
				first, v := said(), w.j.Stats().Volume
				if v.Ballast != 0 || v.NoBallast == never || strings.Count(first, "no room is kept in reserve") != 1 {
					t.Errorf("%+v; said %q", v, first)
				}
				time.Sleep(50 * time.Second)
				if again := said(); again != first {
					t.Errorf("said again: %q", again)
				}
				if never {
					w.j.BallastAt(path) // where it could be made
				} else if b, err := os.ReadFile(path); err != nil || string(b) != "theirs" {
					t.Errorf("what is there is written over: %q, %v", b, err)
				} else if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				changes := told()
				time.Sleep(10 * time.Second)
				if v := w.j.Stats().Volume; v.Ballast != 0 {
					t.Errorf("tried again within the minute: %+v", v)
				}
				time.Sleep(20 * time.Second) // more than two minutes in all
				if v := w.j.Stats().Volume; (v.Ballast == ballastBytes) == never || v.NoBallast {
					t.Errorf("in time %+v", v)
				}
				if n := told() - changes; (n == 1) == never {
					t.Errorf("told %d times that there is some", n)
				}
			})
		})
	}
}

// TestBallastThatFindsNoRoom: what was taken of it until then is given back.
func TestBallastThatFindsNoRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, _, _ := roomy(t, t.TempDir(), ballastBytes)
		for range 2 { // in place of none, and of a smaller one
			if err := w.j.MakeBallast(1 << 62); err == nil {
				t.Error("made of more room than any volume has")
			}
			if is, err := os.Lstat(filepath.Join(w.dir, journal.BallastName)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("its file is left: %v, %v", is, err)
			}
			if v := w.j.Stats().Volume; v.Ballast != 0 {
				t.Errorf("it counts as there: %+v", v)
			}
			time.Sleep(betweenLooks)
		}
	})
}

// TestBallastForTheLastTables: the reserve stays where it is when a journal is closed, unless there
// is no room without it for the tables that its logs are made into.
func TestBallastForTheLastTables(t *testing.T) {
	t.Parallel()
	for _, full := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w, _, _ := roomy(t, t.TempDir(), ballastBytes)
			w.accept()
			time.Sleep(betweenLooks)
			if full { // for all of its logs; a look that is no close wants room for the largest
				for _, log := range []string{"90000.mem", "90001.mem"} {
					take(t, filepath.Join(w.dir, "store", log), 2<<20)
				}
				w.j.OnFullVolume(4<<20, ballastBytes, 16<<20)
			}
			err := w.j.Close()
			if _, kept := os.Stat(filepath.Join(w.dir, journal.BallastName)); err != nil || errors.Is(kept, fs.ErrNotExist) != full {
				t.Errorf("full: %t; closed: %v; the reserve: %v", full, err, kept)
			}
		})
	}
}

// TestBallastOfSomebody: an operator may delete it, which is as if it was used, and what is put in
// its place is not ours to remove: that is said, and that there is none any more.
func TestBallastOfSomebody(t *testing.T) {
	t.Parallel()
	for _, inPlace := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w, said, _ := roomy(t, t.TempDir(), ballastBytes)
			time.Sleep(betweenLooks)
			path := filepath.Join(w.dir, journal.BallastName)
			err := os.Remove(path)
			if inPlace {
				err = errors.Join(err, os.MkdirAll(filepath.Join(path, "theirs"), 0o700))
			}
			if err != nil {
				t.Fatal(err)
			}
			if !w.j.UseBallast() || w.j.UseBallast() {
				t.Error("it is not used, or twice")
			}
			for _, want := range []string{"give back the room of the ballast", "remove the ballast"} {
				if got := said(); strings.Contains(got, want) != inPlace {
					t.Errorf("in its place is another: %t; said %q, want of %q only then", inPlace, got, want)
				}
			}
		})
	}
}

// TestBallastLeavesRoom: none is made where the volume would be low with it.
func TestBallastLeavesRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, _, _ := roomy(t, t.TempDir(), ballastBytes)
		const mib = 1 << 20
		w.j.OnVolumeUnseen(1152*mib+ballastBytes-mib, 0, 100<<30, 0) // enough is an eighth more than 1 GiB
		time.Sleep(2 * time.Second)
		if v := w.j.Stats().Volume; v.Ballast != 0 || !v.NoBallast || v.Low {
			t.Errorf("made where it makes the volume low: %+v", v)
		}
		w.j.OnVolumeUnseen(1152*mib+ballastBytes+mib, 0, 100<<30, 0)
		time.Sleep(2 * time.Second)
		if v := w.j.Stats().Volume; v.Ballast != ballastBytes || v.NoBallast {
			t.Errorf("not made where there is room: %+v", v)
		}
	})
}

// TestNoBallastInMemory: there it would be what a sidecar has least of, unless it is asked for.
func TestNoBallastInMemory(t *testing.T) {
	t.Parallel()
	const memory = "/dev/shm"
	var fs unix.Statfs_t
	if err := unix.Statfs(memory, &fs); err != nil || fs.Type != unix.TMPFS_MAGIC {
		if os.Getenv("CI") == "true" {
			t.Fatalf("needs a volume in memory at %s: %v", memory, err)
		}
		t.Skipf("needs a volume in memory at %s", memory)
	}
	for _, asked := range []int{0, ballastBytes} {
		dir, err := os.MkdirTemp(memory, "journal-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		synctest.Test(t, func(t *testing.T) {
			w, _, _ := roomy(t, dir, asked)
			time.Sleep(time.Second)
			if v := w.j.Stats().Volume; v.Ballast != int64(asked) || v.NoBallast {
				t.Errorf("of %d bytes asked for it keeps %+v", asked, v)
			}
		})
	}
}

// TestFilledByOthers: a volume that others fill is seen while nothing is committed.
func TestFilledByOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, _, told := roomy(t, t.TempDir(), -1)
		w.j.OnVolumeUnseen(100<<20, 0, 100<<30, 0)
		time.Sleep(time.Second)
		if v := w.j.Stats().Volume; !v.Low || told() != 1 {
			t.Errorf("it is not low: %+v, told %d times", v, told())
		}
		w.j.OnVolumeUnseen(1<<20, 0, 100<<30, 0)
		time.Sleep(time.Second)
		if w.j.Err() == nil {
			t.Error("with next to nothing left it has not stopped")
		}
		w.j.Abandon()
	})
}

// TestLowDiskHoldsNothing: what other homes offer is new work, too.
func TestLowDiskHoldsNothing(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	p.home.accept()
	p.holder.j.OnVolume(100<<20, 0, 100<<30, 0)
	if res, err := p.offer(time.Minute); err != nil || !errors.Is(res[0].Err, journal.ErrFull) {
		t.Fatalf("held where little is free: %v, %+v", err, res)
	}
	p.holder.j.OnVolume(90<<30, 0, 100<<30, 0)
	p.home.accept()
	if res, err := p.offer(time.Minute); err != nil || len(res) == 0 || res[0].Err != nil {
		t.Errorf("not held where there is room: %v, %+v", err, res)
	}
}

// TestMarkIsSynced: a mark that a power cut could take back says nothing. What is written to
// /dev/null cannot be synced.
func TestMarkIsSynced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		time.Sleep(3 * time.Second) // the mark of the start
		if err := os.Symlink("/dev/null", filepath.Join(w.dir, "journal.hwm.tmp")); err != nil {
			t.Fatal(err)
		}
		w.accept()
		time.Sleep(2 * time.Second)
		if err := w.j.Err(); !errors.Is(err, unix.EINVAL) {
			t.Errorf("after a mark that cannot be synced: %v", err)
		}
		w.j.Abandon()
	})
}

// TestMarkOnAFullDisk: where the mark finds no room the reserve is given back, and it is
// written; where there is none, or it has gone, the journal stops, unless nothing rests on it.
func TestMarkOnAFullDisk(t *testing.T) {
	t.Parallel()
	for name, reserve := range map[string]bool{"with a reserve": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				full := filepath.Join(dir, "journal.hwm.tmp")
				size := -1
				if reserve {
					size = ballastBytes
				}
				w := &world{T: t, dir: dir}
				var given atomic.Bool
				w.open(journal.Options{Space: journal.Space{BallastBytes: size}, Hooks: journal.Hooks{Space: func(v journal.Volume) {
					if v.NoBallast {
						given.Store(true)
					}
				}}})
				w.j.OnVolume(90<<30, 0, 100<<30, 0)
				time.Sleep(3 * time.Second)
				fill := func() {
					t.Helper()
					if err := os.Symlink("/dev/full", full); err != nil { // the mark is written there first, and what is half of one removed
						t.Fatal(err)
					}
				}
				fill()
				if !reserve {
					time.Sleep(70 * time.Minute) // each hour the time in it is written all the same
					if err := w.j.Err(); err != nil {
						t.Fatalf("stopped for a mark on which nothing rests: %v", err)
					}
					fill()
				}
				id := w.accept()
				time.Sleep(2 * time.Second)
				if given.Load() != reserve {
					t.Errorf("the reserve is said to be given back: %t", !reserve)
				}
				if err := w.j.Err(); (err == nil) != reserve || !reserve && !errors.Is(err, unix.ENOSPC) {
					t.Fatalf("the mark found no room: %v", err)
				}
				_ = os.Remove(full)
				w.j.Abandon()
				w.open(journal.Options{})
				w.status(id)
			})
		})
	}
}
