package journal_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

// backlog returns what waits in one place.
func (w *world) backlog(name string) journal.Backlog {
	w.Helper()
	all := w.j.Backlogs()
	i := slices.IndexFunc(all, func(b journal.Backlog) bool { return b.Name == name })
	if i < 0 {
		w.Fatalf("no backlog is called %s", name)
	}
	return all[i]
}

func (w *world) wantBacklog(name string, count, later int) {
	w.Helper()
	if b := w.backlog(name); b.Count != count || b.Later != later {
		w.Errorf("backlog %s: got %d and %d later, want %d and %d", name, b.Count, b.Later, count, later)
	}
}

// counted fails the test unless a journal that has stopped knew how much waits where.
func (w *world) counted() {
	w.Helper()
	for _, line := range w.j.Miscounted() {
		w.Error(line)
	}
}

// What waits where is known without reading the journal, and the same after a start.
func TestBacklogs(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for range 3 {
		w.accept()
	}
	later := []journal.Accept{{Envelope: envelope(), DeliverAt: time.Now().Add(time.Hour)}}
	if _, err := w.j.Accept(context.Background(), later); err != nil {
		t.Fatal(err)
	}
	look := func(when string) {
		t.Helper()
		t.Log(when)
		w.wantBacklog(journal.BacklogDue, 3, 1)
		w.wantBacklog(journal.BacklogOpen, 4, 0)
		w.wantBacklog(journal.BacklogMail, 0, 0)
		if b := w.backlog(journal.BacklogDue); b.Oldest.IsZero() || b.Oldest.After(time.Now()) {
			t.Errorf("the oldest is from %s", b.Oldest)
		}
	}
	look("accepted")
	w.reopen()
	look("opened again")

	w.hold()
	w.wantBacklog(journal.BacklogDue, 0, 1)
	w.wantBacklog(journal.BacklogMail, 3, 0)
	w.reopen()
	w.wantBacklog(journal.BacklogMail, 3, 0)
	w.whole()
}

// What waits for each agent is known in the same way, and an agent for whom nothing
// waits is not listed.
func TestQueues(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for range 3 {
		w.accept()
	}
	later, now := envelope(), envelope()
	later.ToAgent, now.ToAgent = "agent://acme/prod/stock", "agent://acme/prod/stock"
	in := []journal.Accept{{Envelope: later, DeliverAt: time.Now().Add(time.Hour)}, {Envelope: now}, {Envelope: envelope()}} // at once, for two
	if _, err := w.j.Accept(context.Background(), in); err != nil {
		t.Fatal(err)
	}
	look := func(when string, want ...string) {
		t.Helper()
		got := []string{}
		for _, q := range w.j.Queues() {
			got = append(got, fmt.Sprintf("%s %s %d+%d", w.j.AgentName(q.Agent), q.Name, q.Count, q.Later))
			if (q.Count > 0) != !q.Oldest.IsZero() {
				t.Errorf("%s: %d wait, the oldest since %s", when, q.Count, q.Oldest)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", when, got, want)
		}
	}
	to := envelope().ToAgent
	look("accepted", to+" due 4+0", "agent://acme/prod/stock due 1+1")
	w.reopen()
	look("opened again", to+" due 4+0", "agent://acme/prod/stock due 1+1")
	w.hold()
	look("held here", to+" mail 4+0", "agent://acme/prod/stock due 1+1")
	w.reopen()
	look("opened again", to+" mail 4+0", "agent://acme/prod/stock due 1+1")
	w.whole()
}

// A dead letter is counted from its end on.
func TestBacklogOfDeadLetters(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.accept()
	if err := w.j.Refuse(context.Background(), id, 1, state.ReasonRejected, "no"); err != nil {
		t.Fatal(err)
	}
	w.wantBacklog(journal.BacklogDead, 1, 0)
	w.wantBacklog(journal.BacklogOpen, 0, 0)
}

// A disk that hangs does not hang whoever asks for figures.
func TestFiguresDoNotWaitForTheDisk(t *testing.T) {
	t.Parallel()
	w := setup(t)
	release := make(chan struct{})
	hung := w.j.HangCommit(release)
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		_, _ = w.j.Accept(context.Background(), []journal.Accept{{Envelope: envelope()}})
	}()
	<-hung
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		w.wantBacklog(journal.BacklogDue, 0, 0) // nothing counts before it is durable
		w.j.Size()
		if len(w.j.Queues()) != 0 || len(w.j.Uses()) == 0 || w.j.Stats().Seq == 0 {
			t.Error("no figures")
		}
	}()
	select {
	case <-looked:
	case <-time.After(5 * time.Second):
		t.Error("who asks for figures waits for the disk")
	}
	close(release)
	<-looked
	<-accepted
	w.wantBacklog(journal.BacklogDue, 1, 0)
}

// BenchmarkBacklogs is how long a look keeps the committer out, at most: every
// index has as many spans as it may.
func BenchmarkBacklogs(b *testing.B) {
	j, err := journal.Open(journal.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	j.FillBacklogs()
	for b.Loop() {
		j.Backlogs()
	}
}
