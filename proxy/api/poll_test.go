package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pannier/inbound"
	"pannier/journal"
	"pannier/journal/journaltest"
	"pannier/journal/state"
	"pannier/journal/wire/peer"
)

func TestPollItemHasItsFieldsInOrder(t *testing.T) {
	t.Parallel()
	w := setup(t)
	trace := "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	id := w.post("/v1/intents", `{"intent_type":"a.v1","to_agent":"x/b","correlation_id":"c","from_agent":"me","payload":{"n": 1}}`,
		"Idempotency-Key: senders-own", "Traceparent: "+trace).want(200).text("intent_id")
	a := w.get("/v1/agents/x/b/intents?lease_seconds=60").want(200)
	if a.at("next_cursor") != nil || !bytes.Contains(a.raw, []byte(`"next_cursor":null`)) {
		t.Errorf("next_cursor is not null: %s", a.raw)
	}
	var keys []string
	dec := json.NewDecoder(bytes.NewReader(a.raw[bytes.Index(a.raw, []byte(`[{`))+1:]))
	for depth := 0; ; {
		tok, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		switch tok {
		case json.Delim('{'):
			depth++
		case json.Delim('}'):
			depth--
		}
		if depth == 0 {
			break
		}
		if s, ok := tok.(string); ok && depth == 1 {
			keys = append(keys, s)
			if dec.More() {
				var skip json.RawMessage
				if err := dec.Decode(&skip); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	want := "intent_id seq intent_type from_agent to_agent correlation_id payload status delivery_attempt redelivered idempotency_key traceparent lease_id lease_until"
	if got := strings.Join(keys, " "); got != want {
		t.Errorf("item has\n%s\nwant\n%s", got, want)
	}
	for path, want := range map[string]string{
		"intent_id": id, "intent_type": "a.v1", "from_agent": "me", "to_agent": "agent://x/b", "correlation_id": "c",
		"status": "DELIVERED", "delivery_attempt": "1", "redelivered": "false", "traceparent": trace, "seq": "1",
		"idempotency_key": id, // the receiver dedupes by the intent, whatever key its sender used
	} {
		if got := a.text("intents.0." + path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	until, err := time.Parse(time.RFC3339, a.text("intents.0.lease_until"))
	if left := time.Until(until); err != nil || left < 50*time.Second || left > 61*time.Second {
		t.Errorf("lease_until is in %s, want about 60 s (%v)", left, err)
	}
}

func TestPollParametersReachTheMailbox(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, c := range []struct {
		query, header string
		want          inbound.PullRequest
		applied       string
	}{
		{"", "", inbound.PullRequest{Limit: 64}, ""},
		{"?limit=1000&lease_seconds=3600", "", inbound.PullRequest{Limit: 1000, Lease: time.Hour}, ""},
		{"?wait_seconds=1", "", inbound.PullRequest{Limit: 64, Wait: time.Second}, ""},
		{"", "Prefer: respond-async, wait=1", inbound.PullRequest{Limit: 64, Wait: time.Second}, "wait=1"},
		{"?wait_seconds=0", "Prefer: wait=50", inbound.PullRequest{Limit: 64}, ""},
	} {
		c.want.Agent = "q"
		began := time.Now()
		a := w.get("/v1/agents/q/intents"+c.query, "X-Nothing: 1", pick(c.header, "X-None: 1")).want(200)
		if got := w.mailbox.lastPull(); got != c.want {
			t.Errorf("%s %s: asked for %+v, want %+v", c.query, c.header, got, c.want)
		}
		if took := time.Since(began); took < c.want.Wait {
			t.Errorf("%s %s: an idle poll ended after %s", c.query, c.header, took)
		}
		if got := a.header.Get("Preference-Applied"); got != c.applied {
			t.Errorf("%s %s: Preference-Applied is %q, want %q", c.query, c.header, got, c.applied)
		}
	}
}

func pick(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// lease accepts an intent and polls it.
func (w *world) lease(agent string) (id, lease string) {
	w.t.Helper()
	id = w.intent(agent)
	a := w.get("/v1/agents/" + agent + "/intents").want(200)
	if got := a.text("intents.0.intent_id"); got != id {
		w.t.Fatalf("polled %q, want %q", got, id)
	}
	return id, a.text("intents.0.lease_id")
}

func TestAckIsFencedAndRepeatable(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id, lease := w.lease("b")
	ack := func(lease, result string) *answer {
		return w.post("/v1/intents/"+id+"/ack", `{"lease_id":"`+lease+`","result":`+result+`}`)
	}
	ack(journal.NewID().String(), `{}`).refused(409, "lease_lost")
	if a := ack(lease, `{"a": 1}`).want(200); a.text("status") != "COMPLETED" || a.text("intent_id") != id {
		t.Errorf("ack: %s", a.raw)
	}
	ack(lease, `{"a": 1}`).want(200)
	if a := ack(lease, `{"a":2}`).refused(409, "intent_ended"); a.text("error.details.status") != "COMPLETED" {
		t.Errorf("another result under the same lease: %s", a.raw)
	}
	if i := w.get("/v1/intents/" + id); !bytes.Contains(i.raw, []byte(`"result":{"a": 1}`)) {
		t.Errorf("the result is not the one acked first: %s", i.raw)
	}
}

func TestNackAndExtend(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id, lease := w.lease("b")
	a := w.post("/v1/intents/"+id+"/extend", `{"lease_id":"`+lease+`","lease_seconds":120}`).want(200)
	until, err := time.Parse(time.RFC3339, a.text("lease_until"))
	if left := time.Until(until); err != nil || left < 110*time.Second || left > 121*time.Second {
		t.Errorf("extended until in %s, want about 120 s (%v): %s", left, err, a.raw)
	}
	w.post("/v1/intents/"+id+"/extend", `{"lease_id":"`+lease+`"}`).want(200)
	if a := w.post("/v1/intents/"+id+"/nack", `{"lease_id":"`+lease+`","delay_seconds":0,"reason":"later"}`).want(200); a.text("status") == "" {
		t.Errorf("nack: %s", a.raw)
	}
	events := w.get("/v1/intents/" + id + "/events").want(200)
	if !bytes.Contains(events.raw, []byte("intent.delivery_failed")) || !bytes.Contains(events.raw, []byte(`"message":"later"`)) {
		t.Errorf("a failed attempt has no event with its reason: %s", events.raw)
	}
	id, lease = w.lease("c")
	if a := w.post("/v1/intents/"+id+"/nack", `{"lease_id":"`+lease+`","reject":true,"reason":"never"}`).want(200); a.text("status") != "FAILED" {
		t.Errorf("rejected: %s", a.raw)
	}
	if i := w.get("/v1/intents/" + id); i.text("intent.status") != "FAILED" || i.text("intent.error.reason") != "rejected" {
		t.Errorf("a dead letter does not say why: %s", i.raw)
	}
}

func TestSettleBodiesAreStrict(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id, lease := w.lease("b")
	for _, c := range []struct {
		path, body string
		status     int
		says       string
	}{
		{"ack", ``, 400, "empty"},
		{"ack", `{}`, 422, "/lease_id is required"},
		{"ack", `{"lease_id":"x"}`, 422, "/lease_id must be a UUID"},
		{"ack", `{"lease_id":"` + lease + `","resutl":{}}`, 422, "did you mean result?"},
		{"ack", `{"lease_id":"` + lease + `","result":[]}`, 422, "/result must be"},
		{"nack", `{"lease_id":"` + lease + `","result":{}}`, 422, "/result is not a field"},
		{"nack", `{"lease_id":"` + lease + `","reject":"yes"}`, 422, "true or false"},
		{"nack", `{"lease_id":"` + lease + `","delay_seconds":-1}`, 422, "from 0"},
		{"nack", `{"lease_id":"` + lease + `","delay_seconds":5,"reject":true}`, 400, "reject"},
		{"extend", `{"lease_id":"` + lease + `","lease_seconds":3601}`, 422, "from 1 to 3600"},
	} {
		if a := w.post("/v1/intents/"+id+"/"+c.path, c.body).want(c.status); !strings.Contains(a.text("detail"), c.says) {
			t.Errorf("%s %s: the answer does not say %q: %s", c.path, c.body, c.says, a.raw)
		}
	}
	w.post("/v1/intents/"+id+"/ack", `{"lease_id":"`+lease+`"}`).want(200)
}

func TestSettleManyAnswersEachInOrder(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id1, lease1 := w.lease("b")
	id2, lease2 := w.lease("b")
	id3, lease3 := w.lease("b")
	item := func(id, lease, action, more string) string {
		return fmt.Sprintf(`{"intent_id":%q,"lease_id":%q,"action":%q%s}`, id, lease, action, more)
	}
	a := w.post("/v1/agents/b/intents:settle", `{"items":[`+strings.Join([]string{
		item(id1, lease1, "ack", `,"result":{"k":1}`),
		item(id2, lease1, "ack", ""),
		item(id2, lease2, "extend", `,"lease_seconds":9`),
		item(id3, lease3, "nack", `,"reject":true`),
		item(journal.NewID().String(), lease3, "ack", ""),
		item(id3, lease3, "done", ""),
		`3`,
	}, ",")+`]}`).want(200)
	for i, want := range []string{"COMPLETED", "lease_lost", "IN_PROGRESS", "FAILED", "intent_not_found", "schema_invalid", "schema_invalid"} {
		at := fmt.Sprintf("results.%d.", i)
		got := a.text(at + "status")
		if a.text(at+"ok") == "false" {
			got = a.text(at + "error.code")
		}
		if i == 2 && got == "ACKNOWLEDGED" {
			got = "IN_PROGRESS" // the first extend of a lease acknowledges
		}
		if got != want {
			t.Errorf("item %d: got %s, want %s: %s", i, got, want, a.raw)
		}
	}
	if a.text("results.2.lease_until") == "" {
		t.Errorf("an extend does not say until when: %s", a.raw)
	}
	w.post("/v1/agents/b/intents:settle", `{"items":[`+strings.Repeat("{},", 1000)+`{}]}`).refused(422, "schema_invalid")
}

func TestWhy(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.intent("b")
	why := func() *answer { return w.get("/v1/intents/" + id + "/why").want(200) }
	if a := why(); a.text("causes.0.code") != "offering" || a.text("status") != "SUBMITTED" || a.text("text") == "" || a.text("as_of") == "" {
		t.Errorf("nothing in the way: %s", a.raw)
	}
	w.sender.causes = []state.Delay{{Cause: state.CauseBreakerOpen, Until: time.UnixMilli(4e12), Peer: "10.0.0.1:7401"}}
	if a := why(); a.text("causes.0.code") != "breaker_open" || a.text("causes.0.until") != "2096-10-02T07:06:40.000Z" ||
		a.text("causes.0.peer") != "10.0.0.1:7401" || a.text("attempts.n") != "0" || a.text("attempts.max") != "10" {
		t.Errorf("what the dispatcher says: %s", a.raw)
	}
	item := w.get("/v1/agents/b/intents").want(200)
	if a := why(); a.text("causes.0.code") != "leased" || a.text("causes.0.until") != item.text("intents.0.lease_until") ||
		a.text("held_by") != w.journal.Identity().Journal.String() {
		t.Errorf("leased here: %s", a.raw)
	}
	w.post("/v1/intents/"+id+"/nack", `{"lease_id":"`+item.text("intents.0.lease_id")+`","delay_seconds":600}`).want(200)
	if a := why(); a.text("causes.0.code") != "backing_off" || a.text("next_try_at") == "" || a.text("attempts.n") != "1" {
		t.Errorf("after a failed attempt: %s", a.raw)
	}
	w.resolve(id, `{"status":"CANCELED"}`).want(200)
	if a := why(); a.text("causes.0.code") != "ended" || a.text("status") != "CANCELED" || a.text("text") != state.CauseEnded.Sentence()+" Reason canceled: "+state.ReasonCanceled.Sentence() {
		t.Errorf("ended: %s", a.raw)
	}
	id = w.intent("b")
	w.resolve(id, `{"status":"COMPLETED","result":{"message":"fine"}}`).want(200)
	if a := why(); a.text("text") != state.CauseEnded.Sentence() {
		t.Errorf("ended as it was to: %s", a.raw)
	}
	id = w.intent("b")
	w.resolve(id, `{"status":"FAILED","error":{"message":"card declined"}}`).want(200)
	if a := why(); !strings.HasSuffix(a.text("text"), "Last error: card declined") {
		t.Errorf("ended with an error: %s", a.raw)
	}
}

// What is open beyond its limit of time because the clock has jumped says so, and until when.
func TestWhyOfATimeThatThePausedClockHolds(t *testing.T) {
	t.Parallel()
	up := time.Hour
	o := journal.Options{Dir: t.TempDir(), SinceBoot: func() (string, time.Duration) { return "boot", up }}
	before, err := journaltest.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	up += 48 * time.Hour // in which the wall clock has not moved
	w := newWorld(t).serve(openJournalWith(t, o))
	limit := time.Now().Add(300 * time.Millisecond).UTC()
	id := w.post("/v1/intents", `{"intent_type":"a.v1","to_agent":"b","payload":{},"deadline_at":"`+limit.Format("2006-01-02T15:04:05.000Z")+`"}`).want(200).text("intent_id")
	if a := w.get("/v1/intents/" + id + "/why").want(200); time.Now().Before(limit) && a.text("causes.1.code") != "" {
		t.Errorf("before its limit: %s", a.raw)
	}
	for {
		a := w.get("/v1/intents/" + id + "/why").want(200)
		if a.text("status") != "SUBMITTED" || time.Now().After(limit.Add(time.Minute)) {
			t.Fatalf("it does not say that the clock holds it: %s", a.raw)
		}
		if a.text("causes.1.code") == "clock_paused" {
			if a.text("causes.0.code") != "offering" || a.text("causes.1.until") == "" {
				t.Errorf("got %s", a.raw)
			}
			return
		}
	}
}

func TestWhyOfAnIntentHeldElsewhere(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.intent("b")
	holder := journal.Identity{Journal: journal.NewID(), Epoch: 1}
	held := make(chan struct{})
	parsed, err := journal.ParseID(id)
	if err != nil {
		t.Fatal(err)
	}
	w.sender.holder, w.sender.answer = holder.Journal, &peer.Answer{Text: "leased", Phase: uint32(state.Leased)}
	if a := w.get("/v1/intents/" + id + "/why").want(200); a.text("causes.0.code") != "leased" || a.text("held_by") != holder.Journal.String() {
		t.Errorf("said held, and not on record: %s", a.raw)
	}
	w.sender.holder, w.sender.answer, w.sender.givenUp = journal.ID{}, nil, time.UnixMilli(4e12)
	w.journal.RecordHeld(holder, []journal.ID{parsed}, []uint64{1}, true, func() { close(held) })
	<-held
	a := w.get("/v1/intents/" + id + "/why").want(200)
	if a.text("causes.0.code") != "holder_unreachable" || a.text("held_by") != holder.Journal.String() || a.text("causes.0.until") != "2096-10-02T07:06:40.000Z" {
		t.Errorf("a holder that does not answer: %s", a.raw)
	}
	w.sender.answer = &peer.Answer{Text: "no_reader", Phase: uint32(state.Ready), Attempts: 2, NextDueMs: 1}
	a = w.get("/v1/intents/" + id + "/why").want(200)
	if a.text("causes.0.code") != "no_reader" || a.text("attempts.n") != "2" || a.text("causes.0.peer") != holder.Journal.String() || a.text("next_try_at") != "" {
		t.Errorf("what the holder says: %s", a.raw)
	}
}

func TestWhyAtTheHolder(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.held(journal.Identity{Journal: journal.NewID(), Epoch: 1}, "here").String()
	next := time.Now().Add(time.Minute)
	w.mailbox.causes = []state.Delay{{Cause: state.CauseBackingOff, Until: next}, {Cause: state.CauseDoorShut}}
	a := w.get("/v1/intents/" + id + "/why").want(200)
	if a.text("causes.0.code") != "backing_off" || a.text("causes.1.code") != "door_shut" || a.text("next_try_at") != a.text("causes.0.until") {
		t.Errorf("what the mailbox says: %s", a.raw)
	}
}
