package mesh_test

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	runtime "github.com/envoyproxy/go-control-plane/envoy/service/runtime/v3"
	"google.golang.org/protobuf/proto"

	"pannier/outbound"
	"pannier/proxy/mesh"
)

// rich is a service with something in every field.
func rich() mesh.Service {
	return mesh.Service{
		Agent: "agent://acme/prod/billing",
		Endpoints: []outbound.Endpoint{
			{Address: "10.0.0.1:7401", Zone: "a", Subset: "stable"},
			{Address: "10.0.0.2:7401", Zone: "b", Subset: "stable", Health: outbound.Draining},
			{Address: "10.0.0.3:7401", Zone: "b", Subset: "stable", Priority: 3, Health: outbound.Unhealthy},
			{Address: "[2001:db8::1]:7401", Zone: "a", Subset: "canary"},
		},
		Policy: outbound.Policy{
			MaxRequests: 7, PerTryTimeout: 3 * time.Second,
			Backoff: outbound.Backoff{Base: 20 * time.Millisecond, Max: time.Second},
			Breaker: outbound.BreakerPolicy{Consecutive: 3, Interval: 4 * time.Second, BaseEjection: 5 * time.Second, MaxEjection: time.Minute, MaxEjectionPercent: 40},
			Fault:   outbound.Fault{Delay: time.Second, DelayPercent: 12.5, AbortPercent: 0.01},
			Split:   []outbound.Share{{Subset: "stable", Weight: 95}, {Subset: "canary", Weight: 5}},
		},
		Hints: map[string]mesh.Hint{"10.0.0.1:7401": {Region: "r", Journal: "j"}},
	}
}

// All that is built keeps the rules in Envoy's own protos, also what is packed in
// it, with and without each part of a policy.
func TestBuildKeepsEnvoysRules(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*mesh.Service){
		"all of it":         func(*mesh.Service) {},
		"no policy":         func(s *mesh.Service) { s.Policy = outbound.Policy{} },
		"no endpoints":      func(s *mesh.Service) { s.Endpoints = nil },
		"no split":          func(s *mesh.Service) { s.Policy.Split = nil },
		"only a base":       func(s *mesh.Service) { s.Policy.Backoff.Max = 0 },
		"only a per-try":    func(s *mesh.Service) { s.Policy.Backoff = outbound.Backoff{} },
		"delay without end": func(s *mesh.Service) { s.Policy.Fault = outbound.Fault{Delay: time.Second} },
		"abort alone":       func(s *mesh.Service) { s.Policy.Fault = outbound.Fault{AbortPercent: 100} },
		"a bare name":       func(s *mesh.Service) { s.Agent = "billing" },
		"a share of none":   func(s *mesh.Service) { s.Policy.Split = []outbound.Share{{Subset: "canary"}} },
		"half a breaker":    func(s *mesh.Service) { s.Policy.Breaker = outbound.BreakerPolicy{MaxEjection: time.Second} },
	} {
		for _, security := range []*mesh.Security{nil, {Certificate: "default", Trust: "ROOTCA"}} {
			s := rich()
			change(&s)
			built := mesh.Build(s, security)
			if err := built.Validate(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			key := mesh.Key(s.Agent)
			for _, kind := range []map[string]proto.Message{built.Listeners, built.Routes, built.Clusters, built.GRPC, built.Endpoints} {
				if kind[key] == nil {
					t.Errorf("%s: of %v none has the name %s", name, slices.Collect(maps.Keys(kind)), key)
				}
			}
		}
	}
	if err := mesh.Validate(mesh.Runtime, mesh.BuildRuntime(true, []string{"a.b.c"})); err != nil {
		t.Error(err)
	}
}

