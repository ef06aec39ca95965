package journal

import (
	"bytes"
	"sync"
	"time"
)

// indexes remembers, for every due-ordered index that is read, where the next
// read starts: the head of such an index is a field of tombstones, and seeking
// over them costs 150 ms where a remembered cursor costs 50 µs.
type indexes struct {
	mu struct {
		sync.Mutex
		by map[string][]*cursor // of one index, by part
	}
}

// cursor is the place in one index below which nothing is left to find.
type cursor struct {
	prefix  []byte
	reading sync.Mutex // one scan at a time
	mu      struct {
		sync.Mutex
		next    []byte // first key the next scan reads
		lowered []byte // lowest key inserted while a scan is under way
	}
}

func newIndexes() *indexes {
	x := &indexes{}
	x.mu.by = map[string][]*cursor{}
	return x
}

func (x *indexes) cursor(prefix []byte) *cursor { return x.part(prefix, 0) }

// part returns one of several places in one index: its readers leave out what
// others take, and none passes over that for another. A new one starts at the
// beginning.
func (x *indexes) part(prefix []byte, n int) *cursor {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := x.mu.by[string(prefix)]
	for len(all) <= n {
		c := &cursor{prefix: bytes.Clone(prefix)}
		c.mu.next = c.prefix
		all = append(all, c)
		x.mu.by[string(prefix)] = all
	}
	return all[n]
}

// lower makes sure that the next scan of every part sees key.
func (x *indexes) lower(prefix, key []byte) {
	x.cursor(prefix)
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range x.mu.by[string(prefix)] {
		c.lower(key)
	}
}

// lower makes sure that the next scan sees key.
func (c *cursor) lower(key []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if bytes.Compare(key, c.mu.next) < 0 {
		c.mu.next = bytes.Clone(key)
	}
	if c.mu.lowered == nil || bytes.Compare(key, c.mu.lowered) < 0 {
		c.mu.lowered = bytes.Clone(key)
	}
}

// pending returns the due time the next scan would start from, if something
// was inserted there since the last one began; else zero.
func (c *cursor) pending() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.lowered == nil {
		return time.Time{}
	}
	due, _ := splitDue(c.mu.lowered)
	return due
}

// scan visits the keys due by now, oldest first, until visit says no. It
// returns when the next one is due; zero where there is none, now where visit
// stopped it.
func (c *cursor) scan(j *Journal, now time.Time, visit func(txn *page, due time.Time, id ID) (more bool)) (next time.Time, err error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	c.mu.Lock()
	from := c.mu.next
	c.mu.lowered = nil
	c.mu.Unlock()

	// The first snapshot is taken only now: what was committed before it is in it,
	// and what is committed later lowers the cursor.
	reached := from
	err = j.views(func(txn *page) (full bool, err error) {
		eachKey(txn, c.prefix, reached, func(key []byte) (more bool) {
			if full = txn.full(); full {
				return false
			}
			due, id := splitDue(key)
			if due.After(now) {
				next = due
				return false
			}
			if !visit(txn, due, id) {
				next = now
				return false
			}
			reached = append(key, 0)
			return true
		})
		return full, nil
	})
	if err != nil {
		return time.Time{}, err // nothing is read any more
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.next = reached
	if c.mu.lowered != nil && bytes.Compare(c.mu.lowered, reached) < 0 {
		c.mu.next = c.mu.lowered
	}
	return next, nil
}

// inserted tells the index of key, once the batch is durable, that it has a
// new entry.
func (t *tx) inserted(prefix, key []byte, hook func()) {
	t.after(func() {
		t.j.indexes.lower(prefix, key)
		if hook != nil {
			hook()
		}
	})
}
