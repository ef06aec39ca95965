package e2e_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"pannier/proxy/api/apitest"
)

// What AXP's clients take for granted and no promise of the README says.

// TestAnswersFitAXPsSchemas validates answers of each family with the schemas
// AXP has published.
func TestAnswersFitAXPsSchemas(t *testing.T) {
	t.Parallel()
	spec := apitest.NeedAXP(t)
	fits := func(name string, a answer) {
		t.Helper()
		if a.code != http.StatusOK {
			t.Errorf("%s: %v", name, a)
		} else if err := spec.Check("public_api/"+name+".v1", a.body); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := start(t, setup{name: "alone", agents: []string{billing}})
	create := s.call("POST", "/v1/intents", message(billing, map[string]any{"n": 1}, map[string]any{"reply_to": shop}))
	fits("api.intents.create.response", create)
	var made struct {
		ID string `json:"intent_id"`
	}
	create.into(t, &made)
	path := "/v1/intents/" + made.ID
	for _, end := range []string{"", `{"status": "COMPLETED", "result": {"n": 1}}`} {
		if end != "" {
			s.control(made.ID, `{"timeout_seconds": 5, "max_retry_count": 3}`)
			resolved := s.call("POST", path+"/resolve", end)
			fits("api.intents.resolve.response", resolved)
			var told struct {
				Delivery struct {
					MessageID string `json:"message_id"`
				} `json:"completion_delivery"`
			}
			resolved.into(t, &told)
			fits("api.intents.get.response", s.call("GET", "/v1/intents/"+told.Delivery.MessageID, nil))
		}
		fits("api.intents.get.response", s.call("GET", path, nil))
		fits("api.intents.events.list.response", s.call("GET", path+"/events?since=0", nil))
	}
	fits("api.capabilities.get.response", s.call("GET", "/v1/capabilities", nil))
	fits("api.schemas.upsert.response", s.call("POST", "/v1/schemas", `{"semantic_type": "order.created.plain.v1", "compatibility_mode": "strict", "schema_json": {}}`))
	s.subscribe("http://127.0.0.1:9/events")
	event := s.call("POST", "/v1/webhooks/events", `{"event_type": "inbox.thread_created", "source": "shop", "payload": {}}`)
	fits("api.webhooks.events.response", event)
	var published counters
	event.into(t, &published)
	fits("api.webhooks.events.replay.response", s.call("POST", "/v1/webhooks/events/"+published.Event+"/replay", nil))
	s.kill()
	s.start()
	fits("api.webhooks.subscriptions.list.response", s.call("GET", "/v1/webhooks/subscriptions", nil))
	fits("api.webhooks.subscriptions.response", s.call("POST", "/v1/webhooks/subscriptions", `{"callback_url": "http://127.0.0.1:9/events", "event_types": ["inbox.thread_created"]}`))
	fits("api.webhooks.subscriptions.delete.response", s.call("DELETE", "/v1/webhooks/subscriptions/"+s.subscribe("http://127.0.0.1:9/events"), nil))
	fits("api.schemas.get.response", s.call("GET", "/v1/schemas/order.created.plain.v1", nil))
}

// TestSuccessIsAlwaysAJSONObject: SDKs parse each 2xx. A body-less POST may be
// announced as JSON, unknown fields are ignored, and since may be 0.
func TestSuccessIsAlwaysAJSONObject(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}})
	id := s.post(billing, map[string]any{"n": 1}, map[string]any{"no_such_field": true})
	it := s.take1(billing, take{lease: 60})
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/health", ""},
		{"GET", "/v1/health", ""},
		{"GET", "/v1/capabilities", ""},
		{"GET", "/v1/intents", ""},
		{"GET", "/v1/intents/" + id, ""},
		{"GET", "/v1/intents/" + id + "/events?since=0", ""},
		{"GET", "/v1/intents/" + id + "/why", ""},
		{"GET", agentPath(billing, "/intents?since=0"), ""},
		{"POST", "/v1/intents/" + id + "/extend", `{"lease_id": "` + it.Lease + `"}`},
		{"POST", "/v1/intents/" + id + "/resume", ""}, // no body is {}: go on
		{"POST", "/v1/intents/" + id + "/ack", `{"lease_id": "` + it.Lease + `"}`},
		{"POST", "/v1/intents/bulk-cancel", `{"dry_run": true, "older_than_hours": 1}`},
		{"POST", agentPath(billing, "/intents:settle"), `{"items": []}`},
	} {
		var body any
		if c.body != "" {
			body = c.body
		}
		a := s.call(c.method, c.path, body, "Content-Type", "application/json")
		var object map[string]any
		if a.code != http.StatusOK || a.header.Get("Content-Type") != "application/json" || json.Unmarshal(a.body, &object) != nil {
			t.Errorf("%s %s: %v, %s", c.method, c.path, a, a.header.Get("Content-Type"))
		}
	}
}

// TestAnyKeyOrNone: without --api-keys, clients that are made to send a key send
// any; nobody is asked for one.
func TestAnyKeyOrNone(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}})
	for name, header := range map[string][]string{
		"none":                   nil,
		"bearer":                 {"Authorization", "Bearer k"},
		"x-api-key":              {"x-api-key", "k"},
		"key and unknown bearer": {"x-api-key", "k", "Authorization", "Bearer of an actor"},
		"two bearers in one":     {"x-api-key", "k", "Authorization", "Bearer a, Bearer b"},
	} {
		if a := s.call("POST", "/v1/intents", message(billing, map[string]any{}), header...); a.code != http.StatusOK {
			t.Errorf("%s: %v", name, a)
		}
	}
}

