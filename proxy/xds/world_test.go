package xds_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	runtimev3 "github.com/envoyproxy/go-control-plane/envoy/service/runtime/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"pannier/proxy/mesh"
	"pannier/proxy/xds"
)

const (
	billing = "agent://acme/prod/billing"
	key     = "billing.prod.acme"
	first   = "first.test:7410"
	second  = "second.test:7410"
)

// world is a client in a bubble of fake time, and the network with its control
// planes.
type world struct {
	t     *testing.T
	opt   xds.Options
	node  mesh.Node
	c     *xds.Client
	stop  func()
	plane map[string]*plane // by address
	log   lines
	mu    sync.Mutex
}

// plane is the listener of a control plane whose streams the test plays itself.
type plane struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	t       *testing.T
	l       *bufconn.Listener
	server  *grpc.Server
	streams chan *play
	last    *play // accepted
}

// play is one stream as its server has it.
type play struct {
	discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	t        *testing.T
	end      chan error
	requests chan *discoveryv3.DeltaDiscoveryRequest
	nonce    int
}

func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, opt: xds.DefaultOptions(), plane: map[string]*plane{}, node: mesh.Node{Agents: []string{"agent://acme/prod/orders"}, Peer: "10.0.0.1:7401", Journal: "0193"}}
		w.opt.Servers = []string{first}
		w.opt.File = filepath.Join(dir, "xds")
		w.opt.Dial = []grpc.DialOption{
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(w.dial),
		}
		t.Cleanup(func() {
			w.quit()
			for _, p := range w.plane {
				p.down()
			}
		})
		f(t, w)
	})
}

func (w *world) dial(ctx context.Context, address string) (net.Conn, error) {
	w.mu.Lock()
	p := w.plane[address]
	w.mu.Unlock()
	if p == nil {
		return nil, errors.New("connection refused")
	}
	return p.l.DialContext(ctx)
}

// up starts a control plane that the test plays.
func (w *world) up(address string) *plane {
	p := &plane{t: w.t, streams: make(chan *play, 16)}
	w.serve(address, p, p)
	return p
}

// serve starts any control plane.
func (w *world) serve(address string, s discoveryv3.AggregatedDiscoveryServiceServer, p *plane) {
	p.l, p.server = bufconn.Listen(1<<20), grpc.NewServer(grpc.MaxSendMsgSize(64<<20),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 20 * time.Second}))
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(p.server, s)
	go p.server.Serve(p.l)
	w.mu.Lock()
	w.plane[address] = p
	w.mu.Unlock()
}

func (p *plane) down() { p.server.Stop() }

func (w *world) down(address string) {
	w.mu.Lock()
	p := w.plane[address]
	delete(w.plane, address)
	w.mu.Unlock()
	p.down()
}

func (p *plane) DeltaAggregatedResources(s discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	one := &play{s, p.t, make(chan error, 1), make(chan *discoveryv3.DeltaDiscoveryRequest, 64), 0}
	p.streams <- one
	go func() {
		defer close(one.requests)
		for {
			r, err := s.Recv()
			if err != nil {
				return
			}
			one.requests <- r
		}
	}()
	select {
	case err := <-one.end:
		return err
	case <-s.Context().Done():
		return nil
	}
}

// start runs the client, with what its file says.
func (w *world) start() {
	w.run(xds.New(w.opt, w.node, slog.New(slog.NewTextHandler(&w.log, nil))))
}

// startOn is start with another disk.
func (w *world) startOn(d xds.Disk) {
	w.run(xds.NewOnDisk(w.opt, w.node, slog.New(slog.NewTextHandler(&w.log, nil)), d))
}

func (w *world) run(c *xds.Client) {
	w.c = c
	w.c.IAm(w.node.Peer)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.c.Run(ctx)
	}()
	w.stop = func() {
		cancel()
		<-done
	}
}

func (w *world) quit() {
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
}

// accept waits for the next stream.
func (p *plane) accept() *play {
	p.t.Helper()
	select {
	case p.last = <-p.streams:
		return p.last
	case <-time.After(5 * time.Minute):
		p.t.Fatal("no stream in 5 minutes")
		return nil
	}
}

// none checks that no stream comes for a while.
func (p *plane) none(d time.Duration) {
	p.t.Helper()
	select {
	case <-p.streams:
		p.t.Fatalf("a stream within %s", d)
	case <-time.After(d):
	}
}

// next waits for a request.
func (s *play) next() *discoveryv3.DeltaDiscoveryRequest {
	s.t.Helper()
	select {
	case r, open := <-s.requests:
		if !open {
			s.t.Fatal("the client ended the stream")
		}
		return r
	case <-time.After(5 * time.Minute):
		s.t.Fatal("no request in 5 minutes")
		return nil
	}
}

// requested gathers what comes in by type until nothing more does.
func (s *play) requested() map[string][]*discoveryv3.DeltaDiscoveryRequest {
	s.t.Helper()
	all := map[string][]*discoveryv3.DeltaDiscoveryRequest{}
	for {
		select {
		case r, open := <-s.requests:
			if !open {
				return all
			}
			all[r.GetTypeUrl()] = append(all[r.GetTypeUrl()], r)
		case <-time.After(time.Second):
			return all
		}
	}
}

