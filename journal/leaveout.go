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

// canLeaveOut reports whether a store can be opened without those of its files.
func canLeaveOut(bad []badFile) bool {
	for _, b := range bad {
		if b.kind == manifestFile {
			return false
		}
	}
	return true
}

// leaveOut makes a store one that Badger opens without some of its files, and says of each
// what became of it. They are kept in another directory; "": the store is a copy, and they
// are in the original. A table of which a part can be read is made anew of that; else its
// keys are gone, and what they were before it was written may be back.
//
// A crash between the two: a table that MANIFEST names is gone, and is left out by the next
// start that may do so.
func leaveOut(store, keep string, bad []badFile) (said []string, err error) {
	if keep != "" {
		if err := os.MkdirAll(keep, 0o700); err != nil {
			return nil, err
		}
	}
	var set pb.ManifestChangeSet
	for _, b := range bad {
		if b.kind == tableFile {
			switch lost, err := mendInPlace(store, keep, b); {
			case err == nil:
				said = append(said, fmt.Sprintf("%v: made anew without %d of its keys", b, lost))
				continue
			case !errors.Is(err, errTableLost): // no room, perhaps: it is not left out for that
				return nil, fmt.Errorf("make %s anew: %w", b.name, err)
			}
		}
		said = append(said, b.Error())
		if err := setFileAside(store, keep, b); err != nil {
			return nil, fmt.Errorf("leave out %s %s: %w", b.kind, b.name, err)
		}
		if b.kind == tableFile {
			set.Changes = append(set.Changes, &pb.ManifestChange{Id: b.table, Op: pb.ManifestChange_DELETE})
		}
	}
	if keep != "" {
		if err := syncDir(keep); err != nil {
			return nil, err
		}
	}
	return said, appendToManifest(filepath.Join(store, badger.ManifestFilename), &set)
}

// setFileAside keeps a file, in a directory of its own, since numbers of tables and logs come
// again; of a log Badger goes on with what can be read.
func setFileAside(store, keep string, b badFile) error {
	from := filepath.Join(store, b.name)
	switch _, err := os.Lstat(from); {
	case errors.Is(err, fs.ErrNotExist):
		return nil // that is what is wrong with it
	case keep == "" && b.kind == logFile:
		return nil
	case keep == "":
		return os.Remove(from)
	}
	to, err := os.MkdirTemp(keep, b.name+"-")
	if err != nil {
		return err
	}
	if b.kind == logFile {
		return copySparse(from, filepath.Join(to, b.name))
	}
	if err := os.Rename(from, filepath.Join(to, b.name)); err != nil {
		return err
	}
	return syncDir(to)
}
