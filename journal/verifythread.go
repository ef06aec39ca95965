package journal

import (
	"bytes"
	"fmt"
	"slices"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// What hangs on an intent is written in the batches of that intent, so it agrees with it
// whenever a journal is whole.

// addresses checks that no number is given twice; the keys of indexes have numbers.
func (v *verifier) addresses() {
	v.lanes = map[Agent]bool{}
	eachWhole(v.txn, className, func() *wire.Name { return &wire.Name{} }, func(key []byte, n *wire.Name) {
		if _, twice := v.lanes[Agent(n.No)]; twice {
			v.report.at(key, Contradictions, "another address has its number, %d", n.No)
		}
		v.lanes[Agent(n.No)] = n.Threads
	})
}

// threads checks that each thread is in each of its inboxes once, and that its intent is here, or
// was purged; the thread of a completion is that of another journal's.
func (v *verifier) threads() {
	eachWhole(v.txn, classThread, func() *wire.Thread { return &wire.Thread{} }, func(key []byte, rec *wire.Thread) {
		th := thread{id: ID(key[1:17])}
		th.rec.Views = rec.Views
		for _, owner := range th.owners() {
			if _, known := v.lanes[Agent(owner)]; !known && owner != 0 {
				v.report.at(key, MissingRecord, "it is in the inbox of address number %d, which is not here", owner)
			}
		}
		for _, key := range threadKeys(th.id, rec) {
			v.want(key)
		}
		if bytes.Equal(rec.Intent, th.id[:]) && !v.anyOf(th.id, classHead, classHandover, classPurged) {
			v.report.at(key, StrayRecord, "there is no such intent")
		}
		if len(rec.Entries) == 0 {
			v.report.at(key, Contradictions, "it has no entry")
		}
	})
}

// anyOf reports whether there is a record of an intent of one of some classes.
func (v *verifier) anyOf(id ID, classes ...byte) bool {
	return slices.ContainsFunc(classes, func(class byte) bool {
		found, err := v.has(idKey(class, id))
		return found || err != nil
	})
}

// threadKeys are the entries that a thread names.
func threadKeys(id ID, rec *wire.Thread) (keys [][]byte) {
	th := thread{id: id}
	th.rec.Views = rec.Views
	for _, owner := range th.owners() {
		keys = append(keys, inboxKey(owner, rec.Change, id))
	}
	return keys
}

// parentage checks both ends of what ties an intent to its parts.
func (v *verifier) parentage(id ID, h *wire.Head) {
	if _, known := v.lanes[Agent(h.Dest)]; !known {
		v.report.of(id, MissingRecord, "is to address number %d, which is not here", h.Dest)
	}
	var p wire.Plan
	if h.Planned {
		ok, missing := v.get(idKey(classPlan, id), &p)
		if missing {
			v.report.of(id, MissingRecord, "has no plan")
		}
		if !ok {
			return
		}
	}
	for n, part := range p.Parts {
		if child, err := IDOf(part.Id); err == nil {
			v.child(id, n, part, child)
		}
	}
	parent, err := IDOf(h.Parent)
	if err != nil || !state.Status(h.Status).Open() {
		return
	}
	var of wire.Head
	switch ok, missing := v.get(idKey(classHead, parent), &of); {
	case missing:
		v.report.of(id, MissingRecord, "is open, and what it is a part of, %s, is not here", parent)
	case ok && !state.Status(of.Status).Open():
		v.report.of(id, Contradictions, "is open, and what it is a part of, %s, has ended", parent)
	}
}

// child checks a part that its parent has opened and waits for.
func (v *verifier) child(parent ID, n int, part *wire.Part, child ID) {
	var h wire.Head
	switch ok, missing := v.get(idKey(classHead, child), &h); {
	case missing && part.Status == 0:
		v.report.of(parent, MissingRecord, "waits for its part %s, which is not here", child)
	case !ok:
	case !bytes.Equal(h.Parent, parent[:]) || int(h.Part) != n:
		v.report.of(parent, Contradictions, "has the part %s, which is part %d of %x", child, h.Part, h.Parent)
	case part.Status == 0 && !state.Status(h.Status).Open():
		v.report.of(parent, Contradictions, "waits for its part %s, which has ended", child)
	}
}

// ended checks what has ended and is kept whole: its entry names it, and what was sent is there,
// and how it ended.
func (v *verifier) ended() {
	keysOf(v.txn, classRetain, func(key []byte) {
		id, _ := intentOf(key)
		homed, err := v.has(idKey(classHead, id))
		held, heldErr := v.has(idKey(classHandover, id))
		switch {
		case err != nil || heldErr != nil:
		case !homed && !held:
			v.report.at(key, StrayEntry, "there is no such intent (%x)", key)
		case homed:
			v.keeps(id, classOutcome, "outcome")
			fallthrough
		default:
			if !v.sentLost(id) {
				v.keeps(id, classEnvelope, "envelope")
			}
		}
	})
	for _, c := range []byte{classEnvelope, classEvents, classOutcome, classPolicy, classPlan} {
		keysOf(v.txn, c, func(key []byte) {
			id, _ := intentOf(key)
			if !v.anyOf(id, classHead, classHandover) {
				v.report.at(key, StrayRecord, "there is no such intent")
			}
		})
	}
}

func (v *verifier) keeps(id ID, class byte, what string) {
	first := chunkKey(class, id, 0)
	if found, err := v.has(first); err == nil && !found {
		v.report.add(Damage{Kind: MissingRecord, Intent: id, Key: first, What: fmt.Sprintf("intent %s has ended, and has no %s", id, what)})
	}
}

// sentLost reports whether it is known of an intent that what was sent is lost.
func (v *verifier) sentLost(id ID) bool {
	var head wire.Head
	var hand wire.Handover
	_, err := readMessage(v.txn, idKey(classHead, id), &head)
	_, handErr := readMessage(v.txn, idKey(classHandover, id), &hand)
	return head.SentLost || hand.SentLost || err != nil || handErr != nil // which is said
}

// others checks what is no part of any intent.
func (v *verifier) others() {
	eachWhole(v.txn, classSchedule, func() *wire.Schedule { return &wire.Schedule{} }, func(key []byte, s *wire.Schedule) {
		_, err := TableOf(s)
		switch {
		case !bytes.Equal(s.Id, key[1:]):
			v.report.at(key, Contradictions, "it says that it is %x", s.Id)
		case err != nil:
			v.report.at(key, DamagedRecord, "when it is due cannot be read: %v", err)
		case s.Template == nil:
			v.report.at(key, DamagedRecord, "it does not say what to make")
		}
	})
	eachWhole(v.txn, classWebhook, func() *wire.Subscription { return &wire.Subscription{} }, func(key []byte, s *wire.Subscription) {
		if !bytes.Equal(s.Id, key[1:]) {
			v.report.at(key, Contradictions, "it says that it is %x", s.Id)
		}
	})
	eachWhole(v.txn, classAccount, func() *wire.Account { return &wire.Account{} }, func(key []byte, a *wire.Account) {
		if !bytes.Equal(a.Id, key[1:]) {
			v.report.at(key, Contradictions, "it says that it is %x", a.Id)
		}
	})
}
