package journal

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// The store maps its files, which are sparse: on a full disk a write to one is a SIGBUS,
// which nobody can catch, and so is the next start. So the journal stops before the wall.
// Low: nothing new is taken, while what is under way is finished. Out: it stops as after a
// failed commit, with all it has acknowledged in its files.
const (
	spaceEvery = 250 * time.Millisecond
	// storeAhead is what the store may yet write to files it has made: logs and tables of
	// four memtables.
	storeAhead = 32 << 20

	inodesLow = 1000
	inodesOut = 64 // a memtable that rotates, and a compaction, make a few files each
)

// room is what may still be written to the volume.
type room struct {
	bytes, inodes int64
}

// limits of a volume. Those of one that makes inodes as it needs them are zero.
type limits struct {
	low, out, enough room // enough: above it new intents are taken again
}

// limitsOf scales with the volume: a small one must not be low from the start, nor a large
// one stop with gigabytes free.
func limitsOf(total room) (l limits) {
	l.low.bytes = max(total.bytes/10, min(256<<20, total.bytes/4))
	l.low.bytes = min(l.low.bytes, 1<<30) // a tenth of a large one is much to leave unused
	l.out.bytes = min(storeAhead, total.bytes/20)
	l.enough.bytes = l.low.bytes + l.low.bytes/8
	if total.inodes > 0 {
		l.low.inodes = min(inodesLow, total.inodes/4)
		l.out.inodes = min(inodesOut, total.inodes/20)
		l.enough.inodes = l.low.inodes + l.low.inodes/8
	}
	return l
}

func (r room) below(least room) bool { return r.bytes < least.bytes || r.inodes < least.inodes }

// space is what the guard knows. It measures with measure, and is read by anybody.
type space struct {
	measure atomic.Pointer[func() (free, total room, ok bool)]
	low     atomic.Bool
	free    atomic.Int64
	inodes  atomic.Int64
}

// statfs measures the volume of a directory; ok is false where the system does not say.
func statfs(dir string) (free, total room, ok bool) {
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) != nil || fs.Blocks == 0 {
		return room{}, room{}, false
	}
	return room{int64(fs.Bavail) * fs.Bsize, int64(fs.Ffree)}, room{int64(fs.Blocks) * fs.Bsize, int64(fs.Files)}, true
}

// look measures, and returns false where there is so little room that the journal must
// stop. Once low it is so until there is clearly more: it must not flap with each batch.
func (s *space) look() bool {
	free, total, ok := (*s.measure.Load())()
	if !ok {
		return true
	}
	l := limitsOf(total)
	s.free.Store(free.bytes)
	s.inodes.Store(free.inodes)
	switch {
	case free.below(l.low):
		s.low.Store(true)
	case !free.below(l.enough):
		s.low.Store(false)
	}
	return !free.below(l.out)
}

// spaceLoop looks while nothing is committed, too: others fill disks.
func (j *Journal) spaceLoop(ctx context.Context) {
	tick := time.NewTicker(spaceEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-j.stopped:
			return
		case <-tick.C:
		}
		if !j.space.look() {
			j.fail(errNoRoom)
			return
		}
	}
}

// hasRoom refuses what is new where the disk is low.
func (t *tx) hasRoom() error {
	if t.j.space.low.Load() {
		return ErrFull
	}
	return nil
}
