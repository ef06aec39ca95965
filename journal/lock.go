package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
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

// partOfAnother refuses a directory that belongs to another journal: an empty one would be
// begun in it, and the other then be taken for damaged. It says what to give instead.
func partOfAnother(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	above := filepath.Dir(dir)
	if isFile(filepath.Join(above, markName)) || storeDir(above) == dir && isFile(filepath.Join(dir, badger.ManifestFilename)) {
		return fmt.Errorf("%s is a part of the journal in %s: give that directory", dir, above)
	}
	if isFile(filepath.Join(dir, badger.ManifestFilename)) {
		return fmt.Errorf("%s is the store of a journal, without the rest: give the directory that has it, under the name %q", dir, filepath.Base(storeDir(dir)))
	}
	return nil
}

// isFile is false, too, of what cannot be looked at: whoever opens it then says why.
func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
