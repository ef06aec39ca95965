package journal

import (
	"context"
	"errors"

	"github.com/dgraph-io/badger/v4"
	"google.golang.org/protobuf/proto"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// reportsBytes bounds what one call of Reports returns.
const reportsBytes = 1 << 20

// tell lets home know: our own lifecycle in the same commit, another's by a
// report that is kept until home has acked it.
func (t *tx) tell(h *hand, f state.Fact, r *wire.Report) error {
	if f == state.NoFact {
		return nil
	}
	r.Id, r.OfferNo, r.Fact, r.AtMs = h.id[:], h.rec.OfferNo, uint32(f), ms(t.now)
	r.Uncounted = h.rec.Freed
	if f != state.FactWorking {
		h.timed(r)
	}
	if h.home() != t.j.self.Journal {
		return t.putReport(h.home(), r)
	}
	l, found, err := t.life(h.id)
	if err != nil || !found {
		return err
	}
	if err := t.fact(l, h.home(), r); err != nil {
		return err
	}
	// The lifecycle may have ended the hand-over with the intent: go on with
	// what is recorded.
	_, err = t.get(idKey(classHandover, h.id), &h.rec)
	return err
}

func (t *tx) lastReport(home ID) uint64 {
	if no, ok := t.op.reportNo[home]; ok {
		return no
	}
	return t.j.reportNo[home]
}

// putReport appends a report under the next number.
func (t *tx) putReport(home ID, r *wire.Report) error {
	r.No = t.lastReport(home) + 1
	t.op.reportNo[home] = r.No
	key := reportKey(home, r.No)
	t.countLive(key, false)
	t.after(func() {
		if f := t.j.hooks.Reports; f != nil {
			f(home)
		}
	})
	return t.put(key, r)
}

// loadReportNumbers finds the last number given per home: the last unacked
// report, or the last acked one.
func (j *Journal) loadReportNumbers(txn *page) error {
	err := eachRecord(txn, []byte{classHome}, func() *wire.HomePeer { return &wire.HomePeer{} }, func(key []byte, rec *wire.HomePeer) {
		j.reportNo[ID(key[1:17])] = rec.Acked
		if rec.Base > 0 { // a program of this schema's first days did not say so
			j.birth.Schema = max(j.birth.Schema, schemaBased)
		}
	})
	if err != nil {
		return err
	}
	opts := badger.DefaultIteratorOptions
	opts.PrefetchValues = false
	opts.Prefix = []byte{classReport}
	it := txn.NewIterator(opts)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		key := it.Item().Key()
		home, no := homeOf(key)
		j.reportNo[home] = max(j.reportNo[home], no)
	}
	return nil
}

// Reports returns unacked reports for home with numbers above after, in order:
// at most max of them, and at most about 1 MiB.
func (j *Journal) Reports(home ID, after uint64, max int) (out []*wire.Report, err error) {
	var lost []uint64
	defer func() {
		for _, no := range lost {
			err = errors.Join(err, j.loseReport(home, no))
		}
	}()
	err = j.view(func(txn *page) error {
		var rec wire.HomePeer
		if _, err := readMessage(txn, idKey(classHome, home), &rec); err != nil {
			return err
		}
		opts := badger.DefaultIteratorOptions
		opts.Prefix = idKey(classReport, home)
		opts.PrefetchSize = min(max, 64)
		it := txn.NewIterator(opts)
		defer it.Close()
		size := 0
		for it.Seek(reportKey(home, rec.Base+after+1)); it.Valid() && len(out) < max && size < reportsBytes; it.Next() {
			key := it.Item().KeyCopy(nil)
			text, err := it.Item().ValueCopy(nil)
			if err != nil {
				return err
			}
			r := &wire.Report{}
			if err := unsealMessage(key, text, r); err != nil {
				j.warn(err.Error())
				_, no := homeOf(key)
				r = lostReport(no)
				lost = append(lost, r.No)
			}
			if err := addBody(txn, r); isFault(err) {
				j.warn(err.Error())
				r.Body = OmittedBody(r)
			} else if err != nil {
				return err
			}
			r.No -= rec.Base
			size += len(text) + len(r.Body)
			out = append(out, r)
		}
		return nil
	})
	return out, err
}

