package api_test

import (
	"bufio"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pannier/proxy/api"
)

const (
	orders  = "agent://acme/prod/orders"
	refunds = "agent://acme/prod/refunds"
	billing = "agent://acme/prod/billing"
)

func keyed(o *api.Options) {
	o.Identify = func(key string) *api.Caller {
		agents := map[string][]string{
			"k-orders":     {orders, refunds},
			"k-orders-new": {orders},
			"k-billing":    {billing},
			"k-prod":       {"agent://acme/prod/*"},
			"k-all":        {"*"},
		}[key]
		if agents == nil {
			return nil
		}
		return &api.Caller{Agents: agents}
	}
}

// Every route asks for a key, but for those of health, by that very method.
func TestOnlyHealthIsOpen(t *testing.T) {
	t.Parallel()
	w := setup(t, keyed)
	open := map[string]bool{"GET /health": true, "GET /v1/health": true, "GET /healthz": true, "GET /readyz": true, "GET /openapi.json": true}
	for _, route := range api.Routes(w.api) {
		method, path, _ := strings.Cut(route, " ")
		path = strings.NewReplacer("{agent}", "a/b/c", "{id}", "0193b2c4-0000-7000-8000-000000000000", "{type}", "a.v1").Replace(path)
		a := w.call(method, path, "")
		if open[route] {
			a.want(200)
			continue
		}
		a.refused(401, "auth_failed")
		if got := a.header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer") {
			t.Errorf("%s: WWW-Authenticate is %q, want Bearer", route, got)
		}
	}
	for _, row := range []struct{ method, path string }{
		{"POST", "/health"}, {"DELETE", "/v1/health"}, {"GET", "/health/"}, {"GET", "//health"}, {"GET", "/v1/agents/health"},
		{"GET", "/v1/agents/a/health"}, {"GET", "/healthz/x"}, {"GET", "/HEALTH"}, {"GET", "/nothing"}, {"GET", "/v1/intents/health"},
		{"GET", "/v1/../health"}, {"POST", "/openapi.json"}, {"GET", "/v1%2Fhealth"},
	} {
		if a := w.call(row.method, row.path, ""); a.status != 401 {
			t.Errorf("%s %s: got %d, want 401: %s", row.method, row.path, a.status, a.raw)
		}
	}
	if a := w.call("HEAD", "/health", ""); a.status != 401 {
		t.Errorf("HEAD /health: got %d, want 401", a.status)
	}
}

func TestWhereTheKeyIs(t *testing.T) {
	t.Parallel()
	w := setup(t, keyed)
	for _, row := range []struct {
		name    string
		status  int
		headers []string
	}{
		{"x-api-key", 200, []string{"x-api-key: k-orders"}},
		{"bearer", 200, []string{"Authorization: Bearer k-orders"}},
		{"bearer, another case", 200, []string{"Authorization: bearer k-orders"}},
		{"x-api-key beside an unknown bearer", 200, []string{"x-api-key: k-orders", "Authorization: Bearer actor"}},
		{"x-api-key beside another scheme", 200, []string{"x-api-key: k-orders", "Authorization: Basic eDp5"}},
		{"two bearers in one header, the first", 200, []string{"Authorization: Bearer k-orders, Bearer actor"}},
		{"two bearers in one header, the second", 200, []string{"Authorization: Bearer actor, Bearer k-orders"}},
		{"a wrong x-api-key beside a good bearer", 401, []string{"x-api-key: nobody", "Authorization: Bearer k-orders"}},
		{"an empty x-api-key beside a good bearer", 401, []string{"x-api-key: ", "Authorization: Bearer k-orders"}},
		{"unknown", 401, []string{"x-api-key: nobody"}},
		{"unknown bearer", 401, []string{"Authorization: Bearer nobody"}},
		{"Basic", 401, []string{"Authorization: Basic k-orders"}},
		{"no scheme", 401, []string{"Authorization: k-orders"}},
		{"none", 401, nil},
		{"a key with a comma", 401, []string{"Authorization: Bearer k,orders"}},
		{"the fifth bearer", 401, []string{"Authorization: Bearer a, Bearer b, Bearer c, Bearer d, Bearer k-orders"}},
	} {
		if a := w.get("/v1/intents", row.headers...); a.status != row.status {
			t.Errorf("%s: got %d, want %d: %s", row.name, a.status, row.status, a.raw)
		}
	}
	r, _ := http.NewRequest("GET", w.url+"/v1/intents", nil)
	r.Header["X-Api-Key"] = []string{"k-orders", "k-billing"}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 400 {
		t.Errorf("x-api-key twice: got %d, want 400", res.StatusCode)
	}
}

