package journal

import (
	"encoding/binary"
	"fmt"

	"pannier/journal/wire"
)

// Home takes reports in the order of their numbers, and none after a gap; it acks up to a
// number, and what is acked goes. So they are numbered without one from behind the last that
// home has acked, and verify says where they are not.

// reports checks that.
func (v *verifier) reports() {
	var home ID
	var last uint64
	eachWhole(v.txn, classReport, func() *wire.Report { return &wire.Report{} }, func(key []byte, r *wire.Report) {
		h, no := homeOf(key)
		if h != home {
			var rec wire.HomePeer
			v.get(idKey(classHome, h), &rec)
			home, last = h, rec.Acked
		}
		if no != last+1 {
			v.report.at(key, BrokenReports, "reports for journal %s jump from %d to %d", h, last, no)
		}
		if no != r.No {
			v.report.at(key, BrokenReports, "report %d for journal %s says it is %d", no, h, r.No)
		}
		last = no
	})
}

// homeOf reads off the key of a report for whom it is, and its number.
func homeOf(key []byte) (home ID, no uint64) {
	return ID(key[1:17]), binary.BigEndian.Uint64(key[17:25])
}

// numberReports has what waits to be told a home go on from what it has acked: what is acked
// goes, and in the place of what is gone is a report of nothing. What that said home asks for
// when it is told next what is held here.
func (s *salvager) numberReports(home ID) {
	if s.numbered[home] {
		return // in this round
	}
	s.numbered[home] = true
	s.j.loss.addEntries(fmt.Sprintf("reports for journal %s did not go on from each other: it asks for what they said", home))
	peer := idKey(classHome, home)
	var rec wire.HomePeer
	readMessage(s.txn, peer, &rec) // one that cannot be read is as good as gone
	begun := false
	last := rec.Acked
	eachKey(s.txn, idKey(classReport, home), nil, func(key []byte) (more bool) {
		_, no := homeOf(key)
		switch {
		case no <= rec.Acked:
			s.remove(key)
			return true
		case !begun && no > last+1:
			rec.Acked = no - 1
			s.do(func(t *tx) error { return t.put(peer, &rec) })
		default:
			for last++; last < no; last++ {
				s.loseReport(home, last)
			}
		}
		var r wire.Report
		if _, err := readMessage(s.txn, key, &r); err == nil && r.No != no {
			s.loseReport(home, no)
		}
		begun, last = true, no
		return true
	})
}

func (s *salvager) loseReport(home ID, no uint64) {
	s.do(func(t *tx) error { return t.put(reportKey(home, no), lostReport(no)) })
}
