package journal_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

// unleased is an intent in the mailbox of the one who is to push it: of our own
// home, or of another.
func (p *pair) unleased(local bool) (*world, journal.ID) {
	p.Helper()
	id := p.home.accept()
	if local {
		p.home.hold()
		return p.home, id
	}
	if res, err := p.offer(0); err != nil || len(res) != 1 || res[0].Err != nil {
		p.Fatalf("offer: %v %+v", err, res)
	}
	return p.holder, id
}

// hold takes what is due into our own mailbox.
func (w *world) hold() {
	w.Helper()
	offers := w.due()
	if _, err := w.j.HoldLocal(context.Background(), offers, make([]journal.Terms, len(offers))); err != nil {
		w.Fatal(err)
	}
}

func (w *world) peek(id journal.ID) journal.Handed {
	w.Helper()
	got, err := w.j.Peek(context.Background(), []journal.ID{id}, nil)
	if err != nil {
		w.Fatal(err)
	}
	return got[0]
}

func (w *world) push(p journal.Pushed) journal.Settled {
	w.Helper()
	got, err := w.j.Push(context.Background(), []journal.Pushed{p})
	if err != nil {
		w.Fatal(err)
	}
	return got[0]
}

// Each row is what an app may answer, and what becomes of the intent at its
// holder and at home.
func TestPush(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule     string
		came     journal.Pushed
		phase    state.Phase
		status   state.Status
		attempts uint32
		events   []string // after created and submitted
	}{
		{"done", journal.Pushed{Came: journal.Done, Result: []byte(`{"n":1}`)}, state.Answered, state.Completed, 0, []string{"delivered", "in_progress", "completed"}},
		{"acknowledged", journal.Pushed{Came: journal.Taken}, state.Working, state.Acknowledged, 0, []string{"delivered", "acknowledged"}},
		{"refused", journal.Pushed{Came: journal.Refused, Reason: "422"}, state.Rejected, state.Failed, 0, []string{"failed"}},
		{"failed", journal.Pushed{Came: journal.Failed, Reason: "500", Delay: -1}, state.Ready, state.Submitted, 1, []string{"delivery_failed"}},
		{"failed behind a shut door", journal.Pushed{Came: journal.Failed, Reason: "500", Spare: true}, state.Ready, state.Submitted, 0, nil},
		{"cut off", journal.Pushed{Came: journal.Cut}, state.Ready, state.Submitted, 0, nil},
	} {
		for _, local := range []bool{true, false} {
			t.Run(row.rule, func(t *testing.T) {
				t.Parallel()
				p := setupPair(t)
				w, id := p.unleased(local)
				h := w.peek(id)
				if h.Err != nil || h.Attempt != 1 || h.Redelivered || string(h.Envelope.Payload) != `{"order_id":"ORD-1"}` {
					t.Fatalf("peeked %+v", h)
				}
				came := row.came
				came.ID, came.Attempt = id, 1
				if got := w.push(came); got.Err != nil {
					t.Fatal(got.Err)
				}
				if !local {
					if err := p.report(); err != nil {
						t.Fatal(err)
					}
				}
				if s := p.home.status(id); s != row.status {
					t.Errorf("home: %s, want %s", s, row.status)
				}
				p.home.wantEvents(id, append([]string{"created", "submitted"}, row.events...)...)
				// Whoever has it next counts on from what home has been told.
				if i, err := p.home.j.Get(id); err != nil || (i.Head.DeliveryAttempt == 1) != (row.events != nil) {
					t.Errorf("home knows of hand-over %d, %v; it was told %v", i.Head.DeliveryAttempt, err, row.events)
				}
				i, err := w.j.Get(id)
				if err != nil {
					t.Fatal(err)
				}
				if phase := state.Phase(i.Handover.Phase); phase != row.phase || i.Handover.Attempts != row.attempts {
					t.Errorf("%s with %d attempts, want %s with %d", phase, i.Handover.Attempts, row.phase, row.attempts)
				}
				switch again := w.peek(id); {
				case row.phase == state.Ready && (again.Err != nil || again.Attempt != 2 || !again.Redelivered):
					t.Errorf("next: %+v, want the second attempt, redelivered", again)
				case row.phase != state.Ready && !errors.Is(again.Err, journal.ErrIllegal):
					t.Errorf("peeked again: %v", again.Err)
				}
				var ended *journal.EndedError
				if got := w.push(came); !errors.Is(got.Err, journal.ErrLeaseLost) && !errors.As(got.Err, &ended) {
					t.Errorf("the same answer a second time: %v", got.Err)
				}
				p.home.whole()
				p.holder.whole()
			})
		}
	}
}

// TestPushedAndKilled: what may have been with the app when a start ended badly
// is marked; what has come since is not.
func TestPushedAndKilled(t *testing.T) {
	t.Parallel()
	w := setup(t)
	before := w.accept()
	w.hold()
	w.reopen()
	if h := w.peek(before); h.Redelivered {
		t.Error("a clean stop made it redelivered")
	}
	w.j.Abandon()
	w.open(journal.Options{})
	after := w.accept()
	w.hold()
	if h := w.peek(before); !h.Redelivered || h.Attempt != 1 {
		t.Errorf("after a kill: %+v, want redelivered, and no attempt", h)
	}
	if h := w.peek(after); h.Redelivered {
		t.Error("what has come since the kill is redelivered")
	}
	w.reopen()
	if h := w.peek(before); !h.Redelivered {
		t.Error("a clean stop made it forget")
	}
}