func TestWhoSends(t *testing.T) {
	t.Parallel()
	w := setup(t, keyed)
	for _, row := range []struct {
		name, key, from string // from as in the body
		status          int
		want            string // from_agent, or the code of the refusal
	}{
		{"none named", "k-orders", "", 200, orders},
		{"its first", "k-orders", orders, 200, orders},
		{"its second", "k-orders", refunds, 200, refunds},
		{"its second, shorter", "k-orders", "acme/prod/refunds", 200, refunds},
		{"another's", "k-orders", billing, 403, "policy_denied"},
		{"the bare name of its own", "k-orders", "orders", 403, "policy_denied"},
		{"below a pattern", "k-prod", billing, 200, billing},
		{"beside a pattern", "k-prod", "agent://acme/production/x", 403, "policy_denied"},
		{"the pattern's own name", "k-prod", "agent://acme/prod", 403, "policy_denied"},
		{"anybody", "k-all", "somebody", 200, "somebody"},
		{"a pattern does not say who", "k-prod", "", 422, "schema_invalid"},
	} {
		t.Run(row.name, func(t *testing.T) {
			body := `{"intent_type":"a.v1","to_agent":"x","payload":{}`
			if row.from != "" {
				body += `,"from_agent":"` + row.from + `"`
			}
			a := w.post("/v1/intents", body+"}", "x-api-key: "+row.key).want(row.status)
			b := w.post("/v1/intents:batch", `{"intents":[`+body+`}]}`, "x-api-key: "+row.key).want(200)
			if row.status != 200 {
				a.refused(row.status, row.want)
				if got := b.text("results.0.error.code"); got != row.want {
					t.Errorf("in a batch: got %q, want %q", got, row.want)
				}
				return
			}
			for _, id := range []string{a.text("intent_id"), b.text("results.0.intent_id")} {
				if got := w.get("/v1/intents/"+id, "x-api-key: "+row.key).want(200).text("intent.from_agent"); got != row.want {
					t.Errorf("from_agent is %q, want %q", got, row.want)
				}
			}
		})
	}
}

// The source of a CloudEvent need not be an agent: it sends as one only where
// the key allows that.
func TestWhoSendsAnEvent(t *testing.T) {
	t.Parallel()
	w := setup(t, keyed)
	for source, want := range map[string]string{"/sensors/1": orders, "elsewhere": orders, billing: orders, refunds: refunds} {
		a := w.post("/v1/intents", `{"specversion":"1.0","id":"`+source+`","source":"`+source+`","type":"a.v1","subject":"x","data":{}}`,
			"x-api-key: k-orders", "Content-Type: application/cloudevents+json").want(200)
		if got := w.get("/v1/intents/"+a.text("intent_id"), "x-api-key: k-orders").want(200).text("intent.from_agent"); got != want {
			t.Errorf("source %s: from_agent is %q, want %q", source, got, want)
		}
	}
}

// What each of the three sees of an intent from orders to billing, and may do:
// a stranger does not learn that it is there.
func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	w := setup(t, keyed)
	make := func() string {
		return w.post("/v1/intents", `{"intent_type":"a.v1","to_agent":"`+billing+`","payload":{}}`, "x-api-key: k-orders").want(200).text("intent_id")
	}
	lease := `{"lease_id":"0193b2c4-0000-7000-8000-000000000000"}`
	for _, row := range []struct {
		method, path, body         string
		sender, receiver, stranger int
	}{
		{"GET", "", "", 200, 200, 404},
		{"GET", "?wait_for=terminal&wait_seconds=0", "", 200, 200, 404},
		{"GET", "/events", "", 200, 200, 404},
		{"GET", "/events/stream?wait_seconds=1", "", 200, 200, 404},
		{"GET", "/why", "", 200, 200, 404},
		{"POST", "/resume", `{"action":"complete"}`, 200, 200, 404},
		{"POST", "/resolve", `{"status":"CANCELED"}`, 200, 200, 404},
		{"POST", "/ack", lease, 403, 404, 404}, // to the receiver: no hand-over here
		{"POST", "/nack", lease, 403, 404, 404},
		{"POST", "/extend", lease, 403, 404, 404},
	} {
		for key, want := range map[string]int{"k-orders": row.sender, "k-billing": row.receiver, "k-stranger": row.stranger} {
			if key == "k-stranger" {
				key = "k-orders-new"
			}
			id := make()
			if key == "k-orders-new" { // from refunds, of which this key knows nothing
				id = w.post("/v1/intents", `{"intent_type":"a.v1","from_agent":"`+refunds+`","to_agent":"`+billing+`","payload":{}}`, "x-api-key: k-orders").want(200).text("intent_id")
			}
			a := w.call(row.method, "/v1/intents/"+id+row.path, row.body, "x-api-key: "+key)
			if a.status != want {
				t.Errorf("%s %s by %s: got %d, want %d: %s", row.method, row.path, key, a.status, want, a.raw)
			}
			if a.status == 404 && key == "k-orders-new" {
				none := w.call(row.method, "/v1/intents/0193b2c4-0000-7000-8000-000000000000"+row.path, row.body, "x-api-key: "+key)
				if none.status != 404 || none.text("detail") != a.text("detail") {
					t.Errorf("%s %s: another's intent (%s) is told from none (%s)", row.method, row.path, a.text("detail"), none.text("detail"))
				}
			}
		}
	}
}

