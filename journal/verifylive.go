package journal

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"pannier/journal/state"
	"pannier/journal/wire"
)

func (v *verifier) heads() {
	eachWhole(v.txn, classHead, func() *wire.Head { return &wire.Head{} }, func(key []byte, h *wire.Head) {
		id := ID(key[1:17])
		v.report.Intents++
		v.parentage(id, h)
		var log wire.Events
		ok, missing := v.get(idKey(classEvents, id), &log)
		if (ok || missing) && len(log.Events) != int(h.LastSeq) {
			v.report.of(id, BrokenLog, "has %d events, its head says %d", len(log.Events), h.LastSeq)
		}
		if h.PolicyGeneration > 0 {
			v.must(id, classPolicy)
		}
		if h.Thread {
			v.must(id, classThread)
		}
		for _, key := range v.headKeys(id, h) {
			v.want(key)
		}
		if !state.Status(h.Status).Open() {
			if Place(h.Place) != PlaceEnded {
				v.report.of(id, Contradictions, "has ended but is still placed")
			}
			if ok {
				v.endedAs(id, h, &log)
			}
			v.dead(id, h)
			if h.RetainMs != 0 {
				v.kept(id, h.RetainMs)
			}
			return
		}
		if ok && log.Events[len(log.Events)-1].Status != h.Status {
			v.report.of(id, BrokenLog, "is %s, its last event says %s", state.Status(h.Status), state.Status(log.Events[len(log.Events)-1].Status))
		}
		v.report.Live++
		v.envelope(id)
		switch Place(h.Place) {
		case PlaceDue, PlaceHeld, PlaceParked: // in an index
		case PlaceLocal: // its hand-over is in the mailbox
			v.must(id, classHandover)
		default:
			v.report.of(id, Contradictions, "is open and nowhere")
		}
		if h.Gated || h.Stepped {
			v.parts(id)
		}
	})
}

// headKeys are the entries that the head of an intent names.
func (v *verifier) headKeys(id ID, h *wire.Head) (keys [][]byte) {
	if !state.Status(h.Status).Open() {
		if h.DeadMs != 0 {
			keys = append(keys, deadKey(h.DeadMs, id))
		}
		return keys
	}
	if h.HumanTask && v.lanes[Agent(h.Dest)] {
		keys = append(keys, idKey(classTask, id))
	}
	if h.ExpiryMs != 0 {
		keys = append(keys, timeKey(classExpiry, h.ExpiryMs, id[:]))
	}
	switch Place(h.Place) {
	case PlaceDue:
		keys = append(keys, dueKey(classDue, Agent(h.Dest), h.DueMs, id))
	case PlaceHeld:
		keys = append(keys, heldKey(ID(h.Holder), id))
	case PlaceParked:
		keys = append(keys, idKey(classParked, id))
	}
	return keys
}

// handoverKeys are the entries that a hand-over names.
func handoverKeys(id ID, h *wire.Handover) (keys [][]byte) {
	if state.Phase(h.Phase).Open() {
		keys = append(keys, dueKey(classMail, Agent(h.Agent), h.DueMs, id))
		if h.HumanTask {
			keys = append(keys, idKey(classTask, id))
		}
	}
	if h.DeadReason != 0 {
		keys = append(keys, deadKey(h.EndedMs, id))
	}
	return keys
}

// must checks that an intent has a record.
func (v *verifier) must(id ID, class byte) {
	if found, err := v.has(idKey(class, id)); err == nil && !found {
		v.report.of(id, MissingRecord, "has no %s", keyClasses[class].name)
	}
}

func (v *verifier) has(key []byte) (bool, error) {
	item, err := readItem(v.txn, key)
	return item != nil, err
}

// parts checks an intent that waits for parts: one of them is open.
func (v *verifier) parts(id ID) {
	var p wire.Plan
	if ok, _ := v.get(idKey(classPlan, id), &p); !ok {
		return // it is said
	}
	for _, part := range p.Parts {
		if len(part.Id) == 0 || part.Status != 0 {
			continue
		}
		var h wire.Head
		if found, err := readMessage(v.txn, idKey(classHead, ID(part.Id)), &h); err == nil && found && state.Status(h.Status).Open() {
			return
		}
	}
	v.report.of(id, Contradictions, "waits for an approval that nobody is asked for, or a step that is not open")
}

