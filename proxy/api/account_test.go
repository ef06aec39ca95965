package api_test

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pannier/proxy/api"
)

func TestServiceAccounts(t *testing.T) {
	t.Parallel()
	w := setup(t, keyed)
	const org, workspace = "0193b2c4-0000-4000-8000-000000000001", "0193b2c4-0000-4000-8000-000000000002"
	prod := "x-api-key: k-prod"

	made := w.post("/v1/service-accounts", `{"name":"shipping","org_id":"`+org+`","workspace_id":"`+workspace+`","display_name":"Shipping"}`, prod).want(200)
	id := made.text("service_account.service_account_id")
	if got := made.text("service_account.agent_address"); got != "agent://acme/prod/shipping" || made.text("service_account.address") != got {
		t.Fatalf("the account is for %q, want the name beside the key's agents", got)
	}
	path := "/v1/service-accounts/" + id
	if again := w.post("/v1/service-accounts", `{"name":"shipping"}`, prod).want(200); again.text("service_account.service_account_id") != id || again.text("service_account.org_id") != org {
		t.Errorf("a repeat made %s, want the first one as it is", again.raw)
	}
	for _, p := range []string{"", "?org_id=" + org + "&workspace_id=" + workspace} {
		l := w.get("/v1/service-accounts"+p, prod).want(200)
		if len(l.list("service_accounts")) != 1 {
			t.Errorf("%s: got %s, want the account", p, l.raw)
		}
	}
	if l := w.get("/v1/service-accounts?org_id="+workspace, prod).want(200); len(l.list("service_accounts")) != 0 {
		t.Errorf("of another org: %s", l.raw)
	}
	w.get(path, prod).want(200)

	key := w.post(path+"/keys", `{}`, prod).want(200)
	token := key.text("key.token")
	if !strings.HasPrefix(token, "axme_sa_"+strings.ReplaceAll(id, "-", "")+"_") {
		t.Errorf("the token is %.20q…, want it to name its account", token)
	}
	mine := "x-api-key: " + token
	sent := w.post("/v1/intents", `{"intent_type":"a.v1","to_agent":"x","payload":{}}`, mine).want(200).text("intent_id")
	if got := w.get("/v1/intents/"+sent, "Authorization: Bearer "+token).want(200).text("intent.from_agent"); got != "agent://acme/prod/shipping" {
		t.Errorf("the key speaks for %s, want shipping", got)
	}
	w.get("/v1/agents/acme/prod/orders/intents", mine).refused(403, "policy_denied")

	// Two keys at a time; the one that is revoked is no key at once.
	second := w.post(path+"/keys", "", mine).want(200).text("key.token")
	revoke := path + "/keys/" + key.text("key.key_id") + "/revoke"
	revoked := w.post(revoke, "", prod).want(200)
	if again := w.post(revoke, "", prod).want(200); string(again.raw) != string(revoked.raw) {
		t.Errorf("revoked again: %s, want %s", again.raw, revoked.raw)
	}
	w.get("/v1/intents", mine).refused(401, "auth_failed")
	w.get("/v1/intents", "x-api-key: "+second).want(200)

	if got := w.call("DELETE", path, "", prod).want(200).text("service_account.status"); got != "revoked" {
		t.Errorf("deleted: status %s, want revoked", got)
	}
	w.get("/v1/intents", "x-api-key: "+second).refused(401, "auth_failed")
	w.get(path, prod).refused(404, "service_account_not_found")
	w.call("DELETE", path, "", prod).refused(404, "service_account_not_found")
}

