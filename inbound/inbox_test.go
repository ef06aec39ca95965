package inbound_test

import (
	"testing"

	"pannier/inbound"
	"pannier/journal"
	"pannier/journal/state"
)

// threadOf is the thread of an intent.
func (w *world) threadOf(id journal.ID) *journal.Thread {
	w.t.Helper()
	th, err := w.j.Thread(id)
	if err != nil {
		w.t.Fatalf("thread of %s: %v", id, err)
	}
	return th
}

// What is held for people is delivered by that: it is in their inbox, no app gets it, and
// what one of them says ends it, or lets it go on for as long as it takes.
func TestInboxTakesAndAnswers(t *testing.T) {
	t.Parallel()
	w := setup(t, inbound.DefaultOptions())
	w.m.Inboxes([]string{agent})
	ids := w.accept(3)
	if n := w.take(10); n != 3 {
		t.Fatalf("%d of 3 were taken, with nobody there", n)
	}
	if got := w.ready(10); len(got) != 0 {
		t.Fatalf("an app was handed %d of what people read", len(got))
	}
	for _, id := range ids {
		if i := w.get(id); i.Status() != state.Delivered || !i.Head.Taken || i.Head.DeliveryAttempt != 1 {
			t.Errorf("%s is %s, taken %t, attempt %d; want DELIVERED by its thread", id, i.Status(), i.Head.Taken, i.Head.DeliveryAttempt)
		}
		if th := w.threadOf(id); journal.ThreadStatus(th.Status) != journal.ThreadPending || th.View(agent) == nil {
			t.Errorf("the thread is %v of %v", th.Status, th.Owners)
		}
	}
	said := journal.ThreadAct{Verb: journal.ThreadReply, Actor: "ann", Text: "on it", Word: &journal.Answer{Trigger: state.Start, Actor: "ann", Text: "on it"}}
	if _, err := w.j.ActOnThread(t.Context(), ids[0], said); err != nil {
		t.Fatal(err)
	}
	if i := w.get(ids[0]); i.Status() != state.InProgress || state.Phase(i.Handover.Phase) != state.Parked {
		t.Errorf("after a reply it is %s, its hand-over %s; want IN_PROGRESS in the inbox", i.Status(), state.Phase(i.Handover.Phase))
	}
	for n, row := range []struct {
		decision string
		on       state.Trigger
		want     state.Status
	}{{journal.Approve, state.Complete, state.Completed}, {journal.Reject, state.Cancel, state.Canceled}} {
		act := journal.ThreadAct{Verb: journal.ThreadDecide, Actor: "ann", Decision: row.decision, Word: &journal.Answer{Trigger: row.on, Reason: state.ReasonApp, Actor: "ann", Body: []byte("{}")}}
		if _, err := w.j.ActOnThread(t.Context(), ids[n], act); err != nil {
			t.Fatal(err)
		}
		if i := w.get(ids[n]); i.Status() != row.want || journal.ThreadStatus(w.threadOf(ids[n]).Status) != journal.ThreadDone {
			t.Errorf("after %s it is %s, its thread %d", row.decision, i.Status(), w.threadOf(ids[n]).Status)
		}
	}
}

// Of a home elsewhere, too: it hears that the intent is in an inbox, and of the answer.
func TestInboxOfAnotherHome(t *testing.T) {
	t.Parallel()
	w := setup(t, inbound.DefaultOptions())
	w.m.Inboxes([]string{agent})
	h := w.dialHome(journal.NewID(), 1)
	var ids []journal.ID
	for n := range 3 { // more than a home may have here before its first success
		ids = append(ids, h.holds(n, 1))
	}
	until(t, "home hears of the deliveries", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.mu.reports) == 3 })
	for _, r := range h.mu.reports {
		if state.Fact(r.Fact) != state.FactDelivered || !r.Thread || !r.Uncounted {
			t.Errorf("home hears %s, thread %t, uncounted %t", state.Fact(r.Fact), r.Thread, r.Uncounted)
		}
	}
	act := journal.ThreadAct{Verb: journal.ThreadDecide, Actor: "ann", Decision: journal.Approve, Word: &journal.Answer{Trigger: state.Complete, Actor: "ann", Body: []byte(`{"outcome":"approved"}`)}}
	if _, err := w.j.ActOnThread(t.Context(), ids[0], act); err != nil {
		t.Fatal(err)
	}
	until(t, "home hears of the answer", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.mu.reports) == 4 })
	if r := h.mu.reports[3]; state.Fact(r.Fact) != state.FactAnswered || journal.ID(r.Id) != ids[0] || r.Actor != "ann" {
		t.Errorf("home hears %s of %x by %s", state.Fact(r.Fact), r.Id, r.Actor)
	}
}

// An inbox has a bound: what comes beyond it stays with its home.
func TestInboxIsBounded(t *testing.T) {
	t.Parallel()
	o := inbound.DefaultOptions()
	o.MaxOpen = 2
	w := setup(t, o)
	w.m.Inboxes([]string{agent})
	w.accept(3)
	for range 3 {
		w.take(1)
	}
	if n := w.j.OpenMail(agent); n != 2 {
		t.Errorf("%d are in an inbox that takes 2", n)
	}
}
