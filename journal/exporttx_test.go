package journal

import (
	"bytes"
	"context"
	"fmt"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// NewestMemtable is the highest number among the memtable files in a directory.
func NewestMemtable(dir string) (int, error) { return newestMemtable(dir) }

// AfterMove is what a trigger has made of an intent.
type AfterMove struct {
	OK     bool
	Status state.Status
	Reason state.Reason
	Events []*wire.Event
}

// Move has a trigger move an intent of a status, with so many events.
func Move(from state.Status, events int, on state.Trigger, e *wire.Event) AfterMove {
	l := &life{}
	l.head.Status, l.head.Reason = uint32(from), uint32(state.ReasonNack)
	for range events {
		l.events.Events = append(l.events.Events, &wire.Event{Text: "before"})
	}
	ok := (&tx{}).move(l, on, e)
	return AfterMove{ok, l.status(), state.Reason(l.head.Reason), l.events.Events}
}

// CountWrites makes an operation write, and take back, what it has written in steps: a and b
// are a short and a long record of one key, + and - an index key that comes and goes, 2 and 1 a
// blob of two chunks and of one, 0 none. It says after which step the operation counts other
// bytes than it would write. Nothing of it is kept.
func (j *Journal) CountWrites(ctx context.Context, steps string) (wrong error) {
	id := NewID()
	_ = j.do(ctx, first, &op{run: func(t *tx) error {
		for n, s := range steps {
			switch s {
			case 'a', 'b':
				t.set(idKey(classAside, id), write{rec: make([]byte, 1+1000*(s-'a'))})
			case '+':
				t.putIndex(idKey(classParked, id))
			case '-':
				t.delIndex(idKey(classParked, id))
			case '1', '2':
				t.putChunks(classEnvelope, id, make([]byte, int(s-'0')*chunkSize-1))
			case '0':
				if wrong = t.delChunks(classEnvelope, id); wrong != nil {
					return wrong
				}
			}
			bytes := 0
			for key, w := range t.op.writes {
				bytes += w.size(key)
			}
			if t.op.bytes != bytes {
				wrong = fmt.Errorf("after %s it counts %d bytes, want %d", steps[:n+1], t.op.bytes, bytes)
				return wrong
			}
		}
		return errInjected
	}})
	return wrong
}

// ChunkSize is how much of a blob is one value.
const ChunkSize = chunkSize

// Rewrite has an operation store a blob, then another in its place, and then none. It returns
// what is read after the second, and whether there are chunks after the third.
func (j *Journal) Rewrite(ctx context.Context, first, then int) (is int, left bool, err error) {
	id := NewID()
	err = j.do(ctx, last, &op{run: func(t *tx) error {
		t.putChunks(classEnvelope, id, bytes.Repeat([]byte{1}, first))
		t.putChunks(classEnvelope, id, bytes.Repeat([]byte{2}, then))
		blob, _, err := t.getChunks(classEnvelope, id)
		is = bytes.Count(blob, []byte{2})
		if is != len(blob) {
			is = -1
		}
		if err == nil {
			err = t.delChunks(classEnvelope, id)
		}
		_, left, _ = t.getChunks(classEnvelope, id)
		return err
	}})
	return is, left, err
}
