package journal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pannier/journal"
	"pannier/journal/journaltest"
)

// tightVolume is one in memory that has as much room as is left beside what it holds.
type tightVolume struct {
	t   *testing.T
	dir string
}

func newTightVolume(t *testing.T) tightVolume {
	t.Helper()
	v := tightVolume{t, t.TempDir()}
	if err := unix.Mount("tmpfs", v.dir, "tmpfs", 0, "size=96m,nr_inodes=2000"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(v.dir, unix.MNT_DETACH) })
	return v
}

// used is how much is taken: bytes, and files.
func (v tightVolume) used() (bytes, files int64) {
	v.t.Helper()
	var is unix.Statfs_t
	if err := unix.Statfs(v.dir, &is); err != nil {
		v.t.Fatal(err)
	}
	return int64(is.Blocks-is.Bfree) * is.Bsize, int64(is.Files - is.Ffree)
}

func (v tightVolume) resize(bytes, files int64) {
	v.t.Helper()
	if err := unix.Mount("", v.dir, "", unix.MS_REMOUNT, fmt.Sprintf("size=%d,nr_inodes=%d", bytes, files)); err != nil {
		v.t.Fatal(err)
	}
}

// manyFilesDamaged is a stopped journal whose MANIFEST is cut short, one of whose tables has a
// wrong bit, and whose address is gone.
func manyFilesDamaged(t *testing.T) (w *world, all []journal.ID) {
	t.Helper()
	w = setup(t)
	for range 3 {
		all = append(all, w.acceptMany(2, strings.Repeat("x", 40_000))...)
		w.reopen()
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.wrongBit("000002.sst", 100)
	if err := os.Truncate(filepath.Join(w.dir, "store", "MANIFEST"), 20); err != nil {
		t.Fatal(err)
	}
	return w, all
}

// left says of each intent what has become of it.
func (w *world) left(all []journal.ID) string {
	var b strings.Builder
	for _, id := range all {
		i, err := w.j.Get(id)
		if err != nil {
			fmt.Fprintln(&b, id, err)
			continue
		}
		fmt.Fprintln(&b, id, i.Status())
	}
	return b.String()
}

// A start that accepts a loss takes room for what it makes anew. Wherever there is no more of
// it, the start is refused, and says why and what to do; what was written half is gone again, and
// the next one on the full volume takes no more. With room the next has all that is left.
func TestAcceptLossWithoutRoom(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	damaged, all := manyFilesDamaged(t)
	ref := damaged.copied(t)
	ref.goOn()
	want := ref.left(all)
	for what, step := range map[string]struct{ bytes, files int64 }{"bytes": {24 << 10, 0}, "files": {0, 1}} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			refused := 0
			for n := int64(0); ; n++ {
				v := newTightVolume(t)
				w := &world{T: t, dir: filepath.Join(v.dir, "journal")}
				if err := os.CopyFS(w.dir, os.DirFS(damaged.dir)); err != nil {
					t.Fatal(err)
				}
				bytes, files := v.used()
				if step.bytes > 0 {
					v.resize(bytes+n*step.bytes, 2000)
				} else {
					v.resize(96<<20, files+n)
				}
				if w.goesOnWithoutRoom() {
					if got := w.left(all); got != want {
						t.Errorf("with room for %d steps there is left\n%swant\n%s", n, got, want)
					}
					w.whole()
					if refused < 8 {
						t.Errorf("it was refused %d times", refused)
					}
					return
				}
				refused++
				wasBytes, wasFiles := v.used()
				if w.goesOnWithoutRoom() {
					t.Fatalf("the second start goes on with room for %d steps", n)
				}
				if bytes, files := v.used(); bytes > wasBytes || files > wasFiles {
					t.Errorf("the second start took %d bytes and %d files, with room for %d steps", bytes-wasBytes, files-wasFiles, n)
				}
				v.resize(96<<20, 2000)
				w.goOn()
				if got := w.left(all); got != want {
					t.Errorf("refused with room for %d steps, there is left\n%swant\n%s", n, got, want)
				}
				w.holds()
			}
		})
	}
}

