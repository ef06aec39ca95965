package journal_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// flipOf puts a wrong bit into the record of an intent.
func flipOf(class byte, id journal.ID) func(*badger.Txn) error {
	return rewriteAt(string(append([]byte{class}, id[:]...)))
}

// all plants some damages in one journal.
func all(plants ...func(*badger.Txn) error) func(*badger.Txn) error {
	return func(txn *badger.Txn) (err error) {
		for _, plant := range plants {
			err = errors.Join(err, plant(txn))
		}
		return err
	}
}

// unindexed takes away the entries of indexes of home's that name an intent.
func unindexed(id journal.ID) func(*badger.Txn) error {
	return func(txn *badger.Txn) (err error) {
		it := txn.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			key := it.Item().KeyCopy(nil)
			if strings.IndexByte("olwx", key[0]) >= 0 && journal.ID(key[len(key)-16:]) == id {
				err = errors.Join(err, txn.Delete(key))
			}
		}
		return err
	}
}

// valued gives the entry of an index that names an intent a value.
func valued(class byte, id journal.ID) func(*badger.Txn) error {
	return func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{class}})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if key := it.Item().KeyCopy(nil); journal.ID(key[len(key)-16:]) == id {
				return txn.Set(key, []byte("x"))
			}
		}
		return errors.New("there is no such entry")
	}
}

