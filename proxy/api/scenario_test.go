package api_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"pannier/journal"
	"pannier/proxy/api"
)

// changeScenario has the shape of AXP's published files: two agents and a person, with no
// on_success.
const changeScenario = `{
  "scenario_id": "full.multi_agent.v1", "title": "compliance, risk, sign-off",
  "agents": [
    {"role": "compliance", "address": "compliance-checker-agent", "display_name": "Compliance Checker", "delivery_mode": "stream", "create_if_missing": true},
    {"role": "risk", "address": "risk-assessment-agent", "delivery_mode": "stream"}
  ],
  "humans": [{"role": "cab", "display_name": "Change Advisory Board (CAB)"}],
  "workflow": {"steps": [
    {"step_id": "compliance_check", "tool_id": "tool.agent.task.v1", "assigned_to": "compliance", "step_deadline_seconds": 60},
    {"step_id": "risk_assessment", "tool_id": "tool.agent.task.v1", "assigned_to": "risk", "step_deadline_seconds": 60},
    {"step_id": "cab_signoff", "tool_id": "tool.approval.human_signoff", "assigned_to": "cab", "requires_approval": true, "step_deadline_seconds": 3600,
     "remind_after_seconds": 900, "remind_interval_seconds": 900, "max_reminders": 2,
     "human_task": {"title": "CAB sign-off", "description": "Approve or reject.", "notify_email": "cab@acme.example", "assignees": ["cab", "boss"]}}
  ]},
  "intent": {"type": "intent.deployment.cab_approval.v1", "payload": {"change_id": "CHG-5", "version": 3.50}, "max_delivery_attempts": 3}
}`

// apply applies a scenario and returns the id of its intent.
func (w *world) apply(body string) string {
	w.t.Helper()
	return w.post("/v1/scenarios/apply", body).want(200).text("intent_id")
}

// step takes the intent of the step that an agent is given, and ends it.
func (w *world) stepOf(agent, result string) *answer {
	w.t.Helper()
	got := w.get("/v1/agents/" + agent + "/intents").want(200)
	if n := len(got.list("intents")); n != 1 {
		w.t.Fatalf("%s is given %d intents, want 1: %s", agent, n, got.raw)
	}
	w.post("/v1/intents/"+got.text("intents.0.intent_id")+"/resume", result).want(200)
	return got
}

