package journal_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"pannier/journal"
)

// TestOpenFilesGuard: connections leave some files, the spare ones go when something else
// has taken those, and come back once there are clearly enough; each change is told once.
func TestOpenFilesGuard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // no look but ours between two lines
		w := &world{T: t, dir: t.TempDir()}
		told := make(chan journal.FileRoom, 8)
		w.open(journal.Options{Hooks: journal.Hooks{Files: func(r journal.FileRoom) { told <- r }}})
		defer w.j.Close()
		guard, used := w.j.OpenFiles(), spare(t, w.dir)
		if used != 32 {
			t.Fatalf("%d spare files are held, want 32", used)
		}
		for _, row := range []struct {
			name        string
			left        int
			fits, short bool
			spare       int
		}{
			{"enough", 64, true, false, 32},
			{"a connection too many", 63, false, false, 32},
			{"the last that something else takes", 16, false, false, 32},
			{"one more", 15, false, true, 0},
			{"hardly more", 95, false, true, 0},
			{"clearly more", 96, true, false, 32},
		} {
			w.j.OnFiles(1024-row.left, 1024)
			if got := w.j.Stats().Files; got.Left != row.left || got.Short != row.short || got.Spare != row.spare || spare(t, w.dir) != row.spare {
				t.Errorf("%s: %+v, and %d are open", row.name, got, spare(t, w.dir))
			}
			if fits := guard.Fits(); fits != row.fits {
				t.Errorf("%s: a connection fits: %t", row.name, fits)
			}
		}
		if n := len(told); n != 2 {
			t.Fatalf("told %d times, want twice", n)
		}
		if first, second := <-told, <-told; !first.Short || first.Left != 15 || second.Short || second.Left != 96 {
			t.Errorf("told %+v, then %+v", first, second)
		}
		// Whoever is refused one need not be counted first.
		w.j.OnFiles(0, 1024)
		if guard.Out(errors.New("another")) || !guard.Out(unix.ENFILE) || !guard.Out(&os.PathError{Op: "open", Err: unix.EMFILE}) || spare(t, w.dir) != 0 || guard.Fits() {
			t.Errorf("after an EMFILE %d spare files are held, and connections fit: %t", spare(t, w.dir), guard.Fits())
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := w.j.Stats().Files; got.Short || spare(t, w.dir) != 32 {
			t.Errorf("nobody looks: %+v", got)
		}
		if n := len(told); n != 2 {
			t.Errorf("two refusals and that there are enough again were told %d times, want twice", n)
		}
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		w.j.OnFiles(0, 1024)
		if n := spare(t, w.dir) + 1; n != 0 { // the lock has gone, too
			t.Errorf("closed it holds %d files", n)
		}
	})
}

// TestSpareFilesThatCannotBeHeld: where not all of them can be opened none is held, and they are
// once they can.
func TestSpareFilesThatCannotBeHeld(t *testing.T) {
	if !alone(t) {
		return
	}
	synctest.Test(t, func(t *testing.T) { // nothing else opens a file
		w := setup(t)
		w.j.OnFiles(1024, 1024)
		open, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range []struct{ most, spare int }{{len(open) + 8, 0}, {512, 32}} {
			limitFiles(t, row.most)
			w.j.OnFiles(0, 1024)
			if got := w.j.Stats().Files; got.Spare != row.spare || got.Short != (row.spare == 0) {
				t.Errorf("where %d files may be open: %+v, want %d held", row.most, got, row.spare)
			}
		}
		w.whole()
	})
}

