package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4/pb"
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
	tables = map[uint64]bool{}
	for at = manifestMagic; at+manifestHead <= len(b); {
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

const manifestMagic, manifestHead = 8, 8 // bytes that begin the file, and each record

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
