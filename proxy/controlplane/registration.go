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
	// Identify says who is at the other end of a stream, by its context. It is set
	// before Run; nil, where the server has no identity either, lets everybody
	// announce everything. Its error is why that one may announce nothing: the
	// stream goes on, and is told.
	Identify func(ctx context.Context) (Announcer, error)

	log    *slog.Logger
	limits *limits
	wake   chan struct{}
	mu     struct {
		sync.Mutex
		nodes  map[sidecarKey]*registered
		agents int    // that they announce together
		count  uint64 // orders registrations
	}
}

// An Announcer is who is proven to be at the other end of a stream.
type Announcer interface {
	// String is its name. What one name has announced no other takes away.
	String() string
	// SpeaksFor returns nil where it may announce an agent; the error is for it, for
	// the log and for operators.
	SpeaksFor(agent string) error
}

// A Resident is an Announcer that is known to live somewhere.
type Resident interface {
	// At returns nil where its peer listener may be at an address.
	At(address string) error
}

// announcer is Identify's answer about one stream.
type announcer struct {
	Announcer        // nil: nobody is asked who they are, or
	err       error  // nobody knows
	name      string // as it was called when the stream was opened

	again func() error // asks once more who it is
	end   func()       // ends its stream
}

// identify asks who is at the other end of a stream.
func (r *Registration) identify(ctx context.Context) announcer {
	if r.Identify == nil {
		return announcer{}
	}
	again := func() error {
		_, err := r.Identify(ctx)
		return err
	}
	a, err := r.Identify(ctx)
	if err != nil {
		return announcer{err: err, again: again, end: endOf(ctx)}
	}
	return announcer{Announcer: a, name: a.String(), again: again, end: endOf(ctx)}
}

// mayAnnounce returns nil where the agent may be announced.
func (a announcer) mayAnnounce(agent string) error {
	if a.Announcer == nil {
		return a.err
	}
	return a.SpeaksFor(agent)
}

// sidecarKey is one sidecar: ids are said, names are proven.
type sidecarKey struct {
	name string // empty where nobody is asked
	node string
}

// registered is one sidecar.
type registered struct {
	node   mesh.Node // agents and peer address in their canonical forms
	region string
	zone   string
	stream streamKey // the last one it announced itself on
	gone   time.Time // when that ended; zero: it lives
	order  uint64
	since  uint64 // the order in which it came to its address
}

// place is what one name announces at one address: of two sidecars the newer one
// counts, which has taken the place of the other. What other names announce there
// takes nothing from it: whose word is false, homes find nobody there who may speak
// for its agents, and it can be no reason not to believe who lives there.
type place struct{ name, address string }

// at is one agent at one address. Where two names may both announce it, the one that
// was there first does: also while it is gone for its grace, else whoever lies in wait
// would have the place of a sidecar that restarts.
type at struct{ agent, address string }

