package proxy_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statusv3 "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"pannier/proxy"
	"pannier/proxy/mesh"
)

// plane is a control plane that says what the test has put there, and at once of
// everything else that there is none.
type plane struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	t       *testing.T
	address string
	server  *grpc.Server
	nodes   chan mesh.Node // as streams begin

	mu  sync.Mutex
	has map[string]map[string]*discoveryv3.Resource // by type, by name
	all map[chan struct{}]struct{}                  // streams, to be told of a change
}

func startPlane(t *testing.T) *plane {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &plane{
		t: t, address: l.Addr().String(), server: grpc.NewServer(), nodes: make(chan mesh.Node, 100),
		has: map[string]map[string]*discoveryv3.Resource{}, all: map[chan struct{}]struct{}{},
	}
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(p.server, p)
	go p.server.Serve(l)
	t.Cleanup(p.server.Stop)
	return p
}

// put says that an agent is served at these addresses.
func (p *plane) put(agent string, addresses ...string) {
	p.t.Helper()
	key := mesh.Key(agent)
	l := &endpointv3.LocalityLbEndpoints{}
	for _, a := range addresses {
		host, port, err := net.SplitHostPort(a)
		if err != nil {
			p.t.Fatal(err)
		}
		n, err := net.LookupPort("tcp", port)
		if err != nil {
			p.t.Fatal(err)
		}
		l.LbEndpoints = append(l.LbEndpoints, &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
			Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
				Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(n)},
			}}},
		}}})
	}
	version := strings.Join(addresses, " ")
	p.mu.Lock()
	defer p.mu.Unlock()
	for url, m := range map[string]proto.Message{
		mesh.TypeCluster:   &clusterv3.Cluster{Name: key, ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}},
		mesh.TypeEndpoints: &endpointv3.ClusterLoadAssignment{ClusterName: key, Endpoints: []*endpointv3.LocalityLbEndpoints{l}},
	} {
		value, err := anypb.New(m)
		if err != nil {
			p.t.Fatal(err)
		}
		if p.has[url] == nil {
			p.has[url] = map[string]*discoveryv3.Resource{}
		}
		p.has[url][key] = &discoveryv3.Resource{Name: key, Version: version, Resource: value}
	}
	for told := range p.all {
		select {
		case told <- struct{}{}:
		default:
		}
	}
}

func (p *plane) DeltaAggregatedResources(s discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	told, requests := make(chan struct{}, 1), make(chan *discoveryv3.DeltaDiscoveryRequest)
	p.mu.Lock()
	p.all[told] = struct{}{}
	p.mu.Unlock()
	go func() {
		defer close(requests)
		for {
			r, err := s.Recv()
			if err != nil {
				return
			}
			if node, ours := mesh.ReadNode(r.GetNode().GetMetadata()); ours {
				p.nodes <- node
			}
			if d := r.GetErrorDetail(); d != nil {
				p.t.Errorf("refused: %s", d.GetMessage())
			}
			requests <- r
		}
	}()
	asked := map[string][]string{}
	for {
		select {
		case r, open := <-requests:
			if !open {
				return nil
			}
			if names := r.GetResourceNamesSubscribe(); len(names) > 0 {
				asked[r.GetTypeUrl()] = append(asked[r.GetTypeUrl()], names...)
				s.Send(p.answer(r.GetTypeUrl(), names))
			}
		case <-told:
			for url, names := range asked {
				s.Send(p.answer(url, names))
			}
		}
	}
}

func (p *plane) answer(url string, names []string) *discoveryv3.DeltaDiscoveryResponse {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: url, Nonce: "n"}
	for _, name := range names {
		if one := p.has[url][name]; one != nil {
			r.Resources = append(r.Resources, one)
		} else {
			r.RemovedResources = append(r.RemovedResources, name)
		}
	}
	return r
}

// hears waits for a node that the check takes.
func (p *plane) hears(what string, check func(mesh.Node) bool) {
	p.t.Helper()
	over := time.After(20 * time.Second)
	for {
		select {
		case n := <-p.nodes:
			if check(n) {
				return
			}
		case <-over:
			p.t.Fatalf("no stream said within 20 s %s", what)
		}
	}
}

const orders = "agent://acme/prod/orders"

