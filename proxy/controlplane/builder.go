package controlplane

import (
	"log/slog"
	"maps"
	"reflect"
	"slices"

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
	runtime map[string]proto.Message
}

// served is a service with its resources. One whose resources are wrong has those
// of before.
type served struct {
	service mesh.Service
	built   mesh.Built
}

func newBuilder(security *mesh.Security, c *caches, log *slog.Logger) *builder {
	return &builder{security: security, caches: c, log: log, served: map[string]served{}, keys: map[string]string{}}
}

// build makes a world the one that is served. Only what differs is built, checked
// and sent: a change of one endpoint is one resource on the wire.
func (b *builder) build(w world) error {
	all := changes{newChange(), newChange(), newChange(), newChange(), newChange(), newChange()}
	for agent, was := range b.served {
		if !placed(w.services[agent]) {
			all.compare(was.built, mesh.Built{})
			delete(b.served, agent)
			delete(b.keys, mesh.Key(agent))
		}
	}
	for _, agent := range slices.Sorted(maps.Keys(w.services)) {
		if s := w.services[agent]; placed(s) {
			b.service(s, &all)
		}
	}
	now := map[string]proto.Message{mesh.Runtime: mesh.BuildRuntime(w.paused, pausedKeys(w))}
	all.runtime.compare(b.runtime, now)
	b.runtime = now
	return b.caches.apply(all)
}

// placed reports whether something is known of where an agent is. One of which
// only the policy is known is not served: no endpoints would be a statement, and
// clients obey it.
func placed(s mesh.Service) bool { return s.Endpoints != nil }

func (b *builder) service(s mesh.Service, all *changes) {
	was, ok := b.served[s.Agent]
	if ok && reflect.DeepEqual(was.service, s) {
		return
	}
	key := mesh.Key(s.Agent)
	if other, taken := b.keys[key]; taken && other != s.Agent {
		b.log.Error("agent not served, another one has its key", "agent", s.Agent, "key", key, "other", other)
		return
	}
	built := mesh.Build(s, b.security)
	if err := built.Validate(); err != nil {
		// Nobody would take it. What was there before stays in force; an agent that
		// was never right is not there.
		b.log.Error("agent not updated, its resources break Envoy's rules", "agent", s.Agent, "err", err)
		built = was.built
	}
	all.compare(was.built, built)
	b.served[s.Agent] = served{s, built}
	b.keys[key] = s.Agent
}

// compare adds what makes a service's resources the new ones.
func (c *changes) compare(old, now mesh.Built) {
	c.listeners.compare(old.Listeners, now.Listeners)
	c.routes.compare(old.Routes, now.Routes)
	c.clusters.compare(old.Clusters, now.Clusters)
	c.grpcClusters.compare(old.GRPC, now.GRPC)
	c.endpoints.compare(old.Endpoints, now.Endpoints)
}

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
