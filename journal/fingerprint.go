package journal

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"pannier/journal/wire"
)

// sums is the fingerprint of the live set: for each live class the number of
// index keys and the XOR of their hashes. It is kept incrementally, written
// with every batch, and compared with a scan at open: Badger can lose keys in
// a compaction, or bring deleted ones back, without saying so.
// By position in liveClasses.
type sums [len(liveClasses)]sum

type sum struct{ count, xor uint64 }

// livePlace is the position of a class in liveClasses, and one; 0: it is not live.
var livePlace = func() (place [256]uint8) {
	for i, c := range liveClasses {
		place[c] = uint8(i) + 1
	}
	return
}()

// addIfLive counts a key that has come, where its class is live.
func (s *sums) addIfLive(key []byte) {
	if p := livePlace[key[0]]; p > 0 {
		s[p-1].count++
		s[p-1].xor ^= xxhash.Sum64(key)
	}
}

func (s *sums) removeIfLive(key []byte) {
	if p := livePlace[key[0]]; p > 0 {
		s[p-1].count--
		s[p-1].xor ^= xxhash.Sum64(key)
	}
}

// merge applies the changes of one operation, kept as a sums of its own whose
// counts wrap below zero.
func (s *sums) merge(delta *sums) {
	for i, d := range delta {
		s[i].count += d.count
		s[i].xor ^= d.xor
	}
}

// hash is all of it in one word. What a class of a later program adds is nothing while it has
// no keys.
func (s *sums) hash() string {
	var b []byte
	for i, c := range liveClasses {
		if s[i] != (sum{}) {
			b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(append(b, c), s[i].count), s[i].xor)
		}
	}
	return fmt.Sprintf("%016x", xxhash.Sum64(b))
}

func (s *sums) encode() []*wire.ClassSum {
	out := make([]*wire.ClassSum, len(liveClasses))
	for i, c := range liveClasses {
		out[i] = &wire.ClassSum{Class: uint32(c), Count: s[i].count, Xor: s[i].xor}
	}
	return out
}

func decodeSums(in []*wire.ClassSum) *sums {
	s := &sums{}
	for _, c := range in {
		if p := livePlace[byte(c.Class)]; p > 0 {
			s[p-1] = sum{c.Count, c.Xor}
		}
	}
	return s
}

// differences names each class in which found differs from s.
func (s *sums) differences(found *sums) []string {
	var out []string
	for i, c := range liveClasses {
		if s[i] != found[i] {
			out = append(out, fmt.Sprintf("index %s: %d keys expected, %d found", classNames[c], s[i].count, found[i].count))
		}
	}
	return out
}
