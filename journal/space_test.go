package journal_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pannier/journal"
	"pannier/journal/state"
)

func (w *world) try() error {
	got, err := w.j.Accept(w.Context(), []journal.Accept{{Envelope: envelope()}})
	if err != nil {
		return err
	}
	return got[0].Err
}

// TestSpaceGuard: where little is free nothing new is taken and all else goes on, until
// there is clearly more; where hardly anything is, the journal stops.
func TestSpaceGuard(t *testing.T) {
	t.Parallel()
	const mib, gib = 1 << 20, 1 << 30
	for _, row := range []struct {
		name                                 string
		bytes                                int64
		low, between, enough, out            int64
		lowInodes, enoughInodes, totalInodes int64
	}{
		{"small", 96 * mib, 23 * mib, 25 * mib, 28 * mib, 4 * mib, 900, 2000, 10_000},
		{"of no fixed inodes", 96 * mib, 23 * mib, 25 * mib, 28 * mib, 4 * mib, 0, 0, 0},
		{"large", 1000 * gib, gib - mib, gib + mib, 2 * gib, 31 * mib, 900, 2000, 1 << 20},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			on := func(free, inodes int64) { w.j.OnVolume(free, inodes, row.bytes, row.totalInodes) }
			on(row.enough, row.enoughInodes)
			first := w.accept()
			h := w.local(time.Minute)
			on(row.low, row.enoughInodes)
			if err := w.try(); !errors.Is(err, journal.ErrFull) || !w.j.Stats().Low {
				t.Fatalf("accepted where little is free: %v", err)
			}
			if s := w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Ack}); s.Err != nil || w.status(first) != state.Completed {
				t.Errorf("what was under way: %v", s.Err)
			}
			on(row.between, row.enoughInodes)
			if err := w.try(); !errors.Is(err, journal.ErrFull) {
				t.Errorf("accepted where hardly more is: %v", err)
			}
			on(row.enough, row.enoughInodes)
			w.accept()
			h = w.local(time.Minute)
			if row.totalInodes > 0 {
				on(row.enough, row.lowInodes)
				if err := w.try(); !errors.Is(err, journal.ErrFull) {
					t.Errorf("accepted with few inodes left: %v", err)
				}
			}
			on(row.out, row.enoughInodes)
			if _, err := w.j.Settle(t.Context(), []journal.Settle{{ID: h.ID, Lease: h.Lease, Action: journal.Ack}}); !errors.Is(err, journal.ErrFailed) {
				t.Errorf("written where next to nothing is free: %v", err)
			}
			if got := w.j.Err().Error(); !strings.Contains(got, "MiB are left, and ") {
				t.Errorf("it says %q, want how much is left, and how much is needed", got)
			}
		})
	}
}

// TestShortOfInodes: below a quarter of a small volume's files nothing new is taken; where hardly
// another can be made the journal stops, whatever room there is in bytes, and says which of
// the two is short.
func TestShortOfInodes(t *testing.T) {
	t.Parallel()
	const volume, files = 400 << 20, 1500
	w := setup(t)
	w.accept()
	h := w.local(time.Minute)
	for _, left := range []int64{files/4 - 1, files/4 + 1} { // once it is low there must be clearly more
		w.j.OnVolume(volume, left, volume, files)
		if err := w.try(); !errors.Is(err, journal.ErrFull) || w.j.Stats().Inodes != left {
			t.Errorf("accepted with %d files left: %v, %+v", left, err, w.j.Stats().Volume)
		}
	}
	w.j.OnVolume(volume, 63, volume, files)
	if _, err := w.j.Settle(t.Context(), []journal.Settle{{ID: h.ID, Lease: h.Lease, Action: journal.Ack}}); !errors.Is(err, journal.ErrFailed) {
		t.Fatalf("written where hardly a file can be made: %v", err)
	}
	if got := w.j.Err().Error(); !strings.Contains(got, "63 more files (inodes)") || strings.Contains(got, "MiB are left") {
		t.Errorf("it says %q, want the number of files", got)
	}
}

