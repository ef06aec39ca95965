package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	filesSpare = 32 // held open for nothing
	// filesKept is what connections leave. While 900 MiB were written compactions had up
	// to 39 files open beside the tables.
	filesKept  = 64
	filesShort = 16 // fewer, and the spare ones are given up
	filesStore = 16 // of the store beside its tables
	// filesOut is what a batch may need: the store's next log, a table of the one
	// before, and the two directories.
	filesOut = 4
	// filesWait is how long a batch waits for them, looking every filesLook.
	filesWait = 10 * time.Second
	filesLook = 10 * time.Millisecond
)

// OpenFiles guards what this process may have open at once, files and connections. Badger
// cannot be asked to try again: without its next log the store is done for, and a
// compaction that cannot make a table loses its keys. So connections leave
// some files (Fits), and some more are held open for nothing. Those are given up once
// something else than connections has taken the rest, or somebody was refused a file (Out),
// and held again when there are enough; meanwhile no connection is taken. What opens a
// file in this package tries once more then (again), and a batch waits until there are
// files for the store (await). Where there is no /proc nothing of this is known, and no spare
// one is held.
//
// All methods are safe for concurrent use.
type OpenFiles struct {
	dir     string // what the spare ones are opened on
	measure atomic.Pointer[func() (open, most int, ok bool)]
	told    func(FileRoom) // it must not ask back; nil: nobody is

	left  atomic.Int64
	held  atomic.Int64
	short atomic.Bool
	mu    struct {
		sync.Mutex // held while the spare ones come or go
		on         bool
		spare      []int
	}
}

// FileRoom is how many files and connections this process may still open, as just now.
type FileRoom struct {
	Left  int  // beside the spare ones
	Spare int  // held open, to be given up
	Short bool // they were given up, and no connection is taken
}

// fileLimits are what the guard goes by where so many files may be open. Where that is few
// each is in proportion.
type fileLimits struct {
	spare, kept, short, out int
}

func limitsOf(most int) (l fileLimits) {
	l.spare = min(filesSpare, max(1, most/16))
	l.kept = min(filesKept, most/8)
	l.short = min(filesShort, l.kept/2)
	l.out = min(filesOut, l.short)
	return l
}

func (f *OpenFiles) room() FileRoom {
	return FileRoom{int(f.left.Load()), int(f.held.Load()), f.short.Load()}
}

// Fits reports whether a connection that was just opened leaves enough. Each is counted
// before it is asked for, so that no two are both the last.
func (f *OpenFiles) Fits() bool {
	if f.short.Load() {
		return false
	}
	left, l, ok := f.count()
	return !ok || left >= l.kept
}

// Out reports whether an error says that there was no file left to open. Then the spare
// ones are given up, and who asks may try once more.
func (f *OpenFiles) Out(err error) bool {
	if !errors.Is(err, unix.EMFILE) && !errors.Is(err, unix.ENFILE) {
		return false
	}
	f.giveUp()
	return true
}

// again opens something, a second time where there was no file left at the first.
func (f *OpenFiles) again(open func() error) error {
	err := open()
	if f.Out(err) {
		err = open()
	}
	return err
}

// count is how many may still be opened; ok is false where the system does not say.
func (f *OpenFiles) count() (left int, l fileLimits, ok bool) {
	open, most, ok := (*f.measure.Load())()
	return most - open, limitsOf(most), ok
}

// look measures, and gives the spare ones up or holds them again. It returns false where
// the store might not get the next file that it needs.
func (f *OpenFiles) look() bool {
	left, l, ok := f.count()
	if !ok {
		return true
	}
	again := true
	switch held := f.held.Load() > 0; {
	case left < l.short && (held || !f.short.Load()):
		f.giveUp()
	case !held && left >= l.spare+l.kept: // clearly more: they must not come and go
		f.hold(l.spare)
	default:
		again = false
	}
	if again { // each batch looks, and counting takes 10 µs
		left, l, _ = f.count()
	}
	f.left.Store(int64(left))
	return left >= l.out
}

// await waits until the store has files for a batch, and returns false where it has
// waited long enough.
func (f *OpenFiles) await() bool {
	for range filesWait / filesLook {
		if f.look() {
			return true
		}
		time.Sleep(filesLook) // whoever closes one does not say so
	}
	return false
}

// open begins to hold spare ones: not before the store has those it needs.
func (f *OpenFiles) open() {
	f.mu.Lock()
	f.mu.on = true
	f.mu.Unlock()
	f.look()
}

// close gives them up for good.
func (f *OpenFiles) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.on = false
	f.release()
}

// hold opens spare ones again; nobody waits for them.
func (f *OpenFiles) hold(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.mu.on || len(f.mu.spare) > 0 {
		return
	}
	for range n {
		// Each is a file of its own, since the whole system may be out of them, too.
		fd, err := unix.Open(f.dir, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil { // there will be a next time
			f.release()
			return
		}
		f.mu.spare = append(f.mu.spare, fd)
	}
	f.held.Store(int64(n))
	if f.short.Swap(false) {
		f.tell()
	}
}

// giveUp closes them.
func (f *OpenFiles) giveUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := !f.short.Swap(true) // before: no connection is to have them
	f.release()
	if first {
		f.tell()
	}
}

// release closes the spare ones. The mutex is held.
func (f *OpenFiles) release() {
	for _, fd := range f.mu.spare {
		unix.Close(fd) // nothing was ever written to it
	}
	f.mu.spare = nil
	f.held.Store(0)
}

// tell says what has changed. The mutex is held, so that the last one told is what holds.
func (f *OpenFiles) tell() {
	left, _, _ := f.count()
	f.left.Store(int64(left))
	if f.told != nil {
		f.told(f.room())
	}
}

// countFiles counts what this process has open.
func countFiles() (open, most int, ok bool) { return countIn("/proc/self/fd") }

func countIn(dir string) (open, most int, ok bool) {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0, 0, false
	}
	most = int(min(limit.Cur, 1<<30))
	var is unix.Stat_t
	if err := unix.Stat(dir, &is); err == nil && is.Size > 0 {
		return int(is.Size), most, true
	}
	// Before Linux 6.2 the number is not there, and each must be read: 0.1 ms for 500.
	each, err := os.ReadDir(dir)
	if errors.Is(err, unix.EMFILE) {
		return most, most, true
	}
	return len(each), most, err == nil
}

// newOpenFiles counts those of this process, and keeps none.
func newOpenFiles() *OpenFiles {
	f, measure := &OpenFiles{}, countFiles
	f.measure.Store(&measure)
	return f
}

// mayOpen refuses to open a store that has more tables than this process may open files:
// Badger keeps each open, and would say that it is damaged.
func (f *OpenFiles) mayOpen(store string) error {
	tables, err := filepath.Glob(filepath.Join(store, "*.sst"))
	if err != nil {
		return err
	}
	if left, l, ok := f.count(); ok && left < len(tables)+max(l.kept, filesStore) {
		return fmt.Errorf("the journal has %d tables, and this process may open no more than %d files: %w", len(tables), left, unix.EMFILE)
	}
	return nil
}
