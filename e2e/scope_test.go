package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// scope has every family of AXP that is served, in the order of its documents: what is
// tried of it here, against a running sidecar, and the tests that go to its ground.
var scope = []struct {
	line  string
	try   func(*scoped)
	tests []string
}{
	{"health", (*scoped).health, []string{"TestHealthInAllSpellings", "TestOnlyHealthIsOpen"}},
	{"intents: create, get", (*scoped).createGet, []string{"TestCreateAnswersExactlyAXPsFourKeys", "TestAnswersFitAXPsSchemas"}},
	{"intents: list", (*scoped).list, []string{"TestListPagesNewestFirst"}},
	{"intents: events, and as a stream", (*scoped).events, []string{"TestEventsHaveAXPsShape", "TestStreamsMissNoEvent"}},
	{"intents: resolve, resume, controls, policy", (*scoped).words, []string{"TestResolveAnswersFourKeys", "TestResumeHasTwoMeanings", "TestControlsAndPolicy"}},
	{"intents: bulk-cancel", (*scoped).bulkCancel, []string{"TestBulkCancel"}},
	{"agents: stream of intents", (*scoped).agentStream, []string{"TestStreamLog", "TestQuirkyClients"}},
	{"agents: intents as plain JSON", (*scoped).poll, []string{"TestPollItemHasItsFieldsInOrder"}},
	{"inbox: list, changes, thread, reply, delegate, approve, reject, messages/delete", (*scoped).inbox, []string{"TestInboxConformance", "TestInboxHasWhatIsSentAndWasSent", "TestInboxChanges", "TestMessages", "TestDelegate"}},
	{"inbox: read", (*scoped).inboxRead, []string{"TestTaskIsAThread"}},
	{"approvals: decision", (*scoped).approvals, []string{"TestApprovals"}},
	{"human tasks: create, resume", (*scoped).humanTasks, []string{"TestHumanTaskWaits", "TestHumanTaskIsDecided", "TestTaskOutlivesKills"}},
	{"me/tasks", (*scoped).myTasks, []string{"TestMyTasks"}},
	{"webhooks: subscriptions, events, replay", (*scoped).webhooks, []string{"TestEventsReachSubscribers", "TestFailingCallbackIsReplayed"}},
	{"capabilities", (*scoped).capabilities, []string{"TestCapabilities"}},
	{"agents: list, get", (*scoped).agents, []string{"TestAgents"}},
	{"mesh: heartbeat, agents, kill, resume, events", (*scoped).mesh, []string{"TestHeartbeats", "TestHealth", "TestKill", "TestKilledAgentWaits"}},
	{"scenarios: validate, apply", (*scoped).scenarios, []string{"TestScenarios", "TestScenarioRunsToItsEnd", "TestScenarioMistakesAreNamed"}},
	{"schemas", (*scoped).schemas, []string{"TestPayloadIsHeldToItsSchema", "TestSchemaRefusals"}},
	{"deliveries, of dead letters", (*scoped).deliveries, []string{"TestDeadLettersAreDeliveries", "TestReplay"}},
	{"service accounts, with keys", (*scoped).accounts, []string{"TestServiceAccounts", "TestKeysAreSecret"}},
	{"out of scope: principals, aliases, routing, transports and the rest", (*scoped).outOfScope, []string{"TestOutOfScope"}},
}

// scoped is a sidecar of which every line of the scope is tried.
type scoped struct {
	*testing.T
	s   *sidecar
	key string // sent with each request; "": none
}

// TestScope: every line of AXP's scope that is served works against a running sidecar, and
// has tests of its own.
func TestScope(t *testing.T) {
	t.Parallel()
	exists := testsInTree(t)
	s := start(t, setup{name: "alone", agents: []string{billing, "desk=inbox"}})
	for _, row := range scope {
		for _, name := range row.tests {
			if !exists[name] {
				t.Errorf("%q is said to be proved by %s, which is in no test file", row.line, name)
			}
		}
		if len(row.tests) == 0 {
			t.Errorf("%q has no test", row.line)
		}
		t.Run(strings.SplitN(row.line, ",", 2)[0], func(t *testing.T) { row.try(&scoped{T: t, s: s}) })
	}
}

// ok makes a request that must succeed, and returns what was said.
func (c *scoped) ok(method, path string, body any) said {
	c.Helper()
	return c.want(200, method, path, body)
}

