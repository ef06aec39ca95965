package journal_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

// A killed agent sends nothing and is handed nothing, over a restart; what is
// addressed to it is kept.
func TestKilled(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ctx := context.Background()
	kill := func(agent string, killed bool) {
		t.Helper()
		if err := w.j.SetKilled(ctx, agent, killed, "operator"); err != nil {
			t.Fatal(err)
		}
	}
	key := &journal.Key{Hash: [32]byte{1}, Fingerprint: [32]byte{1}}
	send := func(key *journal.Key) journal.Accepted {
		t.Helper()
		out, err := w.j.Accept(ctx, []journal.Accept{{Envelope: envelope(), Key: key}})
		if err != nil {
			t.Fatal(err)
		}
		return out[0]
	}
	before := send(key)
	kill("orders", true)
	kill("orders", true)
	kill(billing, true)
	for range 2 {
		if got := send(nil); !errors.Is(got.Err, journal.ErrKilled) {
			t.Errorf("from a killed agent: %v, want ErrKilled", got.Err)
		}
		if got := send(key); got.Err != nil || got.ID != before.ID {
			t.Errorf("a repeat of what was accepted before: %+v, want %s again", got, before.ID)
		}
		w.reopen()
	}
	offers := w.due()
	res, err := w.j.HoldLocal(ctx, offers, []journal.Terms{{For: time.Minute}})
	if err != nil || res[0].Err != nil || res[0].Handed != nil {
		t.Fatalf("hold and lease of a killed agent's: %v, %+v, want held and not handed over", err, res)
	}
	handed, err := w.j.Lease(ctx, []journal.ID{before.ID}, []journal.Terms{{For: time.Minute}})
	if err != nil || !errors.Is(handed[0].Err, journal.ErrKilled) {
		t.Errorf("lease: %v, %v, want ErrKilled", err, handed[0].Err)
	}
	if peeked, err := w.j.Peek(context.Background(), []journal.ID{before.ID}, nil); err != nil || !errors.Is(peeked[0].Err, journal.ErrKilled) {
		t.Errorf("push: %v, %v, want ErrKilled", err, peeked[0].Err)
	}
	kill("orders", false)
	kill(billing, false)
	if got := send(nil); got.Err != nil {
		t.Errorf("after it was resumed: %v", got.Err)
	}
	handed, err = w.j.Lease(ctx, []journal.ID{before.ID}, []journal.Terms{{For: time.Minute}})
	if err != nil || handed[0].Err != nil {
		t.Fatalf("lease after it was resumed: %v, %v", err, handed[0].Err)
	}
	if got := w.settle(journal.Settle{ID: before.ID, Lease: handed[0].Lease, Action: journal.Ack}); got.Status != state.Completed {
		t.Errorf("ack: %+v", got)
	}
	events, err := w.j.AgentEvents()
	if err != nil || len(events) != 4 || events[3].Agent != "orders" || events[0].Agent != billing || events[0].Actor != "operator" ||
		journal.AgentEventType(events[0].Type) != journal.AgentResumed || journal.AgentEventType(events[3].Type) != journal.AgentKilled {
		t.Errorf("events: %v, %v, want two kills and two resumes, the newest first", err, events)
	}
	for range 150 {
		kill("orders", true)
		kill("orders", false)
	}
	if events, err = w.j.AgentEvents(); err != nil || len(events) != 200 {
		t.Errorf("%d events are kept (%v), want the last 200", len(events), err)
	}
	w.whole()
}

// What may be set while running is there after a failed commit or it is not,
// and never half.
func TestKillAndKeysFailBothWays(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 5; n++ {
		for _, persist := range []bool{false, true} {
			t.Run(fmt.Sprintf("commit %d/persisted %v", n, persist), func(t *testing.T) {
				t.Parallel()
				w := setup(t)
				w.j.FailCommit(n, persist)
				done := 0
				steps := accountSteps(w)
				for _, step := range steps {
					if step() != nil {
						break
					}
					done++
				}
				if w.j.Err() == nil || done != n-1 {
					t.Fatalf("%d steps went well before commit %d failed (%v)", done, n, w.j.Err())
				}
				w.j.Abandon()
				w.open(journal.Options{})
				if persist {
					done++
				}
				if got := accountProgress(w); got != done {
					t.Errorf("after reopening %d steps are there, want %d", got, done)
				}
				for _, step := range accountSteps(w) {
					if err := step(); err != nil {
						t.Fatalf("again: %v", err)
					}
				}
				if got := accountProgress(w); got != len(steps) {
					t.Errorf("after all steps again %d are there", got)
				}
				w.whole()
			})
		}
	}
}
