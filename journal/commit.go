package journal

import (
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"

	"pannier/journal/failpoint"
	"pannier/journal/wire"
)

// The committer is the one writer. While one batch is being synced the next
// gathers, so the size of a batch follows the load without a timer (but acks of
// reports, for which nobody waits, are gathered by those who bring them): a
// transaction is one sync, whatever is in it, and Badger does not group commits of
// its own accord.
const (
	batchBytes    = 1 << 20   // Badger takes 15 % of a memtable of 8 MiB: 1,258,291 bytes
	operationMost = 1_240_000 // one operation, alone in its batch: room for a body of 1 MiB
	batchEntries  = 4000
	entryOverhead = 24
	queueLength   = 4096
	lazyLimit     = 4096
	lazyDelay     = time.Second
)

// commitLoop runs until Close, or until a commit fails.
func (j *Journal) commitLoop() {
	defer close(j.committed)
	defer j.refuseQueued()
	defer j.stop()
	lazyDue := time.NewTimer(lazyDelay)
	defer lazyDue.Stop()
	var carry []*op
	for {
		batch, ok := j.gather(carry, lazyDue)
		if !ok {
			return
		}
		carry = j.runBatch(batch)
		if j.Err() != nil {
			for _, o := range carry {
				o.done(j.stopError())
			}
			return
		}
	}
}

// gather returns the next batch in order of urgency; ok is false when the
// journal is closing and everything queued has been committed.
func (j *Journal) gather(carry []*op, lazyDue *time.Timer) (batch []*op, ok bool) {
	batch = carry
	if len(batch) == 0 {
		select {
		case o := <-j.queues.ops[first]:
			batch = append(batch, o)
		case o := <-j.queues.ops[second]:
			batch = append(batch, o)
		case o := <-j.queues.ops[third]:
			batch = append(batch, o)
		case o := <-j.queues.ops[last]:
			batch = append(batch, o)
		case <-lazyDue.C:
			lazyDue.Reset(lazyDelay)
			if len(j.queues.lazy) > 0 || j.lazyCarry != nil {
				return nil, true
			}
			return j.gather(nil, lazyDue)
		case <-j.stopped:
			return nil, false
		case <-j.closing:
			batch = j.queued(nil)
			return batch, len(batch) > 0 || len(j.queues.lazy) > 0 || j.lazyCarry != nil
		}
	}
	return j.queued(batch), true
}

// runBatch runs the operations, commits what they wrote and answers them. It
// returns those that did not fit.
func (j *Journal) runBatch(batch []*op) (carry []*op) {
	t := j.begin()
	defer t.disk.Discard()
	j.figures.underWay.Store(t.seq)
	defer j.figures.underWay.Store(0)
	ran := batch[:len(batch):len(batch)]
	var aside []*op
	for i, o := range batch {
		o.err = t.try(o)
		if t.fits() {
			t.keep() // nothing, where it has failed
			aside = append(aside, j.setsAside(t, o)...)
			continue
		}
		t.drop()
		if i == 0 {
			o.err = ErrTooLarge
			aside = append(aside, j.setsAside(t, o)...)
			continue
		}
		ran, carry = batch[:i:i], batch[i:]
		break
	}
	lazy, more := j.runLazy(t)
	ran = append(ran, lazy...)
	carry = append(append(aside, more...), carry...) // those first
	if len(t.batch.writes) > 0 {
		if err := j.commit(t, ran); err != nil {
			// Whether the batch is on disk is not known, and asking again would
			// prove nothing: the kernel marks pages clean after it has reported
			// an error once. Stop; the next start reads what is there.
			j.fail(fmt.Errorf("commit: %w", err))
			for _, o := range ran {
				o.done(ErrFailed)
			}
			return carry
		}
	}
	t.batch.tally.Operations = len(ran)
	j.give(&t.batch.tally)
	for _, f := range t.batch.after {
		f()
	}
	for _, o := range ran {
		o.done(o.err)
	}
	return carry
}

