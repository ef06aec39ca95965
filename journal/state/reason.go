package state

import "fmt"

// Reason says why a state was entered, so that two arrivals in one state can
// be told apart. It is a closed set, and the label of metrics.
type Reason uint8

const (
	NoReason             Reason = iota
	ReasonApp                   // the app's own answer
	ReasonNack                  // the app gave it back
	ReasonLapsed                // the lease ran out
	ReasonWorkTimeout           // acknowledged, then silent for work_timeout
	ReasonExhausted             // max_delivery_attempts used up
	ReasonRejected              // the app will never take it
	ReasonPolicyDenied          // a holder's policy refuses it
	ReasonTooLarge              // larger than any holder takes
	ReasonSchemaInvalid         // a holder's schema refuses it
	ReasonDeliverBy             // not taken in time
	ReasonDeadline              // not ended in time
	ReasonCanceled              // somebody canceled it
	ReasonSidecarFault          // our own fault while handling it
	ReasonHolderLost            // its holder has been out of reach too long
	ReasonHolderReleased        // its holder gave it back
	ReasonOperator              // waits for, or was moved by, an operator
	ReasonWaitingHuman
	ReasonWaitingTool
	ReasonWaitingAgent
	ReasonWaitingTime
	ReasonApproved    // somebody whose approval it needs has given it
	ReasonRefused     // or has not
	ReasonGateExpired // or has said nothing in time
	ReasonStepDone    // a step of its workflow has ended
	ReasonStepFailed
	ReasonStepTimeout // or has not, in time
)

// reasons is the table: the name as it is written outside, what has happened, and what
// to do about it.
var reasons = [...]struct{ name, sentence, remedy string }{
	NoReason: {"", "", ""},
	ReasonApp: {"app", "The app has answered it: what it said is the outcome.",
		"Nothing; the outcome is in the intent."},
	ReasonNack: {"nack", "The app has given it back, or its URL answered with an error: a failed attempt.",
		"Read the message of the event, and the app's log; it is handed over again until its attempts are used up."},
	ReasonLapsed: {"lease_lapsed", "The app had it under a lease, and did not answer before that ran out: a failed attempt.",
		"Look for what keeps the app; work that takes longer than the lease is to extend it, or to ask for a longer one."},
	ReasonWorkTimeout: {"work_timeout", "The app had acknowledged it, and said nothing for work_timeout: a failed attempt.",
		"Let the app extend while it works, or raise work_timeout."},
	ReasonExhausted: {"exhausted", "All delivery attempts have failed: it is a dead letter, or waits for an operator.",
		"Read why they failed in its events; mend that, then pannier dlq redrive, or a resume where it waits."},
	ReasonRejected: {"rejected", "The app has said that it will never take it (400, 413, 415, 422, or a nack with reject): it is a dead letter.",
		"Mend the payload or the app, then pannier dlq redrive."},
	ReasonPolicyDenied: {"policy_denied", "No sidecar of this agent may take it from who sent it: it is a dead letter.",
		"Let those sidecars' policy allow the sender, or send under another address; then pannier dlq redrive."},
	ReasonTooLarge: {"too_large", "It is larger than any sidecar of this agent takes: it is a dead letter.",
		"Raise --max-body there, or send a reference to where the data is."},
	ReasonSchemaInvalid: {"schema_invalid", "Its payload does not fit the schema of its type where it was to be handed over: it is a dead letter.",
		"Mend the payload or the schema, then pannier dlq redrive."},
	ReasonDeliverBy: {"deliver_by_passed", "No app had taken it by its deliver_by: it is a dead letter.",
		"See what kept it, in its events; then pannier dlq redrive, which gives it as much time again."},
	ReasonDeadline: {"deadline_passed", "It had not ended by its deadline_at: it is a dead letter. The app may still have run.",
		"See what kept it, in its events; then pannier dlq redrive, which gives it as much time again."},
	ReasonCanceled: {"canceled", "Somebody has canceled it: what the app says of it is ignored. It may still have run.",
		"Nothing; who did is in its events."},
	ReasonSidecarFault: {"sidecar_fault", "A sidecar failed on this one intent, and has set it aside so that the others go on: it is a dead letter.",
		"Keep the journal and report it with the log; pannier dlq redrive tries it again."},
	ReasonHolderLost: {"holder_lost", "The sidecar that held it was out of reach for too long, or was given up: it goes to another.",
		"Nothing, unless it should have been there: pannier peers. What it had begun may run twice."},
	ReasonHolderReleased: {"released", "The sidecar that held it has given it back before any app had it: it is offered again.",
		"Nothing; it was stopping, or its app takes nothing."},
	ReasonOperator: {"operator", "It waits for an operator, or one has moved it.",
		"Look at it with pannier dlq list --waiting; a resume lets it go on, a resolve ends it."},
	ReasonWaitingHuman: {"WAITING_FOR_HUMAN", "It waits for a person.",
		"Give the answer with resume or resolve."},
	ReasonWaitingTool: {"WAITING_FOR_TOOL", "It waits for a tool.",
		"Nothing, unless the tool is done: then resume or resolve it."},
	ReasonWaitingAgent: {"WAITING_FOR_AGENT", "It waits for another agent.",
		"Nothing, unless that agent is done: then resume or resolve it."},
	ReasonWaitingTime: {"WAITING_FOR_TIME", "It waits for a time.",
		"Nothing, unless it is to go on now: then resume it."},
	ReasonApproved: {"gate_approved", "Somebody who was asked before it is offered has approved it.",
		"Nothing; it is offered when all its gates have passed."},
	ReasonRefused: {"gate_refused", "Somebody who was asked before it is offered has refused it: no app has had it.",
		"Nothing; who, and with which words, is in its events. Send it again if it is to be asked for anew."},
	ReasonGateExpired: {"gate_expired", "Nobody who was asked before it is offered has decided in time: no app has had it.",
		"Send it again, with more time in expires_seconds, reminders, or escalate_to."},
	ReasonStepDone: {"step_done", "A step of its workflow has ended well, and the next one is begun.",
		"Nothing; which step, and its intent, is in the event."},
	ReasonStepFailed: {"step_failed", "A step of its workflow has failed, and no retry of it is left.",
		"See why in the event, and at the intent of the step; on_failure says what is done instead, and retry how often it is tried."},
	ReasonStepTimeout: {"step_timeout", "A step of its workflow had not ended by its step_deadline_seconds. Its app may still have run.",
		"See at the intent of the step what kept it; give it more time, or say what is done instead with on_failure."},
}