func TestServiceAccountRefusals(t *testing.T) {
	t.Parallel()
	w := setup(t, keyed)
	prod := "x-api-key: k-prod"
	id := w.post("/v1/service-accounts", `{"name":"shipping"}`, prod).want(200).text("service_account.service_account_id")
	path := "/v1/service-accounts/" + id
	for _, row := range []struct {
		name, body, code string
		status           int
	}{
		{"no name", `{}`, "schema_invalid", 422},
		{"a short name", `{"name":"x"}`, "schema_invalid", 422},
		{"a long name", `{"name":"` + strings.Repeat("x", 121) + `"}`, "schema_invalid", 422},
		{"a name that is no address", `{"name":"a b"}`, "invalid_agent_address", 422},
		{"an org that is no UUID", `{"name":"shipping","org_id":"acme"}`, "schema_invalid", 422},
		{"an agent that is not the key's", `{"name":"shipping","agent_address":"agent://acme/test/shipping"}`, "policy_denied", 403},
		{"an agent that is not the key's, as the name", `{"name":"acme/test/shipping"}`, "policy_denied", 403},
		{"no object", `[]`, "schema_invalid", 422},
	} {
		if a := w.post("/v1/service-accounts", row.body, prod); a.status != row.status || a.text("error.code") != row.code {
			t.Errorf("%s: got %d %s, want %d %s", row.name, a.status, a.text("error.code"), row.status, row.code)
		}
	}
	w.post(path+"/keys", `{"expires_at":"2020-01-01T00:00:00Z"}`, prod).refused(422, "schema_invalid")
	w.post(path+"/keys/"+id+"/revoke", "", prod).refused(404, "service_account_not_found")
	w.post(path+"/keys/x/revoke", "", prod).refused(404, "service_account_not_found")
	// To another's key there is no such account.
	for _, call := range [][2]string{{"GET", path}, {"DELETE", path}, {"POST", path + "/keys"}} {
		w.call(call[0], call[1], "", "x-api-key: k-billing").refused(404, "service_account_not_found")
	}
	if l := w.get("/v1/service-accounts", "x-api-key: k-billing").want(200); len(l.list("service_accounts")) != 0 {
		t.Errorf("another's key sees %s", l.raw)
	}
	for range 16 {
		w.post(path+"/keys", "", prod).want(200)
	}
	w.post(path+"/keys", "", prod).refused(409, "too_many_service_accounts")
}

// The answer with a token may be lost: a repeat makes no second key, and the
// token nobody has seen is worth nothing.
func TestAKeyIsMadeOnce(t *testing.T) {
	t.Parallel()
	w := setup(t, keyed)
	path := "/v1/service-accounts/" + w.post("/v1/service-accounts", `{"name":"shipping"}`, "x-api-key: k-prod").want(200).text("service_account.service_account_id") + "/keys"
	lost := w.post(path, "", "x-api-key: k-prod", "Idempotency-Key: once").want(200)
	again := w.post(path, "", "x-api-key: k-prod", "Idempotency-Key: once").want(200)
	if lost.text("key.key_id") != again.text("key.key_id") || lost.text("key.token") == again.text("key.token") {
		t.Errorf("got %s, then %s; want one key with another token", lost.raw, again.raw)
	}
	w.get("/v1/intents", "x-api-key: "+lost.text("key.token")).refused(401, "auth_failed")
	w.get("/v1/intents", "x-api-key: "+again.text("key.token")).want(200)
}

func TestAKeyEnds(t *testing.T) {
	t.Parallel()
	w := setup(t, keyed)
	path := "/v1/service-accounts/" + w.post("/v1/service-accounts", `{"name":"shipping"}`, "x-api-key: k-prod").want(200).text("service_account.service_account_id") + "/keys"
	key := w.post(path, `{"expires_at":"2999-01-01T00:00:00Z"}`, "x-api-key: k-prod").want(200)
	w.get("/v1/intents", "x-api-key: "+key.text("key.token")).want(200)
	if got := key.text("key.expires_at"); got != "2999-01-01T00:00:00.000Z" {
		t.Errorf("expires_at is %s", got)
	}
}

// Nobody tells of the end of a key that ends by itself.
func TestAKeyThatEndsEndsStreams(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var o api.Options
		keyed(&o)
		a := api.New(o, openJournal(t), nil, nil, slog.New(slog.DiscardHandler))
		call := direct(t, a)
		account := call("POST", "/v1/service-accounts", `{"name":"shipping"}`, "x-api-key: k-prod").want(200).text("service_account.service_account_id")
		ends := time.Now().Add(20 * time.Second)
		token := call("POST", "/v1/service-accounts/"+account+"/keys", `{"expires_at":"`+ends.Format(time.RFC3339)+`"}`, "x-api-key: k-prod").want(200).text("key.token")
		id := call("POST", "/v1/intents", `{"intent_type":"a.v1","to_agent":"x","payload":{}}`, "x-api-key: "+token).want(200).text("intent_id")
		call("GET", "/v1/intents/"+id+"/events/stream?since=2&wait_seconds=40", "", "x-api-key: "+token).want(200)
		if now := time.Now(); !now.Equal(ends) {
			t.Errorf("the stream ended %s after the key", now.Sub(ends))
		}
	})
}