// TestPulledAfterAPushThatWasKilled: the app that asks for its intents after a kill
// may have been sent them before it. One whose app has only ever asked was not.
func TestPulledAfterAPushThatWasKilled(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule    string
		kill    func(*world)
		pushed  bool
		another bool // a further clean start between kill and pull
		want    bool
	}{
		{"pushed, and killed", (*world).killed, true, false, true},
		{"pushed, killed, and restarted", (*world).killed, true, true, true},
		{"asked for only, and killed", (*world).killed, false, false, false},
		{"pushed, and stopped", (*world).reopen, true, false, false},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			before := w.accept()
			w.hold()
			if row.pushed {
				w.peek(before)
			}
			row.kill(w)
			if row.another {
				w.reopen()
			}
			after := w.accept()
			w.hold()
			got, err := w.j.Lease(context.Background(), []journal.ID{before, after}, []journal.Terms{{For: time.Minute}, {For: time.Minute}})
			if err != nil || got[0].Err != nil || got[1].Err != nil {
				t.Fatalf("%v %+v", err, got)
			}
			if got[0].Redelivered != row.want || got[0].Attempt != 1 {
				t.Errorf("redelivered %t, attempt %d; want %t, 1", got[0].Redelivered, got[0].Attempt, row.want)
			}
			if got[1].Redelivered {
				t.Error("what has come since is redelivered")
			}
			w.whole()
		})
	}
}

// killed ends the journal as a kill would, and opens it again.
func (w *world) killed() {
	w.Helper()
	w.j.Abandon()
	w.open(journal.Options{})
}

// TestNothingIsPushedPastItsLimits: home ends it; until then nobody gets it.
func TestNothingIsPushedPastItsLimits(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	soon := time.Now().Add(50 * time.Millisecond)
	got, err := p.home.j.Accept(context.Background(), []journal.Accept{{Envelope: envelope(), DeliverBy: soon}, {Envelope: envelope(), Deadline: soon}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.offer(0); err != nil {
		t.Fatal(err)
	}
	for _, a := range got { // the holder counts what is left from when it took it
		h := p.holder.peek(a.ID)
		for end := time.Now().Add(10 * time.Second); !errors.Is(h.Err, journal.ErrExpired) && time.Now().Before(end); h = p.holder.peek(a.ID) {
			time.Sleep(10 * time.Millisecond)
		}
		if !errors.Is(h.Err, journal.ErrExpired) {
			t.Errorf("peeked %+v, want ErrExpired", h)
		}
	}
}

// TestAcknowledgedPushRunsOut: acknowledged, then silent, is a failed attempt.
func TestAcknowledgedPushRunsOut(t *testing.T) {
	t.Parallel()
	w := setup(t)
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	moved := make(chan journal.Moved, 9)
	w.open(journal.Options{WorkTimeout: time.Millisecond, Hooks: journal.Hooks{Moved: func(m journal.Moved) { moved <- m }}})
	id := w.accept()
	w.hold()
	got := w.push(journal.Pushed{ID: id, Attempt: 1, Came: journal.Taken})
	if got.Err != nil || got.Status != state.Acknowledged {
		t.Fatalf("%+v", got)
	}
	if m := <-moved; m.ID != id || m.Count != -1 || m.Left {
		t.Errorf("acknowledged: %+v, want it to count no more", m)
	}
	for !time.Now().After(got.Until) {
		time.Sleep(time.Until(got.Until) + 1)
	}
	if err := w.j.Lapse(context.Background(), []journal.ID{id}); err != nil {
		t.Fatal(err)
	}
	if h := w.peek(id); h.Err != nil || h.Attempt != 2 {
		t.Errorf("after its time: %+v, want it to be pushed again", h)
	}
	if m := <-moved; m.ID != id || m.Count != 1 || m.Left {
		t.Errorf("after its time: %+v, want it to count again", m)
	}
	if i, err := w.j.Get(id); err != nil || i.Handover.Attempts != 1 {
		t.Errorf("%d attempts, want 1 (%v)", i.Handover.Attempts, err)
	}
}

// TestGivenBackItMayStillBeKnown: our own mailbox gives an intent back to our own
// home; what the app may have seen of it is not forgotten with the hand-over.
func TestGivenBackItMayStillBeKnown(t *testing.T) {
	t.Parallel()
	w := setup(t)
	killed, cut, never := w.accept(), w.accept(), journal.ID{}
	w.hold()
	w.push(journal.Pushed{ID: cut, Attempt: 1, Came: journal.Cut})
	w.j.Abandon()
	w.open(journal.Options{})
	never = w.accept()
	w.hold()
	if _, err := w.j.Release(context.Background(), []journal.ID{killed, cut, never}); err != nil {
		t.Fatal(err)
	}
	w.j.Rewind(1, time.UnixMilli(0))
	w.hold()
	for id, want := range map[journal.ID]bool{killed: true, cut: true, never: false} {
		if h := w.peek(id); h.Err != nil || h.Redelivered != want {
			t.Errorf("%+v, want redelivered %v", h, want)
		}
	}
}