// NewRegistration returns the source. The server that runs with it feeds it.
func NewRegistration(log *slog.Logger) *Registration {
	r := &Registration{Grace: DefaultGrace, log: log, limits: newLimits(), wake: make(chan struct{}, 1)}
	r.mu.nodes = map[sidecarKey]*registered{}
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
func (r *Registration) seen(stream streamKey, who announcer, n *core.Node) error {
	node, ours := mesh.ReadNode(n.GetMetadata())
	if !ours {
		return nil
	}
	if n.GetId() == "" {
		return errors.New("node.id: empty")
	}
	if len(n.GetId()) > maxText {
		return fmt.Errorf("node.id: %d bytes, at most %d", len(n.GetId()), maxText)
	}
	key := sidecarKey{who.name, n.GetId()}
	if node.Peer == "" && len(node.Agents) == 0 {
		r.forget(key) // it only sends, from now on
		return nil
	}
	if err := hostport.Dial(node.Peer); err != nil {
		r.forget(key)
		return fmt.Errorf("node.metadata.%s.%s: %w", mesh.Metadata, mesh.FieldPeer, err)
	}
	agents, refused := announced(who, node.Agents)
	node.Agents, node.Peer = agents, mesh.Address(node.Peer)
	if resident, ok := who.Announcer.(Resident); ok {
		if err := resident.At(node.Peer); err != nil {
			r.forget(key)
			err = fmt.Errorf("node.metadata.%s.%s: %w", mesh.Metadata, mesh.FieldPeer, err)
			return &unannounced{err, func() error { return resident.At(node.Peer) }}
		}
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.mu.nodes[key]
	if known == nil && len(r.mu.nodes) >= maxNodes {
		r.limits.hit(limitSidecars)
		return fmt.Errorf("%d sidecars are registered, no more are taken", maxNodes)
	}
	if known == nil {
		known = &registered{}
		r.mu.nodes[key] = known
	}
	if free := max(0, r.limits.agents-r.mu.agents+len(known.node.Agents)); len(node.Agents) > free {
		r.limits.hit(limitAgents)
		refused = fmt.Errorf("%d agents, the first %d are taken: all sidecars announce %d, no more are taken", len(node.Agents), free, r.limits.agents)
		node.Agents = slices.Clip(node.Agents[:free])
	}
	r.mu.agents += len(node.Agents) - len(known.node.Agents)
	zone, region := n.GetLocality().GetZone(), n.GetLocality().GetRegion()
	same := known.node.Equal(node) && known.zone == zone && known.region == region
	r.mu.count++
	since := r.mu.count
	if known.node.Peer == node.Peer {
		since = known.since
	}
	*known = registered{node: node, zone: zone, region: region, stream: stream, order: r.mu.count, since: since}
	if !same {
		r.changed()
	}
	return refused
}

// has reports whether a sidecar is announced by this stream of its.
func (r *Registration) has(key sidecarKey, stream streamKey) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.mu.nodes[key]
	return n != nil && n.gone.IsZero() && n.stream == stream
}

// forget takes back what a node announced before.
func (r *Registration) forget(key sidecarKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.nodes[key] != nil {
		r.drop(key)
		r.changed()
	}
}

// drop is the end of a registration. Called with r.mu held.
func (r *Registration) drop(key sidecarKey) {
	r.mu.agents -= len(r.mu.nodes[key].node.Agents)
	delete(r.mu.nodes, key)
}

// unannounced is why something is not announced that may be one day.
type unannounced struct {
	error
	still func() error // nil when that day has come
}

// Unwrap is why.
func (e *unannounced) Unwrap() error { return e.error }

// announcedBy is what a sidecar announces, if it does so on this stream.
func (r *Registration) announcedBy(stream streamKey, key sidecarKey) (n mesh.Node, here bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.mu.nodes[key]
	if known == nil || known.stream != stream {
		return n, false
	}
	return known.node, true
}

// announced are the addresses a node may announce, in their canonical form, and
// why not the others: the first of them, since most often all have one reason.
func announced(who announcer, said []string) (agents []string, refused error) {
	if len(said) > maxNodeAgents {
		refused = fmt.Errorf("node.metadata.%s.%s: %d agents, the first %d are taken", mesh.Metadata, mesh.FieldAgents, len(said), maxNodeAgents)
		said = said[:maxNodeAgents]
	}
	more := 0
	seen := make(map[string]struct{}, len(said))
	for _, a := range said {
		agent, err := api.Address(a)
		if err == nil {
			err = who.mayAnnounce(agent)
		}
		switch {
		case err != nil && refused != nil:
			more++
		case err != nil:
			refused = fmt.Errorf("agent %s is not announced: %w", a, err)
			if agent != "" {
				refused = &unannounced{refused, func() error { return who.mayAnnounce(agent) }}
			}
		default:
			if _, twice := seen[agent]; !twice {
				seen[agent] = struct{}{}
				agents = append(agents, agent)
			}
		}
	}
	if more > 0 {
		refused = fmt.Errorf("%w; and %d more", refused, more)
	}
	return agents, refused
}

// closed says that a stream has ended. A newer stream of the same node has taken
// its place and is not touched.
func (r *Registration) closed(stream streamKey, key sidecarKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.mu.nodes[key]; n != nil && n.stream == stream && n.gone.IsZero() {
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
	places := map[place]*registered{}
	for key, n := range r.mu.nodes {
		if !n.gone.IsZero() {
			left := n.gone.Add(r.Grace).Sub(now)
			if left <= 0 {
				r.drop(key)
				continue
			}
			if next == 0 || left < next {
				next = left
			}
		}
		if len(n.node.Agents) == 0 {
			continue // who announces nothing is no newer sidecar of its name
		}
		if p := (place{key.name, n.node.Peer}); places[p] == nil || places[p].order < n.order {
			places[p] = n
		}
	}
	first := map[at]*registered{}
	for p, n := range places {
		for _, agent := range n.node.Agents {
			if other := first[at{agent, p.address}]; other == nil || other.since > n.since {
				first[at{agent, p.address}] = n
			}
		}
	}
	services := map[string]*mesh.Service{}
	for where, n := range first {
		s := services[where.agent]
		if s == nil {
			s = &mesh.Service{Agent: where.agent, Hints: map[string]mesh.Hint{}}
			services[where.agent] = s
		}
		e := outbound.Endpoint{Address: where.address, Zone: n.zone}
		if n.node.Draining {
			e.Health = outbound.Draining
		}
		s.Endpoints = append(s.Endpoints, e)
		s.Hints[where.address] = mesh.Hint{Region: n.region, Journal: n.node.Journal}
	}
	var u Update
	for _, s := range services {
		sortEndpoints(s.Endpoints)
		u.Services = append(u.Services, *s)
	}
	return u, next
}
