package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"google.golang.org/protobuf/proto"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// The scrub reads the live set again while the journal runs: Badger can lose the keys of
// a table in a compaction without a word. It goes by pages, each an operation of the
// committer like any other, so that nobody waits for more than one. What is committed
// while it is under way is counted with what it has read, up to where it has come: in the
// end it has the fingerprint of the set as it is then, which must be the one that is kept.
//
// What a page has named is read after it, in a snapshot: a record that is corrupt or gone
// costs its intent alone. An index that is not what was written stops the journal, like a
// failed commit; the next start builds it anew where the records are whole.
const (
	scrubPage = 256
	scrubLook = 10 * time.Second // has the set of tables changed?
	scrubRest = 30 * time.Second // at least, between two of them, unless they are to be more often
	// scrubShare is how much longer than a page takes it waits before the next.
	scrubShare = 10
)

// DefaultScrub is how often the live set is read where nobody says otherwise. It takes one
// part in scrubShare of a core while it is under way, about a second for a million intents.
const DefaultScrub = 5 * time.Minute

// scrub is the committer's part: how far it has come, and the fingerprint of that.
type scrub struct {
	active bool
	next   []byte // the first key that is not counted
	found  sums
}

// change is a key of the live set that has come or gone.
type change struct {
	key  []byte
	gone bool
}

// countLive keeps the fingerprint of the operation, and for the scrub what it is of.
func (t *tx) countLive(key []byte, gone bool) {
	if gone {
		t.op.sums.removeIfLive(key)
	} else {
		t.op.sums.addIfLive(key)
	}
	if t.j.scrub.active && livePlace[key[0]] > 0 {
		t.op.live = append(t.op.live, change{key, gone})
	}
}

// take counts what a batch has changed of what was read before.
func (s *scrub) take(live []change) {
	for _, c := range live {
		switch {
		case bytes.Compare(c.key, s.next) >= 0: // it comes up yet
		case c.gone:
			s.found.removeIfLive(c.key)
		default:
			s.found.addIfLive(c.key)
		}
	}
}

// page reads the next keys; none: it is through, and diff says what is wrong.
func (s *scrub) page(t *tx) (keys [][]byte, diff []string) {
	opts := badger.DefaultIteratorOptions
	opts.PrefetchValues = false
	it := t.disk.NewIterator(opts)
	defer it.Close()
	for it.Seek(s.next); it.Valid() && len(keys) < scrubPage; {
		key := it.Item().KeyCopy(nil)
		if livePlace[key[0]] == 0 {
			it.Seek([]byte{nextLive(key[0])})
			if nextLive(key[0]) == 0 {
				break
			}
			continue
		}
		s.found.addIfLive(key)
		keys = append(keys, key)
		s.next = append(bytes.Clone(key), 0)
		it.Next()
	}
	if len(keys) == 0 {
		diff = t.j.sums.differences(&s.found)
		s.active = false
	}
	return keys, diff
}

// nextLive is the live class that follows another; 0: none does.
func nextLive(class byte) byte {
	for c := int(class) + 1; c < len(livePlace); c++ {
		if livePlace[c] > 0 {
			return byte(c)
		}
	}
	return 0
}

func (j *Journal) scrubLoop(ctx context.Context) {
	tick := time.NewTicker(min(scrubLook, j.scrubEvery))
	defer tick.Stop()
	// The open has just compared the set, and not read what it names: that comes soon.
	last, tables := time.Now(), map[uint64]struct{}(nil)
	for {
		select {
		case <-ctx.Done():
			return
		case <-j.stopped:
			return
		case b := <-j.suspects:
			j.lookInto(ctx, b)
			continue
		case <-tick.C:
		}
		now := j.tables()
		since := time.Since(last)
		if since < min(scrubRest, j.scrubEvery) || since < j.scrubEvery && maps.Equal(now, tables) {
			continue
		}
		last, tables = time.Now(), now
		if err := j.scrubOnce(ctx); err != nil && j.running() == nil {
			j.warn(fmt.Sprintf("scrub: %v", err))
		}
	}
}

func (j *Journal) tables() map[uint64]struct{} {
	ids := map[uint64]struct{}{}
	for _, t := range j.db.Tables() {
		ids[t.ID] = struct{}{}
	}
	return ids
}

// scrubOnce reads all of the live set, and the records that it names. One scrub at a time:
// what the committer counts of it is one's alone.
func (j *Journal) scrubOnce(ctx context.Context) error {
	j.scrubbing.Lock()
	defer j.scrubbing.Unlock()
	// What is committed from this batch on is counted.
	if err := j.do(ctx, last, &op{run: func(*tx) error { j.scrub = scrub{active: true}; return nil }}); err != nil {
		return err
	}
	for {
		var keys [][]byte
		var diff []string
		var took time.Duration // without what it waited for
		err := j.do(ctx, last, &op{run: func(t *tx) error {
			keys, diff = j.scrub.page(t)
			took = time.Since(t.now)
			return nil
		}})
		if err != nil {
			return err
		}
		if len(diff) > 0 {
			j.fail(&DamageError{
				What: fmt.Sprintf("the journal in %s is not what was written: %s", j.dir, strings.Join(diff, "; ")),
				Hint: "the next start builds its indexes anew if all records are there, and says what is missing if not",
			})
			return nil
		}
		if len(keys) == 0 {
			j.figures.scrubs.Add(1)
			return nil
		}
		began := time.Now()
		if err := j.readNamed(ctx, keys); err != nil {
			return err
		}
		took += time.Since(began)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(scrubShare * took):
		}
	}
}

