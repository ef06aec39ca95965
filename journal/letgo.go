package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// The history is let go from its old end: bodies first, then the rest, each when its
// time is over, and the oldest of all whole where there is more than may be. What is let
// go at once is a slice; the next waits until that is durable, behind whatever came
// meanwhile, so that nobody waits for more than a slice of it.
const (
	historySlice = 400         // about as many as end in a full batch: a journal that is never idle keeps up
	historyRest  = time.Minute // the longest sleep of the sweep
	// historyYoung is what ended just now: others may yet come to be before it in the index.
	historyYoung = time.Second
)

// historyLoop lets go what is to be let go. Where it stood is in no record: a start
// begins at the old end, which is all there is.
func (j *Journal) historyLoop(ctx context.Context) {
	s := historySweep{j: j}
	sleep := newPause()
	defer sleep.timer.Stop()
	for wake := j.history.wake; ; {
		select {
		case <-ctx.Done():
			return
		case <-j.stopped:
			return
		case <-wake:
		case <-sleep.now:
		case <-sleep.timer.C:
		}
		n, freed, err := s.round(ctx, s.j.clock.mayForget())
		if err != nil {
			return // the journal has stopped
		}
		rest := historyRest
		wake = j.history.wake
		switch {
		case n == historySlice && !s.passing:
			rest = 0
		case s.over && !freed: // nothing of it may go yet
			wake, rest = nil, 2*historyYoung
		}
		sleep.set(rest)
	}
}

// round lets one slice go, and says how much that was and whether that has made room.
func (s *historySweep) round(ctx context.Context, believed bool) (n int, freed bool, err error) {
	h := s.j.history
	h.sweeping.Lock()
	defer h.sweeping.Unlock()
	before := h.figures.freed.Load()
	ops, err := s.slice(s.j.now(), believed)
	if err != nil {
		return 0, false, err
	}
	if err := s.j.do(ctx, last, ops...); err != nil && (ctx.Err() != nil || s.j.running() != nil) {
		return 0, false, err
	}
	for _, o := range ops {
		if o.err != nil { // it stays, and the next start tries again
			s.j.warn("let go of the history: " + o.err.Error())
			var corrupt *CorruptError
			if errors.As(o.err, &corrupt) {
				id, _ := intentOf(corrupt.Key) // each of its records has one
				s.j.suspect(id, corrupt)
			}
		}
	}
	freed = h.figures.freed.Load() > before
	s.passing = s.over && !freed && len(ops) == historySlice
	return len(ops), freed, nil
}

// historySweep is where the sweep stands.
type historySweep struct {
	j       *Journal
	forget  []byte    // first idempotency key not looked at
	notice  ID        // last notice looked at; zero: from the oldest
	begun   time.Time // when it last looked for room from the oldest on
	over    bool      // the last slice had something for want of room
	passing bool      // all of that has to stay: what may go is behind it
}

// slice is what to let go next, at most historySlice. What is old goes only by a clock that
// may be believed; what must make room goes by its place.
func (s *historySweep) slice(now time.Time, believed bool) (ops []*op, err error) {
	h := s.j.history
	add := func(run func(t *tx) error) { ops = append(ops, &op{run: run}) }
	room := func() bool { return len(ops) < historySlice }
	walk := func(class byte, part int, until time.Time, f func(t *tx, ended int64, id ID) error) {
		if err != nil || !room() {
			return
		}
		_, err = s.j.indexes.part([]byte{class}, part).scan(s.j, until, func(_ *page, ended time.Time, id ID) bool {
			if !room() {
				return false
			}
			add(func(t *tx) error { return f(t, ms(ended), id) })
			return true
		})
	}
	if believed {
		walk(classRetain, 0, now.Add(-h.HistoryBodies), func(t *tx, ended int64, id ID) error { return t.letGo(classRetain, ended, id, bodies) })
		walk(classHistory, 0, now.Add(-h.HistoryFor), func(t *tx, ended int64, id ID) error { return t.letGo(classHistory, ended, id, aged) })
		walk(classDead, 0, now.Add(-h.DeadLettersFor), (*tx).letGoDead)
	}
	s.over = room() && h.figures.bytes.Load() > h.most()
	if s.over {
		again := !s.passing && now.Sub(s.begun) >= historyRest // what could not go may by now
		for _, class := range []byte{classHistory, classRetain} {
			if again {
				s.j.indexes.part([]byte{class}, 1).lower([]byte{class})
				s.begun = now
			}
			walk(class, 1, now.Add(-historyYoung), func(t *tx, ended int64, id ID) error { return t.makeRoom(class, ended, id) })
		}
	}
	if err == nil && room() && believed {
		err = s.keys(now, room, add)
	}
	if err == nil && room() && believed {
		err = s.notices(now, room, add)
	}
	return ops, err
}

