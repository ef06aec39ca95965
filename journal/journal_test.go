package journal_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"pannier/journal"
	"pannier/journal/journaltest"
	"pannier/journal/state"
	"pannier/journal/wire"
)

const billing = "agent://acme/prod/billing"

// world is one journal in a directory of its own.
type world struct {
	*testing.T
	dir string
	j   *journal.Journal
}

func setup(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, dir: t.TempDir()}
	w.open(journal.Options{})
	return w
}

// copied is a journal that is not open, with a copy of the files of another.
func (w *world) copied(t *testing.T) *world {
	t.Helper()
	c := &world{T: t, dir: t.TempDir()}
	if err := os.CopyFS(c.dir, os.DirFS(w.dir)); err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *world) open(o journal.Options) {
	w.Helper()
	o.Dir = w.dir
	if o.Backoff == nil {
		o.Backoff = func(int) time.Duration { return time.Millisecond }
	}
	j, err := journaltest.Open(o)
	if err != nil {
		w.Fatalf("open: %v", err)
	}
	w.j = j
	w.Cleanup(func() { j.Close() })
}

func (w *world) reopen() {
	w.Helper()
	if err := w.j.Close(); err != nil {
		w.Fatalf("close: %v", err)
	}
	w.open(journal.Options{})
}

// whole closes the journal and lets Verify read all of it.
func (w *world) whole() {
	w.Helper()
	if err := w.j.Close(); err != nil {
		w.Fatalf("close: %v", err)
	}
	r, err := journal.Verify(w.dir)
	if err != nil {
		w.Fatalf("verify: %v", err)
	}
	for _, p := range r.Damages {
		w.Errorf("verify: %s", p)
	}
}

func envelope() *wire.Envelope {
	return &wire.Envelope{IntentType: "order.process.v1", FromAgent: "orders", ToAgent: billing, Payload: []byte(`{"order_id":"ORD-1"}`)}
}

func (w *world) accept() journal.ID {
	w.Helper()
	got, err := w.j.Accept(context.Background(), []journal.Accept{{Envelope: envelope()}})
	if err != nil || got[0].Err != nil {
		w.Fatalf("accept: %v, %v", err, got)
	}
	return got[0].ID
}

func (w *world) status(id journal.ID) state.Status {
	w.Helper()
	i, err := w.j.Get(id)
	if err != nil {
		w.Fatalf("get %s: %v", id, err)
	}
	return i.Status()
}

// events lists the types of an intent's events, in order.
func (w *world) events(id journal.ID) []string {
	w.Helper()
	evs, _, err := w.j.Events(id, 0)
	if err != nil {
		w.Fatalf("events of %s: %v", id, err)
	}
	var out []string
	for _, e := range evs {
		out = append(out, state.EventType(e.Type).String())
	}
	return out
}

func (w *world) wantEvents(id journal.ID, want ...string) {
	w.Helper()
	got := w.events(id)
	if len(got) != len(want) {
		w.Fatalf("events: got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != "intent."+want[i] {
			w.Fatalf("events: got %v, want %v", got, want)
		}
	}
}

func (w *world) due() []journal.Offer {
	w.Helper()
	a, ok := w.j.AgentNo(billing)
	if !ok {
		return nil
	}
	offers, _, err := w.j.Due(a, time.Now(), 100, func(journal.ID) bool { return false })
	if err != nil {
		w.Fatalf("due: %v", err)
	}
	return offers
}

// local moves what is due into our own mailbox, leased.
func (w *world) local(lease time.Duration) journal.Handed {
	w.Helper()
	offers := w.due()
	if len(offers) != 1 {
		w.Fatalf("due: got %d offers, want 1", len(offers))
	}
	res, err := w.j.HoldLocal(context.Background(), offers, []journal.Terms{{For: lease}})
	if err != nil || res[0].Err != nil || res[0].Handed == nil {
		w.Fatalf("hold local: %v, %+v", err, res)
	}
	return *res[0].Handed
}

func (w *world) settle(s journal.Settle) journal.Settled {
	w.Helper()
	got, err := w.j.Settle(context.Background(), []journal.Settle{s})
	if err != nil {
		w.Fatalf("settle: %v", err)
	}
	return got[0]
}

func TestLocalPathCompletes(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.accept()
	w.wantEvents(id, "created", "submitted")
	h := w.local(time.Minute)
	if h.ID != id || h.Attempt != 1 || h.Redelivered || h.Status != state.Delivered {
		t.Fatalf("handed: %+v", h)
	}
	ack := journal.Settle{ID: id, Lease: h.Lease, Action: journal.Ack, Result: []byte(`{"paid":true}`)}
	if got := w.settle(ack); got.Err != nil || got.Status != state.Completed {
		t.Fatalf("ack: %+v", got)
	}
	w.wantEvents(id, "created", "submitted", "delivered", "in_progress", "completed")
	if got := w.settle(ack); got.Err != nil || got.Status != state.Completed {
		t.Fatalf("repeated ack: %+v, want the same answer again", got)
	}
	ack.Result = []byte(`{"paid":false}`)
	var ended *journal.EndedError
	if got := w.settle(ack); !errors.As(got.Err, &ended) {
		t.Fatalf("another result under the same lease: %v, want ended", got.Err)
	}
	w.reopen()
	i, err := w.j.Get(id)
	if err != nil || i.Status() != state.Completed || string(i.Outcome.Body) != `{"paid":true}` {
		t.Fatalf("after reopening: %v, %+v", err, i)
	}
	w.whole()
}

