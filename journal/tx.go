package journal

import (
	"time"

	"google.golang.org/protobuf/proto"
)

// tx is the committer's view of the journal during one batch: what is on disk,
// overlaid by what earlier operations of the batch wrote, overlaid by what the
// present operation has written so far. An operation that fails leaves nothing.
type tx struct {
	j    *Journal
	disk *page
	seq  uint64
	now  time.Time // when the present operation began
	told uint64    // threads that the batch has changed so far
	mute bool      // the present operation shows what happened before: nobody is told

	blamed []blame // intents that the present operation has passed over

	batch layer
	op    layer
}

// layer is a set of writes with what goes along with them.
type layer struct {
	writes map[string]write
	sums   sums
	bytes  int

	told int // bytes of messages about what has happened: to subscribers, and of notify

	reportNo map[ID]uint64 // last report number per home, where it changed
	entries  []entry       // index keys that came and went
	live     []change      // those of them that the scrub counts, while it is under way
	history  kept
	tally    Tally
	after    []func() // run on the committer once the batch is durable, in order
}

type write struct {
	key []byte
	rec []byte // sealed record, empty for an index key; nil with del
	del bool
	new bool // an index key that came in this batch: the store has none of it

	hides int // bytes that the store has under the key, and that this covers: see weight
}

// size is what a write takes in its batch.
func (w write) size(key string) int { return len(key) + len(w.rec) + w.weight() + entryOverhead }

func newLayer() layer {
	return layer{writes: map[string]write{}, reportNo: map[ID]uint64{}}
}

func (l *layer) reset() {
	clear(l.writes)
	clear(l.reportNo)
	clear(l.after) // what they refer to
	l.bytes, l.told, l.after, l.entries, l.sums = 0, 0, l.after[:0], l.entries[:0], sums{}
	l.live = l.live[:0]
	l.history = kept{}
	l.tally.reset()
}

// begin opens the next batch, in the maps of the last one, which have grown to what a
// batch needs.
func (j *Journal) begin() *tx {
	t := &j.tx
	if t.j == nil {
		*t = tx{j: j, batch: newLayer(), op: newLayer()}
	}
	t.batch.reset()
	t.op.reset()
	t.disk, t.seq, t.now, t.told = &page{Txn: j.db.NewTransaction(true), refused: j.refused}, j.seq+1, j.now(), 0
	return t
}

// keep makes the present operation part of the batch.
func (t *tx) keep() {
	for k, w := range t.op.writes {
		if w.del && w.new {
			delete(t.batch.writes, k)
			continue
		}
		t.batch.writes[k] = w
	}
	t.batch.sums.merge(&t.op.sums)
	t.batch.history.merge(&t.op.history)
	t.batch.bytes += t.op.bytes
	t.batch.after = append(t.batch.after, t.op.after...)
	t.batch.entries = append(t.batch.entries, t.op.entries...)
	t.batch.live = append(t.batch.live, t.op.live...)
	t.batch.tally.add(&t.op.tally)
	for home, no := range t.op.reportNo {
		t.j.reportNo[home] = no // should the batch fail to commit, the journal is done for
	}
	t.op.reset()
}

func (t *tx) drop() { t.op.reset() }

// fits reports whether the batch still fits one Badger transaction together
// with the present operation.
func (t *tx) fits() bool {
	if len(t.batch.writes) == 0 {
		return t.op.fitsAlone()
	}
	return t.batch.bytes+t.op.bytes <= batchBytes && len(t.batch.writes)+len(t.op.writes) <= batchEntries
}

// fitsAlone reports whether an operation fits a batch of its own: else none has room for it.
func (l *layer) fitsAlone() bool { return l.bytes <= operationMost && len(l.writes) <= batchEntries }

const (
	// mostTold is how much one operation may tell: they are one commit with it.
	mostTold = 128 << 10
	// tellBelow is how large an operation may be and still tell of what it does: a decision
	// or an outcome of a MiB, what follows on it and its threads come first.
	tellBelow = operationMost - 160_000
)

// announce makes messages about what the operation does, where it has room for them. They are
// not what it is for: it is not refused because many want to hear of it.
func (t *tx) announce(what string, send func() error) error {
	if t.op.told >= mostTold || t.op.bytes >= tellBelow {
		t.j.warn("nobody is told of " + what + ": its commit has no more room for messages")
		return nil
	}
	before := t.op.bytes
	err := send()
	t.op.told += t.op.bytes - before
	return err
}

// written is what the batch says of a key, if anything.
func (t *tx) written(key []byte) (w write, ok bool) {
	if w, ok = t.op.writes[string(key)]; !ok {
		w, ok = t.batch.writes[string(key)]
	}
	return w, ok
}

func (t *tx) lookup(key []byte) (rec []byte, found bool, err error) {
	if w, ok := t.written(key); ok {
		return w.rec, !w.del, nil
	}
	return readKey(t.disk, key)
}

