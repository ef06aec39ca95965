package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// What is left of an intent of which a record cannot be read is made into as much of an
// intent as it takes to end it. What was read of it before, its bytes, is set aside.

// suspectsMost is how many wait to be looked into; of more the scrub finds out.
const suspectsMost = 64

// suspect has an intent looked into that a reader could not read.
func (j *Journal) suspect(id ID, why error) {
	select {
	case j.suspects <- blame{id, why}:
	default:
	}
}

func (j *Journal) lookInto(ctx context.Context, b blame) {
	var err error
	if errors.Is(b.why, ErrFault) {
		err = j.do(ctx, first, j.quarantine(b))
	} else {
		err = j.see(ctx, b.id)
	}
	if err != nil && j.running() == nil {
		j.warn(fmt.Sprintf("look into intent %s: %v", b.id, err))
	}
}

// see sees to an intent of which a record may be unreadable. If we crash between its
// commits, the next scrub comes by again.
func (j *Journal) see(ctx context.Context, id ID) error {
	var why *CorruptError
	if err := j.do(ctx, first, &op{run: func(t *tx) (err error) { why, err = t.setAside(id); return err }}); err != nil || why == nil {
		return err
	}
	switch why.Key[0] {
	case classThread:
		return nil // it is in no inbox; the intent goes on
	case classHead, classHandover:
		keys, err := j.entriesOf(id)
		if err != nil {
			return err
		}
		reports, err := j.reportsOf(id)
		if err != nil {
			return err
		}
		keys = append(keys, reports...)
		return j.do(ctx, first, &op{run: func(t *tx) error {
			mend := func() error { return t.mend(id, keys) }
			if why.Key[0] == classHandover { // its home goes on with it
				return mend()
			}
			return t.setAsideWhole(blame{id, why}, mend)
		}})
	case classEnvelope:
		return j.do(ctx, first, &op{run: func(t *tx) error {
			if ends, err := t.endsElsewhere(id); err != nil || ends {
				return err
			}
			return t.setAsideWhole(blame{id, why}, nil)
		}})
	}
	return j.do(ctx, first, j.quarantine(blame{id, why}))
}

// endsElsewhere reports whether another journal has an intent, with its envelope, and nobody
// is told of its end: then it ends by what that journal says, and is read without what was sent.
func (t *tx) endsElsewhere(id ID) (bool, error) {
	var h wire.Head
	homed, err := t.get(idKey(classHead, id), &h)
	if err != nil || !homed || Place(h.Place) != PlaceHeld || h.ReplyDest != 0 {
		return false, err
	}
	if _, err := t.dropUnreadable(id, classEnvelope, &wire.Envelope{}); err != nil || h.SentLost {
		return h.SentLost, err
	}
	h.SentLost = true
	return true, t.put(idKey(classHead, id), &h)
}

