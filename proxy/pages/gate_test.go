package pages_test

import (
	"strings"
	"testing"
)

const gatedBy = `"parent_intent_id":"P","gates":[{"to":"agent://acme/people/manager","status":"approved","intent_id":"M","decided_by":"ann@acme.example"},{"to":"agent://acme/people/finance","status":"asked","intent_id":"I"},{"to":"cfo","status":"not_asked"}]`

// TestGateShowsWhatItIsFor: who approves sees what is to be approved as its sender wrote it,
// and who else is asked; of the intent, the page of each approval is one link away.
func TestGateShowsWhatItIsFor(t *testing.T) {
	t.Parallel()
	w := setup(t, approval+`,`+gatedBy+`,"payload":{"parent_payload":{"supplier":"Nordwind"},"parent":{"intent_id":"P","intent_type":"pay.v1","to_agent":"agent://acme/prod/billing"}}`)
	page := w.get("/tasks/I")
	for _, want := range []string{
		`<th scope="row">supplier</th>`, `<a href="/intents/P">pay.v1</a>`, `<strong>acme/prod/billing</strong>`,
		`<a href="/tasks/M">acme/people/manager</a>`, `✓ Approved by ann@acme.example`, `◔ This decision`, `○ Asked after that`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s:\n%s", want, page)
		}
	}
	if strings.Contains(page, "parent_payload") {
		t.Errorf("the page shows how the payload is wrapped:\n%s", page)
	}
	w.why = `{"text":"It waits."}`
	if page := w.get("/intents/P"); !strings.Contains(page, `<a href="/tasks/I">acme/people/finance</a>`) {
		t.Errorf("the page of the intent does not lead to who is asked:\n%s", page)
	}
}

// TestPayloadOfAnotherShapeIsShownWhole: what only looks as if the sidecar had made it.
func TestPayloadOfAnotherShapeIsShownWhole(t *testing.T) {
	t.Parallel()
	for rule, fields := range map[string]string{
		"not a part of another": `"payload":{"parent_payload":{"a":1},"parent":{"intent_id":"P"}}`,
		"a part of a third":     `"parent_intent_id":"P","payload":{"parent_payload":{"a":1},"parent":{"intent_id":"Q"}}`,
		"with more beside":      `"parent_intent_id":"P","payload":{"parent_payload":{"a":1},"parent":{"intent_id":"P"},"price":9}`,
	} {
		if page := setup(t, approval+`,`+fields).get("/tasks/I"); !strings.Contains(page, "parent_payload") {
			t.Errorf("%s: a part of the payload is not shown:\n%s", rule, page)
		}
	}
}
