package api_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"pannier/proxy/api"
)

const approvals = "agent://acme/prod/approvals"

// ask sends an intent with a human_task and returns its id.
func (w *world) ask(task string) string {
	w.t.Helper()
	a := w.post("/v1/intents", `{"intent_type":"expense.approval.v1","to_agent":"`+approvals+`","payload":{"amount":900},"human_task":`+task+`}`).want(200)
	if got := a.text("status"); got != "WAITING" {
		w.t.Fatalf("accepted as %s, want WAITING", got)
	}
	return a.text("intent_id")
}

// A person is asked at once, and offered to no app: the log says what and whom.
func TestHumanTaskWaits(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.ask(`{"title":"Approve the expense","description":"Flight to Oslo","notify_email":"ann@acme.example"}`)
	i := w.get("/v1/intents/" + id).want(200)
	for path, want := range map[string]string{
		"intent.lifecycle_status": "WAITING", "intent.lifecycle_waiting_reason": "WAITING_FOR_HUMAN",
		"intent.pending_with.type": "human", "intent.pending_with.name": approvals,
		"intent.human_task.title": "Approve the expense", "intent.human_task.task_type": "approval",
		"intent.human_task.allowed_outcomes.1": "rejected", "intent.deadline_at": "",
	} {
		if got := i.text(path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	if strings.Contains(string(i.raw), "ann@") {
		t.Errorf("the address that is for the sidecar only is shown: %s", i.raw)
	}
	log := w.get("/v1/intents/" + id + "/events").want(200)
	for path, want := range map[string]string{
		"events.2.event_type": "intent.waiting", "events.2.waiting_reason": "WAITING_FOR_HUMAN",
		"events.3.event_type": "intent.human_task_assigned", "events.3.status": "WAITING",
		"events.3.details.human_task.title": "Approve the expense", "events.3.details.pending_with.type": "human",
	} {
		if got := log.text(path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	if got := w.get("/v1/agents/" + approvals + "/intents").want(200).raw; strings.Contains(string(got), id) {
		t.Errorf("an app was given what a person is asked: %s", got)
	}
	if got := w.get("/v1/intents/" + id + "/why").want(200).text("causes.0.code"); got != "parked" {
		t.Errorf("it waits because of %s, want parked", got)
	}
}

func TestHumanTaskIsDecided(t *testing.T) {
	t.Parallel()
	w := setup(t)
	form := `{"task_type":"form","form_schema":{"type":"object","required":["city"],"properties":{"city":{"type":"string"}}}}`
	for _, c := range []struct{ rule, task, body, status, shown string }{
		{"approved", `{}`, `{"task_result":{"outcome":"approved","comment":"fine","by":7}}`, "COMPLETED", `"result":{"outcome":"approved","comment":"fine","by":7}`},
		{"rejected", `{}`, `{"task_result":{"outcome":"rejected","comment":"no"}}`, "CANCELED", `"reason":"rejected","task_result":{"outcome":"rejected","comment":"no"}`},
		{"outcome beside the result", `{}`, `{"outcome":"approved","task_result":{}}`, "COMPLETED", `"result":{}`},
		{"as the oldest clients say it", `{}`, `{"task_result":{"approved":false}}`, "CANCELED", `"reason":"rejected"`},
		{"an outcome of its own", `{"allowed_outcomes":["ship","hold"]}`, `{"task_result":{"outcome":"ship"}}`, "COMPLETED", `"outcome":"ship"`},
		{"changes requested", `{"task_type":"review"}`, `{"task_result":{"outcome":"changes_requested"}}`, "CANCELED", `"reason":"changes_requested"`},
		{"comment", `{"required_comment":true}`, `{"task_result":{"outcome":"approved","comment":"x"}}`, "COMPLETED", ""},
		{"evidence", `{"evidence_required":true}`, `{"task_result":{"outcome":"approved","data":{"evidence":["file:1"]}}}`, "COMPLETED", ""},
		{"form", form, `{"task_result":{"outcome":"submitted","city":"Oslo"}}`, "COMPLETED", `"city":"Oslo"`},
		{"form in data", form, `{"task_result":{"outcome":"submitted","data":{"city":"Oslo"}}}`, "COMPLETED", ""},
		{"a refusal fills in no form", `{"task_type":"assignment","form_schema":{"required":["who"]}}`, `{"task_result":{"outcome":"declined"}}`, "CANCELED", ""},
	} {
		id := w.ask(c.task)
		a := w.post("/v1/intents/"+id+"/resume?owner_agent=ann", c.body).want(200)
		if got := a.text("intent.status"); got != c.status || !strings.Contains(string(a.raw), c.shown) {
			t.Errorf("%s: want %s with %s: %s", c.rule, c.status, c.shown, a.raw)
		}
		log := w.get("/v1/intents/" + id + "/events").want(200)
		if !strings.Contains(string(log.raw), `"actor":"ann"`) {
			t.Errorf("%s: the log does not say who decided: %s", c.rule, log.raw)
		}
		w.post("/v1/intents/"+id+"/resume", `{"task_result":{"outcome":"approved"}}`).refused(409, "intent_ended")
	}
}

// People write as much in any script: what they write is counted in characters.
func TestTextsOfPeopleAreCharacters(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ask := func(title, about int) *answer {
		return w.post("/v1/intents", `{"intent_type":"a.v1","to_agent":"`+approvals+`","payload":{},"human_task":{"title":"`+strings.Repeat("ж", title)+`","description":"`+strings.Repeat("界", about)+`"}}`)
	}
	id := ask(255, 2000).want(200).text("intent_id")
	ask(256, 1).refused(422, "schema_invalid")
	ask(1, 2001).refused(422, "schema_invalid")
	say := func(n int) *answer {
		return w.post("/v1/intents/"+id+"/resume", `{"task_result":{"outcome":"approved","comment":"`+strings.Repeat("界", n)+`"}}`)
	}
	say(2001).refused(422, "schema_invalid")
	say(2000).want(200)
}

// What does not fit the task is refused by the name of the field, and it waits on.
func TestWrongDecisionsAreRefused(t *testing.T) {
	t.Parallel()
	w := setup(t)
	strict := w.ask(`{"required_comment":true,"evidence_required":true,"form_schema":{"type":"object","properties":{"city":{"type":"string"}}}}`)
	for _, c := range []struct{ rule, body, pointer string }{
		{"no decision", `{}`, "/task_result"},
		{"a word to go on", `{"approve_current_step":true}`, "/task_result"},
		{"an agent's result", `{"action":"complete"}`, "/task_result"},
		{"no object", `{"task_result":"approved"}`, "/task_result"},
		{"no outcome", `{"task_result":{"comment":"x","data":{"evidence":1}}}`, "/task_result/outcome"},
		{"unknown outcome", `{"task_result":{"outcome":"maybe"}}`, "/task_result/outcome"},
		{"unknown outcome beside it", `{"outcome":"maybe","task_result":{}}`, "/outcome"},
		{"no comment", `{"task_result":{"outcome":"approved","data":{"evidence":1}}}`, "/task_result/comment"},
		{"blank comment", `{"task_result":{"outcome":"approved","comment":"  ","data":{"evidence":1}}}`, "/task_result/comment"},
		{"no evidence", `{"task_result":{"outcome":"approved","comment":"x"}}`, "/task_result/data/evidence"},
		{"empty evidence", `{"task_result":{"outcome":"approved","comment":"x","data":{"evidence":[ ]}}}`, "/task_result/data/evidence"},
		{"bad form", `{"task_result":{"outcome":"approved","comment":"x","data":{"evidence":1,"city":7}}}`, "/task_result/data/city"},
	} {
		a := w.post("/v1/intents/"+strict+"/resume", c.body).refused(422, "schema_invalid")
		if !strings.Contains(string(a.raw), `"pointer":"`+c.pointer+`"`) {
			t.Errorf("%s: want a fault at %s: %s", c.rule, c.pointer, a.raw)
		}
	}
	if got := w.get("/v1/intents/" + strict).text("intent.status"); got != "WAITING" {
		t.Errorf("a refused decision left it %s", got)
	}
}

func TestWrongTasksAreRefused(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, c := range []struct{ rule, more, pointer string }{
		{"no object", `"human_task":"approve"`, "/human_task"},
		{"long title", `"human_task":{"title":"` + strings.Repeat("x", 256) + `"}`, "/human_task/title"},
		{"unknown type", `"human_task":{"task_type":"aproval"}`, "/human_task/task_type"},
		{"no outcomes", `"human_task":{"allowed_outcomes":[]}`, "/human_task/allowed_outcomes"},
		{"outcome no text", `"human_task":{"allowed_outcomes":["a",1]}`, "/human_task/allowed_outcomes/1"},
		{"bad flag", `"human_task":{"required_comment":"yes"}`, "/human_task/required_comment"},
		{"bad form", `"human_task":{"form_schema":{"type":"strin"}}`, "/human_task/form_schema"},
		{"form from elsewhere", `"human_task":{"form_schema":{"$ref":"https://acme.example/form.json"}}`, "/human_task/form_schema"},
		{"attempts", `"human_task":{},"max_delivery_attempts":2`, "/max_delivery_attempts"},
		{"later", `"human_task":{},"delivery":{"delay_seconds":2}`, "/delivery/delay_seconds"},
	} {
		a := w.post("/v1/intents", `{"intent_type":"a.v1","to_agent":"b","payload":{},`+c.more+`}`)
		if a.status != 422 && a.status != 400 || !strings.Contains(string(a.raw), `"pointer":"`+c.pointer+`"`) {
			t.Errorf("%s: want a fault at %s: %d %s", c.rule, c.pointer, a.status, a.raw)
		}
	}
}

// A repeat under its key is answered as the first time was; another task is another request.
func TestTaskUnderAKey(t *testing.T) {
	t.Parallel()
	w := setup(t)
	body := func(title string) string {
		return `{"intent_type":"a.v1","to_agent":"` + approvals + `","payload":{},"human_task":{"title":"` + title + `"}}`
	}
	first := w.post("/v1/intents", body("one"), "Idempotency-Key: k").want(200)
	again := w.post("/v1/intents", body("one"), "Idempotency-Key: k").want(200)
	if again.text("intent_id") != first.text("intent_id") || again.text("status") != "WAITING" {
		t.Errorf("got %s, want %s again", again.raw, first.raw)
	}
	w.post("/v1/intents", body("two"), "Idempotency-Key: k").refused(409, "idempotency_conflict")
}

func TestMyTasks(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.intent(approvals) // no task
	first := w.ask(`{"title":"one","assignees":["ann"]}`)
	second := w.ask(`{"title":"two","assignees":["agent://acme/prod/bob"]}`)
	ids := func(query string) (ids []string) {
		a := w.get("/v1/me/tasks" + query).want(200)
		for _, part := range strings.Split(string(a.raw), `"intent_id":"`)[1:] {
			ids = append(ids, part[:len(first)])
		}
		return ids
	}
	for query, want := range map[string]string{
		"": second + " " + first, "?limit=1": second, "?owner_agent=" + approvals: second + " " + first,
		"?owner_agent=agent://acme/prod/bob": second, "?owner_agent=agent://acme/prod/else": "", "?cursor=" + second: first,
	} {
		if got := strings.Join(ids(query), " "); got != want {
			t.Errorf("%s lists %q, want %q", query, got, want)
		}
	}
	if a := w.get("/v1/me/tasks?limit=1").want(200); a.header.Get("Pannier-Next-Cursor") != second {
		t.Errorf("the next page is after %q, want %s", a.header.Get("Pannier-Next-Cursor"), second)
	}
	w.get("/v1/me/tasks?cursor=x").refused(422, "schema_invalid")
	w.post("/v1/intents/"+first+"/resume", `{"task_result":{"outcome":"approved"}}`).want(200)
	if got := strings.Join(ids(""), " "); got != second {
		t.Errorf("after the decision %q are listed, want %s", got, second)
	}
}

// A task is found behind however many that wait for others.
func TestMyTaskBehindThoseOfOthers(t *testing.T) {
	t.Parallel()
	w := setup(t)
	mine := w.ask(`{"assignees":["agent://acme/prod/bob"]}`)
	const other = `{"intent_type":"a.v1","to_agent":"` + approvals + `","payload":{},"human_task":{}}`
	w.post("/v1/intents:batch", `{"intents":[`+strings.Repeat(other+",", 999)+other+`]}`).want(200)
	w.ask(`{}`)
	a := w.get("/v1/me/tasks?owner_agent=agent://acme/prod/bob").want(200)
	if !strings.Contains(string(a.raw), mine) || a.header.Get("Pannier-Next-Cursor") != "" {
		t.Errorf("%.200s, going on at %q, want %s and the end", a.raw, a.header.Get("Pannier-Next-Cursor"), mine)
	}
}

// Reminders and escalation are in the log, with whom it waits for; the one it was escalated
// to finds it among the tasks.
func TestTaskIsEscalated(t *testing.T) {
	t.Parallel()
	w := setup(t)
	a := w.post("/v1/intents", `{"intent_type":"a.v1","to_agent":"`+approvals+`","payload":{},"human_task":{},
		"remind_after_seconds":1,"escalate_to":"agent://acme/prod/boss"}`).want(200)
	id := a.text("intent_id")
	if got := w.get("/v1/intents/" + id).text("intent.next_reminder_at"); got == "" {
		t.Error("nothing says when somebody is reminded")
	}
	events := w.get("/v1/intents/" + id + "/events").want(200)
	for end := time.Now().Add(time.Minute); !strings.Contains(string(events.raw), "escalated") && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		events = w.get("/v1/intents/" + id + "/events").want(200)
	}
	for path, want := range map[string]string{
		"events.4.event_type": "intent.reminder", "events.4.status": "WAITING", "events.4.details.pending_with.name": approvals,
		"events.5.event_type": "intent.escalated", "events.5.details.escalated_to": "agent://acme/prod/boss",
		"events.5.details.pending_with.name": "agent://acme/prod/boss", "events.5.actor": "pannier",
	} {
		if got := events.text(path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	if got := w.get("/v1/me/tasks?owner_agent=agent://acme/prod/boss").want(200); !strings.Contains(string(got.raw), id) {
		t.Errorf("whom it was escalated to does not find it: %s", got.raw)
	}
	w.post("/v1/intents/"+id+"/resume", `{"task_result":{"outcome":"approved"}}`).want(200)
}

// A key decides what it is asked, and nothing else: not what its own agent asks another.
// The log names whom the key proves, whatever its bearer says.
func TestWhoMayDecide(t *testing.T) {
	t.Parallel()
	keys := map[string]string{"sender": "agent://acme/prod/shop", "finance": approvals, "ann": "agent://acme/prod/ann", "boss": "agent://acme/prod/boss"}
	o := api.Options{Identify: func(key string) *api.Caller {
		if keys[key] == "" {
			return nil
		}
		return &api.Caller{Agents: []string{keys[key]}}
	}}
	call := direct(t, api.New(o, openJournal(t), nil, nil, slog.New(slog.DiscardHandler)))
	for _, row := range []struct {
		key, path, body string
		status          int
	}{
		{"sender", "resume", `{"task_result":{"outcome":"approved"}}`, 403},
		{"sender", "resolve", `{"status":"COMPLETED"}`, 403},
		{"sender", "resolve", `{"status":"FAILED"}`, 403},
		{"boss", "resume", `{"task_result":{"outcome":"approved"}}`, 404},
		{"sender", "resolve", `{"status":"CANCELED"}`, 200},
		{"ann", "resolve", `{"status":"COMPLETED"}`, 200},
		{"finance", "resume", `{"task_result":{"outcome":"approved"},"actor":"somebody else"}`, 200},
		{"finance", "resolve", `{"status":"COMPLETED"}`, 200},
	} {
		body := `{"intent_type":"a.v1","to_agent":"` + approvals + `","payload":{},"human_task":{"assignees":["agent://acme/prod/ann"]}}`
		id := call("POST", "/v1/intents", body, "x-api-key: sender").want(200).text("intent_id")
		a := call("POST", "/v1/intents/"+id+"/"+row.path, row.body, "x-api-key: "+row.key)
		if a.status != row.status {
			t.Errorf("%s with %s by %s: %d, want %d: %s", row.path, row.body, row.key, a.status, row.status, a.raw)
		}
		log := call("GET", "/v1/intents/"+id+"/events", "", "x-api-key: finance").want(200)
		if row.path == "resume" && row.status == 200 && (strings.Contains(string(log.raw), "somebody else") || log.text("events.5.actor") != approvals) {
			t.Errorf("the log does not say whose key decided: %s", log.raw)
		}
	}
}