// Whatever does not agree with what, a start that accepts the loss leaves a journal in which
// all does, and that any other start goes on with. An intent has one home then, and a dead
// letter one successor.
func TestAcceptLossOfTies(t *testing.T) {
	t.Parallel()
	w := setupTied(t)
	head := func(id journal.ID, change func(*wire.Head)) func(*badger.Txn) error { return edit('i', id, change) }
	is := func(id journal.ID, want state.Status) func(*world) {
		return func(v *world) {
			if got := v.status(id); got != want {
				v.Errorf("it is %s, want %s", got, want)
			}
			if said := v.j.Stats().Loss; strings.Contains(said, "dead letters") != (want == state.Failed) {
				v.Errorf("it is %s, and said to be lost: %q", want, said)
			}
		}
	}
	isGone := func(id journal.ID) func(*world) {
		return func(v *world) {
			if i, err := v.j.Get(id); !errors.Is(err, journal.ErrNotFound) {
				v.Errorf("it is here, with the head %v: %v", i.Head, err)
			}
			if said := v.j.Stats().Loss; strings.Contains(said, "have ended") {
				v.Errorf("it was open, and said to be lost: %q", said)
			}
		}
	}
	succeeds := func(id, next journal.ID) func(*world) {
		return func(v *world) {
			i, err := v.j.Get(id)
			if err != nil {
				v.Fatal(err)
			}
			if as, _ := journal.IDOf(i.Head.RedrivenAs); as != next {
				v.Errorf("it was redriven as %s, want %s", as, next)
			}
			var redriven *journal.RedrivenError
			if _, err := v.j.Redrive(v.Context(), journal.Redrive{ID: id}); errors.As(err, &redriven) == next.IsZero() {
				v.Errorf("redriven once more: %v", err)
			}
		}
	}
	asksAgain := func(v *world, id journal.ID) {
		got, err := v.j.Redrive(v.Context(), journal.Redrive{ID: id})
		if err != nil {
			v.Fatal(err)
		}
		if i, err := v.j.Get(got.ID); err != nil || !i.Head.Gated {
			v.Errorf("redriven, it does without approval: %v", err)
		}
	}
	purged := journal.NewID()
	for _, c := range []struct {
		damage string
		at     *world
		plant  func(*badger.Txn) error
		want   func(*world)
	}{
		{"an end that is placed", w.home, head(w.done, func(h *wire.Head) { h.Place, h.ExpiryMs = uint32(journal.PlaceDue), 1 }), is(w.done, state.Completed)},
		{"a policy of one that is open", w.home, head(w.open, func(h *wire.Head) { h.PolicyGeneration = 1 }), func(v *world) {
			is(w.open, state.Failed)(v)
			if _, err := v.j.Redrive(v.Context(), journal.Redrive{ID: w.open}); err != nil {
				v.Errorf("it is not redriven, though all that it needs is there: %v", err)
			}
		}},
		{"a policy of one that waits", w.home, head(w.gated, func(h *wire.Head) { h.PolicyGeneration = 1 }), func(v *world) {
			is(w.gated, state.Failed)(v)
			asksAgain(v, w.gated)
		}},
		{"a policy of one that has ended", w.home, head(w.done, func(h *wire.Head) { h.PolicyGeneration = 1 }), is(w.done, state.Completed)},
		{"a thread of one that is open", w.home, head(w.open, func(h *wire.Head) { h.Thread = true }), is(w.open, state.Submitted)},
		{"a bit of how one has ended", w.home, rewriteAt(string(append([]byte{'a'}, append(w.done[:], 0, 0)...))), is(w.done, state.Completed)},
		{"an entry of one that is open with a value", w.home, valued('o', w.open), is(w.open, state.Submitted)},
		{"an entry of one that has ended with a value", w.home, valued('r', w.done), is(w.done, state.Completed)},
		{"an entry of nothing with a value", w.home, func(txn *badger.Txn) error {
			return txn.Set(append(append([]byte{'l'}, make([]byte, 16)...), w.open[:]...), []byte("x"))
		}, is(w.open, state.Submitted)},
		{"a bit of a hand-over of one that has ended", w.home, flipOf('h', w.done), is(w.done, state.Completed)},
		{"a plan of one that waits", w.home, without(w.gated, "j"), func(v *world) {
			is(w.gated, state.Failed)(v)
			if _, err := v.j.Redrive(v.Context(), journal.Redrive{ID: w.gated}); !errors.Is(err, journal.ErrLost) {
				v.Errorf("redriven, though what it needs is lost: %v", err)
			}
		}},
		{"the head of one that waits", w.home, without(w.gated, "i"), func(v *world) {
			is(w.gated, state.Failed)(v)
			asksAgain(v, w.gated)
		}},
		{"the head, the log and each entry of one that is open", w.home, all(flipOf('i', w.open), without(w.open, "t"), unindexed(w.open)), is(w.open, state.Failed)},
		{"the head, the log and each entry of one in hand", w.home, all(without(w.inHand, "it"), unindexed(w.inHand)), is(w.inHand, state.Failed)},
		{"the number of an address", w.home, head(w.open, func(h *wire.Head) { h.Dest = 99 }), func(v *world) {
			is(w.open, state.Failed)(v)
			if got := v.status(w.inHand); got != state.Delivered {
				v.Errorf("another to the same address is %s", got)
			}
		}},
		{"a bit of a hand-over of one that is open", w.home, flipOf('h', w.inHand), is(w.inHand, state.Failed)},
		{"a bit of a hand-over, and a head", w.home, all(flipOf('h', w.inHand), without(w.inHand, "i")), is(w.inHand, state.Failed)},
		{"the log of one that has ended", w.home, without(w.done, "t"), func(v *world) {
			if log := v.log(w.done); len(log) == 0 || state.EventType(log[len(log)-1].Type) != state.EventCompleted {
				v.Errorf("its log is %v", log)
			}
		}},
		{"a thread of nobody", w.home, edit('T', w.task, func(th *wire.Thread) { th.Views[0].Owner = 99 }), is(w.task, state.Failed)},
		{"all of a task but its thread", w.home, all(without(w.task, "ivt"), unindexed(w.task)), isGone(w.task)},
		{"the head of a dead letter", w.home, without(w.dead, "i"), succeeds(w.dead, w.next)},
		{"a head of before it was redriven", w.home, head(w.dead, func(h *wire.Head) { h.RedrivenAs = nil }), func(v *world) {
			succeeds(w.dead, w.next)(v)
			is(w.next, state.Submitted)(v)
		}},
		{"the envelope of a successor", w.home, without(w.next, "v"), func(v *world) {
			succeeds(w.dead, w.next)(v)
			is(w.next, state.Failed)(v)
		}},
		{"a hand-over of before its end, and what was sent", w.home, all(edit('h', w.done, func(h *wire.Handover) { h.Phase = uint32(state.Ready) }), without(w.done, "v")), is(w.done, state.Completed)},
		{"what one in hand had sent", w.home, without(w.inHand, "v"), func(v *world) {
			is(w.inHand, state.Failed)(v)
			if i, err := v.j.Get(w.inHand); err != nil || i.Handover == nil {
				v.Errorf("its hand-over is gone: %v", err)
			}
		}},
		{"a policy of a successor", w.home, head(w.next, func(h *wire.Head) { h.PolicyGeneration = 1 }), func(v *world) {
			succeeds(w.dead, w.next)(v)
			is(w.next, state.Failed)(v)
		}},
		{"a policy of a successor of what is gone", w.home, all(without(w.dead, "ivta"), head(w.next, func(h *wire.Head) { h.PolicyGeneration = 1 })), func(v *world) {
			isGone(w.dead)(v)
			is(w.next, state.Failed)(v)
		}},
		{"a head of before it had ended and was redriven", w.home, editAt(append([]byte{'v'}, append(w.inHand[:], 0, 0)...), func(e *wire.Envelope) { e.RedriveOf = w.open[:] }), func(v *world) {
			is(w.open, state.Failed)(v)
			succeeds(w.open, w.inHand)(v)
			if got := v.status(w.inHand); got == state.Failed {
				v.Errorf("its successor is %s", got)
			}
		}},
		{"the head of a successor", w.home, without(w.next, "i"), succeeds(w.dead, w.next)},
		{"a successor", w.home, without(w.next, "ivt"), succeeds(w.dead, journal.ID{})},
		{"a policy of one whose successor was purged", w.home, all(
			head(w.rejected, func(h *wire.Head) { h.PolicyGeneration, h.RedrivenAs = 1, purged[:] }),
			func(txn *badger.Txn) error {
				key := append([]byte{'y'}, purged[:]...)
				return txn.Set(key, journal.Seal(key, 1, nil))
			}), succeeds(w.rejected, purged)},
		{"all but a policy of a successor that was purged", w.home, all(
			head(w.rejected, func(h *wire.Head) { h.RedrivenAs = purged[:] }),
			put(append([]byte{'y'}, purged[:]...), nil), put(append([]byte{'c'}, purged[:]...), nil),
		), succeeds(w.rejected, purged)},

		{"a thread of a hand-over", w.holder, edit('h', w.held, func(h *wire.Handover) { h.Threaded = true }), is(w.held, state.Delivered)},
		{"a hand-over of another home", w.holder, without(w.held, "h"), isGone(w.held)},
		{"a bit of a hand-over of another home", w.holder, flipOf('h', w.held), isGone(w.held)},
		{"the end of what is held for another home", w.holder, cutOff('v', w.held), isGone(w.held)},
		{"the address of a hand-over", w.holder, remove('u'), is(w.held, state.Delivered)},
		{"the hand-over of a dead letter of another", w.holder, without(w.rejected, "h"), isGone(w.rejected)},
		{"a bit of the hand-over of a dead letter of another", w.holder, flipOf('h', w.rejected), isGone(w.rejected)},
		{"the envelope of a dead letter of another", w.holder, without(w.rejected, "v"), isGone(w.rejected)},
	} {
		t.Run(c.damage, func(t *testing.T) {
			t.Parallel()
			v := c.at.copied(t)
			v.plant(c.plant)
			v.goOn()
			c.want(v)
			v.counted()
			v.whole()
			v.open(journal.Options{})
			v.counted()
		})
	}
}

