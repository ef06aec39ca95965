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
)

var reasonNames = [...]string{"", "app", "nack", "lease_lapsed", "work_timeout", "exhausted", "rejected", "policy_denied", "too_large", "schema_invalid",
	"deliver_by_passed", "deadline_passed", "canceled", "sidecar_fault", "holder_lost", "released", "operator",
	"WAITING_FOR_HUMAN", "WAITING_FOR_TOOL", "WAITING_FOR_AGENT", "WAITING_FOR_TIME"}

func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason_%d", r)
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
	for i, n := range reasonNames {
		if n == name && i > 0 {
			return Reason(i), true
		}
	}
	return NoReason, false
}
