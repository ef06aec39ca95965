package controlplane

import (
	"log/slog"
	"maps"
	"reflect"
	"slices"

	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"google.golang.org/protobuf/proto"

	"pannier/proxy/mesh"
)

// builder turns one world after another into resources, and remembers what is
// served. It belongs to one loop.
type builder struct {
	security *mesh.Security
	caches   *caches
	log      *slog.Logger

	served  map[string]served // by agent
	keys    map[string]string // who has a key
	runtime []resource
}

// served is a service with its resources. One whose resources are wrong has those
// of before.
type served struct {
	service   mesh.Service
	resources []resource
}

// resource is one that is served. There are a handful to a service, and many
// services: a list is a fifth of the maps it is made from.
type resource struct {
	kind  kind
	name  string
	bytes types.Resource // see press
}

func newBuilder(security *mesh.Security, c *caches, log *slog.Logger) *builder {
	return &builder{security: security, caches: c, log: log, served: map[string]served{}, keys: map[string]string{}}
}

// build makes a world the one that is served. Only what differs is built, checked
// and sent: a change of one endpoint is one resource on the wire.
func (b *builder) build(w world) error {
	var all changes
	for agent, was := range b.served {
		if !placed(w.services[agent]) {
			all.compare(was.resources, nil)
			delete(b.served, agent)
			delete(b.keys, mesh.Key(agent))
		}
	}
	for _, agent := range slices.Sorted(maps.Keys(w.services)) {
		if s := w.services[agent]; placed(s) {
			b.service(s, &all)
		}
	}
	switches, err := press(runtime, nil, map[string]proto.Message{mesh.Runtime: mesh.BuildRuntime(w.paused, pausedKeys(w))})
	if err != nil {
		return err
	}
	all.compare(b.runtime, switches)
	b.runtime = switches
	return b.caches.apply(all)
}

// placed reports whether something is known of where an agent is. One of which
// only the policy is known is not served: no endpoints would be a statement, and
// clients obey it.
func placed(s mesh.Service) bool { return s.Endpoints != nil }

func (b *builder) service(s mesh.Service, all *changes) {
	was, ok := b.served[s.Agent]
	if ok && reflect.DeepEqual(was.service, s) {
		b.served[s.Agent] = served{s, was.resources} // the sources keep this one: the other can go
		return
	}
	key := mesh.Key(s.Agent)
	if other, taken := b.keys[key]; taken && other != s.Agent {
		b.log.Error("agent not served, another one has its key", "agent", s.Agent, "key", key, "other", other)
		return
	}
	now, err := b.resources(s)
	if err != nil {
		// Nobody would take it. What was there before stays in force; an agent that
		// was never right is not there.
		b.log.Error("agent not updated, its resources break Envoy's rules", "agent", s.Agent, "err", err)
		now = was.resources
	}
	all.compare(was.resources, now)
	b.served[s.Agent] = served{s, now}
	b.keys[key] = s.Agent
}

// resources are those of a service, if all of them are right.
func (b *builder) resources(s mesh.Service) (all []resource, err error) {
	built := mesh.Build(s, b.security)
	if err := built.Validate(); err != nil {
		return nil, err
	}
	all = make([]resource, 0, len(built.Listeners)+len(built.Routes)+2*len(built.Clusters)+len(built.Endpoints))
	for k, byName := range [kinds]map[string]proto.Message{
		endpoints: built.Endpoints, clusters: built.Clusters, grpcClusters: built.GRPC, routes: built.Routes, listeners: built.Listeners,
	} {
		if kind(k) == grpcClusters && !b.caches.apart {
			continue
		}
		if all, err = press(kind(k), all, byName); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// compare adds what makes the resources of before the new ones.
func (c *changes) compare(old, now []resource) {
	for _, r := range now {
		if i := slices.IndexFunc(old, r.succeeds); i >= 0 && sameBytes(old[i].bytes, r.bytes) {
			continue
		}
		if c[r.kind].set == nil {
			c[r.kind].set = map[string]types.Resource{}
		}
		c[r.kind].set[r.name] = r.bytes
	}
	for _, r := range old {
		if !slices.ContainsFunc(now, r.succeeds) {
			c[r.kind].remove = append(c[r.kind].remove, r.name)
		}
	}
}

// succeeds reports whether one resource takes the other's place.
func (r resource) succeeds(other resource) bool { return r.kind == other.kind && r.name == other.name }

func pausedKeys(w world) (keys []string) {
	for agent, s := range w.services {
		if s.Policy.Paused {
			keys = append(keys, mesh.Key(agent))
		}
	}
	return keys
}

// sizes are how many resources of each type are served.
func (c *caches) sizes() map[string]int {
	return map[string]int{
		"listeners": c.listeners.NumResources(), "routes": c.routes.NumResources(), "clusters": c.clusters.NumResources(),
		"endpoints": c.endpoints.NumResources(), "runtime": c.runtime.NumResources(),
		"secrets": c.secrets.NumResources(),
	}
}
