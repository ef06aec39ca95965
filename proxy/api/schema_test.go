package api_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pannier/journal"
	"pannier/proxy/api"
)

const order = `{"semantic_type":"order.created.plain.v1","compatibility_mode":"%s","schema_json":{
	"type":"object","required":["total"],"additionalProperties":false,
	"properties":{"total":{"type":"number","minimum":0},"lines":{"type":"array","items":{"$ref":"#/$defs/line"}}},
	"$defs":{"line":{"type":"object","properties":{"a/b":{"type":"string"}}}}}}`

func TestPayloadIsHeldToItsSchema(t *testing.T) {
	t.Parallel()
	w := setup(t)
	kept := w.post("/v1/schemas?owner_agent=acme/shop", fmt.Sprintf(order, "strict")).want(200)
	if kept.text("schema.owner_agent") != "agent://acme/shop" || len(kept.text("schema.schema_hash")) != 64 || kept.text("schema.active") != "true" {
		t.Errorf("kept: %s", kept.raw)
	}
	intent := func(payload string) string {
		return `{"intent_type":"order.created.plain.v1","to_agent":"b","payload":` + payload + `}`
	}
	w.post("/v1/intents", intent(`{"total":1.5,"lines":[{"a/b":"x"}]}`)).want(200)
	bad := `{"total":-1,"lines":[{},{"a/b":1}],"more":true}`
	for name, a := range map[string]*answer{
		"payload":    w.post("/v1/intents", intent(bad)),
		"structured": w.post("/v1/intents", `{"specversion":"1.0","id":"1","source":"/s","type":"order.created.plain.v1","toagent":"b","data":`+bad+`}`, "Content-Type: application/cloudevents+json"),
		"short form": w.post("/v1/agents/b/intents/order.created.plain.v1", bad),
		"folded":     w.post("/v1/intents", `{"intent_type":"order.created.plain.v1","to_agent":"b",`+bad[1:]),
	} {
		at := map[string]string{"payload": "/payload", "structured": "/data"}[name]
		a.refused(422, "schema_invalid")
		for _, where := range []string{at + "/total", at + "/lines/1/a~1b", at} {
			if a.at("error.details").(map[string]any)[where] == nil {
				t.Errorf("%s: %q is not named: %s", name, where, a.raw)
			}
		}
	}
	items := w.post("/v1/intents:batch", `{"intents":[`+intent(`{}`)+`,`+intent(`{"total":0}`)+`]}`).want(200)
	if items.text("results.0.error.code") != "schema_invalid" || items.text("results.1.ok") != "true" {
		t.Errorf("batch: %s", items.raw)
	}
	if n := len(w.get("/v1/intents").list("intents")); n != 2 {
		t.Errorf("%d intents were accepted, want the 2 that fit", n)
	}
	// Of other types nothing is asked.
	w.post("/v1/intents", `{"intent_type":"order.created.v1","to_agent":"b","payload":{}}`).want(200)

	created := kept.text("schema.created_at")
	for _, taken := range []string{fmt.Sprintf(order, "warn"), strings.Replace(fmt.Sprintf(order, "strict"), `{`, `{"active":false,`, 1)} {
		if got := w.post("/v1/schemas", taken).want(200).text("schema.created_at"); got != created {
			t.Errorf("replaced, it was made at %s, and before at %s", got, created)
		}
		w.post("/v1/intents", intent(bad)).want(200)
	}
	w.post("/v1/schemas", fmt.Sprintf(order, "strict")).want(200) // a changed one is compiled anew
	w.post("/v1/intents", intent(bad)).refused(422, "schema_invalid")
}

// What a schema only warns of is logged by the schema's rule: nothing of the payload,
// neither its values nor its names, is in a log.
func TestWarningSaysNothingOfThePayload(t *testing.T) {
	t.Parallel()
	w := setup(t)
	var logged strings.Builder
	say := direct(t, api.New(api.Options{}, w.journal, w.mailbox, w.sender, slog.New(slog.NewTextHandler(&logged, nil))))
	say("POST", "/v1/schemas", `{"semantic_type":"a.b.c.v1","compatibility_mode":"warn","schema_json":{
		"properties":{"pin":{"pattern":"^[0-9]+$"},"mail":{"format":"email"}},"patternProperties":{"^x-":{"type":"number"}},
		"propertyNames":{"maxLength":20},"additionalProperties":false}}`).want(200)
	say("POST", "/v1/intents", `{"intent_type":"a.b.c.v1","to_agent":"b","payload":
		{"pin":"canary-1","mail":"canary-2","x-canary-3":"canary-4","canary-5-and-a-name-too-long":"canary-6"}}`).want(200)
	for _, rule := range []string{"/properties/pin/pattern", "/properties/mail/format", "/patternProperties/", "/propertyNames", "/additionalProperties"} {
		if !strings.Contains(logged.String(), rule) {
			t.Errorf("the rule %s is not logged: %s", rule, logged.String())
		}
	}
	if strings.Contains(logged.String(), "canary") {
		t.Errorf("logged: %s", logged.String())
	}
}

