package api_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire/peer"
)

func TestControlsAndPolicy(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.intent("b")
	path := "/v1/intents/" + id
	a := w.post(path+"/controls", `{"controls_patch":{"timeout_seconds":5,"max_retry_count":3},"actor":"me","reason":"slow","internal_scheduler":false}`).want(200)
	if a.text("applied") != "true" || a.text("policy_generation") != "1" || len(decode(t, a.raw)) != 3 {
		t.Errorf("controls: %s", a.raw)
	}
	a = w.post(path+"/policy", `{"grants_patch":{"delegate:agent://ops":{"allow":["resume"]}},"envelope_patch":{"ttl_seconds":600,"execution_timeout_seconds":90,"retry_backoff_seconds":7}}`).want(200)
	if a.text("policy_generation") != "2" {
		t.Errorf("policy: %s", a.raw)
	}
	w.post(path+"/controls", `{"controls":{"reminders":[{"offset_seconds":60}]}}`).want(200)
	got := w.get(path).want(200)
	for at, want := range map[string]string{
		"policy_generation": "3", "max_delivery_attempts": "3", "controls.timeout_seconds": "5",
		"envelope_policy.retry_backoff_seconds": "7", "controls.max_retry_count": "3",
	} {
		if text := got.text("intent." + at); text != want {
			t.Errorf("%s is %q, want %q", at, text, want)
		}
	}
	if !strings.Contains(string(got.raw), `"reminders":[{"offset_seconds":60}]`) || !strings.Contains(string(got.raw), `"allow":["resume"]`) {
		t.Errorf("what has no effect is not shown: %s", got.raw)
	}
	deadline, err := time.Parse(time.RFC3339Nano, got.text("intent.deadline_at"))
	if left := time.Until(deadline); err != nil || left > 10*time.Minute || left < 9*time.Minute {
		t.Errorf("%v: %v are left", err, left)
	}
	w.post(path+"/controls", `{"controls_patch":{"deadline_at":"2099-01-01T00:00:00Z"}}`).want(200)
	if at := w.get(path).text("intent.deadline_at"); !strings.HasPrefix(at, "2099-01-01") {
		t.Errorf("deadline_at is %s", at)
	}
}

// TestStaleGeneration: on every word that may name one, 200 and nothing changed.
func TestStaleGeneration(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.intent("b")
	path := "/v1/intents/" + id
	w.post(path+"/controls", `{"controls_patch":{"a":1},"expected_policy_generation":0}`).want(200)
	for suffix, body := range map[string]string{
		"/controls": `{"controls_patch":{"a":2},"expected_policy_generation":0}`,
		"/policy":   `{"envelope_patch":{"max_retry_count":2},"expected_policy_generation":7}`,
		"/resume":   `{"expected_policy_generation":0}`,
		"/resolve":  `{"status":"CANCELED","expected_policy_generation":0}`,
	} {
		for range 2 { // a stale one is not remembered as anything else under its key
			a := w.post(path+suffix, body, "Idempotency-Key: k"+suffix[1:]).want(200)
			if a.text("applied") != "false" || a.text("reason") != "stale_policy_generation" || a.text("policy_generation") != "1" {
				t.Errorf("%s: %s", suffix, a.raw)
			}
		}
	}
	if got := w.get(path); got.text("intent.status") != "SUBMITTED" || got.text("intent.controls.a") != "1" || got.text("intent.max_delivery_attempts") != "10" {
		t.Errorf("something was changed: %s", got.raw)
	}
	w.post(path+"/resolve", `{"status":"CANCELED","expected_policy_generation":1}`).want(200)
	w.post(path+"/controls", `{"controls_patch":{"a":1}}`).refused(409, "intent_ended")
	w.post(path+"/policy", `{"grants_patch":{"a":1}}`).refused(409, "intent_ended")
	w.post("/v1/intents/"+journal.NewID().String()+"/policy", `{"grants_patch":{"a":1}}`).refused(404, "intent_not_found")
}

func TestControlsAreKeyed(t *testing.T) {
	t.Parallel()
	w := setup(t)
	path := "/v1/intents/" + w.intent("b") + "/controls"
	first := w.post(path, `{"controls_patch":{"a":1}}`, "Idempotency-Key: k").want(200)
	w.post(path, `{"controls_patch":{"a":2}}`).want(200)
	again := w.post(path, ` {"controls_patch" : {"a":1}}`, "Idempotency-Key: k").want(200)
	if string(again.raw) != string(first.raw) || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("again: %s, %v", again.raw, again.header)
	}
	w.post(path, `{"controls_patch":{"a":3}}`, "Idempotency-Key: k").refused(409, "idempotency_conflict")
}

