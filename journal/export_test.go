package journal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"pannier/journal/wire"
)

var errInjected = errors.New("injected")

// FailCommit makes the n-th commit from now fail: before it reaches the store
// (persist false), or after it is durable there (persist true), which is what
// a disk that lies about its sync looks like from here. Call it before any
// operation is under way.
func (j *Journal) FailCommit(n int, persist bool) { j.commitTxn = failing(n, persist) }

// FailStart makes the n-th commit of a start fail like that.
func FailStart(o Options, n int, persist bool) Options {
	o.commitTxn = failing(n, persist)
	return o
}

func failing(n int, persist bool) func(*badger.Txn) error {
	return func(txn *badger.Txn) error {
		n--
		if n != 0 {
			return txn.Commit()
		}
		if persist {
			if err := txn.Commit(); err != nil {
				return err
			}
		}
		return errInjected
	}
}

// AtSync runs f before each sync of the log, with whether anybody could read then, and
// fails the sync with what f returns.
func (j *Journal) AtSync(f func(readable bool) error) {
	j.syncWAL = func() error {
		if err := f(j.Readable()); err != nil {
			return err
		}
		return j.wal.sync()
	}
}

// Readable reports whether anybody could read now.
func (j *Journal) Readable() bool {
	readable := j.unsynced.TryRLock()
	if readable {
		j.unsynced.RUnlock()
	}
	return readable
}

// Synced is the file of the log that the last commit was synced in.
func (j *Journal) Synced() string { return j.wal.file.Name() }

// CloseLog closes the file of the log that commits are synced in, so that no sync of it succeeds.
func (j *Journal) CloseLog() { j.wal.file.Close() }

// RefuseNextLog has the next commit find another log than the last, which cannot be opened.
func (j *Journal) RefuseNextLog() {
	j.wal.no--
	j.wal.again = func(func() error) error { return errInjected }
}

// Commits counts the commits made from now on.
func (j *Journal) Commits(count *int) {
	j.commitTxn = func(txn *badger.Txn) error {
		*count++
		return txn.Commit()
	}
}

// HangCommit makes the next commit wait for the end of release, as on a disk that
// hangs; hung is closed when it does.
func (j *Journal) HangCommit(release <-chan struct{}) (hung <-chan struct{}) {
	waits := make(chan struct{})
	j.commitTxn = func(txn *badger.Txn) error {
		j.commitTxn = (*badger.Txn).Commit
		close(waits)
		<-release
		return txn.Commit()
	}
	return waits
}

// PlantPanics makes work on intents panic where f does: "run" is an operation on one, when all is
// written, "held" that it is recorded as held, "peek" that it is read to be pushed, "report" that a report of it is applied, "whole"
// that it is set aside, "bare" that it is with nothing else.
func (j *Journal) PlantPanics(f func(where string, id ID)) {
	_ = j.do(context.Background(), first, &op{run: func(*tx) error { j.planted = f; return nil }})
}

// RefuseRead makes the committer's next read of a record of an intent fail, as on a disk that
// cannot read just now; of chunks any.
func (j *Journal) RefuseRead(id ID, class byte) {
	_ = j.do(context.Background(), first, &op{run: func(*tx) error {
		j.refused = func(key []byte) error {
			if of, _ := intentOf(key); of != id || key[0] != class {
				return nil
			}
			j.refused, j.tx.disk.refused = nil, nil
			return unix.EIO
		}
		return nil
	}})
}

// RefuseReadNo makes the committer's read of that number from now on fail likewise; refused says
// whether it came to that.
func (j *Journal) RefuseReadNo(n int) (refused func() bool) {
	var did atomic.Bool
	_ = j.do(context.Background(), first, &op{run: func(*tx) error {
		j.refused = func(key []byte) error {
			if n--; n > 0 {
				return nil
			}
			did.Store(true)
			j.refused, j.tx.disk.refused = nil, nil
			return unix.EIO
		}
		return nil
	}})
	return did.Load
}

