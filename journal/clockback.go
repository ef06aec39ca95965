package journal

import (
	"context"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// longBack is how far the clock must have been put back for what home has put off by it to
// be found: until then it is late by as much, for deliver_at is a time that somebody has
// named. Leases and pauses are so long from when they began, and found after any jump.
const longBack = 24 * time.Hour

// keepTime reports whether the wall clock, which says now, may end what has run out of
// time; and believes it once it has held for long enough.
func (j *Journal) keepTime(ctx context.Context) (now time.Time, ok bool) {
	now, c := j.clock.look()
	switch {
	case !c.Paused:
		return now, true
	case c.Left > 0:
		return now, false
	}
	// A crash here, or in it: the next start finds the clock as it was, and does it again.
	if c.Back > clockJump && j.bringBack(ctx, c.Back) != nil {
		return now, false
	}
	j.clock.believe()
	return now, true
}

// bringBack finds what was put off by a clock that was ahead by so much: if that was far, it
// would wait for years. As much as it had to wait then it waits from now on. Limits of time stay where they are:
// which of them a wrong clock has made is not known, and late is better than early.
func (j *Journal) bringBack(ctx context.Context, by time.Duration) error {
	if by > longBack {
		if err := j.bringBackAll(ctx, []byte{classExpiry}, (*tx).bringLifeBack); err != nil {
			return err
		}
	}
	return j.bringBackAll(ctx, []byte{classMail}, (*tx).bringHandBack)
}

// bringBackAll does so with what an index has that is still to come.
func (j *Journal) bringBackAll(ctx context.Context, prefix []byte, f func(*tx, ID) error) error {
	for from := prefix; from != nil; {
		var ids []ID
		err := j.view(func(txn *page) error {
			opts := badger.DefaultIteratorOptions
			opts.PrefetchValues, opts.Prefix = false, prefix
			it := txn.NewIterator(opts)
			defer it.Close()
			for it.Seek(from); it.Valid(); it.Next() {
				key := it.Item().KeyCopy(nil)
				if len(ids) == expiryBatch {
					from = key
					return nil
				}
				_, id := splitDue(key)
				ids = append(ids, id)
			}
			from = nil
			return nil
		})
		if err != nil {
			return err
		}
		ops := make([]*op, len(ids))
		for i, id := range ids {
			ops[i] = &op{about: id, run: func(t *tx) error { return f(t, id) }}
		}
		if err := j.do(ctx, first, ops...); err != nil && over(ctx, err) {
			return err
		}
	}
	return nil
}

// back is how far a time on record is ahead of now; nothing where it may have been right.
func (t *tx) back(written int64) time.Duration {
	if by := at(written).Sub(t.now); by > clockJump {
		return by
	}
	return 0
}

func (t *tx) bringLifeBack(id ID) error {
	l, found, err := t.life(id)
	if err != nil || !found || !l.open() {
		return err
	}
	by := t.back(l.head.UpdatedMs)
	if by == 0 {
		return nil
	}
	for _, when := range []*int64{&l.head.RemindMs, &l.head.WakeMs} {
		if *when != 0 {
			*when = ms(at(*when).Add(-by))
		}
	}
	if l.place() == PlaceDue {
		t.goTo(l, PlaceDue, at(l.head.DueMs).Add(-by), ID{})
	}
	t.expireAt(l)
	return t.saveLife(l)
}

func (t *tx) bringHandBack(id ID) error {
	h, found, err := t.hand(id)
	if err != nil || !found || !h.phase().Open() || h.rec.DueMs == ms(never) {
		return err
	}
	_, set := dueOf(&h.rec)
	by := t.back(ms(set))
	if by == 0 {
		return nil
	}
	t.delIndex(dueKey(classMail, h.agent(), h.rec.DueMs, h.id))
	t.mailAt(h, at(h.rec.DueMs).Add(-by))
	if h.rec.LeaseUntilMs != 0 {
		h.rec.LeaseUntilMs = h.rec.DueMs
	}
	if t.back(h.rec.LeasedAtMs) > 0 {
		h.rec.LeasedAtMs = ms(t.now) // else it could be extended until then, and longer
	}
	return t.saveHand(h)
}
