package api_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"pannier/proxy/api"

	"pannier/journal"
)

func TestAgents(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.mailbox.served = []string{orders, "xy", "billing-service", journal.SubscriberAddress(journal.NewID()), journal.NotifyAddress("chat")} // the last two are no agents
	w.post("/v1/service-accounts", `{"name":"refunds","agent_address":"`+refunds+`","display_name":"Refunds"}`).want(200)
	w.intent(billing) // an address somebody sends to is not registered by that

	list := w.get("/v1/agents?org_id=&workspace_id=&limit=100").want(200)
	var got []string
	for _, a := range list.list("agents") {
		got = append(got, walk(a, "address").(string))
	}
	if want := "agent://acme/prod/orders agent://acme/prod/refunds agent://billing-service agent://xy"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if n := len(w.get("/v1/agents?limit=2").want(200).list("agents")); n != 2 {
		t.Errorf("limit=2 gives %d", n)
	}
	for path, name := range map[string]string{
		"acme/prod/orders": "orders", "agent:%2F%2Facme%2Fprod%2Fservice": "", "agent%3A%2F%2Facme%2Fprod%2Frefunds": "refunds",
		"billing-service": "billing-service", "xy": "xy", "acme/prod/billing": "", "acme/prod": "",
	} {
		a := w.get("/v1/agents/" + path)
		if name == "" {
			a.refused(404, "agent_not_found")
			continue
		}
		a.want(200)
		if got := a.text("agent.service_account_name"); got != name {
			t.Errorf("%s: name %q, want %q", path, got, name)
		}
	}
	w.get("/v1/agents/a%20b").refused(422, "invalid_agent_address")
	w.post("/v1/agents/acme/prod/orders", `{}`).refused(405, "method_not_allowed")
	w.call("DELETE", "/v1/agents/acme/prod/orders/intents", "").refused(405, "method_not_allowed")
	// A suffix wins over an address that ends like it.
	if a := w.get("/v1/agents/acme/prod/orders/intents").want(200); a.at("intents") == nil {
		t.Errorf("the suffix /intents was read as part of an address: %s", a.raw)
	}
}

func addressID(agent string) string { return base64.RawURLEncoding.EncodeToString([]byte(agent)) }

func TestHeartbeats(t *testing.T) {
	t.Parallel()
	w := setup(t, keyed)
	w.mailbox.served = []string{orders}
	beat := func(body string, headers ...string) *answer { return w.post("/v1/mesh/heartbeat", body, headers...) }
	for _, body := range []string{
		"", `{}`, `{"metrics":{"intents_total":3,"intents_succeeded":2,"intents_failed":1,"avg_latency_ms":null,"cost_usd":0.25}}`,
		`{"metrics":{"intents_total":4,"cost_usd":0.5,"other":1}}`,
	} {
		a := beat(body, "x-api-key: k-orders").want(200)
		if a.text("status") != "healthy" || a.text("ok") != "true" {
			t.Errorf("%s: got %s", body, a.raw)
		}
	}
	for _, body := range []string{`{"metrics":{"intents_total":"3"}}`, `{"metrics":{"cost_usd":-1}}`, `{"metrics":7}`} {
		beat(body, "x-api-key: k-orders").refused(422, "schema_invalid")
	}
	beat("", "x-api-key: k-prod").refused(400, "invalid_request")
	beat("", "x-api-key: k-prod", "x-owner-agent: "+refunds).want(200)

	for _, window := range []string{"", "?window=day", "?window=week", "?window=month&limit=10&health=healthy"} {
		a := w.get("/v1/mesh/agents"+window, "x-api-key: k-orders").want(200)
		if len(a.list("agents")) != 2 || a.text("agents.0.address") != orders || a.text("agents.0.intents_period") != "7" || a.text("agents.0.cost_period") != "0.75" {
			t.Errorf("%s: got %s, want orders with 7 intents and 0.75, and refunds", window, a.raw)
		}
		if a.text("summary.total") != "2" || a.text("summary.healthy") != "2" || a.text("agents.0.health_status") != "healthy" || a.text("agents.0.last_heartbeat_at") == "" {
			t.Errorf("%s: got %s", window, a.raw)
		}
	}
	// Of others' agents a key learns nothing.
	if a := w.get("/v1/mesh/agents", "x-api-key: k-billing").want(200); len(a.list("agents")) != 0 {
		t.Errorf("another's key sees %s", a.raw)
	}
	w.get("/v1/mesh/agents/"+addressID(orders), "x-api-key: k-billing").refused(404, "agent_not_found")
	w.get("/v1/mesh/agents/"+addressID(orders), "x-api-key: k-orders").want(200)
	w.get("/v1/mesh/agents/nobody", "x-api-key: k-all").refused(404, "agent_not_found")
	w.get("/v1/mesh/agents?health=ill", "x-api-key: k-all").refused(422, "schema_invalid")
}

