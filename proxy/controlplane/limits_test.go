package controlplane_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"pannier/proxy/controlplane"
	"pannier/proxy/mesh"
)

// node is what operators are shown of a node with one stream.
func (r *running) node(id string) (found controlplane.NodeStatus) {
	r.t.Helper()
	var answer struct{ Nodes []controlplane.NodeStatus }
	r.get("/v1/admin/xds", &answer)
	for _, n := range answer.Nodes {
		if n.Node == id {
			found = n
		}
	}
	return found
}

func (r *running) limited(by string, times string) {
	r.t.Helper()
	if line := `pannier_control_plane_limited_total{limit="` + by + `"} ` + times; !strings.Contains(r.metrics(), "\n"+line+"\n") {
		r.t.Errorf("no line %s", line)
	}
}

// A node that is too long is not announced, and its sidecar is told why; it learns
// of others all the same.
func TestNodeTooLong(t *testing.T) {
	t.Parallel()
	plane := start(t, func(o *controlplane.Options) { o.MaxNodeBytes(400) }, controlplane.NewRegistration(slog.New(slog.NewTextHandler(t.Output(), nil))))
	announce := func(id string, agents ...string) *client {
		c := plane.connect(sidecar(id, mesh.Node{Agents: agents, Peer: "10.0.0.1:7401"}))
		c.subscribe(mesh.TypeRuntime, nil, mesh.Runtime)
		return c
	}
	announce("short", billing).next()
	if said := plane.node("short").Refused; said != "" {
		t.Errorf("the short one is refused: %s", said)
	}
	long := announce("long", strings.Split(strings.Repeat(orders+" ", 20), " ")...)
	if r := long.next(); len(r.GetResources()) != 1 {
		t.Errorf("%v, want the runtime", r)
	}
	header, err := long.stream.Header()
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Join(header.Get(mesh.HeaderRefused), "")
	if !strings.HasPrefix(said, "node: ") || !strings.Contains(said, "at most 400 are read") || plane.node("long").Refused != said {
		t.Errorf("told %q, and operators %q, want the size and the limit", said, plane.node("long").Refused)
	}
	plane.limited("node", "1")
	watcher := plane.connect(&core.Node{Id: "watcher"})
	watcher.subscribe(mesh.TypeEndpoints, nil, mesh.Key(billing), mesh.Key(orders))
	if r := watcher.next(); len(r.GetResources()) != 1 || r.GetResources()[0].GetName() != mesh.Key(billing) {
		t.Errorf("%v, want billing alone", r)
	}
}

// A stream that asks for more than is kept for one ends, and is told what was too
// much; what it took is free again.
func TestTooManyNames(t *testing.T) {
	t.Parallel()
	const typeBytes, allBytes = 16 << 10, 40 << 10 // some 50 names, and twice that and a half
	plane := start(t, func(o *controlplane.Options) { o.MaxNames(typeBytes, allBytes) }, newScripted("s", says(at(billing, "10.0.0.1:7401"))))
	names := func(from, to int) (all []string) {
		for i := from; i < to; i++ {
			all = append(all, fmt.Sprint("nobody-", i))
		}
		return all
	}
	exhausted := func(c *client, text string) {
		t.Helper()
		_, err := c.stream.Recv()
		if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want ResourceExhausted: %s", err, text)
		}
	}
	refusals := map[string]func(c *client){
		"in one request": func(c *client) { c.subscribe(mesh.TypeEndpoints, nil, names(0, 100)...) },
		"in several": func(c *client) {
			c.subscribe(mesh.TypeEndpoints, nil, names(0, 40)...)
			c.subscribe(mesh.TypeEndpoints, nil, names(40, 80)...)
		},
		"known, not asked for": func(c *client) {
			known := map[string]string{}
			for _, name := range names(0, 120) {
				known[name] = "1"
			}
			c.subscribe(mesh.TypeEndpoints, known, mesh.Key(billing))
		},
	}
	for name, ask := range refusals {
		c := plane.connect(&core.Node{Id: name})
		ask(c)
		exhausted(c, "at most 16384 for one type of a stream")
	}
	plane.limited("names", fmt.Sprint(len(refusals)))

	var open []*client
	for i := range 3 { // of two types each, 40 names of one
		c := plane.connect(&core.Node{Id: fmt.Sprint("open-", i)})
		c.subscribe(mesh.TypeRoute, nil, names(0, 40)...)
		c.subscribe(mesh.TypeEndpoints, nil, mesh.Key(billing))
		c.next()
		open = append(open, c)
	}
	late := plane.connect(&core.Node{Id: "late"})
	late.subscribe(mesh.TypeRoute, nil, names(0, 40)...)
	exhausted(late, "all clients take 40960 bytes")
	plane.limited("all_names", "1")
	open[0].close()
	eventually(t, "the first is gone", func() bool { return plane.streams() == 2 })
	c := plane.connect(&core.Node{Id: "again"})
	c.subscribe(mesh.TypeRoute, nil, names(0, 40)...)
	c.subscribe(mesh.TypeEndpoints, nil, mesh.Key(billing))
	c.next()
}