// AllowReads ends that.
func (j *Journal) AllowReads() {
	_ = j.do(context.Background(), first, &op{run: func(*tx) error { j.refused = nil; return nil }})
}

// FailReadsAt makes reads of an operation fail from such a place on, as PlantPanics has it.
func (j *Journal) FailReadsAt(at string) {
	j.PlantPanics(func(where string, _ ID) {
		if where == at {
			j.tx.disk = &page{Txn: j.db.NewTransaction(false)}
			j.tx.disk.Discard()
		}
	})
}

// Write runs an operation of our own about an intent, that writes so many bytes, and then waits
// for the end of release.
func (j *Journal) Write(ctx context.Context, id ID, bytes int, release <-chan struct{}) error {
	return j.do(ctx, first, &op{about: id, run: func(t *tx) error {
		t.set(idKey(classAside, id), write{rec: make([]byte, bytes)})
		<-release
		return nil
	}})
}

// WriteKeys runs an operation that writes so many keys.
func (j *Journal) WriteKeys(ctx context.Context, n int) error {
	return j.do(ctx, first, &op{run: func(t *tx) error {
		for range n {
			t.set(idKey(classAside, NewID()), write{rec: []byte{}})
		}
		return nil
	}})
}

// WriteKey runs an operation that writes a key, or deletes one that is not there.
func (j *Journal) WriteKey(ctx context.Context, key []byte, del bool) error {
	return j.do(ctx, first, &op{run: func(t *tx) error {
		t.set(key, write{rec: []byte{}, del: del})
		return nil
	}})
}

// GetDeleted looks for the head of an intent in a batch that has just deleted it, of which
// nothing is kept.
func (j *Journal) GetDeleted(ctx context.Context, id ID) (found bool, err error) {
	_ = j.do(ctx, first, &op{run: func(t *tx) error {
		t.del(idKey(classHead, id))
		if found, err = t.get(idKey(classHead, id), &wire.Head{}); !found && err == nil {
			found, err = t.has(idKey(classHead, id))
		}
		return errInjected
	}})
	return found, err
}

// What a batch holds, in bytes.
const (
	BatchBytes    = batchBytes
	OperationMost = operationMost
)

// Queue submits an operation that tells its time, then waits for the end of release.
func (j *Journal) Queue(release <-chan struct{}) (told <-chan time.Time) {
	at := make(chan time.Time, 1)
	j.submit(first, &op{done: func(error) {}, run: func(t *tx) error {
		at <- t.now
		<-release
		return nil
	}})
	return at
}

// FillBacklogs makes every count of backlogs as long as it gets.
func (j *Journal) FillBacklogs() {
	for _, b := range backlogs {
		for i := range int64(timesMost) {
			j.ledger.take([]entry{{queue: queue{class: b.class}, ms: 1<<40 + i<<timesShift, n: 1}})
		}
	}
}

// Abandon ends the journal as a kill would leave it: nothing more is written,
// no clean mark, and the files are given back so that the directory can be
// opened again.
func (j *Journal) Abandon() {
	j.stop()
	<-j.committed
	j.cancel()
	j.sweeps.Wait()
	j.files.close()
	j.db.Close()
	j.lock.Close()
}

// BallastName is the file kept in reserve.
const BallastName = ballastName

// TakeFrom makes a process on another host start with the journal in dir, as far as to where
// it has it. The lock is of no use there.
func TakeFrom(dir, boot string) error {
	o := newOwner()
	o.Host, o.Boot = "elsewhere", boot
	return o.take(dir)
}

// Flushed writes the table that becomes of the log of a journal that was killed.
func Flushed(killed, to string) error {
	dir, err := os.MkdirTemp("", "flushed-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := CopyStopped(killed, dir); err != nil {
		return err
	}
	before, err := tablesThere(storeDir(dir))
	if err != nil {
		return err
	}
	db, err := badger.Open(lookOptions(storeDir(dir), tripwire{}))
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	after, err := tablesThere(storeDir(dir))
	if err != nil || len(after) != len(before)+1 {
		return fmt.Errorf("tables %v have become %v: %w", before, after, err)
	}
	return os.Rename(filepath.Join(storeDir(dir), tableName(after[len(before)])), to)
}

