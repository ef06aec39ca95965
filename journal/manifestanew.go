package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/dgraph-io/ristretto/v2/z"
	"google.golang.org/protobuf/proto"
)

// Without MANIFEST nobody knows at which level a table was. What stands at a higher one is
// newer, and a compaction that comes upon what deletes a key forgets that once nothing lies
// below it. So a store that is to be used is merged whole, into tables of the lowest level; one
// that is only looked at has all it has at level 0, where they may overlap, and no compaction.
const lowestLevel = 6 // Badger's MaxLevels, less one

// nameTables gives a store that is only looked at a MANIFEST of all tables that are there.
func nameTables(store string) error {
	ids, err := tablesThere(store)
	if err != nil {
		return err
	}
	return writeManifest(store, 0, ids)
}

// mergeTables writes tables anew of all that are there, of each key its newest entry. They take
// as much room again, until take puts them in the place of the others.
func mergeTables(store string) (m *merger, err error) {
	old, err := tablesThere(store)
	if err != nil {
		return nil, err
	}
	m = &merger{store: store, old: old}
	if err := m.sweep(); err != nil { // of one that was cut short
		return nil, err
	}
	for _, id := range old {
		m.next = max(m.next, id+1)
	}
	if err := m.merge(); err != nil {
		return nil, errors.Join(fmt.Errorf("merge all tables: %w", err), m.sweep()) // the disk may be full
	}
	return m, nil
}

// take has a store consist of what was merged. A crash leaves both, and a MANIFEST that cannot
// be used, or one that names these alone.
func (m *merger) take() error {
	for _, id := range m.made {
		path := filepath.Join(m.store, tableName(id))
		if err := os.Rename(path+anewExt, path); err != nil {
			return err
		}
	}
	if err := writeManifest(m.store, lowestLevel, m.made); err != nil {
		return err
	}
	for _, id := range m.old {
		if err := os.Remove(filepath.Join(m.store, tableName(id))); err != nil {
			return err
		}
	}
	return nil
}

// anewExt is what the name of a table ends with that is not yet to be taken for one.
const anewExt = ".anew"

// merger writes tables, one after the other.
type merger struct {
	store string
	old   []uint64
	next  uint64   // number of a table
	made  []uint64 // under names of their own
}

func (m *merger) merge() (err error) {
	defer func() {
		if r := recover(); r != nil { // Badger panics at what it cannot read
			err = fmt.Errorf("%v", r)
		}
	}()
	var all []y.Iterator
	for _, id := range m.old {
		f, err := z.OpenMmapFile(filepath.Join(m.store, tableName(id)), os.O_RDONLY, 0)
		if err != nil {
			return err
		}
		t, err := table.OpenTable(f, tableOptions)
		if err != nil {
			return err
		}
		defer t.Close(-1)
		all = append(all, t.NewIterator(table.NOCACHE))
	}
	if len(all) == 0 {
		return nil
	}
	it := table.NewMergeIterator(all, false)
	defer it.Close()
	b := table.NewTableBuilder(tableOptions)
	defer func() { b.Close() }()
	var last []byte
	for it.Rewind(); it.Valid(); it.Next() {
		key, value := it.Key(), it.Value()
		if last != nil && y.SameKey(key, last) {
			continue // an older version
		}
		last = append(last[:0], key...)
		if value.ExpiresAt == longOver {
			continue // deleted; of the logs, which are newer, nothing is older
		}
		b.Add(key, value, 0)
		if b.ReachedCapacity() {
			if err := m.write(b); err != nil {
				return err
			}
			b.Close()
			b = table.NewTableBuilder(tableOptions)
		}
	}
	if b.Empty() {
		return nil
	}
	return m.write(b)
}

func (m *merger) write(b *table.Builder) error {
	m.made = append(m.made, m.next)
	m.next++
	return writeSynced(filepath.Join(m.store, tableName(m.next-1))+anewExt, b.Finish())
}

// sweep removes what was written and not taken.
func (m *merger) sweep() error {
	paths, err := filepath.Glob(filepath.Join(m.store, "*"+anewExt))
	for _, path := range paths {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// writeManifest replaces MANIFEST by one of those tables, all at one level.
func writeManifest(store string, level uint32, ids []uint64) error {
	var set pb.ManifestChangeSet
	for _, id := range ids {
		set.Changes = append(set.Changes, &pb.ManifestChange{Id: id, Op: pb.ManifestChange_CREATE, Level: level})
	}
	body, err := proto.Marshal(&set)
	if err != nil {
		return err
	}
	rec := binary.BigEndian.AppendUint32([]byte(manifestBegins), uint32(len(body)))
	rec = append(binary.BigEndian.AppendUint32(rec, crc32.Checksum(body, castagnoli)), body...)
	return replaceFile(store, badger.ManifestFilename, rec)
}
