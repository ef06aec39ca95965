package api_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"pannier/journal"
	"pannier/proxy/api"
)

const good = `{"intent_type":"order.created.v1","to_agent":"agent://acme/prod/billing","payload":{"amount": 1.50}}`

func TestCreateAnswersExactlyAXPsFourKeys(t *testing.T) {
	t.Parallel()
	w := setup(t)
	a := w.post("/v1/intents", good).want(200)
	m := a.at("ok")
	if m != true || a.text("status") != "SUBMITTED" {
		t.Errorf("ok or status is wrong: %s", a.raw)
	}
	if n := len(walkMap(t, a)); n != 4 {
		t.Errorf("the answer has %d keys, want ok intent_id status created_at: %s", n, a.raw)
	}
	id := a.text("intent_id")
	if _, err := journal.ParseID(id); err != nil {
		t.Errorf("intent_id: %v", err)
	}
	if got := a.header.Get("Location"); got != "/v1/intents/"+id {
		t.Errorf("Location is %q", got)
	}
	if got := a.header.Get("Pannier-Durability"); got != "local" {
		t.Errorf("Pannier-Durability is %q, want local", got)
	}
	if _, err := time.Parse(time.RFC3339, a.text("created_at")); err != nil {
		t.Errorf("created_at: %v", err)
	}
}

func walkMap(t *testing.T, a *answer) map[string]any {
	t.Helper()
	m, ok := a.at("ok").(bool)
	if !ok || !m {
		t.Fatalf("not ok: %s", a.raw)
	}
	return decode(t, a.raw)
}

func TestPayloadKeepsItsBytes(t *testing.T) {
	t.Parallel()
	w := setup(t)
	payload := "{ \"n\" : 12345678901234567890,\n\t\"e\":1.0e+2 , \"s\":\"\\u00e9\\/\" }"
	for name, post := range map[string]func() *answer{
		"whole body": func() *answer {
			return w.post("/v1/intents", `{"payload":`+payload+`,"intent_type":"a.v1","to_agent":"bytes"}`)
		},
		"short form": func() *answer { return w.post("/v1/agents/bytes/intents/a.v1", payload) },
	} {
		id := post().want(200).text("intent_id")
		if got := w.get("/v1/intents/" + id).want(200); !bytes.Contains(got.raw, []byte(`"payload":`+payload)) {
			t.Errorf("%s: GET does not show the payload's bytes: %s", name, got.raw)
		}
	}
	if got := w.get("/v1/agents/bytes/intents").want(200); bytes.Count(got.raw, []byte(`"payload":`+payload)) != 2 {
		t.Errorf("a poll does not show the payload's bytes: %s", got.raw)
	}
}

