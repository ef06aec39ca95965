package api_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

const people, colleague, asker = "agent://acme/prod/people", "agent://acme/prod/colleague", "agent://test/app/sender"

// threads reads an inbox and returns the ids in it, the last that was changed first.
func (w *world) threads(owner string) (ids []string) {
	w.t.Helper()
	var list struct {
		Threads []struct {
			ID string `json:"thread_id"`
		}
	}
	if err := json.Unmarshal(w.get("/v1/inbox?owner_agent="+owner).want(200).raw, &list); err != nil {
		w.t.Fatal(err)
	}
	for _, th := range list.Threads {
		ids = append(ids, th.ID)
	}
	return ids
}

func (w *world) wantThreads(owner string, want ...string) {
	w.t.Helper()
	if got := w.threads(owner); fmt.Sprint(got) != fmt.Sprint(want) {
		w.t.Fatalf("the inbox of %s has %v, want %v", owner, got, want)
	}
}

// A first look into an inbox finds what was here before it, and from then on all that
// comes; for its sender, too.
func TestInboxHasWhatIsSentAndWasSent(t *testing.T) {
	t.Parallel()
	w := setup(t)
	old := w.intent(people)
	w.intent("agent://acme/prod/other")
	w.wantThreads(people, old)
	young := w.intent(people)
	w.wantThreads(people, young, old)
	if got := w.threads(asker); len(got) != 3 {
		t.Errorf("the sender sees %v, want all three", got)
	}
	th := w.get("/v1/inbox/" + young + "?owner_agent=" + people).want(200)
	for path, want := range map[string]string{
		"thread.thread_id": young, "thread.intent_id": young, "thread.status": "pending", "thread.owner_agent": people,
		"thread.from_agent": asker, "thread.to_agent": people, "thread.timeline.0.event_type": "intent_received",
	} {
		if got := th.text(path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	w.post("/v1/intents/"+young+"/resolve", `{"status":"COMPLETED"}`).want(200)
	th = w.get("/v1/inbox/" + young).want(200)
	if th.text("thread.status") != "done" || th.text("thread.timeline.1.event_type") != "intent.completed" {
		t.Errorf("after the end: %s", th.raw)
	}
	w.get("/v1/inbox/"+old+"?owner_agent="+colleague).refused(404, "thread_not_found")
	w.get("/v1/inbox/5f64ea0d-97ef-4c18-a1ad-4f1fd2b4a6dd").refused(404, "thread_not_found")
	w.get("/v1/inbox?status=lost").refused(422, "schema_invalid")
	w.get("/v1/inbox/changes?cursor=yesterday").refused(422, "schema_invalid")
}

// A task is in the inbox of whom it is for, and of those it names, from accept on.
func TestTaskIsAThread(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.ask(`{"title":"Approve","assignees":["agent://acme/prod/ann"]}`)
	w.wantThreads(approvals, id)
	w.wantThreads("agent://acme/prod/ann", id)
	if got := w.get("/v1/inbox/" + id).want(200); got.text("thread.human_task.title") != "Approve" || got.text("thread.intent_status") != "WAITING" {
		t.Errorf("the thread does not say what is asked: %s", got.raw)
	}
}

// The first decision on a thread counts, in its intent's log too; whoever decides
// otherwise hears who was first, and when.
func TestThreadIsDecidedOnce(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, row := range []struct{ rule, task, verb, other, status, outcome string }{
		{"approve", `{}`, "approve", "reject", "COMPLETED", `"outcome":"approved"`},
		{"reject", `{}`, "reject", "approve", "CANCELED", `"outcome":"rejected"`},
		{"a word of its own", `{"task_type":"confirmation"}`, "approve", "reject", "COMPLETED", `"outcome":"confirmed"`},
		{"a word of its own against", `{"task_type":"assignment"}`, "reject", "approve", "CANCELED", `"outcome":"declined"`},
	} {
		id := w.ask(row.task)
		path := "/v1/inbox/" + id + "/"
		a := w.post(path+row.verb+"?owner_agent="+approvals, `{"comment":"as said","note":"ignored"}`).want(200)
		if a.text("thread.status") != "done" || a.text("thread.decision.decided_by") != approvals {
			t.Errorf("%s: the thread is %s", row.rule, a.raw)
		}
		i := w.get("/v1/intents/" + id).want(200)
		if i.text("intent.status") != row.status || !strings.Contains(string(i.raw), row.outcome) {
			t.Errorf("%s: want %s with %s: %s", row.rule, row.status, row.outcome, i.raw)
		}
		end := w.get("/v1/intents/" + id + "/events?since=4").want(200)
		if !strings.Contains(string(end.raw), `"decided_by":"`+approvals+`","decided_at":"`) {
			t.Errorf("%s: the event does not say who decided: %s", row.rule, end.raw)
		}
		w.post(path+row.verb, `{}`).want(200)
		late := w.post(path+row.other, `{}`).refused(409, "decided_before")
		if late.text("error.details.decided_by") != approvals || late.text("error.details.decided_at") == "" {
			t.Errorf("%s: the second does not hear who was first: %s", row.rule, late.raw)
		}
		late = w.post("/v1/intents/"+id+"/resume", `{"task_result":{"outcome":"approved"}}`).refused(409, "intent_ended")
		if late.text("error.details.decided_by") != approvals {
			t.Errorf("%s: whoever resumes does not hear who was first: %s", row.rule, late.raw)
		}
	}
	resumed := w.ask(`{}`)
	w.post("/v1/intents/"+resumed+"/resume?owner_agent=ann", `{"task_result":{"outcome":"approved"}}`).want(200)
	if late := w.post("/v1/inbox/"+resumed+"/reject", `{}`).refused(409, "decided_before"); late.text("error.details.decided_by") != "ann" {
		t.Errorf("decided by a resume: %s", late.raw)
	}
	strict := w.ask(`{"required_comment":true}`)
	w.post("/v1/inbox/"+strict+"/approve", `{}`).refused(422, "schema_invalid")
	w.post("/v1/inbox/"+strict+"/approve", `{"comment":"fine"}`).want(200)
	choice := w.ask(`{"allowed_outcomes":["ship","hold"]}`)
	w.post("/v1/inbox/"+choice+"/approve", `{}`).refused(422, "schema_invalid")
}

// A decision on a task that another home has sent is provisional until that home has said
// whose decision counts: that it has ended is not enough.
func TestDecisionElsewhereIsProvisional(t *testing.T) {
	t.Parallel()
	w := setup(t)
	home := journal.Identity{Journal: journal.NewID(), Epoch: 1}
	id := w.holds(home, &wire.Envelope{ToAgent: people, HumanTask: []byte(`{"title":"?"}`)})
	path := "/v1/inbox/" + id.String()
	shows := func(a *answer, provisional string) {
		t.Helper()
		if a.text("thread.decision.decided_by") != people || a.text("thread.decision.provisional") != provisional {
			t.Errorf("provisional is to be %q: %s", provisional, a.raw)
		}
	}
	shows(w.post(path+"/approve", `{}`).want(200), "true")
	self := w.journal.Identity().Journal
	log := []*wire.Event{{Type: uint32(state.EventCompleted), Status: uint32(state.Completed), Actor: people, Reason: uint32(state.ReasonApp), Peer: self[:]}}
	for _, known := range [][]*wire.Event{nil, log} {
		v := journal.Verdict{ID: id, OfferNo: 1, Ended: true, Status: state.Completed, Events: known}
		if err := w.journal.Revoke(t.Context(), home.Journal, []journal.Verdict{v}); err != nil {
			t.Fatal(err)
		}
		want := "true"
		if known != nil {
			want = ""
		}
		shows(w.get(path).want(200), want)
		shows(w.post(path+"/approve", `{}`).want(200), want)
	}
}

// What ended by other means is decided for the record, and stays as it ended.
func TestDecisionOnWhatHasEnded(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.intent(people)
	w.post("/v1/intents/"+id+"/resolve", `{"status":"COMPLETED"}`).want(200)
	w.wantThreads(people, id)
	w.post("/v1/inbox/"+id+"/reject", `{"comment":"too late"}`).want(200)
	if got := w.get("/v1/intents/" + id).text("intent.status"); got != "COMPLETED" {
		t.Errorf("a decision after the end left it %s", got)
	}
	w.post("/v1/inbox/"+id+"/approve", `{}`).refused(409, "decided_before")
}

// A message is in the inboxes of both; each may take it off its own, and its author off
// both, and what is not a message stays.
func TestMessages(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.intent(people)
	w.wantThreads(people, id)
	w.wantThreads(asker, id)
	path := "/v1/inbox/" + id
	a := w.post(path+"/reply?owner_agent="+people, `{"message":"on it"}`, "Idempotency-Key: once").want(200)
	if a.text("thread.status") != "active" || a.text("thread.timeline.1.details.message") != "on it" {
		t.Fatalf("after a reply: %s", a.raw)
	}
	if again := w.post(path+"/reply?owner_agent="+people, `{"message":"on it"}`, "Idempotency-Key: once").want(200); again.text("thread.timeline.2.event_id") != "" {
		t.Errorf("a repeat under its key says it twice: %s", again.raw)
	}
	w.post(path+"/reply?owner_agent="+asker, `{"message":"thanks"}`).want(200)
	w.post(path+"/reply", `{}`).refused(422, "schema_invalid")
	w.post(path+"/reply", `{"message":"`+strings.Repeat("x", 5001)+`"}`).refused(422, "schema_invalid")

	gone := w.post(path+"/messages/delete?owner_agent="+people, `{"mode":"self","limit":1}`).want(200)
	if gone.text("deleted_count") != "1" || gone.text("thread.timeline.2.event_id") != "" {
		t.Errorf("deleted for oneself: %s", gone.raw)
	}
	if got := w.get(path + "?owner_agent=" + asker).text("thread.timeline.2.details.message"); got != "thanks" {
		t.Errorf("the other side lost a message, and has %q", got)
	}
	gone = w.post(path+"/messages/delete?owner_agent="+people, `{"mode":"both","limit":100}`).want(200)
	if gone.text("deleted_count") != "1" {
		t.Errorf("deleted for both: %s, want the one of its own", gone.raw)
	}
	if got := w.get(path + "?owner_agent=" + asker); got.text("thread.timeline.1.details.message") != "thanks" {
		t.Errorf("the other side has %s", got.raw)
	}
	w.post(path+"/messages/delete", `{"mode":"all"}`).refused(422, "schema_invalid")
	w.post(path+"/read?owner_agent="+people, "").want(200)
	if w.get(path+"?owner_agent="+people).text("thread.read_at") == "" || w.get(path+"?owner_agent="+asker).text("thread.read_at") != "" {
		t.Error("read by one is not read by one")
	}
}

// A timeline does not grow without end, and a thread that is full can be decided.
func TestTimelineIsBounded(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.ask(`{}`)
	path, n := "/v1/inbox/"+id, 0
	for ; n < 30; n++ {
		if a := w.post(path+"/reply", `{"message":"`+strings.Repeat("x", 5000)+`"}`); a.status != 200 {
			a.refused(409, "thread_full")
			break
		}
	}
	if n == 0 || n == 30 {
		t.Fatalf("%d messages of 5,000 characters were taken", n)
	}
	w.post(path+"/approve", `{}`).want(200)
}

// Whoever delegates keeps the thread, and the delegate may decide.
func TestDelegate(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.ask(`{}`)
	a := w.post("/v1/inbox/"+id+"/delegate?owner_agent="+approvals, `{"delegate_to":"acme/prod/colleague","note":"please"}`).want(200)
	if a.text("thread.status") != "active" || a.text("thread.timeline.1.details.delegate_to") != colleague {
		t.Errorf("after delegating: %s", a.raw)
	}
	w.wantThreads(colleague, id)
	w.wantThreads(approvals, id)
	w.post("/v1/inbox/"+id+"/delegate", `{}`).want(200)
	w.post("/v1/inbox/"+id+"/delegate", `{"delegate_to":"a b"}`).refused(422, "invalid_agent_address")
	if a := w.post("/v1/inbox/"+id+"/approve?owner_agent="+colleague, `{}`).want(200); a.text("thread.decision.decided_by") != colleague {
		t.Errorf("decided by the delegate: %s", a.raw)
	}
}

// Changes are paged without a gap or a repeat, and a cursor saved is good later.
func TestInboxChanges(t *testing.T) {
	t.Parallel()
	w := setup(t)
	page := w.get("/v1/inbox/changes?owner_agent=" + people).want(200)
	if page.text("next_cursor") != "" || page.text("has_more") != "false" {
		t.Errorf("an empty inbox has changes: %s", page.raw)
	}
	var ids []string
	for range 5 {
		ids = append(ids, w.intent(people))
	}
	w.post("/v1/inbox/"+ids[0]+"/reply", `{"message":"hi"}`).want(200)
	want := append(ids[1:len(ids):len(ids)], ids[0])
	var got []string
	cursor := ""
	for more := "true"; more == "true"; {
		page = w.get("/v1/inbox/changes?limit=2&owner_agent=" + people + "&cursor=" + cursor).want(200)
		for i := 0; page.at(fmt.Sprintf("changes.%d", i)) != nil; i++ {
			got = append(got, page.text(fmt.Sprintf("changes.%d.thread.thread_id", i)))
			if c := page.text(fmt.Sprintf("changes.%d.cursor", i)); c <= cursor {
				t.Errorf("cursor %s comes after %s", c, cursor)
			}
		}
		cursor, more = page.text("next_cursor"), page.text("has_more")
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("changed were %v, want %v", got, want)
	}
	if page := w.get("/v1/inbox/changes?owner_agent=" + people + "&cursor=" + cursor).want(200); page.text("next_cursor") != cursor {
		t.Errorf("with nothing new: %s", page.raw)
	}
	w.post("/v1/inbox/"+ids[2]+"/approve", `{}`).want(200)
	if page := w.get("/v1/inbox/changes?owner_agent=" + people + "&cursor=" + cursor).want(200); page.text("changes.0.thread.thread_id") != ids[2] {
		t.Errorf("after a decision: %s", page.raw)
	}
}

// The end of an intent is in the inbox of whom it is told to, under its own id, from the
// answer of whoever ends it on.
func TestCompletionIsAThread(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.post("/v1/intents", `{"intent_type":"a.v1","to_agent":"`+people+`","reply_to":"agent://acme/prod/back","payload":{}}`).want(200).text("intent_id")
	w.wantThreads("agent://acme/prod/back")
	done := w.post("/v1/intents/"+id+"/resolve", `{"status":"COMPLETED","result":{"n":2}}`).want(200)
	w.wantThreads("agent://acme/prod/back", id)
	th := w.get("/v1/inbox/" + id + "?owner_agent=agent://acme/prod/back").want(200)
	last := ""
	for i := 0; th.at(fmt.Sprintf("thread.timeline.%d", i)) != nil; i++ {
		last = fmt.Sprintf("thread.timeline.%d.", i)
	}
	if th.text("thread.status") != "done" || th.text(last+"event_type") != "intent_completion_delivered" || th.text(last+"details.status") != "COMPLETED" ||
		th.text(last+"details.message_id") != done.text("completion_delivery.message_id") {
		t.Errorf("the thread of the end: %s", th.raw)
	}
}

// An approval of a task is its decision; of an id that cannot be ours it is kept, and of
// one that could be it is none.
func TestApprovals(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.ask(`{}`)
	a := w.post("/v1/approvals/"+id+"/decision", `{"decision":"approved","comment":"ok"}`).want(200)
	if a.text("approval.decision") != "approve" || a.text("approval.comment") != "ok" || a.header.Get("Pannier-Applied") != "" {
		t.Errorf("of a task: %s", a.raw)
	}
	if got := w.get("/v1/intents/" + id).text("intent.status"); got != "COMPLETED" {
		t.Errorf("the task is %s", got)
	}
	const random = "/v1/approvals/5f64ea0d-97ef-4c18-a1ad-4f1fd2b4a6dd/decision"
	a = w.post(random, `{"decision":"approve"}`).want(200)
	if a.at("approval.comment") != nil || a.header.Get("Pannier-Applied") != "false" {
		t.Errorf("of any id: %s", a.raw)
	}
	if again := w.post(random, `{"decision":"approve","comment":"again"}`).want(200); again.text("approval.decided_at") != a.text("approval.decided_at") {
		t.Errorf("the same again: %s, want %s", again.raw, a.raw)
	}
	w.post(random, `{"decision":"reject"}`).refused(409, "decided_before")
	w.post(random, `{"decision":"maybe"}`).refused(422, "schema_invalid")
	w.post("/v1/approvals/01890000-0000-7000-8000-000000000000/decision", `{"decision":"approve"}`).refused(404, "thread_not_found")
	w.post("/v1/approvals/x/decision", `{"decision":"approve"}`).refused(404, "thread_not_found")
}

// Subscribers hear of each change of a thread in the batch that makes it, and of nothing
// that was there before they subscribed.
func TestThreadsAreTold(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.intent(people)
	var address string
	for _, owner := range []string{people, asker} {
		a := w.post("/v1/webhooks/subscriptions?owner_agent="+owner, `{"callback_url":"http://127.0.0.1:9/`+owner[8:9]+`","event_types":["inbox.thread_created","inbox.thread_updated","inbox.reply_received"]}`).want(200)
		if owner == people {
			id, err := journal.ParseID(a.text("subscription.subscription_id"))
			if err != nil {
				t.Fatal(err)
			}
			address = journal.SubscriberAddress(id)
		}
	}
	told := func() (events []string) {
		t.Helper()
		page, _, err := w.journal.List(journal.Filter{To: address, Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		for i := len(page) - 1; i >= 0; i-- {
			var n struct {
				Type    string `json:"event_type"`
				Owner   string `json:"owner_agent"`
				Payload struct{ Status, Last_event string }
			}
			if err := json.Unmarshal(page[i].Envelope.Payload, &n); err != nil || n.Owner != people {
				t.Errorf("told of %s: %v", page[i].Envelope.Payload, err)
			}
			events = append(events, n.Type+" "+n.Payload.Status)
		}
		return events
	}
	if got := told(); len(got) != 0 {
		t.Errorf("of what was there before it is told %q", got)
	}
	id := w.intent(people)
	w.post("/v1/inbox/"+id+"/reply?owner_agent="+asker, `{"message":"hello?"}`).want(200)
	w.post("/v1/inbox/"+id+"/reply?owner_agent="+people, `{"message":"yes"}`).want(200)
	w.post("/v1/intents/"+id+"/resolve", `{"status":"COMPLETED"}`).want(200)
	got := told()
	slices.Sort(got) // those of one batch have no order
	want := []string{"inbox.reply_received active", "inbox.thread_created pending", "inbox.thread_updated active", "inbox.thread_updated active", "inbox.thread_updated done"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("told %q, want %q", got, want)
	}
	w.wantThreads(people, id, w.threads(people)[1]) // none of them is a thread itself
}

// AXP wants actors of 2 to 120 characters, and addresses are longer.
func TestLongActorsAreCut(t *testing.T) {
	t.Parallel()
	w := setup(t)
	long := "agent://acme/prod/" + strings.Repeat("x", 200)
	id := w.intent(long)
	w.post("/v1/inbox/"+id+"/reply?owner_agent="+long, `{"message":"hi"}`).want(200)
	if got := w.get("/v1/inbox/" + id + "?owner_agent=" + long).text("thread.timeline.1.actor"); len(got) > 120 || len(got) < 100 {
		t.Errorf("the actor has %d bytes: %s", len(got), got)
	}
}
