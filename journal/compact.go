package journal

import (
	"bytes"
	"context"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// What is deleted stays in the store until a compaction drops it, under a key that says so,
// and whoever looks for the head of an index passes over it. Badger compacts by size, and
// the key of 30 bytes says nothing of a body of 32 KiB under it: a level of 16 MiB had room
// for the keys of gigabytes, and filled up with them before any went to where the bodies
// are. So what covers much is made to weigh a share of that (weight), which bounds what is
// covered at each level by so many times its size.
//
// And what a burst has left behind stays for as long as it is quiet. So deletes are counted,
// and once they are many the store is compacted when nobody is busy with it.
//
// A compaction that cannot make a table loses its keys, and Badger does not say so (scrub):
// none is begun where space, inodes or files could run out before it ends.
const (
	compactLook  = 10 * time.Second
	compactAfter = 100_000 // deletes, and
	compactShare = 10      // at least one for so many keys of the store
	// compactQuiet is how many batches between two looks are no traffic: what is under way
	// is not to share the disk with it.
	compactQuiet = 20
	// compactMost is the largest store that is compacted so: it cannot be broken off, and a
	// stop waits for it. In a larger one Badger's own share is enough garbage to begin with.
	compactMost  = 512 << 20
	compactFiles = 64 // are to be left for others
)

const (
	hidesLittle = 1 << 10 // and has no weight: a key and its index entries weigh a part of that themselves
	hidesShare  = 16      // of what is covered
)

// filler is what a weight is made of. Nobody reads it, but it must not look like a part of a
// log that was never written: see hole.
var filler = bytes.Repeat([]byte{0xff}, chunkSize/hidesShare)

// weight is how many bytes a write takes for what it covers.
func (w write) weight() int {
	if w.hides < hidesLittle {
		return 0
	}
	return min(w.hides/hidesShare, len(filler))
}

// bury writes down that a key is deleted, with the weight of that. What a smaller record
// covers weighs at a key behind it, at which nothing ever is. Badger lets a deleted key have
// no value, but one whose time is over, and takes both for the same.
func (w write) bury(txn *badger.Txn) error {
	weight := w.weight()
	switch {
	case weight == 0 && w.del:
		return txn.Delete(w.key)
	case weight == 0:
		return nil
	}
	key := w.key
	if !w.del {
		key = append(bytes.Clone(key), 0)
	}
	return txn.SetEntry(&badger.Entry{Key: key, Value: filler[:weight], ExpiresAt: longOver})
}

const longOver = 1 // Unix seconds

// garbage is what is known of it. The committer counts, the loop compacts.
type garbage struct {
	after   int64 // deletes that are worth a compaction
	most    int64 // bytes of the largest store that is compacted
	deletes atomic.Int64
	refused string // why the last one was not made
}

// compactLoop looks whether the store is to be compacted, while it is quiet.
func (j *Journal) compactLoop(ctx context.Context) {
	tick := time.NewTicker(compactLook)
	defer tick.Stop()
	last := j.figures.seq.Load()
	for {
		select {
		case <-ctx.Done():
			return
		case <-j.stopped:
			return
		case <-tick.C:
		}
		now := j.figures.seq.Load()
		if now-last <= compactQuiet {
			j.compactIfWorth()
		}
		last = now
	}
}

// compactIfWorth drops what is deleted where that is much, and where there is room for it.
func (j *Journal) compactIfWorth() {
	g := &j.garbage
	deletes := g.deletes.Load()
	if deletes < g.after {
		return
	}
	keys, tables := int64(0), j.db.Tables()
	for _, t := range tables {
		keys += int64(t.KeyCount)
	}
	if deletes*compactShare < keys || j.Size() > g.most {
		return
	}
	why := j.noRoomToCompact(int64(len(tables)))
	if why == "" {
		// Killed in it, the store has its tables of before or those of after.
		if err := j.db.Flatten(1); err != nil {
			why = err.Error()
		}
	}
	if why != "" && why != g.refused { // once, not every ten seconds
		j.warn("the store has much to drop, and was not compacted: " + why)
	}
	if g.refused = why; why != "" {
		return
	}
	g.deletes.Add(-deletes)
	j.figures.compactions.Add(1)
}

// noRoomToCompact says what could run out where all tables are made anew before the first
// of them goes; empty: nothing.
func (j *Journal) noRoomToCompact(tables int64) string {
	free, total, ok := (*j.space.measure.Load())()
	l := j.space.limits(total)
	switch size := j.Size(); {
	case !ok:
		return "the system does not say how full the volume is"
	case free.bytes-size < l.enough.bytes:
		return "its volume is too full"
	case total.inodes > 0 && free.inodes-tables < l.enough.inodes:
		return "its volume has too few inodes left"
	}
	files, _, ok := j.files.count()
	switch {
	case !ok:
		return "the system does not say how many files are open"
	case int64(files)-tables < compactFiles:
		return "the process has too few files left to open"
	}
	return ""
}
