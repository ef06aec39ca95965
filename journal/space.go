package journal

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"
)

// The store maps its files, which are sparse: on a full disk a write to one is a SIGBUS,
// which nobody can catch, and so is the next start. So the journal stops before the wall.
// Low: nothing new is taken, while what is under way is finished. Out: the ballast is used,
// and where there is none it stops as after a failed commit, with all it has acknowledged in
// its files.
const (
	spaceEvery = 250 * time.Millisecond
	// storeAhead is what the store may yet write to files it has made: logs and tables of
	// four memtables.
	storeAhead = 32 << 20

	// tablesBeside is what tables take beside what is in the logs they are made of: indexes,
	// and what MANIFEST grows by.
	tablesBeside = 512 << 10

	mib = 1 << 20

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

// Space is how far the journal keeps away from a full disk. Zero fields have the defaults,
// which scale with the volume: a small one must not be low from the start, nor a large one
// stop with gigabytes free.
type Space struct {
	SpaceLowBytes int // where less is free nothing new is taken; 0: a tenth of the volume (a small one: up to a quarter), at most 1 GiB
	BallastBytes  int // kept in reserve for when all is full; 0: a tenth of the volume, at most 64 MiB, and none in memory; below zero: none
}

func (s Space) limits(total room) (l limits) {
	l.out.bytes = min(storeAhead, total.bytes/20)
	l.low.bytes = max(total.bytes/10, min(256<<20, total.bytes/4))
	l.low.bytes = min(l.low.bytes, 1<<30) // a tenth of a large one is much to leave unused
	if s.SpaceLowBytes > 0 {
		l.low.bytes = int64(s.SpaceLowBytes)
	}
	l.enough.bytes = l.low.bytes + l.low.bytes/8
	l.low.inodes = min(inodesLow, total.inodes/4)
	l.out.inodes = min(inodesOut, total.inodes/20)
	l.enough.inodes = l.low.inodes + l.low.inodes/8
	return l
}

// ballast is how large it is to be: by default twice what the journal stops at, so that one
// that has used it can open, and go on for a while.
func (s Space) ballast(total room) int64 {
	if s.BallastBytes != 0 {
		return int64(s.BallastBytes)
	}
	return min(ballastMost, total.bytes/10)
}

// on are the limits of a journal in a directory, as far as its volume has room for them.
func (s Space) on(dir string, total room) (Space, error) {
	if least, most := 2*s.limits(total).out.bytes, total.bytes/2; s.SpaceLowBytes != 0 && (int64(s.SpaceLowBytes) < least || int64(s.SpaceLowBytes) > most) {
		return s, fmt.Errorf("space_low_bytes: %d; on the volume of %s, of %d bytes, use %d to %d, or 0 for what suits it", s.SpaceLowBytes, dir, total.bytes, least, most)
	}
	if most := total.bytes / 4; int64(s.BallastBytes) > most {
		return s, fmt.Errorf("ballast_bytes: %d; on the volume of %s, of %d bytes, use at most %d, 0 for what suits it, or -1 for none", s.BallastBytes, dir, total.bytes, most)
	}
	var fs unix.Statfs_t
	if s.BallastBytes == 0 && unix.Statfs(dir, &fs) == nil && (fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC) {
		s.BallastBytes = -1 // it would be memory, of which a sidecar has little
	}
	return s, nil
}

func (r room) below(least room) bool { return r.bytes < least.bytes || r.inodes < least.inodes }

// space is what the guard knows. It measures with measure, and is read by anybody.
type space struct {
	measure atomic.Pointer[func() (free, total room, ok bool)]
	asked   Space
	ballast ballast
	growth  growth
	told    func(Volume) // nil: nobody is
	warn    func(string)

	low    atomic.Bool
	free   atomic.Int64
	inodes atomic.Int64
	enough atomic.Pointer[room] // nil before the first look

	unknown atomic.Bool
}

// Volume is how much room there is for the journal, as just now.
type Volume struct {
	Free      int64 // bytes that may still be written; 0 too where the system has never said
	Inodes    int64 // files that may still be made
	Unknown   bool  // the system does not say just now: both are what it said last
	Low       bool  // so little room is left that nothing new is taken
	Ballast   int64 // bytes kept in reserve
	NoBallast bool  // it was used, or there has been no room to keep any

	EnoughFree, EnoughInodes int64 // with which new intents are taken again
}

func (s *space) volume() Volume {
	v := Volume{
		Free: s.free.Load(), Inodes: s.inodes.Load(), Unknown: s.unknown.Load(), Low: s.low.Load(),
		Ballast: s.ballast.bytes.Load(), NoBallast: s.ballast.missing.Load(),
	}
	if enough := s.enough.Load(); enough != nil {
		v.EnoughFree, v.EnoughInodes = enough.bytes, enough.inodes
	}
	return v
}

// changed tells that the volume is low, or no longer, that its ballast has come or gone, or that
// how much room it has is not known, or known again.
func (s *space) changed() {
	if s.told != nil {
		s.told(s.volume())
	}
}

// open begins to guard a volume whose journal nobody else has. It is an error where there
// is too little room to open.
func (s *space) open(dir string, asked Space) (err error) {
	_, total, ok := (*s.measure.Load())()
	if ok {
		if s.asked, err = asked.on(dir, total); err != nil {
			return err
		}
	}
	if err := s.ballast.find(s.asked.ballast(total)); err != nil {
		return err
	}
	if !s.look() { // what was in memory is written first of all: that would be a SIGBUS
		return s.full()
	}
	return nil
}

func (s *space) full() error { return fmt.Errorf("%w: %s", errVolumeFull, s.left()) }

// opened begins to guard what an open store does by itself: a second later it may compact. It is
// an error where there is no room for that.
func (s *space) opened(db *badger.DB) error {
	s.growth.db.Store(db)
	s.growth.look()
	if !s.look() {
		return s.full()
	}
	return nil
}

// noRoom is so full that the store's next write might be one too many.
func (s *space) noRoom() error {
	return fmt.Errorf("no room left on the volume of %s: %s; the journal stops before a write fails: make room, then start again", filepath.Dir(s.ballast.path), s.left())
}

// left says how much of what is short there is.
func (s *space) left() string {
	free, least, _ := s.measured()
	if free.inodes < least.out.inodes {
		return fmt.Sprintf("%d more files (inodes) can be made on it, with fewer than %d the store might lose one, however many bytes are free", free.inodes, least.out.inodes)
	}
	return fmt.Sprintf("%s are left, and %s are needed", mebibytes(free.bytes), mebibytes(least.out.bytes+mib-1))
}

// mebibytes is so much room in words.
func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", n/mib) }

// forRecovery has as much room as there can be for what a crash has left in the logs of a
// store. It is an error where that is too little.
func (s *space) forRecovery(store string) error {
	if s.low.Load() {
		s.useBallast()
	}
	return s.holds(store)
}

// forAnew has as much room as there can be for files of a store that are made anew: a table that is
// damaged, and then all of them, where MANIFEST is.
func (s *space) forAnew(store string) {
	if free, _, ok := (*s.measure.Load())(); ok && free.bytes < 2*taken(store, "*") {
		s.useBallast()
	}
}

// holds reports whether there is room for the tables that the logs of a store are made into:
// Badger makes them when it opens what a crash has left, and when it closes, and dies of a
// volume that is full before they are whole.
func (s *space) holds(store string) error {
	least := tablesOfLogs(store)
	free, _, ok := (*s.measure.Load())()
	if !ok {
		return nil
	}
	if free.bytes < least && s.useBallast() {
		free, _, _ = (*s.measure.Load())()
	}
	if free.bytes < least {
		return fmt.Errorf("%w: tables are to be made of its logs, in which all is that was acknowledged; %s are left, and they take %s", errVolumeFull, mebibytes(free.bytes), mebibytes(least+mib-1))
	}
	return nil
}

// giveUp closes a store that a start cannot go on with. Where there is no room for the tables that
// its logs are made into, it is left as a kill would leave it: Badger would try for ever to make them.
func (j *Journal) giveUp(why error) {
	if !saysOne(why, noRoomLeft) && j.space.holds(j.store) == nil {
		j.db.Close()
	}
}

// useBallast reports whether there was any. Where it could not be given back that is said,
// and how much is free tells the rest.
func (s *space) useBallast() bool {
	used, err := s.ballast.use()
	if err != nil {
		s.warn(err.Error())
	}
	if used {
		s.changed()
	}
	return used
}

// statfs measures the volume of a directory; ok is false where the system does not say.
func statfs(dir string) (free, total room, ok bool) {
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) != nil || fs.Blocks == 0 {
		return room{}, room{}, false
	}
	return room{int64(fs.Bavail) * fs.Bsize, int64(fs.Ffree)}, room{int64(fs.Blocks) * fs.Bsize, int64(fs.Files)}, true
}