// TestOpenFilesAreCounted: by the number that the system has, and by reading each where it has none,
// as of what is told of each file. Where that takes one more than there are all are open, and
// where there is nothing to be read nothing is known.
func TestOpenFilesAreCounted(t *testing.T) {
	if !alone(t) {
		return
	}
	limitFiles(t, 512)
	for range 8 {
		f, err := os.Open("/")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	const each = "/proc/self/fdinfo"
	byNumber, _, ok := journal.CountIn("/proc/self/fd")
	byEach, most, read := journal.CountIn(each)
	if byEach--; !ok || !read || byNumber < 8 || byEach != byNumber || most != 512 { // what is read is open, too
		t.Errorf("%d files by their number, %t, and %d of %d by each, %t", byNumber, ok, byEach, most, read)
	}
	if _, _, ok := journal.CountIn("/nowhere"); ok {
		t.Error("counted where nothing is told")
	}
	takeAll(t)
	if all, most, ok := journal.CountIn(each); all != 512 || most != 512 || !ok {
		t.Errorf("with all taken %d of %d are counted, %t", all, most, ok)
	}
}

// spare counts the files that are held open for nothing on a directory.
func spare(t *testing.T, dir string) (n int) {
	t.Helper()
	each, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range each {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil && to == dir {
			n++
		}
	}
	return n - 1 // the journal's lock
}

// TestFewFilesAreInProportion: where few files may be open the guard leaves most to others.
func TestFewFilesAreInProportion(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, row := range []struct{ most, fits, short int }{{96, 12, 5}, {512, 64, 15}, {1 << 20, 64, 15}} {
		for _, c := range []struct {
			left        int
			fits, short bool
		}{{row.fits, true, false}, {row.fits - 1, false, false}, {row.short, false, true}, {row.most, true, false}} {
			w.j.OnFiles(row.most-c.left, row.most)
			if got, fits := w.j.Stats().Files, w.j.OpenFiles().Fits(); fits != c.fits || got.Short != c.short {
				t.Errorf("%d of %d left: %+v, a connection fits: %t", c.left, row.most, got, fits)
			}
		}
	}
}

// TestAllFilesTaken: something in the process takes every file there is, at once. What is
// sent is accepted all the same, for as long as it takes the store to fill several
// logs and tables; and the spare files are held again once those are given back.
func TestAllFilesTaken(t *testing.T) {
	if !alone(t) {
		return
	}
	limitFiles(t, 512)
	told, failed := make(chan journal.FileRoom, 8), make(chan error, 1)
	hear := func() journal.FileRoom {
		t.Helper()
		select {
		case r := <-told:
			return r
		case err := <-failed:
			t.Fatal(err)
			panic("unreachable")
		}
	}
	w := &world{T: t, dir: t.TempDir()}
	w.open(journal.Options{Hooks: journal.Hooks{
		Files: func(r journal.FileRoom) { told <- r }, Failed: func(err error) { failed <- err },
	}})
	// The guard sees nothing of it: the mark, which is replaced each second, hears it first.
	w.j.OnFiles(0, 512)
	taken := takeAll(t)
	w.accept()
	if r := hear(); !r.Short {
		t.Errorf("told %+v", r)
	}
	w.j.CountFiles()
	var ids []journal.ID
	for range 40 { // megabytes each; a log has eight
		ids = append(ids, w.acceptLarge())
	}
	if r := w.j.Stats().Files; r.Spare != 0 || !r.Short {
		t.Errorf("with all files taken: %+v", r)
	}
	for _, fd := range taken {
		unix.Close(fd)
	}
	if r := hear(); r.Short || r.Spare != 32 {
		t.Errorf("told %+v", r)
	}
	w.reopen()
	for _, id := range ids {
		w.status(id)
	}
	w.whole()
}

// alone runs the present test in a process of its own, of which it is told there: the limit
// of open files is all of it's.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv("ALONE") == t.Name() {
		return true
	}
	again := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	var out strings.Builder
	again.Env, again.Stdout, again.Stderr = append(os.Environ(), "ALONE="+t.Name()), &out, &out
	if err := again.Start(); err != nil { // before others run: a process that is forked has their locks for a moment
		t.Fatal(err)
	}
	t.Parallel()
	if err := again.Wait(); err != nil || !strings.Contains(out.String(), "--- PASS: "+t.Name()) {
		t.Fatalf("%v\n%s", err, out.String())
	}
	return false
}

func limitFiles(t *testing.T, most int) {
	t.Helper()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(most), Max: 512}); err != nil {
		t.Fatal(err)
	}
}

// takeAll opens files until there is none left.
func takeAll(t *testing.T) (taken []int) {
	t.Helper()
	for {
		fd, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
		if err == unix.EMFILE {
			return taken
		}
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, fd)
	}
}

func (w *world) acceptLarge() journal.ID {
	w.Helper()
	e := envelope()
	e.Payload = []byte(`"` + strings.Repeat("x", 1<<20-100) + `"`)
	got, err := w.j.Accept(w.Context(), []journal.Accept{{Envelope: e}})
	if err != nil || got[0].Err != nil {
		w.Fatalf("accept: %v, %v", err, got)
	}
	return got[0].ID
}

// TestBatchWaitsForFiles: nothing is written while the store might not get its next file. It
// is once there are some; where there are none for long the journal stops.
func TestBatchWaitsForFiles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, dir: t.TempDir()}
		w.open(journal.Options{})
		try := func() chan error {
			done := make(chan error, 1)
			go func() { done <- w.try() }()
			synctest.Wait()
			return done
		}
		w.j.OnFiles(1021, 1024)
		done := try()
		time.Sleep(8 * time.Second)
		select {
		case err := <-done:
			t.Fatalf("with three files left: %v", err)
		default:
		}
		w.j.OnFiles(1020, 1024)
		if err := <-done; err != nil {
			t.Fatalf("with four: %v", err)
		}
		w.j.OnFiles(1024, 1024)
		if err := <-try(); !errors.Is(err, journal.ErrFailed) || w.j.Err() == nil || !strings.Contains(w.j.Err().Error(), "ulimit -n") {
			t.Errorf("with none for ten seconds: %v, %v", err, w.j.Err())
		}
		w.j.Abandon()
		w.open(journal.Options{})
		w.whole()
	})
}

// TestMoreTablesThanFiles: a store that this process cannot have open whole is not called
// damaged, and is opened once it may.
func TestMoreTablesThanFiles(t *testing.T) {
	if !alone(t) {
		return
	}
	w := setup(t)
	w.accept()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	limitFiles(t, len(open)+8)
	j, err := journal.Open(journal.Options{Dir: w.dir})
	if system := (*journal.SystemError)(nil); !errors.As(err, &system) || !strings.Contains(err.Error(), "the journal has 1 tables, and this process may open no more than") {
		t.Errorf("opened with hardly any files left: %v, %v", j, err)
	}
	limitFiles(t, 512)
	w.open(journal.Options{})
	w.whole()
}