// CopyStopped copies a journal, without the zeros of its logs.
func CopyStopped(from, to string) error {
	if err := os.Mkdir(storeDir(to), 0o700); err != nil {
		return err
	}
	for _, dir := range []string{"", "store"} {
		entries, err := os.ReadDir(filepath.Join(from, dir))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !e.Type().IsRegular() {
				continue
			}
			if err := copySparse(filepath.Join(from, dir, e.Name()), filepath.Join(to, dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// CheckLog and EndOfTransaction expose how a cut log is told from a damaged one.
var (
	CheckLog         = checkLog
	ReadLog          = readLog
	EndOfTransaction = endOfTransaction
)

// TakeApart makes a damaged log anew, and says what that lacks.
func TakeApart(b []byte) (anew []byte, said string) {
	l := takeApart(b)
	return l.anew(), l.String()
}

// Scrub reads the live set once.
func (j *Journal) Scrub(ctx context.Context) error { return j.scrubOnce(ctx) }

// ScrubPage is what a scrub reads in its first operation.
func (j *Journal) ScrubPage(ctx context.Context) (keys [][]byte, err error) {
	err = j.do(ctx, last, &op{run: func(t *tx) error { keys, _ = new(scrub).page(t); return nil }})
	return keys, err
}

// ReadNamed has a scrub read the records that entries of indexes name.
func (j *Journal) ReadNamed(ctx context.Context, keys [][]byte) error { return j.readNamed(ctx, keys) }

// CopyToLook is the copy that a look is at.
var CopyToLook = copyToLook

// OnAnotherVolume has the log that is written to be one of another volume, with the same number
// of an inode.
func (j *Journal) OnAnotherVolume() { j.wal.is.Dev++ }

// Behind writes to the store behind the journal's back, as it runs.
func (j *Journal) Behind(f func(*badger.Txn) error) error {
	j.unsynced.Lock()
	defer j.unsynced.Unlock()
	return j.db.Update(f)
}

// Read reads the store when f has returned.
func (j *Journal) Read(f func()) error {
	return j.view(func(txn *page) error {
		f()
		eachKey(txn, nil, nil, func([]byte) bool { return true })
		return nil
	})
}

// Compact moves all there is into tables of one level.
func (j *Journal) Compact() error { return j.db.Flatten(1) }

// Tripwire is what Badger logs to.
func Tripwire(fail func(error), warning func(string)) badger.Logger { return tripwire{fail, warning} }

// OwnerName is the file that says who has the journal.
const OwnerName = ownerName

// MakeOld turns the journal into one of the schema before dead letters had an index.
func (j *Journal) MakeOld(ids ...ID) error {
	return j.do(context.Background(), first, &op{run: func(t *tx) error {
		for _, id := range ids {
			l, _, err := t.life(id)
			if err != nil {
				return err
			}
			t.delIndex(deadKey(l.head.DeadMs, id))
			l.head.DeadMs = 0
			if err := t.put(idKey(classHead, id), &l.head); err != nil {
				return err
			}
		}
		old := proto.CloneOf(j.birth)
		old.Schema, old.BroughtTo = 1, 0
		return t.put(birthKey, old)
	}})
}

// BreakEnvelope makes the envelope of an intent unreadable.
func (j *Journal) BreakEnvelope(id ID) error {
	return j.db.Update(func(txn *badger.Txn) error { return txn.Set(chunkKey(classEnvelope, id, 0), []byte("broken")) })
}

// Break makes records of an intent unreadable, and Lose takes them away, behind the journal's
// back; a class of chunks is its first.
func (j *Journal) Break(id ID, classes ...byte) error {
	return j.behind(id, classes, func(txn *badger.Txn, key []byte) error { return txn.Set(key, []byte("broken")) })
}

// Lose takes records away.
func (j *Journal) Lose(id ID, classes ...byte) error {
	return j.behind(id, classes, (*badger.Txn).Delete)
}

func (j *Journal) behind(id ID, classes []byte, do func(*badger.Txn, []byte) error) error {
	return j.Behind(func(txn *badger.Txn) error {
		for _, class := range classes {
			key := idKey(class, id)
			if keyClasses[class].chunks {
				key = chunkKey(class, id, 0)
			}
			if err := do(txn, key); err != nil {
				return err
			}
		}
		return nil
	})
}

// BreakReport makes a report unreadable.
func (j *Journal) BreakReport(home ID, no uint64) error {
	return j.Behind(func(txn *badger.Txn) error { return txn.Set(reportKey(home, no), []byte("broken")) })
}

// MakeOldHandover turns a hand-over into one of before these said who had sent it.
func (j *Journal) MakeOldHandover(id ID) error {
	return j.do(context.Background(), first, &op{run: func(t *tx) error {
		h, _, err := t.hand(id)
		h.rec.FromAgent = nil
		return errors.Join(err, t.saveHand(h))
	}})
}

// ForgetStrangersBeyond is ForgetStrangers with other limits.
func (j *Journal) ForgetStrangersBeyond(most, keep int, live func(ID) bool) (int, error) {
	return j.forgetStrangers(context.Background(), live, most, keep)
}

// Seal and Unseal expose the record header.
var (
	Seal   = seal
	Unseal = unseal
)

// KeyOfDue and SplitDue expose the due keys.
func KeyOfDue(a Agent, ms int64, id ID) []byte { return dueKey(classDue, a, ms, id) }

var SplitDue = splitDue

// ReadBackMark parses a mark, writes it into dir and reads it again; ok is
// false where it is refused.
func ReadBackMark(b []byte, dir string) (same, ok bool, err error) {
	m, ok := parseMark(b)
	if !ok {
		return false, false, nil
	}
	if err := m.write(dir); err != nil {
		return false, true, err
	}
	m.Sum = m.sum()
	again, err := readMark(dir)
	return err == nil && *again == *m, true, err
}

// MemtableAfter is how the committer finds the next one.
func MemtableAfter(dir string, was int) (int, error) { return memtableAfter(dir, was) }

// Versions counts all that the store has of a class of keys: what was written over and
// what was deleted included, until a compaction drops it.
func Versions(j *Journal, class byte) (n int) {
	_ = j.view(func(txn *page) error {
		opts := badger.DefaultIteratorOptions
		opts.AllVersions, opts.PrefetchValues, opts.Prefix = true, false, []byte{class}
		it := txn.NewIterator(opts)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			n++
		}
		return nil
	})
	return n
}

// Walk makes one index key come (+) and go (-) in one batch, over as many operations
// as there are bars, and reports whether it is there afterwards.
func (j *Journal) Walk(steps string) (there bool, err error) {
	key := timeKey(classRetain, ms(never), make([]byte, 16)) // no sweep comes to it
	err = j.do(context.Background(), first, &op{run: func(t *tx) error {
		for _, s := range steps {
			switch s {
			case '+':
				t.putIndex(key)
			case '-':
				t.delIndex(key)
			case '|':
				t.keep()
			}
		}
		return nil
	}})
	if err != nil {
		return false, err
	}
	err = j.view(func(txn *page) error {
		_, there, err = readKey(txn, key)
		return err
	})
	return there, err
}

// LetGo lets go of what the history has to let go now.
func (j *Journal) LetGo() error {
	s := historySweep{j: j}
	for range 200 {
		before := j.figures.seq.Load()
		n, _, err := s.round(context.Background(), true)
		if n > historySlice {
			return fmt.Errorf("%d are let go at once", n)
		}
		if err != nil || n < historySlice && j.figures.seq.Load() == before {
			return err
		}
	}
	return errors.New("there is no end to what is let go")
}

// DefaultHistoryAt is what the zero History is on the volume of a directory.
func DefaultHistoryAt(dir string) History { return History{}.withDefaults(dir) }

// KeyOfHistory is an index key of what has ended; Plant writes one behind the journal's back.
func KeyOfHistory(class byte, ended time.Time, id ID) []byte { return timeKey(class, ms(ended), id[:]) }

// Plant writes an index key.
func (j *Journal) Plant(key []byte) error {
	return j.Behind(func(txn *badger.Txn) error { return txn.Set(key, nil) })
}

// OnVolume has the guard see a volume of that size with so much room, from now on.
func (j *Journal) OnVolume(freeBytes, freeInodes, bytes, inodes int64) {
	j.OnVolumeUnseen(freeBytes, freeInodes, bytes, inodes)
	j.space.look()
}

// OnVolumeUnseen is OnVolume before anybody has looked. One of no bytes is one of which the
// system says nothing.
func (j *Journal) OnVolumeUnseen(freeBytes, freeInodes, bytes, inodes int64) {
	measure := func() (free, total room, ok bool) {
		return room{freeBytes, freeInodes}, room{bytes, inodes}, bytes > 0
	}
	j.space.measure.Store(&measure)
}

// GuardSpace begins to guard the volume of a directory, and reports whether it is low.
func GuardSpace(dir string, asked Space) (low bool, err error) {
	j := newJournal(Options{Dir: dir})
	err = j.space.open(dir, asked)
	return j.space.low.Load(), err
}

// OnFullVolume has the guard see a volume of that size that is full but for so much, and has
// as much more once the ballast was given back.
func (j *Journal) OnFullVolume(free, more, bytes int64) {
	given := j.space.ballast.given.Load()
	measure := func() (room, room, bool) {
		if j.space.ballast.given.Load() > given {
			return room{free + more, 0}, room{bytes, 0}, true
		}
		return room{free, 0}, room{bytes, 0}, true
	}
	j.space.measure.Store(&measure)
}

// BySystem and Refuses are what an error says of a file.
var (
	BySystem = bySystem
	Refuses  = refuses
)

// Uninterrupted calls the system until no signal has ended the call.
var Uninterrupted = uninterrupted

// VolumeFailed is what an error of a look at a directory says of its volume.
var VolumeFailed = volumeFailed

// CountIn counts the open files that a directory of /proc lists.
var CountIn = countIn

// Watched is how many intents somebody waits for.
func (j *Journal) Watched() int {
	j.watches.mu.Lock()
	defer j.watches.mu.Unlock()
	return len(j.watches.mu.by)
}

// KeepBodies changes how long bodies are kept.
func (j *Journal) KeepBodies(d time.Duration) {
	j.history.sweeping.Lock()
	defer j.history.sweeping.Unlock()
	j.history.HistoryBodies = d
}

// Count counts the keys of a class.
func (j *Journal) Count(class byte) (n int) {
	_ = j.view(func(txn *page) error {
		eachKey(txn, []byte{class}, nil, func([]byte) bool { n++; return true })
		return nil
	})
	return n
}

// ClassesOfIntents are the classes of what belongs to intents.
func ClassesOfIntents() map[byte]struct{} {
	of := maps.Clone(classes)
	for _, own := range []byte{classMeta, className, classForget, classDedupe} { // the journal's, and what goes by itself
		delete(of, own)
	}
	return of
}

// HistoryAdds reports what the records say that the history takes, and what is counted.
func (j *Journal) HistoryAdds() (records, counted int64) {
	j.history.sweeping.Lock()
	defer j.history.sweeping.Unlock()
	_ = j.view(func(txn *page) error {
		return errors.Join(
			eachRecord(txn, []byte{classHead}, func() *wire.Head { return &wire.Head{} }, func(_ []byte, h *wire.Head) { records += h.KeptBytes }),
			eachRecord(txn, []byte{classHandover}, func() *wire.Handover { return &wire.Handover{} }, func(_ []byte, h *wire.Handover) {
				if h.RetainMs != 0 {
					records += h.KeptBytes
				}
			}))
	})
	return records, j.history.figures.bytes.Load()
}

// LookOptions are those of an open that only looks.
func LookOptions(dir string) badger.Options { return lookOptions(dir, nil) }

// Compactors is how many the store has of its own, and StallsAt how many tables at level 0 make
// it wait for them.
func (j *Journal) Compactors() int { return j.db.Opts().NumCompactors }

func (j *Journal) StallsAt() int { return j.db.Opts().NumLevelZeroTablesStall }

// MarkIsNews reports whether a mark of a clock that is right is written, the last being so old.
func MarkIsNews(age time.Duration) bool {
	return clockMark{SeenMs: age.Milliseconds()}.news(clockMark{})
}

// WithWall gives a journal another wall clock than that of its process.
func WithWall(o Options, wall func() time.Time) Options {
	o.wall = wall
	return o
}

// BallastAt has the ballast made in another place, from the next look on.
func (j *Journal) BallastAt(path string) {
	j.space.ballast.path = path
	j.space.measure.Store(j.space.measure.Load())
}

// BallastInLook has another goroutine give back the ballast while one looks at a volume that
// is full without it, after it has measured for the last time, and returns what that one finds.
func (j *Journal) BallastInLook() (enough bool) {
	before := *j.space.measure.Load()
	defer j.space.measure.Store(&before)
	var measured atomic.Int64
	measure := func() (free, total room, ok bool) {
		switch n := measured.Add(1); {
		case n > growthTries+1:
			return room{512 << 20, 0}, room{1 << 30, 0}, true
		case n == growthTries+1:
			j.space.useBallast()
		}
		return room{0, 0}, room{1 << 30, 0}, true
	}
	j.space.measure.Store(&measure)
	return j.space.look()
}

// UseBallast gives its room back, if there is any.
func (j *Journal) UseBallast() bool { return j.space.useBallast() }

// HistoryBytes is how much is kept where nobody says how much.
var HistoryBytes = historyBytes

// OnFiles has the guard see so many open files of so many, from now on.
func (j *Journal) OnFiles(open, most int) {
	measure := func() (int, int, bool) { return open, most, true }
	j.files.measure.Store(&measure)
	j.files.look()
}

// CountFiles has the guard count what is open, again.
func (j *Journal) CountFiles() {
	files := countFiles
	j.files.measure.Store(&files)
}

// The most that one page may have read before it is full.
const (
	PageReads = pageReads
	PageBytes = pageBytes
)

// Walks is how many walks over mailboxes are under way.
func (j *Journal) Walks() int {
	j.walks.mu.Lock()
	defer j.walks.mu.Unlock()
	return len(j.walks.mu.all)
}

// WithPages has a journal tell of each page what it has read, when it is over.
func WithPages(o Options, read func(reads, bytes int)) Options {
	o.pageRead = read
	return o
}

// NoteLoss puts a loss of so many intents, and lines of indexes, on record twice, and returns
// what a start then says, and how many intents it names.
func NoteLoss(dir string, intents, lines int) (said string, names int, err error) {
	l := loss{forgotten: map[ID]string{}}
	for n := range intents {
		l.forget(ID{8: byte(n), 9: byte(n >> 8)}, "it is gone")
	}
	l.forget(ID{}, "it is gone") // which is known
	for n := range lines {
		l.addEntries(fmt.Sprintf("index due: %d keys expected, 0 found", n), "index due: 0 keys expected, 0 found")
	}
	if err := l.note(dir); err != nil {
		return "", 0, err
	}
	j := newJournal(Options{Dir: dir, Hooks: Hooks{Corrupt: func(Corrupt) { names++ }}})
	err = j.takeOver()
	return j.loss.String(), names, err
}
