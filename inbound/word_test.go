package inbound_test

import (
	"testing"
	"time"

	"pannier/inbound"
	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

func (w *world) say(id journal.ID, on state.Trigger) {
	w.t.Helper()
	if _, err := w.j.Answer(w.t.Context(), id, journal.Answer{Trigger: on, Body: []byte(`{}`)}); err != nil {
		w.t.Fatalf("%s: %v", on, err)
	}
}

// The door hears of an app that settles nothing and answers by the intent's id.
func TestDoorHearsWordsWithoutALease(t *testing.T) {
	t.Parallel()
	for _, on := range []state.Trigger{state.Start, state.Complete, state.Fail, state.Cancel} {
		for _, here := range []bool{true, false} {
			o := fast()
			o.ReleaseAfter = time.Hour
			w := setup(t, o)
			if here {
				w.accept(6)
				w.ready(6)
				w.take(6)
			} else {
				home := w.dialHome(journal.NewID(), 1)
				w.ready(6)
				home.window(6)
				for n := range 6 {
					home.holds(n, 1)
				}
			}
			got := w.pull(6)
			w.settle(journal.Nack, got[:5]...)
			if d := w.m.Door(agent); d.Open {
				t.Fatalf("door %+v, want shut after five nacks", d)
			}
			w.say(got[5].ID, on)
			if on == state.Cancel {
				if d := w.m.Door(agent); d.Open {
					t.Errorf("a cancel opened the door: it says nothing of the app")
				}
				continue
			}
			until(t, "the door is open", func() bool { return w.m.Door(agent).Open })
		}
	}
}

// A long lease from before the door shut does not count against what the app
// takes while it recovers, nor does it hold the suspects back.
func TestRecoveringDoesNotWaitForAnOldLease(t *testing.T) {
	t.Parallel()
	o := fast()
	o.ReleaseAfter = time.Hour
	w := setup(t, o)
	w.accept(12)
	w.ready(12)
	w.take(12)
	got := w.pull(6)
	w.settle(journal.Nack, got[:5]...) // the sixth stays leased
	probe := w.pull(12)
	w.settle(journal.Ack, probe...)
	if d := w.m.Door(agent); !d.Open {
		t.Fatalf("door %+v, want open after the probe", d)
	}
	for done := 1; done < 11; {
		got := w.pull(12)
		if len(got) == 0 {
			t.Fatalf("nothing more after %d, though the app succeeds", done)
		}
		w.settle(journal.Ack, got...)
		done += len(got)
	}
}

// One reader at a time asks for one at a time: after a release it still gets
// what waits at home.
func TestReaderOfOneIsServedAfterARelease(t *testing.T) {
	t.Parallel()
	o := fast()
	o.NoReaderAfter = 30 * time.Millisecond
	w := setup(t, o)
	home := w.dialHome(journal.NewID(), 1)
	id, env := envelope(1)
	home.offer(env, 1)
	until(t, "home has heard that it is released", func() bool { return home.verdict(id) == "released" })
	go func() {
		_, _ = w.m.Pull(t.Context(), inbound.PullRequest{Agent: agent, Limit: 1, Wait: 5 * time.Second})
	}()
	home.window(2) // above the floor, from which home offers nothing after a release
	home.forget(id)
	home.offer(env, 2)
	if got := home.verdict(id); got != "held" {
		t.Errorf("offered again: %s", got)
	}
}

// What the app has put off does not leave a shut door without a probe.
func TestPutOffLeavesRoomForAProbe(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	ids := w.accept(20)
	w.ready(10)
	w.take(10)
	got := w.pull(10)
	later := make([]journal.Settle, len(got))
	for i, h := range got {
		later[i] = journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Nack, Delay: time.Hour}
	}
	if _, err := w.m.Settle(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	if d := w.m.Door(agent); d.Open {
		t.Fatalf("door %+v, want shut", d)
	}
	probe := make(chan []journal.Handed)
	go func() { probe <- w.pull(5) }()
	until(t, "home may offer a probe", func() bool { return w.m.Window(agent) > 0 })
	if w.take(5) == 0 {
		t.Fatal("nothing was taken")
	}
	if got := <-probe; len(got) != 1 {
		t.Fatalf("the probe is %d intents, want 1", len(got))
	}
	until(t, "what was not put off is given back", func() bool { return w.due(ids[10:]) == 9 })
	if n := w.due(ids[:10]); n != 0 {
		t.Errorf("%d of those put off were given back, and would be offered again at once", n)
	}
}

// What has been out of attempts, or acknowledged, and is handed over anew leaves
// nothing behind when it ends, and counts for as long as it may be handed over.
func TestHandedOverAnewIsCountedAnew(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	out, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: &wire.Envelope{
		IntentType: "charge.v1", FromAgent: "orders", ToAgent: agent, Payload: []byte(`{}`), MaxDeliveryAttempts: 1, HoldWhenExhausted: true,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	id := out[0].ID
	w.ready(9)
	w.take(9)
	w.settle(journal.Nack, w.pull(9)...)
	parked := w.m.Window(agent)
	w.say(id, state.Start)
	if got := w.m.Window(agent); got != parked-1 {
		t.Errorf("room for %d when it is ready again, want one less than the %d while it waited for an operator", got, parked)
	}
	if got := w.pull(9); len(got) != 1 {
		t.Fatalf("%d handed over anew, want 1", len(got))
	}
	w.say(id, state.Complete)
	if n := w.m.Leased(); n != 0 {
		t.Errorf("%d are with the app after the end", n)
	}
}