// endedAs checks that an ended intent of ours is a dead letter if its log says so.
func (v *verifier) endedAs(id ID, h *wire.Head, log *wire.Events) {
	if isDead := endedFor(log.Events).DeadLetter() != ""; isDead != (h.DeadMs != 0) && (v.laid || !isDead) {
		v.report.of(id, Contradictions, "ended by %s: its head says %t of its being a dead letter", endedFor(log.Events), h.DeadMs != 0)
	}
}

// dead checks a dead letter of ours: it has its entry and its body, and its successor knows
// of it.
func (v *verifier) dead(id ID, h *wire.Head) {
	if h.DeadMs == 0 {
		return
	}
	v.envelope(id)
	as, err := IDOf(h.RedrivenAs)
	if err != nil || v.gone(as) || v.isAside(as) {
		return
	}
	next, err := readIntent(v.txn, as)
	if err == nil && next.Envelope == nil {
		return // what has ended lets it go by and by
	}
	switch {
	case err != nil:
		v.report.of(id, Contradictions, "was redriven as %s, which cannot say so: %v", as, err)
	case string(next.Envelope.GetRedriveOf()) != string(id[:]):
		v.report.of(id, Contradictions, "was redriven as %s, which does not say so", as)
	}
}

// isAside reports whether something of an intent could not be read: it was in its envelope, which
// is one of nothing then, whose successor it is.
func (v *verifier) isAside(id ID) bool {
	aside, err := v.has(idKey(classAside, id))
	return aside && err == nil
}

// successor checks that a redriven dead letter, where it is still here, names this
// intent and no other.
func (v *verifier) successor(id ID, e *wire.Envelope) {
	of, err := IDOf(e.RedriveOf)
	if err != nil {
		return
	}
	var was wire.Head
	if homed, err := readMessage(v.txn, idKey(classHead, of), &was); err == nil && homed && string(was.RedrivenAs) != string(id[:]) {
		v.report.of(id, Contradictions, "is a redrive of %s, which names %x", of, was.RedrivenAs)
	}
}

// gone reports whether an intent that is not here was purged, or may have been let go: of what
// ended up to a time that may be, and what was made later had not ended by then. An id of the
// future is of a clock that was wrong, and tells nothing.
func (v *verifier) gone(id ID) bool {
	found, err := readMessage(v.txn, idKey(classPurged, id), &wire.Purged{})
	if found && err == nil {
		return true
	}
	homed, err := readMessage(v.txn, idKey(classHead, id), &wire.Head{})
	made := id.Time()
	return err == nil && !homed && !v.letGo.IsZero() && (!made.After(v.letGo) || made.After(time.Now()))
}

// kept checks that an ended intent is where the history finds it.
func (v *verifier) kept(id ID, retainMS int64) {
	for _, class := range []byte{classRetain, classHistory} {
		if _, found, err := readKey(v.txn, timeKey(class, retainMS, id[:])); found && err == nil {
			return
		}
	}
	v.report.add(Damage{Kind: MissingEntry, Intent: id, Key: timeKey(classHistory, retainMS, id[:]), What: fmt.Sprintf("intent %s has ended, and the history does not know", id)})
}

// want checks that an entry is there which a record names.
func (v *verifier) want(key []byte) {
	if found, err := v.has(key); err == nil && !found {
		v.report.at(key, MissingEntry, "it is not there (%x)", key)
	}
}

func (v *verifier) envelope(id ID) {
	blob, found, err := readEnvelope(v.txn, id)
	switch {
	case err != nil: // it is said
	case !found:
		v.report.of(id, MissingRecord, "has no envelope")
	default:
		var e wire.Envelope
		if proto.Unmarshal(blob, &e) == nil { // else bodies says so
			v.successor(id, &e)
		}
	}
}

