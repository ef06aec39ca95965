package journal_test

import (
	"errors"
	"fmt"
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
		{"small", 64 * mib, 15 * mib, 17 * mib, 19 * mib, 3 * mib, 900, 2000, 10_000},
		{"of no fixed inodes", 64 * mib, 15 * mib, 17 * mib, 19 * mib, 3 * mib, 0, 0, 0},
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
		})
	}
}

// TestFullDisk: a file that takes the last page of the volume, or its last inode, makes the
// journal refuse, then stop; never crash. When it is gone all that was acknowledged is there.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root to mount a small volume")
		}
		t.Skip("needs root to mount a small volume")
	}
	t.Parallel()
	for _, what := range []string{"pages", "inodes", "blocks of ext4"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			volume := smallVolume(t, what == "blocks of ext4")
			w := &world{T: t, dir: filepath.Join(volume, "journal")}
			w.open(journal.Options{})
			first := w.accept()
			filler := filepath.Join(volume, "filler")
			fill := func(share int64) {
				if err := os.MkdirAll(filler, 0o700); err != nil {
					t.Fatal(err)
				}
				var fs unix.Statfs_t
				if err := unix.Statfs(volume, &fs); err != nil {
					t.Fatal(err)
				}
				if what == "inodes" {
					for n := range int64(fs.Ffree) * share / 100 {
						if os.WriteFile(filepath.Join(filler, fmt.Sprint(share, "-", n)), nil, 0o600) != nil {
							return
						}
					}
					return
				}
				f, err := os.Create(filepath.Join(filler, fmt.Sprint(share)))
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				// All at once where that is to be had, and then what is left in smaller pieces.
				for at, size := int64(0), int64(fs.Bavail)*fs.Bsize*share/100; size >= fs.Bsize; {
					switch err := unix.Fallocate(int(f.Fd()), 0, at, size); {
					case err == nil && share < 100:
						return
					case err == nil:
						at += size
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
			fill(88)
			until(journal.ErrFull)
			h := w.local2()
			if s := w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Ack}); s.Err != nil {
				t.Errorf("with little left nothing is finished: %v", s.Err)
			}
			if err := os.RemoveAll(filler); err != nil {
				t.Fatal(err)
			}
			until(nil)
			fill(100)
			until(journal.ErrFailed)
			if j, err := journal.Open(journal.Options{Dir: filler}); err == nil || !strings.Contains(err.Error(), "make room") {
				t.Errorf("opened on a full disk: %v, %v", j, err)
			}
			if err := os.RemoveAll(filler); err != nil {
				t.Fatal(err)
			}
			w.j.Abandon() // which writes tables, as the end of a process does not
			w.open(journal.Options{})
			w.status(first)
			w.accept()
			w.whole()
		})
	}
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