func TestWhoReceives(t *testing.T) {
	t.Parallel()
	w := setup(t, keyed)
	id := w.post("/v1/intents", `{"intent_type":"a.v1","to_agent":"`+billing+`","payload":{}}`, "x-api-key: k-orders").want(200).text("intent_id")
	path := "/v1/agents/acme/prod/billing/intents"
	w.get(path, "x-api-key: k-orders").refused(403, "policy_denied")
	w.get(path+"/stream?wait_seconds=1", "x-api-key: k-orders").refused(403, "policy_denied")
	w.post(path+":settle", `{"items":[]}`, "x-api-key: k-orders").refused(403, "policy_denied")
	got := w.get(path, "x-api-key: k-billing").want(200)
	if got.text("intents.0.intent_id") != id {
		t.Fatalf("the receiver got %s, want %s", got.raw, id)
	}
	ack := `{"lease_id":"` + got.text("intents.0.lease_id") + `"}`
	w.post("/v1/intents/"+id+"/ack", ack, "x-api-key: k-orders").refused(403, "policy_denied")
	if got := w.post("/v1/intents/"+id+"/ack", ack, "x-api-key: k-billing").want(200).text("status"); got != "COMPLETED" {
		t.Errorf("status is %s, want COMPLETED", got)
	}
}

// A list and a bulk cancel are of what the caller sees, over pages too.
func TestListsAreTheCallers(t *testing.T) {
	t.Parallel()
	w := setup(t, keyed)
	mine := map[string]bool{}
	for i := range 12 {
		from, key := refunds, "k-orders"
		if i%3 == 0 {
			from, key = orders, "k-orders-new"
		}
		id := w.post("/v1/intents", `{"intent_type":"a.v1","from_agent":"`+from+`","to_agent":"`+billing+`","payload":{}}`, "x-api-key: "+key).want(200).text("intent_id")
		mine[id] = i%3 == 0
	}
	seen, cursor := 0, ""
	for {
		page := w.get("/v1/intents?limit=1&cursor="+cursor, "x-api-key: k-orders-new").want(200)
		for _, i := range page.list("intents") {
			if id := walk(i, "intent_id").(string); !mine[id] {
				t.Errorf("%s is shown to a key it is not from or to", id)
			}
			seen++
		}
		if cursor = page.text("next_cursor"); cursor == "" {
			break
		}
	}
	if seen != 4 {
		t.Errorf("got %d intents, want the 4 from orders", seen)
	}
	if n := len(w.get("/v1/intents", "x-api-key: k-billing").want(200).list("intents")); n != 12 {
		t.Errorf("the receiver got %d, want 12", n)
	}
	if got := w.post("/v1/intents/bulk-cancel", `{"older_than_hours":0,"dry_run":true}`, "x-api-key: k-orders-new").want(200).text("would_cancel"); got != "4" {
		t.Errorf("would cancel %s, want 4", got)
	}
}

// One idempotency key of two callers is two; a key that takes the place of
// another one is the same caller.
func TestKeysOfCallers(t *testing.T) {
	t.Parallel()
	w := setup(t, keyed)
	post := func(key, from string) *answer {
		return w.post("/v1/intents", `{"intent_type":"a.v1","from_agent":"`+from+`","to_agent":"x","payload":{}}`, "x-api-key: "+key, "Idempotency-Key: once")
	}
	first := post("k-orders", orders).want(200).text("intent_id")
	again := post("k-orders-new", orders).want(200)
	if again.text("intent_id") != first || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("after a change of keys: got %s, want %s again", again.raw, first)
	}
	if other := post("k-billing", billing).want(200).text("intent_id"); other == first {
		t.Error("another caller's key was taken for the first one's")
	}
}

