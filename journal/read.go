package journal

import (
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"
	"google.golang.org/protobuf/proto"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// readItem returns nil where there is no such key.
func readItem(txn *badger.Txn, key []byte) (*badger.Item, error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %x: %w", key, err)
	}
	return item, nil
}

func readKey(txn *badger.Txn, key []byte) (rec []byte, found bool, err error) {
	item, err := readItem(txn, key)
	if err != nil || item == nil {
		return nil, false, err
	}
	rec, err = item.ValueCopy(nil)
	return rec, err == nil, err
}

// readMessage decodes where the record lies: Badger has copied it twice by then.
func readMessage(txn *badger.Txn, key []byte, m proto.Message) (bool, error) {
	item, err := readItem(txn, key)
	if err != nil || item == nil {
		return false, err
	}
	return true, item.Value(func(rec []byte) error { return unsealMessage(key, rec, m) })
}

func reader(txn *badger.Txn) func([]byte) ([]byte, bool, error) {
	return func(key []byte) ([]byte, bool, error) { return readKey(txn, key) }
}

func readEnvelope(txn *badger.Txn, id ID) ([]byte, bool, error) {
	return joinChunks(reader(txn), classEnvelope, id)
}

// Get returns what this journal knows of an intent, or ErrNotFound.
func (j *Journal) Get(id ID) (*Intent, error) {
	var i *Intent
	err := j.view(func(txn *badger.Txn) (err error) {
		i, err = readIntent(txn, id)
		return err
	})
	return i, err
}

func readIntent(txn *badger.Txn, id ID) (*Intent, error) {
	i := &Intent{ID: id, Head: &wire.Head{}, Handover: &wire.Handover{}}
	homed, err := readMessage(txn, idKey(classHead, id), i.Head)
	if err != nil {
		return nil, err
	}
	held, err := readMessage(txn, idKey(classHandover, id), i.Handover)
	if err != nil {
		return nil, err
	}
	if !homed && !held {
		return nil, ErrNotFound
	}
	if !homed {
		i.Head = nil
	}
	if !held {
		i.Handover = nil
	}
	if homed && i.Head.PolicyGeneration > 0 {
		i.Policy = &wire.Policy{}
		if _, err := readMessage(txn, idKey(classPolicy, id), i.Policy); err != nil {
			return nil, err
		}
	}
	blob, found, err := readEnvelope(txn, id)
	if err != nil {
		return nil, err
	}
	if found {
		i.Envelope = &wire.Envelope{}
		if err := proto.Unmarshal(blob, i.Envelope); err != nil {
			return nil, &CorruptError{Key: chunkKey(classEnvelope, id, 0), Why: err.Error()}
		}
	}
	blob, found, err = joinChunks(reader(txn), classOutcome, id)
	if err != nil {
		return nil, err
	}
	if found {
		i.Outcome = &wire.Outcome{}
		if err := proto.Unmarshal(blob, i.Outcome); err != nil {
			return nil, &CorruptError{Key: chunkKey(classOutcome, id, 0), Why: err.Error()}
		}
	}
	return i, nil
}

// Events returns the events of an intent whose number is above since, and the
// number of the first of them. The event that carries the outcome is last; its
// body is in Intent.Outcome. At a holder there are events only once the intent
// has ended: until then home alone has them.
func (j *Journal) Events(id ID, since uint32) (events []*wire.Event, firstSeq uint32, err error) {
	err = j.view(func(txn *badger.Txn) error {
		var log wire.Events
		found, err := readMessage(txn, idKey(classEvents, id), &log)
		if err != nil {
			return err
		}
		if !found {
			return ErrNotFound
		}
		from := min(int(since), len(log.Events))
		events, firstSeq = log.Events[from:], uint32(from)+1
		return nil
	})
	return events, firstSeq, err
}

// listScan bounds how many records one List reads.
const listScan = 10_000

