package journal

import (
	"time"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// DeadKind are the dead letters of one agent that ended for one reason, those with a
// successor apart from those without.
type DeadKind struct {
	To       Agent
	Reason   state.Reason
	Redriven bool
}

// DeadCount is how many there are of a kind, and when the first and the last of them ended.
type DeadCount struct {
	DeadKind
	Count          int
	Oldest, Newest time.Time
}

// countPage is how many records one transaction of a count reads.
const countPage = 1000

// CountDead counts dead letters by kind, the newest most of them; more says
// that there are others. It reads heads and no bodies, a page at a time, so what ends or
// is redriven meanwhile may be counted or not.
func (j *Journal) CountDead(most int) (counts []DeadCount, more bool, err error) {
	by := map[DeadKind]*DeadCount{}
	var after DeadCursor
	for read := 0; read < most; {
		n := 0
		err := j.view(func(txn *page) error {
			it := newestDead(txn, DeadFilter{After: after})
			defer it.Close()
			for ; it.Valid() && n < countPage && read+n < most; it.Next() {
				n++
				when, id := splitDue(it.Item().Key())
				after = DeadCursor{when.UnixMilli(), id}
				if err := countDead(txn, after, by); err != nil {
					return err
				}
			}
			more = it.Valid()
			return nil
		})
		if err != nil {
			return nil, false, err
		}
		if read += n; !more {
			break
		}
	}
	for _, c := range by {
		counts = append(counts, *c)
	}
	return counts, more, nil
}

// countDead adds one dead letter to the counts; they are read from new to old.
func countDead(txn *page, c DeadCursor, by map[DeadKind]*DeadCount) error {
	var head wire.Head
	homed, err := readMessage(txn, idKey(classHead, c.id), &head)
	if err != nil {
		return err
	}
	kind, as := DeadKind{To: Agent(head.Dest), Reason: state.Reason(head.Reason)}, head.RedrivenAs
	if homed && head.DeadMs == 0 {
		return nil // the record decides
	}
	if !homed {
		var h wire.Handover
		if _, err := readMessage(txn, idKey(classHandover, c.id), &h); err != nil || h.DeadReason == 0 {
			return err
		}
		kind, as = DeadKind{To: Agent(h.Agent), Reason: state.Reason(h.DeadReason)}, h.RedrivenAs
	}
	_, err = IDOf(as)
	kind.Redriven = err == nil
	n := by[kind]
	if n == nil {
		n = &DeadCount{DeadKind: kind, Newest: at(c.endedMS)}
		by[kind] = n
	}
	n.Count, n.Oldest = n.Count+1, at(c.endedMS)
	return nil
}

// CountWaiting counts the intents homed here that wait for an operator and have not
// ended, among the newest most that wait for anybody; more says that there are others.
// oldest is when the first of them was made.
func (j *Journal) CountWaiting(most int) (n int, oldest time.Time, more bool, err error) {
	var before ID
	for read := 0; read < most; {
		looked := 0
		err := j.view(func(txn *page) error {
			it := newestFirst(txn, classParked, before)
			defer it.Close()
			for ; it.Valid() && looked < countPage && read+looked < most; it.Next() {
				looked++
				before = ID(it.Item().Key()[1:])
				l := &life{}
				if _, err := readMessage(txn, idKey(classHead, before), &l.head); err != nil {
					return err
				}
				if l.waitsForOperator() {
					n, oldest = n+1, before.Time()
				}
			}
			more = it.Valid()
			return nil
		})
		if err != nil {
			return 0, time.Time{}, false, err
		}
		if read += looked; !more {
			break
		}
	}
	return n, oldest, more, nil
}