func TestControlsRefuseWhatTheyCannotRead(t *testing.T) {
	t.Parallel()
	w := setup(t)
	path := "/v1/intents/" + w.intent("b")
	for body, says := range map[string]string{
		`{}`:                    "/controls_patch is required",
		`{"controls_patch":[]}`: "/controls_patch must be",
		`{"controls_patch":{"max_retry_count":0}}`:              "/controls_patch/max_retry_count must be",
		`{"controls_patch":{"max_retry_count":"3"}}`:            "/controls_patch/max_retry_count must be",
		`{"controls_patch":{"ttl_seconds":-1}}`:                 "/controls_patch/ttl_seconds must be",
		`{"controls_patch":{"expires_at":"tomorrow"}}`:          "/controls_patch/expires_at must be",
		`{"controls_patch":{"deadline_at":1}}`:                  "/controls_patch/deadline_at must be",
		`{"controls_patch":{},"reason":1}`:                      "/reason must be",
		`{"controls_patch":{},"expected_policy_generation":-1}`: "/expected_policy_generation must be",
	} {
		if a := w.post(path+"/controls", body).refused(422, "schema_invalid"); !strings.Contains(a.text("detail"), says) {
			t.Errorf("%s: %s", body, a.text("detail"))
		}
	}
	for _, body := range []string{
		`{"envelope_patch":{"ttl_seconds":1,"expires_at":"2099-01-01T00:00:00Z"}}`,
		`{"envelope_patch":{"deadline_at":"2098-01-01T00:00:00Z","expires_at":"2099-01-01T00:00:00Z"}}`,
		`{"envelope_patch":{"max_delivery_attempts":2,"max_retry_count":3}}`,
	} {
		w.post(path+"/policy", body).refused(400, "invalid_request")
	}
	w.post(path+"/policy", `{"grants_patch":{"a":"`+strings.Repeat("x", 17<<10)+`"}}`).refused(413, "payload_too_large")
	w.post(path+"/policy", `{"grants_patch":{"a":"`+strings.Repeat("x", 64<<10)+`"}}`).refused(413, "payload_too_large")
	if got := w.get(path).text("intent.policy_generation"); got != "0" {
		t.Errorf("generation %s after refusals", got)
	}
}

// TestControlsGoHome: at the holder a change is home's to make, and its refusals are
// passed on.
func TestControlsGoHome(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.held(journal.Identity{Journal: journal.NewID(), Epoch: 1}, "b")
	path := "/v1/intents/" + id.String() + "/controls"
	body := `{"controls_patch":{"max_retry_count":3},"expected_policy_generation":4}`
	w.post(path, body).refused(503, "home_unreachable")
	var asked *peer.Ask
	reply := &peer.Answer{PolicyGeneration: 5, Replayed: true}
	w.askHome = func(_ context.Context, _ journal.ID, q *peer.Ask) (*peer.Answer, error) {
		asked = q
		if reply == nil {
			return nil, errors.New("gone")
		}
		return reply, nil
	}
	a := w.post(path, body, "Idempotency-Key: k").want(200)
	if a.text("applied") != "true" || a.text("policy_generation") != "5" || a.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%s, %v", a.raw, a.header)
	}
	c := asked.Change
	if asked.What != peer.Ask_CHANGE || c.MaxAttempts != 3 || !c.Expects || c.Expected != 4 || len(c.KeyHash) != 32 || len(c.Fingerprint) != 32 {
		t.Errorf("home is asked %v", asked)
	}
	reply = &peer.Answer{PolicyGeneration: 6, Stale: true}
	if a := w.post(path, body).want(200); a.text("applied") != "false" || a.text("policy_generation") != "6" {
		t.Errorf("stale: %s", a.raw)
	}
	for said, want := range map[string]struct {
		status int
		code   string
	}{
		"intent_ended": {409, "intent_ended"}, "idempotency_conflict": {409, "idempotency_conflict"},
		"payload_too_large": {413, "payload_too_large"}, "not_found": {404, "intent_not_found"},
		"journal_failed": {503, "home_unreachable"}, "unsupported": {503, "home_unreachable"},
	} {
		reply = &peer.Answer{Error: said, Status: uint32(state.Completed)}
		w.post(path, body).refused(want.status, want.code)
	}
	reply = nil
	if a := w.post(path, body).refused(503, "home_unreachable"); a.header.Get("Retry-After") != "2" {
		t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
	}
}
