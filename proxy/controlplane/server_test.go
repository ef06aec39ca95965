package controlplane_test

import (
	"log/slog"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"pannier/outbound"
	"pannier/proxy/controlplane"
	"pannier/proxy/mesh"
)

// at is a service with endpoints.
func at(agent string, addresses ...string) mesh.Service {
	s := mesh.Service{Agent: agent, Endpoints: []outbound.Endpoint{}}
	for _, a := range addresses {
		s.Endpoints = append(s.Endpoints, outbound.Endpoint{Address: a})
	}
	return s
}

func says(services ...mesh.Service) controlplane.Update {
	return controlplane.Update{Services: services}
}

// Nothing is served, and it is not ready, before the last of its sources has
// synced: the first answer has the word of all.
func TestNothingBeforeEverySourceHasSynced(t *testing.T) {
	t.Parallel()
	late := newScripted("late")
	plane, ready := launch(t, func(o *controlplane.Options) { o.Listen, o.Admin = freeAddress(t), freeAddress(t) },
		newScripted("early", says(at(billing, "10.0.0.1:7401"))), late)
	eventually(t, "operators are answered", func() bool {
		response, err := http.Get("http://" + plane.info.Admin + "/healthz")
		if err == nil {
			response.Body.Close()
		}
		return err == nil
	})
	var health struct{ Checks []struct{ Name string } }
	eventually(t, "the early source has synced", func() bool {
		return plane.get("/readyz", &health) == http.StatusServiceUnavailable && len(health.Checks) == 2
	})
	if health.Checks[0].Name != "source late" {
		t.Errorf("not ready because of %v, want source late", health.Checks)
	}
	answer := make(chan *discovery.DeltaDiscoveryResponse, 1)
	go func() { // its connection is not taken before
		c := plane.connect(&core.Node{Id: "waits"})
		c.subscribe(mesh.TypeEndpoints, nil, "*")
		answer <- c.next()
	}()
	select {
	case r := <-answer:
		t.Fatalf("answered before the late source has synced: %v", r)
	case <-time.After(100 * time.Millisecond): // three times the quiet time: enough to see a mistake, too little to fail by it
	}
	late.updates <- says(at(orders, "10.0.0.2:7401"))
	if r := <-answer; len(r.GetResources()) != 2 {
		t.Errorf("the first answer has %d agents, want both", len(r.GetResources()))
	}
	<-ready
	if got := plane.get("/readyz", nil); got != http.StatusOK {
		t.Errorf("ready: %d", got)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// A client that comes back to another start is sent what differs, and nothing else.
func TestRestartCostsNothing(t *testing.T) {
	t.Parallel()
	before := start(t, nil, newScripted("s", says(at(billing, "10.0.0.1:7401"), at(orders, "10.0.0.2:7401"), at("agent://acme/prod/old", "10.0.0.3:7401"))))
	c := before.connect(&core.Node{Id: "c"})
	c.subscribe(mesh.TypeEndpoints, nil, "*")
	known := map[string]string{}
	for _, r := range c.next().GetResources() {
		known[r.GetName()] = r.GetVersion()
	}
	if len(known) != 3 {
		t.Fatalf("knows %v, want three", known)
	}
	before.stop()

	after := start(t, nil, newScripted("s", says(at(billing, "10.0.0.1:7401"), at(orders, "10.0.0.2:7401", "10.0.0.4:7401"))))
	c = after.connect(&core.Node{Id: "c"})
	c.subscribe(mesh.TypeEndpoints, known, "*")
	r := c.next()
	var changed []string
	for _, resource := range r.GetResources() {
		changed = append(changed, resource.GetName())
	}
	if !slices.Equal(changed, []string{mesh.Key(orders)}) || !slices.Equal(r.GetRemovedResources(), []string{"old.prod.acme"}) {
		t.Errorf("after the restart came %v and went %v, want only orders to come and old to go", changed, r.GetRemovedResources())
	}
}

// While sidecars register again after a start, nothing is taken from a client that
// comes with what it knows; one that knows nothing is answered at once.
func TestNothingIsTakenBeforeItHasSettled(t *testing.T) {
	t.Parallel()
	plane := start(t, func(o *controlplane.Options) { o.Settle = time.Hour }, // the test says when
		controlplane.NewRegistration(slog.New(slog.NewTextHandler(t.Output(), nil))))
	key := mesh.Key(billing)

	knows := plane.connect(&core.Node{Id: "knows"})
	knows.subscribe(mesh.TypeEndpoints, map[string]string{key: "of before", "gone": "of before"}, key, "gone")
	one := plane.connect(sidecar("one", mesh.Node{Agents: []string{billing}, Peer: "10.0.0.1:7401"}))
	one.subscribe(mesh.TypeRuntime, nil, mesh.Runtime)
	fresh := plane.connect(&core.Node{Id: "fresh"})
	fresh.subscribe(mesh.TypeEndpoints, nil, key)
	healths(t, fresh.next())
	two := plane.connect(sidecar("two", mesh.Node{Agents: []string{billing}, Peer: "10.0.0.1:7402"}))
	two.subscribe(mesh.TypeRuntime, nil, mesh.Runtime)
	second := healths(t, fresh.next())

	// A stream is answered in the order in which it asks: what had been told before
	// would come first.
	knows.subscribe(mesh.TypeRuntime, nil, mesh.Runtime)
	if r := knows.next(); r.GetTypeUrl() != mesh.TypeRuntime {
		t.Fatalf("told before things have settled: %v", r)
	}
	plane.settle()
	r := knows.next()
	if !slices.Equal(r.GetRemovedResources(), []string{"gone"}) || len(r.GetResources()) != 1 {
		t.Errorf("told %v, want one changed and one gone", r)
	}
	if got := healths(t, r); len(got) != len(second) {
		t.Errorf("told of %v, want both that have registered meanwhile", got)
	}
}

// A held watch is given up with its stream, and taken over by the next request.
func TestHeldWatchGoesWithItsStream(t *testing.T) {
	t.Parallel()
	plane := start(t, func(o *controlplane.Options) { o.Settle = 300 * time.Millisecond },
		controlplane.NewRegistration(slog.New(slog.NewTextHandler(t.Output(), nil))))
	key := mesh.Key(billing)
	leaves := plane.connect(&core.Node{Id: "leaves"})
	leaves.subscribe(mesh.TypeEndpoints, map[string]string{key: "v"}, key)
	stays := plane.connect(&core.Node{Id: "stays"})
	stays.subscribe(mesh.TypeEndpoints, map[string]string{key: "v"}, key)
	stays.subscribe(mesh.TypeEndpoints, nil, "other")
	eventually(t, "both are there", func() bool { return plane.streams() == 2 })
	leaves.close()
	if r := stays.next(); !slices.Equal(r.GetRemovedResources(), []string{key}) {
		t.Errorf("settled: %v, want %s removed", r, key)
	}
}

// A type that is not served is no reason to end the stream.
func TestUnknownTypes(t *testing.T) {
	t.Parallel()
	plane := start(t, nil, newScripted("s", says(at(billing, "10.0.0.1:7401"))))
	c := plane.connect(&core.Node{Id: "c"})
	c.subscribe("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret", nil, "default")
	c.subscribe("type.googleapis.com/nobody.knows.This", nil, "x")
	c.subscribe(mesh.TypeEndpoints, nil, mesh.Key(billing))
	if r := c.next(); r.GetTypeUrl() != mesh.TypeEndpoints || len(r.GetResources()) != 1 {
		t.Errorf("%v, want the endpoints", r)
	}
}

// Clusters of one name differ for gRPC's own clients.
func TestClustersForGRPC(t *testing.T) {
	t.Parallel()
	plane := start(t, func(o *controlplane.Options) { o.Security = &mesh.Security{Certificate: "default", Trust: "ROOTCA"} },
		newScripted("s", says(at(billing, "10.0.0.1:7401"))))
	bySDS := func(userAgent string) bool {
		c := plane.connect(&core.Node{Id: "c", UserAgentName: userAgent})
		c.subscribe(mesh.TypeCluster, nil, mesh.Key(billing))
		got := new(cluster.Cluster)
		if err := c.next().GetResources()[0].GetResource().UnmarshalTo(got); err != nil {
			t.Fatal(err)
		}
		context := new(tls.UpstreamTlsContext)
		if err := got.GetTransportSocket().GetTypedConfig().UnmarshalTo(context); err != nil {
			t.Fatal(err)
		}
		return len(context.GetCommonTlsContext().GetTlsCertificateSdsSecretConfigs()) > 0
	}
	if bySDS("gRPC C-core linux") || !bySDS("envoy") || !bySDS("pannier") {
		t.Error("want certificates named by SDS for all but gRPC")
	}
}

// A refusal is counted by type and the last one of each node is kept, and it says
// when that node took the type again.
func TestNacks(t *testing.T) {
	t.Parallel()
	source := newScripted("s", says(at(billing, "10.0.0.1:7401")))
	plane := start(t, nil, source)
	c := plane.connect(&core.Node{Id: "picky", UserAgentName: "test"})
	c.subscribe(mesh.TypeEndpoints, nil, "*")
	r, err := c.stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	c.refuse(r, "billing.prod.acme: I do not like it")
	var answer struct {
		NackCount map[string]int      `json:"nack_count"`
		Nacks     []controlplane.Nack `json:"nacks"`
	}
	eventually(t, "the refusal is shown", func() bool { plane.get("/v1/admin/xds", &answer); return len(answer.Nacks) == 1 })
	n := answer.Nacks[0]
	if n.Node != "picky" || n.Type != mesh.TypeEndpoints || n.Error != "billing.prod.acme: I do not like it" || n.Count != 1 || !n.Since.IsZero() || answer.NackCount[mesh.TypeEndpoints] != 1 {
		t.Errorf("%+v, %v: want one of picky's, with its words", n, answer.NackCount)
	}
	source.updates <- says(at(billing, "10.0.0.1:7402"))
	c.next()
	eventually(t, "it is shown that the next was taken", func() bool {
		plane.get("/v1/admin/xds", &answer)
		return !answer.Nacks[0].Since.IsZero()
	})
}

// What breaks Envoy's rules is not sent; what was there before stays, and others
// are not held up.
func TestWrongResourcesAreNotSent(t *testing.T) {
	t.Parallel()
	source := newScripted("s", says(at(billing, "10.0.0.1:7401")))
	plane := start(t, nil, source)
	c := plane.connect(&core.Node{Id: "c"})
	c.subscribe(mesh.TypeEndpoints, nil, "*")
	c.next()
	wrong := at(billing, "10.0.0.9:7401")
	wrong.Policy.Breaker.MaxEjectionPercent = 400
	source.updates <- says(wrong, at(orders, "10.0.0.2:7401"))
	if r := c.next(); len(r.GetResources()) != 1 || r.GetResources()[0].GetName() != mesh.Key(orders) || len(r.GetRemovedResources()) != 0 {
		t.Errorf("%v, want orders alone", r)
	}
	source.updates <- says(at(billing, "10.0.0.9:7401"), at(orders, "10.0.0.2:7401"))
	if r := c.next(); len(r.GetResources()) != 1 || r.GetResources()[0].GetName() != mesh.Key(billing) {
		t.Errorf("mended: %v, want billing", r)
	}
}