// TestAnswersAreNamed: each answer, a refusal too, has an id of its own and the
// trace id as it came.
func TestAnswersAreNamed(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}})
	seen := map[string]bool{}
	for _, path := range []string{"/health", "/v1/intents", "/v1/intents/none", "/nowhere"} {
		a := s.call("GET", path, nil, "X-Trace-Id", "as it came")
		id := a.header.Get("X-Request-Id")
		if a.header.Get("X-Trace-Id") != "as it came" || id == "" || seen[id] {
			t.Errorf("%s: trace id %q, request id %q", path, a.header.Get("X-Trace-Id"), id)
		}
		seen[id] = true
	}
}

// TestStreamsAreNotHeldBack: headers come before the first event, nothing is
// compressed or cached, each frame comes on its own, and the last one ends with a
// blank line.
func TestStreamsAreNotHeldBack(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}})
	id := s.post(shop, map[string]any{})
	for _, path := range []string{agentPath(billing, "/intents/stream?wait_seconds=1"), "/v1/intents/" + id + "/events/stream?since=2&wait_seconds=1"} {
		conn, err := net.Dial("tcp", s.api)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nAccept-Encoding: gzip, deflate\r\n\r\n", path, s.api)
		began := time.Now()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		headers := time.Since(began)
		if resp.Header.Get("Content-Encoding") != "" || !strings.Contains(resp.Header.Get("Cache-Control"), "no-cache") || resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("%s: headers %v", path, resp.Header)
		}
		text, err := io.ReadAll(resp.Body)
		whole := time.Since(began)
		if err != nil || !strings.HasSuffix(string(text), "\n\n") || !strings.Contains(string(text), "event: stream.timeout\ndata: {\"ok\":true,\"next_seq\":") {
			t.Errorf("%s: %v, the whole is %q", path, err, text)
		}
		if headers > whole/2 {
			t.Errorf("%s: headers came after %v of %v", path, headers, whole)
		}
	}
}

// TestUnknownAgentWaits: a stream for an agent nobody has heard of is held, and
// two readers that opened it before the intent existed do not lose it; a fresh
// reader gets what is open, oldest first, and nothing that has ended.
func TestUnknownAgentWaits(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{shop}})
	var readers sync.WaitGroup
	got := make(chan item, 10)
	open := make(chan error, 2)
	for range 2 {
		own := &http.Client{Transport: &http.Transport{}}
		readers.Go(func() {
			defer own.CloseIdleConnections()
			resp, err := own.Get("http://" + s.api + agentPath(billing, "/intents/stream?since=0&wait_seconds=5"))
			if err == nil && resp.StatusCode != http.StatusOK {
				err = errors.New(resp.Status)
			}
			open <- err
			if err != nil {
				return
			}
			defer resp.Body.Close()
			if err := readByLine(resp.Body, func(it item) { got <- it }); err != nil {
				t.Error(err)
			}
		})
	}
	for range 2 {
		if err := <-open; err != nil {
			t.Fatal(err)
		}
	}
	ids := []string{s.post(billing, map[string]any{"n": 0}), s.post(billing, map[string]any{"n": 1})}
	for range ids {
		if it := <-got; it.ID != ids[0] && it.ID != ids[1] {
			t.Errorf("got %+v", it)
		}
	}
	readers.Wait()
	ids = append(ids, s.post(billing, map[string]any{"n": 2}))
	if a := s.call("POST", "/v1/intents/"+ids[1]+"/resolve", `{"status": "CANCELED"}`); a.code != http.StatusOK {
		t.Fatalf("%v", a)
	}
	fresh := s.read("?since=0&wait_seconds=20")
	var order []string
	for range 2 {
		it, _ := fresh.next()
		order = append(order, it.ID)
	}
	if order[0] != ids[0] || order[1] != ids[2] {
		t.Errorf("a fresh reader gets %v, want %s and %s", order, ids[0], ids[2])
	}
}

// TestDeadlineEndsStreams: at its deadline an intent ends TIMED_OUT, its event
// stream ends with that, and it leaves its agent's stream.
func TestDeadlineEndsStreams(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}})
	id := s.post(billing, map[string]any{}, delivery("deadline_at", time.Now().Add(2*time.Second).UTC().Format(time.RFC3339Nano)))
	if e := s.wait(id); e.Type != "intent.timed_out" || e.Status != "TIMED_OUT" {
		t.Errorf("it ended with %+v", e)
	}
	s.read("?since=0&wait_seconds=1").ends()
}

// TestAppThatAlwaysFails: attempts, intent.delivery_failed for each, FAILED.
func TestAppThatAlwaysFails(t *testing.T) {
	t.Parallel()
	app := newHook(t, say(500, "no"))
	home, _ := hookPair(t, app, nil)
	id := home.post(billing, map[string]any{}, delivery("max_delivery_attempts", 3))
	home.status(id, "FAILED")
	attempts(t, home, id, 3)
	if n := len(app.of(id)); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
	if e := home.events(id); e[len(e)-1].Type != "intent.failed" || e[len(e)-2].Type != "intent.delivery_failed" {
		t.Errorf("events %v", kinds(e))
	}
}
