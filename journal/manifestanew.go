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
	manifest, err := manifestOf(0, ids)
	if err != nil {
		return err
	}
	return replaceFile(store, badger.ManifestFilename, manifest)
}

// mergeTables writes tables anew of all that are there, of each key its newest entry, and a
// MANIFEST of these. They take as much room again, until take puts them in the place of the
// others; what takes room has been written then.
func mergeTables(store string) (m *merger, err error) {
	old, err := tablesThere(store)
	if err != nil {
		return nil, err
	}
	m = &merger{store: store, old: old}
	for _, id := range old {
		m.next = max(m.next, id+1)
	}
	if err = m.merge(); err == nil {
		err = m.name()
	}
	if err != nil { // the disk may be full
		return nil, errors.Join(fmt.Errorf("merge all tables, which may take %d bytes: %w", taken(store, "*"+tableExt), err), sweepAnew(store))
	}
	return m, nil
}

func (m *merger) name() error {
	manifest, err := manifestOf(lowestLevel, m.made)
	if err != nil {
		return err
	}
	return writeSynced(filepath.Join(m.store, badger.ManifestFilename)+anewExt, manifest)
}

// take has a store consist of what was merged. A crash leaves both, and a MANIFEST that cannot
// be used, or one that names these alone.
func (m *merger) take() error {
	var names []string
	for _, id := range m.made {
		names = append(names, tableName(id))
	}
	for _, name := range append(names, badger.ManifestFilename) {
		path := filepath.Join(m.store, name)
		if err := os.Rename(path+anewExt, path); err != nil {
			return err
		}
	}
	if err := syncDir(m.store); err != nil {
		return err
	}
	for _, id := range m.old {
		if err := os.Remove(filepath.Join(m.store, tableName(id))); err != nil {
			return err
		}
	}
	return nil
}

// anewExt is what the name of a file ends with that is not yet to be taken for one of the store.
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
		t, err := openTable(m.store, id)
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

// openTable opens a table of a store that Badger has not open. It may panic at one that is
// damaged.
func openTable(store string, id uint64) (*table.Table, error) {
	f, err := z.OpenMmapFile(filepath.Join(store, tableName(id)), os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	return table.OpenTable(f, tableOptions)
}

func (m *merger) write(b *table.Builder) error {
	m.made = append(m.made, m.next)
	m.next++
	return writeSynced(filepath.Join(m.store, tableName(m.next-1))+anewExt, b.Finish())
}

// sweepAnew removes what was written anew and not taken.
func sweepAnew(store string) error {
	paths, err := filepath.Glob(filepath.Join(store, "*"+anewExt))
	for _, path := range paths {
		if isFile(path) { // what is none is not ours, and is told of when it is in the way
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}

// manifestOf is a MANIFEST of those tables, all at one level.
func manifestOf(level uint32, ids []uint64) ([]byte, error) {
	var set pb.ManifestChangeSet
	for _, id := range ids {
		set.Changes = append(set.Changes, &pb.ManifestChange{Id: id, Op: pb.ManifestChange_CREATE, Level: level})
	}
	body, err := proto.Marshal(&set)
	if err != nil {
		return nil, err
	}
	rec := binary.BigEndian.AppendUint32([]byte(manifestBegins), uint32(len(body)))
	return append(binary.BigEndian.AppendUint32(rec, crc32.Checksum(body, castagnoli)), body...), nil
}
