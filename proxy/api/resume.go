package api

import (
	"net/http"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/proxy/trace"
)

// controlKeys are the fields of a resume that lets the intent go on. A body
// with any other field is the agent's result.
var controlKeys = map[string]bool{
	"approve_current_step": true, "actor": true, "reason": true,
	"expected_policy_generation": true, "internal_scheduler": true,
}

// resume serves POST /v1/intents/{id}/resume, which has two meanings, told
// apart by the body: go on (control fields only, or nothing), or this is my
// result (anything else: the whole body is the result, and the intent ends).
func (a *API) resume(w http.ResponseWriter, r *http.Request) error {
	in, err := a.readWord(w, r)
	if err != nil {
		return err
	}
	ans, err := a.readResume(in, r)
	if err != nil {
		return err
	}
	if err := faultsOf(*in.faults); err != nil {
		return err
	}
	id := in.id
	ans.Key = in.key
	began := time.Now()
	done, err := a.journal.Answer(r.Context(), id, ans)
	defer a.opt.Tracer.Settled(r.Context(), trace.Resume, began, []journal.ID{id}, spanCode(err))
	if err != nil {
		return err
	}
	if done.Stale {
		return answerStale(w, done)
	}
	provisional := done.Provisional
	if provisional && endOf(ans.Trigger).Terminal() {
		ruled, _, err := a.awaitVerdict(r.Context(), id, ans)
		if err != nil {
			return err
		}
		provisional = ruled == nil
	}
	i, err := a.journal.Get(id)
	if err != nil {
		return err
	}
	markReplayed(w, done.Replayed)
	return a.answerResumed(w, i, provisional)
}

func (a *API) answerResumed(w http.ResponseWriter, i *journal.Intent, provisional bool) error {
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).boolean("applied", true).num("policy_generation", generation(i))
	if provisional {
		d.key("details").open('{').boolean("provisional", true).close('}')
	}
	d.key("intent")
	a.writeIntent(d, i, whole)
	return answer(w, d.close('}'))
}

// readResume reads a resume. Of a person's task it is the decision, in whatever form.
func (a *API) readResume(in *word, r *http.Request) (journal.Answer, error) {
	i, err := a.journal.Get(in.id)
	if err != nil {
		return journal.Answer{}, err
	}
	if i.Head.GetStepped() && in.body.has("task_result") {
		return a.readStepDecision(in, i, r)
	}
	if i.Envelope != nil && len(i.Envelope.HumanTask) > 0 {
		t, err := taskOf(i.Envelope.HumanTask)
		if err != nil {
			return journal.Answer{}, err
		}
		if !a.mayDecideThread(callerOf(r), i) {
			return journal.Answer{}, errNotAsked
		}
		t.gate = i.Envelope.IntentType == journal.GateType
		ans := readDecision(in.body, t, r)
		if i.Status().Terminal() {
			*in.faults = nil // the journal answers, be it that this was the decision
		}
		return ans, nil
	}
	return readContinue(in.body, r), nil
}

// readStepDecision reads a decision that is said to an intent with a workflow: it is one on
// the step that somebody is asked. Where none is, the journal refuses it, or knows its key.
func (a *API) readStepDecision(in *word, i *journal.Intent, r *http.Request) (journal.Answer, error) {
	part := awaitedStep(i.Plan)
	if part == nil || !i.Status().Open() || len(part.Child.HumanTask) == 0 {
		return journal.Answer{Trigger: state.Start}, nil
	}
	in.id = journal.ID(part.Id)
	return a.readResume(in, r)
}

func readContinue(body *object, r *http.Request) (ans journal.Answer) {
	if body.has("task_result") {
		body.fault("task_result", codeSchemaInvalid, "answers a human_task, and this intent has none")
		return ans
	}
	ans = journal.Answer{Reason: state.ReasonApp, Actor: owner(r)}
	if !onlyControl(body) {
		// Everything in it is data, also what has the name of a control.
		ans.Trigger, ans.Body = state.Complete, body.raw
		if action, _ := body.take("action"); string(action) == `"fail"` {
			ans.Trigger = state.Fail
		}
		return ans
	}
	ans.Trigger = state.Start
	ans.Text = body.text("reason", maxReason)
	if actor := body.text("actor", maxActor); actor != "" {
		ans.Actor = actor
	}
	if approved, given := body.boolean("approve_current_step"); given && !approved {
		body.fault("approve_current_step", codeNotAvailable, "false belongs to gates, which are not available yet")
	}
	body.boolean("internal_scheduler")
	ans.Expects, ans.Expected = expectedGeneration(body)
	return ans
}

func onlyControl(body *object) bool {
	for _, m := range body.members {
		if !controlKeys[m.name] {
			return false
		}
	}
	return true
}