func TestBadBodiesAreRefusedByName(t *testing.T) {
	t.Parallel()
	w := setup(t)
	with := func(field string) string {
		return `{"intent_type":"a.v1","to_agent":"b","payload":{},` + field + `}`
	}
	for _, c := range []struct {
		rule, body string
		status     int
		code, says string
	}{
		{"empty", ``, 400, "invalid_json", "empty"},
		{"not JSON", `{"intent_type":`, 400, "invalid_json", "too early"},
		{"trailing text", good + `x`, 400, "invalid_json", "goes on"},
		{"duplicate key", with(`"to_agent":"c"`), 400, "invalid_json", "/to_agent"},
		{"duplicate key inside", with(`"delivery":{"deliver_by":"x","deliver_by":"y"}`), 400, "invalid_json", "/delivery/deliver_by"},
		{"duplicate key in payload", `{"intent_type":"a","to_agent":"b","payload":{"k":1,"k":2}}`, 400, "invalid_json", "/payload/k"},
		{"bad UTF-8", with("\"correlation_id\":\"\xff\""), 400, "invalid_json", "UTF-8"},
		{"too deep", `{"payload":` + strings.Repeat(`{"a":`, 64) + `1` + strings.Repeat(`}`, 65), 400, "invalid_json", "64 levels"},
		{"an array", `[]`, 422, "schema_invalid", "JSON object"},
		{"missing type", `{"to_agent":"b","payload":{}}`, 422, "schema_invalid", "/intent_type is required"},
		{"missing receiver", `{"intent_type":"a","payload":{}}`, 422, "schema_invalid", "/to_agent is required"},
		{"wrong type of a field", with(`"correlation_id":7`), 422, "schema_invalid", "/correlation_id must be a string"},
		{"control character", with(`"correlation_id":"a\u001b[2Jb"`), 422, "schema_invalid", "/correlation_id has a control character"},
		{"payload no object", `{"intent_type":"a","to_agent":"b","payload":[1]}`, 422, "schema_invalid", "/payload must be"},
		{"payload null", `{"intent_type":"a","to_agent":"b","payload":null}`, 422, "schema_invalid", "/payload must be"},
		{"bad intent type", `{"intent_type":"A-b","to_agent":"b","payload":{}}`, 422, "schema_invalid", "/intent_type"},
		{"bad address", `{"intent_type":"a","to_agent":"a//b","payload":{}}`, 422, "invalid_agent_address", "empty segment"},
		{"bad date", with(`"deadline_at":"tomorrow"`), 422, "schema_invalid", "RFC 3339"},
		{"bad number", with(`"max_delivery_attempts":0`), 422, "schema_invalid", "from 1 to"},
		{"unknown option", with(`"delivery":{"prioritty":1}`), 422, "schema_invalid", "did you mean priority?"},
		{"option outside delivery", with(`"delay_seconds":5`), 422, "schema_invalid", "delivery"},
		{"option not built", with(`"delivery":{"ordering_key":"k"}`), 422, "not_available", "/delivery/ordering_key"},
		{"no gates", with(`"delivery":{"gates":[]}`), 422, "schema_invalid", "/delivery/gates"},
		{"priority not built", with(`"delivery":{"priority":1}`), 422, "not_available", "/delivery/priority"},
		{"reminders of an app", with(`"remind_after_seconds":5`), 422, "not_available", "/remind_after_seconds is for a human_task"},
		{"escalation without a time", with(`"human_task":{},"escalate_to":"x"`), 422, "schema_invalid", "/escalate_to needs remind_after_seconds"},
		{"no reminders", with(`"human_task":{},"remind_after_seconds":1,"max_reminders":0`), 422, "schema_invalid", "/max_reminders"},
		{"deliver_at and delay", with(`"delivery":{"deliver_at":"2030-01-01T00:00:00Z","delay_seconds":1}`), 400, "invalid_request", "deliver_at"},
		{"top and delivery differ", with(`"max_delivery_attempts":1,"delivery":{"max_delivery_attempts":2}`), 400, "invalid_request", "differs"},
		{"limit before start", with(`"delivery":{"deliver_at":"2030-01-02T00:00:00Z","deliver_by":"2030-01-01T00:00:00Z"}`), 400, "invalid_request", "before deliver_at"},
		{"too large", `{"payload":{"x":"` + strings.Repeat("x", 70<<10) + `"}}`, 413, "payload_too_large", "65536"},
	} {
		a := w.post("/v1/intents", c.body, "Content-Type: application/json").refused(c.status, c.code)
		if !strings.Contains(a.text("detail"), c.says) {
			t.Errorf("%s: the answer does not say %q: %s", c.rule, c.says, a.raw)
		}
	}
	if n := len(w.get("/v1/intents").want(200).list("intents")); n != 0 {
		t.Errorf("refused bodies made %d intents", n)
	}
}

// TestLongRefusals: a message has an end, however long the names are that it is about.
func TestLongRefusals(t *testing.T) {
	t.Parallel()
	w := setup(t)
	var members []string
	for i := range 40 {
		members = append(members, fmt.Sprintf(`"%0200d":1`, i))
	}
	many := strings.Join(members, ",")
	long := strings.Repeat("ä", 5000)
	for _, body := range []string{
		`{"intent_type":"a","to_agent":"b","payload":{},"delivery":{` + many + `}}`,
		`{"intent_type":"a","to_agent":"b","payload":{"` + long + `":}}`,
		`{"intent_type":"a","to_agent":"b","payload":{"` + long + `":1,"` + long + `":1}}`,
	} {
		a := w.post("/v1/intents", body)
		if n := len(a.text("error.message")); a.status < 400 || n > 2000 || n < 1000 {
			t.Errorf("got %d with a message of %d bytes, want a refusal with one of at most 2000: %.300s", a.status, n, a.raw)
		}
	}
}

func TestEveryFaultIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	a := setup(t).post("/v1/intents", `{"intent_type":3,"payload":{},"deadline_at":"x"}`).refused(422, "schema_invalid")
	got := map[string]bool{}
	for i := range a.list("errors") {
		got[a.text(fmt.Sprintf("errors.%d.pointer", i))] = true
	}
	for _, p := range []string{"/intent_type", "/to_agent", "/deadline_at"} {
		if !got[p] {
			t.Errorf("errors do not name %s: %s", p, a.raw)
		}
	}
}

func TestRefusalsStayValidJSON(t *testing.T) {
	t.Parallel()
	w := setup(t)
	r, err := http.NewRequest("POST", w.url+"/v1/intents", strings.NewReader(good))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Content-Type": {"application/json"}, "Pannier-Deliver-By": {"a", "b", "c"}}
	res, err := w.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 400 || !jsontext.Value(raw).IsValid() {
		t.Errorf("got %d, err %v, and a document that has a name twice: %s", res.StatusCode, err, raw)
	}
	var many strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&many, `"k%d":1,`, i)
	}
	a := w.post("/v1/intents", `{"intent_type":"a","to_agent":"b","payload":{},"delivery":{`+many.String()+`"z":1}}`).refused(422, "schema_invalid")
	if n := len(a.list("errors")); n > 100 {
		t.Errorf("the refusal names %d faults", n)
	}
	w.post("/v1/intents", `{"payload":{"x":"`+strings.Repeat("x", 8<<20)+`"}}`).refused(413, "payload_too_large")
}

func TestOptionsAsHeaders(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, c := range []struct {
		header string
		status int
		says   string
	}{
		{"Pannier-Deliver-By: soon", 422, "header Pannier-Deliver-By"},
		{"Pannier-Max-Delivery-Attempts: 2", 400, "differs"},
		{"Pannier-Max-Delivery-Attempts: lots", 400, "differs"},
		{"Pannier-Deliver-Bye: 2030-01-01T00:00:00Z", 422, "did you mean Pannier-Deliver-By?"},
		{"Pannier-Ordering-Key: k", 422, "not available"},
		{"Pannier-Durability: remote", 422, "receiver"},
	} {
		body := `{"intent_type":"a","to_agent":"b","payload":{},"max_delivery_attempts":1}`
		if a := w.post("/v1/intents", body, c.header).want(c.status); !strings.Contains(a.text("detail"), c.says) {
			t.Errorf("%s: the answer does not say %q: %s", c.header, c.says, a.raw)
		}
	}
	id := w.post("/v1/intents", `{"intent_type":"a","to_agent":"b","payload":{},"max_delivery_attempts":2}`,
		"Pannier-Max-Delivery-Attempts: 2", "Pannier-Reply-To: acme/prod/orders", "Pannier-On-Exhausted: hold").want(200).text("intent_id")
	i := w.get("/v1/intents/" + id).want(200)
	if i.text("intent.max_delivery_attempts") != "2" || i.text("intent.reply_to") != "agent://acme/prod/orders" {
		t.Errorf("options did not arrive: %s", i.raw)
	}
}

func TestCorrelationIDAsOption(t *testing.T) {
	t.Parallel()
	w := setup(t)
	correlation := func(id string) string { return w.get("/v1/intents/" + id).text("intent.correlation_id") }
	short := w.post("/v1/agents/b/intents/a", `{}`, "Pannier-Correlation-Id: c-1", "Idempotency-Key: k").want(200).text("intent_id")
	if got := correlation(short); got != "c-1" {
		t.Errorf("as a header it is %q", got)
	}
	// An SDK invents a new one at each call: it is no part of what a key stands for.
	if again := w.post("/v1/agents/b/intents/a", `{}`, "Pannier-Correlation-Id: c-2", "Idempotency-Key: k").want(200).text("intent_id"); again != short {
		t.Errorf("another correlation id made another intent under one key")
	}
	full := `{"intent_type":"a","to_agent":"b","payload":{},"correlation_id":"c-3"`
	if got := correlation(w.post("/v1/intents", full+`,"delivery":{"correlation_id":"c-3"}}`, "Pannier-Correlation-Id: c-3").want(200).text("intent_id")); got != "c-3" {
		t.Errorf("given three times it is %q", got)
	}
	w.post("/v1/intents", full+`}`, "Pannier-Correlation-Id: c-4").refused(400, "invalid_request")
	w.post("/v1/intents", full+`,"delivery":{"correlation_id":"c-4"}}`).refused(400, "invalid_request")
	w.post("/v1/intents", `{"intent_type":"a","to_agent":"b","payload":{},"delivery":{"correlation_id":1}}`).refused(422, "schema_invalid")
}

