package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// smallPayload is the largest payload shown in a list: whoever wants a larger
// one gets the intent.
const smallPayload = 48 << 10

// extent is how much of an intent is shown.
type extent bool

const (
	whole  extent = true
	listed extent = false
)

// get serves GET /v1/intents/{id}.
func (a *API) get(w http.ResponseWriter, r *http.Request) error {
	id, err := a.seenID(r)
	if err != nil {
		return err
	}
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	i, err := a.getWhen(w, r, q, id)
	if err != nil {
		return err
	}
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true)
	if isInside(r) && len(i.Envelope.GetHumanTask()) > 0 { // for the page, which has buttons for it
		d.boolean("may_decide", a.mayDecideThread(callerOf(r), i))
	}
	d.key("intent")
	a.writeIntent(d, i, whole)
	return answer(w, d.close('}'))
}

// getWhen reads an intent: at once, or with wait_for=terminal when it has ended or
// the wait is over. Whether it has ended the caller sees by its status.
func (a *API) getWhen(w http.ResponseWriter, r *http.Request, q *query, id journal.ID) (*journal.Intent, error) {
	wait := q.seconds("wait_seconds", maxPrefer, 0, int64(maxPrefer/time.Second))
	switch q.text("wait_for") {
	case "":
		wait = 0
	case "terminal":
		if preferred, ok := preferWait(r, maxPrefer); ok && q.text("wait_seconds") == "" {
			wait = preferred
			w.Header().Set("Preference-Applied", "wait="+seconds(wait))
		}
	default:
		q.fault("wait_for", codeSchemaInvalid, "must be terminal")
	}
	if err := q.err(); err != nil {
		return nil, err
	}
	if wait > 0 {
		err := a.awaitEnd(r, id, wait)
		over := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, errDraining)
		if err != nil && !over {
			return nil, err
		}
	}
	if err := a.takeAnswerOf(w, r, id); err != nil {
		return nil, err
	}
	return a.journal.Get(id)
}

// writeIntent writes an intent as its reader sees it. What is unset is left
// out: AXP's types do not allow null.
func (a *API) writeIntent(d *doc, i *journal.Intent, show extent) {
	status := i.Status()
	d.open('{').str("intent_id", i.ID.String()).str("status", status.String())
	d.str("lifecycle_status", status.String()).str("legacy_status", legacyStatus(status))
	a.writeEnvelope(d, i, show)
	if i.Head != nil {
		a.writeHead(d, i)
	} else {
		writeHandover(d, i)
	}
	if as, ok := i.RedrivenAs(); ok {
		d.str("redriven_as", as.String())
	}
	if i.SentLost() {
		d.boolean("content_lost", true)
	}
	if i.BodyGone() {
		d.boolean("body_let_go", true)
	}
	if status.Terminal() {
		if end := a.said(i); show == whole || end == nil || len(end.Body) <= smallPayload {
			writeOutcome(d, status, end)
		}
	}
	d.close('}')
}

func (a *API) writeEnvelope(d *doc, i *journal.Intent, show extent) {
	e := i.Envelope
	if e == nil { // it is lost; when and to whom is elsewhere
		to := journal.Agent(i.Handover.GetAgent())
		if i.Head != nil {
			to = journal.Agent(i.Head.Dest)
		}
		e = &wire.Envelope{CreatedAtMs: i.ID.Time().UnixMilli(), ToAgent: a.journal.AgentName(to)}
	}
	d.ms("created_at", e.CreatedAtMs).str("intent_type", e.IntentType).str("correlation_id", e.CorrelationId)
	d.str("from_agent", e.FromAgent).str("to_agent", e.ToAgent)
	if show == whole || len(e.Payload) <= smallPayload {
		d.raw("payload", e.Payload)
	}
	d.opt("reply_to", e.ReplyTo).opt("redrive_of", idText(e.RedriveOf)).opt("completion_of", idText(e.CompletionOf)).opt("parent_intent_id", idText(e.Parent)).opt("traceparent", e.Traceparent)
	d.opt("client_trace_id", e.ClientTraceId)
	if t, err := taskOf(e.HumanTask); err == nil && t != nil {
		writeTask(d, t, e.IntentType)
	}
}