// A send that is repeated under its key is the first one again, though its payload
// would be refused now.
func TestRepeatIsNotHeldToALaterSchema(t *testing.T) {
	t.Parallel()
	w := setup(t)
	plain := `{"intent_type":"order.created.plain.v1","to_agent":"b","payload":{}}`
	item := `{"intents":[{"idempotency_key":"item","intent_type":"order.created.plain.v1","to_agent":"b","payload":{}}]}`
	event := `{"specversion":"1.0","id":"1","source":"/s","type":"order.created.plain.v1","toagent":"b","data":{}}`
	send := map[string]func() *answer{
		"plain": func() *answer { return w.post("/v1/intents", plain, "Idempotency-Key: plain") },
		"short": func() *answer {
			return w.post("/v1/agents/b/intents/order.created.plain.v1", `{}`, "Idempotency-Key: short")
		},
		"event": func() *answer { return w.post("/v1/intents", event, "Content-Type: application/cloudevents+json") },
	}
	first := map[string]string{}
	for name, f := range send {
		first[name] = f().want(200).text("intent_id")
	}
	of := w.post("/v1/intents:batch", item).want(200).text("results.0.intent_id")

	w.post("/v1/schemas", fmt.Sprintf(order, "strict")).want(200)
	for name, f := range send {
		if a := f().want(200); a.text("intent_id") != first[name] || a.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s: %s, want %s again", name, a.raw, first[name])
		}
	}
	if a := w.post("/v1/intents:batch", item).want(200); a.text("results.0.intent_id") != of {
		t.Errorf("batch: %s, want %s again", a.raw, of)
	}
	w.post("/v1/intents", plain, "Idempotency-Key: new").refused(422, "schema_invalid")
	w.post("/v1/intents", plain).refused(422, "schema_invalid")
	w.post("/v1/intents", strings.Replace(plain, "{}", `{"n":1}`, 1), "Idempotency-Key: plain").refused(409, "idempotency_conflict")
	if a := w.post("/v1/intents:batch", strings.Replace(item, `"item"`, `"fresh"`, 1)).want(200); a.text("results.0.error.code") != "schema_invalid" {
		t.Errorf("batch: %s, want a refusal", a.raw)
	}
	if n := len(w.get("/v1/intents").list("intents")); n != 4 {
		t.Errorf("there are %d intents, want 4", n)
	}
}

