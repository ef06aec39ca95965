package api

import (
	"net/http"
	"slices"
	"strings"

	"pannier/journal"
	"pannier/journal/state"

	"github.com/go-json-experiment/json/jsontext"
)

// decision is what a person has said of a task.
type decision struct {
	outcome string
	result  jsontext.Value // the whole of it
}

// decide reads a task_result and holds it to the task.
func (t *humanTask) decide(body *object) (d decision) {
	raw := body.object("task_result")
	if raw == nil {
		if _, given := body.take("task_result"); !given {
			body.fault("task_result", codeSchemaInvalid, `is required: a person is asked; send {"task_result": {"outcome": "%s"}}, or another of %s`, t.outcomes[0], strings.Join(t.outcomes, ", "))
		}
		return d
	}
	if t.gate && len(raw) > journal.MaxPartDecision {
		body.fault("task_result", codePayloadTooLarge, "has %d bytes; the limit of an approval is %d", len(raw), journal.MaxPartDecision)
		return d
	}
	said, err := parseObject(raw, body.pointer("task_result"), body.faults)
	if err != nil {
		body.fault("task_result", codeSchemaInvalid, "must be a JSON object")
		return d
	}
	d.result = said.raw
	d.outcome = t.outcome(body, said)
	if comment := said.prose("comment", maxComment); t.comment && strings.TrimSpace(comment) == "" {
		said.fault("comment", codeSchemaInvalid, "is required by the task")
	}
	data := said.object("data")
	if t.evidence && !hasEvidence(data) {
		*said.faults = append(*said.faults, fault{said.pointer("data") + "/evidence", "is required by the task, and must not be empty", codeSchemaInvalid})
	}
	if t.form != nil && d.outcome != "" && !refusals[d.outcome] {
		t.fill(said, data)
	}
	return d
}

// readDecision is a decision as the journal takes it: a refusal cancels, with its outcome
// as the reason; anything else completes, with the whole of it as the result.
func readDecision(body *object, t *humanTask, r *http.Request) journal.Answer {
	ans := journal.Answer{Reason: state.ReasonApp, Actor: body.text("actor", maxActor)}
	c := callerOf(r)
	if c != nil || ans.Actor == "" { // what a key proves counts, not what its bearer says
		ans.Actor = owner(r)
	}
	if c != nil && ans.Actor == someApp {
		ans.Actor = c.identity()
	}
	if c != nil && c.Person != "" {
		ans.Actor = clip(c.Person, maxActor-len("…"))
	}
	ans.Expects, ans.Expected = expectedGeneration(body)
	d := t.decide(body)
	ans.Trigger, ans.Body = state.Complete, d.result
	if refusals[d.outcome] {
		ans.Trigger, ans.Reason, ans.Text = state.Cancel, state.ReasonCanceled, d.outcome
	}
	return ans
}

// outcome reads what was decided: of task_result, or beside it as older clients say it,
// or approved: true as the oldest do.
func (t *humanTask) outcome(body, said *object) string {
	from := said
	text := said.text("outcome", maxOutcome)
	if text == "" && !said.has("outcome") && body.has("outcome") {
		from, text = body, body.text("outcome", maxOutcome)
	}
	if text == "" && !from.has("outcome") {
		if approved, given := said.boolean("approved"); given {
			from, text = said, "rejected"
			if approved {
				text = "approved"
			}
		}
	}
	switch {
	case text == "" && from.has("outcome"): // said to be wrong
	case text == "":
		said.fault("outcome", codeSchemaInvalid, "is required: one of %s", strings.Join(t.outcomes, ", "))
	case !slices.Contains(t.outcomes, text):
		from.fault("outcome", codeSchemaInvalid, "must be one of %s", strings.Join(t.outcomes, ", "))
		return ""
	}
	return text
}

func hasEvidence(data jsontext.Value) bool {
	if data == nil {
		return false
	}
	o, err := parseObject(data, "", new([]fault))
	if err != nil {
		return false
	}
	v, ok := o.take("evidence")
	if !ok {
		return false
	}
	return !slices.Contains([]string{`""`, "[]", "{}", "false"}, strings.Join(strings.Fields(string(v)), ""))
}

// fill holds the fields of a form to its schema: data where there is one, else the
// members of task_result that are no part of the decision.
func (t *humanTask) fill(said *object, data jsontext.Value) {
	at := said.pointer("data")
	if data == nil {
		d := &doc{}
		d.open('{')
		for _, m := range said.members {
			if m.name != "outcome" && m.name != "comment" && m.name != "approved" {
				d.raw(m.name, m.value)
			}
		}
		data, at = d.close('}').b, said.at
	}
	form, err := newContract(t.form, formURL)
	if err != nil { // it was made at another sidecar, or before there were today's bounds
		said.fault("", codeSchemaInvalid, "cannot be held to the task's form_schema: %s. The task can still be refused, or sent anew with a simpler form", clip(err.Error(), maxWhy))
		return
	}
	wrong, _ := form.misfits(data, at)
	*said.faults = append(*said.faults, wrong...)
}