// call asks the app API.
func (s *sidecar) call(t *testing.T, method, path, body string) string {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+s.API+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil || a.StatusCode != 200 {
		t.Fatalf("%s %s: %d %s %v", method, path, a.StatusCode, text, err)
	}
	return string(text)
}

// TestDiscovery: a control plane says where an agent is, hears who serves what and
// who drains, and is not needed for what it has said.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	with := func(agent string) proxy.Options {
		o := options(t)
		o.XDS = []string{p.address}
		o.Agents = []proxy.AgentOption{{Address: agent}}
		return o
	}
	to, from := with(billing), with(orders)
	receiver, sender := run(t, to), run(t, from)
	const here = "/v1/agents/acme/prod/billing/intents"
	sender.call(t, "POST", here+"/t", `{"n":1}`) // nobody serves it yet
	p.hears("that billing is served", func(n mesh.Node) bool {
		return strings.Join(n.Agents, " ") == billing && n.Peer == receiver.Peer && n.Journal == receiver.Node && !n.Draining
	})
	p.put(billing, receiver.Peer)
	if got := receiver.call(t, "GET", here+"?wait_seconds=20", ""); !strings.Contains(got, `{"n":1}`) {
		t.Errorf("the receiver got %s", got)
	}
	if _, body := sender.get(t, "/v1/admin/xds"); !strings.Contains(body, `"state":"ACKED"`) || !strings.Contains(body, `"agent":"`+billing+`","known":true,"endpoints":1`) {
		t.Errorf("the status is %s", body)
	}
	if _, body := sender.get(t, "/v1/admin/xds/dump"); !strings.Contains(body, `"clusterName"`) {
		t.Errorf("the dump is %s", body)
	}
	conn, err := grpc.NewClient("passthrough:///"+sender.Admin, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	asGRPC, err := statusv3.NewClientStatusDiscoveryServiceClient(conn).FetchClientStatus(t.Context(), &statusv3.ClientStatusRequest{})
	if body := asGRPC.String(); err != nil || !strings.Contains(body, `name:"`+mesh.Key(billing)+`"`) || !strings.Contains(body, "client_status:ACKED") {
		t.Errorf("to gRPC's tools it says %s (%v)", body, err)
	}

	// Without any control plane, and started anew.
	p.server.Stop()
	if _, err := sender.halt(t); err != nil {
		t.Fatal(err)
	}
	sender = run(t, from)
	sender.call(t, "POST", here+"/t", `{"n":2}`)
	if got := receiver.call(t, "GET", here+"?wait_seconds=20", ""); !strings.Contains(got, `{"n":2}`) {
		t.Errorf("the receiver got %s", got)
	}
	status, body := sender.get(t, "/readyz?verbose")
	if status != 200 || !strings.Contains(body, "no control plane answers: what was known") {
		t.Errorf("/readyz?verbose: %d %s", status, body)
	}
}

// What is learned to be advertised is announced, and so is that we drain.
func TestAnnounced(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	o := options(t)
	o.XDS, o.Learn = []string{p.address}, "advertise"
	s := run(t, o)
	ctx, hangUp := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+s.API+"/v1/agents/acme/prod/billing/intents?wait_seconds=20", nil)
	if err != nil {
		t.Fatal(err)
	}
	var pull sync.WaitGroup
	pull.Go(func() {
		if a, err := http.DefaultClient.Do(r); err == nil {
			a.Body.Close()
		}
	})
	p.hears("that billing was learned", func(n mesh.Node) bool { return strings.Join(n.Agents, " ") == billing })
	hangUp()
	pull.Wait()
	if _, err := s.halt(t); err != nil {
		t.Fatal(err)
	}
	p.hears("that we drain", func(n mesh.Node) bool { return n.Draining })

	run(t, o)
	p.hears("what was learned before the start", func(n mesh.Node) bool { return strings.Join(n.Agents, " ") == billing && !n.Draining })
}

func TestXDSOptions(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.XDS, o.Peers = []string{"127.0.0.1:7410", "127.0.0.1", "127.0.0.1:7410"}, "peers.yaml"
	o.Limits.XDS.DeletionGrace = -1
	err := o.Validate()
	for _, want := range []string{
		`xds: "127.0.0.1" is not HOST:PORT`,
		"xds: 127.0.0.1:7410 is listed twice",
		"xds, peers: both say where agents live, and neither could be believed when they differ; leave one out",
		"deletion_grace: -1ns; use 0s, which obeys at once, or more",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}
