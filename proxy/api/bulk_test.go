package api_test

import (
	"strings"
	"testing"
	"time"
)

func TestBulkCancel(t *testing.T) {
	t.Parallel()
	w := setup(t)
	const path = "/v1/intents/bulk-cancel"
	var ids []string
	for range 25 {
		ids = append(ids, w.intent("b"))
	}
	done := w.intent("b")
	w.resolve(done, `{"status":"COMPLETED"}`).want(200)

	if a := w.post(path, `{"older_than_hours":1}`).want(200); a.text("canceled") != "0" {
		t.Errorf("nothing is an hour old: %s", a.raw)
	}
	if a := w.post(path, `{"older_than_hours":0,"dry_run":true,"limit":7}`).want(200); a.text("would_cancel") != "7" || a.text("intent_ids.0") != ids[24] || a.text("intent_ids.6") != ids[18] {
		t.Errorf("seven, dry: %s", a.raw)
	}
	if a := w.post(path, `{"older_than_hours":0,"status_filter":["WAITING"]}`).want(200); a.text("canceled") != "0" {
		t.Errorf("none is WAITING: %s", a.raw)
	}
	if a := w.post(path, `{"older_than_hours":0,"status_filter":["SUBMITTED"],"limit":20,"reason":"cleaning up"}`).want(200); a.text("canceled") != "20" {
		t.Errorf("twenty: %s", a.raw)
	}
	if a := w.post(path, `{"older_than_hours":0}`).want(200); a.text("canceled") != "5" {
		t.Errorf("and the rest: %s", a.raw)
	}
	for _, id := range ids {
		if a := w.get("/v1/intents/" + id).want(200); a.text("intent.status") != "CANCELED" {
			t.Errorf("%s: %s", id, a.raw)
		}
	}
	if a := w.get("/v1/intents/" + done).want(200); a.text("intent.status") != "COMPLETED" {
		t.Errorf("what had ended: %s", a.raw)
	}
	for body, says := range map[string]string{
		`{}`:                               "/older_than_hours is required",
		`{"older_than_hours":-1}`:          "/older_than_hours must be",
		`{"older_than_hours":0,"limit":0}`: "/limit must be",
		`{"older_than_hours":0,"older":1}`: "/older is not a field",
		`{"older_than_hours":0,"status_filter":["COMPLETED"]}`: `"COMPLETED" is no status of an open intent`,
		`{"older_than_hours":0,"status_filter":"WAITING"}`:     "/status_filter must be a list",
	} {
		if a := w.post(path, body).refused(422, "schema_invalid"); !strings.Contains(a.text("detail"), says) {
			t.Errorf("%s: %s, want %q", body, a.text("detail"), says)
		}
	}
}

// A repeat under the key cancels no others than the first call did, and says the same.
func TestBulkCancelUnderAKey(t *testing.T) {
	t.Parallel()
	w := setup(t)
	const path, body, key = "/v1/intents/bulk-cancel", `{"older_than_hours":0,"limit":2}`, "Idempotency-Key: sweep-1"
	open := func() string {
		return w.post(path, `{"older_than_hours":0,"dry_run":true}`).want(200).text("would_cancel")
	}
	for range 5 {
		w.intent("b")
	}
	dry := w.post(path, `{"older_than_hours":0,"limit":2,"dry_run":true}`, "Idempotency-Key: look").want(200)
	one := w.post(path, body, key).want(200)
	if one.text("canceled") != "2" || one.header.Get("Idempotency-Replayed") != "" || open() != "3" {
		t.Fatalf("the first call: %s, and %s are open; want 2 and 3", one.raw, open())
	}
	two := w.post(path, body, key).want(200)
	if string(two.raw) != string(one.raw) || two.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("its repeat: %s (replayed: %q), want %s again", two.raw, two.header.Get("Idempotency-Replayed"), one.raw)
	}
	if n := open(); n != "3" {
		t.Errorf("after the repeat %s are open, want 3", n)
	}
	if again := w.post(path, `{"limit":2,"older_than_hours":0,"dry_run":true}`, "Idempotency-Key: look").want(200); string(again.raw) != string(dry.raw) {
		t.Errorf("a dry run, and its repeat once they are canceled: %s, then %s", dry.raw, again.raw)
	}
	w.post(path, `{"older_than_hours":0}`, key).refused(409, "idempotency_conflict")
	if a := w.post(path, body, "Idempotency-Key: sweep-2").want(200); a.text("canceled") != "2" || open() != "1" {
		t.Errorf("another key: %s, and %s are open; want 2 and 1", a.raw, open())
	}
	w.post(path, `{"older_than_hours":0}`, "Idempotency-Key: a b").refused(400, "invalid_request")
}

// None to cancel is an answer too: what comes later is not its repeat's.
func TestBulkCancelOfNoneUnderAKey(t *testing.T) {
	t.Parallel()
	w := setup(t)
	const path, body, key = "/v1/intents/bulk-cancel", `{"older_than_hours":0}`, "Idempotency-Key: sweep"
	w.post(path, body, key).want(200)
	w.intent("b")
	if a := w.post(path, body, key).want(200); a.text("canceled") != "0" || a.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("the repeat: %s, want none canceled", a.raw)
	}
}

func TestGetWaitsForTheEnd(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.intent("b")
	path := "/v1/intents/" + id
	if a := w.get(path + "?wait_for=terminal&wait_seconds=0").want(200); a.text("intent.status") != "SUBMITTED" {
		t.Errorf("without waiting: %s", a.raw)
	}
	waited := make(chan *answer, 1)
	go func() { waited <- w.get(path + "?wait_for=terminal") }()
	select {
	case a := <-waited:
		t.Fatalf("it did not wait: %s", a.raw)
	case <-time.After(50 * time.Millisecond):
	}
	w.resolve(id, `{"status":"FAILED","error":{"code":"x"}}`).want(200)
	if a := (<-waited).want(200); a.text("intent.status") != "FAILED" || a.text("intent.error.code") != "x" {
		t.Errorf("at its end: %s", a.raw)
	}
	if a := w.get(path + "?wait_for=terminal").want(200); a.text("intent.status") != "FAILED" {
		t.Errorf("after its end: %s", a.raw)
	}
}