// limits are those of the volume as asked for, or what the store is about to write where that is more.
func (s *space) limits(total room) limits {
	l := s.asked.limits(total)
	l.out.bytes = max(l.out.bytes, s.growth.now.Load())
	if soon := max(l.out.bytes, s.growth.soon.Load()); soon > l.low.bytes {
		l.low.bytes, l.enough.bytes = soon, soon+soon/8
	}
	return l
}

// measured is what is free now; ok is false where the system does not say.
func (s *space) measured() (free room, l limits, ok bool) {
	free, total, ok := (*s.measure.Load())()
	return free, s.limits(total), ok
}

// look measures, and returns false where there is so little room that the journal must
// stop. Once low it is so until there is clearly more: it must not flap with each batch.
func (s *space) look() bool {
	given := s.ballast.given.Load()
	free, l, ok := s.measured()
	for n := 0; ok && free.bytes < l.out.bytes && n < growthTries; n++ {
		s.growth.lookClosely()
		free, l, ok = s.measured()
	}
	if s.unknown.CompareAndSwap(ok, !ok) {
		s.changed()
	}
	if !ok { // a guard that is blind goes on with what it saw last, and says that it is
		return true
	}
	s.free.Store(free.bytes)
	s.inodes.Store(free.inodes)
	s.enough.Store(&l.enough)
	switch {
	case free.below(l.low):
		if s.low.CompareAndSwap(false, true) {
			s.changed()
		}
	case !free.below(l.enough):
		if s.low.CompareAndSwap(true, false) {
			s.changed()
		}
	}
	if free.bytes < l.out.bytes && (s.useBallast() || s.ballast.given.Load() != given) {
		return s.look() // it has been given back, perhaps by another, since that was measured
	}
	return !free.below(l.out)
}

// spaceLoop looks while nothing is committed, too: others fill disks, and take files.
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
		if err := j.askVolume(); err != nil {
			j.fail(err)
			return
		}
		j.space.growth.look()
		if !j.space.look() {
			j.fail(j.space.noRoom())
			return
		}
		j.space.keepBallast(time.Now())
		j.files.look()
	}
}

// hasRoom refuses what is new where the disk is low.
func (t *tx) hasRoom() error {
	if t.j.space.low.Load() {
		return ErrFull
	}
	return nil
}
