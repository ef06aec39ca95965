package journal

import (
	"sync"

	"github.com/dgraph-io/badger/v4"
)

// found is the live set as a scan finds it: its fingerprint, and how much waits where.
type found struct {
	sums   sums
	ledger *ledger
}

// scanLive reads the live set as it is on disk, key-only, while nobody writes: a start
// makes it once, and with a million intents it is most of what that takes, so the classes
// are read side by side. It panics where Badger does, for whoever asked to answer.
func scanLive(db *badger.DB) found {
	f := found{ledger: newLedger()}
	var panics [len(liveClasses)]any
	var group sync.WaitGroup
	for i, class := range liveClasses {
		group.Go(func() {
			defer func() { panics[i] = recover() }()
			f.sums[i] = scanClass(db, class, f.ledger)
		})
	}
	group.Wait()
	for _, p := range panics {
		if p != nil {
			panic(p)
		}
	}
	return f
}

// scanClass reads one index. Of what has come in the same second, or is due in it, the
// ledger hears at once.
func scanClass(db *badger.DB, class byte, l *ledger) sum {
	txn := db.NewTransaction(false)
	defer txn.Discard()
	opts := badger.DefaultIteratorOptions
	opts.PrefetchValues = false
	opts.Prefix = []byte{class}
	it := txn.NewIterator(opts)
	defer it.Close()
	s, soon := &sums{}, newScanAhead(db.Opts().Dir, db.Tables(), class)
	var run entry // alike so far
	for it.Rewind(); it.Valid(); it.Next() {
		key := it.Item().Key()
		soon.at(key)
		s.addIfLive(key)
		e, ok := entryOf(key, 1)
		switch {
		case !ok:
		case e.queue == run.queue && e.ms>>timesShift == run.ms>>timesShift:
			run.n++
		default:
			l.takeRun(run)
			run = e
		}
	}
	l.takeRun(run)
	return s[livePlace[class]-1]
}

func (l *ledger) takeRun(run entry) {
	if run.n > 0 {
		l.take([]entry{run})
	}
}