// TestBlindSpaceGuard: where the system does not say any more how much room there is, what it said last
// is gone by, and that it is, is told once, as is that it says so again.
func TestBlindSpaceGuard(t *testing.T) {
	t.Parallel()
	const volume = 400 << 20
	w := &world{T: t, dir: t.TempDir()}
	told := make(chan journal.Volume, 8)
	w.open(journal.Options{Space: journal.Space{BallastBytes: -1}, Hooks: journal.Hooks{Space: func(v journal.Volume) { told <- v }}})
	w.j.OnVolume(volume/2, 0, volume, 0)
	w.j.OnVolume(0, 0, 0, 0)
	w.accept()
	if got := w.j.Stats().Volume; !got.Unknown || got.Low || got.Free != volume/2 {
		t.Errorf("it goes by %+v, want what was known last, and that it is not known", got)
	}
	w.j.OnVolume(volume/2, 0, volume, 0)
	if blind, seeing := <-told, <-told; len(told) > 0 || !blind.Unknown || seeing.Unknown {
		t.Errorf("told %+v, then %+v, and %d more", blind, seeing, len(told))
	}
}

// TestSpaceSettings: what is asked for beats what suits the volume, and what its volume
// cannot have is refused by name. Each change is told once.
func TestSpaceSettings(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	w := &world{T: t, dir: t.TempDir()}
	told := make(chan journal.Volume, 8)
	w.open(journal.Options{
		Space: journal.Space{SpaceLowBytes: 100 * mib, BallastBytes: -1},
		Hooks: journal.Hooks{Space: func(v journal.Volume) { told <- v }},
	})
	for _, row := range []struct {
		free int64
		low  bool
	}{{101, false}, {99, true}, {101, true}, {113, false}} {
		w.j.OnVolume(row.free*mib, 0, 64<<30, 0)
		if err := w.try(); errors.Is(err, journal.ErrFull) != row.low {
			t.Errorf("with %d MiB free: %v", row.free, err)
		}
	}
	if first, second := <-told, <-told; len(told) > 0 || !first.Low || first.Free != 99*mib || second.Low || second.Free != 113*mib {
		t.Errorf("told %+v, %+v and %d more", first, second, len(told))
	}
	if v := w.j.Stats().Volume; v.Ballast != 0 || v.NoBallast {
		t.Errorf("ballast though none is asked for: %+v", v)
	}
	for _, row := range []struct {
		asked journal.Space
		want  string
	}{
		{journal.Space{SpaceLowBytes: 1}, "space_low_bytes: 1; on the volume"},
		{journal.Space{SpaceLowBytes: 1 << 60}, "space_low_bytes: 1152921504606846976; on the volume"},
		{journal.Space{BallastBytes: 1 << 60}, "ballast_bytes: 1152921504606846976; on the volume"},
	} {
		if j, err := journal.Open(journal.Options{Dir: t.TempDir(), Space: row.asked}); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("opened with %+v: %v, %v", row.asked, j, err)
		}
	}
}

// TestVolumeThatFailed: what a disk or a volume that is gone says stops the journal, and nothing else.
func TestVolumeThatFailed(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]bool{
		nil: false, unix.EACCES: false, unix.ENOENT: false,
		unix.EIO: true, unix.EUCLEAN: true, unix.ESTALE: true, unix.ENODEV: true, unix.ESHUTDOWN: true,
	} {
		if err != nil {
			err = &fs.PathError{Op: "stat", Path: "/", Err: err}
		}
		if got := journal.VolumeFailed(err); got != want {
			t.Errorf("%v: has failed: %t, want %t", err, got, want)
		}
	}
}

// TestVolumeThatSaysNothing: one that does not say how large it is, as /proc does not, is neither too
// small for what is asked for nor full, at a start, for a batch and at a close.
func TestVolumeThatSaysNothing(t *testing.T) {
	t.Parallel()
	asked := journal.Space{SpaceLowBytes: 100 << 20}
	if low, err := journal.GuardSpace("/proc", asked); err != nil || low {
		t.Errorf("a start: low: %t, %v", low, err)
	}
	w := &world{T: t, dir: t.TempDir()}
	w.open(journal.Options{Space: asked})
	w.j.OnVolume(0, 0, 0, 0)
	w.accept()
	if err := w.j.Close(); err != nil {
		t.Errorf("a close: %v", err)
	}
}

// What a look finds full, another may have made room on meanwhile, with the ballast: then it
// looks again.
func TestBallastIsUsedByAnother(t *testing.T) {
	t.Parallel()
	w := &world{T: t, dir: t.TempDir()}
	w.open(journal.Options{Space: journal.Space{BallastBytes: 64 << 20}})
	w.untilBallast(true)
	if !w.j.BallastInLook() {
		t.Error("the journal is to stop, though its ballast has just been given back")
	}
}

