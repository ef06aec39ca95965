package api

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"pannier/journal"
)

// meshAgent is an agent with its health.
type meshAgent struct {
	registered
	health        string
	last          time.Time
	intents, cost float64
}

var healths = []string{"healthy", "degraded", "unreachable", "killed", "unknown"}

// windowDays are the days a window of GET /v1/mesh/agents covers.
var windowDays = map[string]int64{"": 1, "day": 1, "week": 7, "month": 30}

// mesh lists the agents of a caller: those that are registered, and those that
// have sent a heartbeat.
func (a *API) mesh(c *Caller, days int64) []meshAgent {
	all := a.directory()
	known := len(all)
	for _, agent := range a.beats.agents() {
		_, found := slices.BinarySearchFunc(all[:known], agent, func(r registered, agent string) int { return strings.Compare(r.agent, agent) })
		if !found {
			all = append(all, registered{agent: agent, killed: a.journal.Killed(agent), first: a.journal.Identity().Journal.Time()})
		}
	}
	now := time.Now()
	var out []meshAgent
	for _, r := range all {
		if !c.May(r.agent) {
			continue
		}
		m := meshAgent{registered: r}
		m.last, m.intents, m.cost = a.beats.read(r.agent, days, now)
		m.health = healthOf(r.killed, m.last, now)
		out = append(out, m)
	}
	slices.SortFunc(out, func(x, y meshAgent) int { return strings.Compare(x.agent, y.agent) })
	return out
}

func healthOf(killed bool, last, now time.Time) string {
	switch age := now.Sub(last); {
	case killed:
		return "killed"
	case last.IsZero():
		return "unknown"
	case age > unreachableAfter:
		return "unreachable"
	case age > degradedAfter:
		return "degraded"
	}
	return "healthy"
}

// meshAgents serves GET /v1/mesh/agents.
func (a *API) meshAgents(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	limit := int(q.integer("limit", defaultAgents, 1, maxAgents))
	health := q.text("health")
	if health != "" && !slices.Contains(healths, health) {
		q.fault("health", codeSchemaInvalid, "must be one of %s", strings.Join(healths, ", "))
	}
	days, ok := windowDays[q.text("window")]
	if !ok {
		q.fault("window", codeSchemaInvalid, "must be day, week or month")
	}
	if err := q.err(); err != nil {
		return err
	}
	all := a.mesh(callerOf(r), days)
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("agents").open('[')
	count := map[string]int64{}
	for _, m := range all {
		count[m.health]++
		if health != "" && m.health != health || limit == 0 {
			continue
		}
		limit--
		d.item()
		m.write(d)
	}
	d.close(']').key("summary").open('{').num("total", int64(len(all)))
	for _, h := range healths[:4] {
		d.num(h, count[h])
	}
	return answer(w, d.close('}').close('}'))
}

func (m *meshAgent) write(d *doc) {
	d.open('{').str("address_id", addressID(m.agent)).str("address", fullAddress(m.agent))
	if m.account != nil && m.account.DisplayName != "" {
		d.str("display_name", m.account.DisplayName)
	} else {
		d.str("display_name", m.name())
	}
	d.str("health_status", m.health)
	if m.last.IsZero() {
		d.null("last_heartbeat_at")
	} else {
		d.time("last_heartbeat_at", m.last)
	}
	d.time("created_at", m.first).num("intents_period", int64(m.intents))
	d.raw("cost_period", strconv.AppendFloat(nil, m.cost, 'f', -1, 64)).null("metadata").close('}')
}

// addressID is an address as one segment of a path.
func addressID(agent string) string { return base64.RawURLEncoding.EncodeToString([]byte(agent)) }

// meshID finds the agent of the caller that a path is about.
func (a *API) meshID(r *http.Request) (meshAgent, error) {
	missing := refuse(codeAgentNotFound, "the id is none of this sidecar's agents: it is the address_id in GET /v1/mesh/agents")
	agent, err := base64.RawURLEncoding.DecodeString(r.PathValue("id"))
	if err != nil {
		return meshAgent{}, missing
	}
	all := a.mesh(callerOf(r), windowDays[""])
	i, found := slices.BinarySearchFunc(all, string(agent), func(m meshAgent, agent string) int { return strings.Compare(m.agent, agent) })
	if !found {
		return meshAgent{}, missing
	}
	return all[i], nil
}

// meshAgent serves GET /v1/mesh/agents/{id}.
func (a *API) meshAgent(w http.ResponseWriter, r *http.Request) error {
	m, err := a.meshID(r)
	if err != nil {
		return err
	}
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("agent")
	m.write(d)
	return answer(w, d.close('}'))
}

// meshKill serves POST /v1/mesh/agents/{id}/kill: nothing goes to the agent or
// comes from it at this sidecar until it is resumed. What is addressed to it waits.
func (a *API) meshKill(w http.ResponseWriter, r *http.Request) error { return a.setKilled(w, r, true) }

// meshResume serves POST /v1/mesh/agents/{id}/resume.
func (a *API) meshResume(w http.ResponseWriter, r *http.Request) error {
	return a.setKilled(w, r, false)
}

func (a *API) setKilled(w http.ResponseWriter, r *http.Request, killed bool) error {
	m, err := a.meshID(r)
	if err != nil {
		return err
	}
	if err := a.mailbox.SetKilled(r.Context(), m.agent, killed, actorOf(r)); err != nil {
		return err
	}
	status := "active"
	if killed {
		status = "killed"
	}
	d := newDoc()
	defer d.free()
	return answer(w, d.open('{').boolean("ok", true).str("status", status).close('}'))
}

// actorOf is who a request is of, for a record of what was done.
func actorOf(r *http.Request) string {
	if c := callerOf(r); c != nil && owner(r) == someApp {
		return c.identity()
	}
	return owner(r)
}

var agentEventNames = map[journal.AgentEventType]string{journal.AgentKilled: "agent.killed", journal.AgentResumed: "agent.resumed"}

// meshEvents serves GET /v1/mesh/events: what was done to agents of the caller
// lately, newest first.
func (a *API) meshEvents(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	limit := int(q.integer("limit", defaultAgents, 1, maxAgents))
	kind := q.text("event_type")
	if err := q.err(); err != nil {
		return err
	}
	events, err := a.journal.AgentEvents()
	if err != nil {
		return err
	}
	c := callerOf(r)
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("events").open('[')
	for _, ev := range events {
		name := agentEventNames[journal.AgentEventType(ev.Type)]
		if !c.May(ev.Agent) || kind != "" && kind != name || limit == 0 {
			continue
		}
		limit--
		id, err := journal.IDOf(ev.Id)
		if err != nil {
			return err
		}
		d.item().open('{').str("event_id", id.String()).str("address", fullAddress(ev.Agent)).str("event_type", name)
		d.raw("details", nil).str("actor_id", ev.Actor).time("created_at", id.Time()).close('}')
	}
	return answer(w, d.close(']').close('}'))
}
