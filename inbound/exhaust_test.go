package inbound_test

import (
	"testing"
	"testing/synctest"
	"time"

	"pannier/inbound"
	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// lower sets the limit of attempts of an intent of our own home.
func (w *world) lower(id journal.ID, to uint32) {
	w.t.Helper()
	if _, err := w.j.Change(w.t.Context(), id, &wire.Change{Controls: []byte(`{}`), MaxAttempts: to}); err != nil {
		w.t.Fatal(err)
	}
}

// A limit lowered to the attempts that were made is the end, though nobody asks for
// the intent and it was put off for an hour.
func TestLoweredLimitExhaustsWhatIsPutOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := setup(t, inbound.DefaultOptions())
		id := w.accept(1)[0]
		w.ready(1)
		w.take(1)
		got := w.pull(1)
		if _, err := w.m.Settle(t.Context(), []journal.Settle{{ID: id, Lease: got[0].Lease, Action: journal.Nack, Delay: time.Hour}}); err != nil {
			t.Fatal(err)
		}
		w.lower(id, 1)
		time.Sleep(time.Minute)
		synctest.Wait()
		i := w.get(id)
		if i.Status() != state.Failed || i.DeadReason() != state.ReasonExhausted || i.Head.Attempts != 1 {
			t.Fatalf("%s for %s after %d attempts, want FAILED, exhausted, 1", i.Status(), i.DeadReason(), i.Head.Attempts)
		}
		if again := w.ready(1); len(again) != 0 {
			t.Errorf("it is handed over once more: %+v", again)
		}
	})
}

// What is on its way to the app is let finish: done is done.
func TestLoweredLimitLetsAPushFinish(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, ids := pushing(t, inbound.DefaultOptions(), 2)
		for _, h := range next(t, p, 2) {
			if _, err := p.Answer(t.Context(), came(journal.Failed, h)...); err != nil {
				t.Fatal(err)
			}
		}
		got := next(t, p, 2)
		for len(got) < 2 {
			got = append(got, next(t, p, 2)...)
		}
		w.lower(ids[0], 1)
		w.lower(ids[1], 1)
		time.Sleep(time.Minute)
		synctest.Wait()
		for i, how := range []journal.Came{journal.Done, journal.Cut} {
			if s := w.get(got[i].ID).Status(); s != state.Submitted {
				t.Fatalf("while it is sent: %s", s)
			}
			if out, err := p.Answer(t.Context(), came(how, got[i])...); err != nil || out[0].Err != nil {
				t.Fatal(err, out)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := w.get(got[0].ID).Status(); s != state.Completed {
			t.Errorf("done: %s", s)
		}
		if i := w.get(got[1].ID); i.Status() != state.Failed || i.DeadReason() != state.ReasonExhausted {
			t.Errorf("cut off: %s for %s, want FAILED, exhausted", i.Status(), i.DeadReason())
		}
	})
}