// Nothing rests on the ballast: where an operator has deleted it there is another soon, what
// is no file is left alone, and one that is larger than asked for is made smaller.
func TestBallastOfOthers(t *testing.T) {
	t.Parallel()
	const size = 4 << 20
	w := &world{T: t, dir: t.TempDir()}
	path, o := filepath.Join(w.dir, journal.BallastName), journal.Options{Space: journal.Space{BallastBytes: size}}
	w.open(o)
	w.untilBallast(true)
	for range 2 {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		w.untilBallast(true)
	}
	again := func(bytes int) {
		t.Helper()
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		o.Space.BallastBytes = bytes
		w.open(o)
	}
	again(2 * size)
	w.untilBallast(true)
	for n := 0; w.j.Stats().Ballast != 2*size; n++ {
		if n == 20_000 {
			t.Fatalf("it takes %d bytes, want %d", w.j.Stats().Ballast, 2*size)
		}
		time.Sleep(time.Millisecond)
	}
	again(-1)
	w.untilBallast(false)

	other := filepath.Join(t.TempDir(), "other")
	for name, put := range map[string]func() error{
		"a directory": func() error { return os.Mkdir(path, 0o700) },
		"a link":      func() error { return os.Symlink(other, path) },
	} {
		if err := errors.Join(os.WriteFile(other, []byte("theirs"), 0o600), put()); err != nil {
			t.Fatal(err)
		}
		again(size)
		if w.j.UseBallast() {
			t.Errorf("%s is taken for ballast", name)
		}
		again(-1)
		if b, err := os.ReadFile(other); err != nil || string(b) != "theirs" {
			t.Errorf("%s: what it names holds %q, %v", name, b, err)
		}
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

// TestFullDisk: a file that takes the last page of the volume, or its last inode, makes the
// journal refuse, then stop; never crash. When it is gone all that was acknowledged is there.
// The ballast puts the stop off, has what a crash has left opened on a full volume, and is
// made anew when there is room.
func TestFullDisk(t *testing.T) {
	needsRoot(t)
	volumes := map[string]string{}
	for _, what := range []string{"pages", "inodes", "blocks of ext4"} {
		volumes[what] = smallVolume(t, what == "blocks of ext4") // before others run: a process that is forked has their locks for a moment
	}
	t.Parallel()
	for what, volume := range volumes {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := &world{T: t, dir: filepath.Join(volume, "journal")}
			o := journal.Options{}
			if what == "pages" {
				o.Space.BallastBytes = 8 << 20 // in memory there is none unless it is asked for
			}
			w.open(o)
			first := w.accept()
			filler := filepath.Join(volume, "filler")
			fill := func(share, spared int64) {
				if err := os.MkdirAll(filler, 0o700); err != nil {
					t.Fatal(err)
				}
				var free unix.Statfs_t
				if err := unix.Statfs(volume, &free); err != nil {
					t.Fatal(err)
				}
				if what == "inodes" {
					for n := range int64(free.Ffree) * share / 100 {
						if os.WriteFile(filepath.Join(filler, fmt.Sprint(share, "-", n)), nil, 0o600) != nil {
							return
						}
					}
					return
				}
				f, err := os.CreateTemp(filler, "")
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				// All at once where that is to be had, and then what is left in smaller pieces.
				left := int64(free.Bavail)*free.Bsize*share/100 - spared
				for at, size := int64(0), left; size >= free.Bsize; size = min(size, left) {
					switch err := unix.Fallocate(int(f.Fd()), 0, at, size); {
					case err == nil:
						at, left = at+size, left-size
					case errors.Is(err, unix.ENOSPC):
						size /= 2
					default:
						t.Fatal(err)
					}
				}
			}
			until := func(want error) {
				t.Helper()
				for n := 0; ; n++ {
					err := w.try()
					if errors.Is(err, want) {
						return
					}
					if err != nil && !errors.Is(err, journal.ErrFull) || n == 30_000 {
						t.Fatalf("got %v, want %v", err, want)
					}
					time.Sleep(time.Millisecond)
				}
			}
			fill(88, 0)
			until(journal.ErrFull)
			h := w.local2()
			if s := w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Ack}); s.Err != nil {
				t.Errorf("with little left nothing is finished: %v", s.Err)
			}
			if err := os.RemoveAll(filler); err != nil {
				t.Fatal(err)
			}
			until(nil)
			for n := 0; n < 2 && what != "inodes"; n++ {
				if err := os.RemoveAll(filler); err != nil {
					t.Fatal(err)
				}
				w.untilBallast(true)
				fill(100, 2<<20) // less than it stops at
				w.untilBallast(false)
				if err := w.try(); !errors.Is(err, journal.ErrFull) {
					t.Errorf("with its ballast used it is not low: %v", err)
				}
			}
			fill(100, 0)
			until(journal.ErrFailed)
			if j, err := journal.Open(journal.Options{Dir: filler}); err == nil || !strings.Contains(err.Error(), "its volume is full: ") || !strings.Contains(err.Error(), "make room") {
				t.Errorf("opened on a full disk: %v, %v", j, err)
			}
			if err := os.RemoveAll(filler); err != nil {
				t.Fatal(err)
			}
			w.j.Abandon() // which writes tables, as the end of a process does not
			w.open(o)
			w.status(first)
			w.accept()
			if what == "inodes" {
				w.whole()
				return
			}
			w.untilBallast(true)
			w.j.Abandon()
			if what == "pages" {
				fill(100, 0)
			} else {
				fill(88, 0) // low, which after a crash is enough
			}
			w.open(o)
			w.status(first)
			w.untilBallast(false)
			w.whole()
		})
	}
}

