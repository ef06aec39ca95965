package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
)

// madeTable is a table of two blocks, of which the first one is damaged: a and d have
// values of ours, c is deleted with its weight, and b and e are keys alone. The second one
// has f to h.
type madeTable struct {
	file    []byte
	values  map[string]string // by key with its version
	offsets []int             // of the entries of the first block
	end     int               // of the last one of them
	size    int               // of the first block, with its checksum
	first   []byte            // key
	blocks  int               // bytes of all blocks
}

// Entries of the first block of a madeTable.
const (
	entryA = iota
	entryB
	entryC
	entryD9
	entryD7
	entryE
)

func makeTable(t *testing.T) madeTable {
	t.Helper()
	b := table.NewTableBuilder(table.Options{TableSize: tableSize, BlockSize: 7000, BloomFalsePositive: bloomFalsePositive})
	defer b.Close()
	m := madeTable{values: map[string]string{}}
	add := func(name string, version uint64, v y.ValueStruct) {
		key := y.KeyWithTs([]byte("k"+name), version)
		m.values[string(key)] = fmt.Sprint(v)
		b.Add(key, v, 0)
	}
	record := func(name, body string) y.ValueStruct {
		return y.ValueStruct{Value: seal([]byte("k"+name), 1, []byte(body))}
	}
	add("a", 5, record("a", strings.Repeat("x", 6000)))
	add("b", 6, y.ValueStruct{})
	add("c", 7, y.ValueStruct{Value: filler[:40], ExpiresAt: longOver})
	add("d", 9, record("d", "later, and not so short"))
	add("d", 7, record("d", "earlier"))
	add("e", 20, y.ValueStruct{})
	add("f"+strings.Repeat("f", 2000), 8, y.ValueStruct{})
	add("g", 8, record("g", "x"))
	add("h", 8, y.ValueStruct{})
	m.file = b.Finish()

	path := filepath.Join(t.TempDir(), "table")
	if err := os.WriteFile(path, m.file, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	index, err := readIndex(f, int64(len(m.file)))
	if err != nil {
		t.Fatal(err)
	}
	root := fb.GetRootAsTableIndex(index.data, 0)
	var one, two fb.BlockOffset
	if !root.Offsets(&one, 0) || !root.Offsets(&two, 1) || root.OffsetsLength() != 2 {
		t.Fatal("the table has not two blocks")
	}
	m.size, m.first, m.blocks = int(one.Len()), bytes.Clone(one.KeyBytes()), int(two.Offset()+two.Len())
	block, _, err := cutSum(m.file[:m.size])
	if err != nil {
		t.Fatal(err)
	}
	if m.offsets, m.end = entryOffsets(block); len(m.offsets) != entryE+1 {
		t.Fatalf("the first block has %d entries", len(m.offsets))
	}
	return m
}

// kept returns what is in a table, in order, each with its last letter, and wants its values
// to be those that were there.
func (m madeTable) kept(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := table.OpenInMemoryTable(b, 1, &table.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := opened.DecrRef(); err != nil {
			t.Error(err)
		}
	}()
	var names []string
	i := opened.NewIterator(0)
	defer i.Close()
	for i.Rewind(); i.Valid(); i.Next() {
		key := y.ParseKey(i.Key())
		names = append(names, fmt.Sprintf("%c%d", key[len(key)-1], y.ParseTs(i.Key())))
		v := i.Value()
		v.Version = 0
		if was, is := m.values[string(i.Key())], fmt.Sprint(v); is != was {
			t.Errorf("%s is %q, was %q", key, is, was)
		}
	}
	return strings.Join(names, " ")
}

// What is damaged in a block costs the entries that it hits, and no other is believed for
// what it is not.
func TestEntriesOfADamagedBlock(t *testing.T) {
	t.Parallel()
	m := makeTable(t)
	const all = "a5 b6 c7 d9 d7 e20 f8 g8 h8"
	but := func(gone string) string {
		kept := strings.Fields(all)
		for _, name := range strings.Fields(gone) {
			kept = strings.Fields(strings.Replace(" "+strings.Join(kept, " ")+" ", " "+name+" ", " ", 1))
		}
		return strings.Join(kept, " ")
	}
	const block = "a5 b6 c7 d9 d7 e20"
	letter := func(entry int) int { return m.offsets[entry] + 4 } // of its key, behind the k of all
	offset := func(b []byte, entry, to int) { binary.LittleEndian.PutUint32(b[m.end+4*entry:], uint32(to)) }
	count := func(b []byte, n uint32) { binary.BigEndian.PutUint32(b[m.end+4*len(m.offsets):], n) }
	value := func(entry int) int { return letter(entry) + int(m.file[m.offsets[entry]+2]) }
	for _, c := range []struct {
		damage string
		plant  func(b []byte)
		kept   string
	}{
		{"none", func([]byte) {}, all},
		{"the checksum of the block", func(b []byte) { b[m.size-6] ^= 1 }, all},
		{"the length of that", func(b []byte) { b[m.size-4] ^= 0xff }, all},
		{"a record", func(b []byte) { b[m.offsets[entryD7]-1] ^= 1 }, but("d9")},
		{"where a record begins", func(b []byte) { copy(b[value(entryD9)+2:], bytes.Repeat([]byte{0xff}, 12)) }, but("d9")},
		{"a key that is too small", func(b []byte) { b[letter(entryB)] = '0' }, but("b6")},
		{"a key that is too large", func(b []byte) { b[letter(entryB)] = 'z' }, but("b6 c7")}, // neither is known to be right
		{"a key that is larger than all of the block", func(b []byte) { b[letter(entryE)] = 'z' }, but("e20")},
		{"a version that is yet to come", func(b []byte) { b[letter(entryB)+1] ^= 0x80 }, but("b6")},
		{"a version that is out of order", func(b []byte) { b[letter(entryD7)+8] ^= 8 }, but("d7")},
		{"a key without a version", func(b []byte) { b[m.offsets[entryB]+2] = 3 }, but("b6")},
		{"more of the first key than it has", func(b []byte) { b[m.offsets[entryB]+1] = 0xff }, but("b6")},
		{"a key longer than its entry", func(b []byte) { b[m.offsets[entryB]+3] = 0xff }, but("b6")},
		{"an entry that begins nowhere", func(b []byte) { offset(b, entryC, 1<<30) }, but("b6 c7")},
		{"an entry that begins behind the next one", func(b []byte) { offset(b, entryC, m.offsets[entryD7]) }, but("b6 c7")},
		{"an entry of two bytes", func(b []byte) { offset(b, entryC, m.offsets[entryB]+2) }, but("b6 c7")},
		{"where the first entry begins", func(b []byte) { offset(b, entryA, 1) }, but("a5")},
		{"one entry less", func(b []byte) { count(b, entryE) }, but("a5 e20")},
		{"no entries", func(b []byte) { count(b, 0) }, but(block)},
		{"more entries than there is room for", func(b []byte) { count(b, 1<<31) }, but(block)},
		{"all of the block", func(b []byte) { clear(b[:m.size]) }, but(block)},
	} {
		t.Run(c.damage, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			from, to := filepath.Join(dir, "table"), filepath.Join(dir, "anew")
			b := bytes.Clone(m.file)
			c.plant(b)
			if err := os.WriteFile(from, b, 0o600); err != nil {
				t.Fatal(err)
			}
			made, err := mendTable(from, to)
			if err != nil {
				t.Fatal(err)
			}
			if kept := m.kept(t, to); kept != c.kept || made.lost != len(m.values)-len(strings.Fields(kept)) {
				t.Errorf("%q is kept, and %d are said to be lost; want %q", kept, made.lost, c.kept)
			}
		})
	}
}

