package journal

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"google.golang.org/protobuf/proto"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// VerifyReport says what Verify has found in a stopped journal.
type VerifyReport struct {
	Intents  int      // homed or held
	Live     int      // not ended
	Problems []string // one sentence each; none: the journal is whole
}

func (r *VerifyReport) problem(format string, args ...any) {
	const most = 1000
	if len(r.Problems) < most {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

// Verify reads all of a journal that no process has open: every record
// decodes, every live intent is in exactly one index and every index entry has
// its intent, events have no gap, a dead letter and its successor know of each
// other, the fingerprint holds. It changes nothing but
// what the store replays of an unclean stop. The error is for a journal that
// cannot be read at all.
func Verify(dir string) (r VerifyReport, err error) {
	defer func() {
		if p := recover(); p != nil { // the store panics on some damage
			err = damaged(dir, fmt.Errorf("%v", p))
		}
	}()
	log := tripwire{fail: func(e error) { r.problem("%v", e) }, warning: func(string) {}}
	fresh, err := isFresh(storeDir(dir))
	if err != nil {
		return r, err
	}
	if fresh {
		return r, fmt.Errorf("there is no journal in %s", dir)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return r, err
	}
	defer lock.Close()
	if err := sweepTorn(storeDir(dir)); err != nil {
		return r, err
	}
	db, err := badger.Open(lookOptions(storeDir(dir), log))
	if err != nil {
		return r, damaged(dir, err)
	}
	defer db.Close()
	if err := db.VerifyChecksum(); err != nil {
		r.problem("a table is damaged: %v", err)
	}
	if err := checkFingerprint(db, dir); err != nil {
		r.problem("%s", strings.TrimPrefix(err.Error(), "the journal in "+dir+" is damaged: "))
	}
	last, err := readMark(dir)
	if err != nil {
		r.problem("%v", err)
	}
	return r, db.View(func(txn *badger.Txn) error {
		v := verifier{txn: txn, report: &r, expect: map[string]bool{}}
		v.mark(last)
		v.birth()
		v.heads()
		v.handovers()
		v.indexes()
		v.keys()
		return nil
	})
}

type verifier struct {
	txn    *badger.Txn
	report *VerifyReport
	expect map[string]bool // index keys that records name; true once seen
	laid   bool            // every dead letter is in their index
	letGo  time.Time       // what ended up to then may be gone
}

func (v *verifier) birth() {
	var b wire.Birth
	if _, err := readMessage(v.txn, birthKey, &b); err != nil {
		v.report.problem("%v", err)
	}
	v.laid = b.BroughtTo >= schemaVersion // else the next start sees to it
}

func (v *verifier) mark(last *mark) {
	var meta wire.Meta
	if _, err := readMessage(v.txn, metaKey, &meta); err != nil {
		v.report.problem("%v", err)
		return
	}
	v.letGo = at(meta.LetGoMs)
	if last != nil && meta.Seq < last.Seq {
		v.report.problem("%d batches are there, %d were acknowledged", meta.Seq, last.Seq)
	}
}

func (v *verifier) heads() {
	err := eachRecord(v.txn, []byte{classHead}, func() *wire.Head { return &wire.Head{} }, func(key []byte, h *wire.Head) {
		id := ID(key[1:17])
		v.report.Intents++
		var log wire.Events
		if _, err := readMessage(v.txn, idKey(classEvents, id), &log); err != nil {
			v.report.problem("events of %s: %v", id, err)
		} else if len(log.Events) != int(h.LastSeq) {
			v.report.problem("intent %s has %d events, its head says %d", id, len(log.Events), h.LastSeq)
		}
		open := state.Status(h.Status).Open()
		if !open {
			if Place(h.Place) != PlaceEnded {
				v.report.problem("intent %s has ended but is still placed", id)
			}
			v.dead(id, h, &log)
			if h.RetainMs != 0 {
				v.kept(id, h.RetainMs)
			}
			return
		}
		v.report.Live++
		v.envelope(id)
		switch Place(h.Place) {
		case PlaceDue:
			v.want(dueKey(classDue, Agent(h.Dest), h.DueMs, id))
		case PlaceHeld:
			v.want(heldKey(ID(h.Holder), id))
		case PlaceParked:
			v.want(idKey(classParked, id))
		case PlaceLocal: // its hand-over is in the mailbox
		default:
			v.report.problem("open intent %s is nowhere", id)
		}
		if h.Gated || h.Stepped {
			v.parts(id)
		}
		if h.ExpiryMs != 0 {
			v.want(timeKey(classExpiry, h.ExpiryMs, id[:]))
		}
	})
	if err != nil {
		v.report.problem("%v", err)
	}
}

// parts checks an intent that waits for parts: one of them is open.
func (v *verifier) parts(id ID) {
	var p wire.Plan
	if _, err := readMessage(v.txn, idKey(classPlan, id), &p); err != nil {
		v.report.problem("parts of %s: %v", id, err)
		return
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
	v.report.problem("intent %s waits for an approval that nobody is asked for, or a step that is not open", id)
}

// dead checks an ended intent of ours: a dead letter has its entry and its body,
// and its successor knows of it.
func (v *verifier) dead(id ID, h *wire.Head, log *wire.Events) {
	if isDead := endedFor(log.Events).DeadLetter() != ""; isDead != (h.DeadMs != 0) && (v.laid || !isDead) {
		v.report.problem("intent %s ended by %s: its head says %t of its being a dead letter", id, endedFor(log.Events), h.DeadMs != 0)
	}
	if h.DeadMs == 0 {
		return
	}
	v.want(deadKey(h.DeadMs, id))
	v.envelope(id)
	as, err := IDOf(h.RedrivenAs)
	if err != nil || v.gone(as) {
		return
	}
	next, err := readIntent(v.txn, as)
	if err != nil || next.Envelope == nil || string(next.Envelope.RedriveOf) != string(id[:]) {
		v.report.problem("dead letter %s was redriven as %s, which does not say so: %v", id, as, err)
	}
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
		v.report.problem("intent %s is a redrive of %s, which names %x", id, of, was.RedrivenAs)
	}
}

// gone reports whether an intent that is not here was purged, or may have been let go.
func (v *verifier) gone(id ID) bool {
	found, err := readMessage(v.txn, idKey(classPurged, id), &wire.Purged{})
	if found && err == nil {
		return true
	}
	homed, err := readMessage(v.txn, idKey(classHead, id), &wire.Head{})
	return err == nil && !homed && !v.letGo.IsZero()
}

// kept checks that an ended intent is where the history finds it.
func (v *verifier) kept(id ID, retainMS int64) {
	for _, class := range []byte{classRetain, classHistory} {
		if _, found, err := readKey(v.txn, timeKey(class, retainMS, id[:])); found && err == nil {
			return
		}
	}
	v.report.problem("intent %s has ended, and the history does not know", id)
}

func (v *verifier) want(key []byte) { v.expect[string(key)] = false }

func (v *verifier) envelope(id ID) {
	blob, found, err := readEnvelope(v.txn, id)
	switch {
	case err != nil:
		v.report.problem("envelope of %s: %v", id, err)
	case !found:
		v.report.problem("intent %s has no envelope", id)
	default:
		var e wire.Envelope
		if err := proto.Unmarshal(blob, &e); err != nil {
			v.report.problem("envelope of %s: %v", id, err)
		}
		v.successor(id, &e)
	}
}

func (v *verifier) handovers() {
	err := eachRecord(v.txn, []byte{classHandover}, func() *wire.Handover { return &wire.Handover{} }, func(key []byte, h *wire.Handover) {
		id := ID(key[1:17])
		if homed, err := readMessage(v.txn, idKey(classHead, id), &wire.Head{}); err == nil && !homed {
			v.report.Intents++
			if state.Phase(h.Phase).Open() {
				v.report.Live++
			}
		}
		if state.Phase(h.Phase).Open() {
			v.want(dueKey(classMail, Agent(h.Agent), h.DueMs, id))
			v.envelope(id)
		}
		if h.DeadReason != 0 {
			v.want(deadKey(h.EndedMs, id))
			v.envelope(id)
		}
		if h.RetainMs != 0 {
			v.kept(id, h.RetainMs)
		}
	})
	if err != nil {
		v.report.problem("%v", err)
	}
}

// indexes compares every live index key with those the records name.
func (v *verifier) indexes() {
	opts := badger.DefaultIteratorOptions
	opts.PrefetchValues = false
	it := v.txn.NewIterator(opts)
	defer it.Close()
	for _, c := range liveClasses {
		if c == classReport {
			continue
		}
		for it.Seek([]byte{c}); it.ValidForPrefix([]byte{c}); it.Next() {
			k := string(it.Item().Key())
			if _, wanted := v.expect[k]; !wanted {
				v.report.problem("index %s has an entry no intent names: %x", classNames[c], k)
				continue
			}
			v.expect[k] = true
		}
	}
	for k, seen := range v.expect {
		if !seen {
			v.report.problem("index %s lacks the entry %x of a live intent", classNames[k[0]], k)
		}
	}
}

// keys checks reports (no gap per home) and idempotency keys (their intent
// exists, or has left the history).
func (v *verifier) keys() {
	var home ID
	var lastNo uint64
	err := eachRecord(v.txn, []byte{classReport}, func() *wire.Report { return &wire.Report{} }, func(key []byte, r *wire.Report) {
		h, no := ID(key[1:17]), binary.BigEndian.Uint64(key[17:25])
		if h == home && no != lastNo+1 {
			v.report.problem("reports for journal %s jump from %d to %d", h, lastNo, no)
		}
		if no != r.No {
			v.report.problem("report %d for journal %s says it is %d", no, h, r.No)
		}
		home, lastNo = h, no
	})
	if err != nil {
		v.report.problem("%v", err)
	}
	err = eachRecord(v.txn, []byte{classDedupe}, func() *wire.Dedupe { return &wire.Dedupe{} }, func(key []byte, d *wire.Dedupe) {
		if len(d.Thing) > 0 {
			return // of what is no intent
		}
		id, err := IDOf(d.Id)
		if err != nil {
			v.report.problem("idempotency key %x: %v", key[1:], err)
			return
		}
		homed, err := readMessage(v.txn, idKey(classHead, id), &wire.Head{})
		held, heldErr := readMessage(v.txn, idKey(classHandover, id), &wire.Handover{}) // answered there
		if err != nil || heldErr != nil || !homed && !held && !v.gone(id) {
			v.report.problem("idempotency key %x names intent %s, which is not here", key[1:9], id)
		}
	})
	if err != nil {
		v.report.problem("%v", err)
	}
}
