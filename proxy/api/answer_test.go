package api_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

func TestResolveAnswersFourKeys(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.intent("b")
	a := w.resolve(id, `{"status":"COMPLETED","result":{"x":1},"actor":"me"}`).want(200)
	if n := len(decode(t, a.raw)); n != 4 {
		t.Errorf("got %d keys, want ok intent event completion_delivery: %s", n, a.raw)
	}
	for path, want := range map[string]string{
		"event.event_type": "intent.completed", "event.status": "COMPLETED", "event.seq": "4", "event.actor": "me",
		"event.details.result.x": "1", "intent.status": "COMPLETED", "intent.lifecycle_status": "COMPLETED",
		"intent.legacy_status": "done", "intent.result.x": "1",
		"completion_delivery.delivered": "false", "completion_delivery.reason": "reply_to_not_set",
	} {
		if got := a.text(path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	second := w.resolve(id, `{"status":"CANCELED"}`).refused(409, "intent_ended")
	if second.text("error.details.status") != "COMPLETED" {
		t.Errorf("the refusal does not say how it ended: %s", second.raw)
	}
	w.post("/v1/intents/"+id+"/resume", `{"action":"complete"}`).refused(409, "intent_ended")
	w.post("/v1/intents/"+id+"/resume", `{}`).refused(409, "intent_ended")

	reply := w.post("/v1/intents", `{"intent_type":"a","to_agent":"b","reply_to":"me","payload":{}}`).text("intent_id")
	a = w.resolve(reply, `{"status":"COMPLETED","result":{"x":2}}`)
	for path, want := range map[string]string{
		"delivered": "true", "reply_to": "me", "thread_id": reply,
		"completion.type": "intent.completed", "completion.intent_id": reply, "completion.status": "COMPLETED",
	} {
		if got := a.text("completion_delivery." + path); got != want {
			t.Errorf("completion_delivery.%s is %q, want %q", path, got, want)
		}
	}
	told := w.get("/v1/intents/" + a.text("completion_delivery.message_id")).want(200)
	if told.text("intent.to_agent") != "me" || told.text("intent.from_agent") != "b" || told.text("intent.payload.result.x") != "2" || told.text("intent.completion_of") != reply {
		t.Errorf("the completion: %s", told.raw)
	}
}

func TestResolveRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.intent("b")
	for body, says := range map[string]string{
		``:                                       "/status is required",
		`{"status":"DONE"}`:                      "/status must be",
		`{"status":"TIMED_OUT"}`:                 "/status must be",
		`{"status":"WAITING"}`:                   "/status must be",
		`{"status":"COMPLETED","result":[]}`:     "/result must be",
		`{"status":"FAILED","error":"text"}`:     "/error must be",
		`{"status":"CANCELED","reason":7}`:       "/reason must be",
		`{"status":"COMPLETED","actor":{"a":1}}`: "/actor must be",
		`{"status":"COMPLETED","expected_policy_generation":"0"}`: "/expected_policy_generation must be",
	} {
		if a := w.resolve(id, body).refused(422, "schema_invalid"); !strings.Contains(a.text("detail"), says) {
			t.Errorf("%s: the answer does not say %q: %s", body, says, a.raw)
		}
	}
	if got := w.get("/v1/intents/" + id).text("intent.status"); got != "SUBMITTED" {
		t.Errorf("refusals left the intent %s", got)
	}
}

func TestOneOfManyAnswersWins(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.intent("b")
	var wg sync.WaitGroup
	answers := make([]*answer, 12)
	for i := range answers {
		wg.Go(func() { answers[i] = w.resolve(id, `{"status":"COMPLETED"}`) })
	}
	wg.Wait()
	won := 0
	for _, a := range answers {
		if a.status == 200 {
			won++
			continue
		}
		a.refused(409, "intent_ended")
	}
	if won != 1 {
		t.Errorf("%d of %d answers won, want 1", won, len(answers))
	}
}

func TestStalePolicyGenerationAppliesNothing(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.intent("b")
	for _, a := range []*answer{
		w.resolve(id, `{"status":"COMPLETED","expected_policy_generation":4}`),
		w.post("/v1/intents/"+id+"/resume", `{"expected_policy_generation":4}`),
	} {
		if a.want(200); a.text("applied") != "false" || a.text("reason") != "stale_policy_generation" || a.text("policy_generation") != "0" {
			t.Errorf("got %s", a.raw)
		}
	}
	if got := w.get("/v1/intents/" + id).text("intent.status"); got != "SUBMITTED" {
		t.Errorf("a stale call left the intent %s", got)
	}
	w.resolve(id, `{"status":"COMPLETED","expected_policy_generation":0}`).want(200)
}

func TestResumeHasTwoMeanings(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, c := range []struct{ rule, body, status, shown string }{
		{"nothing", ``, "IN_PROGRESS", ""},
		{"empty object", `{}`, "IN_PROGRESS", ""},
		{"control fields", `{"approve_current_step":true,"reason":"ok","actor":"me","internal_scheduler":false}`, "IN_PROGRESS", ""},
		{"complete", `{"action":"complete","status":"captured", "reason":"data"}`, "COMPLETED", `"result":{"action":"complete","status":"captured", "reason":"data"}`},
		{"fail", `{"action":"fail","reason":"card declined"}`, "FAILED", `"error":{"action":"fail","reason":"card declined"}`},
		{"any object", `{"total":12}`, "COMPLETED", `"result":{"total":12}`},
		{"a control field beside data is data", `{"total":1,"expected_policy_generation":99}`, "COMPLETED", `"expected_policy_generation":99}`},
	} {
		id := w.intent("b")
		a := w.post("/v1/intents/"+id+"/resume", c.body).want(200)
		if a.text("applied") != "true" || a.text("policy_generation") != "0" || a.text("intent.lifecycle_status") != c.status {
			t.Errorf("%s: want %s: %s", c.rule, c.status, a.raw)
		}
		if !strings.Contains(string(a.raw), c.shown) {
			t.Errorf("%s: want %s in %s", c.rule, c.shown, a.raw)
		}
	}
	id := w.intent("b")
	w.post("/v1/intents/"+id+"/resume", `{"task_result":{"outcome":"approved"}}`).refused(422, "schema_invalid")
	w.post("/v1/intents/"+id+"/resume", `{"approve_current_step":false}`).refused(422, "not_available")
	w.post("/v1/intents/"+id+"/resume", `{}`).want(200)
	w.post("/v1/intents/"+id+"/resume", `{}`).want(200) // going on twice is going on
	w.resolve(id, `{"status":"COMPLETED"}`).want(200)   // and is no end
}

func TestAnswerAtTheHolderIsProvisionalUntilHomeRules(t *testing.T) {
	t.Parallel()
	w := setup(t)
	home := journal.Identity{Journal: journal.NewID(), Epoch: 1}
	silent := w.held(home, "here").String()
	began := time.Now()
	a := w.resolve(silent, `{"status":"COMPLETED","result":{"x":1}}`).want(200)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("waited %s for a silent home", took)
	}
	if a.text("event.details.provisional") != "true" || a.text("event.details.result.x") != "1" || a.text("event.event_type") != "intent.completed" {
		t.Errorf("without home's word: %s", a.raw)
	}
	w.resolve(silent, `{"status":"CANCELED"}`).want(409)

	for _, c := range []struct {
		rule    string
		ruled   state.Status
		winner  []byte
		status  int
		seq     string
		outcome string
	}{
		{"home took it", state.Completed, idBytes(w.journal.Identity().Journal), 200, "3", "1"},
		{"somebody else had canceled", state.Canceled, nil, 409, "", ""},
		{"another holder had completed", state.Completed, idBytes(journal.NewID()), 409, "", ""},
		{"somebody at home had completed", state.Completed, nil, 409, "", ""},
	} {
		id := w.held(home, "here")
		done := make(chan *answer)
		go func() { done <- w.resolve(id.String(), `{"status":"COMPLETED","result":{"x":1}}`) }()
		w.rule(home.Journal, id, c.ruled, c.winner)
		a := (<-done).want(c.status)
		if c.status == 200 && (a.text("event.seq") != c.seq || a.text("event.details.result.x") != c.outcome || a.text("event.details.provisional") != "") {
			t.Errorf("%s: want home's event %s: %s", c.rule, c.seq, a.raw)
		}
		// What did not win is not shown as how it ended, also where the status is the same.
		if i := w.get("/v1/intents/" + id.String()).want(200); i.text("intent.status") != c.ruled.String() || i.text("intent.result.x") != c.outcome {
			t.Errorf("%s: the holder shows %s", c.rule, i.raw)
		}
		if e := w.get("/v1/intents/" + id.String() + "/events").want(200); e.text("events.2.details.result.x") != c.outcome {
			t.Errorf("%s: the holder's events are %s", c.rule, e.raw)
		}
	}
}

