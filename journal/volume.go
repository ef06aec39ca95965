package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// askVolume asks a volume that has shut itself down (xfs does, after an error of its disk) or
// was taken away, which statfs does not tell. The store writes to files that are mapped, in
// goroutines of Badger's: there such a volume answers by SIGBUS, the end of the process with
// no word of why. So it is asked before each batch, and each spaceEvery. What remains is one
// that goes in between, while the store writes or reads: nothing that was acknowledged rests
// on that, and its next start says why.
func (j *Journal) askVolume() error {
	_, err := os.Stat(j.dir)
	if !volumeFailed(err) {
		return nil
	}
	return fmt.Errorf("the volume of the journal in %s has failed: %w; nothing is written any more: look at the disk, then start again", j.dir, err)
}

// volumeFailed is what an error of a look at the directory says of the volume. That nobody may
// look at it, or that it has another name, says nothing of what is open.
func volumeFailed(err error) bool {
	return err != nil && (saysOne(err, unreadable) || saysOne(err, volumeGone))
}

// awaitThaw waits while the volume is frozen, as for a snapshot. The store's own writes to what
// is mapped would wait in a page fault: that holds a processor of Go's, and from the next
// collection of garbage on all of the process, probes and signals included. In a system call
// one goroutine waits, and stallLoop tells of it. So the kernel is asked for leave to write, by
// the one call that every kernel makes wait and that changes nothing: to remove a file that
// is not there. What remains are a freeze that comes in between, and tables that are being made.
func (j *Journal) awaitThaw() { _ = unix.Unlink(filepath.Join(j.dir, "journal.nothing")) }

// makeDir makes the directory of a journal where there is none. One that cannot be looked at is
// no reason to make another: that it exists is all that would be said.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &SystemError{Dir: dir, Err: err}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make journal directory: %w", err)
	}
	return nil
}