// More than a batch has room for is made good in several.
func TestAcceptLossLargerThanABatch(t *testing.T) {
	t.Parallel()
	w := setup(t)
	const events = 10_000
	var ids []journal.ID
	var plants []func(*badger.Txn) error
	for range 4 {
		id := w.accept()
		h := w.local(time.Minute)
		w.settle(journal.Settle{ID: id, Lease: h.Lease, Action: journal.Ack})
		ids = append(ids, id)
		plants = append(plants, edit('i', id, func(h *wire.Head) { h.LastSeq = events }), without(id, "t"))
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.plant(all(plants...))
	w.goOn()
	for _, id := range ids {
		if n := len(w.log(id)); n != events {
			t.Errorf("a log that was lost has %d events, want %d", n, events)
		}
	}
	w.holds()
}

// The address of a completion that was kept as a thread is put back by what holds it: the lane
// that it went through is another.
func TestAcceptLossOfTheAddressOfACompletion(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.asked()
	h := w.local(time.Minute)
	w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Ack})
	if res, err := w.j.HoldLocal(t.Context(), w.completions(), []journal.Terms{{Thread: true}}); err != nil || res[0].Err != nil {
		t.Fatal(res, err)
	}
	before, _ := w.j.AgentNo(desk)
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.plant(func(txn *badger.Txn) error { return txn.Delete([]byte("u" + desk)) })
	w.goOn()
	if no, _ := w.j.AgentNo(desk); before == 0 || no != before {
		t.Errorf("its number was %d, and is %d", before, no)
	}
	w.holds()
}
