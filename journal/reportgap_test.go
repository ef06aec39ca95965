package journal_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

func keyOfReport(home journal.ID, no uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte{'q'}, home[:]...), no)
}

// withoutReports takes reports for a home away.
func withoutReports(home journal.ID, nos ...uint64) func(*badger.Txn) error {
	return func(txn *badger.Txn) (err error) {
		for _, no := range nos {
			_, there := txn.Get(keyOfReport(home, no))
			err = errors.Join(err, there, txn.Delete(keyOfReport(home, no)))
		}
		return err
	}
}

// Whatever is gone of what was to be told a home, and of what it has acked, the numbers of
// what is left agree with each other after a start that accepts the loss: home hears all of
// that, and when it has, nothing is left of it.
func TestAcceptLossOfReports(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	p.home.accept()
	finish := func() (ids []journal.ID) {
		for _, r := range p.held(time.Minute) {
			p.holder.settle(journal.Settle{ID: r.ID, Lease: r.Handed.Lease, Action: journal.Ack})
			ids = append(ids, r.ID)
		}
		return ids
	}
	me := p.home.j.Identity()
	if _, err := p.holder.j.SawHome(t.Context(), me, "", nil); err != nil {
		t.Fatal(err)
	}
	finish()
	if err := p.report(); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		p.home.accept()
	}
	ids := finish()
	waiting, err := p.holder.j.Reports(me.Journal, 0, 100)
	if err != nil || len(waiting) < 4 {
		t.Fatalf("%d reports wait, %v; want 4 or more", len(waiting), err)
	}
	first := waiting[0].No
	p.home.whole()
	p.holder.whole()
	peer := append([]byte{'p'}, me.Journal[:]...)
	acked := func(no uint64) func(*badger.Txn) error {
		return editAt(peer, func(h *wire.HomePeer) { h.Acked = no })
	}
	for _, c := range []struct {
		damage string
		plant  func(*badger.Txn) error
		lost   []uint64
	}{
		{"that some were acked and went", acked(first + 1), []uint64{first, first + 1}},
		{"one among the others", withoutReports(me.Journal, first+5), []uint64{first + 5}},
		{"two among the others", withoutReports(me.Journal, first+5, first+6), []uint64{first + 5, first + 6}},
		{"that one was acked and went, and two among the others", all(acked(first), withoutReports(me.Journal, first+4, first+6)), []uint64{first, first + 4, first + 6}},
		{"the first", withoutReports(me.Journal, first), []uint64{first}},
		{"that any was acked", acked(0), nil},
		{"what home is", func(txn *badger.Txn) error { return txn.Delete(peer) }, nil},
		{"what home is, and the first", all(func(txn *badger.Txn) error { return txn.Delete(peer) }, withoutReports(me.Journal, first)), []uint64{first}},
		{"a bit of what home is", rewriteAt(string(peer)), nil},
		{"a bit of one", rewriteAt(string(keyOfReport(me.Journal, first+1))), []uint64{first + 1}},
		{"the number of the first", editAt(keyOfReport(me.Journal, first), func(r *wire.Report) { r.No = 99 }), []uint64{first}},
		{"the number of one", editAt(keyOfReport(me.Journal, first+1), func(r *wire.Report) { r.No = 99 }), []uint64{first + 1}},
	} {
		t.Run(c.damage, func(t *testing.T) {
			t.Parallel()
			v := &pair{T: t, home: p.home.copied(t), holder: p.holder.copied(t)}
			v.holder.plant(c.plant)
			r, err := journal.Verify(v.holder.dir)
			if err != nil || !slices.ContainsFunc(r.Damages, func(d journal.Damage) bool { return d.Kind == journal.BrokenReports }) {
				t.Errorf("verify finds %q, %v", r.Damages, err)
			}
			v.holder.goOn()
			if said := v.holder.j.Stats().Loss; !strings.Contains(said, "reports for journal "+me.Journal.String()) {
				t.Errorf("said to be lost: %q", said)
			} else if strings.HasPrefix(c.damage, "that one was acked") && !strings.Contains(said, "; 1 records of nothing") {
				t.Errorf("said to be lost: %q", said)
			}
			v.holder.whole()
			v.home.open(journal.Options{})
			v.holder.open(journal.Options{})
			if _, err := v.holder.j.SawHome(t.Context(), v.home.j.Identity(), "", nil); err != nil {
				t.Fatal(err)
			}
			if err := v.report(); err != nil {
				t.Fatal(err)
			}
			told := map[journal.ID]bool{}
			for _, r := range waiting {
				if id, err := journal.IDOf(r.Id); err == nil && state.Fact(r.Fact) == state.FactAnswered && !slices.Contains(c.lost, r.No) {
					told[id] = true
				}
			}
			for _, id := range ids {
				if got := v.home.status(id); (got == state.Completed) != told[id] {
					t.Errorf("at home it is %s; it was told: %t", got, told[id])
				}
			}
			if s, err := v.holder.j.Homes(); err != nil || len(s) != 1 || s[0].Unacked {
				t.Errorf("of the homes %v wait for reports, %v", s, err)
			}
			if last, acked, err := v.holder.j.Told(t.Context(), me.Journal); err != nil || last != acked {
				t.Errorf("the last report is %d, and %d were acked: %v", last, acked, err)
			}
			v.holder.counted()
			v.holder.whole()
			v.home.whole()
		})
	}
}
