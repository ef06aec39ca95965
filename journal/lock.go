package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockDir takes the journal's directory for this process, until the returned
// file is closed or the process ends. Badger locks its own directory too, but
// only after it has read it, and sweepTorn must come before that.
func lockDir(dir string) (*os.File, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		d.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("the journal in %s is in use by another process; stop it, or name another directory", dir)
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return d, nil
}

// storeIsFree reports why a store cannot be locked: Badger says of any reason that another
// process has it.
func storeIsFree(store string) error {
	lock, err := lockDir(store)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return lock.Close()
}

// sweepTorn removes files that Badger created and had not yet given a size when
// the process was killed: it refuses to open beside one. They cannot hold a
// record, because a record is written through a mapping of that size; and what
// was acknowledged is counted in the high-water mark, so nothing is hidden.
func sweepTorn(store string) error {
	for _, pattern := range []string{"*.mem", "*.vlog"} {
		files, err := filepath.Glob(filepath.Join(store, pattern))
		if err != nil {
			return err
		}
		for _, f := range files {
			if info, err := os.Stat(f); err != nil || info.Size() > 0 {
				continue
			}
			if err := os.Remove(f); err != nil {
				return fmt.Errorf("remove a file without contents: %w", err)
			}
		}
	}
	return nil
}