// A broken rule is found, wherever it is.
func TestValidateFinds(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*mesh.Service){
		"BaseInterval":       func(s *mesh.Service) { s.Policy.Backoff.Base = 0 },
		"Address":            func(s *mesh.Service) { s.Endpoints[0].Address = "nowhere" },
		"MaxEjectionPercent": func(s *mesh.Service) { s.Policy.Breaker.MaxEjectionPercent = 101 },
		"FixedDelay":         func(s *mesh.Service) { s.Policy.Fault.Delay = -time.Second }, // packed in the route
	} {
		s := rich()
		change(&s)
		if err := mesh.Build(s, nil).Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want a complaint of %s", err, want)
		}
	}
}

// The version of a resource is the hash of its bytes: equal services have equal
// bytes, however they were listed.
func TestBuildIsStable(t *testing.T) {
	t.Parallel()
	bytes := func(s mesh.Service) string {
		b := mesh.Build(s, nil)
		var all []string
		for _, kind := range []map[string]proto.Message{b.Listeners, b.Routes, b.Clusters, b.GRPC, b.Endpoints} {
			for _, name := range slices.Sorted(maps.Keys(kind)) {
				text, err := proto.MarshalOptions{Deterministic: true}.Marshal(kind[name])
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, fmt.Sprintf("%s %x", name, text))
			}
		}
		return strings.Join(all, "\n")
	}
	s, turned := rich(), rich()
	slices.Reverse(turned.Endpoints)
	if bytes(s) != bytes(turned) {
		t.Error("the order of endpoints changes the bytes")
	}
}

// What gRPC's clients refuse or pass over: a gap between priorities, an address
// that comes twice, a locality without weight.
func TestAssignmentsAreGRPCs(t *testing.T) {
	t.Parallel()
	s := rich()
	s.Policy.Split = nil
	s.Endpoints = append(s.Endpoints, outbound.Endpoint{Address: "10.0.0.1:7401", Zone: "c", Priority: 3})
	assignment := mesh.Build(s, nil).Endpoints[mesh.Key(s.Agent)].(*endpoint.ClusterLoadAssignment)
	priorities, addresses := map[uint32]bool{}, map[string]bool{}
	for _, l := range assignment.GetEndpoints() {
		priorities[l.GetPriority()] = true
		if l.GetLoadBalancingWeight().GetValue() == 0 {
			t.Errorf("locality %v has no weight", l.GetLocality())
		}
		for _, e := range l.GetLbEndpoints() {
			address := e.GetEndpoint().GetAddress().GetSocketAddress().GetAddress()
			if addresses[address] {
				t.Errorf("%s is listed twice", address)
			}
			addresses[address] = true
		}
	}
	if len(priorities) != 2 || !priorities[0] || !priorities[1] {
		t.Errorf("priorities %v, want 0 and 1", priorities)
	}
	if len(addresses) != 4 {
		t.Errorf("addresses %v, want four", addresses)
	}
}

func TestSplitIsWeightedClusters(t *testing.T) {
	t.Parallel()
	built := mesh.Build(rich(), nil)
	key := "billing.prod.acme"
	action := built.Routes[key].(*route.RouteConfiguration).GetVirtualHosts()[0].GetRoutes()[0].GetRoute()
	var got []string
	for _, c := range action.GetWeightedClusters().GetClusters() {
		n := 0
		for _, l := range built.Endpoints[c.GetName()].(*endpoint.ClusterLoadAssignment).GetEndpoints() {
			n += len(l.GetLbEndpoints())
		}
		got = append(got, fmt.Sprintf("%s %d of %d", c.GetName(), c.GetWeight().GetValue(), n))
		if built.Clusters[c.GetName()].(*cluster.Cluster).GetCircuitBreakers() == nil {
			t.Errorf("cluster %s has not the destination's limits", c.GetName())
		}
	}
	if want := []string{"stable|" + key + " 95 of 3", "canary|" + key + " 5 of 1"}; !slices.Equal(got, want) {
		t.Errorf("clusters of the route %q, want %q", got, want)
	}
	// Calls under way when a split comes, or goes, have chosen the key's cluster.
	n := 0
	for _, l := range built.Endpoints[key].(*endpoint.ClusterLoadAssignment).GetEndpoints() {
		n += len(l.GetLbEndpoints())
	}
	if n != 4 {
		t.Errorf("%d endpoints beside the split, want all four", n)
	}
}

