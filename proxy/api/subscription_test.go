package api_test

import (
	"strings"
	"testing"

	"pannier/journal"
)

const (
	secretText = "sixteen characters or more"
	subscribed = `{"callback_url":"http://127.0.0.1:9/hook","event_types":["inbox.thread_created","inbox.thread_created"],"secret":"` + secretText + `"}`
	published  = `{"event_type":"inbox.thread_created","source":"shop","payload":{"n": 1.50}}`
)

func TestSubscriptionOfNobodyIsEveryones(t *testing.T) {
	t.Parallel()
	w := setup(t)
	a := w.post("/v1/webhooks/subscriptions", subscribed).want(200)
	id := a.text("subscription.subscription_id")
	if len(a.list("subscription.event_types")) != 1 || a.text("subscription.active") != "true" || a.at("subscription.revoked_at") != nil {
		t.Errorf("kept: %s", a.raw)
	}
	again := w.post("/v1/webhooks/subscriptions", strings.Replace(subscribed, `"secret"`, `"description":"d","no_secret"`, 1)).want(200)
	if again.text("subscription.subscription_id") != id || again.text("subscription.secret_hint") != a.text("subscription.secret_hint") || again.text("subscription.description") != "d" {
		t.Errorf("replaced: %s", again.raw)
	}
	owned := w.post("/v1/webhooks/subscriptions?owner_agent=acme/me", subscribed).want(200).text("subscription.subscription_id")
	for query, want := range map[string]int{"": 2, "?owner_agent=acme/me": 2, "?owner_agent=acme/you": 1} {
		if l := w.get("/v1/webhooks/subscriptions" + query).want(200); len(l.list("subscriptions")) != want {
			t.Errorf("%s: %s", query, l.raw)
		}
	}
	w.call("DELETE", "/v1/webhooks/subscriptions/"+owned+"?owner_agent=acme/you", "").refused(404, "subscription_not_found")
	w.call("DELETE", "/v1/webhooks/subscriptions/none", "").refused(404, "subscription_not_found")
	gone := w.call("DELETE", "/v1/webhooks/subscriptions/"+id+"?owner_agent=acme/you", "").want(200)
	if twice := w.call("DELETE", "/v1/webhooks/subscriptions/"+id, "").want(200); twice.text("revoked_at") != gone.text("revoked_at") {
		t.Errorf("revoked at %s, then at %s", gone.text("revoked_at"), twice.text("revoked_at"))
	}
	if l := w.get("/v1/webhooks/subscriptions").want(200); len(l.list("subscriptions")) != 1 {
		t.Errorf("after it was revoked: %s", l.raw)
	}
	if l := w.get("/v1/webhooks/subscriptions?include_inactive=true").want(200); len(l.list("subscriptions")) != 2 || l.text("subscriptions.0.active") != "false" {
		t.Errorf("with those not in force: %s", l.raw)
	}
}

func TestSubscriptionRefusals(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for name, c := range map[string]struct{ was, is, where string }{
		"no URL":          {`"callback_url"`, `"url"`, "/callback_url"},
		"not http":        {"http://", "ftp://", "/callback_url"},
		"short URL":       {"http://127.0.0.1:9/hook", "http://", "/callback_url"},
		"off loopback":    {"127.0.0.1:9", "192.0.2.1", "/callback_url"},
		"a name":          {"127.0.0.1:9", "example.com", "/callback_url"},
		"unknown event":   {`"inbox.thread_created"]`, `"intent.completed"]`, "/event_types"},
		"no event":        {`["inbox.thread_created","inbox.thread_created"]`, `[]`, "/event_types"},
		"short secret":    {secretText, "short", "/secret"},
		"a broken whsec_": {secretText, "whsec_not base64 at all", "/secret"},
	} {
		a := w.post("/v1/webhooks/subscriptions", strings.Replace(subscribed, c.was, c.is, 1)).refused(422, "schema_invalid")
		if a.at("error.details").(map[string]any)[c.where] == nil {
			t.Errorf("%s: %s is not named: %s", name, c.where, a.raw)
		}
		if strings.Contains(string(a.raw), secretText) {
			t.Errorf("%s: the secret is in the answer", name)
		}
	}
	w.post("/v1/webhooks/subscriptions", strings.Replace(subscribed, "127.0.0.1", "LOCALHOST", 1)).want(200)
	w.post("/v1/webhooks/subscriptions", strings.Replace(subscribed, "127.0.0.1", "[::1]", 1)).want(200)
}

