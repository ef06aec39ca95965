package controlplane_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/credentials"

	"pannier/proxy/controlplane"
	"pannier/proxy/identity"
	"pannier/proxy/identity/identitytest"
	"pannier/proxy/mesh"
)

const domain = "spiffe://acme.example/agent/"

// trusting runs a trust of these settings until the test ends.
func trusting(t testing.TB, o identity.Options) *identity.Trust {
	t.Helper()
	trust, err := identity.New(o, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- trust.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return trust
}

// withFiles are the settings of a certificate.
func withFiles(t testing.TB, ca *identitytest.CA, names ...string) identity.Options {
	t.Helper()
	f := ca.Issue(nil, names...).Write(t.TempDir(), ca)
	return identity.Options{TLSCert: f.Cert, TLSKey: f.Key, TLSCA: f.CA}
}

// of is who announces what, by the stream's node.
func (r *running) of(node string) controlplane.NodeStatus {
	r.t.Helper()
	var answer struct{ Nodes []controlplane.NodeStatus }
	r.get("/v1/admin/xds", &answer)
	for _, n := range answer.Nodes {
		if n.Node == node {
			return n
		}
	}
	r.t.Fatalf("no stream of %s among %+v", node, answer.Nodes)
	return controlplane.NodeStatus{}
}

// refusal is what the stream's header says of its node.
func (c *client) refusal() string {
	c.t.Helper()
	header, err := c.stream.Header()
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.Join(header.Get(mesh.HeaderRefused), "; ")
}

// A sidecar announces the agents that its certificate is for. What else it says is
// not announced, and it is told; it is served like anybody. Neither the id nor the
// address of another becomes its own.
func TestAnnouncerIsProven(t *testing.T) {
	t.Parallel()
	ca := identitytest.NewCA(t, "acme")
	registration := controlplane.NewRegistration(slog.New(slog.NewTextHandler(t.Output(), nil)))
	plane := start(t, func(o *controlplane.Options) {
		o.Trust = trusting(t, withFiles(t, ca, "spiffe://acme.example/control-plane"))
	}, registration)
	as := func(name string) *identity.Trust { return trusting(t, withFiles(t, ca, name)) }
	forBilling, forOrders, stranger := as(domain+"acme/prod/billing"), as(domain+"acme/prod/orders"), as("spiffe://acme.example/else")

	watcher := plane.connectAs(stranger.Dial(), &core.Node{Id: "watcher"})
	watcher.subscribe(mesh.TypeEndpoints, nil, mesh.Key(billing))
	node := mesh.Node{Agents: []string{billing}, Peer: "127.0.0.1:7401", Journal: "j1"}
	good := plane.connectAs(forBilling.Dial(), sidecar("good", node))
	good.subscribe(mesh.TypeRuntime, nil, mesh.Runtime)
	good.next()
	if got := good.refusal(); got != "" {
		t.Errorf("its own agent: refused with %q", got)
	}
	if got := healths(t, watcher.next()); len(got) != 1 || got[7401] != core.HealthStatus_HEALTHY {
		t.Fatalf("its own agent: %v, want 7401 healthy", got)
	}

	for _, row := range []struct {
		name, id, words string
		as              *identity.Trust
		node            mesh.Node
	}{
		{"another's agent", "thief", "agent " + billing + " is not announced: " + domain + "acme/prod/orders may not speak for " + billing, forOrders,
			mesh.Node{Agents: []string{billing, orders}, Peer: "127.0.0.1:7402"}},
		{"no agent of its own", "nobody", "no agent belongs to spiffe://acme.example/else", stranger, mesh.Node{Agents: []string{billing}, Peer: "127.0.0.1:7403"}},
		{"another's id", "good", "", forOrders, mesh.Node{Agents: []string{orders}, Peer: "127.0.0.1:7404"}},
		{"another's id, and it is gone", "good", "", forOrders, mesh.Node{}},
		{"another's address", "squatter", "", forOrders, mesh.Node{Agents: []string{orders}, Peer: "127.0.0.1:7401"}},
		{"another's address, for nothing", "empty", "", forBilling, mesh.Node{Peer: "127.0.0.1:7401"}},
	} {
		c := plane.connectAs(row.as.Dial(), sidecar(row.id, row.node))
		c.subscribe(mesh.TypeRuntime, nil, mesh.Runtime)
		if r := c.next(); len(r.GetResources()) != 1 {
			t.Errorf("%s: %v, want the runtime all the same", row.name, r)
		}
		if got := c.refusal(); row.words == "" && got != "" || !strings.Contains(got, row.words) {
			t.Errorf("%s: it is told %q, want %q", row.name, got, row.words)
		}
		if row.words != "" {
			if got := plane.of(row.id); !strings.Contains(got.Refused, row.words) {
				t.Errorf("%s: operators are told %+v", row.name, got)
			}
		}
	}
	if got := plane.of("thief"); got.Identity != domain+"acme/prod/orders" {
		t.Errorf("the thief's identity: %q", got.Identity)
	}
	// The last word of all that: billing has a second replica, and still its first.
	second := plane.connectAs(forBilling.Dial(), sidecar("second", mesh.Node{Agents: []string{billing}, Peer: "127.0.0.1:7501"}))
	second.subscribe(mesh.TypeRuntime, nil, mesh.Runtime)
	if got := healths(t, watcher.next()); len(got) != 2 || got[7401] != core.HealthStatus_HEALTHY || got[7501] != core.HealthStatus_HEALTHY {
		t.Errorf("billing: %v, want its two replicas and nobody else's", got)
	}
	// Its place is kept while it is away for a moment.
	open := plane.streams()
	good.close()
	eventually(t, "its stream is closed", func() bool { return plane.streams() == open-1 })
	again := plane.connectAs(forBilling.Dial(), sidecar("good", node))
	again.subscribe(mesh.TypeRuntime, nil, mesh.Runtime)
	again.next()
	third := plane.connectAs(forBilling.Dial(), sidecar("third", mesh.Node{Agents: []string{billing}, Peer: "127.0.0.1:7601"}))
	third.subscribe(mesh.TypeRuntime, nil, mesh.Runtime)
	if got := healths(t, watcher.next()); len(got) != 3 || got[7401] != core.HealthStatus_HEALTHY {
		t.Errorf("billing: %v, want three replicas, and 7401 as it was", got)
	}
}

// Whoever is at an address, or says so, keeps nobody else from being found there with
// agents of its own.
func TestAddressIsNobodysAlone(t *testing.T) {
	t.Parallel()
	ca := identitytest.NewCA(t, "acme")
	registration := controlplane.NewRegistration(slog.New(slog.NewTextHandler(t.Output(), nil)))
	plane := start(t, func(o *controlplane.Options) { o.Trust = trusting(t, withFiles(t, ca, "control.example")) }, registration)
	announce := func(agent string) *client {
		trust := trusting(t, withFiles(t, ca, domain+strings.TrimPrefix(agent, "agent://")))
		c := plane.connectAs(trust.Dial(), sidecar(agent, mesh.Node{Agents: []string{agent}, Peer: "127.0.0.1:7401"}))
		c.subscribe(mesh.TypeEndpoints, nil, mesh.Key(agent))
		return c
	}
	squatter := announce(orders)
	if got := healths(t, squatter.next()); len(got) != 1 {
		t.Fatalf("orders: %v, want it where it says", got)
	}
	if got := healths(t, announce(billing).next()); len(got) != 1 || got[7401] != core.HealthStatus_HEALTHY {
		t.Errorf("billing: %v, want it where it lives", got)
	}
}

// Of two names that may both announce an agent, the first one at an address does, and
// the other once that has been gone for the grace.
func TestPlaceIsLeft(t *testing.T) {
	t.Parallel()
	ca := identitytest.NewCA(t, "acme")
	all, err := identity.NewMapping("spiffe://acme.example/agent/{name}", []string{"*"})
	if err != nil {
		t.Fatal(err)
	}
	registration := controlplane.NewRegistration(slog.New(slog.NewTextHandler(t.Output(), nil)))
	registration.Grace = 1 // the smallest: gone at once
	plane := start(t, func(o *controlplane.Options) {
		trust := withFiles(t, ca, "control.example")
		trust.Identities = []identity.Mapping{all}
		o.Trust = trusting(t, trust)
	}, registration)
	as := func(name string) credentials.TransportCredentials {
		return trusting(t, withFiles(t, ca, domain+name)).Dial()
	}
	watcher := plane.connectAs(as("watcher"), &core.Node{Id: "watcher"})
	watcher.subscribe(mesh.TypeEndpoints, nil, mesh.Key(billing), mesh.Key(orders))
	announce := func(name string, node mesh.Node) *client {
		c := plane.connectAs(as(name), sidecar(name, node))
		c.subscribe(mesh.TypeRuntime, nil, mesh.Runtime)
		c.next()
		return c
	}
	first := announce("first", mesh.Node{Agents: []string{billing}, Peer: "127.0.0.1:7401"})
	if got := healths(t, watcher.next()); got[7401] != core.HealthStatus_HEALTHY {
		t.Fatalf("billing: %v, want it healthy", got)
	}
	announce("second", mesh.Node{Agents: []string{billing}, Peer: "127.0.0.1:7401", Draining: true})
	announce("third", mesh.Node{Agents: []string{orders}, Peer: "127.0.0.1:7402"})
	if got := healths(t, watcher.next()); len(got) != 1 || got[7402] != core.HealthStatus_HEALTHY {
		t.Fatalf("after the second and the third came %v, want orders and no word of billing", got)
	}
	first.close()
	if got := healths(t, watcher.next()); len(got) != 1 || got[7401] != core.HealthStatus_DRAINING {
		t.Errorf("billing: %v, want the second's word, once the first has left", got)
	}
}

// Mappings say for whom certificates speak whose names do not.
func TestAnnouncerIsMapped(t *testing.T) {
	t.Parallel()
	ca := identitytest.NewCA(t, "acme")
	mapping, err := identity.NewMapping("spiffe://acme.example/ns/{env}/sa/{name}", []string{"agent://acme/{env}/{name}"})
	if err != nil {
		t.Fatal(err)
	}
	plane := start(t, func(o *controlplane.Options) {
		trust := withFiles(t, ca, "control.example")
		trust.Identities = []identity.Mapping{mapping}
		o.Trust = trusting(t, trust)
	}, controlplane.NewRegistration(slog.New(slog.NewTextHandler(t.Output(), nil))))
	for name, words := range map[string]string{
		"spiffe://acme.example/ns/prod/sa/billing": "",
		"spiffe://acme.example/ns/prod/sa/orders":  "may not speak for " + billing,
		domain + "acme/prod/billing":               "no agent belongs to",
	} {
		c := plane.connectAs(trusting(t, withFiles(t, ca, name)).Dial(), sidecar(name, mesh.Node{Agents: []string{billing}, Peer: "127.0.0.1:7401"}))
		c.subscribe(mesh.TypeRuntime, nil, mesh.Runtime)
		c.next()
		if got := c.refusal(); words == "" && got != "" || !strings.Contains(got, words) {
			t.Errorf("%s: told %q, want %q", name, got, words)
		}
	}
}

// gRPC's own client with a certificate is served as one on plain text; without one
// it learns nothing.
func TestGRPCGoOverTLS(t *testing.T) {
	t.Parallel()
	ca := identitytest.NewCA(t, "acme")
	a := backend(t)
	said := new(heard)
	plane := start(t, func(o *controlplane.Options) {
		var err error
		if o.Trust, err = identity.New(withFiles(t, ca, "localhost"), slog.New(slog.NewTextHandler(said, nil))); err != nil {
			t.Fatal(err)
		}
	}, newScripted("s", says(rich(a))))
	_, port, _ := strings.Cut(plane.info.XDS, ":")
	plane.info.XDS = "localhost:" + port
	files := ca.Issue(nil, "client.example").Write(t.TempDir(), ca)
	with := fmt.Sprintf(`{"type": "tls", "config": {"certificate_file": %q, "private_key_file": %q, "ca_certificate_file": %q}}`, files.Cert, files.Key, files.CA)
	reaches(t, plane.dialOver(t, billing, with), a)
	// It calls a moment before it acks what it was sent last.
	eventually(t, "it has acked the endpoints", func() bool { return plane.of(t.Name()).Types[mesh.TypeEndpoints].Acked > 0 })
	plane.tookAll(t, mesh.TypeListener, mesh.TypeRoute, mesh.TypeCluster, mesh.TypeEndpoints)

	without := fmt.Sprintf(`{"type": "tls", "config": {"ca_certificate_file": %q}}`, filepath.Clean(files.CA))
	stranger := plane.dialOver(t, billing, without)
	if _, err := stranger.Check(t.Context(), nil); err == nil {
		t.Error("without a certificate it has found the agent")
	}
	// What it makes of the alert it was sent is its own business.
	eventually(t, "the log says why", func() bool { return strings.Contains(said.String(), "client didn't provide a certificate") })
}

// heard is a log that is read while it is written.
type heard struct {
	mu   sync.Mutex
	text strings.Builder
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(p)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

// Who is not trusted is told why, and nothing of what is known here.
func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	ca, other := identitytest.NewCA(t, "acme"), identitytest.NewCA(t, "other")
	plane := start(t, func(o *controlplane.Options) {
		o.Trust = trusting(t, withFiles(t, ca, "spiffe://acme.example/control-plane"))
	}, newScripted("s", says(at(billing, "127.0.0.1:7401"))))
	known, err := identity.NewMapping("spiffe://acme.example/*", []string{"*"})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		words string
		by    *identitytest.CA
		name  string
	}{
		{"signed by none of the authorities trusted here", other, domain + "acme/prod/billing"},
		{"is of the trust domain evil.example, ours is acme.example", ca, "spiffe://evil.example/agent/acme/prod/billing"},
	} {
		f := row.by.Issue(nil, row.name).Write(t.TempDir(), ca)
		trust := trusting(t, identity.Options{TLSCert: f.Cert, TLSKey: f.Key, TLSCA: f.CA, Identities: []identity.Mapping{known}})
		c := plane.connectAs(trust.Dial(), sidecar("stranger", mesh.Node{}))
		_ = c.stream.Send(&discovery.DeltaDiscoveryRequest{Node: c.node, TypeUrl: mesh.TypeEndpoints, ResourceNamesSubscribe: []string{mesh.Key(billing)}})
		if r, err := c.stream.Recv(); err == nil || !strings.Contains(err.Error(), row.words) {
			t.Errorf("%s: %v, %v, want an error with %q", row.name, r, err, row.words)
		}
	}
	if n := plane.streams(); n != 0 {
		t.Errorf("%d streams of strangers", n)
	}
}

