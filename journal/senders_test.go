package journal_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"pannier/journal"
)

// held puts an intent of some sender into the mailbox, as its home would.
func (w *world) held(home journal.Identity, sender string, lease time.Duration, completionOf []byte) journal.HoldResult {
	w.Helper()
	e := envelope()
	id := journal.NewID()
	e.Id, e.FromAgent, e.CompletionOf = id[:], sender, completionOf
	text, err := proto.Marshal(e)
	if err != nil {
		w.Fatal(err)
	}
	done := make(chan journal.HoldResult, 1)
	w.j.Hold(home, []journal.HoldRequest{{Envelope: text, OfferNo: 1, Lease: journal.Terms{For: lease}}}, func(r []journal.HoldResult, _ error) { done <- r[0] })
	res := <-done
	if res.Err != nil {
		w.Fatal(res.Err)
	}
	return res
}

// Who has sent what is here of a home is told from the hand-overs, open or settled
// and not yet acked, and no envelope is read for it.
func TestSenders(t *testing.T) {
	t.Parallel()
	w := setup(t)
	home, other := journal.Identity{Journal: journal.NewID(), Epoch: 1}, journal.Identity{Journal: journal.NewID(), Epoch: 1}
	open := w.held(home, "orders", 0, nil)
	again := w.held(home, "orders", 0, nil)
	settled := w.held(home, "billing", time.Minute, nil)
	w.settle(journal.Settle{ID: settled.ID, Lease: settled.Handed.Lease, Action: journal.Ack})
	told := w.held(home, "nobody", 0, make([]byte, 16))
	others := w.held(other, "stock", 0, nil)
	senders := func(when string, of journal.Identity, want ...string) {
		t.Helper()
		if got, err := w.j.Senders(of.Journal); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v, want %q", when, got, err, want)
		}
	}
	for _, one := range []journal.HoldResult{open, again, settled, told, others} {
		if err := w.j.BreakEnvelope(one.ID); err != nil {
			t.Fatal(err)
		}
	}
	senders("held", home, "billing", "orders")
	senders("of another home", other, "stock")
	w.reopen()
	senders("after a start", home, "billing", "orders")
}

// What was held before hand-overs said who had sent it, and from a sender with a name
// that is no address, is looked up in the envelope.
func TestSendersOfBefore(t *testing.T) {
	t.Parallel()
	w := setup(t)
	home := journal.Identity{Journal: journal.NewID(), Epoch: 1}
	long := strings.Repeat("long", 200)
	old := w.held(home, "orders", 0, nil)
	w.held(home, long, 0, nil)
	told := w.held(home, "nobody", 0, make([]byte, 16))
	for _, one := range []journal.HoldResult{old, told} {
		if err := w.j.MakeOldHandover(one.ID); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := w.j.Senders(home.Journal); err != nil || !slices.Equal(got, []string{long, "orders"}) {
		t.Errorf("%q, %v, want both", got, err)
	}
	var corrupt *journal.CorruptError
	if err := w.j.BreakEnvelope(old.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.j.Senders(home.Journal); !errors.As(err, &corrupt) {
		t.Errorf("with a broken envelope: %v, want a CorruptError", err)
	}
}