// goesOnWithoutRoom starts with --accept-loss, and looks at how that is refused.
func (w *world) goesOnWithoutRoom() bool {
	w.Helper()
	j, err := journaltest.Open(journal.Options{Dir: w.dir, AcceptLoss: true})
	if err == nil {
		w.j = j
		return true
	}
	if !strings.Contains(err.Error(), "volume") || !strings.Contains(err.Error(), "make room") {
		w.Errorf("refused: %v; it does not say what is full and what to do", err)
	}
	for _, pattern := range []string{"*.tmp", "store/*.tmp", "store/*.anew"} {
		if left, _ := filepath.Glob(filepath.Join(w.dir, pattern)); len(left) > 0 {
			w.Errorf("refused: %v; it has left %v", err, left)
		}
	}
	empty, _ := filepath.Glob(filepath.Join(w.dir, "lost", "*"))
	for _, dir := range empty {
		if os.Remove(dir) == nil { // nothing was in it
			w.Errorf("refused: %v; it has left %s", err, dir)
		}
	}
	return false
}

// A start that finds no room once it has begun to commit leaves the store as a kill would: to close it
// makes a table of its log, which Badger would try for ever, or die of.
func TestStartIsGivenUpWithoutRoom(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	whole, _, _ := lossy(t)
	for what, fill := range map[string]func(v tightVolume, dir string) error{
		"a file is refused": func(_ tightVolume, dir string) error {
			return os.Symlink("/dev/full", filepath.Join(dir, "journal.loss.tmp"))
		},
		"little is left": func(v tightVolume, _ string) error {
			bytes, _ := v.used()
			f, err := os.Create(filepath.Join(v.dir, "filler"))
			if err != nil {
				return err
			}
			defer f.Close()
			return unix.Fallocate(int(f.Fd()), 0, 0, 96<<20-bytes-256<<10)
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			v := newTightVolume(t)
			w := &world{T: t, dir: filepath.Join(v.dir, "journal")}
			if err := os.CopyFS(w.dir, os.DirFS(whole.dir)); err != nil {
				t.Fatal(err)
			}
			tables := func() int {
				found, _ := filepath.Glob(filepath.Join(w.dir, "store", "*.sst"))
				return len(found)
			}
			was := 0
			j, err := journaltest.Open(journal.Options{Dir: w.dir, AcceptLoss: true, Hooks: journal.Hooks{Corrupt: func(journal.Corrupt) {
				if was == 0 {
					was = tables()
					if err := fill(v, w.dir); err != nil {
						t.Error(err)
					}
				}
			}}})
			if err == nil {
				j.Close()
				t.Fatal("it goes on without room")
			}
			if !strings.Contains(err.Error(), "make room") {
				t.Errorf("refused: %v; it does not say what to do", err)
			}
			if n := tables(); was == 0 || n != was {
				t.Errorf("%d tables were there when it found no room, and are %d", was, n)
			}
			then := &world{T: t, dir: t.TempDir()}
			if err := journal.CopyStopped(w.dir, then.dir); err != nil {
				t.Fatal(err)
			}
			_ = os.Remove(filepath.Join(then.dir, "journal.loss.tmp"))
			then.goOn()
			then.holds()
		})
	}
}

// The reserve is given back where what is made anew may take it.
func TestReserveIsForWhatIsMadeAnew(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	damaged, all := manyFilesDamaged(t)
	v := newTightVolume(t)
	w := &world{T: t, dir: filepath.Join(v.dir, "journal")}
	if err := os.CopyFS(w.dir, os.DirFS(damaged.dir)); err != nil {
		t.Fatal(err)
	}
	const reserve = 512 << 10
	f, err := os.Create(filepath.Join(w.dir, journal.BallastName))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, reserve); err != nil {
		t.Fatal(err)
	}
	bytes, _ := v.used()
	v.resize(bytes+300<<10, 2000) // for a table, and not for all of them
	w.open(journal.Options{AcceptLoss: true, Space: journal.Space{BallastBytes: reserve}})
	for _, id := range all {
		w.status(id)
	}
}