func TestTimesReachTheJournal(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.post("/v1/intents", `{"intent_type":"a","to_agent":"b","payload":{},
		"deadline_at":"2035-01-02T03:04:05Z","delivery":{"deliver_by":"2034-01-02T03:04:05+01:00"}}`).want(200).text("intent_id")
	i := w.get("/v1/intents/" + id).want(200)
	if got := i.text("intent.deadline_at"); got != "2035-01-02T03:04:05.000Z" {
		t.Errorf("deadline_at is %s", got)
	}
	if got := i.text("intent.deliver_by"); got != "2034-01-02T02:04:05.000Z" {
		t.Errorf("deliver_by is %s", got)
	}
	delayed := w.post("/v1/agents/later/intents/a", `{}`, "Pannier-Delay-Seconds: 3600").want(200).text("intent_id")
	i = w.get("/v1/intents/" + delayed).want(200)
	if i.text("intent.lifecycle_waiting_reason") != "WAITING_FOR_TIME" || i.text("intent.status") != "SUBMITTED" {
		t.Errorf("a delayed intent does not say that it waits for its time: %s", i.raw)
	}
	if got := w.get("/v1/agents/later/intents").want(200).list("intents"); len(got) != 0 {
		t.Errorf("a delayed intent was handed over at once: %v", got)
	}
	if got := w.get("/v1/intents/" + delayed + "/why").text("causes.0.code"); got != "scheduled" {
		t.Errorf("why says %q, want scheduled", got)
	}
}

func TestFoldingOfABodyWithoutPayload(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, c := range []struct{ rule, body, payload, to, correlation string }{
		{"unknown fields are the payload, in order", `{"intent_type":"a","z": 1,"to_agent":"b","a":{"x": 2}}`, `{"z":1,"a":{"x": 2}}`, "b", ""},
		{"camel case", `{"intentType":"a","toAgent":"x/b","correlationId":"c-1","total":5}`, `{"total":5}`, "agent://x/b", "c-1"},
		{"snake wins, camel is data", `{"intent_type":"a","to_agent":"b","toAgent":"c"}`, `{"toAgent":"c"}`, "b", ""},
		{"nothing left", `{"intent_type":"a","to_agent":"b"}`, `{}`, "b", ""},
		{"names of ours that AXP does not know are data", `{"intent_type":"a","to_agent":"b","priority":"high"}`, `{"priority":"high"}`, "b", ""},
		{"camel case is not read beside a payload", `{"intent_type":"a","to_agent":"b","payload":{},"correlationId":"c-2"}`, `{}`, "b", ""},
	} {
		id := w.post("/v1/intents", c.body).want(200).text("intent_id")
		i := w.get("/v1/intents/" + id).want(200)
		if !bytes.Contains(i.raw, []byte(`"payload":`+c.payload)) {
			t.Errorf("%s: want payload %s in %s", c.rule, c.payload, i.raw)
		}
		if got := i.text("intent.to_agent"); got != c.to {
			t.Errorf("%s: to_agent is %s, want %s", c.rule, got, c.to)
		}
		if got := i.text("intent.correlation_id"); got == "" || c.correlation != "" && got != c.correlation {
			t.Errorf("%s: correlation_id is %q, want %q", c.rule, got, c.correlation)
		}
	}
	w.post("/v1/intents", `{"intentType":"a","toAgent":"b","remindAfterSeconds":5}`).refused(422, "not_available")
}

