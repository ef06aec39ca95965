package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
)

// lostDir is where files of the store go that it was opened without: Badger deletes
// tables that it does not know of, and cuts logs where it cannot read on.
const lostDir = "lost"

// leaveOut makes a store one that Badger opens without some of its files, and says of each
// what became of it. They are kept in another directory; "": the store is a copy, and they
// are in the original. A table of which a part can be read is made anew of that, and so is a log;
// else its keys are gone, and what they were before it was written may be back.
//
// A crash between the two: a table that MANIFEST names is gone, and is left out by the next
// start that may do so.
func leaveOut(store, keep string, bad []badFile) (said []string, err error) {
	if keep != "" {
		if err := errors.Join(os.MkdirAll(keep, 0o700), syncDir(filepath.Dir(keep))); err != nil {
			return nil, err
		}
	}
	var set pb.ManifestChangeSet
	var unnamed *badFile
	for _, b := range bad {
		if b.kind == manifestFile {
			said, unnamed = append(said, fmt.Sprintf("%v: made anew of all tables that are there", b)), &b
			continue
		}
		line, anew, err := leaveOutOne(store, keep, b)
		if err != nil {
			return nil, err
		}
		said = append(said, line)
		if b.kind == tableFile && !anew {
			set.Changes = append(set.Changes, &pb.ManifestChange{Id: b.table, Op: pb.ManifestChange_DELETE})
		}
	}
	if keep != "" { // a table that is in neither place would be gone
		if err := syncDir(keep); err != nil {
			return nil, err
		}
	}
	if unnamed != nil {
		return said, nameAnew(store, keep, *unnamed)
	}
	return said, appendToManifest(filepath.Join(store, badger.ManifestFilename), &set)
}

// nameAnew gives a store another MANIFEST, once all its tables can be read.
func nameAnew(store, keep string, b badFile) error {
	if keep == "" {
		return nameTables(store)
	}
	m, err := mergeTables(store)
	if err != nil {
		return err
	}
	if err := setFileAside(store, keep, b); err != nil {
		return errors.Join(fmt.Errorf("leave out %s: %w", b.name, err), sweepAnew(store))
	}
	if err := syncDir(keep); err != nil {
		return err
	}
	return m.take()
}

func leaveOutOne(store, keep string, b badFile) (said string, anew bool, err error) {
	said = b.Error()
	if b.kind == logFile && !errors.Is(b.why, errDirectory) { // nothing of it is in there
		made, err := mendLog(store, keep, b)
		if err != nil {
			return "", false, fmt.Errorf("make %s anew: %w", b.name, err)
		}
		return fmt.Sprintf("%s: %v", said, made), true, nil
	}
	if b.kind == tableFile {
		switch m, err := mendInPlace(store, keep, b); {
		case err == nil:
			return fmt.Sprintf("%s: %v", said, m), true, nil
		case !errors.Is(err, errTableLost): // no room, perhaps: it is not left out for that
			return "", false, fmt.Errorf("make %s anew: %w", b.name, err)
		}
	}
	if err := setFileAside(store, keep, b); err != nil {
		return "", false, fmt.Errorf("leave out %s %s: %w", b.kind, b.name, err)
	}
	return said, false, nil
}

// setFileAside keeps a file that the store is to be without.
func setFileAside(store, keep string, b badFile) error {
	from := filepath.Join(store, b.name)
	switch _, err := os.Lstat(from); {
	case errors.Is(err, fs.ErrNotExist):
		return nil // that is what is wrong with it
	case keep == "":
		return os.Remove(from)
	}
	return keepIn(keep, b.name, func(to string) error { return os.Rename(from, to) })
}

// keepIn has put bring a file into a directory of its own in keep, since numbers of tables come
// again.
func keepIn(keep, name string, put func(to string) error) error {
	dir, err := os.MkdirTemp(keep, name+"-")
	if err != nil {
		return err
	}
	if err := put(filepath.Join(dir, name)); err != nil {
		return errors.Join(err, os.Remove(dir)) // on a full disk each start would leave one more
	}
	return syncDir(dir)
}