func (c *scoped) want(code int, method, path string, body any) said {
	c.Helper()
	var header []string
	if c.key != "" {
		header = []string{"Authorization", "Bearer " + c.key}
	}
	a := c.s.call(method, path, body, header...)
	if a.code != code {
		c.Fatalf("%s %s: want %d, got %v", method, path, code, a)
	}
	out := said{t: c.T, raw: a.body}
	if err := json.Unmarshal(a.body, &out.v); err != nil {
		c.Fatalf("%s %s: %v: %s", method, path, err, a.body)
	}
	return out
}

// said is a JSON object that was answered.
type said struct {
	t   *testing.T
	raw []byte
	v   any
}

// at reads a member by its path, as text.
func (s said) at(path string) string {
	s.t.Helper()
	v := s.v
	for name := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[name]
		case []any:
			n := 0
			if fmt.Sscan(name, &n); n >= len(in) {
				return ""
			}
			v = in[n]
		default:
			return ""
		}
	}
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// is wants values at paths: path, value, path, value…
func (s said) is(pairs ...string) said {
	s.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if got := s.at(pairs[i]); got != pairs[i+1] {
			s.t.Errorf("%s is %q, want %q: %s", pairs[i], got, pairs[i+1], s.raw)
		}
	}
	return s
}

func (c *scoped) send(to string, options map[string]any) string {
	c.Helper()
	return c.ok("POST", "/v1/intents", message(to, map[string]any{"n": 1}, options)).at("intent_id")
}

func (c *scoped) health() {
	for _, path := range []string{"/health", "/v1/health"} {
		c.ok("GET", path, nil).is("ok", "true")
	}
}

func (c *scoped) createGet() {
	id := c.send("nobody", nil)
	c.ok("GET", "/v1/intents/"+id, nil).is("intent.intent_id", id, "intent.payload.n", "1", "intent.lifecycle_status", "SUBMITTED")
}

func (c *scoped) list() {
	id := c.send("nobody", nil)
	c.ok("GET", "/v1/intents?limit=1&status=pending&to_agent=nobody", nil).is("intents.0.intent_id", id)
}

func (c *scoped) events() {
	id := c.send("nobody", nil)
	c.ok("POST", "/v1/intents/"+id+"/resolve", `{"status":"COMPLETED","result":{"n":2}}`)
	c.ok("GET", "/v1/intents/"+id+"/events?since=1", nil).is("events.0.event_type", "intent.submitted", "events.2.details.result.n", "2")
	if last := c.s.wait(id); last.Type != "intent.completed" {
		c.Errorf("the stream ends with %+v", last)
	}
}

func (c *scoped) words() {
	id := c.send("nobody", nil)
	c.ok("POST", "/v1/intents/"+id+"/controls", `{"controls_patch":{"timeout_seconds":5}}`).is("applied", "true")
	c.ok("POST", "/v1/intents/"+id+"/policy", `{"envelope_patch":{"max_retry_count":2}}`).is("applied", "true")
	c.ok("POST", "/v1/intents/"+id+"/resume", `{"approve_current_step":true,"reason":"go"}`).is("applied", "true", "intent.status", "IN_PROGRESS")
	c.ok("POST", "/v1/intents/"+id+"/resolve", `{"status":"CANCELED","reason":"no"}`).is("event.status", "CANCELED", "completion_delivery.delivered", "false")
	c.want(409, "POST", "/v1/intents/"+id+"/resume", `{"action":"complete"}`)
}

func (c *scoped) bulkCancel() {
	c.send("nobody", nil)
	c.ok("POST", "/v1/intents/bulk-cancel", `{"older_than_hours":1,"dry_run":true}`).is("would_cancel", "0")
}

func (c *scoped) agentStream() {
	id := c.send("streamed", nil)
	a := c.s.call("GET", "/v1/agents/streamed/intents/stream?since=0&wait_seconds=10", nil)
	if text := string(a.body); a.code != 200 || !strings.Contains(text, "event: intent.delivered\n") || !strings.Contains(text, id) {
		c.Errorf("the stream says %v", a)
	}
}

func (c *scoped) poll() {
	id := c.send("polled", nil)
	c.ok("GET", "/v1/agents/polled/intents?since=0&wait_seconds=10", nil).is("intents.0.intent_id", id, "next_cursor", "")
}

