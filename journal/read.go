package journal

import (
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"google.golang.org/protobuf/proto"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// readItem returns nil where there is no such key.
func readItem(txn *page, key []byte) (*badger.Item, error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, storeError(key, err)
	}
	return item, nil
}

func readKey(txn *page, key []byte) (rec []byte, found bool, err error) {
	item, err := readItem(txn, key)
	if err != nil || item == nil {
		return nil, false, err
	}
	if rec, err = item.ValueCopy(nil); err != nil {
		return nil, false, storeError(key, err)
	}
	return rec, true, nil
}

func storeError(key []byte, err error) error { return fmt.Errorf("%w %x: %w", errStore, key, err) }

// readMessage decodes where the record lies: Badger has copied it twice by then.
func readMessage(txn *page, key []byte, m proto.Message) (bool, error) {
	item, err := readItem(txn, key)
	if err != nil || item == nil {
		return false, err
	}
	var bad error
	if err := item.Value(func(rec []byte) error { bad = unsealMessage(key, rec, m); return nil }); err != nil {
		return false, storeError(key, err)
	}
	return true, bad
}

func reader(txn *page) func([]byte) ([]byte, bool, error) {
	return func(key []byte) ([]byte, bool, error) { return readKey(txn, key) }
}

func readEnvelope(txn *page, id ID) ([]byte, bool, error) {
	return joinChunks(reader(txn), classEnvelope, id)
}

// Get returns what this journal knows of an intent, or ErrNotFound.
func (j *Journal) Get(id ID) (*Intent, error) {
	var i *Intent
	err := j.view(func(txn *page) (err error) {
		i, err = readIntent(txn, id)
		return err
	})
	if isFault(err) {
		j.suspect(id, err)
	}
	return i, j.history.explain(err)
}

// BodySize is how many bytes Get reads of what an intent's sender and its end have said.
// Their records are not read for that; of what is not there it is 0.
func (j *Journal) BodySize(id ID) (n int, err error) {
	err = j.view(func(txn *page) error {
		for _, class := range []byte{classEnvelope, classOutcome} {
			for chunk, more := 0, true; more; chunk++ {
				item, err := readItem(txn, chunkKey(class, id, chunk))
				if err != nil {
					return err
				}
				if more = item != nil && item.ValueSize() >= chunkSize; item != nil {
					n += int(item.ValueSize())
				}
			}
		}
		return nil
	})
	return n, err
}

func readIntent(txn *page, id ID) (*Intent, error) {
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
	if homed && i.Head.Planned {
		i.Plan = &wire.Plan{}
		if _, err := readMessage(txn, idKey(classPlan, id), i.Plan); err != nil {
			return nil, err
		}
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
	err = j.view(func(txn *page) error {
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
	if isFault(err) {
		j.suspect(id, err)
	}
	return events, firstSeq, j.history.explain(err)
}

// listScan bounds how many records one List reads.
const listScan = 10_000

// List returns intents homed or held here, newest first, and where the next
// List begins (its Filter.Before); zero when there is nothing more. A filter
// that matches little returns what it has found among 10,000 records.
func (j *Journal) List(f Filter) (out []*Intent, next ID, err error) {
	scanned, bytes := 0, 0
	next = f.Before
	err = j.views(func(txn *page) (more bool, err error) {
		homed, held := newestFirst(txn, classHead, next), newestFirst(txn, classHandover, next)
		defer homed.Close()
		defer held.Close()
		for ; scanned < listScan && len(out) < f.Limit; scanned++ {
			if txn.full() {
				return true, nil
			}
			id, ok := laterOf(homed, held)
			if !ok {
				next = ID{}
				return false, nil
			}
			next = id
			i, err := readIntent(txn, id)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if isFault(err) {
				j.suspect(id, err)
				continue // one that cannot be read hides no other
			}
			if err != nil {
				return false, fmt.Errorf("list: %w", err)
			}
			if f.matches(i) {
				out, bytes = append(out, i), bytes+len(i.Envelope.GetPayload())+len(i.Outcome.GetBody())
			}
			if f.Bytes > 0 && bytes >= f.Bytes {
				return false, nil
			}
		}
		return false, nil
	})
	return out, next, err
}

func newestFirst(txn *page, class byte, before ID) *iterator {
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
func laterOf(a, b *iterator) (ID, bool) {
	idAt := func(it *iterator) (ID, bool) {
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

// HeldAt pages through the intents on record at a holder, in the order of ids.
func (j *Journal) HeldAt(holder, after ID, max int) (ids []ID, err error) {
	err = j.view(func(txn *page) error {
		eachKey(txn, idKey(classHeld, holder), append(heldKey(holder, after), 0), func(key []byte) (more bool) {
			ids = append(ids, ID(key[17:33]))
			return len(ids) < max
		})
		return nil
	})
	return ids, err
}

// Dests returns the destination of each intent homed here; 0 for the others, and for one
// that cannot be read.
func (j *Journal) Dests(ids []ID) ([]Agent, error) {
	out := make([]Agent, len(ids))
	i := 0
	err := j.views(func(txn *page) (more bool, err error) {
		for ; i < len(ids) && !txn.full(); i++ {
			var h wire.Head
			_, err := readMessage(txn, idKey(classHead, ids[i]), &h)
			if isFault(err) {
				j.suspect(ids[i], err)
				continue
			}
			if err != nil {
				return false, err
			}
			out[i] = Agent(h.Dest)
		}
		return i < len(ids), nil
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
