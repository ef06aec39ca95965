package journal_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"testing"

	"pannier/journal"
)

// transaction is one of a log, with entries of that many bytes and its end.
func transaction(version uint64, sizes ...int) (b []byte) {
	for _, size := range sizes {
		e := []byte{1 << 6, 0, 9}
		e = binary.AppendUvarint(e, uint64(size))
		e = append(e, 0, 'k')
		e = binary.BigEndian.AppendUint64(e, math.MaxUint64-version)
		e = append(e, bytes.Repeat([]byte{'x'}, size)...)
		b = append(b, binary.BigEndian.AppendUint32(e, crc32.Checksum(e, crc32.MakeTable(crc32.Castagnoli)))...)
	}
	return append(b, journal.EndOfTransaction(version)...)
}

// What a crash leaves of the last transaction is its own; what is wrong before that, or
// in one that is whole, is damage.
func TestLogCheck(t *testing.T) {
	t.Parallel()
	one, two := transaction(7, 100, 3000), transaction(8, 100, 3000)
	end := len(journal.EndOfTransaction(8))
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