func TestHealth(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, row := range []struct {
		killed bool
		ago    time.Duration
		want   string
	}{
		{false, 0, "healthy"}, {false, 90 * time.Second, "healthy"}, {false, 91 * time.Second, "degraded"},
		{false, 5 * time.Minute, "degraded"}, {false, 6 * time.Minute, "unreachable"}, {true, 0, "killed"},
	} {
		if got := api.HealthOf(row.killed, now.Add(-row.ago), now); got != row.want {
			t.Errorf("killed %v, last heard of %s ago: %s, want %s", row.killed, row.ago, got, row.want)
		}
	}
	if got := api.HealthOf(false, time.Time{}, now); got != "unknown" {
		t.Errorf("never heard of: %s, want unknown", got)
	}
}

// Nothing is taken from a killed agent; what is addressed to it is accepted, and
// why says what it waits for.
func TestKill(t *testing.T) {
	t.Parallel()
	w := setup(t, keyed)
	w.mailbox.served = []string{orders, billing}
	send := func(headers ...string) *answer {
		return w.post("/v1/intents", `{"intent_type":"a.v1","to_agent":"`+billing+`","payload":{}}`, append(headers, "x-api-key: k-orders")...)
	}
	first := send("Idempotency-Key: before").want(200).text("intent_id")

	kill := "/v1/mesh/agents/" + addressID(orders) + "/kill"
	w.post(kill, "", "x-api-key: k-billing").refused(404, "agent_not_found")
	for range 2 {
		if got := w.post(kill, "", "x-api-key: k-orders").want(200).text("status"); got != "killed" {
			t.Errorf("status is %s, want killed", got)
		}
	}
	send().refused(403, "policy_denied")
	if a := w.post("/v1/intents:batch", `{"intents":[{"intent_type":"a.v1","to_agent":"x","payload":{}}]}`, "x-api-key: k-orders").want(200); a.text("results.0.error.code") != "policy_denied" {
		t.Errorf("in a batch: %s", a.raw)
	}
	w.post("/v1/agents/x/intents/a.v1", `{}`, "x-api-key: k-orders").refused(403, "policy_denied")
	if again := send("Idempotency-Key: before").want(200); again.text("intent_id") != first {
		t.Errorf("a repeat of what was accepted before: %s, want %s again", again.raw, first)
	}
	if got := w.get("/v1/mesh/agents/"+addressID(orders), "x-api-key: k-orders").want(200).text("agent.health_status"); got != "killed" {
		t.Errorf("health is %s, want killed", got)
	}
	if got := w.get("/v1/agents/acme/prod/orders", "x-api-key: k-orders").want(200).text("agent.status"); got != "suspended" {
		t.Errorf("the agent is %s, want suspended", got)
	}
	if got := w.post("/v1/mesh/heartbeat", "", "x-api-key: k-orders").want(200).text("status"); got != "killed" {
		t.Errorf("a heartbeat is answered %s, want killed", got)
	}
	to := w.post("/v1/intents", `{"intent_type":"a.v1","from_agent":"`+billing+`","to_agent":"`+orders+`","payload":{}}`, "x-api-key: k-billing").want(200).text("intent_id")
	if got := w.get("/v1/intents/"+to+"/why", "x-api-key: k-billing").want(200).text("causes.0.code"); got != "agent_killed" {
		t.Errorf("why is %s, want agent_killed", got)
	}

	if got := w.post("/v1/mesh/agents/"+addressID(orders)+"/resume", "", "x-api-key: k-orders").want(200).text("status"); got != "active" {
		t.Errorf("status is %s, want active", got)
	}
	send().want(200)
	events := w.get("/v1/mesh/events", "x-api-key: k-orders").want(200)
	if len(events.list("events")) != 2 || events.text("events.0.event_type") != "agent.resumed" || events.text("events.1.event_type") != "agent.killed" ||
		events.text("events.1.address") != orders || events.text("events.1.actor_id") != orders {
		t.Errorf("got %s, want one kill and one resume, the newest first", events.raw)
	}
	if a := w.get("/v1/mesh/events?event_type=agent.killed&limit=1", "x-api-key: k-all").want(200); len(a.list("events")) != 1 || a.text("events.0.event_type") != "agent.killed" {
		t.Errorf("filtered: %s", a.raw)
	}
	if a := w.get("/v1/mesh/events", "x-api-key: k-billing").want(200); len(a.list("events")) != 0 {
		t.Errorf("another's key sees %s", a.raw)
	}
}
