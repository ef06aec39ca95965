package api_test

import (
	"fmt"
	"testing"

	"pannier/proxy/api"
)

// What this sidecar may not send is refused on every way in, and leaves nothing
// behind: neither an intent nor its key.
func TestSenderMustBeOurs(t *testing.T) {
	t.Parallel()
	allowed := false
	w := setup(t, func(o *api.Options) {
		o.MaySend = func(from, to, intentType string) error {
			if allowed {
				return nil
			}
			return fmt.Errorf("no %s from %s to %s", intentType, from, to)
		}
	})
	const body = `{"intent_type":"a.v1","to_agent":"x","from_agent":"y","payload":{}}`
	send := func() *answer { return w.post("/v1/intents", body, "Idempotency-Key: k") }
	send().refused(403, "policy_denied")
	w.post("/v1/agents/x/intents/a.v1", `{}`).refused(403, "policy_denied")
	w.post("/v1/intents", `{"specversion":"1.0","id":"1","source":"y","type":"a.v1","data":{},"subject":"x"}`, "Content-Type: application/cloudevents+json").refused(403, "policy_denied")
	batch := w.post("/v1/intents:batch", `{"intents":[`+body+`]}`).want(200)
	if got := batch.text("results.0.error.code"); got != "policy_denied" {
		t.Errorf("in a batch: %s", got)
	}
	allowed = true
	send().want(200)
}
