package api

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"pannier/journal"
	"pannier/journal/wire"
)

const (
	defaultAgents = 100
	maxAgents     = 1000
)

// registered is an agent that is served here, or has a service account here.
type registered struct {
	agent   string
	first   time.Time     // when this sidecar first knew it, or its journal was made
	account *wire.Account // nil: none
	killed  bool
}

// directory lists the registered agents by address.
func (a *API) directory() []registered {
	by := map[string]*registered{}
	add := func(agent string) *registered {
		if by[agent] == nil {
			by[agent] = &registered{agent: agent}
		}
		return by[agent]
	}
	for _, agent := range a.mailbox.Served(math.MaxInt) {
		if !journal.IsOutside(agent) {
			add(agent)
		}
	}
	for _, acc := range a.journal.Accounts() {
		r := add(acc.Agent)
		r.account, r.first = acc, time.UnixMilli(acc.CreatedMs)
	}
	for _, known := range a.journal.Agents() {
		if r := by[known.Name]; r != nil {
			r.killed = known.Killed
			if r.first.IsZero() {
				r.first = known.First
			}
		}
	}
	out := make([]registered, 0, len(by))
	for _, r := range by {
		if r.first.IsZero() {
			r.first = a.journal.Identity().Journal.Time()
		}
		out = append(out, *r)
	}
	slices.SortFunc(out, func(x, y registered) int { return strings.Compare(x.agent, y.agent) })
	return out
}

// find returns the entry of an agent.
func (a *API) find(agent string) (registered, error) {
	all := a.directory()
	i, found := slices.BinarySearchFunc(all, agent, func(r registered, agent string) int { return strings.Compare(r.agent, agent) })
	if !found {
		return registered{}, refuse(codeAgentNotFound, "%s is neither served by this sidecar nor has it a service account here", clip(agent, 64))
	}
	return all[i], nil
}

// agents serves GET /v1/agents: who is registered at this sidecar. Whoever may
// send may know whom there is to send to: the list is the same for every key.
func (a *API) agents(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	limit := int(q.integer("limit", defaultAgents, 1, maxAgents))
	if err := q.err(); err != nil {
		return err
	}
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("agents").open('[')
	all := a.directory()
	for _, entry := range all[:min(limit, len(all))] {
		d.item()
		entry.write(d)
	}
	return answer(w, d.close(']').close('}'))
}

// agent serves GET /v1/agents/{agent}.
func (a *API) agent(w http.ResponseWriter, _ *http.Request, agent, _ string) error {
	entry, err := a.find(agent)
	if err != nil {
		return err
	}
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("agent")
	entry.write(d)
	return answer(w, d.close('}'))
}

func (r *registered) write(d *doc) {
	id := journal.AccountID(r.agent) // of its account, or the one it would have
	d.open('{').str("address", fullAddress(r.agent)).str("service_account_id", id.String())
	d.str("service_account_name", r.name())
	if r.account != nil && r.account.DisplayName != "" {
		d.str("display_name", r.account.DisplayName)
	} else {
		d.null("display_name")
	}
	status := "active"
	if r.killed {
		status = "suspended"
	}
	d.str("status", status).time("created_at", r.first).close('}')
}

// name is the account's, or the last segment of the address.
func (r *registered) name() string {
	if r.account != nil {
		return r.account.Name
	}
	return accountName(r.agent)
}

const (
	minName = 2 // of a service account, by AXP
	maxName = 120
)

// accountName makes a name of an address: its last segment, if that is long
// enough.
func accountName(agent string) string {
	name := agent[strings.LastIndexByte(agent, '/')+1:]
	if len(name) < minName {
		name = fullAddress(agent)
	}
	return name[:min(len(name), maxName)]
}

// fullAddress is an address as AXP shows it: a bare name has a scheme, too.
func fullAddress(agent string) string {
	if strings.Contains(agent, "://") {
		return agent
	}
	return "agent://" + agent
}