func TestStaleLeaseChangesNothing(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.accept()
	old := w.local(time.Minute)
	if got := w.settle(journal.Settle{ID: id, Lease: old.Lease, Action: journal.Nack, Reason: "busy"}); got.Err != nil {
		t.Fatalf("nack: %v", got.Err)
	}
	again, err := w.j.Lease(context.Background(), []journal.ID{id}, []journal.Terms{{For: time.Minute}})
	if err != nil || again[0].Err != nil {
		t.Fatalf("lease again: %v, %v", err, again[0].Err)
	}
	if again[0].Seq <= old.Seq || again[0].Attempt != 2 || !again[0].Redelivered {
		t.Fatalf("second hand-over: %+v after %+v", again[0], old)
	}
	if got := w.settle(journal.Settle{ID: id, Lease: old.Lease, Action: journal.Ack}); !errors.Is(got.Err, journal.ErrLeaseLost) {
		t.Fatalf("ack under the old lease: %v, want lease lost", got.Err)
	}
	if got := w.status(id); got != state.Delivered {
		t.Fatalf("status after a stale ack: %s", got)
	}
	w.whole()
}

func TestExhaustedIntentFails(t *testing.T) {
	t.Parallel()
	w := setup(t)
	e := envelope()
	e.MaxDeliveryAttempts = 2
	got, err := w.j.Accept(context.Background(), []journal.Accept{{Envelope: e}})
	if err != nil {
		t.Fatal(err)
	}
	id := got[0].ID
	h := w.local(time.Minute)
	w.settle(journal.Settle{ID: id, Lease: h.Lease, Action: journal.Nack, Reason: "no"})
	again, err := w.j.Lease(context.Background(), []journal.ID{id}, []journal.Terms{{For: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	w.settle(journal.Settle{ID: id, Lease: again[0].Lease, Action: journal.Nack, Reason: "no again"})
	w.wantEvents(id, "created", "submitted", "delivered", "delivery_failed", "delivered", "delivery_failed", "failed")
	w.whole()
}

func TestKeyMakesOneIntent(t *testing.T) {
	t.Parallel()
	w := setup(t)
	key := &journal.Key{Hash: [32]byte{1}, Fingerprint: [32]byte{2}}
	other := &journal.Key{Hash: [32]byte{1}, Fingerprint: [32]byte{3}}
	got, err := w.j.Accept(context.Background(), []journal.Accept{
		{Envelope: envelope(), Key: key}, {Envelope: envelope(), Key: key}, {Envelope: envelope(), Key: other},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Replayed || !got[1].Replayed || got[1].ID != got[0].ID || !got[1].CreatedAt.Equal(got[0].CreatedAt) {
		t.Fatalf("two posts in one call: %+v", got)
	}
	if !errors.Is(got[2].Err, journal.ErrKeyConflict) {
		t.Fatalf("another body: %v, want a conflict", got[2].Err)
	}
	w.reopen()
	again, err := w.j.Accept(context.Background(), []journal.Accept{{Envelope: envelope(), Key: key}})
	if err != nil || !again[0].Replayed || again[0].ID != got[0].ID {
		t.Fatalf("after reopening: %v, %+v", err, again)
	}
	if n := len(w.due()); n != 1 {
		t.Fatalf("%d intents are due, want 1", n)
	}
	w.whole()
}

// TestKeyIsForgottenAfterADay: a request that comes very late is a new one. The day
// passes while the journal is closed: nothing of it runs then, so it takes no time.
func TestKeyIsForgottenAfterADay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		post := func(body byte) journal.Accepted {
			t.Helper()
			key := &journal.Key{Hash: [32]byte{1}, Fingerprint: [32]byte{body}}
			got, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: envelope(), Key: key}})
			if err != nil {
				t.Fatal(err)
			}
			return got[0]
		}
		until := func(then time.Time) {
			t.Helper()
			if err := w.j.Close(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Until(then))
			w.open(journal.Options{})
		}
		first := post(1)
		day := first.CreatedAt.Add(24 * time.Hour)
		// A start so early that the clock has held by then, and between two sweeps of old keys.
		until(day.Add(-150 * time.Second))
		time.Sleep(149 * time.Second)
		if again := post(1); !again.Replayed || again.ID != first.ID {
			t.Fatalf("a second before the day is over: %+v, want the first one", again)
		}
		if other := post(2); !errors.Is(other.Err, journal.ErrKeyConflict) {
			t.Fatalf("another body then: %+v, want a conflict", other)
		}
		// The replay has given the key no new day.
		time.Sleep(2 * time.Second)
		second := post(2)
		if second.Err != nil || second.Replayed || second.ID == first.ID {
			t.Fatalf("a day later: %+v, want a new intent", second)
		}
		// From here on the key is the second's, for a day of its own, also when a sweep has come by.
		time.Sleep(2 * time.Minute)
		if again := post(2); !again.Replayed || again.ID != second.ID {
			t.Fatalf("said again: %+v, want the second one", again)
		}
		if n := len(w.due()); n != 2 {
			t.Fatalf("%d intents are due, want 2", n)
		}
		w.whole()
	})
}