// keys are idempotency keys whose time is over.
func (s *historySweep) keys(now time.Time, room func() bool, add func(func(*tx) error)) error {
	return s.j.view(func(txn *page) error {
		eachKey(txn, []byte{classForget}, s.forget, func(key []byte) bool {
			if !room() || int64(binary.BigEndian.Uint64(key[1:])) > ms(now) {
				return false
			}
			s.forget = append(bytes.Clone(key), 0)
			add(func(t *tx) error { return t.forget(key) })
			return true
		})
		return nil
	})
}

// notices are webhook events of which no delivery is left.
func (s *historySweep) notices(now time.Time, room func() bool, add func(func(*tx) error)) error {
	until := max(ms(now.Add(-s.j.history.HistoryFor)), s.j.history.figures.letGo.Load())
	return s.j.view(func(txn *page) error {
		from, end := append(idKey(classNotice, s.notice), 0), true
		eachKey(txn, []byte{classNotice}, from, func(key []byte) bool {
			if !room() {
				end = false
				return false
			}
			s.notice = ID(key[1:17])
			if ms(s.notice.Time()) > until {
				return false
			}
			id := s.notice
			add(func(t *tx) error { return t.letGoNotice(id) })
			return true
		})
		if end {
			s.notice = ID{}
		}
		return nil
	})
}

// makeRoom lets an intent go for want of room, if there still is.
func (t *tx) makeRoom(class byte, ended int64, id ID) error {
	if t.historyBytes() <= t.j.history.low() {
		t.j.indexes.lower([]byte{class}, timeKey(class, ended, id[:]))
		return nil
	}
	return t.letGo(class, ended, id, forRoom)
}

// letting is what is let go, and why.
type letting uint8

const (
	bodies  letting = iota // their time is over
	aged                   // all of it, likewise
	forRoom                // all of it, that there is room
)

// letGo lets go of what an entry of the history names. The record decides whether there
// is anything to let go: what an entry names may be a dead letter by now, or be elsewhere
// in the history: one that is open, or a dead letter, has no time in it. What somebody still needs
// comes again when it is as old once more.
func (t *tx) letGo(class byte, ended int64, id ID, what letting) error {
	l, homed, err := t.life(id)
	if err != nil {
		return err
	}
	h, held, err := t.hand(id)
	if err != nil {
		return err
	}
	key := timeKey(class, ended, id[:])
	switch {
	case homed && ended != 0 && l.head.RetainMs == ended:
		return t.letGoLife(l, held, key, ended, what)
	case !homed && held && ended != 0 && h.rec.RetainMs == ended:
		return t.letGoHand(h, key, ended, what)
	case !homed && !held:
		t.del(idKey(classPurged, id))
		t.delIndex(key)
		t.op.history.merge(&kept{letGo: ended}) // else what still names it would name what was lost
		return t.dropThread(id, id)             // people saw until now what had become of it
	}
	t.delIndex(key)
	return nil
}

func (t *tx) letGoLife(l *life, held bool, key []byte, ended int64, what letting) error {
	needed, err := t.neededByParent(l)
	switch {
	case err != nil:
		return err
	case needed && what == forRoom:
		return nil
	case needed:
		t.delIndex(key)
		l.head.RetainMs = ms(t.now)
		t.retain(key[0], l.head.RetainMs, l.id)
		return t.put(idKey(classHead, l.id), &l.head)
	case what == bodies:
		t.delIndex(key)
		size, err := t.dropBodies(l.id)
		if err != nil {
			return err
		}
		size += int64(proto.Size(&l.events)) + historyOverhead
		t.op.history.merge(&kept{bytes: size - l.head.KeptBytes, freed: l.head.KeptBytes - size})
		l.head.KeptBytes, l.head.RetainMs, l.head.BodyGone = size, ended, true
		t.retain(classHistory, ended, l.id)
		return t.put(idKey(classHead, l.id), &l.head)
	}
	for _, class := range []byte{classHead, classPolicy, classPlan} {
		t.del(idKey(class, l.id))
	}
	if held {
		t.del(idKey(classHandover, l.id))
	}
	return t.dropRest(l.id, key, ended, l.head.KeptBytes)
}

// neededByParent reports whether an intent is part of one that is open.
func (t *tx) neededByParent(l *life) (bool, error) {
	if len(l.head.Parent) == 0 {
		return false, nil
	}
	var parent wire.Head
	found, err := t.get(idKey(classHead, ID(l.head.Parent)), &parent)
	return found && state.Status(parent.Status).Open(), err
}