func TestSenderIsTheGivenOneOrTheSidecars(t *testing.T) {
	t.Parallel()
	w := setup(t)
	given := w.post("/v1/intents", `{"intent_type":"a","to_agent":"b","from_agent":"acme/prod/x","payload":{}}`).text("intent_id")
	absent := w.intent("b")
	if got := w.get("/v1/intents/" + given).text("intent.from_agent"); got != "agent://acme/prod/x" {
		t.Errorf("from_agent is %s", got)
	}
	if got := w.get("/v1/intents/" + absent).text("intent.from_agent"); got != "agent://test/app/sender" {
		t.Errorf("from_agent is %s", got)
	}
}

func TestIdempotencyKeyMakesOneIntent(t *testing.T) {
	t.Parallel()
	w := setup(t)
	body := func(correlation, amount string) string {
		return `{"intent_type":"a","to_agent":"b","correlation_id":"` + correlation + `","payload":{"amount":` + amount + `,"b":1}}`
	}
	first := w.post("/v1/intents", body("1", "9007199254740993"), "Idempotency-Key: k1").want(200)
	if first.header.Get("Idempotency-Replayed") != "" {
		t.Error("the first answer says it is a replay")
	}
	for rule, again := range map[string]*answer{
		"same body, other correlation_id": w.post("/v1/intents", body("2", "9007199254740993"), "Idempotency-Key: k1"),
		"quoted key":                      w.post("/v1/intents", body("1", "9007199254740993"), `Idempotency-Key: "k1"`),
		"key in the body":                 w.post("/v1/intents", strings.Replace(body("1", "9007199254740993"), "{", `{"idempotency_key":"k1",`, 1)),
		"other order of members": w.post("/v1/intents",
			`{"payload":{"b":1, "amount":9007199254740993},"to_agent":"b","intent_type":"a"}`, "Idempotency-Key: k1"),
		"an item of a batch": w.post("/v1/intents:batch",
			`{"intents":[`+strings.Replace(body("1", "9007199254740993"), "{", `{"idempotency_key":"k1",`, 1)+`]}`),
	} {
		id, replayed := again.want(200).text("intent_id"), again.header.Get("Idempotency-Replayed")
		if strings.Contains(rule, "batch") {
			id, replayed = again.text("results.0.intent_id"), "true"
		}
		if id != first.text("intent_id") || replayed != "true" {
			t.Errorf("%s: not replayed (%q): %s", rule, replayed, again.raw)
		}
	}
	for rule, other := range map[string]*answer{
		"other amount, equal as a float": w.post("/v1/intents", body("1", "9007199254740992"), "Idempotency-Key: k1"),
		"other option":                   w.post("/v1/intents", body("1", "9007199254740993"), "Idempotency-Key: k1", "Pannier-On-Exhausted: hold"),
	} {
		if other.status != 409 {
			t.Errorf("%s: got %d, want 409: %s", rule, other.status, other.raw)
		}
	}
	w.post("/v1/intents", body("1", "1"), "Idempotency-Key: k1").refused(409, "idempotency_conflict")
	if short := w.post("/v1/agents/b/intents/a", `{"amount":1}`, "Idempotency-Key: k1").want(200); short.text("intent_id") == first.text("intent_id") {
		t.Error("a key of another path made the same intent")
	}
	w.post("/v1/intents", `{"intent_type":"a","to_agent":"b","payload":{},"idempotency_key":"x"}`, "Idempotency-Key: y").refused(400, "invalid_request")
	for _, bad := range []string{`"open`, "sp ace", strings.Repeat("k", 256), `"a\x"`, `""`} {
		w.post("/v1/intents", good, "Idempotency-Key: "+bad).refused(400, "invalid_request")
	}
}

func TestConcurrentFirstCallsMakeOneIntent(t *testing.T) {
	t.Parallel()
	w := setup(t)
	var wg sync.WaitGroup
	ids := make([]string, 16)
	for i := range ids {
		wg.Go(func() { ids[i] = w.post("/v1/intents", good, "Idempotency-Key: race").text("intent_id") })
	}
	wg.Wait()
	for _, id := range ids {
		if id == "" || id != ids[0] {
			t.Fatalf("one key made several intents: %v", ids)
		}
	}
}

