package journal

import (
	"cmp"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"pannier/journal/wire"
)

// History is how long what has ended is kept, and in how much. Zero fields have the
// defaults.
type History struct {
	HistoryBytes   int           // of all ended intents that are no dead letters; beyond it the oldest go; 0: see historyBytes
	HistoryBodies  time.Duration // payloads and results
	HistoryFor     time.Duration // the rest: that it was, its events
	DeadLettersFor time.Duration // whole
}

const (
	historyMost  = 4 << 30 // of the default
	historyLeast = 16 << 20
	// historyOverhead is what the records of an ended intent take beside their bodies
	// and events: head, hand-over, keys, and what the store adds to each.
	historyOverhead = 1 << 10
	// keepIDs is how long a holder knows what it has finished, whatever room it takes:
	// a home that was restored from a backup may offer it again.
	keepIDs = 24 * time.Hour
)

// DefaultHistory is what the zero History is; Bytes depends on the volume.
func DefaultHistory() History {
	return History{HistoryBodies: 24 * time.Hour, HistoryFor: 7 * 24 * time.Hour, DeadLettersFor: 30 * 24 * time.Hour}
}

func (h History) withDefaults(dir string) History {
	d := DefaultHistory()
	h.HistoryBodies = cmp.Or(h.HistoryBodies, d.HistoryBodies)
	h.HistoryFor = max(cmp.Or(h.HistoryFor, d.HistoryFor), h.HistoryBodies)
	h.DeadLettersFor = cmp.Or(h.DeadLettersFor, d.DeadLettersFor)
	if h.HistoryBytes == 0 {
		volume, files := math.MaxInt, math.MaxInt
		var fs unix.Statfs_t
		if unix.Statfs(dir, &fs) == nil {
			volume = int(fs.Blocks) * int(fs.Bsize)
		}
		if _, most, ok := countFiles(); ok {
			files = most
		}
		h.HistoryBytes = historyBytes(volume, files)
	}
	return h
}

// historyBytes is how much is kept on a volume of so many bytes, where so many files may be
// open: in a quarter of either, and no more than 4 GiB. Each table is a file that is open.
func historyBytes(volume, files int) int {
	return max(historyLeast, min(historyMost, volume/4, files/4*tableSize))
}

// kept is what the history takes, or by how much that changes.
type kept struct {
	bytes int64
	letGo int64  // ms: what ended up to then may have been let go
	gone  uint64 // intents let go whole
	freed int64  // bytes let go
}

func (k *kept) merge(of *kept) {
	k.bytes, k.letGo, k.gone = k.bytes+of.bytes, max(k.letGo, of.letGo), k.gone+of.gone
	k.freed += of.freed
}

// history is what is kept of ended intents. The committer owns total; anybody reads
// the figures.
type history struct {
	History
	total    kept
	sweeping sync.Mutex    // one slice at a time
	wake     chan struct{} // there is more than may be
	figures  struct {
		bytes, letGo, freed atomic.Int64
		gone                atomic.Uint64
	}
}

func newHistory(o Options) *history {
	return &history{History: o.History.withDefaults(o.Dir), wake: make(chan struct{}, 1)}
}

func (h *history) load(meta *wire.Meta) {
	h.total = kept{bytes: meta.HistoryBytes, letGo: meta.LetGoMs}
	h.publish()
}

// historyOf is what the history takes as the records of it say.
func historyOf(txn *page) (bytes int64, err error) {
	err = eachRecord(txn, []byte{classHead}, func() *wire.Head { return &wire.Head{} }, func(_ []byte, h *wire.Head) { bytes += h.KeptBytes })
	if err != nil {
		return 0, err
	}
	err = eachRecord(txn, []byte{classHandover}, func() *wire.Handover { return &wire.Handover{} }, func(_ []byte, h *wire.Handover) {
		if h.RetainMs != 0 { // else it is what it will take
			bytes += h.KeptBytes
		}
	})
	return bytes, err
}

// publish shows the figures of what is durable.
func (h *history) publish() {
	h.figures.bytes.Store(h.total.bytes)
	h.figures.letGo.Store(h.total.letGo)
	h.figures.gone.Store(h.total.gone)
	h.figures.freed.Store(h.total.freed)
	if h.total.bytes > h.most() {
		select {
		case h.wake <- struct{}{}:
		default:
		}
	}
}

func (h *history) most() int64 { return int64(h.HistoryBytes) }

// low is down to where it is let go once there is more than may be: not one at a time.
func (h *history) low() int64 { return h.most() - h.most()/16 }

func (h *history) stats(s *Stats) {
	s.History, s.HistoryMost, s.LetGo = h.figures.bytes.Load(), h.most(), h.figures.gone.Load()
	s.LetGoUntil = at(h.figures.letGo.Load())
}

// explain tells of an intent that is not here that it may have been.
func (h *history) explain(err error) error {
	if until := h.figures.letGo.Load(); until != 0 && errors.Is(err, ErrNotFound) {
		return &LetGoError{Until: at(until)}
	}
	return err
}

func (t *tx) historyBytes() int64 {
	return t.j.history.total.bytes + t.batch.history.bytes + t.op.history.bytes
}

// keepLife makes an intent of ours that is being ended part of the history. A dead
// letter is not: nothing lets it go but its time, or an operator.
func (t *tx) keepLife(l *life, outcome int) {
	if l.head.DeadMs != 0 {
		return
	}
	l.head.RetainMs = ms(t.now)
	l.head.KeptBytes = int64(l.head.EnvelopeBytes) + int64(outcome) + int64(proto.Size(&l.events)) + historyOverhead
	t.op.history.bytes += l.head.KeptBytes
	t.putIndex(timeKey(classRetain, l.head.RetainMs, l.id[:]))
}

// keepHand does the same with a hand-over of another home's intent.
func (t *tx) keepHand(h *hand) {
	h.rec.KeptBytes += historyOverhead
	t.op.history.bytes += h.rec.KeptBytes
	h.rec.RetainMs = h.rec.EndedMs
	t.putIndex(timeKey(classRetain, h.rec.RetainMs, h.id[:]))
}

// keepMore counts what has come to a hand-over since.
func (t *tx) keepMore(h *hand, bytes int) {
	h.rec.KeptBytes += int64(bytes)
	t.op.history.bytes += int64(bytes)
}

// outOfHistory takes a hand-over out again: it has become a dead letter, or is held anew.
func (t *tx) outOfHistory(h *hand) {
	if h.rec.RetainMs == 0 {
		return
	}
	class := byte(classRetain)
	if h.rec.BodyGone {
		class = classHistory
	}
	t.delIndex(timeKey(class, h.rec.RetainMs, h.id[:]))
	t.op.history.bytes -= h.rec.KeptBytes
	h.rec.RetainMs, h.rec.KeptBytes = 0, 0
}
