package journal_test

import (
	"testing"
	"time"

	"pannier/journal"
)

// none passes over nothing in a mailbox.
func none(journal.ID, time.Time) bool { return false }

// What a reader of a mailbox passes over takes no place among what it wants, and is
// told with the time it is due at, from which it can be read again.
func TestMailPassesOver(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	const most = 2
	ids := map[journal.ID]bool{}
	for range 2 * most {
		ids[p.home.accept()] = true
	}
	if _, err := p.offer(0); err != nil {
		t.Fatal(err)
	}
	no, _ := p.holder.j.AgentNo(billing)
	mail := func(pass func(journal.ID, time.Time) bool) []journal.Mail {
		t.Helper()
		got, _, err := p.holder.j.Mail(no, time.Now().Add(time.Second), most, pass)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := mail(none)
	sent := map[journal.ID]time.Time{}
	for _, m := range first {
		sent[m.ID] = m.Due
	}
	p.holder.j.RewindMail(no, first[0].Due)
	passed := 0
	rest := mail(func(id journal.ID, due time.Time) bool {
		at, is := sent[id]
		if is && !at.Equal(due) {
			t.Errorf("%s is passed over at %v, and due at %v", id, due, at)
		}
		if is {
			passed++
		}
		return is
	})
	if len(first) != most || passed != most || len(rest) != most {
		t.Fatalf("%d read, of which %d were passed over and %d others read; want %d of each", len(first), passed, len(rest), most)
	}
	for _, m := range rest {
		if _, is := sent[m.ID]; is || !ids[m.ID] {
			t.Errorf("%s was read though it was passed over, or is none of ours", m.ID)
		}
	}
}
