package journal_test

import (
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

// A dead letter that has lost what was sent stays one, by name, and nothing is found wrong with
// it from then on: it cannot be redriven.
func TestAcceptLossOfWhatADeadLetterWasSent(t *testing.T) {
	t.Parallel()
	w := setup(t)
	reject := func() journal.ID {
		h := w.local(time.Minute)
		w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Nack, Reject: true})
		return h.ID
	}
	other := envelope()
	other.ToAgent = "agent://acme/prod/another" // before the one it is to
	if got, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: other, DeliverAt: time.Now().Add(time.Hour)}}); err != nil || got[0].Err != nil {
		t.Fatal(err, got)
	}
	w.accept()
	first := reject()
	if _, err := w.j.Redrive(t.Context(), journal.Redrive{ID: first}); err != nil {
		t.Fatal(err)
	}
	again := reject()
	w.whole()
	body := func(id journal.ID) string { return string(append(append([]byte{'v'}, id[:]...), 0, 0)) }
	for _, c := range []struct {
		damage string
		id     journal.ID
		plant  func(*badger.Txn) error
	}{
		{"it is gone", again, without(again, "v")},
		{"a bit of it", again, rewriteAt(body(again))},
		{"of one that was redriven", first, without(first, "v")},
		{"and its policy", again, all(without(again, "v"), edit('i', again, func(h *wire.Head) { h.PolicyGeneration = 1 }))},
		{"and its log", again, without(again, "vt")},
		{"and a bit of another's address", again, all(without(again, "v"), flipBit("u"+other.ToAgent))},
		{"and a bit of its address", first, all(without(first, "v"), flipBit("u"+billing))},
		{"and its address", first, all(without(first, "v"), func(txn *badger.Txn) error { return txn.Delete([]byte("u" + billing)) })},
	} {
		t.Run(c.damage, func(t *testing.T) {
			t.Parallel()
			v := w.copied(t)
			v.plant(c.plant)
			gone := v.goOn()
			if said := v.j.Stats().Loss; !slices.Contains(gone, c.id) || !strings.Contains(said, "dead letters have lost what was sent: "+c.id.String()) {
				t.Errorf("said to be lost: %v, %q; want %s in each", gone, said, c.id)
			}
			if i := v.get(c.id); i.Status() != state.Failed || i.DeadReason() != state.ReasonRejected || i.Envelope.GetToAgent() != envelope().ToAgent {
				t.Errorf("it is %s, dead for %q, to %q", i.Status(), i.DeadReason(), i.Envelope.GetToAgent())
			}
			if _, err := v.j.Redrive(t.Context(), journal.Redrive{ID: c.id}); !errors.Is(err, journal.ErrLost) {
				t.Errorf("redriven: %v", err)
			}
			v.counted()
			v.whole()
			if gone := v.goOn(); len(gone) > 0 || strings.Contains(v.j.Stats().Loss, c.id.String()) {
				t.Errorf("found once more: %v, %q", gone, v.j.Stats().Loss)
			}
			v.whole()
		})
	}
}

// What has ended as no dead letter is not said to be one, and needs nothing that was sent.
func TestAcceptLossOfWhatSomethingDoneWasSent(t *testing.T) {
	t.Parallel()
	w := setupTied(t)
	v := w.home.copied(t)
	v.plant(all(without(w.done, "v"), edit('i', w.done, func(h *wire.Head) { h.PolicyGeneration = 1 })))
	v.goOn()
	if said := v.j.Stats().Loss; v.status(w.done) != state.Completed || strings.Contains(said, "dead letter") {
		t.Errorf("it is %s, and said to be lost: %q", v.status(w.done), said)
	}
	v.whole()
}

// One of which how it ended cannot be read either stays, too.
func TestAcceptLossOfAllThatADeadLetterWas(t *testing.T) {
	t.Parallel()
	w := setupTied(t)
	v := w.home.copied(t)
	outcome := string(append(append([]byte{'a'}, w.dead[:]...), 0, 0))
	v.plant(all(without(w.dead, "v"), rewriteAt(outcome)))
	if gone := v.goOn(); !slices.Contains(gone, w.dead) {
		t.Errorf("%v are said to be gone, want %s", gone, w.dead)
	}
	v.wantDead(journal.DeadFilter{}, w.dead, w.rejected)
	v.whole()
}

// Of many not all are named in one line, and all in the log.
func TestAcceptLossOfWhatManyDeadLettersWereSent(t *testing.T) {
	t.Parallel()
	w := setup(t)
	var dead []journal.ID
	var plants []func(*badger.Txn) error
	for range 20 {
		w.accept()
		h := w.local(time.Minute)
		w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Nack, Reject: true})
		dead, plants = append(dead, h.ID), append(plants, without(h.ID, "v"))
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.plant(all(plants...))
	gone := w.goOn()
	slices.SortFunc(gone, func(a, b journal.ID) int { return strings.Compare(a.String(), b.String()) })
	slices.SortFunc(dead, func(a, b journal.ID) int { return strings.Compare(a.String(), b.String()) })
	if said := w.j.Stats().Loss; !slices.Equal(gone, dead) || !strings.Contains(said, ", and 4 more") {
		t.Errorf("said to be lost: %d, %q; want all of %d", len(gone), said, len(dead))
	}
	w.whole()
}
