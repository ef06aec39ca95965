package journal

import (
	"context"
	"fmt"
	"io"

	"github.com/dgraph-io/badger/v4"
	"google.golang.org/protobuf/proto"

	"pannier/journal/wire"
)

// Miscounted says where a journal that has stopped knew of more, or fewer, than its indexes
// have, by their fingerprint.
func (j *Journal) Miscounted() (all []string) {
	for _, b := range backlogs {
		knows, has := 0, int(j.sums[livePlace[b.class]-1].count)
		for _, n := range j.ledger.mu.by[b.class].by {
			knows += n
		}
		if knows != has {
			all = append(all, fmt.Sprintf("backlog %s: %d, and there are %d", b.name, knows, has))
		}
	}
	return all
}

// CompactAfter makes so many deletes worth a compaction.
func (j *Journal) CompactAfter(n int64) { j.garbage.after = n }

// CompactionOf is how much a compaction makes, of a store with such levels.
var CompactionOf = compactionOf

// CompactUpTo makes a store of so many bytes the largest that is compacted.
func (j *Journal) CompactUpTo(bytes int64) { j.garbage.most = bytes }

// CountDeletes counts as many as that beside those since the start.
func (j *Journal) CountDeletes(n int64) { j.garbage.deletes.Add(n) }

// QueueLength is how many operations of an urgency wait, and LazyLimit how many that ride along.
const (
	QueueLength = queueLength
	LazyLimit   = lazyLimit
)

// QueueIdle queues an operation that does nothing.
func (j *Journal) QueueIdle(lazy bool) {
	o := &op{run: func(*tx) error { return nil }, done: func(error) {}}
	if lazy {
		j.rideAlong(o)
		return
	}
	j.submit(first, o)
}

// Urgencies are those of operations that compete, the most urgent first.
const Urgencies = int(priorities)

// HistorySlice is how many of the least urgent a batch takes in any case, and BatchOperations how
// many of the others.
const (
	HistorySlice    = historySlice
	BatchOperations = batchEntries / 2
)

// ExpiryBatch is how many intents one sweep ends.
const ExpiryBatch = expiryBatch

// QueueAt queues an operation of an urgency that tells when it runs.
func (j *Journal) QueueAt(urgency int, ran func()) {
	j.submit(priority(urgency), &op{run: func(*tx) error { ran(); return nil }, done: func(error) {}})
}

// QueueLazy queues an operation that rides along, and tells when it runs.
func (j *Journal) QueueLazy(ran func()) {
	j.rideAlong(&op{run: func(*tx) error { ran(); return nil }, done: func(error) {}})
}

// QueueLarge has an operation done that no batch has room for.
func (j *Journal) QueueLarge(lazy bool) error {
	done := make(chan error, 1)
	o := &op{done: func(err error) { done <- err }, run: func(t *tx) error {
		t.putChunks(classOutcome, NewID(), make([]byte, operationMost+1))
		return nil
	}}
	if lazy {
		j.rideAlong(o)
	} else {
		j.submit(first, o)
	}
	return <-done
}

// MakeBallast makes it of that size.
func (j *Journal) MakeBallast(bytes int64) error { return j.space.ballast.make(bytes) }

// CompactFiles are left for others.
const CompactFiles = compactFiles

// ScanClosed closes the journal, and then reads the live set of its store.
func (j *Journal) ScanClosed() error {
	if err := j.Close(); err != nil {
		return err
	}
	scanLive(j.db)
	return nil
}

// CompactIfWorth is a look of the loop at a quiet time.
func (j *Journal) CompactIfWorth() { j.compactIfWorth() }

// StoreLogs has the store log a line.
func (j *Journal) StoreLogs(line string) { j.db.Opts().Logger.Errorf("%s", line) }

// Keys are those in tables, of deletes and of what is deleted too, by level.
func (j *Journal) Keys() (levels map[int]int) {
	levels = map[int]int{}
	for _, t := range j.db.Tables() {
		levels[t.Level] += int(t.KeyCount)
	}
	return levels
}

// Tombstones are the keys of the store, of its logs too, that say of one that it is deleted,
// and weight is the bytes that these take beyond that.
func (j *Journal) Tombstones() (n, weight int) {
	_ = j.view(func(txn *page) error {
		opts := badger.DefaultIteratorOptions
		opts.PrefetchValues, opts.AllVersions = false, true
		it := txn.NewIterator(opts)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if it.Item().IsDeletedOrExpired() {
				n++
				weight += int(it.Item().ValueSize())
			}
		}
		return nil
	}) // of one that has stopped: none
	return n, weight
}

// ScanAhead gives the numbers of the tables that are asked for when a key of a class is read.
func ScanAhead(tables []badger.TableInfo, class byte) (next func(key []byte) []uint64) {
	a := newScanAhead("", tables, class)
	return func(key []byte) (ids []uint64) {
		for _, t := range a.next(key) {
			ids = append(ids, t.ID)
		}
		return ids
	}
}

// TableEnds says where in a table there are its last block and its index.
func TableEnds(path string) (last, index int64, err error) {
	ends, err := checkTable(path, new([]byte))
	return ends.last, ends.index, err
}

// SchemaNumber is the one that is written down: programs of earlier ones refuse the journal.
func (j *Journal) SchemaNumber() (uint32, error) {
	birth := &wire.Birth{}
	err := j.view(func(txn *page) error {
		_, err := readMessage(txn, birthKey, birth)
		return err
	})
	return birth.Schema, err
}

// WriteSchema writes another down, as another program does.
func (j *Journal) WriteSchema(n uint32) error {
	return j.do(context.Background(), first, &op{run: func(t *tx) error {
		birth := proto.CloneOf(j.birth)
		birth.Schema = n
		return t.put(birthKey, birth)
	}})
}

// CountInBatch is how many schedules countOf finds, of two that are durable, in a batch that has
// made one, replaced one, removed the other, and made and removed a third. It leaves the replaced
// one and the new one, which are of no use.
func (j *Journal) CountInBatch(replaced, removed ID) (n int, err error) {
	err = j.do(context.Background(), first, &op{run: func(t *tx) (err error) {
		brief := idKey(classSchedule, NewID())
		for _, key := range [][]byte{idKey(classSchedule, NewID()), idKey(classSchedule, replaced), brief, idKey(classAside, NewID())} {
			if err := t.put(key, &wire.Schedule{}); err != nil {
				return err
			}
		}
		t.keep()
		t.del(brief)
		t.del(idKey(classSchedule, removed))
		t.keep()
		n, err = t.countOf(classSchedule, 2)
		return err
	}})
	return n, err
}

// CheckBlocks verifies a table of so many bytes, read through a buffer of its own.
func CheckBlocks(r io.ReaderAt, size int64) error {
	_, err := checkBlocks(r, size, new([]byte))
	return err
}