// letGoHand lets go of what we held for another home: not before that knows what came
// of it, and the id of it not before its time.
func (t *tx) letGoHand(h *hand, key []byte, ended int64, what letting) error {
	unheard := !h.rec.EndedAtHome && h.phase().Settled() // by home: nobody else has it
	switch young := h.rec.EndedMs > ms(t.now.Add(-keepIDs)); {
	case what == forRoom && (unheard || young && h.rec.BodyGone):
		return nil
	case unheard:
		t.delIndex(key)
		h.rec.RetainMs = ms(t.now)
		t.retain(key[0], h.rec.RetainMs, h.id)
		return t.put(idKey(classHandover, h.id), &h.rec)
	case young && h.rec.BodyGone: // it is asked about again when its day is over
		t.delIndex(key)
		h.rec.RetainMs = h.rec.EndedMs + (keepIDs - t.j.history.HistoryFor).Milliseconds()
		t.retain(classHistory, h.rec.RetainMs, h.id)
		return t.put(idKey(classHandover, h.id), &h.rec)
	case young:
		t.delIndex(key)
		size, err := t.dropBodies(h.id)
		if err != nil {
			return err
		}
		size += historyOverhead
		t.op.history.merge(&kept{bytes: size - h.rec.KeptBytes, freed: h.rec.KeptBytes - size})
		h.rec.KeptBytes, h.rec.RetainMs, h.rec.BodyGone = size, ended, true
		t.retain(classHistory, ended, h.id)
		return t.put(idKey(classHandover, h.id), &h.rec)
	}
	t.del(idKey(classHandover, h.id))
	return t.dropRest(h.id, key, ended, h.rec.KeptBytes)
}

func (t *tx) retain(class byte, ended int64, id ID) {
	key := timeKey(class, ended, id[:])
	t.putIndex(key)
	t.inserted([]byte{class}, key, nil)
}

// dropRest removes what is neither head nor hand-over of an intent.
func (t *tx) dropRest(id ID, key []byte, ended, size int64) error {
	env, err := t.lastEnvelope(id)
	if err != nil {
		return err
	}
	t.delIndex(key)
	t.del(idKey(classEvents, id))
	t.del(idKey(classPurged, id))
	if aside, err := t.has(idKey(classAside, id)); err != nil {
		return err
	} else if aside {
		t.del(idKey(classAside, id))
	}
	for _, class := range []byte{classEnvelope, classOutcome} {
		if err := t.delChunks(class, id); err != nil {
			return err
		}
	}
	t.op.history.merge(&kept{bytes: -size, freed: size, letGo: ended, gone: 1})
	if err := t.dropThread(id, id); err != nil {
		return err
	}
	return t.dropTold(id, env)
}

// dropTold drops the thread that a completion has made where the intent it tells of is
// another home's.
func (t *tx) dropTold(id ID, env *wire.Envelope) error {
	of, err := IDOf(env.GetCompletionOf())
	if err != nil {
		return nil // it is no completion
	}
	return t.dropThread(of, id)
}

// dropThread takes the thread of an intent out of all inboxes.
func (t *tx) dropThread(id, intent ID) error {
	th, found, err := t.thread(id)
	if err != nil || !found || string(th.rec.Intent) != string(intent[:]) {
		return err
	}
	for _, owner := range th.owners() {
		t.delIndex(inboxKey(owner, th.rec.Change, id))
	}
	t.del(idKey(classThread, id))
	return nil
}

// letGoDead purges a dead letter whose time is over.
func (t *tx) letGoDead(_ int64, id ID) error {
	err := t.purge(id, actorSelf)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrNotDead) {
		return nil // the record decides
	}
	return err
}

// forget lets go of an idempotency key, unless it has been used again since.
func (t *tx) forget(key []byte) error {
	t.delIndex(key)
	record := append([]byte{classDedupe}, key[9:]...)
	var d wire.Dedupe
	found, err := t.get(record, &d)
	if err != nil || !found || d.CreatedMs > ms(t.now.Add(-keepKeys)) {
		return err
	}
	t.del(record)
	return nil
}

func (t *tx) letGoNotice(id ID) error {
	var n wire.Notice
	found, err := t.get(idKey(classNotice, id), &n)
	if err != nil || !found {
		return err
	}
	for _, one := range n.Deliveries {
		if left, err := t.has(idKey(classHead, ID(one))); err != nil || left {
			return err
		}
	}
	t.del(idKey(classNotice, id))
	return nil
}
