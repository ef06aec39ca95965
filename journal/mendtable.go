package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
)

// A table that is damaged is made anew of what can be read of it, under its name and with its
// keys of all versions: to go on without all of it would cost thousands of intents, and have
// what it deletes come back. Where the sum of a block is wrong its entries are looked at one
// by one. What has a value of ours has a checksum, of its key, too; a key alone is believed
// between its neighbours.

// tableOptions are of a table that we make ourselves, or read.
var tableOptions = table.Options{TableSize: tableSize, BlockSize: blockSize, BloomFalsePositive: bloomFalsePositive}

// errTableLost: nothing of a table can be read.
var errTableLost = errors.New("nothing in it can be read")

// mended is what was made of one.
type mended struct {
	keys      int
	lost      int  // of its keys
	unindexed bool // nothing says how many there were
}

func (m mended) String() string {
	if m.unindexed {
		return fmt.Sprintf("made anew without its index, of the %d keys that were found", m.keys)
	}
	return fmt.Sprintf("made anew without %d of its keys", m.lost)
}

// mendTable writes, to another path, a table of what can be read of one. It is errTableLost
// where nothing can be read.
func mendTable(path, to string) (m mended, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, errTableLost
	}
	if err != nil {
		return m, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return m, err
	}
	var all tableEntries
	there := 0
	if index, err := readIndex(f, info.Size()); err != nil {
		all = entriesWithoutIndex(f, info.Size())
	} else {
		root := fb.GetRootAsTableIndex(index.data, 0)
		all, there = entriesByIndex(f, root), int(root.KeyCount())
	}
	b := table.NewTableBuilder(tableOptions)
	defer b.Close()
	var last []byte
	for i, e := range all.entries {
		if all.holds(i) && (last == nil || y.CompareKeys(last, e.key) < 0) {
			b.Add(e.key, e.value, 0)
			m.keys, last = m.keys+1, e.key
		}
	}
	if m.keys == 0 {
		return m, errTableLost
	}
	m.lost, m.unindexed = max(0, there-m.keys), all.unindexed
	return m, writeSynced(to, b.Finish())
}

func entriesByIndex(f io.ReaderAt, root *fb.TableIndex) tableEntries {
	all := tableEntries{newest: root.MaxVersion()}
	for n := range root.OffsetsLength() {
		var at fb.BlockOffset
		if !root.Offsets(&at, n) {
			continue
		}
		raw := make([]byte, at.Len())
		if _, err := f.ReadAt(raw, int64(at.Offset())); err != nil {
			continue // a part of the file is gone, or the disk refuses it
		}
		all.add(raw, at.KeyBytes())
	}
	return all
}

// writeSynced writes a file, all of it or nothing: on a full disk a part would take up what room
// there is.
func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// tableEntries are those of a table, in its order, as far as they can be told apart.
type tableEntries struct {
	newest    uint64 // version in it; unindexed, in what of it is sure
	unindexed bool
	entries   []tableEntry
}

type tableEntry struct {
	key   []byte // with its version
	value y.ValueStruct
	sure  bool // the block or the record has a checksum, and it is right
}

// add takes the entries out of a block. Its first key, on which the others are built, the
// index knows, too.
func (t *tableEntries) add(raw, first []byte) {
	block, sum, err := cutSum(raw)
	whole := err == nil && matches(block, sum)
	offsets, end := entryOffsets(block)
	for n := 2; offsets == nil && n < min(sumMost, len(raw)-4); n++ { // the checksum or its length is damaged: it has a few bytes
		block = raw[:len(raw)-4-n]
		offsets, end = entryOffsets(block)
	}
	for i, from := range offsets {
		to := end
		if i+1 < len(offsets) {
			to = offsets[i+1]
		}
		if from >= to || to > end {
			continue
		}
		if e, ok := readTableEntry(block[from:to], first); ok {
			_, _, err := unseal(y.ParseKey(e.key), e.value.Value)
			e.sure = whole || err == nil
			t.entries = append(t.entries, e)
			if t.unindexed && whole {
				t.newest = max(t.newest, y.ParseTs(e.key))
			}
		}
	}
}

// entryOffsets reads where the entries of a block begin, off its end, and where the last one
// ends; nil: that is not what is there, as most of it does not rise, or is beyond that end.
func entryOffsets(block []byte) (offsets []int, end int) {
	if len(block) < 4 {
		return nil, 0
	}
	count := int(binary.BigEndian.Uint32(block[len(block)-4:]))
	if end = len(block) - 4 - 4*count; end <= 0 {
		return nil, 0
	}
	last, fit := -1, 0
	for i := range count {
		from := int(binary.LittleEndian.Uint32(block[end+4*i:]))
		if last < from && from < end {
			fit++
		}
		offsets, last = append(offsets, from), from
	}
	if fit < (count+1)/2 {
		return nil, 0
	}
	return offsets, end
}

const entryHead = 4 // bytes before a key

// readTableEntry reads one: how many bytes of its key are those of the first, how many come
// here, these, and the value.
func readTableEntry(b, first []byte) (e tableEntry, ok bool) {
	const version = 8
	if len(b) < entryHead {
		return e, false
	}
	same, here := int(binary.LittleEndian.Uint16(b)), int(binary.LittleEndian.Uint16(b[2:]))
	if same > len(first) || entryHead+here+3 > len(b) || same+here <= version {
		return e, false
	}
	e.key = append(append(e.key, first[:same]...), b[entryHead:entryHead+here]...)
	value := b[entryHead+here:]
	if _, n := binary.Uvarint(value[2:]); n <= 0 {
		return e, false
	}
	e.value.Decode(value)
	return e, true
}

// holds reports whether an entry is to be believed: its version is none that is yet to come,
// and if it has no checksum it stands in order between those around it.
func (t *tableEntries) holds(i int) bool {
	e := t.entries[i]
	switch {
	case y.ParseTs(e.key) > t.newest:
		return false
	case e.sure:
		return true
	case t.unindexed:
		return false // it is built on a key that nothing vouches for
	case len(e.value.Value) > 0 && !t.deletes(i):
		return false // its checksum is wrong
	}
	return (i == 0 || y.CompareKeys(t.entries[i-1].key, e.key) < 0) && (i+1 == len(t.entries) || y.CompareKeys(e.key, t.entries[i+1].key) < 0)
}

// deletes reports whether an entry says that its key is deleted, with the weight of that.
func (t *tableEntries) deletes(i int) bool { return t.entries[i].value.ExpiresAt == longOver }

// mendInPlace puts a table that is made anew in the place of one that is damaged, of which
// keep has the original then; "": nobody needs it.
func mendInPlace(store, keep string, b badFile) (m mended, err error) {
	path := filepath.Join(store, b.name)
	anew := path + anewExt
	if m, err = mendTable(path, anew); err != nil {
		return m, err
	}
	return m, replaceKept(store, keep, b, anew)
}

// replaceKept puts a file that was made anew in the place of one that is damaged, of which keep
// has the original then; "": nobody needs it.
func replaceKept(store, keep string, b badFile, anew string) error {
	path := filepath.Join(store, b.name)
	if keep != "" {
		err := keepIn(keep, b.name, func(to string) error { return os.Link(path, to) })
		if err == nil {
			err = syncDir(keep)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("keep %s: %w", b.name, err), os.Remove(anew))
		}
	}
	if err := os.Rename(anew, path); err != nil {
		return err
	}
	return syncDir(store)
}