// runLazy adds the operations that ride along with whatever batch comes next.
func (j *Journal) runLazy(t *tx) (ran, aside []*op) {
	for {
		o := j.lazyCarry
		j.lazyCarry = nil
		if o == nil {
			select {
			case o = <-j.queues.lazy:
			default:
				return ran, aside
			}
		}
		alone := len(t.batch.writes) == 0
		o.err = t.try(o)
		if !t.fits() {
			t.drop()
			if !alone {
				j.lazyCarry = o // the next batch has room
				return ran, aside
			}
			o.err = ErrTooLarge // no batch has
		}
		t.keep()
		aside = append(aside, j.setsAside(t, o)...)
		ran = append(ran, o)
	}
}

// try runs an operation so that a panic costs that alone, not the process: what is at fault
// is reported, and the batch goes on without it. Each operation has a
// time of its own: the batch may have begun before its caller last looked at
// the clock, and would then find that what is late is not yet.
func (t *tx) try(o *op) error {
	t.now = t.j.now()
	t.mute, t.blamed = false, nil
	err := t.j.guard(func() error {
		if err := o.run(t); err != nil {
			return err
		}
		t.j.panics("run", o.about)
		return nil
	})
	if err != nil {
		t.drop()
	}
	return err
}

// commit makes the batch durable: one transaction, one sync.
func (j *Journal) commit(t *tx, ops []*op) error {
	for _, o := range ops {
		failpoint.Hit(o.before)
	}
	j.sums.merge(&t.batch.sums)
	j.history.total.merge(&t.batch.history)
	meta, err := sealMessage(metaKey, t.seq, &wire.Meta{Seq: t.seq, Sums: j.sums.encode(), HistoryBytes: j.history.total.bytes, LetGoMs: j.history.total.letGo})
	if err != nil {
		return err
	}
	entries := make([]badger.Entry, 0, len(t.batch.writes)+1) // Badger keeps pointers to them
	set := func(key, rec []byte) error {
		entries = append(entries, badger.Entry{Key: key, Value: rec})
		return t.disk.SetEntry(&entries[len(entries)-1])
	}
	deletes := int64(0)
	for _, w := range t.batch.writes {
		if w.del {
			deletes++
		} else if err := set(w.key, w.rec); err != nil {
			return err
		}
		if err := w.bury(t.disk.Txn); err != nil {
			return err
		}
	}
	if err := set(metaKey, meta); err != nil {
		return err
	}
	if err := j.askVolume(); err != nil {
		return err
	}
	j.awaitThaw()
	j.space.growth.committed(t.batch.bytes)
	if !j.space.look() {
		return j.space.noRoom()
	}
	if !j.files.await() {
		return errNoFiles
	}
	began := time.Now()
	if err := j.makeDurable(t); err != nil {
		return err
	}
	t.batch.tally.Took = max(1, time.Since(began))
	j.ledger.take(t.batch.entries)
	j.scrub.take(t.batch.live)
	j.garbage.deletes.Add(deletes)
	j.seq = t.seq
	j.figures.seq.Store(t.seq)
	j.figures.ops.Add(uint64(len(ops)))
	j.publishSums()
	j.history.publish()
	for _, o := range ops {
		failpoint.Hit(o.after)
	}
	return nil
}

// makeDurable writes the batch and syncs it. Meanwhile nobody begins to read: Badger
// shows what is written, and who reads acts on it. If it fails nobody ever does again.
func (j *Journal) makeDurable(t *tx) error {
	j.unsynced.Lock()
	defer j.unsynced.Unlock()
	j.walks.note(t.batch.writes)
	err := j.commitTxn(t.disk.Txn)
	if err == nil {
		// A crash here: the batch may be there at the next start, and nobody was told.
		err = j.syncWAL()
	}
	if err != nil {
		j.fail(fmt.Errorf("commit: %w", err))
	}
	return err
}

// fail poisons the journal: the first error wins, every later call is refused.
func (j *Journal) fail(err error) {
	if j.failure.CompareAndSwap(nil, &err) {
		j.stop()
		if f := j.hooks.Failed; f != nil {
			f(err)
		}
	}
}

func (j *Journal) stopError() error {
	if j.Err() != nil {
		return ErrFailed
	}
	return ErrClosed
}
