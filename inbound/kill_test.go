package inbound_test

import (
	"testing"
	"time"

	"pannier/inbound"
	"pannier/journal"
	"pannier/journal/state"
)

func (w *world) setKilled(killed bool) {
	w.t.Helper()
	if err := w.m.SetKilled(w.t.Context(), agent, killed, "operator"); err != nil {
		w.t.Fatalf("kill: %v", err)
	}
}

// A killed agent is handed nothing, whoever asks and however it asked; nothing
// is lost, and it goes on when it is resumed, also after a restart.
func TestKilledIsHandedNothing(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	ids := w.accept(6)
	w.ready(4)
	if n := w.take(4); n != 4 {
		t.Fatalf("took %d into the mailbox, want 4", n)
	}
	got := w.ready(1) // with the app when it is killed
	if len(got) != 1 {
		t.Fatalf("pulled %d, want 1", len(got))
	}
	w.setKilled(true)
	if w.m.Window(agent) != 0 {
		t.Errorf("the window of a killed agent is %d, want 0", w.m.Window(agent))
	}
	if more := w.ready(5); len(more) != 0 {
		t.Errorf("a killed agent was handed %d", len(more))
	}
	until(t, "what it had not to be due again", func() bool { return w.due(ids) == 5 })
	if n := w.take(5); n != 0 {
		t.Errorf("%d were taken in for a killed agent", n)
	}
	if s := w.settle(journal.Ack, got...); s[0].Err != nil || s[0].Status != state.Completed {
		t.Errorf("the answer to what it had: %+v, want COMPLETED", s[0])
	}

	w.stop()
	w.start()
	if more := w.ready(5); len(more) != 0 || w.take(5) != 0 {
		t.Errorf("after a restart a killed agent was handed %d", len(more))
	}
	pulled := make(chan []journal.Handed)
	go func() { pulled <- w.pull(5) }()
	w.setKilled(false)
	until(t, "the pull that waited to open the window", func() bool { return w.m.Window(agent) == 5 })
	w.take(5)
	left := map[journal.ID]bool{}
	for _, id := range ids {
		left[id] = id != got[0].ID
	}
	all := <-pulled
	for len(all) < 5 {
		all = append(all, w.pull(5)...)
	}
	for _, h := range all {
		if !left[h.ID] {
			t.Errorf("%s was not waiting", h.ID)
		}
		left[h.ID] = false
	}
}

// A pull that waits ends with the kill, and a stream takes nothing up again.
func TestKillEndsPullsAndStreams(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	w.accept(1)
	conn := w.m.NewConn()
	s := w.m.OpenStream(agent, 0, conn)
	pulled := make(chan []journal.Handed)
	go func() {
		got, err := s.Next(t.Context(), 5*time.Second)
		if err != nil {
			t.Error(err)
		}
		pulled <- got
	}()
	until(t, "the stream waits", func() bool { return w.m.Window(agent) > 1 })
	w.take(1)
	if got := <-pulled; len(got) != 1 {
		t.Fatalf("the stream got %d, want 1", len(got))
	}
	waiting := make(chan int)
	go func() {
		got, err := w.m.Pull(t.Context(), inbound.PullRequest{Agent: agent, Limit: 1, Wait: time.Minute})
		if err != nil {
			t.Error(err)
		}
		waiting <- len(got)
	}()
	until(t, "the pull waits", func() bool { return w.m.Pulls(agent) > 0 })
	w.setKilled(true)
	if n := <-waiting; n != 0 {
		t.Errorf("a pull that waited got %d", n)
	}
	conn.Close()
	again := w.m.OpenStream(agent, 0, w.m.NewConn())
	if got, err := again.Next(t.Context(), 0); err != nil || len(got) != 0 {
		t.Errorf("a stream of a killed agent took %d up again (%v)", len(got), err)
	}
	w.setKilled(false)
	if got, err := again.Next(t.Context(), 5*time.Second); err != nil || len(got) != 1 {
		t.Errorf("after it was resumed the stream got %d (%v), want what the other connection had", len(got), err)
	}
}