// List returns intents homed or held here, newest first, and where the next
// List begins (its Filter.Before); zero when there is nothing more. A filter
// that matches little returns what it has found among 10,000 records.
func (j *Journal) List(f Filter) (out []*Intent, next ID, err error) {
	err = j.view(func(txn *badger.Txn) error {
		homed, held := newestFirst(txn, classHead, f.Before), newestFirst(txn, classHandover, f.Before)
		defer homed.Close()
		defer held.Close()
		for scanned := 0; scanned < listScan && len(out) < f.Limit; scanned++ {
			id, ok := laterOf(homed, held)
			if !ok {
				next = ID{}
				return nil
			}
			next = id
			i, err := readIntent(txn, id)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return fmt.Errorf("list: %w", err)
			}
			if f.matches(i) {
				out = append(out, i)
			}
		}
		return nil
	})
	return out, next, err
}

func newestFirst(txn *badger.Txn, class byte, before ID) *badger.Iterator {
	opts := badger.DefaultIteratorOptions
	opts.PrefetchValues, opts.Reverse = false, true
	opts.Prefix = []byte{class}
	it := txn.NewIterator(opts)
	if before.IsZero() {
		it.Seek(append([]byte{class}, 0xff))
		return it
	}
	it.Seek(idKey(class, before))
	if it.Valid() && ID(it.Item().Key()[1:]) == before {
		it.Next()
	}
	return it
}

// laterOf takes the newest id off two iterators that run from new to old.
func laterOf(a, b *badger.Iterator) (ID, bool) {
	idAt := func(it *badger.Iterator) (ID, bool) {
		if !it.Valid() {
			return ID{}, false
		}
		return ID(it.Item().Key()[1:17]), true
	}
	x, okx := idAt(a)
	y, oky := idAt(b)
	switch {
	case !okx && !oky:
		return ID{}, false
	case okx && oky && x == y:
		a.Next()
		b.Next()
		return x, true
	case !oky || okx && string(x[:]) > string(y[:]):
		a.Next()
		return x, true
	default:
		b.Next()
		return y, true
	}
}

func (f Filter) matches(i *Intent) bool {
	s := i.Status()
	switch {
	case f.Status != state.None && s != f.Status:
		return false
	case f.Open && (i.Head == nil || !s.Open()):
		return false
	case f.Parked && !i.WaitsForOperator():
		return false
	case f.Pending && s != state.Created && s != state.Submitted && s != state.Delivered:
		return false
	case f.To != "" && (i.Envelope == nil || i.Envelope.ToAgent != f.To):
		return false
	case f.Keep != nil && !f.Keep(i):
		return false
	}
	return true
}

// claimBytes bounds the envelopes one Due returns; one alone may be larger.
const claimBytes = 1 << 20

// Due returns up to max intents of the destination that may be offered now,
// oldest first, leaving out those for which skip says so, and when the next
// will be due (zero: none). It starts from a remembered place, which an insert
// before it moves back: what is in flight may come up again, and skip leaves it out.
func (j *Journal) Due(a Agent, now time.Time, max int, skip func(ID) bool) (offers []Offer, next time.Time, err error) {
	return j.DuePart(a, 0, now, max, skip)
}

// DuePart is Due from a place of its own: several readers that divide a
// destination's intents among them each pass over what the others take, however
// far behind those are. Parts are few numbers from 0: each costs a key.
func (j *Journal) DuePart(a Agent, part int, now time.Time, max int, skip func(ID) bool) (offers []Offer, next time.Time, err error) {
	if err := j.running(); err != nil {
		return nil, time.Time{}, err
	}
	c := j.indexes.part(agentPrefix(classDue, a), part)
	bytes := 0
	next = c.scan(j.db, now, func(txn *badger.Txn, due time.Time, id ID) bool {
		if len(offers) >= max || bytes >= claimBytes {
			return false
		}
		if skip(id) {
			return true
		}
		o, ok, rerr := readOffer(txn, id, due, j.birth.Boot)
		if rerr != nil {
			return j.passOver(rerr, &err)
		}
		if ok {
			offers, bytes = append(offers, o), bytes+len(o.Envelope)
		}
		return true
	})
	return offers, next, err
}

// passOver decides what a scan does at a record it cannot read: one that is
// corrupt is reported and left where it is, and must not block what comes after
// it; any other error ends the scan.
func (j *Journal) passOver(err error, failed *error) (more bool) {
	var corrupt *CorruptError
	if errors.As(err, &corrupt) {
		j.warn(err.Error())
		return true
	}
	*failed = err
	return false
}

