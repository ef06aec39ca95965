package xds

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	runtimev3 "github.com/envoyproxy/go-control-plane/envoy/service/runtime/v3"

	"pannier/outbound"
	"pannier/proxy/mesh"
)

// Client keeps what control planes say of the agents that are asked for. It is a
// directory of outbound's. All methods are safe for concurrent use and answer
// from memory.
type Client struct {
	o    Options
	log  *slog.Logger
	disk disk

	wake  chan struct{} // an alarm is earlier than it was
	write chan struct{} // the file is not as it should be

	mu struct {
		sync.Mutex
		self      []string // addresses that are this sidecar
		node      mesh.Node
		resources [len(kinds)]map[string]*resource
		agents    map[string]*agent
		switches  mesh.Switches
		changed   chan struct{} // closed at the next change
		alarmAt   time.Time
		spoke     bool      // a server has, since the start
		dirty     bool      // the file is behind
		saved     time.Time // since the start
		confirmed time.Time // by a server; what the file says until one speaks
		full      bool      // said that there are too many agents

		servers []*server
	}
}

var _ outbound.Directory = (*Client)(nil)

// New returns a client that knows what the file says, and connects to nobody
// until Run. A file that cannot be used is no error: the control plane has it
// all, and the log says what was lost.
func New(o Options, node mesh.Node, log *slog.Logger) *Client {
	return newClient(o, node, log, osDisk{})
}

func newClient(o Options, node mesh.Node, log *slog.Logger, d disk) *Client {
	c := &Client{o: o, log: log, disk: d, wake: make(chan struct{}, 1), write: make(chan struct{}, 1)}
	for i := range c.mu.resources {
		c.mu.resources[i] = map[string]*resource{}
	}
	c.mu.resources[runtime][mesh.Runtime] = &resource{kind: runtime, name: mesh.Runtime}
	if o.Trust != nil {
		c.mu.resources[secret][mesh.TrustBundle] = &resource{kind: secret, name: mesh.TrustBundle}
	}
	c.mu.agents = map[string]*agent{}
	c.mu.changed = make(chan struct{})
	c.mu.node = node
	for i, address := range o.Servers {
		c.mu.servers = append(c.mu.servers, newServer(c, address, i))
	}
	c.load(time.Now())
	return c
}

// IAm says which addresses are this sidecar's own: nobody dials itself. Call it
// before the directory is used.
func (c *Client) IAm(addresses ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range addresses {
		c.mu.self = append(c.mu.self, mesh.Address(a))
	}
	for _, a := range c.mu.agents {
		c.assemble(a, time.Now())
	}
}

// Announce tells the servers who this sidecar is when that has changed. Delta
// takes a node only with the first request of a stream, so each stream is ended
// and the next opened on the same connection at once, with the versions of all
// that is known: nothing is sent twice, and the servers forget a node only some
// time after its stream.
func (c *Client) Announce(n mesh.Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.node.Equal(n) {
		return
	}
	c.mu.node = n
	for _, s := range c.mu.servers {
		poke(s.reopen)
	}
}

// Endpoints implements outbound.Directory. The first question about an agent
// subscribes to it; known is false until a server, or the file, has told.
func (c *Client) Endpoints(agent string) (eps []outbound.Endpoint, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.ask(agent)
	if a == nil {
		return nil, false
	}
	return slices.Clone(a.endpoints), a.known
}

// Policy implements outbound.Directory. Paused is what the Runtime layer says.
func (c *Client) Policy(agent string) outbound.Policy {
	c.mu.Lock()
	defer c.mu.Unlock()
	var p outbound.Policy
	if a := c.mu.agents[agent]; a != nil {
		p = a.policy
		p.Split = slices.Clone(p.Split)
	}
	p.Paused = c.mu.switches.Paused(agent)
	return p
}

// Changed implements outbound.Directory.
func (c *Client) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.changed
}

// Elsewhere reports whether an agent lives at other sidecars and not here, and
// whether that is known yet.
func (c *Client) Elsewhere(agent string) (elsewhere, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.ask(agent)
	if a == nil {
		return false, false
	}
	return len(a.endpoints) > 0 && !a.here, a.known
}

// ask notes the wish for an agent. Called with mu held.
func (c *Client) ask(address string) *agent {
	now := time.Now()
	if a := c.mu.agents[address]; a != nil {
		a.asked, a.probed = now, time.Time{}
		return a
	}
	if len(c.mu.agents) >= maxAgents {
		if !c.mu.full {
			c.mu.full = true
			c.log.Error("too many agents are asked for: further ones are not subscribed to", "agents", maxAgents)
		}
		return nil
	}
	a := c.subscribe(address, now)
	c.assemble(a, now)
	c.mu.dirty = true
	return a
}

func (c *Client) subscribe(address string, now time.Time) *agent {
	a := &agent{address: address, key: mesh.Key(address), asked: now, uses: map[ref]*resource{}}
	c.mu.agents[address] = a
	c.alarm(now.Add(c.o.IdleAfter))
	return a
}

// resubscribe wakes the streams: the names to be asked for have changed. Called
// with mu held.
func (c *Client) resubscribe() {
	for _, s := range c.mu.servers {
		poke(s.names)
	}
	poke(c.wake) // another server may be needed
}

// announceChange tells whoever watches the directory. Called with mu held.
func (c *Client) announceChange() {
	close(c.mu.changed)
	c.mu.changed = make(chan struct{})
}

// refresh puts the news of some resources in force. Called with mu held.
func (c *Client) refresh(news []*resource, now time.Time) {
	changed := false
	for _, r := range news {
		if r.kind == runtime {
			was := c.mu.switches
			c.mu.switches = mesh.Switches{}
			if layer, there := valueOf[*runtimev3.Runtime](r); there {
				c.mu.switches = mesh.ReadSwitches(layer)
			}
			changed = changed || !c.mu.switches.Equal(was)
		}
		if r.kind == secret {
			c.trust(r)
		}
	}
	for _, a := range usersOf(news) {
		changed = c.assemble(a, now) || changed
	}
	if len(news) > 0 {
		c.mu.dirty = true
		poke(c.write)
	}
	if changed {
		c.announceChange()
	}
}

// trust hands a bundle on. Called with mu held.
func (c *Client) trust(r *resource) {
	bundle, there := valueOf[*tlsv3.Secret](r)
	if !there {
		return
	}
	if err := c.o.Trust(mesh.ReadTrust(bundle)); err != nil {
		c.log.Error("the authorities that the control plane names are not trusted", "resource", kinds[secret].word, "name", r.name, "err", err)
	}
}

// poke wakes a loop; one word is enough.
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
