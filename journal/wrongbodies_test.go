package journal

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
)

// remade makes a table of one that may be damaged.
func (m madeTable) remade(t *testing.T, b []byte) (made remade, ok bool) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, tableName(1)), b, 0o600); err != nil {
		t.Fatal(err)
	}
	return remake(dir, badFile{name: tableName(1), kind: tableFile, table: 1})
}

// A table is made anew with all its entries where only bodies of records are wrong, and is what
// it was but for these; where anything else is, it is not.
func TestOnlyBodiesMayBeWrong(t *testing.T) {
	t.Parallel()
	m := makeTable(t)
	const sealed = 5 // bytes of a record that its sum is not of
	inBody := make([]bool, len(m.file))
	var bodies []int
	for _, entry := range []int{entryA, entryD9, entryD7} {
		end := m.end
		if entry+1 < len(m.offsets) {
			end = m.offsets[entry+1]
		}
		e, ok := readTableEntry(m.file[m.offsets[entry]:end], m.first)
		if !ok {
			t.Fatal("an entry cannot be read")
		}
		for at := end - len(e.value.Value) + sealed; at < end; at++ {
			inBody[at] = true
			bodies = append(bodies, at)
		}
	}
	for at := range m.size {
		if inBody[at] && at%41 != 0 {
			continue // one of them is six thousand bytes long
		}
		b := bytes.Clone(m.file)
		b[at] ^= 1 << (at % 8)
		switch made, ok := m.remade(t, b); {
		case ok && len(made.wrong) == 0 && bytes.Equal(made.table(), m.made(t).table()): // its sum was wrong, where that says more than it may
		case ok != inBody[at]:
			t.Errorf("made anew is %v with byte %d wrong; in a body is %v", ok, at, inBody[at])
		}
	}
	r := rand.New(rand.NewPCG(3, 9))
	for range 100 {
		b := bytes.Clone(m.file)
		for range 1 + r.IntN(40) {
			b[bodies[r.IntN(len(bodies))]] ^= byte(1 + r.IntN(255))
		}
		made, ok := m.remade(t, b)
		if !ok {
			t.Fatal("not made anew, with bodies wrong alone")
		}
		m.wantBut(t, made)
		b[m.offsets[entryB]+entryHead] ^= 1 // of a key
		if _, ok := m.remade(t, b); ok {
			t.Fatal("made anew, with a key wrong, too")
		}
	}
}

// made is the table as it is made anew of one that is whole.
func (m madeTable) made(t *testing.T) remade {
	t.Helper()
	made, ok := m.remade(t, m.file)
	if !ok {
		t.Fatal("a table that is whole is not made anew")
	}
	return made
}

// A block that is not what its sum says has entries that nobody can count: the index can.
func TestTableWithoutAllItsKeys(t *testing.T) {
	t.Parallel()
	m := makeTable(t)
	b := bytes.Clone(m.file)
	b[bytes.LastIndexByte(b[:m.blocks], 'x')] ^= 1 // what the last record says
	if made, ok := m.remade(t, b); !ok || len(made.wrong) != 1 {
		t.Fatalf("made anew is %v, with %d records that are wrong", ok, len(made.wrong))
	}
	path := filepath.Join(t.TempDir(), "table")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := SpoilBlock(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := m.remade(t, b); ok {
		t.Error("made anew without the entries of a block")
	}
}

// The newest version counts, whatever is read first, and of no other key than was asked for.
func TestNewestVersion(t *testing.T) {
	t.Parallel()
	n := newest{}
	n.want([]byte("k"))
	for _, v := range []uint64{5, 9, 7} {
		n.see(y.KeyWithTs([]byte("k"), v), []byte{byte(v)})
		n.see(y.KeyWithTs([]byte("ka"), v), nil)
	}
	if got := n["k"]; got.version != 9 || string(got.value) != "\t" || len(n) != 1 {
		t.Errorf("the newest of %v is %v", n, got)
	}
}

// All of them, however many, or some of a few.
func TestAddUp(t *testing.T) {
	t.Parallel()
	few, many := []uint32{1, 2, 4, 8}, []uint32(nil)
	for n := range 20 {
		many = append(many, 1<<n)
	}
	for _, c := range []struct {
		diffs []uint32
		want  uint32
		ok    bool
	}{
		{nil, 0, true},
		{nil, 1, false},
		{few, 15, true},
		{few, 5, true},
		{few, 16, false},
		{many, 1<<20 - 1, true},
		{many, 1<<20 - 2, false},
	} {
		if got := addUp(c.diffs, c.want); got != c.ok {
			t.Errorf("of %d, %d: %v", len(c.diffs), c.want, got)
		}
	}
}

// wantBut wants a table to be what it was, but for the bodies of the records that are wrong.
func (m madeTable) wantBut(t *testing.T, made remade) {
	t.Helper()
	wrong := map[string]bool{}
	for _, i := range made.wrong {
		wrong[string(made.entries[i].key)] = true
	}
	path := filepath.Join(t.TempDir(), "table")
	if err := os.WriteFile(path, made.table(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := checkTable(path, new([]byte)); err != nil {
		t.Fatal(err)
	}
	opened, err := table.OpenInMemoryTable(made.table(), 1, &table.Options{})
	if err != nil {
		t.Fatal(err)
	}
	it := opened.NewIterator(table.NOCACHE)
	defer it.Close()
	n := 0
	for it.Rewind(); it.Valid(); it.Next() {
		v := it.Value()
		v.Version = 0
		if was, there := m.values[string(it.Key())]; !there || (fmt.Sprint(v) != was) != wrong[string(it.Key())] {
			t.Errorf("%q is %v, was %s, and is said to be wrong: %v", it.Key(), v, was, wrong[string(it.Key())])
		}
		n++
	}
	if n != len(m.values) || len(wrong) == 0 {
		t.Errorf("%d entries of %d, %d of them wrong", n, len(m.values), len(wrong))
	}
}
