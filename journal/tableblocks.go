package journal

import (
	"encoding/binary"
	"io"
	"slices"

	"github.com/dgraph-io/badger/v4/y"
)

// A table that has lost its index, or the end of which is gone, still has its blocks, one
// after the other. Each begins with a key that is there whole, and ends with
//
//	offsets of its entries  u32 each, little endian, the first of them 0
//	how many there are      u32, big endian
//	checksum                some bytes, of all before
//	the length of that      u32, big endian
//
// A block is where its checksum says that it is. What is between two such is damaged, and
// without the index nothing vouches for its first key: of it only records are believed, which
// have a checksum of their own.

const (
	sumMost = 24      // bytes of a checksum: one has about six
	sector  = 4 << 10 // bytes that a disk refuses to read at the least
)

// entriesWithoutIndex reads those of a table of so many bytes.
func entriesWithoutIndex(f io.ReaderAt, size int64) tableEntries {
	b := make([]byte, size)
	for at := 0; at < len(b); at += sector {
		_, _ = f.ReadAt(b[at:min(at+sector, len(b))], int64(at)) // what the disk refuses stays zero, and its block is damaged
	}
	all := tableEntries{unindexed: true}
	for _, raw := range cutBlocks(b) {
		all.add(raw, firstKey(raw))
	}
	all.newest = max(all.newest, newestShared(all.entries))
	return all
}

// cutBlocks cuts a table into its blocks, and what is between them.
func cutBlocks(b []byte) (blocks [][]byte) {
	ends := blockEnds(b)
	from := 0
	cut := func(end int) {
		blocks, from = append(blocks, b[from:end]), end
		ends = slices.DeleteFunc(ends, func(e int) bool { return e <= end })
	}
	for from < len(b) {
		if end := wholeBlock(b, from, ends); end > 0 {
			cut(end)
			continue
		}
		for next := nextWhole(b, from, ends); from < next; { // those that are damaged
			if len(ends) > 0 {
				cut(min(ends[0], next))
			} else {
				cut(next)
			}
		}
	}
	return blocks
}

// blockEnds are where something is that a block may end with.
func blockEnds(b []byte) (ends []int) {
	for end := 4; end <= len(b); end++ {
		if n := binary.BigEndian.Uint32(b[end-4:]); n == 0 || n > sumMost {
			continue
		}
		block, _, err := cutSum(b[:end])
		if err != nil {
			continue
		}
		if offsets, _ := entryOffsets(block); len(offsets) > 0 && offsets[0] == 0 {
			ends = append(ends, end)
		}
	}
	return ends
}

// wholeBlock returns where a block ends that begins there and is whole; 0: none does.
func wholeBlock(b []byte, from int, ends []int) int {
	for _, end := range ends {
		if isWhole(b[from:end]) {
			return end
		}
	}
	return 0
}

func isWhole(raw []byte) bool {
	block, sum, err := cutSum(raw)
	return err == nil && matches(block, sum)
}

// nextWhole returns where the next block begins that is whole; all of b: none does. It looks
// everywhere between an end and the next: the end of the block before may be damaged.
func nextWhole(b []byte, from int, ends []int) int {
	at := from + 1
	for _, end := range ends {
		block, _, _ := cutSum(b[:end]) // that it can be is what made it an end
		offsets, stop := entryOffsets(block)
		for ; at < stop; at++ {
			if haveKeys(b[at:stop], offsets) && isWhole(b[at:end]) { // the one is cheap, and hardly ever so where the other is not
				return at
			}
		}
		at = end
	}
	return len(b)
}

// haveKeys reports whether there are keys where entries are to begin.
func haveKeys(entries []byte, offsets []int) bool {
	first := 0 // bytes of the first key
	for i, from := range offsets {
		to := len(entries)
		if i+1 < len(offsets) {
			to = min(to, offsets[i+1])
		}
		if from+entryHead > to {
			return false
		}
		same, here := int(binary.LittleEndian.Uint16(entries[from:])), int(binary.LittleEndian.Uint16(entries[from+2:]))
		if same > first || from+entryHead+here > to {
			return false
		}
		if i == 0 {
			first = here
		}
	}
	return true
}

// newestShared is the newest version that two entries have which are sure of their keys: of
// damaged blocks nothing vouches for a version, and one that is wrong stands alone.
func newestShared(entries []tableEntry) (newest uint64) {
	seen := map[uint64]bool{}
	for _, e := range entries {
		if v := y.ParseTs(e.key); e.sure && seen[v] {
			newest = max(newest, v)
		} else if e.sure {
			seen[v] = true
		}
	}
	return newest
}

// firstKey is the one that a block begins with, on which the others are built; nil: it begins
// with none.
func firstKey(raw []byte) []byte {
	e, _ := readTableEntry(raw, nil)
	return e.key
}