func TestBatchAnswersEachItemInOrder(t *testing.T) {
	t.Parallel()
	w := setup(t, func(o *api.Options) { o.MaxBody = 8 << 10 })
	item := `{"intent_type":"a","to_agent":"b","payload":{"n":%d}}`
	body := `{"intents":[` + fmt.Sprintf(item, 0) + `,{"to_agent":"b"},` + fmt.Sprintf(item, 2) + `,7,` +
		`{"intent_type":"a","to_agent":"b","payload":{"x":"` + strings.Repeat("x", 9<<10) + `"}}]}`
	a := w.post("/v1/intents:batch", body).want(200)
	if n := len(a.list("results")); n != 5 {
		t.Fatalf("got %d results for 5 items: %s", n, a.raw)
	}
	for i, want := range []string{"", "schema_invalid", "", "schema_invalid", "payload_too_large"} {
		at := fmt.Sprintf("results.%d.", i)
		if got := a.text(at + "error.code"); got != want || (a.text(at+"ok") == "true") != (want == "") {
			t.Errorf("item %d: got code %q, want %q", i, got, want)
		}
		if id := a.text(at + "intent_id"); want == "" && w.get("/v1/intents/"+id).text("intent.payload.n") != fmt.Sprint(i) {
			t.Errorf("item %d: another item's intent", i)
		}
	}
	w.post("/v1/intents:batch", `{"intents":[]}`).want(200)
	w.post("/v1/intents:batch", `{"intents":{}}`).refused(422, "schema_invalid")
	w.post("/v1/intents:batch", `{"items":[]}`).refused(422, "schema_invalid")
	w.post("/v1/intents:batch", `{"intents":[`+strings.Repeat("{},", 1000)+`{}]}`).refused(422, "schema_invalid")
	w.post("/v1/intents:batch", `{"intents":[]}`, "Idempotency-Key: k").refused(400, "invalid_request")
	w.post("/v1/intents:batch", `{"intents":[]}`, "Pannier-Durability: receiver").refused(400, "invalid_request")
}

func TestDurabilityReceiverSaysWhatWasReached(t *testing.T) {
	t.Parallel()
	w := setup(t)
	holder := journal.Identity{Journal: journal.NewID(), Epoch: 1}
	done := make(chan *answer)
	go func() { done <- w.post("/v1/intents", good, "Pannier-Durability: receiver") }()
	id := w.newest()
	held := make(chan struct{})
	w.journal.RecordHeld(holder, []journal.ID{id}, []uint64{1}, true, func() { close(held) })
	<-held
	if got := (<-done).want(200).header.Get("Pannier-Durability"); got != "receiver" {
		t.Errorf("held elsewhere, but Pannier-Durability is %q", got)
	}
	go func() {
		done <- w.post("/v1/intents", strings.Replace(good, "billing", "here", 1), "Pannier-Durability: receiver")
	}()
	w.newest()
	w.get("/v1/agents/acme/prod/here/intents?wait_seconds=5").want(200)
	if got := (<-done).want(200).header.Get("Pannier-Durability"); got != "local" {
		t.Errorf("handed over by home itself, but Pannier-Durability is %q", got)
	}
}

// newest waits for an intent that is not yet recorded anywhere.
func (w *world) newest() journal.ID {
	w.t.Helper()
	for range 500 {
		l, _, err := w.journal.List(journal.Filter{Limit: 1})
		if err != nil {
			w.t.Error(err)
		}
		if len(l) == 1 && journal.Place(l[0].Head.Place) == journal.PlaceDue {
			return l[0].ID
		}
		time.Sleep(2 * time.Millisecond)
	}
	w.t.Fatal("no intent was accepted")
	return journal.ID{}
}

func TestPreferWaitAddsTheOutcome(t *testing.T) {
	t.Parallel()
	w := setup(t)
	done := make(chan *answer)
	go func() { done <- w.post("/v1/intents", good, "Prefer: wait=10") }()
	id := w.newest()
	w.post("/v1/intents/"+id.String()+"/resolve", `{"status":"COMPLETED","result":{"x":1}}`).want(200)
	a := (<-done).want(200)
	if a.text("intent.result.x") != "1" || a.header.Get("Preference-Applied") != "wait=10" {
		t.Errorf("the outcome is not in the answer: %s", a.raw)
	}
	if late := w.post("/v1/intents", good, "Prefer: wait=0").want(200); late.at("intent") != nil {
		t.Errorf("an open intent was shown as an outcome: %s", late.raw)
	}
}
