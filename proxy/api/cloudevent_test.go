package api_test

import (
	"strings"
	"testing"
)

const eventType = "Content-Type: application/cloudevents+json"

// Each way an event may come makes the same intent, and the same event again is
// the same intent.
func TestCloudEvents(t *testing.T) {
	t.Parallel()
	const attributes = `"specversion":"1.0","id":"E-1","source":"agent://acme/prod/shop","type":"order.process.v1","subject":"b","correlationid":"c-1","expirytime":"2099-01-02T03:04:05Z","comexampleother":"x"`
	const data = `{"order_id":"ORD-1","amount":12345678901234567890}`
	for name, send := range map[string]func(w *world) *answer{
		"structured": func(w *world) *answer {
			return w.post("/v1/intents", `{`+attributes+`,"datacontenttype":"application/json; charset=utf-8","data":`+data+`}`, eventType)
		},
		"binary": func(w *world) *answer {
			return w.post("/v1/intents", data, "Content-Type: application/json", "ce-specversion: 1.0", "ce-id: E-1", "ce-source: agent://acme/prod/sho%70",
				"ce-type: order.process.v1", "ce-toagent: b", "ce-subject: something else", "ce-correlationid: c-1", "ce-expirytime: 2099-01-02T03:04:05Z")
		},
	} {
		w := setup(t)
		first := send(w).want(200)
		again := send(w).want(200)
		if first.text("intent_id") != again.text("intent_id") || again.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s: the event again is %s", name, again.raw)
		}
		i := w.get("/v1/intents/" + first.text("intent_id")).want(200)
		for path, want := range map[string]string{
			"intent.intent_type": "order.process.v1", "intent.to_agent": "b", "intent.from_agent": "agent://acme/prod/shop",
			"intent.correlation_id": "c-1", "intent.deadline_at": "2099-01-02T03:04:05.000Z",
		} {
			if got := i.text(path); got != want {
				t.Errorf("%s: %s is %q, want %q", name, path, got, want)
			}
		}
		if !strings.Contains(string(i.raw), `"payload":`+data) {
			t.Errorf("%s: the data is not what was sent: %s", name, i.raw)
		}
	}
}

func TestCloudEventBatch(t *testing.T) {
	t.Parallel()
	w := setup(t)
	one := func(id, to string) string {
		return `{"specversion":"1.0","id":"` + id + `","source":"/shop","type":"a.v1","toagent":"` + to + `","data":{"n":1}}`
	}
	const batch = "Content-Type: application/cloudevents-batch+json"
	a := w.post("/v1/intents", "["+one("1", "b")+","+one("2", "")+","+one("1", "b")+"]", batch).want(200)
	if a.text("results.0.ok") != "true" || a.text("results.1.error.code") != "schema_invalid" || a.text("results.2.intent_id") != a.text("results.0.intent_id") {
		t.Errorf("one, a wrong one, and the first again: %s", a.raw)
	}
	w.post("/v1/intents", `{}`, batch).refused(422, "schema_invalid")
	w.post("/v1/intents", `[`, batch).refused(400, "invalid_json")
	w.post("/v1/intents", "["+strings.Repeat("{},", 1000)+"{}]", batch).refused(422, "schema_invalid")
}

func TestCloudEventRefusals(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for body, says := range map[string]string{
		`{}`: "/specversion is required",
		`{"specversion":"0.3","id":"1","source":"s","type":"a.v1","subject":"b"}`:                                        "/specversion must be 1.0",
		`{"specversion":"1.0","id":"1","source":"s","type":"Order.Created","subject":"b"}`:                               "/type must be lower-case",
		`{"specversion":"1.0","id":"1","source":"s","type":"a.v1"}`:                                                      "/subject is required",
		`{"specversion":"1.0","id":"1","source":"s","type":"a.v1","subject":"b","data":[1]}`:                             "/data must be a JSON object",
		`{"specversion":"1.0","id":"1","source":"s","type":"a.v1","subject":"b","data_base64":"AA=="}`:                   "/data_base64 binary data is not taken",
		`{"specversion":"1.0","id":"1","source":"s","type":"a.v1","subject":"b","datacontenttype":"text/xml","data":{}}`: "/datacontenttype must be application/json",
		`{"specversion":"1.0","id":"1","source":"s","type":"a.v1","subject":"b","expirytime":"soon","data":{}}`:          "/expirytime must be an RFC 3339 time",
		`{"specversion":"1.0","id":7,"source":"s","type":"a.v1","subject":"b"}`:                                          "/id",
		`{"specversion":"1.0","id":"1","source":"` + strings.Repeat("s", 3000) + `","type":"a.v1","subject":"b"}`:        "/source",
	} {
		a := w.post("/v1/intents", body, eventType)
		if a.status != 422 && a.status != 400 || !strings.Contains(a.text("detail"), says) {
			t.Errorf("%.80s: %d %s, want %q", body, a.status, a.text("detail"), says)
		}
	}
	if a := w.post("/v1/intents", `{}`, "Content-Type: application/json", "ce-specversion: 1.0", "ce-id: %zz", "ce-source: s", "ce-type: a.v1", "ce-subject: b").refused(422, "schema_invalid"); !strings.Contains(a.text("detail"), "header ce-id") {
		t.Errorf("a bad percent-encoding: %s", a.raw)
	}
	w.post("/v1/intents", `{}`, "Content-Type: text/plain", "ce-specversion: 1.0", "ce-id: 1", "ce-source: s", "ce-type: a.v1", "ce-subject: b").refused(415, "unsupported_media_type")
}