// readOffer reads what an offer needs; ok is false where the index is wrong
// about the intent: the head decides.
func readOffer(txn *badger.Txn, id ID, due time.Time, boot uint32) (o Offer, ok bool, err error) {
	var h wire.Head
	found, err := readMessage(txn, idKey(classHead, id), &h)
	if err != nil || !found || Place(h.Place) != PlaceDue || h.DueMs != due.UnixMilli() {
		return Offer{}, false, err
	}
	env, found, err := readEnvelope(txn, id)
	if err != nil || !found {
		return Offer{}, false, err
	}
	o = Offer{
		ID: id, OfferNo: h.OfferNo, Due: due, Envelope: env, Deadline: at(h.DeadlineAtMs), Attempts: h.Attempts,
		Redelivered: h.OfferNo > 1 || h.DeliveryAttempt > 0 || h.Redelivered, Taken: h.Taken, Continued: h.Continued, Handovers: h.DeliveryAttempt, Old: h.Boot != boot, Previous: h.Traceparent,
	}
	o.Policy = policyOf(id, &h)
	if !h.Taken {
		o.DeliverBy = at(h.DeliverByMs)
	}
	if len(h.Holder) > 0 {
		o.Holder = ID(h.Holder)
	}
	var e wire.Envelope
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(env, &e); err != nil {
		return Offer{}, false, &CorruptError{Key: chunkKey(classEnvelope, id, 0), Why: err.Error()}
	}
	o.Receiver, o.Completion = e.ReceiverDurability, len(e.CompletionOf) > 0
	return o, true, nil
}

// Rewind makes the intents of the destination that are due at or after due
// ones that Due returns again, of every part.
func (j *Journal) Rewind(a Agent, due time.Time) {
	j.indexes.lower(agentPrefix(classDue, a), dueKey(classDue, a, due.UnixMilli(), ID{}))
}

// RewindMail is Rewind for a mailbox.
func (j *Journal) RewindMail(a Agent, due time.Time) {
	j.indexes.lower(agentPrefix(classMail, a), dueKey(classMail, a, due.UnixMilli(), ID{}))
}

// DueAgents lists the destinations that have an intent in the due index, lanes of
// completions included.
func (j *Journal) DueAgents() []Agent {
	var out []Agent
	_ = j.view(func(txn *badger.Txn) error {
		opts := badger.DefaultIteratorOptions
		opts.PrefetchValues = false
		it := txn.NewIterator(opts)
		defer it.Close()
		for a := range j.names.count() {
			prefix := agentPrefix(classDue, Agent(a))
			if it.Seek(prefix); it.ValidForPrefix(prefix) {
				out = append(out, Agent(a))
			}
		}
		return nil
	}) // the only error is that the journal has stopped: then nothing is due
	return out
}

// HeldAt pages through the intents on record at a holder, in the order of ids.
func (j *Journal) HeldAt(holder, after ID, max int) (ids []ID, err error) {
	err = j.view(func(txn *badger.Txn) error {
		opts := badger.DefaultIteratorOptions
		opts.PrefetchValues = false
		opts.Prefix = idKey(classHeld, holder)
		it := txn.NewIterator(opts)
		defer it.Close()
		for it.Seek(append(heldKey(holder, after), 0)); it.Valid() && len(ids) < max; it.Next() {
			ids = append(ids, ID(it.Item().Key()[17:33]))
		}
		return nil
	})
	return ids, err
}

// Dests returns the destination of each intent homed here; 0 for the others.
func (j *Journal) Dests(ids []ID) ([]Agent, error) {
	out := make([]Agent, len(ids))
	err := j.view(func(txn *badger.Txn) error {
		for i, id := range ids {
			var h wire.Head
			if _, err := readMessage(txn, idKey(classHead, id), &h); err != nil {
				return err
			}
			out[i] = Agent(h.Dest)
		}
		return nil
	})
	return out, err
}

func (j *Journal) running() error {
	select {
	case <-j.stopped:
		return j.stopError()
	default:
		return nil
	}
}
