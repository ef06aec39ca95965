package journal

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// A dead letter is an intent that ended FAILED or TIMED_OUT for a reason of
// delivery. The batch that ends it puts it into the index of dead letters, by the
// time it ended, whoever it was for: a page of them is read newest first, and a
// filter reads the head, which is small. Its holder has a copy, in the same index
// of its own journal, from the batch in which it hears of the end.

// lay puts an intent that is being ended among the dead letters, if it is one.
func (t *tx) lay(l *life, on state.Trigger, why state.Reason) {
	if on != state.Fail && on != state.Expire || why.DeadLetter() == "" {
		return
	}
	l.head.DeadMs = ms(t.now)
	t.putIndex(deadKey(l.head.DeadMs, l.id))
}

// toldEvents are the events of what a holder goes on showing when it has ended: a dead letter,
// for the copies of it, and what people have, for its thread; none of any other.
func (l *life) toldEvents() []*wire.Event {
	if l.head.DeadMs == 0 && !l.head.HumanTask && !l.head.InInbox {
		return nil
	}
	return l.events.Events
}

// layCopy does the same at the holder, once it knows why home ended the intent. Where what was
// sent is gone there is no copy: home has the dead letter.
func (t *tx) layCopy(h *hand, why state.Reason) error {
	s := state.Status(h.rec.HomeStatus)
	if h.rec.DeadReason != 0 || s != state.Failed && s != state.TimedOut || why.DeadLetter() == "" || h.home() == t.j.self.Journal {
		return nil
	}
	env, err := t.keptEnvelope(h.id)
	switch {
	case err != nil && !isFault(err):
		return err
	case env == nil:
		h.rec.SentLost = true
		return nil
	}
	h.rec.DeadReason = uint32(why)
	t.outOfHistory(h)
	t.putIndex(deadKey(h.rec.EndedMs, h.id))
	return nil
}

// forgetCopy takes what a holder has kept out of the index.
func (t *tx) forgetCopy(h *hand) {
	if h.rec.DeadReason != 0 {
		t.delIndex(deadKey(h.rec.EndedMs, h.id))
	}
}

// noteRedriven lets the copy of a dead letter show its successor, which has come
// to be held here.
func (t *tx) noteRedriven(home, id ID, env *wire.Envelope) error {
	of, err := IDOf(env.RedriveOf)
	if err != nil {
		return nil // it is the successor of nothing
	}
	h, found, err := t.hand(of)
	if err != nil || !found || h.home() != home || h.rec.DeadReason == 0 {
		return err
	}
	h.rec.RedrivenAs = id[:]
	return t.saveHand(h)
}

// endedFor is the reason of the event that ended an intent.
func endedFor(events []*wire.Event) state.Reason {
	if len(events) == 0 {
		return state.NoReason
	}
	return state.Reason(events[len(events)-1].Reason)
}

func (l *life) endedFor() state.Reason { return endedFor(l.events.Events) }

// DeadReason is the reason of delivery for which a dead letter ended; NoReason for
// any other intent.
func (i *Intent) DeadReason() state.Reason {
	switch {
	case i.Head != nil && i.Head.DeadMs != 0:
		return state.Reason(i.Head.Reason)
	case i.Head == nil && i.Handover != nil:
		return state.Reason(i.Handover.DeadReason)
	}
	return state.NoReason
}

// RedrivenAs is the successor of a dead letter, as far as it is known here.
func (i *Intent) RedrivenAs() (ID, bool) {
	as := i.Handover.GetRedrivenAs()
	if i.Head != nil {
		as = i.Head.RedrivenAs
	}
	id, err := IDOf(as)
	return id, err == nil
}

// WaitsForOperator reports whether nobody but an operator moves the intent: it is
// out of attempts and asked to be held then, or its holders were lost too often.
func (i *Intent) WaitsForOperator() bool {
	if i.Head != nil {
		return (&life{head: wire.Head{Status: i.Head.Status, Reason: i.Head.Reason}}).waitsForOperator()
	}
	return state.Phase(i.Handover.Phase) == state.Spent && state.Status(i.Handover.HomeStatus) == state.Waiting
}

// DeadCursor is the place of a dead letter in their order; zero: before the newest.
type DeadCursor struct {
	endedMS int64
	id      ID
}

// IsZero reports whether it is no place.
func (c DeadCursor) IsZero() bool { return c == DeadCursor{} }

func (c DeadCursor) key() []byte { return deadKey(c.endedMS, c.id) }

func (c DeadCursor) String() string { return hex.EncodeToString(c.key()[1:]) }

