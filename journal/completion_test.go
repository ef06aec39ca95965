package journal_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

const desk = "agent://acme/prod/desk"

// asked accepts an intent whose end is to be told to desk.
func (w *world) asked() journal.ID {
	w.Helper()
	e := envelope()
	e.ReplyTo = desk
	got, err := w.j.Accept(context.Background(), []journal.Accept{{Envelope: e}})
	if err != nil || got[0].Err != nil {
		w.Fatalf("accept: %v, %v", err, got)
	}
	return got[0].ID
}

// completions are those that are due.
func (w *world) completions() (out []journal.Offer) {
	w.Helper()
	for _, a := range w.j.DueAgents() {
		if !w.j.ForThreads(a) {
			continue
		}
		if name := w.j.AgentName(a); name != desk {
			w.Errorf("the lane of %q, want %s", name, desk)
		}
		w.j.Rewind(a, time.UnixMilli(1)) // also what was seen before
		offers, _, err := w.j.Due(a, time.Now(), 100, func(journal.ID) bool { return false })
		if err != nil {
			w.Fatal(err)
		}
		out = append(out, offers...)
	}
	return out
}

// TestEveryEndIsTold: whatever ends an intent, the batch that does accepts its
// completion, which is due in a lane of its own and has none itself.
func TestEveryEndIsTold(t *testing.T) {
	t.Parallel()
	answer := func(on state.Trigger, body string) func(*world, journal.ID) {
		return func(w *world, id journal.ID) {
			if _, err := w.j.Answer(context.Background(), id, journal.Answer{Trigger: on, Body: []byte(body), Text: "because"}); err != nil {
				w.Fatal(err)
			}
		}
	}
	for name, row := range map[string]struct {
		end    func(*world, journal.ID)
		status state.Status
		want   string
	}{
		"completed": {answer(state.Complete, `{"n":1}`), state.Completed, `{"type":"intent.completed","intent_id":"ID","status":"COMPLETED","result":{"n":1},"reason":"because"}`},
		"failed":    {answer(state.Fail, `{"code":"x"}`), state.Failed, `{"type":"intent.failed","intent_id":"ID","status":"FAILED","error":{"code":"x"},"reason":"because"}`},
		"canceled":  {answer(state.Cancel, ``), state.Canceled, `{"type":"intent.canceled","intent_id":"ID","status":"CANCELED","reason":"because"}`},
		"too large": {answer(state.Complete, `{"x":"`+strings.Repeat("x", 1<<20-100)+`"}`), state.Completed, `{"type":"intent.completed","intent_id":"ID","status":"COMPLETED","reason":"because","omitted":true}`},
		"acked": {func(w *world, id journal.ID) {
			h := w.local(time.Minute)
			w.settle(journal.Settle{ID: id, Lease: h.Lease, Action: journal.Ack, Result: []byte(`{"n":2}`)})
		}, state.Completed, `{"type":"intent.completed","intent_id":"ID","status":"COMPLETED","result":{"n":2}}`},
		"rejected": {func(w *world, id journal.ID) {
			h := w.local(time.Minute)
			w.settle(journal.Settle{ID: id, Lease: h.Lease, Action: journal.Nack, Reject: true, Reason: "never"})
		}, state.Failed, `{"type":"intent.failed","intent_id":"ID","status":"FAILED","error":{"attempts":0,"code":"rejected","message":"never","reason":"rejected"},"reason":"never"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			id := w.asked()
			if n := len(w.completions()); n != 0 {
				t.Fatalf("%d completions before the end", n)
			}
			row.end(w, id)
			due := w.completions()
			if len(due) != 1 || due[0].ID != journal.CompletionID(id) || !due[0].Completion {
				t.Fatalf("completions due: %+v", due)
			}
			w.reopen()
			i, err := w.j.Get(due[0].ID)
			if err != nil {
				t.Fatal(err)
			}
			e := i.Envelope
			if e.ToAgent != desk || e.FromAgent != billing || e.ReplyTo != "" || journal.ID(e.CompletionOf) != id || w.status(id) != row.status {
				t.Errorf("%s: %+v", w.status(id), e)
			}
			if left := time.UnixMilli(i.Head.DeliverByMs).Sub(time.UnixMilli(e.CreatedAtMs)); left != 7*24*time.Hour {
				t.Errorf("to be delivered within %v", left)
			}
			if want := strings.ReplaceAll(row.want, "ID", id.String()); !sameJSON(want, e.Payload) {
				t.Errorf("it says %.300s, want %s", e.Payload, want)
			}
			w.wantEvents(i.ID, "created", "submitted")
			if _, err := w.j.Answer(context.Background(), i.ID, journal.Answer{Trigger: state.Cancel}); err != nil {
				t.Fatal(err)
			}
			if due := w.completions(); len(due) != 0 {
				t.Errorf("a completion has one of its own: %+v", due)
			}
			w.whole()
		})
	}
}

func sameJSON(want string, got []byte) bool {
	var a, b any
	if json.Unmarshal([]byte(want), &a) != nil || json.Unmarshal(got, &b) != nil {
		return false
	}
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

// TestDeadlineIsTold: nobody said anything, and time ended it.
func TestDeadlineIsTold(t *testing.T) {
	t.Parallel()
	w := setup(t)
	e := envelope()
	e.ReplyTo = desk
	got, err := w.j.Accept(context.Background(), []journal.Accept{{Envelope: e, Deadline: time.Now().Add(10 * time.Millisecond)}})
	if err != nil {
		t.Fatal(err)
	}
	wake, stop := w.j.Watch(got[0].ID)
	defer stop()
	for w.status(got[0].ID) != state.TimedOut {
		<-wake
	}
	due := w.completions()
	if len(due) != 1 {
		t.Fatalf("completions due: %+v", due)
	}
	i, err := w.j.Get(due[0].ID)
	if err != nil || !strings.Contains(string(i.Envelope.Payload), `"type":"intent.timed_out"`) {
		t.Errorf("%v: it says %s", err, i.Envelope.Payload)
	}
	w.whole()
}

// TestCompletionIsAThread: at its holder it is held and done in one commit, in no
// mailbox, and home hears that it was taken.
func TestCompletionIsAThread(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	id := p.home.asked()
	if _, err := p.home.j.Answer(context.Background(), id, journal.Answer{Trigger: state.Complete, Body: []byte(`{"n":1}`)}); err != nil {
		t.Fatal(err)
	}
	o := p.home.completions()[0]
	offer := journal.HoldRequest{Envelope: o.Envelope, OfferNo: o.OfferNo, Lease: journal.Terms{Thread: true}}
	for range 2 { // the second time its held was lost
		done := make(chan []journal.HoldResult, 1)
		p.holder.j.Hold(p.home.j.Identity(), []journal.HoldRequest{offer}, func(r []journal.HoldResult, _ error) { done <- r })
		if r := <-done; r[0].Err != nil || r[0].Handed != nil {
			t.Fatalf("held: %+v", r)
		}
	}
	no, _ := p.holder.j.AgentNo(desk)
	if mail, err := p.holder.j.MailAll(no); err != nil || len(mail) != 0 {
		t.Errorf("in the mailbox: %v, %+v", err, mail)
	}
	if err := p.report(); err != nil {
		t.Fatal(err)
	}
	i, err := p.holder.j.Get(o.ID)
	if err != nil || !i.Handover.Thread || !i.Handover.Freed || state.Phase(i.Handover.Phase) != state.Answered {
		t.Errorf("at the holder: %v, %+v", err, i.Handover)
	}
	p.home.wantEvents(o.ID, "created", "submitted", "delivered", "in_progress", "completed")
	if due := p.home.completions(); len(due) != 0 {
		t.Errorf("still due: %+v", due)
	}
	p.home.whole()
	p.holder.whole()
}

// TestCompletionAtHome: the sidecar that ends an intent may serve reply_to itself.
func TestCompletionAtHome(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.asked()
	if _, err := w.j.Answer(context.Background(), id, journal.Answer{Trigger: state.Fail, Body: []byte(`{}`)}); err != nil {
		t.Fatal(err)
	}
	res, err := w.j.HoldLocal(context.Background(), w.completions(), []journal.Terms{{Thread: true}})
	if err != nil || res[0].Err != nil || res[0].Handed != nil {
		t.Fatalf("%v, %+v", err, res)
	}
	w.wantEvents(journal.CompletionID(id), "created", "submitted", "delivered", "in_progress", "completed")
	if due := w.completions(); len(due) != 0 {
		t.Errorf("still due: %+v", due)
	}
	w.whole()
}

// TestEndAndCompletionFailTogether fails the commit that ends the intent, both ways:
// the end and its completion are both there afterwards, or neither is.
func TestEndAndCompletionFailTogether(t *testing.T) {
	t.Parallel()
	for _, persist := range []bool{false, true} {
		w := setup(t)
		id := w.asked()
		w.j.FailCommit(1, persist)
		if _, err := w.j.Answer(context.Background(), id, journal.Answer{Trigger: state.Complete, Body: []byte(`{}`)}); err == nil {
			t.Fatal("the commit did not fail")
		}
		w.j.Abandon()
		w.open(journal.Options{})
		ended, told := w.status(id) == state.Completed, len(w.completions()) == 1
		if ended != persist || told != persist {
			t.Errorf("persisted %v: ended %v, completion %v", persist, ended, told)
		}
		if _, err := w.j.Answer(context.Background(), id, journal.Answer{Trigger: state.Complete, Body: []byte(`{}`)}); (err == nil) == persist {
			t.Errorf("the answer again: %v", err)
		}
		if n := len(w.completions()); n != 1 {
			t.Errorf("persisted %v: %d completions in the end", persist, n)
		}
		w.whole()
	}
}
