package journal

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
)

// The blocks of a table are found without its index, and in one of them that is damaged
// nothing is believed but what has a checksum of its own.
func TestTableWithoutItsIndex(t *testing.T) {
	t.Parallel()
	m := makeTable(t)
	const first, second = "a5 b6 c7 d9 d7 e20", "f8 g8 h8"
	value := func(entry int) int { return m.offsets[entry] + 4 + int(m.file[m.offsets[entry]+2]) }
	for _, c := range []struct {
		damage string
		plant  func(b []byte) []byte
		kept   string
	}{
		{"a bit of the index", func(b []byte) []byte { b[m.blocks+8] ^= 1; return b }, first + " " + second},
		{"the length of the index", func(b []byte) []byte { b[len(b)-9] ^= 0x40; return b }, first + " " + second},
		{"the length of its checksum", func(b []byte) []byte { b[len(b)-1] ^= 0x40; return b }, first + " " + second},
		{"all of it", func(b []byte) []byte { clear(b[m.blocks:]); return b }, first + " " + second},
		{"the file ends in it", func(b []byte) []byte { return b[:m.blocks+8] }, first + " " + second},
		{"the file ends before it", func(b []byte) []byte { return b[:m.blocks] }, first + " " + second},
		{"the file ends in a block", func(b []byte) []byte { return b[:m.blocks-20] }, first},
		{"and a record", func(b []byte) []byte { b[value(entryD9)+20] ^= 1; return b[:m.blocks] }, "a5 d7 " + second},
		{"and a key alone", func(b []byte) []byte { b[m.offsets[entryB]+4] ^= 1; return b[:m.blocks] }, "a5 d7 " + second}, // d9 is newer than all that is whole
		{"and a version that is yet to come", func(b []byte) []byte { b[m.offsets[entryD7]+5] = 0; return b[:m.blocks] }, "a5 " + second},
		{"and a first key", func(b []byte) []byte { b[4] ^= 1; return b[:m.blocks] }, second},
		{"and how much a first key has of another", func(b []byte) []byte { b[0] = 1; return b[:m.blocks] }, second},
		{"and the checksum of a block", func(b []byte) []byte { b[m.size-6] ^= 1; return b[:m.blocks] }, "a5 d7 " + second},
		{"and the end of a block", func(b []byte) []byte { clear(b[m.size-60 : m.size]); return b[:m.blocks] }, second},
		{"and the begin of a block", func(b []byte) []byte { clear(b[:100]); return b[:m.blocks] }, second},
		{"and a key of the last block", func(b []byte) []byte { b[m.size+100] ^= 1; return b[:m.blocks] }, first + " g8"},
	} {
		t.Run(c.damage, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			from, to := filepath.Join(dir, "table"), filepath.Join(dir, "anew")
			if err := os.WriteFile(from, c.plant(bytes.Clone(m.file)), 0o600); err != nil {
				t.Fatal(err)
			}
			made, err := mendTable(from, to)
			if err != nil {
				t.Fatal(err)
			}
			if kept := m.kept(t, to); kept != c.kept || !made.unindexed || made.keys != len(strings.Fields(kept)) {
				t.Errorf("%q is kept, and it is %v; want %q", kept, made, c.kept)
			}
		})
	}
}

// Between blocks that are damaged each has its own end, and of one that is whole all is taken,
// whatever somebody has sent: also what looks like a block.
func TestCutBlocks(t *testing.T) {
	t.Parallel()
	block := func(name string, body []byte) []byte {
		b := table.NewTableBuilder(tableOptions)
		defer b.Close()
		b.Add(y.KeyWithTs([]byte(name), 1), y.ValueStruct{Value: body}, 0)
		b.Add(y.KeyWithTs([]byte(name+name), 1), y.ValueStruct{Value: body}, 0)
		file := b.Finish()
		ends := blockEnds(file)
		end := wholeBlock(file, 0, ends)
		if end == 0 {
			t.Fatal("a block is not found")
		}
		return file[:end:end]
	}
	damaged := func(raw []byte) []byte {
		raw = bytes.Clone(raw)
		raw[40] ^= 1
		return raw
	}
	body := bytes.Repeat([]byte("x"), 100)
	a, b, c := block("a", body), block("b", body), block("c", body)
	forged := block("d", joined(body, a, body))
	rest := bytes.Repeat([]byte{0xff}, 50)
	for _, c := range []struct {
		is     string
		blocks [][]byte
	}{
		{"whole", [][]byte{a, b, c}},
		{"the first is damaged", [][]byte{damaged(a), b, c}},
		{"one is damaged", [][]byte{a, damaged(b), c}},
		{"two are damaged", [][]byte{damaged(a), damaged(b), c}},
		{"the last are damaged", [][]byte{a, damaged(b), damaged(c), rest}},
		{"all are damaged", [][]byte{damaged(a), damaged(b), damaged(c)}},
		{"the end of one is damaged", [][]byte{append(a[:len(a)-4:len(a)-4], 0xff, 0xff, 0xff, 0xff), b, c}},
		{"one has another in it", [][]byte{a, forged, b}},
		{"what is behind them is none", [][]byte{a, rest}},
	} {
		if got := cutBlocks(joined(c.blocks...)); !slices.EqualFunc(got, c.blocks, bytes.Equal) {
			t.Errorf("%s: %d blocks were found, of %d, or others", c.is, len(got), len(c.blocks))
		}
	}
}

func joined(all ...[]byte) []byte { return bytes.Join(all, nil) }

// refusing is a table of which a disk does not read one byte.
type refusing struct {
	*bytes.Reader
	at int64
}

func (r refusing) ReadAt(p []byte, off int64) (int, error) {
	if off <= r.at && r.at < off+int64(len(p)) {
		return 0, io.ErrUnexpectedEOF
	}
	return r.Reader.ReadAt(p, off)
}

// What the disk refuses costs its block, not the table.
func TestTableWithoutItsIndexThatTheDiskRefuses(t *testing.T) {
	t.Parallel()
	m := makeTable(t)
	at := int64(m.offsets[entryB]) / sector * sector
	all := entriesWithoutIndex(refusing{bytes.NewReader(m.file[:m.blocks]), at - 1}, int64(m.blocks))
	var kept []string
	for i, e := range all.entries {
		if all.holds(i) {
			kept = append(kept, string(y.ParseKey(e.key)[1:2]))
		}
	}
	if got := strings.Join(kept, ""); got != "fgh" {
		t.Errorf("%q is read of it, want fgh", got)
	}
}

// A version is believed where two have it that are sure.
func TestNewestShared(t *testing.T) {
	t.Parallel()
	entry := func(version uint64, sure bool) tableEntry {
		return tableEntry{key: y.KeyWithTs([]byte("k"), version), sure: sure}
	}
	all := []tableEntry{entry(3, true), entry(9, true), entry(5, true), entry(5, true), entry(3, true), entry(7, false), entry(7, false), entry(6, true), entry(6, false), entry(8, false), entry(8, true)}
	if got := newestShared(all); got != 5 {
		t.Errorf("the newest version is %d, want 5", got)
	}
}