func (r Reason) String() string {
	if int(r) < len(reasons) {
		return reasons[r].name
	}
	return fmt.Sprintf("reason_%d", r)
}

// Sentence says in one sentence what has happened.
func (r Reason) Sentence() string {
	if int(r) < len(reasons) {
		return reasons[r].sentence
	}
	return ""
}

// Remedy says what to do about it.
func (r Reason) Remedy() string {
	if int(r) < len(reasons) {
		return reasons[r].remedy
	}
	return ""
}

// Reasons lists every reason.
func Reasons() []Reason {
	all := make([]Reason, 0, len(reasons)-1)
	for i := 1; i < len(reasons); i++ {
		all = append(all, Reason(i))
	}
	return all
}

// DeadLetter returns the class of the reasons of delivery for which an intent
// ends as a dead letter: exhausted, rejected, expired or sidecar_fault. It is ""
// for every other reason: those are an end somebody chose.
func (r Reason) DeadLetter() string {
	switch r {
	case ReasonExhausted:
		return "exhausted"
	case ReasonRejected, ReasonPolicyDenied, ReasonTooLarge, ReasonSchemaInvalid:
		return "rejected"
	case ReasonDeliverBy, ReasonDeadline:
		return "expired"
	case ReasonSidecarFault:
		return "sidecar_fault"
	}
	return ""
}

// ParseReason is the inverse of String.
func ParseReason(name string) (Reason, bool) {
	for i, r := range reasons {
		if r.name == name && i > 0 {
			return Reason(i), true
		}
	}
	return NoReason, false
}
