package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"

	"pannier/journal/wire"
)

// A record that the scrub has set aside is still in its table, under a checksum of its block
// that is wrong, and no start is to be refused for it. So a damaged table is made anew by any
// start, with all its entries, where nothing is lost by that:
//
//   - All that is wrong in it is in the bodies of records. The sum of a block and the sum of
//     a record in it are of the same polynomial: a difference that begins in a body goes on
//     into both in the same way. Where the differences of records that are wrong add up to
//     that of the block, nothing else in it is wrong, its keys neither, but for one chance in
//     a million. Not all of them need be in it: one that was wrong when the block was written is
//     in the sum as it is.
//   - Nobody needs these records any more: there is a newer version of each, or it is the one
//     that was set aside, and said to be lost.
//
// Of a record that has a newer version nothing is left in the new table but its key. Another that
// is wrong stays so: it has its own checksum.

// mostWrong is up to how many records in a block all ways to add up are tried.
const mostWrong = 12

// remade is a table that is made anew with all its entries.
type remade struct {
	of      badFile
	entries []tableEntry
	wrong   []int // of these, records that cannot be read
}

// remakeSpent makes damaged tables anew; none: something may be lost with one of the files, or
// that cannot be found out just now.
func remakeSpent(store string, bad []badFile) (all []remade) {
	for _, b := range bad {
		m, ok := remake(store, b)
		if !ok {
			return nil
		}
		all = append(all, m)
	}
	if !spent(store, all) {
		return nil
	}
	return all
}

// putRemade puts them in the place of the damaged ones.
func putRemade(store string, all []remade) error {
	for _, m := range all {
		anew := filepath.Join(store, m.of.name) + anewExt
		err := writeSynced(anew, m.table())
		if err == nil {
			err = replaceKept(store, "", m.of, anew)
		}
		if err != nil {
			return fmt.Errorf("make %s anew, of which nothing is lost: %w", m.of.name, errors.Join(err, sweepAnew(store)))
		}
	}
	return nil
}

// remake makes one anew; false: some of it is not known to be right, or it is no table.
func remake(store string, b badFile) (m remade, ok bool) {
	f, err := os.Open(filepath.Join(store, b.name))
	if err != nil {
		return m, false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return m, false
	}
	index, err := readIndex(f, info.Size())
	if err != nil {
		return m, false
	}
	root := fb.GetRootAsTableIndex(index.data, 0)
	var at fb.BlockOffset
	for n := range root.OffsetsLength() {
		if !root.Offsets(&at, n) {
			return m, false
		}
		raw := make([]byte, at.Len())
		if _, err := f.ReadAt(raw, int64(at.Offset())); err != nil {
			return m, false
		}
		var block tableEntries
		block.add(raw, at.KeyBytes())
		if !isWhole(raw) {
			wrong, ok := wrongBodies(raw, block)
			if !ok {
				return m, false
			}
			for _, i := range wrong {
				m.wrong = append(m.wrong, len(m.entries)+i)
			}
		}
		m.entries = append(m.entries, block.entries...)
	}
	m.of = b
	return m, len(m.entries) == int(root.KeyCount())
}

func (m remade) table() []byte {
	b := table.NewTableBuilder(tableOptions)
	defer b.Close()
	for _, e := range m.entries {
		b.Add(e.key, e.value, 0)
	}
	return b.Finish()
}

// wrongBodies are the records of a block that are wrong, where nothing is wrong with it but bodies
// of these; false: something else is.
func wrongBodies(raw []byte, t tableEntries) (wrong []int, ok bool) {
	block, sum, err := cutSum(raw)
	if err != nil {
		return nil, false
	}
	offsets, end := entryOffsets(block)
	if len(offsets) == 0 {
		return nil, false
	}
	ends := append(offsets[1:], end) // of those that are entries: what is none, the index counts
	var diffs []uint32
	for i, e := range t.entries {
		rec := e.value.Value
		if e.sure || len(rec) < headerSize || t.deletes(i) {
			continue
		}
		of := binary.BigEndian.Uint32(rec[1:5]) ^ checksum(y.ParseKey(e.key), rec[5:])
		diffs = append(diffs, sumLater(of, len(block)-ends[i]))
		wrong = append(wrong, i)
	}
	return wrong, addUp(diffs, uint32(sum.Sum)^crc32.Checksum(block, castagnoli))
}

