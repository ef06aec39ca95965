package outbound

import (
	"strings"
	"time"

	"pannier/journal/state"
	"pannier/journal/wire/peer"
)

// A holder's refusal is translated here and nowhere else.

// scope is what a refusal is about.
type scope uint8

const (
	ofIntent   scope = iota + 1 // this intent, for good: another endpoint may take it
	ofAgent                     // this agent at this endpoint, for now
	ofEndpoint                  // everything at this endpoint, for now
)

// verdict is a refusal in our terms.
type verdict struct {
	scope  scope
	reason state.Reason  // ofIntent: of the dead letter, when nobody else takes it
	least  time.Duration // pause at least so long, whatever was asked for
	alarm  bool          // somebody has to look: no passing of time mends it
	cause  state.Cause   // ofEndpoint: what its intents wait for; NoCause: it has refused
}

var verdicts = map[string]verdict{
	"busy":           {scope: ofAgent},
	"agent_unknown":  {scope: ofAgent, least: 5 * time.Second},
	"draining":       {scope: ofEndpoint, least: time.Second},
	"disk":           {scope: ofEndpoint, least: time.Second, cause: state.CausePeerDiskFull},
	"version":        {scope: ofEndpoint, least: time.Minute, alarm: true},
	"policy_denied":  {scope: ofIntent, reason: state.ReasonPolicyDenied},
	"too_large":      {scope: ofIntent, reason: state.ReasonTooLarge},
	"schema_invalid": {scope: ofIntent, reason: state.ReasonSchemaInvalid},
	"sidecar_fault":  {scope: ofIntent, reason: state.ReasonSidecarFault},
}

// judge translates a refusal code. One that a later version made up is read as
// "not this agent, not now": it ends nothing.
func judge(code string) verdict {
	v, ok := verdicts[code]
	if !ok {
		return verdict{scope: ofAgent, least: 5 * time.Second}
	}
	return v
}

// refusalMost bounds what is kept of a holder's words.
const refusalMost = 500

// refusalText is a refusal for people to read.
func refusalText(r *peer.Refused) string {
	if r.Text == "" {
		return r.Code
	}
	return r.Code + ": " + strings.ToValidUTF8(r.Text[:min(len(r.Text), refusalMost)], "")
}
