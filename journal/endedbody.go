package journal

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// What has ended and lacks a part of its bodies stays: that it has ended, and how, is in its
// head or hand-over, and whoever sent it would have it done once more if its key were forgotten.
// What is left of what was sent goes, but a dead letter's (hollow.go); how it ended says that it
// was left out.

// lossNamed is how many intents are said by name in one line; the log names all.
const lossNamed = 16

// namesOf says which they are.
func namesOf(ids map[ID]bool) string {
	var named []string
	for id := range ids {
		if len(named) < lossNamed {
			named = append(named, id.String())
		}
	}
	slices.Sort(named)
	if more := len(ids) - len(named); more > 0 {
		named = append(named, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(named, ", ")
}

// endedBody sees to a body of what has ended, and reports whether that is what is wrong.
func (s *salvager) endedBody(d Damage) bool {
	if d.Key == nil || !keyClasses[d.Key[0]].chunks {
		return false
	}
	id, class := d.Intent, d.Key[0]
	end, dead := s.endOf(id)
	if !end.Terminal() || dead && class == classEnvelope {
		return false
	}
	cut := s.cutBodies[class]
	if cut[id] {
		return true // in this round
	}
	cut[id] = true
	if f := s.j.hooks.Corrupt; f != nil {
		f(Corrupt{ID: id, Record: describe(d.Key), Why: d.What})
	}
	eachKey(s.txn, idKey(class, id), nil, func(key []byte) (more bool) {
		s.do(func(t *tx) error { t.del(key); return nil })
		return true
	})
	if class == classOutcome {
		s.do(func(t *tx) error { return t.omitOutcome(id, end) })
	} else {
		s.do(func(t *tx) error { return t.knowsSentLost(id) })
	}
	return true
}

// keepEnded has what has ended be read without what cannot be: it stays in all lists.
func (t *tx) keepEnded(l *life) error {
	sent, err := t.dropUnreadable(l.id, classEnvelope, &wire.Envelope{})
	if err != nil {
		return err
	}
	outcome, err := t.dropUnreadable(l.id, classOutcome, &wire.Outcome{})
	if err != nil {
		return err
	}
	if outcome {
		if err := t.omitOutcome(l.id, l.status()); err != nil {
			return err
		}
	}
	if l.head.DeadMs == 0 {
		l.head.SentLost = l.head.SentLost || sent
	} else if err := t.mendEnvelope(l); err != nil {
		return err
	}
	if err := t.dropPlan(l); err != nil {
		return err
	}
	var log wire.Events
	_, whole, err := t.readable(idKey(classEvents, l.id), &log)
	if err == nil && (!whole || len(log.Events) != int(l.head.LastSeq)) {
		err = t.writeLogAnew(l.id)
	}
	if err != nil {
		return err
	}
	return t.saveLife(l)
}

// dropPlan drops a plan, or a policy, that cannot be read.
func (t *tx) dropPlan(l *life) error {
	if _, whole, err := t.readable(idKey(classPlan, l.id), &wire.Plan{}); err != nil {
		return err
	} else if l.head.Planned && !whole {
		t.del(idKey(classPlan, l.id))
		l.head.Planned, l.head.Gated, l.head.Stepped = false, false, false
	}
	if _, whole, err := t.readable(idKey(classPolicy, l.id), &wire.Policy{}); err != nil {
		return err
	} else if l.head.PolicyGeneration > 0 && !whole {
		t.del(idKey(classPolicy, l.id))
		l.head.PolicyGeneration = 0
	}
	return nil
}

// keepSettled does so at a holder. Of a dead letter of which what was sent is gone it has no copy any
// more: home has that. An answer that home has not heard goes with its report, whatever is left of it.
func (t *tx) keepSettled(h *hand) error {
	sent, err := t.dropUnreadable(h.id, classEnvelope, &wire.Envelope{})
	if err != nil {
		return err
	}
	if end := state.Status(h.rec.HomeStatus); end.Terminal() {
		outcome, err := t.dropUnreadable(h.id, classOutcome, &wire.Outcome{})
		if err == nil && outcome {
			err = t.omitOutcome(h.id, end)
		}
		if err != nil {
			return err
		}
	}
	if logged, whole, err := t.readable(idKey(classEvents, h.id), &wire.Events{}); err != nil {
		return err
	} else if logged && !whole {
		t.del(idKey(classEvents, h.id))
	}
	if sent && h.rec.DeadReason != 0 {
		t.forgetCopy(h)
		h.rec.DeadReason = 0
		t.keepHand(h)
	}
	h.rec.SentLost = h.rec.SentLost || sent
	return t.saveHand(h)
}

// dropUnreadable drops a body that cannot be read, and reports whether there was one.
func (t *tx) dropUnreadable(id ID, class byte, m proto.Message) (bool, error) {
	blob, _, err := t.getChunks(class, id)
	switch {
	case err == nil && proto.Unmarshal(blob, m) == nil:
		return false, nil
	case err != nil && !isFault(err):
		return false, err
	}
	return true, t.delChunks(class, id)
}

// knowsSentLost has what is left of an intent say that what was sent is not.
func (t *tx) knowsSentLost(id ID) error {
	var h wire.Head
	switch homed, err := t.get(idKey(classHead, id), &h); {
	case err != nil:
		return err
	case homed:
		h.SentLost = true
		return t.put(idKey(classHead, id), &h)
	}
	var hand wire.Handover
	if _, err := t.get(idKey(classHandover, id), &hand); err != nil { // it is there, or had not ended
		return err
	}
	hand.SentLost = true
	return t.put(idKey(classHandover, id), &hand)
}

// endOf is how an intent has ended, as far as is known here, and whether it is a dead letter.
// One of which that cannot be read has not.
func (s *salvager) endOf(id ID) (end state.Status, dead bool) {
	var h wire.Head
	if homed, _ := readMessage(s.txn, idKey(classHead, id), &h); homed {
		return state.Status(h.Status), h.DeadMs != 0
	}
	var hand wire.Handover
	if held, _ := readMessage(s.txn, idKey(classHandover, id), &hand); held {
		return state.Status(hand.HomeStatus), hand.DeadReason != 0
	}
	return state.None, false
}

// omitOutcome writes how an intent has ended without what came of it.
func (t *tx) omitOutcome(id ID, end state.Status) error {
	out, err := proto.Marshal(&wire.Outcome{Status: uint32(end), Body: OmittedBody(&wire.Report{})})
	if err != nil {
		return err
	}
	t.putChunks(classOutcome, id, out)
	return nil
}

// sayBodies says whose bodies have been cut off.
func (s *salvager) sayBodies() {
	for _, c := range []struct {
		class byte
		what  string
	}{{classEnvelope, "what was sent"}, {classOutcome, "how they ended"}} {
		if cut := s.cutBodies[c.class]; len(cut) > 0 {
			s.j.loss.addEntries("intents that have ended have lost " + c.what + ": " + namesOf(cut))
		}
	}
}