func (a *API) writeHead(d *doc, i *journal.Intent) {
	h := i.Head
	d.str("role", "home").ms("updated_at", h.UpdatedMs)
	d.ms("deliver_by", h.DeliverByMs).ms("deadline_at", h.DeadlineAtMs)
	d.num("max_delivery_attempts", int64(h.MaxAttempts)).num("delivery_attempt", int64(h.DeliveryAttempt))
	d.num("policy_generation", int64(h.PolicyGeneration))
	writePolicy(d, i.Policy)
	switch status := i.Status(); {
	case status == state.Waiting:
		d.str("lifecycle_waiting_reason", waitingReason(state.Reason(h.Reason)))
		if h.Stepped {
			writeStepAwaited(d, i.Plan)
		} else if h.WakeMs != 0 {
			d.key("pending_with").open('{').str("type", "internal").str("name", "delay").close('}').ms("wakes_at", h.WakeMs)
		} else if t, err := taskOf(i.Envelope.GetHumanTask()); err == nil && t != nil {
			writePending(d, t, i.Envelope, h.Escalated)
			d.ms("next_reminder_at", h.RemindMs)
		} else if state.Reason(h.Reason) == state.ReasonOperator {
			d.key("pending_with").open('{').str("type", "human").str("name", "operator").close('}')
		}
	case h.Gated && i.Plan != nil && status.Open():
		d.str("lifecycle_waiting_reason", state.ReasonWaitingHuman.String())
		writeAwaited(d, i.Plan)
	case scheduled(h):
		d.str("lifecycle_waiting_reason", state.ReasonWaitingTime.String())
		d.key("pending_with").open('{').str("type", "internal").str("name", "delay").close('}')
	}
	if h.Stepped {
		writeSteps(d, i.Plan)
	} else {
		writeGates(d, i.Plan)
	}
	if len(h.LateAnswers) > 0 {
		d.key("late_answers").open('[')
		for _, late := range h.LateAnswers {
			d.item().open('{').opt("holder", idText(late.From)).str("kind", state.Trigger(late.Kind).String())
			d.ms("at", late.AtMs).str("body", string(late.Body)).close('}') // cut, so perhaps not JSON
		}
		d.close(']')
	}
}

// scheduled reports whether the intent waits for its first hour to come.
func scheduled(h *wire.Head) bool {
	return journal.Place(h.Place) == journal.PlaceDue && h.Attempts == 0 && h.DeliveryAttempt == 0 &&
		h.DueMs > time.Now().UnixMilli()
}

func writeHandover(d *doc, i *journal.Intent) {
	h := i.Handover
	d.str("role", "holder").str("home", idText(h.Home)).ms("updated_at", max(h.HeldMs, h.LeasedAtMs, h.EndedMs))
	d.ms("deliver_by", h.DeliverByMs).ms("deadline_at", h.DeadlineAtMs)
	d.num("max_delivery_attempts", int64(h.MaxAttempts)).num("delivery_attempt", int64(h.Handovers))
	d.num("policy_generation", int64(h.PolicyGeneration)).str("handover", state.Phase(h.Phase).String())
	d.opt("last_error", h.LastError)
}

// said is what the end of an intent said, as far as it is known here. What our app has
// answered is not that where home had another answer before it, of the same status
// even: the copy of home's log tells. The journal keeps it, should home be restored.
func (a *API) said(i *journal.Intent) *wire.Outcome {
	if i.Head != nil || i.Outcome == nil || state.Phase(i.Handover.Phase) != state.Answered {
		return i.Outcome
	}
	events, _, err := a.journal.Events(i.ID, 0)
	if err != nil || len(events) == 0 {
		return i.Outcome // home has not said yet
	}
	if self := a.journal.Identity().Journal; string(events[len(events)-1].Peer) != string(self[:]) {
		return nil
	}
	return i.Outcome
}

// writeOutcome writes what the end said, as members of the intent or of the
// details of its last event.
func writeOutcome(d *doc, status state.Status, out *wire.Outcome) {
	var body []byte
	var text string
	if out != nil && state.Status(out.Status) == status {
		body, text = out.Body, out.Text
	}
	switch status {
	case state.Completed:
		d.raw("result", body)
	case state.Failed, state.TimedOut:
		d.raw("error", body)
	case state.Canceled:
		if text == "" {
			text = "canceled"
		}
		d.str("reason", text)
		if len(body) > 0 {
			d.raw("task_result", body) // a person's refusal
		}
	}
}

func legacyStatus(s state.Status) string {
	switch s {
	case state.Acknowledged, state.InProgress:
		return "running"
	case state.Waiting:
		return "blocked"
	case state.Completed, state.Canceled:
		return "done"
	case state.Failed, state.TimedOut:
		return "failed"
	}
	return "accepted"
}

// waitingReason is one of AXP's four; an operator is a human.
func waitingReason(r state.Reason) string {
	switch r {
	case state.ReasonWaitingTool, state.ReasonWaitingAgent, state.ReasonWaitingTime:
		return r.String()
	}
	return state.ReasonWaitingHuman.String()
}

// idText is the text of an id in a record, "" for none.
func idText(b []byte) string {
	id, err := journal.IDOf(b)
	if err != nil || id.IsZero() {
		return ""
	}
	return id.String()
}