func (c *scoped) inbox() {
	ids := []string{c.send("desk", nil), c.send("desk", nil)}
	path := func(id, act string) string { return "/v1/inbox/" + id + act + "?owner_agent=desk" }
	c.ok("GET", "/v1/inbox?owner_agent=desk", nil).is("threads.1.thread_id", ids[0])
	c.ok("GET", "/v1/inbox/changes?owner_agent=desk&limit=1", nil).is("has_more", "true")
	c.ok("GET", path(ids[0], ""), nil).is("thread.intent_id", ids[0])
	c.ok("POST", path(ids[0], "/reply"), `{"message":"why?"}`).is("thread.status", "active")
	c.ok("POST", path(ids[0], "/messages/delete"), `{"mode":"both"}`).is("deleted_count", "1")
	c.ok("POST", path(ids[0], "/delegate"), `{"delegate_to":"other"}`)
	c.ok("GET", "/v1/inbox?owner_agent=other", nil).is("threads.0.thread_id", ids[0])
	c.ok("POST", path(ids[0], "/approve"), `{"comment":"yes"}`).is("thread.status", "done")
	c.ok("POST", path(ids[1], "/reject"), `{}`).is("thread.status", "done")
	c.ok("GET", "/v1/intents/"+ids[1], nil).is("intent.status", "CANCELED")
}

func (c *scoped) inboxRead() {
	id := c.send("desk", nil)
	c.ok("POST", "/v1/inbox/"+id+"/read?owner_agent=desk", nil).is("thread.thread_id", id)
}

func (c *scoped) approvals() {
	id := c.send("ann", map[string]any{"human_task": map[string]any{"title": "?"}})
	c.ok("POST", "/v1/approvals/"+id+"/decision", `{"decision":"approve"}`).is("approval.decision", "approve")
	c.ok("GET", "/v1/intents/"+id, nil).is("intent.status", "COMPLETED")
	c.ok("POST", "/v1/approvals/5b9d4e0a-6a43-4f6e-9d0a-0d6a5c2b7f11/decision", `{"decision":"reject","comment":"no"}`).is("approval.comment", "no")
}

func (c *scoped) humanTasks() {
	id := c.send("ann", map[string]any{"human_task": map[string]any{"task_type": "review"}})
	c.want(422, "POST", "/v1/intents/"+id+"/resume", `{"task_result":{"outcome":"so so"}}`)
	c.ok("POST", "/v1/intents/"+id+"/resume", `{"task_result":{"outcome":"approved"}}`).is("intent.status", "COMPLETED")
}

func (c *scoped) myTasks() {
	id := c.send("bob", map[string]any{"human_task": map[string]any{"title": "Look"}})
	c.ok("GET", "/v1/me/tasks?owner_agent=bob", nil).is("tasks.0.intent_id", id, "tasks.0.human_task.title", "Look", "tasks.1", "")
}

func (c *scoped) webhooks() {
	sub := c.ok("POST", "/v1/webhooks/subscriptions", `{"callback_url":"http://127.0.0.1:9/hook","event_types":["inbox.thread_created"]}`).at("subscription.subscription_id")
	c.ok("GET", "/v1/webhooks/subscriptions?owner_agent=desk", nil).is("subscriptions.0.subscription_id", sub)
	event := c.ok("POST", "/v1/webhooks/events?owner_agent=desk", `{"event_type":"inbox.thread_created","source":"shop","payload":{}}`).is("queued_deliveries", "1").at("event_id")
	c.ok("POST", "/v1/webhooks/events/"+event+"/replay?owner_agent=desk", nil).is("event_id", event)
	c.ok("DELETE", "/v1/webhooks/subscriptions/"+sub+"?owner_agent=desk", nil).is("subscription_id", sub)
}

func (c *scoped) capabilities() {
	if got := string(c.ok("GET", "/v1/capabilities", nil).raw); !strings.Contains(got, `"scenarios.apply"`) {
		c.Errorf("capabilities are %s", got)
	}
}

func (c *scoped) agents() {
	if got := string(c.ok("GET", "/v1/agents?org_id=&limit=50", nil).raw); !strings.Contains(got, billing) {
		c.Errorf("the agents are %s", got)
	}
	c.ok("GET", "/v1/agents/"+strings.TrimPrefix(billing, "agent://"), nil).is("agent.address", billing, "agent.status", "active")
	c.want(404, "GET", "/v1/agents/a/b/nobody", nil).is("error.code", "agent_not_found")
}

func (c *scoped) mesh() {
	c.ok("POST", "/v1/mesh/heartbeat", `{"metrics":{"intents_total":1}}`).is("status", "healthy")
	all := c.ok("GET", "/v1/mesh/agents?window=day", nil)
	id := ""
	for n := range 10 {
		if at := fmt.Sprintf("agents.%d.", n); all.at(at+"address") == billing {
			id = all.at(at + "address_id")
		}
	}
	c.ok("GET", "/v1/mesh/agents/"+id, nil).is("agent.address", billing)
	c.ok("POST", "/v1/mesh/agents/"+id+"/kill", nil).is("status", "killed")
	c.ok("POST", "/v1/mesh/agents/"+id+"/resume", nil).is("status", "active")
	c.ok("GET", "/v1/mesh/events?limit=10", nil).is("events.0.address", billing)
}

