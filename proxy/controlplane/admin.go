package controlplane

import (
	"net"
	"net/http"
	"strings"
	"time"

	"pannier/proxy/admin"
)

// adminHandler serves operators.
func (c *ControlPlane) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", c.page())
	mux.HandleFunc("GET /v1/admin/xds", c.showXDS)
	mux.HandleFunc("/", admin.NotFound("no such page: see /healthz, /readyz, /startupz, /metrics, /v1/admin/xds"))
	return admin.Operators(mux, c.opts.Version, c.health, c.hosts())
}

// probesHandler serves whoever reaches it.
func (c *ControlPlane) probesHandler() http.Handler {
	return admin.Probes(c.opts.Version, c.health, c.page(), c.hosts())
}

// hosts are the names the operator gave these listeners, for the Host check.
func (c *ControlPlane) hosts() (hosts []string) {
	for _, address := range []string{c.opts.Admin, c.opts.Health} {
		if host, _, err := net.SplitHostPort(address); err == nil && host != "" {
			hosts = append(hosts, strings.ToLower(host))
		}
	}
	return hosts
}

// health reads memory only. No client and no sidecar makes it unready.
func (c *ControlPlane) health() admin.Health {
	var h admin.Health
	for i, u := range c.inbox.updates() {
		check := admin.Check{Name: "source " + c.opts.Sources[i].Name(), OK: u != nil}
		if u == nil {
			check.Detail = "it has not said yet what it knows"
		}
		h.Checks = append(h.Checks, check)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	serving := admin.Check{Name: "serving", OK: !c.mu.applied.IsZero() && !c.mu.stopping}
	if c.mu.stopping {
		serving.Detail = "the control plane is stopping"
	}
	h.Started = !c.mu.applied.IsZero()
	h.Checks = append(h.Checks, serving)
	if c.opts.Trust != nil {
		h.Checks = append(h.Checks, identityCheck(c.opts.Trust.Fault(time.Now())))
	}
	return h
}

// identityCheck is advice: no other replica and no restart mends an identity.
func identityCheck(fault error) admin.Check {
	check := admin.Check{Name: "identity", OK: fault == nil, Advice: true}
	if fault != nil {
		check.Detail = fault.Error()
	}
	return check
}

type xdsAnswer struct {
	OK        bool           `json:"ok"`
	Sources   []sourceAnswer `json:"sources"` // the most believed first
	UpdatedAt *time.Time     `json:"updated_at"`
	Resources map[string]int `json:"resources"` // served, by type
	NackCount map[string]int `json:"nack_count"`
	Nacks     []Nack         `json:"nacks"` // the last of each node
	Nodes     []NodeStatus   `json:"nodes"` // one for each stream
}

type sourceAnswer struct {
	Name   string `json:"name"`
	Synced bool   `json:"synced"`
	Agents int    `json:"agents"`
	Error  string `json:"error,omitempty"` // why it goes on with what it knew
}

// Troubled is a source that can say what keeps it from knowing better.
type Troubled interface {
	// Trouble is empty when there is none.
	Trouble() string
}

func (c *ControlPlane) showXDS(w http.ResponseWriter, _ *http.Request) {
	answer := xdsAnswer{OK: true, Resources: c.caches.sizes(), Nacks: []Nack{}, Nodes: []NodeStatus{}}
	for i, u := range c.inbox.updates() {
		s := sourceAnswer{Name: c.opts.Sources[i].Name(), Synced: u != nil}
		if u != nil {
			s.Agents = len(u.Services)
		}
		if t, ok := c.opts.Sources[i].(Troubled); ok {
			s.Error = t.Trouble()
		}
		answer.Sources = append(answer.Sources, s)
	}
	nodes, nacks, total := c.streams.snapshot()
	answer.Nodes, answer.Nacks, answer.NackCount = append(answer.Nodes, nodes...), append(answer.Nacks, nacks...), total
	c.mu.Lock()
	if !c.mu.applied.IsZero() {
		at := c.mu.applied.UTC()
		answer.UpdatedAt = &at
	}
	c.mu.Unlock()
	admin.Write(w, http.StatusOK, answer)
}