// The authorities that the control plane trusts are there for who asks, as its
// file says them; a file that is wrong changes nothing.
func TestAuthoritiesAreNamed(t *testing.T) {
	t.Parallel()
	ca, next := identitytest.NewCA(t, "old"), identitytest.NewCA(t, "new")
	o := withFiles(t, ca, "control.example")
	plane := start(t, func(c *controlplane.Options) { c.Trust = trusting(t, o) }, newScripted("s", says()))
	c := plane.connectAs(trusting(t, withFiles(t, ca, "client.example")).Dial(), &core.Node{Id: "client"})
	c.subscribe(mesh.TypeSecret, nil, mesh.TrustBundle)
	named := func() string {
		t.Helper()
		var secret tls.Secret
		if err := c.next().GetResources()[0].GetResource().UnmarshalTo(&secret); err != nil {
			t.Fatal(err)
		}
		if err := mesh.CheckTrust(&secret); err != nil {
			t.Error(err)
		}
		return string(mesh.ReadTrust(&secret))
	}
	if got := named(); got != string(ca.PEM()) {
		t.Errorf("named %q, want the old authority", got)
	}
	identitytest.Replace(t, o.TLSCA, nil)
	both := append(ca.PEM(), next.PEM()...)
	identitytest.Replace(t, o.TLSCA, both)
	if got := named(); got != string(both) {
		t.Errorf("named %q, want both authorities", got)
	}
}
