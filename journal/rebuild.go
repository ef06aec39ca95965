package journal

import (
	"fmt"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// named is the live set as the records name it, and its fingerprint. It takes about 100
// bytes for each live intent, and is made only where an index is wrong.
type named struct {
	keys map[string]bool
	sums sums
}

func (n *named) add(key []byte) {
	n.keys[string(key)] = true
	n.sums.addIfLive(key)
}

// namedByRecords reads every record that names an entry of an index.
func namedByRecords(txn *page) (*named, error) {
	n := &named{keys: map[string]bool{}}
	err := eachRecord(txn, []byte{classHead}, func() *wire.Head { return &wire.Head{} }, func(key []byte, h *wire.Head) {
		id := ID(key[1:17])
		if h.DeadMs != 0 {
			n.add(deadKey(h.DeadMs, id))
		}
		if h.ExpiryMs != 0 {
			n.add(timeKey(classExpiry, h.ExpiryMs, id[:]))
		}
		switch Place(h.Place) {
		case PlaceDue:
			n.add(dueKey(classDue, Agent(h.Dest), h.DueMs, id))
		case PlaceHeld:
			n.add(heldKey(ID(h.Holder), id))
		case PlaceParked:
			n.add(idKey(classParked, id))
		}
	})
	if err != nil {
		return nil, err
	}
	err = eachRecord(txn, []byte{classHandover}, func() *wire.Handover { return &wire.Handover{} }, func(key []byte, h *wire.Handover) {
		id := ID(key[1:17])
		if state.Phase(h.Phase).Open() {
			n.add(dueKey(classMail, Agent(h.Agent), h.DueMs, id))
		}
		if h.DeadReason != 0 {
			n.add(deadKey(h.EndedMs, id))
		}
	})
	if err != nil {
		return nil, err
	}
	// A report is its own record: one that is gone is named by nothing.
	err = eachRecord(txn, []byte{classReport}, func() *wire.Report { return &wire.Report{} }, func(key []byte, _ *wire.Report) { n.add(key) })
	return n, err
}

// canRebuild reports whether the records name exactly the set that was written: then none
// of them is gone, and only the indexes are wrong.
func canRebuild(txn *page, written *sums) bool {
	n, err := namedByRecords(txn)
	return err == nil && len(written.differences(&n.sums)) == 0
}

// rebuildBatch is how many entries one commit of rebuild mends.
const rebuildBatch = 1000

// rebuild makes the indexes what the records name. The fingerprint is that already, so each
// of its commits leaves it alone; if we crash in it, the next start goes on.
func (j *Journal) rebuild() error {
	var lost, stray [][]byte
	err := viewAlone(j.db, func(txn *page) error {
		n, err := namedByRecords(txn)
		if err != nil {
			return damaged(j.dir, err)
		}
		for _, c := range liveClasses {
			keysOf(txn, c, func(key []byte) {
				if !n.keys[string(key)] {
					stray = append(stray, key)
				}
				delete(n.keys, string(key))
			})
		}
		for key := range n.keys {
			lost = append(lost, []byte(key))
		}
		return nil
	})
	if err != nil {
		return err
	}
	j.warn(fmt.Sprintf("indexes were not what was written, and are built anew from the records: %d entries were lost, %d had come back", len(lost), len(stray)))
	j.figures.rebuilt.Add(uint64(len(lost) + len(stray)))
	for len(lost)+len(stray) > 0 {
		var some, others [][]byte
		some, lost = lost[:min(len(lost), rebuildBatch)], lost[min(len(lost), rebuildBatch):]
		others, stray = stray[:min(len(stray), rebuildBatch)], stray[min(len(stray), rebuildBatch):]
		err := j.commitAlone(func(t *tx) error {
			for _, key := range some {
				t.set(key, write{rec: []byte{}})
			}
			for _, key := range others {
				t.del(key)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// makeGood has the store hold, where a loss is accepted or an index is not what was written.
func (j *Journal) makeGood() error {
	if j.loss.asked {
		if err := j.salvage(); err != nil {
			return fmt.Errorf("go on with what is left of the journal in %s: %w", j.dir, err)
		}
	}
	if j.broken {
		if err := j.rebuild(); err != nil {
			return fmt.Errorf("build the indexes of the journal in %s anew: %w", j.dir, err)
		}
	}
	if j.loss.asked || j.broken { // the store is no more what was compared
		j.ledger = scanLive(j.db).ledger
	}
	return nil
}
