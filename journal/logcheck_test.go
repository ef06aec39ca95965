package journal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"

	"pannier/journal"
)

// transaction is one of a log, with entries of that many bytes and its end.
func transaction(version uint64, sizes ...int) (b []byte) {
	for _, size := range sizes {
		b = append(b, entryOf(1<<6, 0, binary.BigEndian.AppendUint64([]byte{'k'}, math.MaxUint64-version), size)...)
	}
	return append(b, journal.EndOfTransaction(version)...)
}

// entryOf is one of a log, with a value of that many bytes. What users of a store may mark it with
// we leave zero.
func entryOf(meta, user byte, key []byte, size int) []byte {
	e := binary.AppendUvarint([]byte{meta, user}, uint64(len(key)))
	e = binary.AppendUvarint(e, uint64(size))
	e = append(append(e, 0), key...)
	e = append(e, bytes.Repeat([]byte{'x'}, size)...)
	return binary.BigEndian.AppendUint32(e, crc32.Checksum(e, crc32.MakeTable(crc32.Castagnoli)))
}

// What a crash leaves of the last transaction is its own; what is wrong before that, or
// in one that is whole, is damage.
func TestLogCheck(t *testing.T) {
	t.Parallel()
	one, two := transaction(7, 100, 3000), transaction(8, 100, 3000)
	end := len(journal.EndOfTransaction(8))
	beyond := binary.AppendUvarint(nil, 1<<63)
	for _, c := range []struct {
		rule   string
		change func(b []byte) // of a log with both; one is at 20
		damage bool
	}{
		{"whole", func([]byte) {}, false},
		{"killed in an entry", func(b []byte) { clear(b[20+len(one)+500:]) }, false},
		{"killed between entries", func(b []byte) { clear(b[20+len(one)+118:]) }, false},
		{"killed in the end", func(b []byte) { clear(b[20+len(one)+len(two)-10:]) }, false},
		{"killed before the last byte", func(b []byte) { clear(b[20+len(one)+len(two)-1:]) }, false},
		{"killed at its first byte", func(b []byte) { clear(b[20+len(one)+1:]) }, false},
		{"a power cut: a sector of the last is missing", func(b []byte) { clear(b[4096 : 4096+512]) }, false},
		{"a power cut: a sector of the first is missing", func(b []byte) { clear(b[1024 : 1024+512]) }, true},
		{"a bit of the first", func(b []byte) { b[500] ^= 4 }, true},
		{"a bit of the end of the first", func(b []byte) { b[20+len(one)-end+8] ^= 4 }, true},
		{"a bit of the last", func(b []byte) { b[20+len(one)+500] ^= 4 }, true},
		{"a length in the last", func(b []byte) { b[20+len(one)+118+3] ^= 0x80 }, true},
		{"a bit of its end", func(b []byte) { b[20+len(one)+len(two)-end+9] ^= 4 }, true},
		{"a bit of the checksum of its end", func(b []byte) { b[20+len(one)+len(two)-2] ^= 4 }, true},
		{"a bit behind all", func(b []byte) { b[20+len(one)+len(two)+300] ^= 4 }, false},
		{"the bit of its end that says that it is one", func(b []byte) { b[20+len(one)+len(two)-end] ^= 0x80 }, true},
		{"a power cut: its end lacks what was in a sector with all before", func(b []byte) { clear(b[20+len(one)+len(two)-end:][:12]) }, false},
		{"no end of the first", func(b []byte) { copy(b[20+len(one)-end:], two); clear(b[20+len(one)-end+len(two):]) }, true},
		{"one that was synced is missing with its end, and a sector of the last", func(b []byte) {
			clear(b[20+len(one)+1000 : copy(b[20+len(one)+len(two):], transaction(9, 100, 3000))+20+len(one)+len(two)-600])
		}, true},
		{"a power cut: the first sector of the only one is missing", func(b []byte) { clear(b[20+len(one):]); clear(b[20:512]) }, false},
		{"a length of its key beyond all there is", func(b []byte) { copy(b[20+len(one)+2:], append(beyond, 0, 0)) }, true},
		{"a length of its value beyond all there is", func(b []byte) { copy(b[20+len(one)+3:], beyond) }, true},
		{"a bit of the key", func(b []byte) { b[7] ^= 1 }, true},
		{"a bit behind the key", func(b []byte) { b[8] ^= 1 }, false}, // what nothing rests on, without a key
		{"a length that is none", func(b []byte) { copy(b[20+len(one)+2:], append([]byte{1}, bytes.Repeat([]byte{0x80}, 11)...)) }, true},
		{"the key of an end where no entry has begun", func(b []byte) { copy(b[20+len(one)+len(two)+2:], "!badger!txn") }, false},
	} {
		log := make([]byte, 16<<10)
		copy(log[20:], append(bytes.Clone(one), two...))
		c.change(log)
		if err := journal.CheckLog(log); (err != nil) != c.damage {
			t.Errorf("%s: %v, want damage %t", c.rule, err, c.damage)
		}
	}
	if err := journal.CheckLog(nil); err != nil {
		t.Errorf("an empty log: %v", err)
	}
}

// A log is read up to the last byte that was written, whatever holes come before that.
func TestLogIsReadToItsLastByte(t *testing.T) {
	t.Parallel()
	const size = 16 << 20
	for name, written := range map[string][]int64{
		"nothing":          {},
		"its begin":        {0},
		"after a hole":     {8 << 20},
		"between holes":    {0, 1 << 20, 9 << 20},
		"to the last byte": {0, size - 1},
	} {
		path := filepath.Join(t.TempDir(), "00001.mem")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range written {
			if _, err := f.WriteAt([]byte{1}, at); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
			t.Fatal(err)
		}
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := journal.ReadLog(path)
		if err != nil || !bytes.Equal(bytes.TrimRight(got, "\x00"), bytes.TrimRight(whole, "\x00")) {
			t.Errorf("%s: %d bytes were read, %v; they are not what was written", name, len(got), err)
		}
	}
	if _, err := journal.ReadLog(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a log that is not there: %v", err)
	}
}
