package journal

import (
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/dgraph-io/badger/v4"

	"pannier/journal/wire"
)

// sums is the fingerprint of the live set: for each live class the number of
// index keys and the XOR of their hashes. It is kept incrementally, written
// with every batch, and compared with a scan at open: Badger can lose keys in
// a compaction, or bring deleted ones back, without saying so.
type sums map[byte]sum

type sum struct{ count, xor uint64 }

func newSums() sums {
	s := make(sums, len(liveClasses))
	for _, c := range liveClasses {
		s[c] = sum{}
	}
	return s
}

func (s sums) add(key []byte) {
	v := s[key[0]]
	s[key[0]] = sum{v.count + 1, v.xor ^ xxhash.Sum64(key)}
}

func (s sums) remove(key []byte) {
	v := s[key[0]]
	s[key[0]] = sum{v.count - 1, v.xor ^ xxhash.Sum64(key)}
}

// merge applies the changes of one operation, kept as a sums of its own whose
// counts wrap below zero.
func (s sums) merge(delta sums) {
	for c, d := range delta {
		v := s[c]
		s[c] = sum{v.count + d.count, v.xor ^ d.xor}
	}
}

func (s sums) encode() []*wire.ClassSum {
	out := make([]*wire.ClassSum, 0, len(liveClasses))
	for _, c := range liveClasses {
		out = append(out, &wire.ClassSum{Class: uint32(c), Count: s[c].count, Xor: s[c].xor})
	}
	return out
}

func decodeSums(in []*wire.ClassSum) sums {
	s := newSums()
	for _, c := range in {
		s[byte(c.Class)] = sum{c.Count, c.Xor}
	}
	return s
}

// differences names each class in which found differs from s.
func (s sums) differences(found sums) []string {
	var out []string
	for _, c := range liveClasses {
		if s[c] != found[c] {
			out = append(out, fmt.Sprintf("index %s: %d keys expected, %d found", classNames[c], s[c].count, found[c].count))
		}
	}
	return out
}

// scanSums reads the live set as it is on disk: key-only, in one snapshot.
func scanSums(txn *badger.Txn) sums {
	found := newSums()
	opts := badger.DefaultIteratorOptions
	opts.PrefetchValues = false
	it := txn.NewIterator(opts)
	defer it.Close()
	for _, c := range liveClasses {
		prefix := []byte{c}
		for it.Seek(prefix); it.ValidForPrefix(prefix); it.Next() {
			found.add(it.Item().Key())
		}
	}
	return found
}

var isLive = func() (live [256]bool) {
	for _, c := range liveClasses {
		live[c] = true
	}
	return
}()

func (s sums) addIfLive(key []byte) {
	if isLive[key[0]] {
		s.add(key)
	}
}

func (s sums) removeIfLive(key []byte) {
	if isLive[key[0]] {
		s.remove(key)
	}
}
