package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"pannier/journal"
)

// Caller is whom a key speaks for and receives for.
type Caller struct {
	// Agents are addresses, or patterns: "*" is every agent, "PREFIX/*" every
	// one below it. The first address is who sends when a body names nobody.
	Agents []string

	// Person is who decides, where that is known: logs of intents name them.
	// Empty: a program, or whoever has its key.
	Person string

	// until is when the key ends by itself; zero: it does not.
	until time.Time
}

// May reports whether the caller may act as the agent. Where no keys are asked
// for there is no caller, and everybody may.
func (c *Caller) May(agent string) bool {
	return c == nil || slices.ContainsFunc(c.Agents, func(granted string) bool { return Covers(granted, agent) })
}

// Covers reports whether a grant, an address or a pattern, is for the agent.
func Covers(granted, agent string) bool {
	if prefix, ok := strings.CutSuffix(granted, everyAgent); ok {
		return strings.HasPrefix(agent, prefix) && len(agent) > len(prefix)
	}
	return granted == agent
}

const everyAgent = "*"

// Grant returns the canonical form of an entry of Agents.
func Grant(s string) (string, error) {
	if s == everyAgent {
		return s, nil
	}
	prefix, wild := strings.CutSuffix(s, "/"+everyAgent)
	canonical, err := Address(prefix)
	if err != nil || !wild {
		return canonical, err
	}
	if !strings.Contains(canonical, "://") {
		canonical = "agent://" + canonical // what is below a name has a slash
	}
	return canonical + "/" + everyAgent, nil
}

// self is the agent the caller is when it names none, "" for a caller of
// patterns only, for a person, who is none of those they act for, or where no keys are
// asked for.
func (c *Caller) self() string {
	if c == nil || c.Person != "" {
		return ""
	}
	for _, granted := range c.Agents {
		if !strings.HasSuffix(granted, everyAgent) {
			return granted
		}
	}
	return ""
}

// identity scopes idempotency keys. A key that takes the place of another one
// speaks for the same first agent: a request repeated under it is the same one.
// Without keys all callers are one.
func (c *Caller) identity() string {
	if c == nil {
		return ""
	}
	if c.Person != "" {
		return c.Person
	}
	return c.Agents[0]
}

// sender is who an intent of the caller comes from, given whom its body names.
func (c *Caller) sender(named string) (string, error) {
	switch {
	case named == "" && c.self() == "":
		return "", refuseFaults([]fault{{"/from_agent", "is required: the key speaks for more agents than one", codeSchemaInvalid}})
	case named == "":
		return c.self(), nil
	case !c.May(named):
		return "", refuse(codePolicyDenied, "from_agent: the key does not speak for %s", clip(named, 64))
	}
	return named, nil
}

// mayReceive refuses who takes or settles intents of an agent not its own.
func (c *Caller) mayReceive(agent string) error {
	if c.May(agent) {
		return nil
	}
	return refuse(codePolicyDenied, "the key does not receive for %s", clip(agent, 64))
}

// maySee reports whether an intent is from or to an agent of the caller, or what it asks was
// passed on to one.
func (a *API) maySee(c *Caller, i *journal.Intent) bool {
	if c == nil {
		return true
	}
	if e := i.Envelope; e != nil {
		return c.May(e.FromAgent) || c.May(e.ToAgent) || isAsked(c, i) || a.isDelegated(i, c.May)
	}
	return c.May(a.receiver(i)) // its body has left the history, and the sender with it
}

// receiver is the agent an intent is to.
func (a *API) receiver(i *journal.Intent) string {
	switch {
	case i.Envelope != nil:
		return i.Envelope.ToAgent
	case i.Head != nil:
		return a.journal.AgentName(journal.Agent(i.Head.Dest))
	}
	return a.journal.AgentName(journal.Agent(i.Handover.Agent))
}

// see refuses an id of an intent that the caller may not see as if there were
// none: whether there is one is nobody else's business.
func (a *API) see(r *http.Request, id journal.ID) error {
	c := callerOf(r)
	if c == nil {
		return nil
	}
	i, err := a.journal.Get(id)
	if err == nil && !a.maySee(c, i) {
		return journal.ErrNotFound
	}
	return err
}

// seeReceived is see for what only the receiver may do: the sender is told so.
func (a *API) seeReceived(r *http.Request, id journal.ID) error {
	c := callerOf(r)
	if c == nil {
		return nil
	}
	i, err := a.journal.Get(id)
	if err != nil {
		return err
	}
	if !a.maySee(c, i) {
		return journal.ErrNotFound
	}
	return c.mayReceive(a.receiver(i))
}

type callerKey struct{}

// callerOf is who sent a request, nil where no keys are asked for.
func callerOf(r *http.Request) *Caller {
	c, _ := r.Context().Value(callerKey{}).(*Caller)
	return c
}

func withCaller(r *http.Request, c *Caller) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), callerKey{}, c))
}