// The two views of a cluster differ in how certificates are named, and only there.
func TestTwoViewsOfACluster(t *testing.T) {
	t.Parallel()
	built := mesh.Build(rich(), &mesh.Security{Certificate: "default", Trust: "ROOTCA"})
	name := "stable|billing.prod.acme"
	envoy, grpc := built.Clusters[name].(*cluster.Cluster), built.GRPC[name].(*cluster.Cluster)
	if proto.Equal(envoy, grpc) {
		t.Error("both views name certificates alike")
	}
	if text := fmt.Sprint(grpc.GetTransportSocket()); strings.Contains(text, "sds_config") {
		t.Errorf("gRPC would refuse this cluster: %s", text)
	}
	plain := func(c *cluster.Cluster) *cluster.Cluster {
		c = proto.CloneOf(c)
		c.TransportSocket = (*core.TransportSocket)(nil)
		return c
	}
	if !proto.Equal(plain(envoy), plain(grpc)) {
		t.Error("the views differ in more than the certificates")
	}
}

// What a sidecar reads is what was built, but for gaps between priorities and
// endpoints that no share names.
func TestReadOfBuild(t *testing.T) {
	t.Parallel()
	whole := rich()
	whole.Endpoints[2].Priority = 1
	plain := mesh.Service{Agent: "billing", Endpoints: []outbound.Endpoint{{Address: "10.0.0.1:7401"}}}
	partly := whole
	partly.Policy.Split = []outbound.Share{{Subset: "", Weight: 1}, {Subset: "canary", Weight: 2}}
	partly.Endpoints = []outbound.Endpoint{{Address: "10.0.0.1:7401", Zone: "z"}, {Address: "10.0.0.2:7401", Subset: "canary"}}
	for _, want := range []mesh.Service{whole, plain, partly} {
		built := mesh.Build(want, nil)
		resources := mesh.Resources{
			Route:    built.Routes[mesh.Key(want.Agent)].(*route.RouteConfiguration),
			Clusters: map[string]*cluster.Cluster{}, Endpoints: map[string]*endpoint.ClusterLoadAssignment{},
		}
		for name, c := range built.Clusters {
			resources.Clusters[name] = c.(*cluster.Cluster)
			resources.Endpoints[name] = built.Endpoints[name].(*endpoint.ClusterLoadAssignment)
			if err := errors.Join(mesh.CheckCluster(resources.Clusters[name]), mesh.CheckEndpoints(resources.Endpoints[name])); err != nil {
				t.Errorf("a sidecar refuses %s: %v", name, err)
			}
		}
		if err := mesh.CheckRoute(resources.Route); err != nil {
			t.Errorf("a sidecar refuses the route: %v", err)
		}
		got := mesh.Read(want.Agent, resources)
		for _, s := range []*mesh.Service{&got, &want} {
			s.Endpoints = slices.Clone(s.Endpoints)
			slices.SortFunc(s.Endpoints, func(a, b outbound.Endpoint) int { return strings.Compare(a.Address, b.Address) })
		}
		want.Hints = nil
		if !reflect.DeepEqual(got, want) {
			t.Errorf("read\n%+v, built was\n%+v", got, want)
		}
	}
}

func TestReadOfBuiltRuntime(t *testing.T) {
	t.Parallel()
	layer := mesh.BuildRuntime(false, []string{mesh.Key("billing"), mesh.Key("agent://acme/prod/orders")}).(*runtime.Runtime)
	s := mesh.ReadSwitches(layer)
	if !s.Paused("billing") || !s.Paused("agent://acme/prod/orders") || s.Paused("agent://acme/prod/other") {
		t.Errorf("%v: want billing and orders paused, and nobody else", layer)
	}
	if s := mesh.ReadSwitches(mesh.BuildRuntime(true, nil).(*runtime.Runtime)); !s.Paused("agent://acme/prod/other") {
		t.Error("want everybody paused")
	}
}
