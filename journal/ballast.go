package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// The ballast is a file of nothing that takes up room while there is enough, to be given
// back when there is none: what a crash has left must be written into tables before
// anything else, and what would make room (a compaction, the end of an intent) takes some
// first. It is used where the journal would have to stop, and at a start after a crash on
// a volume that is low; it is made anew once that much is free again beyond what is low.
// Nothing rests on it: an operator may delete it, and a copy of the journal needs none.
type ballast struct {
	path string
	mu   sync.Mutex // held while the file is made or goes

	bytes   atomic.Int64  // of the file; 0: it is not there
	given   atomic.Uint64 // how often its room was given back
	missing atomic.Bool   // it was used, or there has been no room to make it

	// Owned by the loop that makes it.
	again time.Time // not before, after it could not be made
	said  string    // why
	never bool      // the file system keeps no room in reserve
}

const (
	ballastName  = "journal.ballast"
	ballastMost  = 64 << 20
	ballastAgain = time.Minute
)

// find looks what is left of the last run's: whether its room is really taken up, which in
// a copy it is not, nor where the process was killed as it made it; and whether so much is
// to be kept. What is no file is somebody else's, and stays: to make one will say so.
func (b *ballast) find(most int64) error {
	var is unix.Stat_t
	err := unix.Lstat(b.path, &is)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at %s: %w", b.path, err)
	}
	if is.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	if is.Size > 0 && is.Size <= most && is.Blocks*512 >= is.Size { // whatever the size of a block, st_blocks counts 512 bytes
		b.bytes.Store(is.Size)
		return nil
	}
	return b.remove()
}

// use gives its room back; used is false where there is no ballast.
func (b *ballast) use() (used bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bytes.Load() == 0 {
		return false, nil
	}
	b.bytes.Store(0)
	b.missing.Store(true)
	err = b.remove()
	b.given.Add(1)
	return true, err
}

// remove is over when the room is there: some file systems free that of a file that is
// deleted later, but that of one that is cut short at once, and others with the next sync.
func (b *ballast) remove() error {
	var all []error
	if err := os.Truncate(b.path, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		all = append(all, fmt.Errorf("give back the room of the ballast: %w", err)) // a volume that copies on write may want room for that
	}
	if err := os.Remove(b.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		all = append(all, fmt.Errorf("remove the ballast: %w", err))
	}
	return errors.Join(append(all, syncDir(filepath.Dir(b.path)))...)
}

// make takes up room of that size, in place of what there is. A crash in it leaves a part,
// which the next start removes.
func (b *ballast) make(size int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if is, err := os.Lstat(b.path); err == nil && !is.Mode().IsRegular() {
		return fmt.Errorf("%s is no file", b.path)
	}
	b.bytes.Store(0)
	f, err := os.OpenFile(b.path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = uninterrupted(func() error { return unix.Fallocate(int(f.Fd()), 0, 0, size) })
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, b.remove())
	}
	b.bytes.Store(size)
	return nil
}

// has is how much room the ballast takes up: nothing, where somebody has deleted it.
func (b *ballast) has() int64 {
	if _, err := os.Lstat(b.path); errors.Is(err, fs.ErrNotExist) {
		b.bytes.Store(0)
	}
	return b.bytes.Load()
}

// keepBallast makes the ballast where there is to be one, and is none or a smaller one.
func (s *space) keepBallast(now time.Time) {
	b := &s.ballast
	if b.never || now.Before(b.again) {
		return
	}
	free, total, ok := (*s.measure.Load())()
	size, has := s.asked.ballast(total), b.has()
	if !ok || size <= has {
		return
	}
	free.bytes -= size - has
	if free.below(s.limits(total).enough) {
		b.missing.Store(has == 0)
		return
	}
	if err := b.make(size); err != nil {
		b.missing.Store(true)
		b.again = now.Add(ballastAgain)
		if b.never = errors.Is(err, unix.EOPNOTSUPP); b.never {
			b.missing.Store(false) // nobody can do anything about it
		}
		if b.said != err.Error() {
			b.said = err.Error()
			s.warn(fmt.Sprintf("no room is kept in reserve on the journal's volume (ballast_bytes): %v", err))
		}
		return
	}
	if b.missing.Swap(false) {
		s.changed()
	}
}