func TestOwner(t *testing.T) {
	t.Parallel()
	w := setup(t, keyed)
	for _, row := range []struct {
		query, header string
		status        int
	}{
		{"", "", 200},
		{orders, "", 200},
		{"", refunds, 200},
		{orders, orders, 200},
		{"orders", "", 200}, // clients listen under the bare name
		{orders, refunds, 400},
		{billing, "", 403},
		{"", billing, 403},
		{"billing", "", 403},
		{"rders", "", 403},
		{"a b", "", 422},
	} {
		path := "/v1/intents"
		if row.query != "" {
			path += "?owner_agent=" + strings.ReplaceAll(row.query, " ", "%20")
		}
		headers := []string{"x-api-key: k-orders"}
		if row.header != "" {
			headers = append(headers, "x-owner-agent: "+row.header)
		}
		if a := w.get(path, headers...); a.status != row.status {
			t.Errorf("owner_agent %q, x-owner-agent %q: got %d, want %d: %s", row.query, row.header, a.status, row.status, a.raw)
		}
	}
}

// Whoever waits under a key that is taken away is sent off.
func TestAKeyTakenAwayEndsStreams(t *testing.T) {
	t.Parallel()
	revoked := make(chan struct{})
	w := setup(t, func(o *api.Options) {
		o.Identify = func(string) *api.Caller {
			select {
			case <-revoked:
				return nil
			default:
				return &api.Caller{Agents: []string{orders}}
			}
		}
	})
	id := w.post("/v1/intents", `{"intent_type":"a.v1","to_agent":"x","payload":{}}`, "x-api-key: k").want(200).text("intent_id")
	r, err := http.NewRequest("GET", w.url+"/v1/intents/"+id+"/events/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Api-Key", "k")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() && lines.Text() != "event: intent.submitted" {
	}
	close(revoked)
	w.api.KeysChanged()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for lines.Scan() {
		}
	}()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the stream goes on under a key that is no longer valid")
	}
}

// Whoever waits for an end is not told it under a key that was taken away meanwhile.
func TestAKeyTakenAwayEndsWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var revoked atomic.Bool
		o := api.Options{Identify: func(string) *api.Caller {
			if revoked.Load() {
				return nil
			}
			return &api.Caller{Agents: []string{orders}}
		}}
		j := openJournal(t)
		a := api.New(o, j, nil, nil, slog.New(slog.DiscardHandler))
		call := direct(t, a)
		body := `{"intent_type":"a.v1","to_agent":"x","payload":{}}`
		id := call("POST", "/v1/intents", body, "x-api-key: k").want(200).text("intent_id")
		began := time.Now()
		var read, sent *answer
		var both sync.WaitGroup
		both.Go(func() { read = call("GET", "/v1/intents/"+id+"?wait_for=terminal&wait_seconds=40", "", "x-api-key: k") })
		both.Go(func() { sent = call("POST", "/v1/intents", body, "x-api-key: k", "Prefer: wait=40") })
		synctest.Wait()
		revoked.Store(true)
		a.KeysChanged()
		both.Wait()
		if waited := time.Since(began); waited != 0 {
			t.Errorf("the waits went on for %s", waited)
		}
		read.refused(401, "auth_failed")
		if sent.want(200).text("intent_id") == "" || sent.at("intent") != nil {
			t.Errorf("sent: %s", sent.raw)
		}
	})
}

// What an owner has registered or published is not another key's to change, or to
// send again.
func TestWhatIsAnOwnersIsNotAnothers(t *testing.T) {
	t.Parallel()
	w := setup(t, keyed)
	schema := `{"semantic_type":"order.created.plain.v1","compatibility_mode":"strict","schema_json":{"type":"object"}}`
	w.post("/v1/schemas", schema, "x-api-key: k-orders").want(200)
	w.post("/v1/schemas", schema, "x-api-key: k-prod").want(200)
	w.post("/v1/schemas", schema, "x-api-key: k-billing").refused(403, "policy_denied")
	if owner := w.get("/v1/schemas/order.created.plain.v1", "x-api-key: k-billing").want(200).text("schema.owner_agent"); owner != orders {
		t.Errorf("the schema is %q's, want %s's, who was first", owner, orders)
	}

	w.post("/v1/webhooks/subscriptions", subscribed, "x-api-key: k-prod").refused(422, "schema_invalid")
	w.post("/v1/webhooks/subscriptions", subscribed, "x-api-key: k-orders").want(200)
	event := w.post("/v1/webhooks/events", published, "x-api-key: k-orders").want(200).text("event_id")
	w.post("/v1/webhooks/events/"+event+"/replay", "", "x-api-key: k-billing").refused(404, "event_not_found")
	w.post("/v1/webhooks/events/"+event+"/replay", "", "x-api-key: k-orders").want(200)
}
