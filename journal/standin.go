package journal

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// Heads, logs and envelopes are in tables of their own once the store has compacted them, so
// one of those that is gone leaves many intents without their heads, or their logs, and with
// what was sent. What was open then, or a dead letter, stays, or becomes, a dead letter: only
// home has it, and whoever sent it has been told that it was accepted.

// spare reports whether an intent can be judged without a record of a class that cannot be
// read.
func spare(class byte) bool {
	switch class {
	case classThread, classPolicy, classPlan, classAside, classPurged:
		return true
	}
	return false
}

// straysOf are the entries of indexes that no record names, by the intents that they name.
func straysOf(damages []Damage) map[ID][][]byte {
	strays := map[ID][][]byte{}
	for _, d := range damages {
		if d.Kind == StrayEntry && !d.Intent.IsZero() {
			strays[d.Intent] = append(strays[d.Intent], d.Key)
		}
	}
	return strays
}

// standsIn reports whether an intent whose head is not there, or cannot be read, gets another:
// what was sent is there, and it was ours and open, or a dead letter.
func (s *salvager) standsIn(id ID) bool {
	if _, known := s.stood[id]; known {
		return true
	}
	e, keys := s.lastEvent(id), s.strays[id]
	switch {
	case !s.hasEnvelope(id), s.isCopy(id, e, keys):
		return false
	case e == nil && (s.has(chunkKey(classOutcome, id, 0)) || !s.isOurs(id, keys)):
		return false
	case e == nil, state.Status(e.Status).Open():
		s.j.loss.cannotGoOn(id, "its head is gone")
	case state.Reason(e.Reason).DeadLetter() == "":
		return false // nobody waits for it any more
	default:
		keys = append(keys, deadKey(e.AtMs, id))
	}
	s.stood[id] = keys
	s.do(func(t *tx) error { t.del(idKey(classHead, id)); return nil })
	return true
}

func (s *salvager) hasEnvelope(id ID) bool {
	blob, found, err := readEnvelope(s.txn, id)
	return err == nil && found && proto.Unmarshal(blob, &wire.Envelope{}) == nil
}

// lastEvent of an intent of home's; nil: its log is gone, too.
func (s *salvager) lastEvent(id ID) *wire.Event {
	var log wire.Events
	if found, err := readMessage(s.txn, idKey(classEvents, id), &log); err != nil || !found || len(log.Events) == 0 {
		return nil
	}
	return log.Events[len(log.Events)-1]
}

// isCopy reports whether what is left is of what is held, or was, for another home, which has
// told how it ended: an intent has one home, else it is redriven twice. A dead letter of our
// own has its outcome, and ended when its last event says; a copy of another's has none, and
// ended when its hand-over did.
func (s *salvager) isCopy(id ID, e *wire.Event, keys [][]byte) bool {
	var h wire.Handover
	if held, err := readMessage(s.txn, idKey(classHandover, id), &h); err == nil && held {
		return string(h.Home) != string(s.j.self.Journal[:])
	}
	if e == nil || state.Status(e.Status).Open() {
		return false
	}
	return !s.has(chunkKey(classOutcome, id, 0)) || slices.ContainsFunc(keys, func(key []byte) bool {
		return key[0] == classDead && string(key) != string(deadKey(e.AtMs, id))
	})
}

// isOurs reports whether an intent is home's, as far as what is beside its head tells: what
// is held here for another home, that one offers again, and isCopy tells. A start that was cut
// short may have removed what told it.
func (s *salvager) isOurs(id ID, keys [][]byte) bool {
	if _, known := s.j.loss.unfit[id]; known {
		return true
	}
	for _, key := range keys {
		switch key[0] {
		case classDue, classHeld, classParked, classExpiry:
			return true
		}
	}
	var h wire.Handover
	held, err := readMessage(s.txn, idKey(classHandover, id), &h)
	return s.has(idKey(classHead, id)) || err == nil && held
}

