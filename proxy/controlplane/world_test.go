package controlplane_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"pannier/proxy/controlplane"
	"pannier/proxy/mesh"
)

const (
	billing = "agent://acme/prod/billing"
	orders  = "agent://acme/prod/orders"
)

// running is a control plane of this process.
type running struct {
	t    testing.TB
	info controlplane.Info
	stop func()

	settle func() // ends Options.Settle early
}

// start runs a control plane until the test ends, or stop is called.
func start(t testing.TB, adjust func(*controlplane.Options), sources ...controlplane.Source) *running {
	t.Helper()
	r, ready := launch(t, adjust, sources...)
	r.info = <-ready
	return r
}

// launch does not wait until it is ready.
func launch(t testing.TB, adjust func(*controlplane.Options), sources ...controlplane.Source) (*running, <-chan controlplane.Info) {
	t.Helper()
	o := controlplane.DefaultOptions()
	o.Listen, o.Admin = "127.0.0.1:0", "127.0.0.1:0"
	o.Sources, o.Settle = sources, 0
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	if adjust != nil {
		adjust(&o)
	}
	c, err := controlplane.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan controlplane.Info, 1), make(chan error, 1)
	go func() { done <- c.Run(ctx, func(i controlplane.Info) { ready <- i }) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("control plane: %v", err)
		}
	})
	t.Cleanup(stop)
	return &running{t: t, info: controlplane.Info{XDS: o.Listen, Admin: o.Admin, Health: o.Health}, stop: stop, settle: c.SettleNow}, ready
}

// scripted is a source that says what the test wants.
type scripted struct {
	name    string
	updates chan controlplane.Update
}

func newScripted(name string, first ...controlplane.Update) *scripted {
	s := &scripted{name, make(chan controlplane.Update, 16)}
	for _, u := range first {
		s.updates <- u
	}
	return s
}

func (s *scripted) Name() string { return s.name }

func (s *scripted) Run(ctx context.Context, report func(controlplane.Update)) error {
	for {
		select {
		case u := <-s.updates:
			report(u)
		case <-ctx.Done():
			return nil
		}
	}
}

// client is a delta stream, bare.
type client struct {
	t      testing.TB
	stream discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	node   *core.Node
	close  func()
}

func (r *running) connect(node *core.Node) *client {
	r.t.Helper()
	return r.connectAs(insecure.NewCredentials(), node)
}

// connectAs is connect over a channel of these credentials.
func (r *running) connectAs(as credentials.TransportCredentials, node *core.Node) *client {
	r.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+r.info.XDS, grpc.WithTransportCredentials(as))
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second) // what never comes is waited for no longer
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	c := &client{t: r.t, stream: stream, node: node, close: sync.OnceFunc(func() { cancel(); conn.Close() })}
	r.t.Cleanup(c.close)
	return c
}

// sidecar is the node of one.
func sidecar(id string, n mesh.Node) *core.Node {
	return &core.Node{Id: id, UserAgentName: "pannier", Metadata: n.Metadata(), Locality: &core.Locality{Zone: "a"}}
}

func (c *client) send(r *discovery.DeltaDiscoveryRequest) {
	c.t.Helper()
	if err := c.stream.Send(r); err != nil {
		c.t.Fatal(err)
	}
}

// subscribe asks for resources of a type; known are versions had before.
func (c *client) subscribe(typeURL string, known map[string]string, names ...string) {
	c.t.Helper()
	c.send(&discovery.DeltaDiscoveryRequest{Node: c.node, TypeUrl: typeURL, ResourceNamesSubscribe: names, InitialResourceVersions: known})
}

// next is the next response, acked.
func (c *client) next() *discovery.DeltaDiscoveryResponse {
	c.t.Helper()
	r, err := c.stream.Recv()
	if err != nil {
		c.t.Fatal(err)
	}
	c.send(&discovery.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce()})
	return r
}

func (c *client) refuse(r *discovery.DeltaDiscoveryResponse, text string) {
	c.t.Helper()
	c.send(&discovery.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce(), ErrorDetail: &rpc.Status{Code: 3, Message: text}})
}

// get reads a page for operators.
func (r *running) get(path string, answer any) (status int) {
	r.t.Helper()
	response, err := http.Get("http://" + r.info.Admin + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && answer != nil {
		err = json.Unmarshal(text, answer)
	}
	if err != nil {
		r.t.Fatalf("%s: %v\n%s", path, err, text)
	}
	return response.StatusCode
}

// eventually waits until something is so, and never long where it is.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for range 6000 {
		if so() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("not after half a minute: %s", what)
}
