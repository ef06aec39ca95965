package controlplane_test

import (
	"log/slog"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"pannier/proxy/controlplane"
	"pannier/proxy/mesh"
)

// healths are the endpoints of a response with one assignment, by port.
func healths(t testing.TB, r *discovery.DeltaDiscoveryResponse) map[uint32]core.HealthStatus {
	t.Helper()
	found := map[uint32]core.HealthStatus{}
	if len(r.GetResources()) != 1 {
		t.Fatalf("%d resources, want one: %v", len(r.GetResources()), r)
	}
	assignment := new(endpoint.ClusterLoadAssignment)
	if err := r.GetResources()[0].GetResource().UnmarshalTo(assignment); err != nil {
		t.Fatal(err)
	}
	for _, l := range assignment.GetEndpoints() {
		for _, e := range l.GetLbEndpoints() {
			found[e.GetEndpoint().GetAddress().GetSocketAddress().GetPortValue()] = e.GetHealthStatus()
		}
	}
	return found
}

// What a sidecar says of itself on its stream is what others are told, and again
// when it says something else.
func TestRegistration(t *testing.T) {
	t.Parallel()
	registration := controlplane.NewRegistration(slog.New(slog.NewTextHandler(t.Output(), nil)))
	registration.Grace = 1 // the smallest: gone at once
	plane := start(t, nil, registration)
	key := mesh.Key(billing)

	watcher := plane.connect(&core.Node{Id: "watcher"})
	watcher.subscribe(mesh.TypeEndpoints, nil, key)

	node := mesh.Node{Agents: []string{billing}, Peer: "127.0.0.1:7401", Journal: "j1"}
	first := plane.connect(sidecar("one", node))
	first.subscribe(mesh.TypeRuntime, nil, mesh.Runtime)
	if got := healths(t, watcher.next()); len(got) != 1 || got[7401] != core.HealthStatus_HEALTHY {
		t.Fatalf("one registered: %v, want 7401 healthy", got)
	}

	second := plane.connect(sidecar("two", mesh.Node{Agents: []string{billing, orders}, Peer: "127.0.0.1:7501"}))
	second.subscribe(mesh.TypeRuntime, nil, mesh.Runtime)
	if got := healths(t, watcher.next()); len(got) != 2 {
		t.Fatalf("two registered: %v, want both", got)
	}

	// It drains: the same stream, the node again.
	node.Draining = true
	first.send(&discovery.DeltaDiscoveryRequest{Node: sidecar("one", node), TypeUrl: mesh.TypeRuntime})
	if got := healths(t, watcher.next()); got[7401] != core.HealthStatus_DRAINING || got[7501] != core.HealthStatus_HEALTHY {
		t.Fatalf("one drains: %v, want 7401 draining and 7501 healthy", got)
	}

	// It comes back on another stream before the first has ended.
	node.Draining = false
	again := plane.connect(sidecar("one", node))
	again.subscribe(mesh.TypeRuntime, nil, mesh.Runtime)
	if got := healths(t, watcher.next()); got[7401] != core.HealthStatus_HEALTHY {
		t.Fatalf("one is back: %v, want 7401 healthy", got)
	}
	first.close()
	eventually(t, "the first stream is closed", func() bool { return plane.streams() == 3 })
	second.close()
	if got := healths(t, watcher.next()); len(got) != 1 || got[7401] != core.HealthStatus_HEALTHY {
		t.Fatalf("two is gone, and the older stream of one: %v, want 7401 alone, whose newer stream lives", got)
	}
	again.close()
	if r := watcher.next(); len(r.GetRemovedResources()) != 1 || r.GetRemovedResources()[0] != key {
		t.Fatalf("all are gone: %v, want %s removed", r, key)
	}
}

func (r *running) streams() int {
	var answer struct{ Nodes []controlplane.NodeStatus }
	r.get("/v1/admin/xds", &answer)
	return len(answer.Nodes)
}

// What is wrong with a registration is said, and the stream lives.
func TestRegistrationRefused(t *testing.T) {
	t.Parallel()
	plane := start(t, nil, controlplane.NewRegistration(slog.New(slog.NewTextHandler(t.Output(), nil))))
	for name, node := range map[string]*core.Node{
		"no port":        sidecar("a", mesh.Node{Agents: []string{billing}, Peer: "10.0.0.7"}),
		"everywhere":     sidecar("b", mesh.Node{Agents: []string{billing}, Peer: "0.0.0.0:7401"}),
		"no address":     sidecar("c", mesh.Node{Agents: []string{"agent://acme//billing"}, Peer: "10.0.0.7:7401"}),
		"without a name": sidecar("", mesh.Node{Agents: []string{billing}, Peer: "10.0.0.7:7401"}),
	} {
		c := plane.connect(node)
		c.subscribe(mesh.TypeRuntime, nil, mesh.Runtime)
		if r := c.next(); len(r.GetResources()) != 1 {
			t.Errorf("%s: %v, want the runtime all the same", name, r)
		}
	}
	var answer struct {
		Nodes     []controlplane.NodeStatus
		Resources map[string]int
	}
	plane.get("/v1/admin/xds", &answer)
	for _, n := range answer.Nodes {
		if n.Refused == "" {
			t.Errorf("node %q: nothing is said of what is wrong with it", n.Node)
		}
	}
	if len(answer.Nodes) != 4 || answer.Resources["clusters"] != 0 {
		t.Errorf("%d streams and %d clusters, want 4 and none", len(answer.Nodes), answer.Resources["clusters"])
	}
}

// A client that only sends is no endpoint of anybody.
func TestSenderIsNotAnnounced(t *testing.T) {
	t.Parallel()
	plane := start(t, nil, controlplane.NewRegistration(slog.New(slog.NewTextHandler(t.Output(), nil))))
	c := plane.connect(sidecar("sender", mesh.Node{}))
	c.subscribe(mesh.TypeRuntime, nil, mesh.Runtime)
	c.next()
	var answer struct{ Nodes []controlplane.NodeStatus }
	plane.get("/v1/admin/xds", &answer)
	if len(answer.Nodes) != 1 || answer.Nodes[0].Refused != "" {
		t.Errorf("%+v, want one node with nothing to complain of", answer.Nodes)
	}
}