// The state of the world is counted as well.
func TestTooManyNamesOfGRPC(t *testing.T) {
	t.Parallel()
	plane := start(t, func(o *controlplane.Options) { o.MaxNames(1<<10, 1<<20) }, newScripted("s", says(at(billing, "10.0.0.1:7401"))))
	conn, err := grpc.NewClient("passthrough:///"+plane.info.XDS, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&discovery.DiscoveryRequest{Node: &core.Node{Id: "sotw"}, TypeUrl: mesh.TypeEndpoints, ResourceNames: []string{"a", "b", "c", "d"}}); err != nil {
		t.Fatal(err)
	}
	if _, err = stream.Recv(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("%v, want ResourceExhausted", err)
	}
}

// Of what all sidecars announce beyond the limit, the last is not announced, and its
// sidecar is told why. What one has given up is there for others.
func TestTooManyAgents(t *testing.T) {
	t.Parallel()
	registration := controlplane.NewRegistration(slog.New(slog.NewTextHandler(t.Output(), nil)))
	registration.Grace = 1 // the smallest: gone at once
	plane := start(t, func(o *controlplane.Options) { o.MaxAgents(5) }, registration)
	agents := func(of string, n int) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprintf("agent://acme/prod/%s-%d", of, i))
		}
		return all
	}
	announce := func(c *client, id string, n int) {
		c.send(&discovery.DeltaDiscoveryRequest{TypeUrl: mesh.TypeRuntime, Node: sidecar(id, mesh.Node{Agents: agents(id, n), Peer: "10.0.0.1:" + id}), ResourceNamesSubscribe: []string{mesh.Runtime}})
	}
	served := func(n int) func() bool {
		var answer struct{ Resources map[string]int }
		return func() bool { plane.get("/v1/admin/xds", &answer); return answer.Resources["listeners"] == n }
	}
	one, two := plane.connect(nil), plane.connect(nil)
	announce(one, "1", 3)
	one.next()
	announce(two, "2", 3)
	two.next()
	eventually(t, "what there is room for is served", served(5))
	if said := plane.node("2").Refused; said != "3 agents, the first 2 are taken: all sidecars announce 5, no more are taken" {
		t.Errorf("the second is told %q", said)
	}
	plane.limited("agents", "1")
	announce(one, "1", 1)
	eventually(t, "one has given up two", served(3))
	announce(two, "2", 4)
	eventually(t, "two has taken them over", served(5))
	if said := plane.node("2").Refused; said != "" {
		t.Errorf("the second is still told %q", said)
	}
	one.close()
	eventually(t, "one is gone", served(4))
	announce(two, "2", 5)
	eventually(t, "two has it all", served(5))
}
