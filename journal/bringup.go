package journal

import (
	"github.com/dgraph-io/badger/v4"
	"google.golang.org/protobuf/proto"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// bringUpBatch is how many records one commit of bringUp touches.
const bringUpBatch = 1000

// bringUp adds what records of an earlier schema lack: dead letters that ended
// before there was an index of them. It runs before anything else is committed. If
// we crash in it, the next start does it again, and passes over what is done.
func (j *Journal) bringUp() error {
	if j.birth.BroughtTo >= schemaPlain {
		return nil
	}
	for after := (ID{}); ; {
		var ids []ID
		err := viewAlone(j.db, func(txn *page) (err error) {
			ids, err = unlaid(txn, &after)
			return err
		})
		if err != nil {
			return err
		}
		done := len(ids) == 0
		if err := j.commitAlone(func(t *tx) error {
			if done {
				j.birth.BroughtTo = schemaPlain
				return t.put(birthKey, j.birth)
			}
			return t.layOld(ids)
		}); err != nil || done {
			return err
		}
	}
}

// unlaid returns intents of ours that ended badly and are in no index, in the order
// of ids, and moves after behind the last one looked at.
func unlaid(txn *page, after *ID) (ids []ID, err error) {
	opts := badger.DefaultIteratorOptions
	opts.Prefix = []byte{classHead}
	it := txn.NewIterator(opts)
	defer it.Close()
	for it.Seek(append(idKey(classHead, *after), 0)); it.Valid() && len(ids) < bringUpBatch; it.Next() {
		key := it.Item().KeyCopy(nil)
		rec, err := it.Item().ValueCopy(nil)
		if err != nil {
			return nil, err
		}
		var h wire.Head
		if err := unsealMessage(key, rec, &h); err != nil {
			return nil, err
		}
		*after = ID(key[1:17])
		if s := state.Status(h.Status); h.DeadMs == 0 && (s == state.Failed || s == state.TimedOut) {
			ids = append(ids, *after)
		}
	}
	return ids, nil
}

func (t *tx) layOld(ids []ID) error {
	for _, id := range ids {
		l, found, err := t.life(id)
		if err != nil || !found {
			return err
		}
		if l.endedFor().DeadLetter() == "" {
			continue
		}
		l.head.DeadMs = l.events.Events[len(l.events.Events)-1].AtMs
		t.putIndex(deadKey(l.head.DeadMs, id))
		if err := t.put(idKey(classHead, id), &l.head); err != nil {
			return err
		}
	}
	return nil
}

// needs has programs of an earlier schema refuse the journal from this batch on: it has what
// they would take for something else.
func (t *tx) needs(schema uint32) error {
	if t.j.birth.Schema >= schema {
		return nil
	}
	birth := proto.CloneOf(t.j.birth)
	birth.Schema = schema
	t.after(func() { t.j.birth.Schema = schema })
	return t.put(birthKey, birth)
}

// commitAlone commits what f writes, before the committer runs.
func (j *Journal) commitAlone(f func(*tx) error) error {
	t := j.begin()
	defer t.disk.Discard()
	if err := f(t); err != nil {
		return err
	}
	t.keep()
	if err := j.commit(t, nil); err != nil {
		return err
	}
	for _, f := range t.batch.after {
		f()
	}
	return nil
}