func TestEventIsOneIntentASubscriber(t *testing.T) {
	t.Parallel()
	w := setup(t)
	one := w.post("/v1/webhooks/subscriptions", subscribed).want(200).text("subscription.subscription_id")
	w.post("/v1/webhooks/subscriptions?owner_agent=acme/you", subscribed).want(200)
	w.post("/v1/webhooks/subscriptions?owner_agent=acme/me", strings.Replace(subscribed, "{", `{"active":false,`, 1)).want(200)
	a := w.post("/v1/webhooks/events?owner_agent=acme/me", published, "Idempotency-Key: k").want(200)
	if a.text("queued_deliveries") != "1" || a.text("pending") != "1" || a.text("owner_agent") != "agent://acme/me" {
		t.Errorf("published: %s", a.raw)
	}
	if again := w.post("/v1/webhooks/events?owner_agent=acme/me", published, "Idempotency-Key: k").want(200); string(again.raw) != string(a.raw) {
		t.Errorf("again: %s, first %s", again.raw, a.raw)
	}
	list := w.get("/v1/intents").want(200)
	if len(list.list("intents")) != 1 || list.text("intents.0.to_agent") != "webhook:"+one {
		t.Fatalf("intents: %s", list.raw)
	}
	intent := w.get("/v1/intents/" + list.text("intents.0.intent_id")).want(200)
	if intent.text("intent.payload.event_id") != a.text("event_id") || !strings.Contains(string(intent.raw), `"payload":{"n": 1.50}`) {
		t.Errorf("intent: %s", intent.raw)
	}
	// Nobody else can send there, or ask there.
	w.post("/v1/intents", `{"intent_type":"a","to_agent":"webhook:`+one+`","payload":{}}`).refused(422, "invalid_agent_address")
	w.get("/v1/agents/webhook:"+one+"/intents").refused(422, "invalid_agent_address")

	path := "/v1/webhooks/events/" + a.text("event_id") + "/replay"
	if r := w.post(path, "").want(200); r.text("queued_deliveries") != "1" {
		t.Errorf("replayed while it is under way: %s", r.raw)
	}
	w.resolve(list.text("intents.0.intent_id"), `{"status":"FAILED"}`).want(200)
	r := w.post(path, "").want(200)
	if r.text("queued_deliveries") != "2" || r.text("dead_lettered") != "1" || r.text("pending") != "1" || r.text("processed_deliveries") != "1" {
		t.Errorf("replayed after its death: %s", r.raw)
	}
	w.post("/v1/webhooks/events/"+journal.NewID().String()+"/replay", "").refused(404, "event_not_found")
	w.post("/v1/webhooks/events/none/replay", "").refused(404, "event_not_found")
	w.post("/v1/webhooks/events", strings.Replace(published, "inbox.thread_created", "no.such", 1)).refused(422, "schema_invalid")
	w.post("/v1/webhooks/events", strings.Replace(published, `"shop"`, `"s"`, 1)).refused(422, "schema_invalid")
	w.post("/v1/webhooks/events", strings.Replace(published, `{"n": 1.50}`, `[]`, 1)).refused(422, "schema_invalid")
	big := strings.Replace(published, "1.50", `"`+strings.Repeat("x", 50<<10)+`"`, 1)
	w.post("/v1/webhooks/events", big).want(200)
}
