package state

import (
	"fmt"
	"strings"
	"time"
)

// Cause says what an intent waits for just now. It is a closed set, shared by
// `why`, metrics and events: every state that delays an intent has one code.
type Cause uint8

const (
	NoCause Cause = iota

	// Home: the destination.
	CauseNoEndpoint
	CauseDiscoveryPending
	CauseConnecting
	CauseReconciling
	CauseUntrusted
	CauseBreakerOpen
	CauseNoCredit
	CauseRefused
	CauseUncleanWait
	CauseOffered
	CauseOffering

	// Home: what the traffic policy of the destination says.
	CausePaused
	CauseMaxRequests
	CauseDraining
	CauseUnhealthy
	CauseStandby
	CauseNoSubset
	CauseFaultInjected

	// Home: the intent.
	CauseScheduled
	CauseGate
	CauseParked
	CauseHolderUnreachable
	CauseEnded

	// Holder.
	CauseKilled
	CauseNoReader
	CauseDoorShut
	CauseProbing
	CauseAppUnreachable
	CauseAppThrottled
	CauseAppGone
	CauseSending
	CauseRecovering
	CauseSuspect
	CauseWaitingForApp
	CauseLeased
	CauseWorking
	CauseBackingOff
	CauseOutOfAttempts
	CauseHomeUnreachable

	// Home: the intent, again.
	CauseStep

	// Home: the destination, again.
	CausePeerDiskFull
	CausePutBack
	CausePeerPutBack

	// Home: the intent, once more.
	CauseClock
)

