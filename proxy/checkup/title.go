package checkup

import (
	"strings"

	"pannier/journal/state"
)

// The kinds of dead letters.
const (
	aboutDead = "dead letters without a successor"
	aboutHeld = "out of attempts, waiting for an operator"
)

// unmet are the conditions of a sidecar and its journal in words, where they are not met.
var unmet = map[string]string{
	"takes writes":                          "The journal takes no writes",
	"has room":                              "The journal's volume has little room left, or does not say how much",
	"is on a volume that outlives the host": "The journal is on a volume that does not outlive its host",
	"older copies":                          "A journal was put back to an older copy of itself",
	"has all its records":                   "The journal has lost records",
	"listens":                               "The sidecar does not listen yet",
	"lets in who connects":                  "Connections are turned away",
	"runs":                                  "The sidecar is stopping, and takes no new intents",
	"takes intents":                         "The sidecar takes no new intents",
	"config file":                           "The config file was refused",
	"certificate or key":                    "The certificate or key is no longer good",
	"is on a quick disk":                    "The disk is slow",
	aboutDead:                               "Intents ended undelivered",
	aboutHeld:                               "Intents are out of attempts and wait for an operator",
}

// Title is what is wrong, in words, for a reader who sees no sign of how bad it is.
func (f Finding) Title() string {
	if text, known := unmet[f.About]; known {
		return text
	}
	about := strings.TrimPrefix(f.About, "agent://")
	switch f.Group {
	case "receivers":
		return "The app of " + about + " takes nothing"
	case "destinations":
		return "What is sent to " + about + " waits"
	case "peers":
		switch {
		case f.cause == state.CausePutBack:
			return "Nothing is exchanged with " + about + ": THIS sidecar's journal was put back"
		case f.cause == state.CausePeerPutBack:
			return "Nothing is exchanged with " + about + ": its journal was put back"
		case f.Level == Wrong:
			return "The sidecar at " + about + " cannot be reached"
		}
		return "The sidecar at " + about
	}
	return strings.ToUpper(f.Group[:1]) + f.Group[1:] + ": " + about
}
