package journal

import (
	"cmp"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// salvageRounds bounds how often what was made to hold is verified again: what is removed
// leaves others without what they name.
const salvageRounds = 8

// salvage makes what is left of the journal hold, before anything of it is in memory. The
// records decide. Intents that are to end are left in j.loss for endUnfit.
func (j *Journal) salvage() error {
	if err := j.loss.note(j.dir); err != nil {
		return err
	}
	if err := j.commitAlone(func(t *tx) error { return t.put(birthKey, j.birth) }); err != nil {
		return err
	}
	stood, hollow := map[ID][][]byte{}, map[ID]bool{}
	for range salvageRounds {
		s := salvager{j: j, gone: map[ID]bool{}, named: map[uint32]bool{}, back: map[uint32]bool{}, stood: stood, hollow: hollow,
			numbered: map[ID]bool{}, cutBodies: map[byte]map[ID]bool{classEnvelope: {}, classOutcome: {}}}
		err := viewAlone(j.db, func(txn *page) error {
			found := VerifyReport{all: true, marked: true}
			found.read(j.db, txn, nil)
			return s.take(txn, found.Damages)
		})
		if err != nil {
			return err
		}
		if len(s.todo) == 0 {
			break
		}
		s.sayBodies()
		s.sayKeys()
		if err := j.loss.note(j.dir); err != nil {
			return err
		}
		if err := j.commitInTurn(s.todo); err != nil {
			return err
		}
	}
	if err := j.standIn(stood); err != nil {
		return err
	}
	if err := j.keepHollow(hollow); err != nil {
		return err
	}
	if err := viewAlone(j.db, j.unfitParts); err != nil {
		return err
	}
	if j.loss.String() != "" {
		if err := viewAlone(j.db, j.sayUnkeyed); err != nil {
			return err
		}
	}
	if err := j.loss.note(j.dir); err != nil { // with the parts
		return err
	}
	return j.adoptSums()
}

// unfitParts adds the parts of what cannot go on, which may not know of them any more.
func (j *Journal) unfitParts(txn *page) error {
	wholes := map[ID]ID{} // of parts
	for news := len(j.loss.unfit) > 0; news; {
		news = false
		err := eachRecord(txn, []byte{classHead}, func() *wire.Head { return &wire.Head{} }, func(key []byte, h *wire.Head) {
			parent, err := IDOf(h.Parent)
			if _, ends := j.loss.unfit[parent]; err == nil && ends && state.Status(h.Status).Open() {
				news = j.loss.cannotGoOn(ID(key[1:17]), "what it is a part of cannot go on") || news
				wholes[ID(key[1:17])] = parent
			}
		})
		if err != nil {
			return err
		}
	}
	j.loss.wholesFirst(wholes)
	return nil
}

// salvager makes up for what one look has found.
type salvager struct {
	j     *Journal
	txn   *page
	named map[uint32]bool // numbers of addresses
	gone  map[ID]bool     // forgotten
	todo  []func(*tx) error

	back   map[uint32]bool // those of named that this round puts back
	strays map[ID][][]byte // entries of indexes that no record names
	stood  map[ID][][]byte // intents that get a head in place of theirs, with the entries that named them
	hollow map[ID]bool     // dead letters that have lost what was sent

	refused   int                  // idempotency keys that this round has refused
	numbered  map[ID]bool          // homes whose reports this round has looked at
	cutBodies map[byte]map[ID]bool // by class: of what has ended, those that this round cuts off
}

func (s *salvager) take(txn *page, damages []Damage) error {
	s.txn = txn
	err := eachRecord(txn, []byte{className}, func() *wire.Name { return &wire.Name{} }, func(_ []byte, n *wire.Name) { s.named[n.No] = true })
	if err != nil && !isFault(err) {
		return err
	}
	if s.mendNames(damages) {
		return nil // what an intent lacks is looked at when all addresses can be read
	}
	s.strays = straysOf(damages)
	for _, d := range damages {
		s.mend(d)
	}
	return nil
}

func (s *salvager) mend(d Damage) {
	switch d.Kind {
	case WrongCount, LostBatches: // adoptSums sees to it
	case BrokenReports:
		home, _ := homeOf(d.Key)
		s.numberReports(home)
	case MissingEntry:
		s.putEntry(d.Key)
	case StrayEntry:
		s.remove(d.Key)
	case StrayRecord:
		switch {
		case d.Key[0] == classDedupe: // whoever has that key may send again
			s.forgetKey(d.Key)
		case !s.standsIn(d.Intent):
			s.forget(d)
		}
	default:
		switch {
		case d.Kind == MissingRecord && d.Key != nil && d.Key[0] == classForget:
			s.refuseKey(d.Key)
		case d.Kind == DamagedRecord && isIndex(d.Key[0]):
			s.putEntry(d.Key) // without its value; should no record name it, the next round says so
		case !d.Intent.IsZero():
			s.intent(d)
		case d.Key != nil && d.Key[0] != classMeta: // those two the first commit writes
			s.remove(d.Key)
		}
	}
}

func (s *salvager) do(f func(*tx) error) { s.todo = append(s.todo, f) }

func (s *salvager) putEntry(key []byte) {
	s.j.loss.mended++
	s.do(func(t *tx) error { t.set(key, write{rec: []byte{}}); return nil })
}

func (s *salvager) remove(key []byte) {
	s.j.loss.removed++
	s.do(func(t *tx) error { t.del(key); return nil })
}

// intent decides what becomes of one that something is wrong with.
func (s *salvager) intent(d Damage) {
	id := d.Intent
	var h wire.Head
	switch readable := s.readable(id, &h); {
	case s.gone[id], s.endedBody(d):
	case d.Kind == DamagedRecord && spare(d.Key[0]): // looked at again, without it
		s.remove(d.Key)
	case d.Kind == MissingRecord && d.Key != nil: // a thread in the inbox of nobody
		if !s.ownersAreNamed(d.Key) {
			s.remove(d.Key)
		}
	case !readable && s.stripHand(id): // likewise, with what is left of it
	case d.Kind == DamagedRecord && d.Key[0] == classHandover && (readable || s.standsIn(id)): // likewise, without it
		s.remove(d.Key)
	case !readable && s.standsIn(id):
	case readable && s.endedWithoutLog(id, &h): // likewise, with one
	case readable && s.redrives(id): // likewise, as one
	case readable && s.endedInHand(id, &h): // likewise, out of it
	case !readable:
		s.forget(d)
	default:
		lacksThread := s.strip(id, &h)
		switch {
		case s.isHollow(id, &h):
			s.hollow[id] = true
		case state.Status(h.Status).Open() && (!lacksThread || h.HumanTask):
			s.j.loss.cannotGoOn(id, d.What)
		}
	} // what else an ended intent lacks, its readers do without
}

// strip takes off the head of an intent what it names and that is not here. A dead letter
// whose successor is gone may have another. What has ended is in no index of what is open: the
// fingerprint would count entries that are not there, for as long as its head is.
func (s *salvager) strip(id ID, h *wire.Head) (lacksThread bool) {
	was := proto.CloneOf(h)
	if h.Planned && !s.has(idKey(classPlan, id)) {
		h.Planned, h.Gated, h.Stepped = false, false, false
		lost := &wire.Aside{Key: idKey(classPlan, id), Why: "it is gone", AtMs: ms(s.j.now())}
		s.do(func(t *tx) error { return t.put(idKey(classAside, id), lost) }) // redriven, it would do without approval
	}
	if h.PolicyGeneration > 0 && !s.has(idKey(classPolicy, id)) {
		h.PolicyGeneration = 0
	}
	if lacksThread = h.Thread && !s.has(idKey(classThread, id)); lacksThread {
		h.Thread = false
	}
	if next, err := IDOf(h.RedrivenAs); err == nil && !s.has(idKey(classHead, next)) && !s.has(idKey(classPurged, next)) && !s.standsIn(next) {
		h.RedrivenAs = nil
	}
	h.SentLost = h.SentLost || !s.hasEnvelope(id)
	if !state.Status(h.Status).Open() {
		h.Place, h.ExpiryMs = uint32(PlaceEnded), 0
	}
	if !proto.Equal(was, h) {
		s.do(func(t *tx) error { return t.put(idKey(classHead, id), h) })
	}
	return lacksThread
}

// stripHand does so with what is held here for another home, and reports whether there was
// anything to take off.
func (s *salvager) stripHand(id ID) bool {
	var h wire.Handover
	held, err := readMessage(s.txn, idKey(classHandover, id), &h)
	if err != nil || !held || !h.Threaded || s.has(idKey(classThread, id)) {
		return false
	}
	h.Threaded = false
	s.do(func(t *tx) error { return t.put(idKey(classHandover, id), &h) })
	return true
}

// readable reports whether an intent is home's and can be read as far as it takes to end it:
// its end needs no log.
func (s *salvager) readable(id ID, h *wire.Head) bool {
	_, err := readMessage(s.txn, idKey(classHead, id), h)
	return err == nil && s.named[h.Dest] // without one it is to nobody
}

func (s *salvager) has(key []byte) bool {
	item, err := readItem(s.txn, key)
	return err != nil || item != nil
}

// forget removes all that is left of an intent, and says so.
func (s *salvager) forget(d Damage) {
	if s.gone[d.Intent] {
		return
	}
	s.gone[d.Intent] = true
	if f := s.j.hooks.Corrupt; s.j.loss.forget(d.Intent, d.What) && f != nil {
		f(leftOf(d.Intent, d.What))
	}
	for class, c := range keyClasses {
		if c.of != ofHead || class == classPurged {
			continue
		}
		eachKey(s.txn, idKey(class, d.Intent), nil, func(key []byte) bool {
			s.do(func(t *tx) error { t.del(key); return nil })
			return true
		})
	}
}

// adoptSums makes the fingerprint that of the records, which the indexes agree with now, has
// the history take what they say, and numbers go on where none was given before.
func (j *Journal) adoptSums() error {
	todo := []func(*tx) error{func(*tx) error { return nil }}
	err := viewAlone(j.db, func(txn *page) error {
		n, err := namedByRecords(txn)
		if err != nil {
			return err // a record that nothing could be done about
		}
		j.sums = n.sums
		if j.history.total.bytes, err = historyOf(txn); err != nil {
			return err
		}
		return eachRecord(txn, []byte{className}, func() *wire.Name { return &wire.Name{} }, func(key []byte, m *wire.Name) {
			m.Seq += epochSkip
			todo = append(todo, func(t *tx) error { return t.put(key, m) })
		})
	})
	if err != nil {
		return err
	}
	return j.commitInTurn(todo)
}

// commitInTurn commits what many functions write, some at a time, before the committer runs.
func (j *Journal) commitInTurn(all []func(*tx) error) error {
	for len(all) > 0 {
		n := 0
		err := j.commitAlone(func(t *tx) error {
			for ; n < min(len(all), bringUpBatch); n++ {
				if err := all[n](t); err != nil {
					return err
				}
				if n > 0 && !t.fits() {
					t.drop() // the next one has room
					return nil
				}
				t.keep()
			}
			return nil
		})
		if err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// endUnfit ends what can be read and cannot go on, as dead letters, and says what was lost.
// A crash in it: no start goes on but one that accepts the loss, which ends the others.
func (j *Journal) endUnfit() error {
	for _, id := range j.loss.order {
		err := j.commitAlone(func(t *tx) error { return t.endUnfit(id, j.loss.unfit[id]) })
		switch {
		case j.Err() != nil:
			return err
		case err != nil:
			j.warn(fmt.Sprintf("intent %s cannot go on, and cannot be ended: %v", id, err))
		}
	}
	if j.loss.asked {
		j.warn("started with --accept-loss: " + cmp.Or(j.loss.String(), "nothing is gone; start without it the next time, each such start begins an epoch"))
	}
	return nil
}

func (t *tx) endUnfit(id ID, why string) error {
	corrupt, err := t.setAside(id)
	if err != nil {
		return err
	}
	if corrupt != nil {
		return t.setAsideWhole(blame{id, corrupt}, nil)
	}
	return t.setAsideWhole(blame{id, errors.New(CorruptRecord + ": " + why)}, nil)
}
