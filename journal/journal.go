package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"pannier/journal/wire"
)

// Journal is an open journal. All methods are safe for concurrent use.
type Journal struct {
	dir, store  string
	lock        *os.File // held while the journal is open
	owner       owner
	db          *badger.DB
	hooks       Hooks
	backoff     func(attempts int) time.Duration
	trace       func(*Handed, time.Time) string // nil: nothing is traced
	elsewhere   func(address string) bool       // nil: nobody's people are
	tell        func(*TaskNews) []Notification  // nil: nobody is told
	workTimeout time.Duration
	workMax     time.Duration
	deliverBy   time.Duration
	deadline    time.Duration

	birth                  *wire.Birth
	self                   Identity
	unclean                bool
	durable, volumeUnknown bool

	queues    queues
	closing   chan struct{} // closed by Close: commit what is queued, then end
	stopped   chan struct{} // closed when nothing more will be committed
	stopOnce  sync.Once
	closeOnce sync.Once
	closeErr  error
	committed chan struct{} // closed when the committer has ended
	sweeps    sync.WaitGroup
	cancel    context.CancelFunc

	failure atomic.Pointer[error]

	// Held by the committer from before a batch is written until it is synced, and by
	// readers while they take a snapshot.
	unsynced sync.RWMutex
	reading  sync.WaitGroup // who has taken one

	// Owned by the committer.
	seq       uint64
	sums      sums
	tx        tx // of the batch under way
	wal       wal
	approvals int // kept, those of the batch under way left out
	lazyCarry *op // found no room in its batch
	commitTxn func(*badger.Txn) error
	syncWAL   func() error
	reportNo  map[ID]uint64             // last report number per home
	faults    map[ID]int                // how often what was asked for of an intent has panicked
	planted   func(where string, id ID) // by a test, to panic there
	refused   func(key []byte) error    // by a test, of what the committer reads

	names    *names
	schemas  *schemas
	accounts *accounts

	subscriptions *subscriptions
	schedules     *schedules
	noSchedules   bool
	indexes       *indexes
	walks         *walks
	pageRead      func(reads, bytes int) // by a test: what each page has read
	expiryWake    chan struct{}
	expiryNext    atomic.Int64 // when the sweep wakes by itself
	watches       *watches
	ledger        *ledger
	history       *history
	space         space
	files         OpenFiles
	scrubbing     sync.Mutex // held by the one scrub there is
	scrub         scrub      // owned by the committer
	suspects      chan blame // what a reader could not read
	scrubEvery    time.Duration
	garbage       garbage
	broken        bool // an index is not what was written, and its records are whole
	loss          loss
	figures       figures
	clock         *clock
}

// figures are what Stats reads: kept beside Badger so that health never waits
// for it.
type figures struct {
	seq, ops atomic.Uint64
	last     atomic.Pointer[lastBatch]
	underWay atomic.Uint64 // the batch; 0: none
	stalled  atomic.Int64  // looks at one batch, see stallLoop
	live     [len(liveClasses)]atomic.Uint64

	scrubs, aside, rebuilt, compactions atomic.Uint64
	faults, reportsAside                atomic.Uint64
	lateAnswers, warnings               atomic.Uint64
}

// lastBatch is the last that is durable, and the live set with it.
type lastBatch struct {
	seq  uint64
	live sums
}

func (j *Journal) publishSums() {
	j.figures.last.Store(&lastBatch{j.seq, j.sums})
	for i := range j.sums {
		j.figures.live[i].Store(j.sums[i].count)
	}
}

// Identity returns the journal's id and epoch.
func (j *Journal) Identity() Identity { return j.self }

// Stats returns figures kept in memory.
func (j *Journal) Stats() Stats {
	_, now := j.clock.look()
	s := Stats{
		Clock: now,
		Seq:   j.figures.seq.Load(), Identity: j.self, Boot: j.birth.Boot, Unclean: j.unclean, Durable: j.durable, VolumeUnknown: j.volumeUnknown, Volume: j.space.volume(),
		Live: make(map[string]uint64, len(liveClasses)), BatchSizes: j.figures.ops.Load(),
	}
	for i, c := range liveClasses {
		s.Live[classNames[c]] = j.figures.live[i].Load()
	}
	s.Stalled, s.Loss, s.Files = j.stalled(), j.loss.String(), j.files.room()
	j.history.stats(&s)
	s.Scrubs, s.Aside, s.Rebuilt = j.figures.scrubs.Load(), j.figures.aside.Load(), j.figures.rebuilt.Load()
	s.Faults, s.ReportsAside, s.LateAnswers = j.figures.faults.Load(), j.figures.reportsAside.Load(), j.figures.lateAnswers.Load()
	s.Warnings = j.figures.warnings.Load()
	s.Deletes, s.Compactions = j.garbage.deletes.Load(), j.figures.compactions.Load()
	return s
}

// OpenFiles is the guard of what this process may have open.
func (j *Journal) OpenFiles() *OpenFiles { return &j.files }

// Err returns why the journal has failed, or nil. It never touches Badger.
func (j *Journal) Err() error {
	if p := j.failure.Load(); p != nil {
		return *p
	}
	return nil
}

func (j *Journal) stop() { j.stopOnce.Do(func() { close(j.stopped) }) }

func (j *Journal) warn(line string) {
	j.figures.warnings.Add(1)
	if f := j.hooks.Warning; f != nil {
		f(line)
	}
}

// Close commits what is queued, writes who holds what, and closes the store.
// It may take as long as the disk does: the caller sets the limit. After a
// failure it leaves the store as it is, to be closed by the end of the process:
// Badger would go on trying to write to a disk that has just refused.
func (j *Journal) Close() error {
	j.closeOnce.Do(func() { j.closeErr = j.close() })
	return j.closeErr
}

func (j *Journal) close() error {
	close(j.closing)
	<-j.committed
	j.cancel()
	j.sweeps.Wait()
	j.files.close()
	if err := j.Err(); err != nil {
		return err
	}
	defer j.lock.Close()
	j.wal.close()
	if err := j.space.holds(j.store); err != nil {
		return fmt.Errorf("the journal in %s is left as it is: %w; make room, and start again", j.dir, err)
	}
	j.endReads()
	if err := j.db.Close(); err != nil {
		return err
	}
	// Only now: a mark that says clean lets the next start skip the checks
	// made after a crash.
	if err := j.mark(true).write(j.dir); err != nil {
		return err
	}
	return j.owner.release(j.dir)
}

func (j *Journal) mark(clean bool) mark {
	last := j.figures.last.Load()
	m := mark{Version: 1, Journal: j.self.Journal.String(), Epoch: j.self.Epoch, Seq: last.seq, Clean: clean, Clock: j.clock.mark()}
	m.Live = m.live(last.live.hash())
	return m
}

// now is what the wall clock says.
func (j *Journal) now() time.Time { return j.clock.wall() }

// markLoop moves the high-water mark once a second while batches are committed, and looks
// at the clock.
func (j *Journal) markLoop(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last, seen := j.figures.seq.Load(), clockMark{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		m := j.mark(false)
		if m.Seq == last && !m.Clock.news(seen) {
			continue
		}
		// Nothing rests on the time in it: a disk that is full stops nobody who is idle.
		err := j.files.again(func() error { return m.write(j.dir) })
		if errors.Is(err, unix.ENOSPC) && j.space.useBallast() {
			err = m.write(j.dir) // the volume was filled since it was last looked at
		}
		if err != nil && m.Seq != last {
			j.fail(err)
			return
		}
		last, seen = m.Seq, m.Clock
	}
}
