package xds

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// The states of a resource, as the client status discovery service (CSDS) calls
// them, and one more.
const (
	Requested    = "REQUESTED"      // asked for, or to be; nothing was said of it
	DoesNotExist = "DOES_NOT_EXIST" // the server has none; what is shown with it is used until the grace is over
	Acked        = "ACKED"
	Nacked       = "NACKED" // its newest version was refused; what is shown with it is the last good
	// ReceivedError is what the server has an error for, in place of a version; what is
	// shown with it is the last good.
	ReceivedError = "RECEIVED_ERROR"
	// Stale is what is in force while no server speaks: the last known good of the
	// file, or of a server that went away.
	Stale = "STALE"
)

// Status is what the client knows of its servers and resources, for operators.
type Status struct {
	Node      string           `json:"node_id"`
	Stale     bool             `json:"stale"`               // no server speaks
	Confirmed *time.Time       `json:"confirmed,omitempty"` // when one last did
	Servers   []ServerStatus   `json:"servers"`
	Agents    []AgentStatus    `json:"agents"`
	Resources []ResourceStatus `json:"resources"`
}

// ServerStatus is one control plane.
type ServerStatus struct {
	Address      string     `json:"address"`
	State        string     `json:"state"` // standby, connecting, connected, waiting
	Since        time.Time  `json:"since"`
	LastResponse *time.Time `json:"last_response,omitempty"`
	LastError    string     `json:"last_error,omitempty"`
	NextTry      *time.Time `json:"next_try,omitempty"`
	Refused      string     `json:"not_announced,omitempty"` // why it does not announce this sidecar as it asks to be
	Nacks        uint64     `json:"nacks"`
	Unexpected   uint64     `json:"unexpected"` // responses for types nobody asked for
}

// AgentStatus is what comes of the resources of one agent.
type AgentStatus struct {
	Agent     string `json:"agent"`
	Known     bool   `json:"known"`
	Endpoints int    `json:"endpoints"` // without this sidecar
	Here      bool   `json:"here"`
	Paused    bool   `json:"paused"`
}

// ResourceStatus is one resource. Version and Received are of what is in force.
type ResourceStatus struct {
	Type     string          `json:"type"` // cluster, endpoints, route, runtime
	Name     string          `json:"name"`
	State    string          `json:"state"`
	Version  string          `json:"version,omitempty"`
	Received *time.Time      `json:"received,omitempty"`
	Age      int64           `json:"age_seconds,omitempty"` // since Received
	Error    string          `json:"error,omitempty"`
	Refused  string          `json:"refused_version,omitempty"`
	Deleted  *time.Time      `json:"deleted,omitempty"` // by the server; it is used on for the grace
	Resource json.RawMessage `json:"resource,omitempty"`

	value proto.Message // to be written as Resource
}

// Status describes all there is; with dump also the resources themselves. These are
// written while nobody waits for the lock: a value is never changed, only replaced.
func (c *Client) Status(dump bool) Status {
	s := c.describe()
	for i := range s.Resources {
		one := &s.Resources[i]
		if dump && one.value != nil {
			// What cannot be shown, such as an Any of a type that is not linked, is left
			// out.
			one.Resource, _ = protojson.Marshal(one.value)
		}
		one.value = nil
	}
	slices.SortFunc(s.Agents, func(a, b AgentStatus) int { return cmp.Compare(a.Agent, b.Agent) })
	slices.SortFunc(s.Resources, func(a, b ResourceStatus) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type))
	})
	return s
}

// describe is Status without order, and with the resources as they are.
func (c *Client) describe() Status {
	now := time.Now()
	node := c.nodeProto()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{
		Node: node.GetId(), Stale: !c.live(), Confirmed: pointer(c.lastHeard(now)),
		Servers: []ServerStatus{}, Agents: []AgentStatus{}, Resources: []ResourceStatus{},
	}
	for _, one := range c.mu.servers {
		s.Servers = append(s.Servers, one.status())
	}
	for _, a := range c.mu.agents {
		s.Agents = append(s.Agents, AgentStatus{a.address, a.known, len(a.endpoints), a.here, c.mu.switches.Paused(a.address)})
	}
	for i, byName := range c.mu.resources {
		for _, r := range byName {
			one := r.status(now, s.Stale)
			one.Type, one.value = kinds[i].word, r.value
			s.Resources = append(s.Resources, one)
		}
	}
	return s
}

// Confirmed is when a server last spoke, before this start too; live says that
// one speaks now.
func (c *Client) Confirmed() (at time.Time, live bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastHeard(time.Now()), c.live()
}

// lastHeard is when a server spoke, or would have if it had had anything to say.
// Called with mu held.
func (c *Client) lastHeard(now time.Time) time.Time {
	if c.live() {
		return now
	}
	at := c.mu.confirmed
	for _, s := range c.mu.servers {
		if s.mu.lostAt.After(at) {
			at = s.mu.lostAt
		}
	}
	return at
}

func (s *server) status() ServerStatus {
	out := ServerStatus{
		Address: s.address, State: s.mu.state, Since: s.mu.since, LastResponse: pointer(s.mu.heard),
		Nacks: s.mu.nacks, Unexpected: s.mu.strange, Refused: s.mu.refused,
	}
	if s.mu.state != stateConnected {
		out.LastError = s.mu.last
	}
	if s.mu.state == stateWaiting {
		out.NextTry = pointer(s.mu.nextTry)
	}
	return out
}

func (r *resource) status(now time.Time, stale bool) ResourceStatus {
	out := ResourceStatus{Name: r.name, Version: r.version, Error: r.reason, Refused: r.refused, Deleted: pointer(r.gone)}
	if r.value != nil {
		out.Received = pointer(r.received)
		out.Age = int64(max(0, now.Sub(r.received)) / time.Second)
	}
	out.State = r.state(stale)
	return out
}

// state is one of the states of a resource; stale says that no server speaks.
func (r *resource) state(stale bool) string {
	switch {
	case r.reason != "" && r.theirs:
		return ReceivedError
	case r.reason != "":
		return Nacked
	case r.absent || !r.gone.IsZero():
		return DoesNotExist
	case r.value == nil:
		return Requested
	case stale || r.unheard:
		return Stale
	}
	return Acked
}

func pointer(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