func TestSchemaRefusals(t *testing.T) {
	t.Parallel()
	w := setup(t)
	good := fmt.Sprintf(order, "strict")
	file := filepath.Join(t.TempDir(), "schema.json") // one that could be read
	if err := os.WriteFile(file, []byte(`{"type":"object"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ body, where string }{
		"type of two words":  {strings.Replace(good, "order.created.plain.v1", "order.created.v1", 1), "/semantic_type"},
		"mode":               {fmt.Sprintf(order, "loose"), "/compatibility_mode"},
		"no schema":          {`{"semantic_type":"a.b.c.v1","compatibility_mode":"warn"}`, "/schema_json"},
		"not a schema":       {`{"semantic_type":"a.b.c.v1","compatibility_mode":"warn","schema_json":{"type":7}}`, "/schema_json"},
		"pattern":            {`{"semantic_type":"a.b.c.v1","compatibility_mode":"warn","schema_json":{"pattern":"("}}`, "/schema_json"},
		"reference, remote":  {`{"semantic_type":"a.b.c.v1","compatibility_mode":"warn","schema_json":{"$ref":"http://127.0.0.1:1/x"}}`, "/schema_json"},
		"reference, file":    {`{"semantic_type":"a.b.c.v1","compatibility_mode":"warn","schema_json":{"$ref":"file://` + file + `"}}`, "/schema_json"},
		"metaschema, remote": {`{"semantic_type":"a.b.c.v1","compatibility_mode":"warn","schema_json":{"$schema":"http://127.0.0.1:1/x"}}`, "/schema_json"},
		"too large":          {`{"semantic_type":"a.b.c.v1","compatibility_mode":"warn","schema_json":{"description":"` + strings.Repeat("x", journal.MaxSchema-10) + `"}}`, "/schema_json"},
	} {
		a := w.post("/v1/schemas", c.body)
		if len(c.body) > 64<<10 {
			a.refused(413, "payload_too_large") // this world's limit of bodies
			continue
		}
		if a.refused(422, "schema_invalid"); a.at("error.details").(map[string]any)[c.where] == nil {
			t.Errorf("%s: %s is not named: %s", name, c.where, a.raw)
		}
	}
	w.post("/v1/schemas", strings.Replace(good, "{", `{"scope":"core",`, 1)).refused(403, "policy_denied")
	w.post("/v1/schemas?owner_agent=a//b", good).refused(422, "invalid_agent_address")
	w.get("/v1/schemas/order.created.plain.v1").refused(404, "schema_not_found")
}

// One that refers to itself must not take the process along.
func TestSchemaThatRefersToItself(t *testing.T) {
	t.Parallel()
	w := setup(t)
	a := w.post("/v1/schemas", `{"semantic_type":"a.b.c.v1","compatibility_mode":"strict","schema_json":{"$ref":"#"}}`)
	if a.status == 200 {
		a = w.post("/v1/intents", `{"intent_type":"a.b.c.v1","to_agent":"b","payload":{}}`)
	}
	if a.status != 200 {
		a.refused(422, "schema_invalid")
	}
}

// A few bytes of an exponent must not become megabytes of digits, nor no number at all.
func TestSchemaOfImmenseNumbers(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, rule := range []string{`"type":"integer"`, `"minimum":1`, `"multipleOf":3`, `"const":1`, `"enum":[1,2]`} {
		w.post("/v1/schemas", `{"semantic_type":"a.b.c.v1","compatibility_mode":"strict","schema_json":{"properties":{"n~":{"items":{`+rule+`}}}}}`).want(200)
		for _, n := range []string{"1e1001", "1e-4000000", "1E+99999999", "0.1e999999999999999999999", "1" + strings.Repeat("0", 1000)} {
			a := w.post("/v1/agents/b/intents/a.b.c.v1", `{"n~":[1,`+n+`]}`).refused(422, "schema_invalid")
			if why := a.at("error.details").(map[string]any)["/n~0/1"]; why != "is a number too long to be compared with a schema" {
				t.Errorf("%s, %.30s: /n~0/1 %v, in %.300s", rule, n, why, a.raw)
			}
		}
		w.post("/v1/agents/b/intents/a.b.c.v1", `{"more":1e99999999,"n~":[]}`).refused(422, "schema_invalid")
	}
	w.post("/v1/schemas", `{"semantic_type":"a.b.c.v1","compatibility_mode":"strict","schema_json":{"type":"object"}}`).want(200)
	w.post("/v1/agents/b/intents/a.b.c.v1", `{"n":1e1000}`).want(200)
	for _, rule := range []string{`"multipleOf":1e-5000000`, `"maximum":1e99999999`, `"enum":[1e99999999]`} {
		a := w.post("/v1/schemas", `{"semantic_type":"a.b.c.v1","compatibility_mode":"warn","schema_json":{"items":{`+rule+`}}}`)
		if a.refused(422, "schema_invalid"); a.at("error.details").(map[string]any)["/schema_json"] == nil {
			t.Errorf("%s: %s", rule, a.raw)
		}
	}
	w.post("/v1/agents/b/intents/order.created.v1", `{"n":1e99999999}`).want(200) // of no schema: nobody compares it
}

// What does not fit is said in few words, whatever it holds.
func TestSchemaRefusalIsShort(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.post("/v1/schemas", `{"semantic_type":"a.b.c.v1","compatibility_mode":"strict","schema_json":{"additionalProperties":{"pattern":"^b"}}}`).want(200)
	long := strings.Repeat("a", 20_000)
	if a := w.post("/v1/agents/b/intents/a.b.c.v1", `{"`+long+`":"`+long+`"}`).refused(422, "schema_invalid"); len(a.raw) > 8<<10 {
		t.Errorf("the refusal has %d bytes", len(a.raw))
	}
}

func TestSchemaHasKeys(t *testing.T) {
	t.Parallel()
	w := setup(t)
	body := fmt.Sprintf(order, "strict")
	first := w.post("/v1/schemas", body, "Idempotency-Key: k").want(200)
	again := w.post("/v1/schemas", body, "Idempotency-Key: k").want(200)
	if again.header.Get("Idempotency-Replayed") != "true" || string(again.raw) != string(first.raw) {
		t.Errorf("again: %s, first %s", again.raw, first.raw)
	}
	w.post("/v1/schemas", fmt.Sprintf(order, "warn"), "Idempotency-Key: k").refused(409, "idempotency_conflict")
	got := w.get("/v1/schemas/order.created.plain.v1").want(200)
	if got.text("schema.compatibility_mode") != "strict" || got.text("schema.schema_json.properties.total.type") != "number" {
		t.Errorf("got %s", got.raw)
	}
}

func TestCapabilities(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.post("/v1/schemas", fmt.Sprintf(order, "strict")).want(200)
	a := w.get("/v1/capabilities").want(200)
	if len(a.list("capabilities")) == 0 || len(a.list("supported_intent_types")) != 2 {
		t.Errorf("%s", a.raw)
	}
}