// countOf is how many records of a class there are, with what the batch has made and
// removed, where so many are durable.
func (t *tx) countOf(class byte, durable int) (int, error) {
	for key, w := range t.batch.writes {
		if key[0] != class {
			continue
		}
		was, err := readItem(t.disk, w.key)
		switch {
		case err != nil:
			return 0, err
		case was == nil && !w.del:
			durable++
		case was != nil && w.del:
			durable--
		}
	}
	return durable, nil
}

// get decodes the record at key into m and reports whether there is one.
func (t *tx) get(key []byte, m proto.Message) (bool, error) {
	w, ok := t.written(key)
	switch {
	case !ok:
		return readMessage(t.disk, key, m)
	case w.del:
		return false, nil
	}
	return true, unsealMessage(key, w.rec, m)
}

func (t *tx) has(key []byte) (bool, error) {
	if w, ok := t.written(key); ok {
		return !w.del, nil
	}
	item, err := readItem(t.disk, key)
	return item != nil, err
}

func (t *tx) put(key []byte, m proto.Message) error {
	rec, err := sealMessage(key, t.seq, m)
	if err != nil {
		return err
	}
	t.set(key, write{rec: rec})
	return nil
}

func (t *tx) del(key []byte) { t.set(key, write{del: true}) }

// putIndex adds an index key that is not there; delIndex removes one that is.
// The fingerprint rests on callers knowing which it is: they read it off the
// record of the intent. What comes and goes in one batch leaves no trace in the store:
// held and leased at once, or on record and ended at once, is one key less to write,
// and one tombstone less at the head of an index.
func (t *tx) putIndex(key []byte) {
	t.countLive(key, false)
	t.note(key, 1)
	was, written := t.written(key)
	t.set(key, write{rec: []byte{}, new: !written || was.new})
}

func (t *tx) delIndex(key []byte) {
	t.countLive(key, true)
	t.note(key, -1)
	was, _ := t.written(key)
	if was.new && t.onlyHere(key) {
		t.unset(key) // one operation may save a thread a hundred times
		return
	}
	t.set(key, write{del: true, new: was.new})
}

func (t *tx) note(key []byte, n int) {
	if e, ok := entryOf(key, n); ok {
		t.op.entries = append(t.op.entries, e)
	}
}

// onlyHere reports whether of the batch the present operation alone has written to a key.
func (t *tx) onlyHere(key []byte) bool {
	_, here := t.op.writes[string(key)]
	_, before := t.batch.writes[string(key)]
	return here && !before
}

// unset takes back what the present operation has written to a key.
func (t *tx) unset(key []byte) {
	t.op.bytes -= t.op.writes[string(key)].size(string(key))
	delete(t.op.writes, string(key))
}

func (t *tx) set(key []byte, w write) {
	if old, ok := t.op.writes[string(key)]; ok {
		t.op.bytes -= old.size(string(key))
		w.hides = max(w.hides, old.hides)
	}
	w.key = key
	t.op.writes[string(key)] = w
	t.op.bytes += w.size(string(key))
}

func (t *tx) after(f func()) { t.op.after = append(t.op.after, f) }

// putChunks stores a blob in values of at most chunkSize, so that none goes to
// Badger's value log. The chunks come before the head that names them; both
// are in one batch.
func (t *tx) putChunks(class byte, id ID, blob []byte) {
	for n := 0; ; n++ {
		part := blob[:min(len(blob), chunkSize)]
		blob = blob[len(part):]
		key := chunkKey(class, id, n)
		t.set(key, write{rec: seal(key, t.seq, part)})
		if len(part) < chunkSize {
			return // a short chunk is the last, whatever an older blob has left behind it
		}
	}
}

// getChunks joins what putChunks stored; found is false where there is nothing.
func (t *tx) getChunks(class byte, id ID) (blob []byte, found bool, err error) {
	return joinChunks(t.lookup, class, id)
}

func joinChunks(lookup func([]byte) ([]byte, bool, error), class byte, id ID) (blob []byte, found bool, err error) {
	for n := 0; ; n++ {
		key := chunkKey(class, id, n)
		rec, ok, err := lookup(key)
		if err != nil {
			return nil, false, err
		}
		if !ok {
			return blob, n > 0, nil
		}
		_, part, err := unseal(key, rec)
		if err != nil {
			return nil, false, err
		}
		if n == 0 {
			blob = part
		} else {
			blob = append(blob, part...)
		}
		if len(part) < chunkSize {
			return blob, true, nil
		}
	}
}

func (t *tx) delChunks(class byte, id ID) error {
	for n := 0; ; n++ {
		key := chunkKey(class, id, n)
		found, hides, err := t.stored(key)
		if err != nil || !found {
			return err
		}
		t.set(key, write{del: true, hides: hides})
	}
}

// stored is like has, and says how many bytes the store has under the key.
func (t *tx) stored(key []byte) (found bool, bytes int, err error) {
	if w, ok := t.written(key); ok {
		return !w.del, w.hides, nil
	}
	item, err := readItem(t.disk, key)
	if item == nil || err != nil {
		return false, 0, err
	}
	return true, int(item.ValueSize()), nil
}
