package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"pannier/journal/wire"
)

// A schema grows when an older program would do harm to what this one writes. 2: the
// fingerprint covers the dead letters. 3: reports count from a base.
const (
	schemaPlain   = 2 // each journal has at least this one
	schemaBased   = 3 // from the first base on, see needs
	schemaVersion = schemaBased
)

// Open opens the journal in o.Dir, making it where there is none, and starts
// its committer; Close ends what Open started.
//
// After an unclean stop it opens twice: first without compactions, to verify
// checksums and fingerprint before anything can make a damage permanent, then
// for use. The close in between moves what was recovered from the page cache
// into tables that have been synced. A *DamageError means that the journal was
// left as it is, a *SystemError that it may be whole.
func Open(o Options) (*Journal, error) {
	if o.Dir == "" {
		return nil, errors.New("journal: no directory given")
	}
	if err := partOfAnother(o.Dir); err != nil {
		return nil, err
	}
	if err := makeDir(o.Dir); err != nil {
		return nil, startError(o.Dir, err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, startError(o.Dir, err)
	}
	j := newJournal(o)
	j.lock, j.owner = lock, newOwner()
	if err := j.take(o); err != nil {
		lock.Close()
		return nil, j.lackedRoom(startError(o.Dir, err))
	}
	if err := j.openLocked(o); err != nil {
		lock.Close()
		return nil, errors.Join(j.lackedRoom(startError(o.Dir, err)), j.owner.release(o.Dir))
	}
	j.start()
	return j, nil
}

// take begins to guard the volume, before anything is written, and has the directory for this
// process, whoever else can mount it.
func (j *Journal) take(o Options) error {
	if err := j.space.open(o.Dir, o.Space); err != nil {
		return err
	}
	return j.owner.take(o.Dir)
}

func (j *Journal) openLocked(o Options) error {
	last, err := j.startMark()
	if err != nil {
		return err
	}
	if err := cutShort(o.Dir); err != nil && !j.loss.asked {
		return err
	}
	if err := j.takeOver(); err != nil {
		return err
	}
	j.clock.start(last, o.AcceptClock)
	if err := storeIsFree(j.store); err != nil {
		return err
	}
	// What a start that was cut short has left takes up room.
	if err := errors.Join(sweepTorn(j.store), sweepAnew(j.store)); err != nil {
		return err
	}
	bad, ends := checkFiles(j.store)
	if len(bad) > 0 {
		if err := j.openWithout(bad); err != nil {
			return err
		}
	}
	fresh, err := isFresh(j.store)
	if err != nil {
		return err
	}
	if fresh && last != nil {
		return &DamageError{
			What: fmt.Sprintf("the journal in %s has a high-water mark of %d batches but its store is gone", o.Dir, last.Seq),
			Hint: "bring the store directory back, or move the whole directory away to start an empty journal",
		}
	}
	if err := j.files.mayOpen(j.store); err != nil {
		return err
	}
	j.unclean = last != nil && !last.Clean || last == nil && !fresh || len(bad) > 0
	if j.unclean {
		if err := j.space.forRecovery(j.store); err != nil {
			return fmt.Errorf("it was not stopped, and %w", err)
		}
		aheadOfOpen(j.store, ends)
		if err := j.verifyStore(); err != nil {
			return err
		}
		if err := sweepTorn(j.store); err != nil { // a log whose removal failed has no size
			return err
		}
	}
	aheadOfOpen(j.store, ends)
	if err := j.open(fresh, o); err != nil {
		return err
	}
	if err := j.load(last); err != nil {
		j.giveUp(err)
		return err
	}
	return nil
}

func newJournal(o Options) *Journal {
	j := &Journal{
		dir: o.Dir, store: storeDir(o.Dir), durable: !o.Ephemeral, hooks: o.Hooks, backoff: o.Backoff, trace: o.Trace, elsewhere: o.Elsewhere, tell: o.Tell,
		queues: newQueues(), closing: make(chan struct{}), stopped: make(chan struct{}), committed: make(chan struct{}),
		reportNo: map[ID]uint64{}, faults: map[ID]int{}, suspects: make(chan blame, suspectsMost), names: newNames(), accounts: newAccounts(), schemas: newSchemas(), subscriptions: newSubscriptions(), schedules: newSchedules(), noSchedules: o.NoSchedules, indexes: newIndexes(), walks: newWalks(), pageRead: o.pageRead, watches: newWatches(), ledger: newLedger(), history: newHistory(o),
		loss: loss{asked: o.AcceptLoss, forgotten: map[ID]string{}, unfit: map[ID]string{}}, commitTxn: (*badger.Txn).Commit, expiryWake: make(chan struct{}, 1), clock: newClock(o),
	}
	j.wal.dir, j.wal.again, j.syncWAL = j.store, j.files.again, j.wal.sync
	measure := func() (free, total room, ok bool) { return statfs(o.Dir) }
	j.space.measure.Store(&measure)
	files := countFiles
	j.files.measure.Store(&files)
	j.files.dir, j.files.told = o.Dir, o.Hooks.Files
	j.space.growth.store = j.store
	j.space.ballast.path, j.space.told, j.space.warn = filepath.Join(o.Dir, ballastName), o.Hooks.Space, j.warn
	if o.commitTxn != nil {
		j.commitTxn = o.commitTxn
	}
	if j.backoff == nil {
		j.backoff = func(int) time.Duration { return time.Second }
	}
	j.garbage.after, j.garbage.most = compactAfter, compactMost
	j.workTimeout, j.workMax = cmp.Or(o.WorkTimeout, time.Hour), cmp.Or(o.WorkMax, 24*time.Hour)
	j.scrubEvery = cmp.Or(o.ScrubEvery, DefaultScrub)
	j.deliverBy, j.deadline = cmp.Or(o.DeliverBy, DefaultDeliverBy), cmp.Or(o.Deadline, DefaultDeadline)
	return j
}

func (j *Journal) start() {
	ctx, cancel := context.WithCancel(context.Background())
	j.cancel = cancel
	j.space.look()
	j.files.open()
	go j.commitLoop()
	j.sweeps.Go(func() { j.compactLoop(ctx) })
	j.sweeps.Go(func() { j.markLoop(ctx) })
	j.sweeps.Go(func() { j.spaceLoop(ctx) })
	j.sweeps.Go(func() { j.ownerLoop(ctx) })
	j.sweeps.Go(func() { j.stallLoop(ctx) })
	j.sweeps.Go(func() { j.scrubLoop(ctx) })
	j.sweeps.Go(func() { j.expiryLoop(ctx) })
	j.sweeps.Go(func() { j.historyLoop(ctx) })
	if !j.noSchedules {
		j.sweeps.Go(func() { j.scheduleLoop(ctx) })
	}
}

// Exists reports whether there is a journal in a directory.
func Exists(dir string) (bool, error) {
	fresh, err := isFresh(storeDir(dir))
	return !fresh && err == nil, err
}

func isFresh(store string) (bool, error) {
	_, err := os.Stat(filepath.Join(store, badger.ManifestFilename))
	if errors.Is(err, os.ErrNotExist) {
		return checkEmpty(store) == nil, nil
	}
	return false, err
}

// verifyStore is the first of the two opens after an unclean stop. The checksums of tables
// have been read before it.
func (j *Journal) verifyStore() (err error) {
	defer func() {
		// Badger answers some damage with a panic in the calling goroutine.
		if r := recover(); r != nil {
			err = damaged(j.dir, fmt.Errorf("%v", r))
		}
	}()
	db, err := badger.Open(lookOptions(j.store, j.tripwire()))
	if err != nil {
		return damaged(j.dir, err)
	}
	defer db.Close() // what it has not written out is in the logs still, and the next open says why
	return j.checkFingerprint(db)
}

// lossy is damaged of what a start may go on without.
func lossy(dir string, err error) error {
	if bySystem(err) {
		return &SystemError{Dir: dir, Err: err, Unread: saysOne(err, unreadable)}
	}
	return &DamageError{
		What: fmt.Sprintf("the journal in %s is damaged: %v", dir, err),
		Hint: "nothing was changed; run `pannier verify " + dir + "` for the details, and restore a backup, or start once with --accept-loss to go on with what is left",
	}
}

// damaged is what a store makes of its files: damage, unless the system is what failed.
func damaged(dir string, err error) error {
	if bySystem(err) {
		return &SystemError{Dir: dir, Err: err}
	}
	return &DamageError{
		What: fmt.Sprintf("the journal in %s is damaged: %v", dir, err),
		Hint: "nothing was changed; run `pannier verify " + dir + "` for the details and restore a backup",
	}
}

// checkFingerprint compares the live set with the fingerprint written beside it, and finds
// out whether one that is wrong can be built anew. What it has found is what the ledger
// starts with.
func (j *Journal) checkFingerprint(db *badger.DB) error {
	return viewAlone(db, func(txn *page) error {
		meta, err := j.readMeta(txn)
		if err != nil {
			return lossy(j.dir, err)
		}
		written := decodeSums(meta.Sums) // nothing, where it was killed before the first commit
		is := scanLive(db)
		j.ledger = is.ledger
		diff := written.differences(&is.sums)
		if len(diff) == 0 {
			return nil
		}
		if j.loss.asked {
			j.loss.addEntries(diff...)
			return nil
		}
		if j.broken = canRebuild(txn, written); !j.broken {
			return lossy(j.dir, errors.New(strings.Join(diff, "; ")+", and the records do not say what is missing"))
		}
		return nil
	})
}

func (j *Journal) tripwire() tripwire { return tripwire{fail: j.fail, warning: j.warn} }

func (j *Journal) open(fresh bool, o Options) error {
	options := storeOptions
	if o.Store.IsStill() {
		options = lookOptions
	}
	db, err := badger.Open(options(j.store, j.tripwire()))
	if err != nil {
		return damaged(j.dir, err)
	}
	j.db = db
	if err := j.space.opened(db); err != nil {
		db.Close()
		return err
	}
	if fresh || j.unclean { // an unclean one has just been checked
		return nil
	}
	if err := j.checkFingerprint(db); err != nil {
		db.Close()
		return err
	}
	return nil
}

// load reads what the committer keeps in memory, and makes this start durable
// before anything else is.
func (j *Journal) load(last *mark) error {
	meta, err := j.readStart(last)
	if err != nil {
		return err
	}
	if err := j.isBeside(last, meta); err != nil {
		return err
	}
	// From here on an older program refuses the journal; what its records lack is
	// added after this start is durable.
	j.birth.Schema = max(j.birth.Schema, schemaPlain)
	j.birth.Boot++
	if j.unclean {
		j.birth.UncleanBoot = j.birth.Boot
	}
	id, err := IDOf(j.birth.Id)
	if err != nil {
		return damaged(j.dir, err)
	}
	if last != nil && last.Journal != id.String() {
		return &DamageError{
			What: fmt.Sprintf("the high-water mark in %s is that of journal %s, its store that of %s", j.dir, last.Journal, id),
			Hint: "bring both back from one copy",
		}
	}
	j.seq, j.sums = meta.Seq, *decodeSums(meta.Sums)
	if j.loss.asked {
		j.beginEpoch(last)
		j.birth.LossBoot = j.birth.Boot
	}
	j.self = Identity{Journal: id, Epoch: j.birth.Epoch}
	j.history.load(meta)
	lasts, known := durableVolume(j.dir)
	j.durable, j.volumeUnknown = j.durable && lasts, j.durable && !known
	if j.wal.no, err = newestMemtable(j.store); err != nil {
		return err
	}
	if err := j.makeGood(); err != nil {
		return err
	}
	if err := viewAlone(j.db, func(txn *page) error {
		return errors.Join(j.names.load(txn), j.accounts.load(txn), j.schemas.load(txn), j.subscriptions.load(txn), j.schedules.load(txn), j.loadReportNumbers(txn), j.countApprovals(txn))
	}); err != nil {
		return lossy(j.dir, err)
	}
	if err := j.firstCommit(); err != nil {
		return err
	}
	switch err := j.bringUp(); {
	case isFault(err):
		return lossy(j.dir, err)
	case err != nil:
		return fmt.Errorf("bring the journal in %s to schema %d: %w", j.dir, schemaPlain, err)
	}
	if err := j.endUnfit(); err != nil || !j.loss.asked {
		return err
	}
	return j.loss.end(j.dir)
}

// readStart reads who this journal is, and how far it had come.
func (j *Journal) readStart(last *mark) (meta *wire.Meta, err error) {
	err = viewAlone(j.db, func(txn *page) (err error) {
		if meta, err = j.readMeta(txn); err != nil {
			return err
		}
		j.birth, err = j.readBirth(txn, last)
		return err
	})
	if err != nil {
		return nil, lossy(j.dir, err)
	}
	if j.birth == nil {
		id := NewID()
		j.birth = &wire.Birth{Schema: schemaPlain, Id: id[:], Epoch: 1, BroughtTo: schemaPlain}
	}
	if j.birth.Schema > schemaVersion {
		return nil, &DamageError{
			What: fmt.Sprintf("the journal in %s was written by a newer version (schema %d, this program knows %d)", j.dir, j.birth.Schema, schemaVersion),
			Hint: "run the newer program",
		}
	}
	return meta, nil
}

// firstCommit makes this start durable: whatever is granted from now on can be
// told from what an earlier start granted.
func (j *Journal) firstCommit() error {
	t := j.begin()
	defer t.disk.Discard()
	if err := t.put(birthKey, j.birth); err != nil {
		return err
	}
	t.keep()
	if err := j.commit(t, nil); err != nil {
		return fmt.Errorf("write to %s that it is started: %w", j.store, err)
	}
	return j.files.again(func() error { return j.mark(false).write(j.dir) })
}

// durableVolume reports whether the volume keeps its contents when the host
// or container goes: tmpfs, ramfs and a container's own overlay do not. Of a disk
// that is wiped with its pod only its owner can say so (Options.Ephemeral). One of which the system
// does not say what it is, known is false, counts as one that does not.
func durableVolume(dir string) (lasts, known bool) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return false, false
	}
	switch fs.Type {
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC, unix.OVERLAYFS_SUPER_MAGIC:
		return false, true
	}
	return true, true
}
