package journal

import (
	"github.com/dgraph-io/badger/v4"
	"google.golang.org/protobuf/proto"
)

// A page is one read of the store, in one snapshot. While one lasts no compaction drops
// what was deleted or written over since it began, and what it reads stays mapped. So it
// is short: who reads much looks whether it is full, and goes on in another. What is
// committed between two of them the second sees; who reads so says what that means.
const (
	pageReads = 4096    // steps of iterators and records: about 10 ms
	pageBytes = 4 << 20 // of records
)

type page struct {
	*badger.Txn
	reads, bytes int
	refused      func(key []byte) error // by a test, as where the disk cannot read; nil: nothing
}

// full reports whether the page has read what one may: it ends with the entry that it is at.
func (p *page) full() bool { return p.reads >= pageReads || p.bytes >= pageBytes }

func (p *page) Get(key []byte) (*badger.Item, error) {
	if p.refused != nil {
		if err := p.refused(key); err != nil {
			return nil, err
		}
	}
	item, err := p.Txn.Get(key)
	p.reads++
	if err == nil {
		p.bytes += int(item.ValueSize())
	}
	return item, err
}

func (p *page) NewIterator(opts badger.IteratorOptions) *iterator {
	return &iterator{Iterator: p.Txn.NewIterator(opts), page: p, values: opts.PrefetchValues}
}

// iterator counts what its page reads.
type iterator struct {
	*badger.Iterator
	page   *page
	values bool // are read ahead
}

func (it *iterator) Seek(key []byte) {
	it.Iterator.Seek(key)
	it.count()
}

func (it *iterator) Rewind() {
	it.Iterator.Rewind()
	it.count()
}

func (it *iterator) Next() {
	it.Iterator.Next()
	it.count()
}

func (it *iterator) count() {
	it.page.reads++
	if it.values && it.Iterator.Valid() {
		it.page.bytes += int(it.Item().ValueSize())
	}
}

// snapshot is what is durable now. Who has it discards it by leave.
func (j *Journal) snapshot() (*page, error) {
	j.unsynced.RLock()
	defer j.unsynced.RUnlock()
	if err := j.running(); err != nil {
		return nil, err
	}
	j.reading.Add(1)
	return &page{Txn: j.db.NewTransaction(false)}, nil
}

func (j *Journal) leave(p *page) {
	p.Discard()
	j.reading.Done()
	if j.pageRead != nil {
		j.pageRead(p.reads, p.bytes)
	}
}

// endReads waits for those that read what has stopped: the store panics where it is read once
// it is closed.
func (j *Journal) endReads() {
	j.unsynced.Lock()
	j.stop() // nobody takes a snapshot from here on
	j.unsynced.Unlock()
	j.reading.Wait()
}

// view reads in one page.
func (j *Journal) view(f func(txn *page) error) (err error) {
	txn, err := j.snapshot()
	if err != nil {
		return err
	}
	defer func() {
		p := recover()
		if p != nil && panicInStore() {
			j.reading.Done() // the snapshot has iterators that nobody can close
			err = j.storePanics(p)
			return
		}
		j.leave(txn)
		if p != nil {
			panic(p)
		}
	}()
	return f(txn)
}

// views reads in as many pages as it takes: f returns whether it has more to read, and
// remembers where.
func (j *Journal) views(f func(txn *page) (more bool, err error)) error {
	for more := true; more; {
		err := j.view(func(txn *page) (err error) {
			more, err = f(txn)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// eachKey visits the keys of a prefix from one on, until visit says no.
func eachKey(txn *page, prefix, from []byte, visit func(key []byte) (more bool)) {
	opts := badger.DefaultIteratorOptions
	opts.PrefetchValues = false
	opts.Prefix = prefix
	it := txn.NewIterator(opts)
	defer it.Close()
	if len(from) == 0 {
		from = prefix
	}
	for it.Seek(from); it.Valid(); it.Next() {
		if !visit(it.Item().KeyCopy(nil)) {
			break
		}
	}
}

// eachKey visits the keys of a prefix in their order, page by page, until visit says no.
// Those that are there all the while it visits once each.
func (j *Journal) eachKey(prefix []byte, visit func(txn *page, key []byte) (more bool, err error)) error {
	from := prefix
	return j.views(func(txn *page) (full bool, err error) {
		eachKey(txn, prefix, from, func(key []byte) (more bool) {
			if full = txn.full(); full {
				from = key
				return false
			}
			more, err = visit(txn, key)
			return more && err == nil
		})
		return full, err
	})
}

// eachOf is eachKey for who wants the records. Of one that cannot be read visit is told why.
func eachOf[M proto.Message](j *Journal, prefix []byte, empty func() M, visit func(txn *page, key []byte, m M, bad error) error) error {
	return j.eachKey(prefix, func(txn *page, key []byte) (more bool, err error) {
		m := empty()
		_, bad := readMessage(txn, key, m)
		if bad != nil && !isFault(bad) {
			return false, bad
		}
		return true, visit(txn, key, m, bad)
	})
}

// viewAlone reads in one snapshot however long that takes: at a start and in tools, where
// nobody writes.
func viewAlone(db *badger.DB, f func(txn *page) error) error {
	return db.View(func(txn *badger.Txn) error { return f(&page{Txn: txn}) })
}