// gone waits for the client to end the stream.
func (s *play) gone() {
	s.t.Helper()
	for {
		select {
		case _, open := <-s.requests:
			if !open {
				return
			}
		case <-time.After(5 * time.Minute):
			s.t.Fatal("the stream is still there after 5 minutes")
		}
	}
}

// send sends a response of one type with these resources; a string is one that
// was removed.
func (s *play) send(url string, all ...any) {
	s.t.Helper()
	r := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: url}
	for _, one := range all {
		switch one := one.(type) {
		case string:
			r.RemovedResources = append(r.RemovedResources, one)
		case *discoveryv3.Resource:
			r.Resources = append(r.Resources, one)
		}
	}
	s.sendRaw(r)
}

func (s *play) sendRaw(r *discoveryv3.DeltaDiscoveryResponse) {
	s.t.Helper()
	s.nonce++
	r.Nonce = string(rune('a' + s.nonce))
	if err := s.Send(r); err != nil {
		s.t.Errorf("send: %v", err)
	}
}

// ack sends and returns what the client answers to it.
func (s *play) ack(url string, all ...any) *discoveryv3.DeltaDiscoveryRequest {
	s.t.Helper()
	s.requested()
	s.send(url, all...)
	for {
		if r := s.next(); r.GetTypeUrl() == url && r.GetResponseNonce() != "" {
			return r
		}
	}
}

// greet lets a stream see that its server lives.
func (s *play) greet() { s.t.Helper(); s.ack(mesh.TypeRuntime) }

func wrap(name, version string, m proto.Message) *discoveryv3.Resource {
	value, err := anypb.New(m)
	if err != nil {
		panic(err)
	}
	return &discoveryv3.Resource{Name: name, Version: version, Resource: value}
}

func cluster(name, version string) *discoveryv3.Resource {
	return wrap(name, version, &clusterv3.Cluster{Name: name, ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}})
}

// badCluster breaks a rule of the type.
func badCluster(name, version string) *discoveryv3.Resource {
	return wrap(name, version, &clusterv3.Cluster{
		Name: name, ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		ConnectTimeout: durationpb.New(-time.Second),
	})
}

func load(name, version string, addresses ...string) *discoveryv3.Resource {
	l := &endpointv3.LocalityLbEndpoints{}
	for _, a := range addresses {
		l.LbEndpoints = append(l.LbEndpoints, &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
			Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
				Address: a, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 7401},
			}}},
		}}})
	}
	return wrap(name, version, &endpointv3.ClusterLoadAssignment{ClusterName: name, Endpoints: []*endpointv3.LocalityLbEndpoints{l}})
}

func route(name, version string, clusters ...string) *discoveryv3.Resource {
	action := &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: clusters[0]}}
	return wrap(name, version, &routev3.RouteConfiguration{Name: name, VirtualHosts: []*routev3.VirtualHost{{
		Name: name, Domains: []string{name}, Routes: []*routev3.Route{{
			Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: ""}},
			Action: &routev3.Route_Route{Route: action},
		}},
	}}})
}

func layer(version string, switches map[string]any) *discoveryv3.Resource {
	s, err := structpb.NewStruct(switches)
	if err != nil {
		panic(err)
	}
	return wrap(mesh.Runtime, version, &runtimev3.Runtime{Name: mesh.Runtime, Layer: s})
}

// whole sends all there is of billing.
func (s *play) whole(addresses ...string) {
	s.t.Helper()
	s.ack(mesh.TypeCluster, cluster(key, "c1"))
	s.ack(mesh.TypeEndpoints, load(key, "e1", addresses...))
	s.ack(mesh.TypeRoute, route(key, "r1", key))
}

// synced is a client that has heard of the hosts of billing from a control plane that
// the test plays on.
func (w *world) synced(addresses ...string) (*plane, *play) {
	w.t.Helper()
	p := w.up(first)
	w.start()
	w.c.Endpoints(billing)
	s := p.accept()
	s.whole(addresses...)
	return p, s
}

// sees checks where an agent is: "unknown", "nowhere" or its hosts.
func (w *world) sees(agent, want string) {
	w.t.Helper()
	synctest.Wait()
	if got := w.where(agent); got != want {
		w.t.Errorf("%s is at %s, want %s", agent, got, want)
	}
}

func (w *world) where(agent string) string {
	eps, known := w.c.Endpoints(agent)
	if !known {
		return "unknown"
	}
	if len(eps) == 0 {
		return "nowhere"
	}
	var hosts []string
	for _, e := range eps {
		hosts = append(hosts, strings.TrimSuffix(e.Address, ":7401"))
	}
	slices.Sort(hosts)
	return strings.Join(hosts, " ")
}

// state is how the status calls a resource.
func (w *world) state(kind, name string) xds.ResourceStatus {
	w.t.Helper()
	synctest.Wait()
	for _, r := range w.c.Status(true).Resources {
		if r.Type == kind && r.Name == name {
			return r
		}
	}
	return xds.ResourceStatus{State: "not there"}
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text []string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, string(p))
	return len(p), nil
}

func (l *lines) count(part string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.text {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}
