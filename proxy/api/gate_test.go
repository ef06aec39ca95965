package api_test

import (
	"fmt"
	"strings"
	"testing"

	"pannier/proxy/api"
)

const gatedBody = `{"intent_type":"order.pay.v1","to_agent":"billing","payload":{"amount":900},"delivery":{"gates":`

// gated sends an intent with gates and returns its id.
func (w *world) gated(gates string) string {
	w.t.Helper()
	a := w.post("/v1/intents", gatedBody+gates+`}}`).want(200)
	if got := a.text("status"); got != "SUBMITTED" {
		w.t.Fatalf("accepted as %s, want SUBMITTED", got)
	}
	return a.text("intent_id")
}

// Manager, then finance: each has a task, the sender sees whom it waits for, and the app
// gets it when both have approved.
func TestGatesInTurn(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.gated(`["agent://acme/prod/manager",{"to":"agent://acme/prod/finance","title":"Pay 900 EUR?"}]`)
	for _, want := range []struct{ to, title string }{
		{"agent://acme/prod/manager", "Approve order.pay.v1 for billing"}, {"agent://acme/prod/finance", "Pay 900 EUR?"},
	} {
		i := w.get("/v1/intents/" + id).want(200)
		for path, value := range map[string]string{
			"intent.status": "SUBMITTED", "intent.lifecycle_waiting_reason": "WAITING_FOR_HUMAN",
			"intent.pending_with.type": "human", "intent.pending_with.name": want.to,
		} {
			if got := i.text(path); got != value {
				t.Errorf("%s is %s, want %s", path, got, value)
			}
		}
		why := w.get("/v1/intents/" + id + "/why").want(200)
		if why.text("causes.0.code") != "awaiting_approval" || why.text("causes.0.waits_for") != want.to || !strings.Contains(why.text("text"), want.to+" is asked") {
			t.Errorf("why does not say that %s is asked: %s", want.to, why.raw)
		}
		if got := w.get("/v1/agents/billing/intents").want(200).list("intents"); len(got) != 0 {
			t.Fatalf("the app was given what %s has not approved", want.to)
		}
		tasks := w.get("/v1/me/tasks?owner_agent=" + want.to).want(200)
		if len(tasks.list("tasks")) != 1 || tasks.text("tasks.0.human_task.title") != want.title {
			t.Fatalf("%s is to decide %s, want %q alone", want.to, tasks.raw, want.title)
		}
		task := tasks.text("tasks.0.intent_id")
		if ref := i.text("intent.pending_with.ref"); ref != task {
			t.Errorf("it waits for %s, want %s", ref, task)
		}
		asked := w.get("/v1/intents/" + task).want(200)
		if asked.text("intent.payload.parent_payload.amount") != "900" || asked.text("intent.parent_intent_id") != id {
			t.Errorf("what is to be approved is not in the task: %s", asked.raw)
		}
		w.post("/v1/intents/"+task+"/resume", `{"task_result":{"outcome":"approved"},"actor":"ann"}`).want(200)
	}
	i := w.get("/v1/intents/" + id).want(200)
	if i.text("intent.gates.0.status") != "approved" || i.text("intent.gates.1.decided_by") != "ann" || i.text("intent.pending_with.name") != "" {
		t.Errorf("after both approvals it is shown as %s", i.raw)
	}
	log := w.get("/v1/intents/" + id + "/events").want(200)
	for path, want := range map[string]string{
		"events.2.event_type": "intent.human_task_assigned", "events.2.status": "SUBMITTED", "events.2.details.pending_with.name": "agent://acme/prod/manager",
		"events.3.event_type": "intent.transfer", "events.3.actor": "ann", "events.3.details.reason": "gate_approved", "events.3.details.delayed.code": "awaiting_approval",
		"events.5.details.gate.to": "agent://acme/prod/finance",
	} {
		if got := log.text(path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	if got := w.get("/v1/agents/billing/intents").want(200); got.text("intents.0.intent_id") != id {
		t.Errorf("approved by all, the app was not given it: %s", got.raw)
	}
}

// A refusal is the end, and the sender reads whose it was.
func TestGateRefused(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.gated(`[{"all_of":["manager","finance"]}]`)
	w.post("/v1/intents/"+id+"/resume", `{}`).refused(409, "invalid_transition")
	tasks := w.get("/v1/me/tasks?owner_agent=finance").want(200)
	w.post("/v1/intents/"+tasks.text("tasks.0.intent_id")+"/resume", `{"task_result":{"outcome":"rejected","comment":"too far"},"actor":"bob"}`).want(200)
	i := w.get("/v1/intents/" + id).want(200)
	if i.text("intent.status") != "CANCELED" || i.text("intent.reason") != "not approved by finance: rejected: too far" || i.text("intent.task_result.comment") != "too far" {
		t.Errorf("refused, it is shown as %s", i.raw)
	}
	if i.text("intent.gates.0.status") != "not_needed" || i.text("intent.gates.1.status") != "refused" {
		t.Errorf("its gates are shown as %s", i.raw)
	}
	if left := w.get("/v1/me/tasks").want(200).list("tasks"); len(left) != 0 {
		t.Errorf("somebody is still asked: %v", left)
	}
	log := w.get("/v1/intents/" + id + "/events").want(200)
	if !strings.Contains(string(log.raw), `"ended_by":"gate_refused"`) {
		t.Errorf("the log does not say why it ended: %s", log.raw)
	}
}

func TestWrongGatesAreRefused(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, c := range []struct{ rule, gates, pointer string }{
		{"no list", `{"to":"a"}`, "/delivery/gates"},
		{"nobody", `[]`, "/delivery/gates"},
		{"nobody of several", `[{"any_of":[]}]`, "/delivery/gates/0/any_of"},
		{"no address", `["a",{"title":"x"}]`, "/delivery/gates/1/to"},
		{"bad address", `["a",{"all_of":["b","agent://"]}]`, "/delivery/gates/1/all_of/1"},
		{"a number", `[7]`, "/delivery/gates/0"},
		{"both", `[{"all_of":["a"],"any_of":["b"]}]`, "/delivery/gates/0"},
		{"unknown field", `[{"to":"a","expire_seconds":5}]`, "/delivery/gates/0/expire_seconds"},
		{"groups in groups", `[{"all_of":[{"to":"a","any_of":["b"]}]}]`, "/delivery/gates/0/all_of/0/any_of"},
		{"bad task", `[{"to":"a","human_task":{"task_type":"aproval"}}]`, "/delivery/gates/0/human_task/task_type"},
		{"two titles", `[{"to":"a","title":"x","human_task":{}}]`, "/delivery/gates/0/title"},
		{"no time", `[{"to":"a","expires_seconds":0}]`, "/delivery/gates/0/expires_seconds"},
		{"nothing to escalate after", `[{"to":"a","escalate_to":"b"}]`, "/delivery/gates/0/escalate_to"},
		{"too many", `["a"` + strings.Repeat(`,"a"`, 16) + `]`, "/delivery/gates"},
		{"too many in groups", `[{"any_of":["a"` + strings.Repeat(`,"a"`, 8) + `]},{"any_of":["a"` + strings.Repeat(`,"a"`, 8) + `]}]`, "/delivery/gates"},
	} {
		a := w.post("/v1/intents", gatedBody+c.gates+`}}`)
		if a.status != 422 || !strings.Contains(string(a.raw), `"pointer":"`+c.pointer+`"`) {
			t.Errorf("%s: want a fault at %s: %d %s", c.rule, c.pointer, a.status, a.raw)
		}
	}
	w.post("/v1/intents", `{"intent_type":"a.v1","to_agent":"b","payload":{},"human_task":{},"delivery":{"gates":["a"]}}`).refused(400, "invalid_request")
}

// The gates are part of what was asked for, and can be given as a header.
func TestGatesUnderAKey(t *testing.T) {
	t.Parallel()
	w := setup(t)
	first := w.post("/v1/intents", gatedBody+`["a","b"]}}`, "Idempotency-Key: k").want(200)
	again := w.post("/v1/intents", gatedBody+`["a","b"]}}`, "Idempotency-Key: k").want(200)
	if again.text("intent_id") != first.text("intent_id") || len(w.get("/v1/me/tasks").want(200).list("tasks")) != 1 {
		t.Errorf("a repeat made another: %s", again.raw)
	}
	w.post("/v1/intents", gatedBody+`["a"]}}`, "Idempotency-Key: k").refused(409, "idempotency_conflict")
	short := w.post("/v1/agents/billing/intents/order.pay.v1", `{"amount":1}`, "Pannier-Gates: agent://acme/prod/manager, agent://acme/prod/finance").want(200)
	gates := w.get("/v1/intents/" + short.text("intent_id")).want(200)
	if gates.text("intent.gates.0.to") != "agent://acme/prod/manager" || gates.text("intent.gates.1.status") != "not_asked" {
		t.Errorf("as a header the gates are %s", gates.raw)
	}
}

// What is too much for one commit is refused where it is sent, by the gate that is too
// much, and not at the decision that would open it.
func TestGatesThatAreTooLarge(t *testing.T) {
	t.Parallel()
	w := setup(t, func(o *api.Options) { o.MaxBody = 1 << 20 })
	gates := func(n, size int) string {
		return `[` + many(n, `{"to":"aN","human_task":{"title":"T","form_schema":{"description":"`+strings.Repeat("x", size)+`"}}}`) + `]`
	}
	w.gated(gates(12, 5_000))
	a := w.post("/v1/intents", gatedBody+gates(14, 5_000)+`}}`).refused(422, "schema_invalid")
	if why := fmt.Sprint(a.at("error.details").(map[string]any)["/delivery/gates/12"]); !strings.Contains(why, "65536 together") {
		t.Errorf("it is refused as %.300s", a.raw)
	}
	large := strings.Replace(gatedBody, `"amount":900`, `"amount":"`+strings.Repeat("9", 950_000)+`"`, 1)
	a = w.post("/v1/intents", large+gates(12, 5_000)+`}}`).refused(413, "payload_too_large")
	if !strings.Contains(a.text("detail"), "gates: ") {
		t.Errorf("it is refused as %.300s", a.raw)
	}
	w.post("/v1/intents", large+gates(12, 2_000)+`}}`).want(200)

	id := w.gated(`[{"to":"a"}]`)
	task := w.get("/v1/intents/" + id).want(200).text("intent.pending_with.ref")
	w.post("/v1/intents/"+task+"/resume", `{"task_result":{"outcome":"approved","data":{"x":"`+strings.Repeat("x", 256<<10)+`"}}}`).refused(413, "payload_too_large")
	w.post("/v1/intents/"+task+"/resume", `{"task_result":{"outcome":"approved"}}`).want(200)
}
