package journal

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// A log in which something is damaged is made anew of the entries in it that are whole: each has
// a checksum and the version of its transaction, and rests on no place. Those of a transaction
// that has lost some are used, as those of a table are: without them all that it did would be
// undone, and what later ones did to it would rest on nothing. What is later wins by its version,
// and salvage makes hold what does not agree. Of one transaction nothing is used, as the store
// uses nothing of it: the last, where its end is not there, or a sector of it was never written.
// Nobody was told of that one (see checkLog), and half of it would cost what it was about.

// brokenLog is what can be read of such a log.
type brokenLog struct{ all []logTransaction }

type logTransaction struct {
	version uint64
	entries []byte // those that are whole, one behind the other
	ended   bool   // its end is there
	holed   bool   // a sector of it was never written
	lost    int    // bytes that cannot be read, in it or just before it
	of      []ID   // intents that these were about, as far as they say so
}

// takeApart reads a log past what is damaged.
func takeApart(b []byte) (l brokenLog) {
	for at := logHeader; at < len(b); {
		next := nextLogEntry(b, at)
		if l.endsIn(b[at:next]) {
			at = next
		}
		if next == len(b) {
			break // what a crash has left, if anything
		}
		e, _ := readLogEntry(b, next)
		l.add(e, b, at, next)
		at = e.next
	}
	if n := len(l.all); n > 0 && (!l.all[n-1].ended || l.all[n-1].holed) {
		l.all = l.all[:n-1]
	}
	return l
}

// nextLogEntry is where the next entry begins that is whole; the end of the log, where there is none.
// What was sent is text, and has no zero byte, as an entry has in its head: none is found in
// a body.
func nextLogEntry(b []byte, from int) int {
	for at := from; at+1 < len(b); at++ {
		if kind := b[at] & (logTxn | logEnd); b[at+1] != 0 || kind != logTxn && kind != logEnd {
			continue
		}
		if e, ok := readLogEntry(b, at); ok && e.version() > 0 {
			return at
		}
	}
	return len(b)
}

// endsIn takes what cannot be read for the end of the last transaction, where it nearly is that:
// then nothing is lost with it.
func (l *brokenLog) endsIn(gap []byte) bool {
	n := len(l.all)
	if n == 0 || l.all[n-1].ended || !nearly(bytes.TrimRight(gap, "\x00"), endOfTransaction(l.all[n-1].version)) {
		return false
	}
	l.all[n-1].ended = true
	return true
}

// add takes in the entry at an offset, before which nothing can be read from another one on.
func (l *brokenLog) add(e logEntry, b []byte, from, at int) {
	before, own := uint64(0), true // own: what cannot be read is of no other transaction
	if n := len(l.all); n > 0 {
		last := l.all[n-1]
		before, own = last.version, last.ended || last.version == e.version()
	}
	if n := len(l.all); n == 0 || l.all[n-1].ended || before != e.version() {
		l.all = append(l.all, logTransaction{version: e.version()})
	}
	t := &l.all[len(l.all)-1]
	if from < at {
		t.lost += at - from
		t.holed = t.holed || own && hole(b, from, at)
		t.of = append(t.of, intentsIn(b, from, at, before, t.version)...)
	}
	if t.ended = e.meta&logEnd != 0; !t.ended {
		t.entries = append(t.entries, b[at:e.next]...)
	}
}

// intentsIn are those that entries which are not whole are about, as far as their lengths lead
// from one to the next, and their versions are such as can be there.
func intentsIn(b []byte, from, to int, first, last uint64) (ids []ID) {
	for at := from; at < to; {
		h, _ := readLogHead(b, at) // where there is none, there is no key
		if h.value > to || h.value-h.key <= 8 {
			return ids
		}
		key := b[h.key:h.value]
		if v := versionOf(key); v < first || v > last {
			return ids
		}
		if id, ok := intentOf(key[:len(key)-8]); ok {
			ids = append(ids, id)
		}
		at = h.end + 4
	}
	return ids
}

// anew is the log without what cannot be read: the store takes a transaction whose end is there.
func (l brokenLog) anew() []byte {
	b := make([]byte, logHeader)
	for _, t := range l.all {
		if len(t.entries) > 0 {
			b = append(append(b, t.entries...), endOfTransaction(t.version)...)
		}
	}
	return b
}

// String says what the log that is made anew lacks.
func (l brokenLog) String() string {
	lost, of, ids := 0, 0, []string(nil)
	for _, t := range l.all {
		if t.lost > 0 || !t.ended {
			lost, of = lost+t.lost, of+1
		}
		for _, id := range t.of {
			if !slices.Contains(ids, id.String()) {
				ids = append(ids, id.String())
			}
		}
	}
	switch {
	case of == 0:
		return "made anew whole"
	case len(ids) == 0:
		return fmt.Sprintf("made anew without %d bytes of %d of its transactions", lost, of)
	}
	return fmt.Sprintf("made anew without %d bytes of %d of its transactions, about %s", lost, of, strings.Join(ids, ", "))
}

// mendLog makes a log anew in its place; keep has the original then, unless it is "".
func mendLog(store, keep string, b badFile) (l brokenLog, err error) {
	path := filepath.Join(store, b.name)
	log, err := readLog(path)
	if err != nil {
		return l, err
	}
	l = takeApart(log)
	anew := path + anewExt
	if err := writeSynced(anew, l.anew()); err != nil {
		return l, err
	}
	return l, replaceKept(store, keep, b, anew)
}
