package controlplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/peer"

	"pannier/outbound"
	"pannier/proxy/api"
	"pannier/proxy/hostport"
	"pannier/proxy/mesh"
)

const (
	// DefaultGrace is how long a sidecar stays announced after its stream has
	// ended: it comes back to another replica, or to this one, in less.
	DefaultGrace = 10 * time.Second

	// maxNodes and maxNodeAgents bound what may be announced.
	maxNodes      = 10_000
	maxNodeAgents = 1_000
)

// Registration is the source of what sidecars say of themselves, in the metadata
// of the node on their own ADS stream. It keeps that while the stream lives, and
// a grace longer; it has no state to lose.
type Registration struct {
	// Grace is set before Run.
	Grace time.Duration
	// Allow says whether the peer at the other end of a stream may announce an
	// agent; nil lets everybody. The error is for the log and for operators.
	Allow func(p *peer.Peer, agent string) error

	log  *slog.Logger
	wake chan struct{}
	mu   struct {
		sync.Mutex
		nodes map[string]*registered // by node id
		count uint64                 // orders registrations
	}
}

// registered is one sidecar.
type registered struct {
	node   mesh.Node // agents and peer address in their canonical forms
	region string
	zone   string
	stream streamKey // the last one it announced itself on
	gone   time.Time // when that ended; zero: it lives
	order  uint64
}

// NewRegistration returns the source. The server that runs with it feeds it.
func NewRegistration(log *slog.Logger) *Registration {
	r := &Registration{Grace: DefaultGrace, log: log, wake: make(chan struct{}, 1)}
	r.mu.nodes = map[string]*registered{}
	return r
}

// Name implements Source.
func (r *Registration) Name() string { return "registration" }

// Run implements Source. It has synced at once: that nobody has registered yet is
// all there is to know.
func (r *Registration) Run(ctx context.Context, report func(Update)) error {
	expiry := time.NewTimer(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-expiry.C:
		}
		update, next := r.update(time.Now())
		report(update)
		if next > 0 {
			expiry.Reset(next)
		}
	}
}

// seen takes what a stream says of its node. A nil error means it is announced,
// or is no sidecar.
func (r *Registration) seen(stream streamKey, p *peer.Peer, n *core.Node) error {
	node, ours := mesh.ReadNode(n.GetMetadata())
	if !ours {
		return nil
	}
	if n.GetId() == "" {
		return errors.New("node.id: empty")
	}
	if node.Peer == "" && len(node.Agents) == 0 {
		r.forget(n.GetId()) // it only sends, from now on
		return nil
	}
	if err := hostport.Dial(node.Peer); err != nil {
		r.forget(n.GetId())
		return fmt.Errorf("node.metadata.%s.%s: %w", mesh.Metadata, mesh.FieldPeer, err)
	}
	agents, refused := r.agents(p, node.Agents)
	node.Agents, node.Peer = agents, mesh.Address(node.Peer)

	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.mu.nodes[n.GetId()]
	if known == nil && len(r.mu.nodes) >= maxNodes {
		return fmt.Errorf("%d sidecars are registered, no more are taken", maxNodes)
	}
	if known == nil {
		known = &registered{}
		r.mu.nodes[n.GetId()] = known
	}
	zone, region := n.GetLocality().GetZone(), n.GetLocality().GetRegion()
	same := known.node.Equal(node) && known.zone == zone && known.region == region
	r.mu.count++
	*known = registered{node: node, zone: zone, region: region, stream: stream, order: r.mu.count}
	if !same {
		r.changed()
	}
	return refused
}

// forget takes back what a node announced before.
func (r *Registration) forget(node string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.nodes[node] != nil {
		delete(r.mu.nodes, node)
		r.changed()
	}
}

// agents are the addresses a node may announce, in their canonical form.
func (r *Registration) agents(p *peer.Peer, said []string) (agents []string, refused error) {
	if len(said) > maxNodeAgents {
		said, refused = said[:maxNodeAgents], fmt.Errorf("node.metadata: %d agents, the first %d are taken", len(said), maxNodeAgents)
	}
	for _, a := range said {
		agent, err := api.Address(a)
		if err == nil && r.Allow != nil {
			err = r.Allow(p, agent)
		}
		if err != nil {
			refused = fmt.Errorf("agent not announced: %w", err)
			continue
		}
		if !slices.Contains(agents, agent) {
			agents = append(agents, agent)
		}
	}
	return agents, refused
}

// closed says that a stream has ended. A newer stream of the same node has taken
// its place and is not touched.
func (r *Registration) closed(stream streamKey, node string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.mu.nodes[node]; n != nil && n.stream == stream && n.gone.IsZero() {
		n.gone = time.Now()
		r.changed()
	}
}

func (r *Registration) changed() {
	select {
	case r.wake <- struct{}{}:
	default: // the loop is about to look
	}
}

// update forgets who has been gone for the grace, and returns what is left and
// when to look again; zero: at the next change.
func (r *Registration) update(now time.Time) (Update, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var next time.Duration
	byAddress := map[string]*registered{} // who spoke last for an address has it
	for id, n := range r.mu.nodes {
		if !n.gone.IsZero() {
			left := n.gone.Add(r.Grace).Sub(now)
			if left <= 0 {
				delete(r.mu.nodes, id)
				continue
			}
			if next == 0 || left < next {
				next = left
			}
		}
		if other := byAddress[n.node.Peer]; other == nil || other.order < n.order {
			byAddress[n.node.Peer] = n
		}
	}
	services := map[string]*mesh.Service{}
	for address, n := range byAddress {
		for _, agent := range n.node.Agents {
			s := services[agent]
			if s == nil {
				s = &mesh.Service{Agent: agent, Hints: map[string]mesh.Hint{}}
				services[agent] = s
			}
			e := outbound.Endpoint{Address: address, Zone: n.zone}
			if n.node.Draining {
				e.Health = outbound.Draining
			}
			s.Endpoints = append(s.Endpoints, e)
			s.Hints[address] = mesh.Hint{Region: n.region, Journal: n.node.Journal}
		}
	}
	var u Update
	for _, s := range services {
		sortEndpoints(s.Endpoints)
		u.Services = append(u.Services, *s)
	}
	return u, next
}