// endedWithoutLog has one that has ended get another log, where its own is not there whole.
func (s *salvager) endedWithoutLog(id ID, h *wire.Head) bool {
	var log wire.Events
	logged, err := readMessage(s.txn, idKey(classEvents, id), &log)
	if state.Status(h.Status).Open() || logged && err == nil && len(log.Events) == int(h.LastSeq) {
		return false
	}
	s.j.loss.mended++
	if f := s.j.hooks.Corrupt; f != nil {
		f(Corrupt{ID: id, Record: describe(idKey(classEvents, id)), Why: "it is not there whole, and is made anew"})
	}
	s.do(func(t *tx) error { return t.writeLogAnew(id) })
	return true
}

// writeLogAnew puts a log in the place of one that is not whole: it is as long, and ends as
// the head says.
func (t *tx) writeLogAnew(id ID) error {
	l, found, err := t.readableLife(id)
	if err != nil || !found || len(l.events.Events) == 0 {
		return err
	}
	e := l.events.Events[len(l.events.Events)-1]
	e.Reason = l.head.Reason
	for _, on := range state.Triggers() {
		if row, ok := state.Next(state.InProgress, on); ok && row.To == l.status() {
			e.Type = uint32(row.Event)
		}
	}
	return t.put(idKey(classEvents, id), &l.events)
}

// standIn gives those intents heads, in a commit after the rounds of salvage: until then
// addresses may come back, and they have none but those.
func (j *Journal) standIn(stood map[ID][][]byte) error {
	if len(stood) == 0 {
		return nil
	}
	if err := viewAlone(j.db, j.names.load); err != nil {
		return err
	}
	var todo []func(*tx) error
	for id, keys := range stood {
		todo = append(todo, func(t *tx) error { return t.standIn(id, keys) })
	}
	err := viewAlone(j.db, func(txn *page) error {
		keysOf(txn, classEnvelope, func(key []byte) {
			next := ID(key[1:17])
			of, redrive := redriveOf(txn, next)
			if _, stands := stood[of]; redrive && stands {
				todo = append(todo, func(t *tx) error { return t.succeed(of, next) })
			}
		})
		return nil
	})
	if err != nil {
		return err
	}
	err = j.commitInTurn(todo)
	j.names = newNames() // read again, from where numbers go on
	return err
}

// endedInHand has what home has ended leave the hand of our own app, where that does not know of
// the end, and what was sent is gone: there is nothing to hand out.
func (s *salvager) endedInHand(id ID, h *wire.Head) bool {
	var hand wire.Handover
	held, err := readMessage(s.txn, idKey(classHandover, id), &hand)
	if err != nil || !held || !state.Phase(hand.Phase).Open() || state.Status(h.Status).Open() || s.hasEnvelope(id) {
		return false
	}
	s.remove(idKey(classHandover, id))
	return true
}

// redrives has a dead letter know an intent as its successor, where what is left of its head is of
// before it had one: it would get another, and this one would end for nothing. Where that is of
// before its end, too, it ends.
func (s *salvager) redrives(next ID) bool {
	var was wire.Head
	of, _ := redriveOf(s.txn, next) // where it is none, there is no head
	if !s.readable(of, &was) || len(was.RedrivenAs) > 0 {
		return false
	}
	if state.Status(was.Status).Open() {
		s.j.loss.cannotGoOn(of, "it was redriven, and its head is of before that")
	}
	s.j.loss.mended++
	was.RedrivenAs = next[:]
	s.do(func(t *tx) error { return t.put(idKey(classHead, of), &was) })
	return true
}

// redriveOf is the dead letter that an intent is the successor of, where its envelope tells.
func redriveOf(txn *page, id ID) (of ID, redrive bool) {
	var e wire.Envelope
	blob, found, err := readEnvelope(txn, id)
	if err != nil || !found || proto.Unmarshal(blob, &e) != nil {
		return of, false
	}
	of, err = IDOf(e.RedriveOf)
	return of, err == nil
}

// succeed has a dead letter know its successor again: it may have no other.
func (t *tx) succeed(of, next ID) error {
	l, found, err := t.life(of)
	if err != nil || !found {
		return err
	}
	l.head.RedrivenAs = next[:]
	return t.saveLife(l)
}