// ParseDeadCursor is the inverse of String.
func ParseDeadCursor(text string) (DeadCursor, error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != 24 {
		return DeadCursor{}, errors.New("no cursor of dead letters")
	}
	return DeadCursor{int64(binary.BigEndian.Uint64(raw)), ID(raw[8:])}, nil
}

// DeadFilter chooses dead letters. The zero value is all of them.
type DeadFilter struct {
	To           string       // the agent
	Type         string       // the intent type
	Class        string       // as Reason.DeadLetter says
	Reason       state.Reason // NoReason: any
	Since, Until time.Time    // ended at or after, and before; zero: no limit
	Unredriven   bool         // only those that have no successor
	Whole        bool         // only those of which what was sent is here
	After        DeadCursor   // exclusive: older ones; zero: from the newest
	Limit        int
}

// DeadLetter is one of them, as this journal knows it.
type DeadLetter struct {
	*Intent
	At     time.Time // when it ended, or when that was known here
	Cursor DeadCursor
	Events []*wire.Event // all there are here; the last one ended it
}

// DeadLetters returns dead letters, the last to have ended first, and where the
// next page begins (its After); zero when there are no more. A filter that matches
// little returns what it has found among 10,000.
func (j *Journal) DeadLetters(f DeadFilter) (out []*DeadLetter, next DeadCursor, err error) {
	scanned := 0
	err = j.views(func(txn *page) (more bool, err error) {
		it := newestDead(txn, f)
		defer it.Close()
		for ; ; scanned++ {
			if !it.Valid() {
				next = DeadCursor{}
				return false, nil
			}
			if scanned >= listScan || len(out) >= f.Limit {
				return false, nil
			}
			if txn.full() {
				return true, nil
			}
			when, id := splitDue(it.Item().Key())
			next = DeadCursor{when.UnixMilli(), id}
			if !f.Since.IsZero() && when.Before(f.Since) {
				next = DeadCursor{}
				return false, nil
			}
			f.After = next
			d, err := readDead(txn, next, j.agentFilter(f))
			if isFault(err) {
				j.suspect(id, err)
				d, err = nil, nil // one that cannot be read hides no other
			}
			if err != nil {
				return false, fmt.Errorf("dead letter %s: %w", id, err)
			}
			if d != nil && f.matches(d) {
				out = append(out, d)
			}
			it.Next()
		}
	})
	return out, next, err
}

func newestDead(txn *page, f DeadFilter) *iterator {
	opts := badger.DefaultIteratorOptions
	opts.PrefetchValues, opts.Reverse = false, true
	opts.Prefix = []byte{classDead}
	it := txn.NewIterator(opts)
	from := append([]byte{classDead}, 0xff)
	if !f.Until.IsZero() {
		from = deadKey(f.Until.UnixMilli(), ID{}) // no id is zero: what ended then is behind it
	}
	if !f.After.IsZero() && string(f.After.key()) < string(from) {
		from = f.After.key()
	}
	it.Seek(from)
	if !f.After.IsZero() && it.Valid() && string(it.Item().Key()) == string(f.After.key()) {
		it.Next()
	}
	return it
}

// agentFilter reports whether a number of the dictionary is that of the agent asked for.
func (j *Journal) agentFilter(f DeadFilter) func(Agent) bool {
	if f.To == "" {
		return func(Agent) bool { return true }
	}
	want, known := j.AgentNo(f.To)
	return func(a Agent) bool { return known && a == want }
}

