package bench

import (
	"bytes"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
)

// ledger knows of each intent of a slot when it was due, when the app first had it,
// and whether the app has answered.
type ledger struct {
	slot     int
	begin    time.Time
	due      []atomic.Int64 // since begin
	seen     []atomic.Int64 // since begin; 0: not yet
	answered []atomic.Bool

	drawn, accepted, refused  atomic.Int64
	delivered, again, settled atomic.Int64

	room chan struct{} // one for each intent that may be open; nil: no limit
}

// postsMost bounds a slot: no machine this is for takes more in a second.
const postsMost = 400_000

func newLedger(slot int, span time.Duration, window int) *ledger {
	size := int(span.Seconds()*postsMost) + 1
	l := &ledger{slot: slot, due: make([]atomic.Int64, size), seen: make([]atomic.Int64, size), answered: make([]atomic.Bool, size)}
	if window > 0 {
		l.room = make(chan struct{}, window)
	}
	return l
}

// draw returns the number of the next intent; false where the slot has no more.
func (l *ledger) draw(due time.Time) (int, bool) {
	n := int(l.drawn.Add(1)) - 1
	if n >= len(l.due) {
		return 0, false
	}
	l.due[n].Store(int64(due.Sub(l.begin)))
	return n, true
}

// see notes that the app has an intent. A number that was never drawn is somebody
// else's, or of an earlier slot.
func (l *ledger) see(m mark) bool {
	if m.slot != l.slot || m.n >= len(l.seen) {
		return false
	}
	if l.seen[m.n].CompareAndSwap(0, int64(time.Since(l.begin))) {
		l.delivered.Add(1)
	} else {
		l.again.Add(1)
	}
	return true
}

// answer notes that the app's answer is on its way, or known to be taken.
func (l *ledger) answer(m mark) {
	if m.slot != l.slot || m.n >= len(l.answered) || !l.answered[m.n].CompareAndSwap(false, true) {
		return
	}
	l.settled.Add(1)
	if l.room != nil {
		<-l.room
	}
}

// reached are the times from due to the app, of all that it has.
func (l *ledger) reached() []time.Duration {
	var all []time.Duration
	for n := range min(int(l.drawn.Load()), len(l.seen)) {
		if at := l.seen[n].Load(); at > 0 {
			all = append(all, time.Duration(at-l.due[n].Load()))
		}
	}
	return all
}

// mark tells intents apart. It is the first member of a payload, of fixed width, so
// that it is written in place and found without decoding: of what is measured the
// generator's own share should be small, and decoding 1 KiB would double it.
type mark struct{ slot, n int }

const (
	markName  = `"bench":"`
	markWidth = 4 + 1 + 9
)

func (m mark) write(to []byte) { copy(to, fmt.Appendf(nil, "%04d-%09d", m.slot, m.n)) }

// readMark finds the mark in a body.
func readMark(body []byte) (m mark, ok bool) {
	_, rest, found := bytes.Cut(body, []byte(markName))
	if !found || len(rest) < markWidth {
		return m, false
	}
	slot, err1 := strconv.Atoi(string(rest[:4]))
	n, err2 := strconv.Atoi(string(rest[5:markWidth]))
	return mark{slot, n}, err1 == nil && err2 == nil
}
