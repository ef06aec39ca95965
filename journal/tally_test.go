package journal_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

// counted adds up what batches have done.
type counted struct {
	mu sync.Mutex
	journal.Tally
}

func (c *counted) take(y *journal.Tally) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Operations += y.Operations
	c.Submitted += y.Submitted
	c.Replayed += y.Replayed
	c.Redriven = append(c.Redriven, y.Redriven...)
	c.Ended = append(c.Ended, y.Ended...)
	c.Attempts = append(c.Attempts, y.Attempts...)
}

func (c *counted) snapshot() journal.Tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Tally
}

func setupCounted(t *testing.T) (*world, *counted) {
	t.Helper()
	w, c := &world{T: t, dir: t.TempDir()}, &counted{}
	w.open(journal.Options{Hooks: journal.Hooks{Counted: c.take}})
	return w, c
}

// Whoever hears that something was done finds it counted.
func TestTally(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w, c := setupCounted(t)
	w.accept()
	h := w.local(time.Minute)
	if _, err := w.j.Settle(ctx, []journal.Settle{{ID: h.ID, Lease: h.Lease, Action: journal.Nack, Delay: 0}}); err != nil {
		t.Fatal(err)
	}
	got, err := w.j.Lease(ctx, []journal.ID{h.ID}, []journal.Terms{{For: time.Minute, Stream: true}})
	if err != nil || got[0].Err != nil {
		t.Fatalf("lease: %v %+v", err, got)
	}
	if _, err := w.j.Settle(ctx, []journal.Settle{{ID: h.ID, Lease: got[0].Lease, Action: journal.Ack}}); err != nil {
		t.Fatal(err)
	}
	sum := c.snapshot()
	if sum.Submitted != 1 || len(sum.Ended) != 1 || sum.Ended[0].Status != state.Completed || sum.Ended[0].Dead != state.NoReason {
		t.Errorf("got %+v, want one submitted and one completed", sum)
	}
	want := []journal.AttemptTally{
		{Way: journal.ByPoll, Move: state.FailTry, Reason: state.ReasonNack, Timed: true},
		{Way: journal.ByStream, Move: state.GiveFinal, Timed: true},
	}
	if len(sum.Attempts) != len(want) {
		t.Fatalf("attempts: got %+v, want %+v", sum.Attempts, want)
	}
	for i, a := range sum.Attempts {
		if a.Took, a.Agent = 0, 0; a != want[i] {
			t.Errorf("attempt %d: got %+v, want %+v", i, a, want[i])
		}
	}
}

// Of a key that is known nothing is made, and it is counted as such.
func TestTallyOfReplays(t *testing.T) {
	t.Parallel()
	w, c := setupCounted(t)
	key := journal.Key{Hash: [32]byte{1}, Fingerprint: [32]byte{2}}
	for range 3 {
		if got, err := w.j.Accept(context.Background(), []journal.Accept{{Envelope: envelope(), Key: &key}}); err != nil || got[0].Err != nil {
			t.Fatalf("accept: %v %+v", err, got)
		}
	}
	if sum := c.snapshot(); sum.Submitted != 1 || sum.Replayed != 2 {
		t.Errorf("got %d submitted and %d replayed, want 1 and 2", sum.Submitted, sum.Replayed)
	}
}

// A successor is counted by what its dead letter had ended for.
func TestTallyOfRedrives(t *testing.T) {
	t.Parallel()
	w, c := setupCounted(t)
	id := w.accept()
	w.hold()
	w.push(journal.Pushed{ID: id, Attempt: 1, Came: journal.Refused})
	w.redrive(journal.Redrive{ID: id})
	if sum := c.snapshot(); len(sum.Redriven) != 1 || sum.Redriven[0] != state.ReasonRejected {
		t.Errorf("got %v, want one that was rejected", sum.Redriven)
	}
}

// What is pushed is told from what is asked for, and what is refused for good from
// what failed; a dead letter has its reason.
func TestTallyOfPushes(t *testing.T) {
	t.Parallel()
	w, c := setupCounted(t)
	id := w.accept()
	w.hold()
	w.push(journal.Pushed{ID: id, Attempt: 1, Came: journal.Failed, Delay: 0})
	w.push(journal.Pushed{ID: id, Attempt: 2, Came: journal.Refused})
	sum := c.snapshot()
	want := []journal.AttemptTally{
		{Way: journal.ByPush, Move: state.FailTry, Reason: state.ReasonNack},
		{Way: journal.ByPush, Move: state.Refuse},
	}
	for i, a := range sum.Attempts {
		if a.Agent = 0; i >= len(want) || a != want[i] {
			t.Fatalf("attempts: got %+v, want %+v", sum.Attempts, want)
		}
	}
	if len(sum.Ended) != 1 || sum.Ended[0].Dead != state.ReasonRejected {
		t.Errorf("ended: got %+v, want a dead letter that was rejected", sum.Ended)
	}
}

// An operation that fails has done nothing.
func TestTallyOfFailures(t *testing.T) {
	t.Parallel()
	w, c := setupCounted(t)
	key := journal.Key{Hash: [32]byte{1}, Fingerprint: [32]byte{2}}
	other := journal.Key{Hash: key.Hash, Fingerprint: [32]byte{3}}
	for _, k := range []*journal.Key{&key, &other} {
		if _, err := w.j.Accept(context.Background(), []journal.Accept{{Envelope: envelope(), Key: k}}); err != nil {
			t.Fatal(err)
		}
	}
	if sum := c.snapshot(); sum.Submitted != 1 || sum.Replayed != 0 {
		t.Errorf("got %d submitted and %d replayed, want 1 and 0", sum.Submitted, sum.Replayed)
	}
}