// causes is the table: the code as it is written outside, a sentence for
// whoever asks why, and what to do where it stays so.
var causes = [...]struct{ code, sentence, remedy string }{
	NoCause: {"", "", ""},

	CauseNoEndpoint: {"no_endpoint", "No sidecar is known to serve this agent; the intent waits until one is, or until its deliver_by.",
		"Start a sidecar with --agent for it, and tell this one where, in the file of --peers; see pannier peers and pannier agents."},
	CauseDiscoveryPending: {"discovery_pending", "Where this agent lives is not known yet: discovery has not answered.",
		"Wait; if it stays, see whether discovery can be reached."},
	CauseConnecting: {"connecting", "The sidecar that serves this agent is being dialed.",
		"Wait; if it stays, see whether its peer address can be reached from here."},
	CauseReconciling: {"reconciling", "The sidecar that serves this agent is connected and is listing what it already holds; nothing is offered before.",
		"Wait; it takes moments."},
	CauseUntrusted: {"peer_untrusted", "The sidecar that answers where this agent is said to live has proven to be another; it is not offered what it may not speak for.",
		"See whom pannier peers names; mend the directory, or the certificate or key of that sidecar, or the mapping under identities here."},
	CauseBreakerOpen: {"breaker_open", "The sidecar that serves this agent could not be reached or did not answer several times; it is tried again at the time given.",
		"See whether that sidecar runs and can be reached: pannier peers."},
	CauseNoCredit: {"no_credit", "The sidecar that serves this agent has as many unsettled intents of this agent as it takes; the next goes when one is settled.",
		"See whether its app keeps up, and settles what it takes."},
	CauseRefused: {"refused", "The sidecar that serves this agent has refused it for now; it is offered again at the time given, or elsewhere.",
		"See that sidecar's log for its reason."},
	CauseUncleanWait: {"unclean_wait", "This sidecar was not stopped cleanly; it first asks the sidecars that serve this agent whether one already holds the intent.",
		"Start the sidecars that serve this agent; one that is gone for good can be given up with pannier peers forget."},
	CauseOffered: {"offered", "It was sent to the sidecar that serves this agent, which has not answered yet; if it does not by the time given, it is offered again.",
		"Wait; if it stays, that sidecar is slow or its disk is."},
	CauseOffering: {"offering", "Nothing holds it up: it is being offered.",
		"Nothing."},

	CausePaused: {"paused", "This agent, or all that this sidecar sends, is paused by a traffic policy: nothing is offered. The limits of time go on.",
		"Set paused to false where the policy is written; pannier peers shows the policies in force."},
	CauseMaxRequests: {"max_requests", "As many intents of this agent are sent and unanswered as its traffic policy allows; the next goes when one is answered.",
		"Wait; if it stays, raise max_requests, or see why the sidecars that serve this agent answer slowly."},
	CauseDraining: {"endpoint_draining", "Discovery says that the sidecar that serves this agent is about to leave: it gets nothing new.",
		"Start another sidecar for this agent, or wait until this one is back."},
	CauseUnhealthy: {"endpoint_unhealthy", "Discovery says that the sidecar that serves this agent is not healthy: it gets nothing new.",
		"See why it is not ready, where discovery learns it: the probes of its pod, or the peers file."},
	CauseStandby: {"standby", "A sidecar of a lower priority number serves this agent and can be used; this one takes over when none of those can.",
		"Nothing; see why those take nothing."},
	CauseNoSubset: {"no_subset", "The traffic policy gives this intent to one subset of the sidecars that serve its agent, and none of that subset can be used; it goes to no other.",
		"Start a sidecar of that subset, or set its weight to 0: what waits for it then goes to the others."},
	CauseFaultInjected: {"fault_injected", "The traffic policy of this agent injects faults: the frame with this intent is delayed, or was not sent; it is sent at the time given.",
		"Take fault out of the policy, if the test is over."},

	CauseScheduled: {"scheduled", "It is not due before the time given.",
		"Nothing; it was sent with deliver_at or delay_seconds."},
	CauseGate: {"awaiting_approval", "It waits for an approval, and is offered when all its gates have passed.",
		"Whoever is asked decides: pannier inbox list, then approve or reject there."},
	CauseParked: {"parked", "It waits for a person, a tool, another agent or an operator.",
		"Give the answer it waits for, with resume or resolve."},
	CauseHolderUnreachable: {"holder_unreachable", "Another sidecar holds it and cannot be reached; it is offered elsewhere when that sidecar is given up for lost.",
		"Bring that sidecar back, with its journal."},
	CauseEnded: {"ended", "It has ended; nothing more happens.",
		"Nothing; its end is in its events: pannier watch."},

	CauseKilled: {"agent_killed", "An operator has killed this agent at this sidecar; it is handed nothing until it is resumed.",
		"Resume it: POST /v1/mesh/agents/{id}/resume at that sidecar."},
	CauseNoReader: {"no_reader", "No app has asked for this agent's intents for a while; the next request gets it.",
		"See whether the app runs, and polls or streams for this agent at the sidecar that holds the intent."},
	CauseDoorShut: {"door_shut", "The app has failed several intents in a row; it is handed one at a time until one succeeds, and no attempt is counted.",
		"Look at the app's log: several different intents have failed in it."},
	CauseProbing: {"probing", "The app has failed several intents in a row, and this one is with it as a probe.",
		"Wait for the app's answer; its success opens the door."},
	CauseAppUnreachable: {"app_unreachable", "The app's URL cannot be connected to; it is tried again at the time given, and no attempt is counted.",
		"Start the app, or mend the URL in --agent."},
	CauseAppThrottled: {"app_throttled", "The app has asked for a pause (429, 503 or Retry-After); it is sent one at the time given, and no attempt is counted.",
		"Nothing, unless the pause is not meant."},
	CauseAppGone: {"app_gone", "The app has answered 410 Gone: its URL takes nothing any more. It is tried every five minutes until somebody looks; no attempt is counted.",
		"Mend the URL in --agent, or the app."},
	CauseSending: {"sending", "It has been sent to the app's URL, and the answer is awaited.",
		"Wait; if it stays, the app is slow to answer."},
	CauseRecovering: {"recovering", "The app has begun to succeed again; it is handed few at a time, and more with each success.",
		"Nothing."},
	CauseSuspect: {"suspect", "It had failed, or was with the app, when the app began to fail; it is tried after the others, one at a time.",
		"Nothing; if it fails again when its turn comes, look at this very intent."},
	CauseWaitingForApp: {"waiting_for_app", "It is ready and waits for the app to take it.",
		"Wait; if it stays, the app takes less than is sent to it."},
	CauseLeased: {"leased", "The app has it, under a lease that ends at the time given.",
		"Wait; the app must ack, nack or extend by then, or it is handed over again."},
	CauseWorking: {"working", "The app has acknowledged it and works on it until the time given.",
		"Wait; the app extends, or answers with resume or resolve."},
	CauseBackingOff: {"backing_off", "An attempt has failed; the next one is due at the time given.",
		"Read why it failed in its events: pannier watch."},
	CauseOutOfAttempts: {"out_of_attempts", "All delivery attempts are used up; its home decides what becomes of it.",
		"Look at the app's log, and at the intent's events."},
	CauseHomeUnreachable: {"home_unreachable", "The sidecar that accepted it cannot be reached: what is shown is what the holder knows.",
		"Bring the sidecar that accepted it back; answers are kept for it."},

	CauseStep: {"awaiting_step", "It waits for a step of its workflow, and goes on when that has ended.",
		"Ask why of the step: it is an intent of its own."},

	CausePeerDiskFull: {"peer_disk_full", "The disk of the sidecar that serves this agent is nearly full: until there is room on its volume it takes nothing new, and goes on with what it has. The intent stays here, and is offered again at the time given, or elsewhere.",
		"Make room on that sidecar's volume, or give it a larger one; or start another sidecar for this agent. pannier peers says where it is."},
	CausePutBack: {"journal_put_back", "THIS sidecar's journal was put back to an older copy of itself, as the sidecar at the other end has found out: nothing is exchanged between the two.",
		"Stop THIS sidecar, and not the other, and start it once with --accept-loss, which gives its journal a new epoch."},
	CauseClock: {"clock_paused", "A limit of time of it has passed by this sidecar's clock, which has jumped: nothing expires until the clock is believed again, at the time given, or is set right.",
		"Set the clock of the host by NTP; where it is right, start the sidecar once with --accept-clock, or wait."},
	CausePeerPutBack: {"peer_put_back", "The journal of the sidecar at the other end was put back to an older copy of itself: nothing is exchanged with it.",
		"Stop that sidecar, and not this one, and start it once with --accept-loss, which gives its journal a new epoch."},
}