// TestRevokeBeforeTheRuling: home had ended it, and says so before it has read our
// answer. Another end is a lost race at once; the same one is nobody's yet.
func TestRevokeBeforeTheRuling(t *testing.T) {
	t.Parallel()
	w := setup(t)
	home := journal.Identity{Journal: journal.NewID(), Epoch: 1}
	for end, want := range map[state.Status]int{state.Canceled: 409, state.Completed: 200} {
		id := w.held(home, "here")
		done := make(chan *answer)
		go func() { done <- w.resolve(id.String(), `{"status":"COMPLETED","result":{"x":1}}`) }()
		for {
			if i, err := w.journal.Get(id); err != nil || state.Phase(i.Handover.Phase) == state.Answered {
				break
			}
		}
		if err := w.journal.Revoke(t.Context(), home.Journal, []journal.Verdict{{ID: id, OfferNo: 1, Ended: true, Status: end}}); err != nil {
			t.Fatal(err)
		}
		a := (<-done).want(want)
		if want == 200 && a.text("event.details.provisional") != "true" {
			t.Errorf("without home's log: %s", a.raw)
		}
	}
}

func idBytes(id journal.ID) []byte { return id[:] }

// rule acks the report of an answer as home does.
func (w *world) rule(home, id journal.ID, end state.Status, winner []byte) {
	w.t.Helper()
	for range 500 {
		reports, err := w.journal.Reports(home, 0, 100)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, r := range reports {
			if journal.ID(r.Id) != id {
				continue
			}
			events := []*wire.Event{
				{Type: uint32(state.EventCreated), Status: uint32(state.Created)},
				{Type: uint32(state.EventSubmitted), Status: uint32(state.Submitted)},
				{Type: uint32(state.EventCompleted), Status: uint32(end), Peer: winner, Outcome: true},
			}
			err := w.journal.AckReports(w.t.Context(), home, r.No, []journal.Acked{{ID: id, Status: end, Events: events}})
			if err != nil {
				w.t.Fatal(err)
			}
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
	w.t.Fatal("no report of the answer was journaled")
}

// A write with a key, repeated because its answer was lost, is answered like the
// first; another one under that key is refused.
func TestAnswersHaveKeys(t *testing.T) {
	t.Parallel()
	w := setup(t)
	const key = "Idempotency-Key: k-1"
	for verb, bodies := range map[string][2]string{
		"resolve": {`{"status":"COMPLETED","result":{"x":1}}`, `{"status":"CANCELED"}`},
		"resume":  {`{"charged":3}`, `{"charged":4}`},
	} {
		id := w.intent("b")
		path := "/v1/intents/" + id + "/" + verb
		first := w.post(path, bodies[0], key).want(200)
		again := w.post(path, bodies[0], key).want(200)
		if string(first.raw) != string(again.raw) {
			t.Errorf("%s repeated:\n%s\nat first:\n%s", verb, again.raw, first.raw)
		}
		if first.header.Get("Idempotency-Replayed") != "" || again.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s: Idempotency-Replayed is %q, then %q", verb, first.header.Get("Idempotency-Replayed"), again.header.Get("Idempotency-Replayed"))
		}
		w.post(path, bodies[1], key).refused(409, "idempotency_conflict")
		w.post(path, bodies[0]).refused(409, "intent_ended")
		other := w.intent("b")
		w.post("/v1/intents/"+other+"/"+verb, bodies[1], key).want(200) // another path, another key
	}
	id := w.intent("b")
	w.post("/v1/intents/"+id+"/resume", `{"reason":"go on"}`, key).want(200)
	before := w.get("/v1/intents/" + id + "/events").want(200)
	w.post("/v1/intents/"+id+"/resume", `{"reason":"go on"}`, key).want(200)
	if after := w.get("/v1/intents/" + id + "/events").want(200); after.text("events.#") != before.text("events.#") {
		t.Errorf("a resume repeated wrote an event: %s", after.raw)
	}
	held := w.held(journal.Identity{Journal: journal.NewID(), Epoch: 1}, "here").String()
	for range 2 {
		a := w.post("/v1/intents/"+held+"/resume", `{"charged":3}`, key).want(200)
		if a.text("details.provisional") != "true" {
			t.Errorf("at the holder: %s", a.raw)
		}
	}
}