// lostReport has the number of a report that cannot be read, and is about nothing: those that
// follow it are heard.
func lostReport(no uint64) *wire.Report { return &wire.Report{No: no, Id: make([]byte, 16)} }

// loseReport puts that in its place. What it said home asks for when it is told next what we
// hold: the intent is not listed, and is offered again; settled, it is answered so again.
func (j *Journal) loseReport(home ID, no uint64) error {
	return j.do(context.Background(), first, &op{run: func(t *tx) error {
		key := reportKey(home, no)
		if there, err := t.has(key); err != nil || !there {
			return err
		}
		t.after(func() {
			j.figures.aside.Add(1)
			if f := j.hooks.Corrupt; f != nil {
				f(Corrupt{Record: describe(key), Why: "it cannot be read"})
			}
			if f := j.hooks.Lost; f != nil {
				f(ID{})
			}
		})
		return t.put(key, lostReport(no))
	}})
}

// addBody joins a report of an answer with the outcome that is kept beside it.
func addBody(txn *page, r *wire.Report) error {
	if state.Fact(r.Fact) != state.FactAnswered {
		return nil
	}
	id, err := IDOf(r.Id)
	if err != nil {
		return err
	}
	blob, found, err := joinChunks(reader(txn), classOutcome, id)
	if err != nil || !found {
		return err
	}
	var out wire.Outcome
	if err := proto.Unmarshal(blob, &out); err != nil {
		return &CorruptError{Key: chunkKey(classOutcome, id, 0), Why: err.Error()}
	}
	r.Body = out.Body
	return nil
}

// AckReports forgets the reports up to a number and takes over what home says
// of the intents they were about.
func (j *Journal) AckReports(ctx context.Context, home ID, upTo uint64, acked []Acked) error {
	ops := make([]*op, 0, len(acked)+1)
	for _, a := range acked {
		ops = append(ops, &op{about: a.ID, run: func(t *tx) error { return t.ackedByHome(home, a) }})
	}
	// The numbers go last: if the batch is cut between, the reports are sent
	// again and acked again.
	more := false
	forget := func(t *tx) (err error) {
		more, err = t.forgetReports(home, upTo)
		return err
	}
	err := j.doApart(ctx, first, append(ops, &op{run: forget})...)
	for err == nil && more {
		err = j.do(ctx, first, &op{run: forget})
	}
	return err
}

// forgetMost is how many reports one operation forgets: where acks were lost there are more
// than a batch has room for.
const forgetMost = 1000

// forgetReports forgets those up to a number that home has acked, or the first of them; more
// says that there are others.
func (t *tx) forgetReports(home ID, upTo uint64) (more bool, err error) {
	key := idKey(classHome, home)
	var rec wire.HomePeer
	if _, err := t.get(key, &rec); err != nil {
		return false, err
	}
	all := rec.Base + min(upTo, t.lastReport(home)-rec.Base)
	some := min(all, rec.Acked+forgetMost)
	for no := rec.Acked + 1; no <= some; no++ {
		t.delIndex(reportKey(home, no))
	}
	rec.Acked = max(rec.Acked, some)
	return some < all, t.put(key, &rec)
}

func (t *tx) ackedByHome(home ID, a Acked) error {
	h, found, err := t.hand(a.ID)
	if err != nil || !found || h.home() != home {
		return err
	}
	if a.Unknown {
		// Home was restored from before it accepted this: an orphan, handed over
		// like any other. (One that left home's history is revoked at reconcile.)
		return nil
	}
	reason := state.NoReason
	if a.Status.Terminal() {
		h.rec.HomeStatus, h.rec.EndedAtHome = uint32(a.Status), true
		if len(a.Events) > 0 { // else it was purged at home since
			if err := t.put(idKey(classEvents, h.id), &wire.Events{Events: a.Events}); err != nil {
				return err
			}
		}
		reason = endedFor(a.Events)
	} else if h.phase().Open() && a.Status != state.None {
		h.rec.HomeStatus = uint32(a.Status)
	}
	if h.rec.EndedAtHome && h.phase().Open() {
		if _, err := t.step(h, state.Revoke, t.now); err != nil {
			return err
		}
	}
	if err := t.layCopy(h, reason); err != nil {
		return err
	}
	if h.rec.EndedAtHome {
		if err := t.handThreadRuled(h, a.Events); err != nil {
			return err
		}
	}
	return t.saveHand(h)
}