// addUp reports whether these differences are together another, or some of them, where they are few.
func addUp(diffs []uint32, want uint32) bool {
	all := want
	for _, d := range diffs {
		all ^= d
	}
	if all == 0 || len(diffs) > mostWrong {
		return all == 0
	}
	for some := range 1 << len(diffs) {
		got := uint32(0)
		for i, d := range diffs {
			if some&(1<<i) != 0 {
				got ^= d
			}
		}
		if got == want {
			return true
		}
	}
	return false
}

// sumLater is what becomes of a difference between two sums where as many bytes follow that
// are the same.
func sumLater(diff uint32, follow int) uint32 {
	for range follow {
		diff = castagnoli[byte(diff)] ^ diff>>8
	}
	return diff
}

// spent reports whether nobody needs what is wrong in tables, and leaves the keys alone of what is
// there in a newer version.
func spent(store string, all []remade) (ok bool) {
	defer func() {
		if recover() != nil { // Badger panics at what it cannot read
			ok = false
		}
	}()
	n := newest{}
	for _, m := range all {
		for _, i := range m.wrong {
			key := y.ParseKey(m.entries[i].key)
			n.want(key)
			if id, ok := intentOf(key); ok {
				n.want(idKey(classAside, id))
			}
		}
	}
	n.read(store)
	for _, m := range all {
		for _, i := range m.wrong {
			e := &m.entries[i]
			switch {
			case n[string(y.ParseKey(e.key))].version > y.ParseTs(e.key):
				e.value = y.ValueStruct{ExpiresAt: longOver}
			case !n.setAside(*e):
				return false
			}
		}
	}
	return true
}

// newest is the newest version of each key that was asked for.
type newest map[string]versioned

type versioned struct {
	version uint64
	value   []byte
}

func (n newest) want(key []byte) { n[string(key)] = versioned{} }

func (n newest) see(key, value []byte) {
	name, v := string(y.ParseKey(key)), y.ParseTs(key)
	if was, asked := n[name]; asked && v > was.version {
		n[name] = versioned{v, bytes.Clone(value)}
	}
}

// setAside reports whether a record is the one that was set aside of its intent, as it is now: it
// may have been written again since, and have gone wrong again.
func (n newest) setAside(e tableEntry) bool {
	key, rec := y.ParseKey(e.key), e.value.Value
	id, ok := intentOf(key)
	if !ok {
		return false
	}
	var told wire.Aside
	aside := idKey(classAside, id)
	err := unsealMessage(aside, n[string(aside)].value, &told)
	return err == nil && bytes.Equal(told.Key, key) && bytes.Equal(told.Record, rec[:min(len(rec), maxAside)])
}

// read looks in all of a store. What cannot be read tells of nothing newer.
func (n newest) read(store string) {
	tables, _, _ := readManifest(filepath.Join(store, badger.ManifestFilename))
	for id := range tables {
		if t, err := openTable(store, id); err == nil {
			n.readTable(t)
		}
	}
	logs, _ := filepath.Glob(filepath.Join(store, "*.mem")) // the one error is of a bad pattern
	for _, path := range logs {
		if b, err := readLog(path); err == nil {
			n.readLog(b)
		}
	}
}

func (n newest) readTable(t *table.Table) {
	defer t.Close(-1)
	it := t.NewIterator(table.NOCACHE)
	defer it.Close()
	for key := range n {
		if it.Seek(y.KeyWithTs([]byte(key), math.MaxUint64)); it.Valid() {
			n.see(it.Key(), it.Value().Value)
		}
	}
}

func (n newest) readLog(b []byte) {
	for _, t := range takeApart(b).all {
		for at := 0; at < len(t.entries); {
			e, _ := readLogEntry(t.entries, at) // each is whole
			n.see(e.key, e.value)
			at = e.next
		}
	}
}