// A scenario of AXP's shape runs to its end: each agent has the payload as it was given, the
// person decides, and whoever waits has the decision.
func TestScenarioRunsToItsEnd(t *testing.T) {
	t.Parallel()
	w := setup(t)
	applied := w.post("/v1/scenarios/apply", changeScenario).want(200)
	id := applied.text("intent_id")
	for path, want := range map[string]string{
		"status": "WAITING", "scenario_id": "full.multi_agent.v1", "pending_with": "compliance-checker-agent", "idempotent": "false",
		"compile_id": applied.text("workflow_compile_id"), "agents.0.created": "true", "agents.1.created": "false",
		"agents_provisioned.0.address": "compliance-checker-agent",
	} {
		if got := applied.text(path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if got := w.get("/v1/service-accounts/" + applied.text("agents_provisioned.0.service_account_id")).want(200); got.text("service_account.display_name") != "Compliance Checker" {
		t.Errorf("its account is %s", got.raw)
	}
	why := w.get("/v1/intents/" + id + "/why").want(200)
	if why.text("causes.0.code") != "awaiting_step" || why.text("causes.0.step_id") != "compliance_check" || !strings.Contains(why.text("text"), "compliance-checker-agent") || len(why.list("causes")) < 2 {
		t.Errorf("why does not say which step is awaited, and what for: %s", why.raw)
	}

	first := w.stepOf("compliance-checker-agent", `{"action":"complete","passed":true}`)
	if !strings.Contains(string(first.raw), `{"parent_payload":{"change_id": "CHG-5", "version": 3.50}`) || first.text("intents.0.intent_type") != "intent.deployment.cab_approval.v1" {
		t.Errorf("the first agent is given %s", first.raw)
	}
	second := w.stepOf("risk-assessment-agent", `{"action":"complete","score":35}`)
	if second.text("intents.0.payload.parent.previous_result.passed") != "true" || second.text("intents.0.payload.parent.step_id") != "risk_assessment" {
		t.Errorf("the second agent is not told what the first has said: %s", second.raw)
	}

	i := w.get("/v1/intents/" + id).want(200)
	for path, want := range map[string]string{
		"intent.status": "WAITING", "intent.lifecycle_waiting_reason": "WAITING_FOR_HUMAN", "intent.pending_with.type": "human", "intent.pending_with.name": "cab",
		"intent.steps.0.status": "COMPLETED", "intent.steps.1.status": "COMPLETED", "intent.steps.2.status": "IN_PROGRESS", "intent.steps.2.type": "human",
	} {
		if got := i.text(path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	task := i.text("intent.pending_with.ref")
	for _, owner := range []string{"cab", "boss"} {
		if got := w.get("/v1/inbox?owner_agent=" + owner).want(200); got.text("threads.0.thread_id") != task {
			t.Errorf("the task is not in the inbox of %s: %s", owner, got.raw)
		}
	}
	if got := w.get("/v1/me/tasks?owner_agent=cab").want(200); got.text("tasks.0.human_task.title") != "CAB sign-off" {
		t.Errorf("the person is asked %s", got.raw)
	}
	w.post("/v1/inbox/"+task+"/approve?owner_agent=cab", `{"comment":"fine"}`).want(200)

	i = w.get("/v1/intents/" + id).want(200)
	if i.text("intent.status") != "COMPLETED" || i.text("intent.result.outcome") != "approved" || i.text("intent.steps.2.status") != "COMPLETED" {
		t.Errorf("at its end it is %s", i.raw)
	}
	log := w.get("/v1/intents/" + id + "/events").want(200)
	for path, want := range map[string]string{
		"events.2.event_type": "intent.waiting", "events.2.waiting_reason": "WAITING_FOR_AGENT", "events.2.details.step.step_id": "compliance_check", "events.2.details.pending_with.name": "compliance-checker-agent",
		"events.3.event_type": "intent.in_progress", "events.3.details.reason": "step_done", "events.3.details.delayed.code": "awaiting_step",
		"events.6.waiting_reason": "WAITING_FOR_HUMAN", "events.6.details.pending_with.type": "human",
		"events.8.event_type": "intent.completed", "events.8.details.result.outcome": "approved",
	} {
		if got := log.text(path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
}

// Whoever is refused hears why, and the steps after it are never begun.
func TestScenarioFails(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.apply(changeScenario)
	w.stepOf("compliance-checker-agent", `{"action":"fail","reason":"no rollback plan"}`)
	i := w.get("/v1/intents/" + id).want(200)
	for path, want := range map[string]string{
		"intent.status": "FAILED", "intent.error.code": "step_failed", "intent.error.step_id": "compliance_check", "intent.error.step_outcome.reason": "no rollback plan",
		"intent.steps.0.status": "FAILED", "intent.steps.0.error": "no rollback plan", "intent.steps.1.status": "not_begun",
	} {
		if got := i.text(path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if got := w.get("/v1/agents/risk-assessment-agent/intents").want(200).list("intents"); len(got) != 0 {
		t.Errorf("the next agent is given %v", got)
	}
}

// What is done after a failure, time that passes, and those who are only told.
func TestScenarioTakesAnotherWay(t *testing.T) {
	t.Parallel()
	w := setup(t)
	const branching = `{"scenario_id":"rollout.v1","humans":[{"role":"ops","contact":"ops@acme.example"}],"workflow":{"entry_step":"roll_out","steps":[
	  {"step_id":"undo","assigned_to":"deployer","input":{"to":"v1"},"on_success":"tell"},
	  {"step_id":"roll_out","assigned_to":"deployer","on_failure":"undo","on_success":"done"},
	  {"step_id":"tell","runtime_type":"escalation","assigned_to":"ops","on_success":"rest"},
	  {"step_id":"rest","runtime_type":"delay","runtime_config":{"seconds":3600},"on_success":"done"},
	  {"step_id":"done","tool_id":"tool.agent.task.v1","assigned_to":"deployer"}]},
	 "intent":{"type":"rollout.v1"}}`
	id := w.apply(branching)
	w.stepOf("deployer", `{"action":"fail","reason":"no"}`)
	undo := w.stepOf("deployer", `{"action":"complete"}`)
	if undo.text("intents.0.payload.parent.input.to") != "v1" || undo.text("intents.0.payload.parent.step_id") != "undo" {
		t.Errorf("after the failure the agent is given %s", undo.raw)
	}
	if got := w.get("/v1/inbox?owner_agent=ops@acme.example").want(200); got.text("threads.0.thread_id") != id {
		t.Errorf("it is not in the inbox of whom it was escalated to: %s", got.raw)
	}
	i := w.get("/v1/intents/" + id).want(200)
	if i.text("intent.lifecycle_waiting_reason") != "WAITING_FOR_TIME" || i.text("intent.pending_with.type") != "internal" || i.text("intent.steps.4.status") != "not_begun" {
		t.Errorf("while time passes it is shown as %s", i.raw)
	}
	why := w.get("/v1/intents/" + id + "/why").want(200)
	if why.text("causes.1.code") != "scheduled" || why.text("causes.1.until") == "" {
		t.Errorf("why does not say until when: %s", why.raw)
	}
	w.post("/v1/intents/"+id+"/resume", `{}`).refused(409, "invalid_transition")
	rest := i.text("intent.pending_with.ref")
	if got := w.get("/v1/intents/" + rest).want(200); got.text("intent.wakes_at") == "" || got.text("intent.lifecycle_waiting_reason") != "WAITING_FOR_TIME" {
		t.Errorf("the delay is shown as %s", got.raw)
	}
	w.post("/v1/intents/"+rest+"/resume", `{"reason":"now"}`).want(200) // it need not pass
	w.stepOf("deployer", `{"n":1}`)
	if i = w.get("/v1/intents/" + id).want(200); i.text("intent.status") != "COMPLETED" || i.text("intent.result.n") != "1" {
		t.Errorf("at its end it is %s", i.raw)
	}
}

// A decision that is said to the whole is one on the step that somebody is asked, and is
// held to it.
func TestScenarioIsDecided(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.apply(`{"scenario_id":"ask.v1","workflow":{"steps":[{"step_id":"ask","assigned_to":"ann","requires_approval":true},{"step_id":"do","assigned_to":"worker"}]},"intent":{"type":"ask.v1"}}`)
	w.post("/v1/intents/"+id+"/resume", `{"task_result":{"outcome":"perhaps"}}`).refused(422, "schema_invalid")
	w.post("/v1/intents/"+id+"/resume", `{"task_result":{"outcome":"approved"}}`, "Idempotency-Key: d").want(200)
	w.post("/v1/intents/"+id+"/resume", `{"task_result":{"outcome":"approved"}}`, "Idempotency-Key: d").want(200)
	w.post("/v1/intents/"+id+"/resume", `{"task_result":{"outcome":"approved"}}`).refused(409, "invalid_transition") // nobody is asked any more
	if i := w.get("/v1/intents/" + id).want(200); i.text("intent.steps.0.status") != "COMPLETED" || i.text("intent.pending_with.name") != "worker" {
		t.Errorf("after the decision it is %s", i.raw)
	}
}

// One key makes one scenario, wherever the key is given.
func TestScenarioUnderAKey(t *testing.T) {
	t.Parallel()
	w := setup(t)
	keyed := strings.Replace(changeScenario, `"scenario_id"`, `"idempotency_key":"k-1","scenario_id"`, 1)
	first := w.post("/v1/scenarios/apply", keyed).want(200)
	again := w.post("/v1/scenarios/apply", changeScenario, "Idempotency-Key: k-1").want(200)
	if again.text("intent_id") != first.text("intent_id") || again.text("idempotent") != "true" || again.header.Get("Idempotency-Replayed") != "true" || again.text("agents.0.created") != "false" {
		t.Errorf("a repeat is answered %s", again.raw)
	}
	if got := w.get("/v1/agents/compliance-checker-agent/intents").want(200).list("intents"); len(got) != 1 {
		t.Errorf("the first step is there %d times", len(got))
	}
	w.post("/v1/scenarios/apply", strings.Replace(keyed, "CHG-5", "CHG-6", 1)).refused(409, "idempotency_conflict")
	w.post("/v1/scenarios/apply", keyed, "Idempotency-Key: k-2").refused(400, "invalid_request")
}

// Without steps, the one agent has the intent, or the one human is asked.
func TestScenarioWithoutSteps(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.apply(`{"scenario_id":"one.v1","agents":[{"role":"a","address":"worker"}],"intent":{"type":"work.v1","payload":{"n":1}}}`)
	w.stepOf("worker", `{"n":2}`)
	if got := w.get("/v1/intents/" + id).want(200); got.text("intent.result.n") != "2" {
		t.Errorf("the one agent has ended it, and it is %s", got.raw)
	}
	w.apply(`{"scenario_id":"one.v1","humans":[{"role":"ann"}],"intent":{"type":"work.v1","human_task":{"title":"Do it"}}}`)
	if got := w.get("/v1/me/tasks?owner_agent=ann").want(200); got.text("tasks.0.human_task.title") != "Do it" {
		t.Errorf("the one human is asked %s", got.raw)
	}
}

// Each mistake is named with where it is; apply refuses what validate names, and does
// nothing.
func TestScenarioMistakesAreNamed(t *testing.T) {
	t.Parallel()
	w := setup(t)
	steps := func(s string) string {
		return `{"scenario_id":"s.v1","agents":[{"role":"a","address":"worker"}],"humans":[{"role":"h"}],"workflow":{"steps":[` + s + `]},"intent":{"type":"t.v1"}}`
	}
	long := strings.Repeat("x", 101)
	for _, c := range []struct{ rule, body, pointer string }{
		{"no id", `{"intent":{"type":"t.v1"}}`, "/scenario_id"},
		{"no intent", `{"scenario_id":"s.v1"}`, "/intent"},
		{"no type", `{"scenario_id":"s.v1","intent":{"payload":{}}}`, "/intent/type"},
		{"bad id", `{"scenario_id":"S v1","intent":{"type":"t.v1"}}`, "/scenario_id"},
		{"payload", `{"scenario_id":"s.v1","intent":{"type":"t.v1","payload":[]}}`, "/intent/payload"},
		{"deadline", `{"scenario_id":"s.v1","intent":{"type":"t.v1","deadline_at":"2020-01-01T00:00:00Z"}}`, "/intent/deadline_at"},
		{"nobody to do it", `{"scenario_id":"s.v1","intent":{"type":"t.v1"}}`, "/workflow/steps"},
		{"two to do it", `{"scenario_id":"s.v1","agents":[{"role":"a","address":"x"},{"role":"b","address":"y"}],"intent":{"type":"t.v1"}}`, "/workflow/steps"},
		{"an older form", `{"scenario_id":"s.v1","agents":[{"role":"a","address":"x"}],"workflow_steps":[],"intent":{"type":"t.v1"}}`, "/workflow_steps"},
		{"a macro", `{"scenario_id":"s.v1","workflow":{"macro_id":"m"},"intent":{"type":"t.v1"}}`, "/workflow/macro_id"},
		{"agent without address", `{"scenario_id":"s.v1","agents":[{"role":"a"}],"intent":{"type":"t.v1"}}`, "/agents/0/address"},
		{"agent without role", `{"scenario_id":"s.v1","agents":[{"address":"a"}],"intent":{"type":"t.v1"}}`, "/agents/0/role"},
		{"delivery mode", `{"scenario_id":"s.v1","agents":[{"role":"a","address":"x","delivery_mode":"push"}],"intent":{"type":"t.v1"}}`, "/agents/0/delivery_mode"},
		{"one role twice", `{"scenario_id":"s.v1","agents":[{"role":"a","address":"x"}],"humans":[{"role":"a"}],"intent":{"type":"t.v1"}}`, "/humans/0/role"},
		{"a human of no address", `{"scenario_id":"s.v1","humans":[{"role":"the boss"}],"intent":{"type":"t.v1"}}`, "/humans/0/role"},
		{"no step id", steps(`{"assigned_to":"a"}`), "/workflow/steps/0/step_id"},
		{"a long step id", steps(`{"step_id":"` + long + `","assigned_to":"a"}`), "/workflow/steps/0/step_id"},
		{"two of a name", steps(`{"step_id":"x","assigned_to":"a"},{"step_id":"x","assigned_to":"a"}`), "/workflow/steps/1/step_id"},
		{"no step but text", steps(`"x"`), "/workflow/steps/0"},
		{"nobody does it", steps(`{"step_id":"x","tool_id":"tool.agent.task.v1"}`), "/workflow/steps/0/assigned_to"},
		{"nothing is done", steps(`{"step_id":"x"}`), "/workflow/steps/0/tool_id"},
		{"nobody is asked", steps(`{"step_id":"x","requires_approval":true}`), "/workflow/steps/0/assigned_to"},
		{"no address", steps(`{"step_id":"x","assigned_to":"the boss"}`), "/workflow/steps/0/assigned_to"},
		{"an agent is to approve", steps(`{"step_id":"x","tool_id":"tool.agent.task.v1","assigned_to":"a","requires_approval":true}`), "/workflow/steps/0/requires_approval"},
		{"on_success", steps(`{"step_id":"x","assigned_to":"a","on_success":"y"}`), "/workflow/steps/0/on_success"},
		{"on_failure", steps(`{"step_id":"x","assigned_to":"a","on_failure":"y"}`), "/workflow/steps/0/on_failure"},
		{"it leads to itself", steps(`{"step_id":"x","assigned_to":"a","on_failure":"x"}`), "/workflow/steps/0/on_failure"},
		{"it leads back", steps(`{"step_id":"x","assigned_to":"a","on_success":"y"},{"step_id":"y","assigned_to":"a","on_success":"x"}`), "/workflow/steps/1/on_success"},
		{"entry", strings.Replace(steps(`{"step_id":"x","assigned_to":"a"}`), `{"steps"`, `{"entry_step":"y","steps"`, 1), "/workflow/entry_step"},
		{"runtime type", steps(`{"step_id":"x","runtime_type":"sleep"}`), "/workflow/steps/0/runtime_type"},
		{"a notification", steps(`{"step_id":"x","runtime_type":"notification","runtime_config":{"to":"h"}}`), "/workflow/steps/0/runtime_config/target"},
		{"a notification as a tool", steps(`{"step_id":"x","tool_id":"tool.notification.notify_owner","assigned_to":"h"}`), "/workflow/steps/0/runtime_config/target"},
		{"how long", steps(`{"step_id":"x","runtime_type":"delay"}`), "/workflow/steps/0/runtime_config/seconds"},
		{"no time", steps(`{"step_id":"x","runtime_type":"timeout","runtime_config":{"seconds":0}}`), "/workflow/steps/0/runtime_config/seconds"},
		{"over before it", steps(`{"step_id":"x","runtime_type":"delay","runtime_config":{"seconds":60},"step_deadline_seconds":60}`), "/workflow/steps/0/step_deadline_seconds"},
		{"whom", steps(`{"step_id":"x","runtime_type":"escalation"}`), "/workflow/steps/0/assigned_to"},
		{"retries", steps(`{"step_id":"x","assigned_to":"a","retry":{"max_retries":11}}`), "/workflow/steps/0/retry/max_retries"},
		{"retry delay", steps(`{"step_id":"x","assigned_to":"a","retry":{"retry_delay_seconds":0}}`), "/workflow/steps/0/retry/retry_delay_seconds"},
		{"deadline of a step", steps(`{"step_id":"x","assigned_to":"a","step_deadline_seconds":0}`), "/workflow/steps/0/step_deadline_seconds"},
		{"reminders of an agent", steps(`{"step_id":"x","assigned_to":"a","remind_after_seconds":5}`), "/workflow/steps/0/remind_after_seconds"},
		{"task", steps(`{"step_id":"x","assigned_to":"h","human_task":{"task_type":"aproval"}}`), "/workflow/steps/0/human_task/task_type"},
		{"too many", steps(`{"step_id":"x","assigned_to":"a"}` + strings.Repeat(`,{"step_id":"x","assigned_to":"a"}`, 100)), "/workflow/steps"},
	} {
		v := w.post("/v1/scenarios/validate", c.body).want(200)
		if v.text("valid") != "false" || !strings.Contains(fmt.Sprint(v.list("errors")), c.pointer+" ") {
			t.Errorf("%s: want an error at %s: %s", c.rule, c.pointer, v.raw)
		}
		a := w.post("/v1/scenarios/apply", c.body)
		if (a.status != 422 && a.status != 400) || !strings.Contains(string(a.raw), `"pointer":"`+c.pointer+`"`) {
			t.Errorf("%s: apply does not refuse it at %s: %d %s", c.rule, c.pointer, a.status, a.raw)
		}
	}
	if got := w.get("/v1/intents").want(200).list("intents"); len(got) != 0 {
		t.Errorf("what was refused has made %v", got)
	}
	w.post("/v1/scenarios/validate", `[]`).refused(422, "schema_invalid")
	w.post("/v1/scenarios/apply", `{"scenario_id":"s.v1","intent":{"type":"t.v1","payload":{"x":"`+strings.Repeat("x", 64<<10)+`"}}}`).refused(413, "payload_too_large")
}

// All mistakes are named at once, and what is perhaps not meant is said.
func TestScenarioIsValidated(t *testing.T) {
	t.Parallel()
	w := setup(t)
	v := w.post("/v1/scenarios/validate", changeScenario).want(200)
	if v.text("valid") != "true" || len(v.list("errors")) != 0 || len(v.list("warnings")) != 0 {
		t.Errorf("a good one is answered %s", v.raw)
	}
	many := strings.NewReplacer(`"assigned_to": "cab"`, `"assigned_to": "the cab"`, `"title": "CAB sign-off"`, `"title": 7`, `"deployment`, `"Deployment`, `"intent.d`, `"Intent.d`).Replace(changeScenario)
	if v := w.post("/v1/scenarios/validate", many).want(200); len(v.list("errors")) != 3 {
		t.Errorf("three mistakes are named as %s", v.raw)
	}
	for _, c := range []struct{ rule, was, is, warning string }{
		{"misspelt", `"step_deadline_seconds": 60}`, `"step_deadline_second": 60}`, "/workflow/steps/0/step_deadline_second is not known, and means nothing here (did you mean step_deadline_seconds?)"},
		{"a role misspelt", `"assigned_to": "risk"`, `"assigned_to": "rsk"`, "(did you mean risk?)"},
		{"never done", `"on_success"`, ``, ""},
		{"http", `"delivery_mode": "stream", "create`, `"delivery_mode": "http", "callback_url": "https://x.example", "create`, "/agents/0/delivery_mode changes nothing"},
		{"only after a failure", `"step_id": "compliance_check",`, `"step_id": "compliance_check", "on_failure": "cab_signoff",`, "only after a failure: cab_signoff"},
		{"not tried again", `"requires_approval": true,`, `"requires_approval": true, "retry": {"max_retries": 1},`, "/workflow/steps/2/retry means nothing"},
		{"out of reach", `"workflow": {`, `"workflow": {"entry_step": "risk_assessment",`, "/workflow/steps/0 is never done"},
	} {
		v := w.post("/v1/scenarios/validate", strings.Replace(changeScenario, c.was, c.is, 1)).want(200)
		if v.text("valid") != "true" || !strings.Contains(fmt.Sprint(v.list("warnings")), c.warning) {
			t.Errorf("%s: want the warning %q: %s", c.rule, c.warning, v.raw)
		}
	}
	w.post("/v1/schemas", `{"semantic_type":"intent.deployment.cab_approval.v1","compatibility_mode":"strict","schema_json":{"required":["owner"]}}`).want(200)
	if v := w.post("/v1/scenarios/validate", changeScenario).want(200); !strings.Contains(fmt.Sprint(v.list("errors")), "/intent/payload") {
		t.Errorf("a payload that does not fit its schema is answered %s", v.raw)
	}
	w.post("/v1/scenarios/apply", changeScenario).refused(422, "schema_invalid")
}

// A step tells a target of the configuration, and the workflow goes on at once.
func TestScenarioTells(t *testing.T) {
	t.Parallel()
	w := setup(t, func(o *api.Options) {
		o.Notifies = func(target, to string) (string, error) {
			if target != "" && target != "chat" {
				return "", errors.New("is no target")
			}
			return "chat", nil
		}
	})
	const telling = `{"scenario_id":"tell.v1","humans":[{"role":"ops","contact":"acme/prod/ops"}],"agents":[{"role":"a","address":"worker"}],"intent":{"type":"t.v1"},"workflow":{"steps":[
		{"step_id":"do","assigned_to":"a"},
		{"step_id":"tell","runtime_type":"notification","title":"It is done","runtime_config":{"target":"chat","to":"ops","message":"All of it."}}]}}`
	if v := w.post("/v1/scenarios/validate", telling).want(200); v.text("valid") != "true" || len(v.list("warnings")) != 0 {
		t.Errorf("it is answered %s", v.raw)
	}
	i, err := w.journal.Get(journal.ID(uuid.MustParse(w.apply(telling))))
	if err != nil {
		t.Fatal(err)
	}
	if c := i.Plan.Parts[1].Child; c.ToAgent != "notify:chat" || string(c.Payload) != `{"title":"It is done","text":"All of it.","to":"agent://acme/prod/ops"}` {
		t.Errorf("the step is %v", c)
	}
	if a := w.get("/v1/intents/" + i.ID.String()).want(200); a.text("intent.steps.1.type") != "notification" || a.text("intent.steps.1.to") != "notify:chat" {
		t.Errorf("it is shown as %s", a.raw)
	}
	v := w.post("/v1/scenarios/validate", strings.Replace(telling, `"chat"`, `"chta"`, 1)).want(200)
	if !strings.Contains(fmt.Sprint(v.list("errors")), "/workflow/steps/1/runtime_config/target is no target") {
		t.Errorf("a target of no name is answered %s", v.raw)
	}
	more := strings.Repeat(`{"step_id":"x","runtime_type":"notification","assigned_to":"ops"},`, 16)
	if v := w.post("/v1/scenarios/validate", strings.Replace(telling, `{"step_id":"do"`, more+`{"step_id":"do"`, 1)).want(200); !strings.Contains(fmt.Sprint(v.list("errors")), "the limit is 16") {
		t.Errorf("seventeen that tell are answered %s", v.raw)
	}
}