// entriesOf are the entries of indexes that name an intent. While its record cannot be read
// nothing moves them.
func (j *Journal) entriesOf(id ID) (keys [][]byte, err error) {
	for _, class := range []byte{classDue, classHeld, classParked, classExpiry, classMail, classDead, classTask, classRetain, classHistory} {
		err := j.eachKey([]byte{class}, func(_ *page, key []byte) (more bool, err error) {
			if of, _ := intentOf(key); of == id {
				keys = append(keys, key)
			}
			return true, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// mend takes an intent out of the indexes of a head, or a hand-over, that cannot be read, and
// puts one in its place that can: of a head what is left to tell, of a hand-over nothing.
func (t *tx) mend(id ID, keys [][]byte) error {
	named := map[byte]bool{}
	for _, key := range keys {
		named[key[0]] = true
	}
	var rec wire.Handover
	headThere, head, err := t.readable(idKey(classHead, id), &wire.Head{})
	if err != nil {
		return err
	}
	handThere, hand, err := t.readable(idKey(classHandover, id), &rec)
	if err != nil {
		return err
	}
	ours := named[classDue] || named[classHeld] || named[classParked] || named[classExpiry] ||
		handThere && hand && string(rec.Home) == string(t.j.self.Journal[:])
	headBad, handBad := headThere && !head || !headThere && ours, handThere && !hand || !handThere && named[classMail]
	for _, key := range keys {
		bad := headBad
		if key[0] == classMail || key[0] == classDead && !headThere {
			bad = handBad
		}
		there, err := t.has(key)
		if err != nil {
			return err
		}
		if !there || !bad || key[0] == classRetain || key[0] == classHistory { // what has ended stays there
			continue
		}
		t.delIndex(key)
		if key[0] == classMail {
			t.gone(id, Agent(binary.BigEndian.Uint32(key[1:5])))
		}
	}
	if handBad {
		if err := t.dropHand(id, headBad, keys); err != nil {
			return err
		}
	}
	if headBad {
		return t.standIn(id, keys)
	}
	return nil
}

// readable reports whether there is a record, and whether it can be read.
func (t *tx) readable(key []byte, m proto.Message) (there, whole bool, err error) {
	there, err = t.get(key, m)
	if isFault(err) {
		return true, false, nil
	}
	return there, there && err == nil, err
}

// gone tells the mailbox that it has a hand-over no more of which nothing else is known: how it
// counted against credit is found out at the next start.
func (t *tx) gone(id ID, agent Agent) {
	t.after(func() {
		if f := t.j.hooks.Moved; f != nil {
			f(Moved{ID: id, Agent: agent, Left: true})
		}
	})
}

// standIn writes a head, and a log where there is none, for one that is to end.
func (t *tx) standIn(id ID, keys [][]byte) error {
	env, err := t.keptEnvelope(id)
	if err != nil && !isFault(err) {
		return err
	}
	log := wire.Events{}
	if _, _, err := t.readable(idKey(classEvents, id), &log); err != nil {
		return err
	}
	end, err := t.howItEnded(id, keys)
	if err != nil {
		return err
	}
	if env == nil && len(log.Events) == 0 && end == state.None {
		return nil // nothing is left of it; that it was is in what was set aside
	}
	if env == nil {
		env = &wire.Envelope{Id: id[:], CreatedAtMs: ms(id.Time()), MaxDeliveryAttempts: defaultAttempts}
	}
	dest, err := t.laneOf(env)
	if err != nil {
		return err
	}
	l := t.newLife(id, env, dest)
	l.events.Events = log.Events
	l.head.HumanTask, l.head.RemindMs = false, 0 // what is said of a task would be said from the head
	if err := t.related(l, env); err != nil {
		return err
	}
	for _, key := range keys {
		switch key[0] {
		case classDue:
			l.head.Dest = binary.BigEndian.Uint32(key[1:5])
		case classHeld:
			l.head.Holder = key[1:17]
		case classDead:
			l.head.DeadMs = int64(binary.BigEndian.Uint64(key[1:9]))
		}
	}
	for _, e := range log.Events {
		l.head.Status, l.head.OfferNo = e.Status, max(l.head.OfferNo, e.OfferNo)
		l.head.DeliveryAttempt, l.head.Reason = max(l.head.DeliveryAttempt, e.Attempt), e.Reason
	}
	l.head.LastSeq = uint32(len(log.Events))
	if len(log.Events) == 0 {
		t.logAnew(l, end)
	}
	if l.head.DeadMs != 0 { // it has ended, and stays where an operator finds it
		t.putIndex(deadKey(l.head.DeadMs, id))
	}
	if l.status().Terminal() {
		l.head.Place = uint32(PlaceEnded)
		if err := t.backInHistory(l, env, keys); err != nil {
			return err
		}
	}
	return t.saveLife(l)
}

// logAnew has one of which there is no log begin, and end as it has ended; None: it is open.
func (t *tx) logAnew(l *life, end state.Status) {
	for _, on := range []state.Trigger{state.Accept, state.Submit} {
		t.move(l, on, &wire.Event{Actor: actorSelf, Text: CorruptRecord})
	}
	why := state.NoReason
	if l.head.DeadMs != 0 {
		why = state.ReasonSidecarFault // it had another, of which nothing tells
	}
	for _, on := range state.Triggers() {
		if row, ok := state.Next(state.InProgress, on); ok && row.To == end {
			t.move(l, on, &wire.Event{Actor: actorSelf, Reason: uint32(why), Text: CorruptRecord})
		}
	}
}

// howItEnded is what is left to tell of the end of an intent beside its head and its log; None: it
// may be open.
func (t *tx) howItEnded(id ID, keys [][]byte) (state.Status, error) {
	out, err := t.lastOutcome(id)
	if end := state.Status(out.GetStatus()); err != nil || end.Terminal() {
		return end, err
	}
	var rec wire.Handover
	if _, err := t.get(idKey(classHandover, id), &rec); exceptFault(err) != nil {
		return state.None, err
	}
	if end := state.Status(rec.HomeStatus); end.Terminal() {
		return end, nil
	}
	for _, key := range keys {
		if key[0] == classRetain || key[0] == classHistory {
			return state.Failed, nil // only what has ended is there
		}
	}
	return state.None, nil
}

// backInHistory has the head of what has ended name its entry in the history, where that is there.
func (t *tx) backInHistory(l *life, env *wire.Envelope, keys [][]byte) error {
	for _, key := range keys {
		if key[0] != classRetain && key[0] != classHistory {
			continue
		}
		there, err := t.has(key)
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		outcome, _, err := t.getChunks(classOutcome, l.id)
		if exceptFault(err) != nil {
			return err
		}
		l.head.RetainMs, l.head.BodyGone = int64(binary.BigEndian.Uint64(key[1:9])), key[0] == classHistory
		l.head.EnvelopeBytes = uint32(proto.Size(env))
		l.head.KeptBytes = int64(l.head.EnvelopeBytes) + int64(len(outcome)) + int64(proto.Size(&l.events)) + historyOverhead
	}
	return nil
}

// related finds out who is to hear of the end of an intent.
func (t *tx) related(l *life, env *wire.Envelope) error {
	if env.ReplyTo != "" {
		lane, err := t.internName(&name{address: env.ReplyTo, threads: true})
		if err != nil {
			return err
		}
		l.head.ReplyDest = uint32(lane.no)
	}
	for class, has := range map[byte]*bool{classThread: &l.head.Thread, classPlan: &l.head.Planned} {
		there, err := t.has(idKey(class, l.id))
		if err != nil {
			return err
		}
		*has = there
	}
	if held, err := t.has(idKey(classHandover, l.id)); err != nil {
		return err
	} else if held {
		l.head.Place = uint32(PlaceLocal)
	}
	parent, err := IDOf(env.Parent)
	if err != nil {
		return nil // it is a part of nothing
	}
	p, err := t.plan(parent)
	if err != nil {
		return exceptFault(err) // of damage: nor is there anything left to move
	}
	for n, part := range p.Parts {
		if string(part.Id) == string(l.id[:]) {
			l.head.Parent, l.head.Part, l.head.Step = parent[:], uint32(n), part.Step != nil
		}
	}
	return nil
}

// readableLife is life, with a log that stands for one that cannot be read: as long as it
// was, since whoever follows it knows how far it had come.
func (t *tx) readableLife(id ID) (*life, bool, error) {
	l := &life{id: id}
	found, err := t.get(idKey(classHead, id), &l.head)
	if err != nil || !found {
		return nil, false, err
	}
	_, whole, err := t.readable(idKey(classEvents, id), &l.events)
	if err != nil {
		return nil, false, err
	}
	if whole && len(l.events.Events) == int(l.head.LastSeq) {
		return l, true, nil
	}
	l.events.Events = nil
	for n := range l.head.LastSeq {
		e := &wire.Event{Type: uint32(state.EventTransfer), Status: l.head.Status, AtMs: l.head.UpdatedMs, Actor: actorSelf, Text: CorruptRecord}
		switch n {
		case 0:
			e.Type, e.Status = uint32(state.EventCreated), uint32(state.Created)
		case 1:
			e.Type, e.Status = uint32(state.EventSubmitted), uint32(state.Submitted)
		}
		l.events.Events = append(l.events.Events, e)
	}
	return l, true, nil
}

// mendEnvelope puts the envelope of nothing in the place of one that cannot be read.
func (t *tx) mendEnvelope(l *life) error {
	env, err := t.keptEnvelope(l.id)
	if err == nil && env != nil || err != nil && !isFault(err) {
		return err
	}
	stub, err := proto.Marshal(&wire.Envelope{
		Id: l.id[:], ToAgent: t.j.AgentName(l.agent()), Payload: []byte("{}"), CreatedAtMs: l.head.CreatedMs, Parent: l.head.Parent,
	})
	if err != nil {
		return err
	}
	if err := t.delChunks(classEnvelope, l.id); err != nil {
		return err
	}
	t.putChunks(classEnvelope, l.id, stub)
	l.head.ReplyDest, l.head.SentLost = 0, true // who is to be told stood in the envelope
	return nil
}