// What is in logs becomes tables when a store closes, and when it opens after a crash: where
// there is no room for those neither is begun, and nothing is lost.
func TestNoRoomForTables(t *testing.T) {
	needsRoot(t)
	volume := smallVolume(t, true) // before others run: a process that is forked has their locks for a moment
	t.Parallel()
	o := journal.Options{Space: journal.Space{BallastBytes: -1}}
	w := &world{T: t, dir: t.TempDir()}
	w.open(o)
	first := w.accept()
	o.Dir = filepath.Join(volume, "journal")
	if err := os.CopyFS(o.Dir, os.DirFS(w.dir)); err != nil { // as if it was killed; its logs take all of their sixteen megabytes
		t.Fatal(err)
	}
	var is unix.Statfs_t
	if err := unix.Statfs(volume, &is); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(volume, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(is.Bavail)*is.Bsize-10<<20); err != nil {
		t.Fatal(err)
	}
	before := contents(t, filepath.Join(o.Dir, "store"))
	if j, err := journal.Open(o); err == nil || !strings.Contains(err.Error(), "make room") {
		t.Fatalf("opened without room for tables: %v, %v", j, err)
	}
	if after := contents(t, filepath.Join(o.Dir, "store")); after != before {
		t.Errorf("changed\n%s\nto\n%s", before, after)
	}
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	w.dir = o.Dir
	w.open(o)
	w.accept()
	w.j.OnVolume(500<<10, 0, 8<<20, 0) // not full yet
	if err := w.j.Close(); err == nil || !strings.Contains(err.Error(), "make room") {
		t.Errorf("closed without room for tables: %v", err)
	}
	w.j.Abandon()
	w.open(o)
	if got := w.status(first); got != state.Submitted {
		t.Errorf("it is %s", got)
	}
	w.whole()
}

// untilBallast waits until there is ballast, with all its room taken up, or none.
func (w *world) untilBallast(there bool) {
	w.Helper()
	for n := 0; ; n++ {
		var is unix.Stat_t
		err := unix.Stat(filepath.Join(w.dir, journal.BallastName), &is)
		took, counted := is.Blocks*512, w.j.Stats().Ballast
		if there && err == nil && counted > 0 && took >= counted || !there && errors.Is(err, fs.ErrNotExist) && counted == 0 {
			return
		}
		if n == 20_000 || w.j.Err() != nil {
			w.Fatalf("want ballast: %t; its file: %v, takes %d bytes; %+v; failed: %v", there, err, took, w.j.Stats().Volume, w.j.Err())
		}
		time.Sleep(time.Millisecond)
	}
}

// needsRoot is for tests that mount volumes.
func needsRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("needs root to mount a small volume")
	}
	t.Skip("needs root to mount a small volume")
}

// smallVolume is one of 96 MiB: in memory, or on a disk.
func smallVolume(t *testing.T, disk bool) (dir string) {
	t.Helper()
	dir = t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	if disk {
		image := filepath.Join(t.TempDir(), "image")
		run("truncate", "--size=96M", image)
		run("mkfs.ext4", "-q", "-m", "0", image)
		run("mount", "-o", "loop", image, dir)
	} else {
		run("mount", "-t", "tmpfs", "-o", "size=96m,nr_inodes=2000", "tmpfs", dir)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }) // the loop device goes with the mount
	return dir
}

// local2 hands over one of what is due.
func (w *world) local2() journal.Handed {
	w.Helper()
	res, err := w.j.HoldLocal(w.Context(), w.due()[:1], []journal.Terms{{For: time.Minute}})
	if err != nil || res[0].Handed == nil {
		w.Fatalf("hold local: %v, %+v", err, res)
	}
	return *res[0].Handed
}