// readDead reads the dead letter an index key names. It is nil where the agent is
// not one asked for, or the record says that it is no dead letter: the record decides.
func readDead(txn *page, c DeadCursor, asked func(Agent) bool) (*DeadLetter, error) {
	var head wire.Head
	homed, err := readMessage(txn, idKey(classHead, c.id), &head)
	if err != nil {
		return nil, err
	}
	agent := Agent(head.Dest)
	if !homed {
		var h wire.Handover
		if _, err := readMessage(txn, idKey(classHandover, c.id), &h); err != nil {
			return nil, err
		}
		agent = Agent(h.Agent)
	}
	if !asked(agent) {
		return nil, nil
	}
	i, err := readIntent(txn, c.id)
	if errors.Is(err, ErrNotFound) || err == nil && i.DeadReason() == state.NoReason {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return dead(txn, i)
}

func dead(txn *page, i *Intent) (*DeadLetter, error) {
	d := &DeadLetter{Intent: i, Cursor: DeadCursor{id: i.ID}}
	if i.Head != nil {
		d.Cursor.endedMS = i.Head.DeadMs
	} else {
		d.Cursor.endedMS = i.Handover.EndedMs
	}
	d.At = at(d.Cursor.endedMS)
	var log wire.Events
	if _, err := readMessage(txn, idKey(classEvents, i.ID), &log); err != nil {
		return nil, err
	}
	d.Events = log.Events
	return d, nil
}

func (f DeadFilter) matches(d *DeadLetter) bool {
	why := d.DeadReason()
	_, redriven := d.RedrivenAs()
	switch {
	case f.Type != "" && (d.Envelope == nil || d.Envelope.IntentType != f.Type):
		return false
	case f.Class != "" && why.DeadLetter() != f.Class:
		return false
	case f.Reason != state.NoReason && why != f.Reason:
		return false
	}
	return (!f.Unredriven || !redriven) && (!f.Whole || !d.SentLost())
}

// DeadLetter returns one dead letter: ErrNotFound where the intent is not here,
// ErrNotDead where it is none.
func (j *Journal) DeadLetter(id ID) (*DeadLetter, error) {
	var d *DeadLetter
	err := j.view(func(txn *page) error {
		i, err := readIntent(txn, id)
		if err != nil {
			return err
		}
		if i.DeadReason() == state.NoReason {
			return ErrNotDead
		}
		d, err = dead(txn, i)
		return err
	})
	return d, err
}

// Purge removes dead letters for good, one commit each: body, events and head, or a
// holder's copy. What is left says when, by whom, and why it had ended. The errors
// are in the order of ids: ErrNotFound, ErrNotDead.
func (j *Journal) Purge(ctx context.Context, ids []ID, actor string) ([]error, error) {
	ops := make([]*op, len(ids))
	for i, id := range ids {
		ops[i] = &op{run: func(t *tx) error { return t.purge(id, actor) }}
	}
	if err := j.do(ctx, third, ops...); err != nil && j.running() != nil {
		return nil, err
	}
	errs := make([]error, len(ids))
	for i := range ops {
		errs[i] = ops[i].err
	}
	return errs, nil
}

func (t *tx) purge(id ID, actor string) error {
	l, homed, err := t.life(id)
	if err != nil {
		return err
	}
	h, held, err := t.hand(id)
	switch {
	case err != nil:
		return err
	case !homed && !held:
		return ErrNotFound
	case homed && l.head.DeadMs == 0, !homed && h.rec.DeadReason == 0:
		return ErrNotDead
	}
	left := wire.Purged{AtMs: ms(t.now), Actor: cut(actor, maxText)}
	if homed {
		left.Reason, left.EndedMs, left.Agent, left.Status = l.head.Reason, l.head.DeadMs, l.head.Dest, l.head.Status
		t.del(idKey(classHead, id))
	} else {
		left.Reason, left.EndedMs, left.Agent, left.Status = h.rec.DeadReason, h.rec.EndedMs, h.rec.Agent, h.rec.HomeStatus
	}
	t.delIndex(deadKey(left.EndedMs, id))
	t.putIndex(timeKey(classHistory, left.AtMs, id[:]))
	if held {
		if err := t.purgeHand(h, homed); err != nil {
			return err
		}
	}
	t.del(idKey(classEvents, id))
	t.del(idKey(classPolicy, id))
	t.del(idKey(classPlan, id))
	env, err := t.lastEnvelope(id)
	if err != nil {
		return err
	}
	if err := t.dropTold(id, env); err != nil {
		return err
	}
	for _, class := range []byte{classEnvelope, classOutcome} {
		if err := t.delChunks(class, id); err != nil {
			return err
		}
	}
	return t.put(idKey(classPurged, id), &left)
}

// purged returns what is left of a purged dead letter; nil where there was none.
func (t *tx) purged(id ID) (*wire.Purged, error) {
	var p wire.Purged
	found, err := t.get(idKey(classPurged, id), &p)
	if err != nil || !found {
		return nil, err
	}
	return &p, nil
}

// purgeHand removes a hand-over, but for the one its app has finished after home
// gave it up: should home be restored from before that, it must not be handed over
// again.
func (t *tx) purgeHand(h *hand, homed bool) error {
	if homed || h.phase() != state.Answered {
		t.del(idKey(classHandover, h.id))
		return nil
	}
	h.rec.DeadReason, h.rec.RedrivenAs = 0, nil
	h.rec.RetainMs, h.rec.BodyGone = ms(t.now), true // the key of what is left of it, too
	return t.saveHand(h)
}
