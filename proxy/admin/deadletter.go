package admin

import (
	"encoding/json"
	"strings"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// deadLetter is one as operators read it. Reason is one of exhausted, rejected,
// expired, sidecar_fault; waiting for one that has not ended, and waits for an
// operator. Code is that of the intent's error.
type deadLetter struct {
	ID          string          `json:"intent_id"`
	Status      string          `json:"status"`
	Reason      string          `json:"reason"`
	Code        string          `json:"code"`
	Cause       string          `json:"cause"` // state.Reason
	LastAnswer  string          `json:"last_answer"`
	Attempts    deadAttempts    `json:"attempts"`
	Type        string          `json:"intent_type"`
	From        string          `json:"from_agent"`
	To          string          `json:"to_agent"`
	Correlation string          `json:"correlation_id,omitempty"`
	Traceparent string          `json:"traceparent,omitempty"`
	TraceID     string          `json:"trace_id,omitempty"`
	Role        string          `json:"role"`
	Peer        string          `json:"peer,omitempty"` // the other journal: home's or the last holder's
	CreatedAt   time.Time       `json:"created_at"`
	EndedAt     time.Time       `json:"ended_at,omitzero"`
	RedriveOf   string          `json:"redrive_of,omitempty"`
	FirstID     string          `json:"first_id,omitempty"`
	RedrivenAs  string          `json:"redriven_as,omitempty"`
	Error       json.RawMessage `json:"error,omitempty"`
	Payload     json.RawMessage `json:"payload,omitempty"`
	ContentLost bool            `json:"content_lost,omitempty"` // what was sent: payload is {}
}

// deadAttempts: N counts those that count against max; Failed has every hand-over
// that failed, as far as this sidecar has the events.
type deadAttempts struct {
	N      uint32          `json:"n"`
	Max    uint32          `json:"max"`
	Failed []failedAttempt `json:"failed"`
}

type failedAttempt struct {
	Attempt uint32    `json:"attempt"` // delivery_attempt
	At      time.Time `json:"at"`
	Reason  string    `json:"reason"`
	Message string    `json:"message,omitempty"`
	Holder  string    `json:"holder,omitempty"`
}

func (h *handler) view(i *journal.Intent, events []*wire.Event, ended time.Time, most int) deadLetter {
	why := i.DeadReason()
	d := deadLetter{
		ID: i.ID.String(), Status: i.Status().String(), Reason: why.DeadLetter(), Cause: why.String(), Code: errorCode(why),
		CreatedAt: i.ID.Time().UTC(), EndedAt: utc(ended), Attempts: deadAttempts{Failed: failures(events)}, ContentLost: i.SentLost(),
	}
	if i.WaitsForOperator() {
		d.Reason, d.Cause = "waiting", state.ReasonOperator.String()
		if i.Head != nil {
			d.Cause = state.Reason(i.Head.Reason).String()
		}
	}
	if as, ok := i.RedrivenAs(); ok {
		d.RedrivenAs = as.String()
	}
	if n := len(d.Attempts.Failed); n > 0 {
		d.LastAnswer = d.Attempts.Failed[n-1].Message
	}
	if i.Head != nil {
		d.Role, d.Peer, d.To = "home", idText(i.Head.Holder), h.DeadLetters.AgentName(journal.Agent(i.Head.Dest))
		d.Attempts.N, d.Attempts.Max = i.Head.Attempts, i.Head.MaxAttempts
	} else {
		d.Role, d.Peer, d.To = "holder", idText(i.Handover.Home), h.DeadLetters.AgentName(journal.Agent(i.Handover.Agent))
		d.Attempts.N, d.Attempts.Max = i.Handover.Attempts, i.Handover.MaxAttempts
		if i.Handover.LastError != "" {
			d.LastAnswer = i.Handover.LastError
		}
	}
	if e := i.Envelope; e != nil {
		d.Type, d.From, d.To, d.Correlation = e.IntentType, e.FromAgent, e.ToAgent, e.CorrelationId
		d.Traceparent, d.TraceID = e.Traceparent, traceID(e.Traceparent)
		d.RedriveOf, d.FirstID = idText(e.RedriveOf), idText(e.FirstId)
		if len(e.Payload) <= most {
			d.Payload = e.Payload
		}
	}
	if i.Outcome != nil && len(i.Outcome.Body) <= most {
		d.Error = i.Outcome.Body
	}
	return d
}

// failures are the events of hand-overs that failed; a rejection ends the intent.
func failures(events []*wire.Event) []failedAttempt {
	out := []failedAttempt{}
	for _, e := range events {
		if state.EventType(e.Type) == state.EventDeliveryFailed || state.Reason(e.Reason) == state.ReasonRejected {
			out = append(out, failedAttempt{
				Attempt: e.Attempt, At: time.UnixMilli(e.AtMs).UTC(), Reason: state.Reason(e.Reason).String(), Message: e.Text, Holder: idText(e.Peer),
			})
		}
	}
	return out
}

// errorCode is the code of the error of an intent that ended for this reason.
func errorCode(why state.Reason) string {
	switch why.DeadLetter() {
	case "exhausted":
		return "delivery_failed"
	case "expired":
		return "intent_timeout"
	}
	return why.String()
}

// traceID is the second field of a traceparent.
func traceID(traceparent string) string {
	if fields := strings.Split(traceparent, "-"); len(fields) >= 4 {
		return fields[1]
	}
	return ""
}

func idText(b []byte) string {
	id, err := journal.IDOf(b)
	if err != nil {
		return ""
	}
	return id.String()
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}
