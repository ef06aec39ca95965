package xds

import (
	"context"
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

// alarm makes sure that housekeep runs at t. Called with mu held.
func (c *Client) alarm(t time.Time) {
	if c.mu.alarmAt.IsZero() || t.Before(c.mu.alarmAt) {
		c.mu.alarmAt = t
		poke(c.wake)
	}
}

// Run talks to the servers and keeps the file until ctx ends.
func (c *Client) Run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { c.keep(ctx) })
	fallbacks := make([]context.CancelFunc, len(c.mu.servers)) // nil: does not run
	start := func(i int) {
		ctx, cancel := context.WithCancel(ctx)
		fallbacks[i] = cancel
		all.Go(func() { c.mu.servers[i].run(ctx) })
	}
	if len(c.mu.servers) > 0 {
		start(0)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(c.housekeep(time.Now()))
		for i := 1; i < len(fallbacks); i++ {
			switch wanted := c.wanted(i); {
			case wanted && fallbacks[i] == nil:
				c.log.Warn("a control plane is out of reach and something is missing: asking the next", "peer", c.mu.servers[i].address)
				start(i)
			case !wanted && fallbacks[i] != nil && c.better(i):
				fallbacks[i]()
				fallbacks[i] = nil
			}
		}
		select {
		case <-ctx.Done():
			for _, cancel := range fallbacks {
				if cancel != nil {
					cancel()
				}
			}
			return nil
		case <-c.wake:
		case <-timer.C:
		}
	}
}

// wanted reports whether the i-th server is to be asked: each before it was tried
// and does not speak, and something is missing that is not to be had from memory:
// where an agent is, or that anybody hears of those that are here.
func (c *Client) wanted(i int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	unheard := len(c.mu.node.Agents) > 0
	for _, s := range c.mu.servers[:i] {
		if !s.mu.failed || s.mu.live {
			return false
		}
		unheard = unheard && time.Since(s.mu.lostAt) >= unheardFor
	}
	if unheard {
		return true
	}
	for _, a := range c.mu.agents {
		if !a.known {
			return true
		}
	}
	return false
}

// better reports whether a server before the i-th speaks.
func (c *Client) better(i int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.mu.servers[:i], func(s *server) bool { return s.mu.live })
}

// live reports whether a server speaks. Called with mu held.
func (c *Client) live() bool {
	return slices.ContainsFunc(c.mu.servers, func(s *server) bool { return s.mu.live })
}

// housekeep acts on what time has brought and returns how long there is until the
// next of it.
func (c *Client) housekeep(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.alarmAt.IsZero() || now.Before(c.mu.alarmAt) {
		return c.untilAlarm(now)
	}
	c.mu.alarmAt = time.Time{}
	var news []*resource
	for _, byName := range c.mu.resources {
		for _, r := range byName {
			if !r.gone.IsZero() && r.kind != secret { // a bundle is replaced, and never taken back
				if end := r.gone.Add(c.o.grace()); now.Before(end) {
					c.alarm(end)
				} else {
					c.log.Warn("what the control plane deleted is no longer used", "resource", kinds[r.kind].word, "name", r.name)
					r.drop()
					news = append(news, r)
				}
			}
			// A server that has said nothing at all is dead, not empty.
			if end := r.overdue(c.o.NotFoundAfter); !end.IsZero() && c.live() {
				if now.Before(end) {
					c.alarm(end)
				} else {
					news = c.remove(r.kind, r.name, now, news)
				}
			}
		}
	}
	c.refresh(news, now)
	c.look(now)
	if c.live() && !c.mu.saved.IsZero() {
		if at := c.mu.saved.Add(rewriteEvery); now.Before(at) {
			c.alarm(at)
		} else {
			c.mu.dirty = true
			poke(c.write)
		}
	}
	return c.untilAlarm(now)
}

// look swaps in what has waited too long to be whole, and ends the subscriptions
// nobody needs. Whoever watches the directory is woken once before: it asks again
// for whatever it has something for. Called with mu held.
func (c *Client) look(now time.Time) {
	changed := false
	for _, a := range c.mu.agents {
		if !a.cold.IsZero() {
			if end := a.cold.Add(warmWithin); now.Before(end) {
				c.alarm(end)
			} else {
				changed = c.assemble(a, now) || changed
			}
		}
		switch idle := a.asked.Add(c.o.IdleAfter); {
		case now.Before(idle):
			c.alarm(idle.Add(sweepEvery).Truncate(sweepEvery)) // many at once
		case a.probed.IsZero():
			a.probed, changed = now, true
			c.alarm(now.Add(sweepEvery))
		case now.Before(a.probed.Add(sweepEvery)):
			c.alarm(a.probed.Add(sweepEvery))
		default:
			c.forget(a)
			c.mu.full = false
			poke(c.write)
		}
	}
	if changed {
		c.announceChange()
	}
}

func (c *Client) untilAlarm(now time.Time) time.Duration {
	if c.mu.alarmAt.IsZero() {
		return time.Hour
	}
	return max(0, c.mu.alarmAt.Sub(now))
}

// poke wakes a loop; one word is enough.
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