// readNamed reads the records that entries of indexes name, and sees to those that
// cannot be.
func (j *Journal) readNamed(ctx context.Context, keys [][]byte) error {
	var bad []ID
	err := j.views(func(txn *page) (more bool, err error) {
		for len(keys) > 0 {
			if txn.full() {
				return true, nil
			}
			key := keys[0]
			keys = keys[1:]
			id, ok := intentOf(key)
			if !ok || key[0] == classExpiry { // each of those is elsewhere, too
				continue
			}
			if item, err := readItem(txn, key); err != nil || item == nil {
				continue // it has gone since
			}
			if readAll(reader(txn), id, j.self.Journal) != nil {
				bad = append(bad, id)
			}
		}
		return false, nil
	})
	for _, id := range bad {
		err = errors.Join(err, j.see(ctx, id))
	}
	return err
}

// readAll reads what must be there of an intent that an index names, and how it has ended. What is
// held for self has a head.
func readAll(lookup func([]byte) ([]byte, bool, error), id, self ID) error {
	var h wire.Head
	var rec wire.Handover
	head, err := lookMessage(lookup, idKey(classHead, id), &h)
	if err != nil {
		return err
	}
	hand, err := lookMessage(lookup, idKey(classHandover, id), &rec)
	if err != nil {
		return err
	}
	switch {
	case !head && !hand:
		return &CorruptError{Key: idKey(classHead, id), Why: "it is missing, and an index names it"}
	case !head && string(rec.Home) == string(self[:]) && state.Phase(rec.Phase).Open():
		return &CorruptError{Key: idKey(classHead, id), Why: "it is missing, and its hand-over is not"}
	}
	if head {
		var log wire.Events
		if _, err := lookMessage(lookup, idKey(classEvents, id), &log); err != nil {
			return err
		}
		if len(log.Events) != int(h.LastSeq) {
			return &CorruptError{Key: idKey(classEvents, id), Why: fmt.Sprintf("%d events, of %d", len(log.Events), h.LastSeq)}
		}
		if err := readBeside(lookup, id, &h); err != nil {
			return err
		}
	}
	if rec.DeadReason != 0 {
		if _, err := lookMessage(lookup, idKey(classEvents, id), &wire.Events{}); err != nil {
			return err
		}
	}
	key := chunkKey(classEnvelope, id, 0)
	blob, found, err := joinChunks(lookup, classEnvelope, id)
	switch {
	case err != nil:
		return err
	case !found:
		return &CorruptError{Key: key, Why: "it is missing"}
	}
	if err := proto.Unmarshal(blob, &wire.Envelope{}); err != nil {
		return &CorruptError{Key: key, Why: err.Error()}
	}
	// How one ends that has not is with the report, which has its own way.
	if head && !state.Status(h.Status).Open() || !head && state.Status(rec.HomeStatus).Terminal() {
		blob, _, err = joinChunks(lookup, classOutcome, id)
		if err == nil && proto.Unmarshal(blob, &wire.Outcome{}) != nil {
			return &CorruptError{Key: chunkKey(classOutcome, id, 0), Why: "it does not decode"}
		}
		if err != nil {
			return err
		}
	}
	if h.Thread {
		_, err = lookMessage(lookup, idKey(classThread, id), &wire.Thread{})
	}
	return err
}

// readBeside reads what the head of one that has ended says is beside it. Of one that is open whoever
// needs that finds out.
func readBeside(lookup func([]byte) ([]byte, bool, error), id ID, h *wire.Head) error {
	if state.Status(h.Status).Open() {
		return nil
	}
	if h.Planned {
		if _, err := lookMessage(lookup, idKey(classPlan, id), &wire.Plan{}); err != nil {
			return err
		}
	}
	if h.PolicyGeneration > 0 {
		if _, err := lookMessage(lookup, idKey(classPolicy, id), &wire.Policy{}); err != nil {
			return err
		}
	}
	return nil
}

func lookMessage(lookup func([]byte) ([]byte, bool, error), key []byte, m proto.Message) (bool, error) {
	rec, found, err := lookup(key)
	if err != nil || !found {
		return false, err
	}
	return true, unsealMessage(key, rec, m)
}

// setAside keeps what is left of a record that is corrupt or gone (classAside), and says so,
// once.
func (t *tx) setAside(id ID) (corrupt *CorruptError, err error) {
	if err := readAll(t.lookup, id, t.j.self.Journal); !errors.As(err, &corrupt) {
		return nil, err // it has come right, or the disk itself fails
	}
	aside := idKey(classAside, id)
	if told, err := t.has(aside); err != nil || told {
		return corrupt, err
	}
	rec, _, err := t.lookup(corrupt.Key)
	if err != nil {
		return nil, err
	}
	if err := t.put(aside, &wire.Aside{Key: corrupt.Key, Record: rec[:min(len(rec), maxAside)], Why: corrupt.Why, AtMs: ms(t.now)}); err != nil {
		return nil, err
	}
	t.after(func() {
		t.j.figures.aside.Add(1)
		if f := t.j.hooks.Corrupt; f != nil {
			f(Corrupt{ID: id, Record: describe(corrupt.Key), Why: corrupt.Why})
		}
	})
	return corrupt, nil
}

// maxAside bounds what is kept of a corrupt record: a chunk of an envelope is no larger.
const maxAside = chunkSize + headerSize

// CorruptRecord is how a record that cannot be read is called, in events and logs.
const CorruptRecord = "journal.corrupt_record"

// Corrupt is a record that cannot be read, set aside so that the others go on.
type Corrupt struct {
	ID     ID
	Record string // what it is, and of which intent
	Why    string
}
