package journal

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"google.golang.org/protobuf/proto"
)

// readManifest returns the tables that there are to be, and which of them are plain; and
// where the records end.
func readManifest(path string) (tables map[uint64]bool, at int, err error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, checkEmpty(filepath.Dir(path))
	}
	if err != nil {
		return nil, 0, err
	}
	if !bytes.HasPrefix(b, []byte(manifestBegins)) {
		return nil, 0, errors.New("MANIFEST does not begin as one")
	}
	tables = map[uint64]bool{}
	for at = len(manifestBegins); at+manifestHead <= len(b); {
		length, sum := int(binary.BigEndian.Uint32(b[at:])), binary.BigEndian.Uint32(b[at+4:])
		rest := b[at+manifestHead:]
		if length > len(rest) {
			if endsSomewhere(rest, sum) {
				return nil, 0, errors.New("the length of a record in MANIFEST is wrong")
			}
			return tables, at, nil // cut short while it was written, before anything rested on it
		}
		if crc32.Checksum(rest[:length], castagnoli) != sum {
			return nil, 0, errors.New("the checksum of a record in MANIFEST is wrong")
		}
		var set pb.ManifestChangeSet
		if err := proto.Unmarshal(rest[:length], &set); err != nil {
			return nil, 0, fmt.Errorf("a record in MANIFEST: %w", err)
		}
		for _, c := range set.Changes {
			if tables[c.Id] = c.Compression == 0; c.Op == pb.ManifestChange_DELETE {
				delete(tables, c.Id)
			}
		}
		at += manifestHead + length
	}
	return tables, at, nil
}

const (
	manifestBegins = "Bdgr\x00\x00\x00\x08" // its magic, no magic of ours, and its version
	manifestHead   = 8                      // bytes that begin each record
)

// checkUnnamed finds out a MANIFEST that lacks its newest records: Badger would delete the
// tables that those named. A crash leaves such tables, too: one that was about to be named, whose
// entries are in a log or in the tables that it was made of, and those that it was made of when
// it was. But then all that is named is there, and what is newest of all is in that or in a log:
// each batch writes how far it has come (see tx.keep), and the last of these is never dropped.
func checkUnnamed(store string, named map[uint64]bool) error {
	unnamed, err := tablesThere(store)
	if err != nil {
		return err
	}
	unnamed = slices.DeleteFunc(unnamed, func(id uint64) bool { _, is := named[id]; return is })
	if len(unnamed) == 0 {
		return nil
	}
	newest, gone := newestNamed(store, named)
	logs, err := versionsOfLogs(store)
	if err != nil {
		return err
	}
	for _, id := range unnamed {
		version, err := newestIn(filepath.Join(store, tableName(id)))
		switch {
		case err != nil: // it was never whole
		case gone > 0:
			return fmt.Errorf("MANIFEST is short: it does not name %s, and names %s, which is not there", tableName(id), tableName(gone))
		case version > newest && !slices.ContainsFunc(logs, func(l versions) bool { return l.first <= version && version <= l.last }):
			return fmt.Errorf("MANIFEST is short: it does not name %s, which has what is newer than all that it names", tableName(id))
		}
	}
	return nil
}

// newestNamed is the newest version in the tables that are named, more than there can be where
// it cannot be read of all; and the first that is not there.
func newestNamed(store string, named map[uint64]bool) (newest, gone uint64) {
	for _, id := range slices.Sorted(maps.Keys(named)) {
		version, err := newestIn(filepath.Join(store, tableName(id)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			gone = cmp.Or(gone, id)
		case err != nil || !named[id]: // it is told of as damaged, or a tool of Badger's has written it
			newest = math.MaxUint64
		}
		newest = max(newest, version)
	}
	return newest, gone
}

// tablesThere are the numbers of the tables that are there, in their order.
func tablesThere(store string) (ids []uint64, err error) {
	entries, err := os.ReadDir(store)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if id, ok := table.ParseFileID(e.Name()); ok {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, err
}

// everyTable are the tables that are there, as MANIFEST would name them: where it cannot be
// used any of them may be of use.
func everyTable(store string) map[uint64]bool {
	ids, err := tablesThere(store)
	if err != nil {
		return nil // it is told of what made us ask
	}
	all := map[uint64]bool{}
	for _, id := range ids {
		all[id] = true
	}
	return all
}

// newestIn is the newest version in a table, as its index says.
func newestIn(path string) (uint64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	index, err := readIndex(f, info.Size())
	if err != nil {
		return 0, err
	}
	return fb.GetRootAsTableIndex(index.data, 0).MaxVersion(), nil
}

// versions are those that a log has.
type versions struct{ first, last uint64 }

func versionsOfLogs(store string) (all []versions, err error) {
	paths, _ := filepath.Glob(filepath.Join(store, "*.mem")) // the one error is of a bad pattern
	for _, path := range paths {
		b, err := readLog(path)
		if err != nil {
			return nil, err
		}
		var v versions
		for at := logHeader; ; {
			e, ok := readLogEntry(b, at)
			if !ok {
				break
			}
			at, v.last = e.next, max(v.last, e.version())
			v.first = cmp.Or(v.first, e.version())
		}
		all = append(all, v)
	}
	return all, nil
}

// storeTakes reports why Badger refuses a MANIFEST that we can read, as one that has a record
// twice, or behind which there is more.
func storeTakes(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if _, _, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions("").WithLogger(nil)); err != nil {
		return fmt.Errorf("the store cannot use MANIFEST: %w", err)
	}
	return nil
}

// endsSomewhere reports whether a record of that checksum begins b, of whatever length: the first
// one of a store has none.
func endsSomewhere(b []byte, sum uint32) bool {
	crc := uint32(0)
	for i := range b {
		if crc == sum {
			return true
		}
		crc = crc32.Update(crc, castagnoli, b[i:i+1])
	}
	return crc == sum
}

// checkEmpty refuses a store that has lost its MANIFEST: Badger would make a new one, and
// delete all tables.
func checkEmpty(store string) error {
	for _, pattern := range []string{"*" + tableExt, "*.mem"} {
		if found, err := filepath.Glob(filepath.Join(store, pattern)); err != nil || len(found) > 0 {
			return errors.Join(err, errors.New("MANIFEST is gone, and tables or logs are there"))
		}
	}
	return nil
}

// appendToManifest writes a record behind the last one that is whole.
func appendToManifest(path string, set *pb.ManifestChangeSet) error {
	if len(set.Changes) == 0 {
		return nil
	}
	_, end, err := readManifest(path)
	if err != nil {
		return err
	}
	body, err := proto.Marshal(set)
	if err != nil {
		return err
	}
	rec := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	rec = append(binary.BigEndian.AppendUint32(rec, crc32.Checksum(body, castagnoli)), body...)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if err = f.Truncate(int64(end)); err == nil {
		_, err = f.WriteAt(rec, int64(end))
	}
	return errors.Join(err, f.Sync(), f.Close())
}