// begun has the causes that begin with an event, and last until the time it names.
var begun = map[EventType]Cause{EventSubmitted: CauseScheduled, EventDeliveryFailed: CauseBackingOff}

// Begins is the cause of the delay that begins with an event which says until when;
// NoCause where none does.
func (e EventType) Begins() Cause { return begun[e] }

// Delay is a cause as it stands just now.
type Delay struct {
	Cause Cause
	Until time.Time // zero: not known, or no time ends it
	Peer  string    // address or journal id of the sidecar concerned
	Said  string    // what that one, or the way to it, said last; empty: nothing
	Who   string    // the address of a person that is asked; empty: none
	Task  string    // the id of the intent that asks; empty: none
	Step  string    // the step of a workflow that the intent is; empty: none
	Ended Reason    // for which it has ended; NoReason: it has not, or as it was meant to
}

// saidMost bounds what others said.
const saidMost = 512

// Detail says what the intent waits for, and with whose words.
func (d Delay) Detail() string {
	switch {
	case d.Ended != NoReason:
		return d.withError(d.Cause.Sentence() + " Reason " + d.Ended.String() + ": " + d.Ended.Sentence())
	case d.Step != "":
		return d.Cause.Sentence() + " Step " + d.Step + " is intent " + d.Task + ", to " + d.Who + "."
	case d.Who != "":
		return d.Cause.Sentence() + " " + d.Who + " is asked by intent " + d.Task + "."
	}
	return d.withError(d.Cause.Sentence())
}

// withError adds what was said last.
func (d Delay) withError(sentence string) string {
	switch {
	case d.Said == "":
		return sentence
	case len(d.Said) > saidMost:
		return sentence + " Last error: " + strings.ToValidUTF8(d.Said[:saidMost], "") + "…"
	}
	return sentence + " Last error: " + d.Said
}

// String returns the code.
func (c Cause) String() string {
	if int(c) < len(causes) {
		return causes[c].code
	}
	return fmt.Sprintf("cause_%d", c)
}

// Sentence says in one sentence what the intent waits for.
func (c Cause) Sentence() string {
	if int(c) < len(causes) {
		return causes[c].sentence
	}
	return ""
}

// Remedy says what to do about it.
func (c Cause) Remedy() string {
	if int(c) < len(causes) {
		return causes[c].remedy
	}
	return ""
}

// ParseCause is the inverse of String.
func ParseCause(code string) (Cause, bool) {
	for i, c := range causes {
		if c.code == code && i > 0 {
			return Cause(i), true
		}
	}
	return NoCause, false
}

// Causes lists every cause.
func Causes() []Cause {
	all := make([]Cause, 0, len(causes)-1)
	for i := 1; i < len(causes); i++ {
		all = append(all, Cause(i))
	}
	return all
}