func (c *scoped) scenarios() {
	file := `{"scenario_id":"s.v1","humans":[{"role":"eve"}],"workflow":{"steps":[{"step_id":"ask","assigned_to":"eve","requires_approval":true}]},"intent":{"type":"t.v1"}}`
	c.ok("POST", "/v1/scenarios/validate", file).is("valid", "true")
	id := c.ok("POST", "/v1/scenarios/apply", file).is("status", "WAITING", "pending_with", "eve").at("intent_id")
	task := c.ok("GET", "/v1/me/tasks?owner_agent=eve", nil).at("tasks.0.intent_id")
	c.ok("POST", "/v1/intents/"+task+"/resume", `{"task_result":{"outcome":"approved"}}`)
	c.ok("GET", "/v1/intents/"+id, nil).is("intent.status", "COMPLETED")
}

func (c *scoped) schemas() {
	c.ok("POST", "/v1/schemas", `{"semantic_type":"scope.plain.checked.v1","compatibility_mode":"strict","schema_json":{"required":["m"]}}`)
	c.ok("GET", "/v1/schemas/scope.plain.checked.v1", nil).is("schema.schema_json.required.0", "m")
	c.want(422, "POST", "/v1/intents", `{"intent_type":"scope.plain.checked.v1","to_agent":"nobody","payload":{}}`)
}

func (c *scoped) deliveries() {
	id := c.send("dying", map[string]any{"max_delivery_attempts": 1})
	it := c.s.take1("dying", take{wait: 10, lease: 600})
	if a := c.s.settle("nack", it, map[string]any{"reject": true}); a.code != 200 {
		c.Fatal(a)
	}
	c.ok("GET", "/v1/deliveries?status=dead_lettered&principal_id=dying", nil).is("deliveries.0.delivery_id", id)
	c.ok("GET", "/v1/deliveries/"+id, nil).is("delivery.status", "dead_lettered")
	c.ok("POST", "/v1/deliveries/"+id+"/replay", nil).is("delivery.replay_of_delivery_id", id)
	c.want(404, "POST", "/v1/deliveries", `{}`)
}

// A key of a service account, made while running, is for its agent alone.
func (c *scoped) accounts() {
	keys := filepath.Join(c.TempDir(), "keys.yaml")
	if err := os.WriteFile(keys, []byte("keys:\n  - {key: first-key-of-the-shop, agents: ["+shop+"]}\n"), 0o600); err != nil {
		c.Fatal(err)
	}
	s := start(c.T, setup{name: "keyed", agents: []string{shop, billing}, args: []string{"--api-keys", keys}})
	c = &scoped{T: c.T, s: s, key: "first-key-of-the-shop"}
	account := c.ok("POST", "/v1/service-accounts", `{"name":"`+shop+`"}`).at("service_account.service_account_id")
	c.ok("GET", "/v1/service-accounts", nil).is("service_accounts.0.address", shop)
	made := c.ok("POST", "/v1/service-accounts/"+account+"/keys", `{}`)
	made2 := &scoped{T: c.T, s: s, key: made.at("key.token")}
	made2.ok("POST", "/v1/intents", `{"intent_type":"t.v1","to_agent":"nobody","payload":{}}`)
	made2.want(403, "GET", "/v1/agents/"+strings.TrimPrefix(billing, "agent://")+"/intents", nil)
	c.ok("POST", "/v1/service-accounts/"+account+"/keys/"+made.at("key.key_id")+"/revoke", nil).is("key.status", "revoked")
	made2.want(401, "GET", "/v1/intents", nil)
	c.ok("DELETE", "/v1/service-accounts/"+account, nil)
	c.want(404, "GET", "/v1/service-accounts/"+account, nil)
}

func (c *scoped) outOfScope() {
	for _, path := range []string{"principals", "aliases", "aliases/resolve", "routing/endpoints", "routing/resolve", "transports/bindings", "users/check-nick", "sessions", "organizations"} {
		c.want(404, "POST", "/v1/"+path, `{}`).is("ok", "false", "error.code", "route_not_found")
		if got := c.want(404, "GET", "/v1/"+path, nil).at("error.message"); !strings.Contains(got, "out of scope") {
			c.Errorf("%s is refused with %q", path, got)
		}
	}
	c.want(404, "POST", "/mcp", `{"jsonrpc":"2.0","method":"initialize","id":1}`)
}