// bodies checks that what was sent, and how it ended, is whole where any of it is there.
func (v *verifier) bodies() {
	for _, c := range []struct {
		class byte
		body  proto.Message
	}{{classEnvelope, &wire.Envelope{}}, {classOutcome, &wire.Outcome{}}} {
		var seen ID
		keysOf(v.txn, c.class, func(key []byte) {
			id, _ := intentOf(key)
			if id == seen {
				return
			}
			seen = id
			blob, found, err := joinChunks(reader(v.txn), c.class, id)
			switch {
			case err != nil: // it is said
			case !found:
				v.report.at(key, DamagedRecord, "what comes before it is missing")
			default:
				if err := proto.Unmarshal(blob, c.body); err != nil {
					v.report.at(key, DamagedRecord, "it does not decode, or a part of it is missing: %v", err)
				}
			}
		})
	}
}

func (v *verifier) handovers() {
	eachWhole(v.txn, classHandover, func() *wire.Handover { return &wire.Handover{} }, func(key []byte, h *wire.Handover) {
		id := ID(key[1:17])
		for _, key := range handoverKeys(id, h) {
			v.want(key)
		}
		if h.Threaded {
			v.must(id, classThread)
		}
		if _, known := v.lanes[Agent(h.Agent)]; !known {
			v.report.of(id, MissingRecord, "is for address number %d, which is not here", h.Agent)
		}
		if homed, err := v.has(idKey(classHead, id)); err == nil && !homed {
			if bytes.Equal(h.Home, v.self[:]) && !v.gone(id) {
				v.report.of(id, MissingRecord, "is our own, and has no head")
			}
			v.report.Intents++
			if state.Phase(h.Phase).Open() {
				v.report.Live++
			}
		}
		if state.Phase(h.Phase).Open() || h.DeadReason != 0 {
			v.envelope(id)
		}
		if h.RetainMs != 0 {
			v.kept(id, h.RetainMs)
		}
	})
}

// indexes checks that each entry of an index is one that a record names. It asks the records
// again rather than remember what they name: there may be millions.
func (v *verifier) indexes() {
	for _, c := range []byte{classDue, classHeld, classParked, classExpiry, classMail, classDead, classInbox, classTask} {
		keysOf(v.txn, c, func(key []byte) {
			if !v.named(key) {
				v.report.at(key, StrayEntry, "no record names it (%x)", key)
			}
		})
	}
}

// named reports whether a record of an intent names that entry.
func (v *verifier) named(key []byte) bool {
	id, _ := intentOf(key)
	var named [][]byte
	if key[0] == classInbox {
		var rec wire.Thread
		if ok, _ := v.get(idKey(classThread, id), &rec); ok {
			named = threadKeys(id, &rec)
		}
	} else {
		var head wire.Head
		if ok, _ := v.get(idKey(classHead, id), &head); ok {
			named = v.headKeys(id, &head)
		}
		var h wire.Handover
		if ok, _ := v.get(idKey(classHandover, id), &h); ok {
			named = append(named, handoverKeys(id, &h)...)
		}
	}
	return slices.ContainsFunc(named, func(k []byte) bool { return bytes.Equal(k, key) })
}

// keys checks idempotency keys: their intent exists, or has left the history.
func (v *verifier) keys() {
	eachWhole(v.txn, classDedupe, func() *wire.Dedupe { return &wire.Dedupe{} }, func(key []byte, d *wire.Dedupe) {
		if len(d.Thing) > 0 || d.Lost {
			return // of what is no intent, or nobody knows of what
		}
		id, err := IDOf(d.Id)
		if err != nil {
			v.report.at(key, DamagedRecord, "%v", err)
			return
		}
		homed, err := v.has(idKey(classHead, id))
		held, heldErr := v.has(idKey(classHandover, id)) // answered there
		if err != nil || heldErr != nil || !homed && !held && !v.gone(id) {
			v.report.add(Damage{Kind: StrayRecord, Intent: id, Key: key, What: fmt.Sprintf("idempotency key %x names intent %s, which is not here", key[1:9], id)})
		}
	})
	keysOf(v.txn, classForget, func(key []byte) {
		if found, err := v.has(append([]byte{classDedupe}, key[9:]...)); err == nil && !found {
			v.report.at(key, MissingRecord, "the idempotency key itself is gone")
		}
	})
}