// A table of which no entry can be read is none, and leaves none of it.
func TestTableWithoutAnEntryThatCanBeRead(t *testing.T) {
	t.Parallel()
	m := makeTable(t)
	dir := t.TempDir()
	from, to := filepath.Join(dir, "table"), filepath.Join(dir, "anew")
	clear(m.file[:m.blocks])
	if err := os.WriteFile(from, m.file, 0o600); err != nil {
		t.Fatal(err)
	}
	if made, err := mendTable(from, to); !errors.Is(err, errTableLost) {
		t.Errorf("it is %v, %v; want all lost", made, err)
	}
	if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a table was made of it: %v", err)
	}
}

// Wherever a block ends, what is taken out of it is what was there.
func TestEntriesOfAPartOfABlock(t *testing.T) {
	t.Parallel()
	m := makeTable(t)
	for n := range m.size {
		all := tableEntries{newest: 20}
		all.add(m.file[:n:n], m.first)
		for i, e := range all.entries {
			if all.holds(i) && fmt.Sprint(e.value) != m.values[string(e.key)] {
				t.Fatalf("of %d bytes: %q is %v", n, e.key, e.value)
			}
		}
	}
}

// The end of a block is one where most offsets rise and lie before it.
func TestEntryOffsets(t *testing.T) {
	t.Parallel()
	const end = 40
	for _, c := range []struct {
		offsets []uint32
		there   bool
	}{
		{[]uint32{0}, true},
		{[]uint32{0, 10, 20}, true},
		{[]uint32{0, 1 << 31, 20, 30}, true},
		{[]uint32{5, 10, 20}, true},
		{[]uint32{0, 0, 0}, false},
		{[]uint32{end, end + 1, end + 2}, false},
	} {
		block := make([]byte, end)
		for _, from := range c.offsets {
			block = binary.LittleEndian.AppendUint32(block, from)
		}
		block = binary.BigEndian.AppendUint32(block, uint32(len(c.offsets)))
		if got, ends := entryOffsets(block); (len(got) == len(c.offsets)) != c.there || c.there && ends != end {
			t.Errorf("offsets %d: got %d up to %d, want them: %t", c.offsets, got, ends, c.there)
		}
	}
}

// A table that is made anew in a copy of a store leaves nothing but itself: whoever has the
// original needs no other.
func TestTableMadeAnewInACopy(t *testing.T) {
	m := makeTable(t)
	dir := t.TempDir()
	t.Setenv("TMPDIR", filepath.Join(dir, "nowhere"))
	b := badFile{name: "000001.sst", kind: tableFile}
	m.file[m.offsets[entryD7]-1] ^= 1
	if err := os.WriteFile(filepath.Join(dir, b.name), m.file, 0o600); err != nil {
		t.Fatal(err)
	}
	if made, err := mendInPlace(dir, "", b); err != nil || made.lost != 1 {
		t.Fatalf("it is %v, %v; want one key lost", made, err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("%v, %v; want the table alone", files, err)
	}
}
