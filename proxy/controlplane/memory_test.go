package controlplane_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"pannier/proxy/controlplane"
	"pannier/proxy/mesh"
)

// agentCosts is what one agent that a sidecar has registered may take of the heap,
// from its name in the registration to its resources: 13 KB while resources are
// kept as Envoy's structs.
const agentCosts = 7 << 10

// What is served is kept as its bytes, once. It runs beside no other test.
func TestAgentCosts(t *testing.T) {
	registration := controlplane.NewRegistration(slog.New(slog.DiscardHandler))
	plane := start(t, func(o *controlplane.Options) { o.Log = slog.New(slog.DiscardHandler) }, registration)
	register := func(node string, port, agents int) {
		n := mesh.Node{Peer: fmt.Sprintf("10.0.0.1:%d", port), Journal: "0193b2c5-0000-7000-8000-000000000001"}
		for i := range agents {
			n.Agents = append(n.Agents, fmt.Sprintf("agent://acme/prod/%s-%d", node, i))
		}
		c := plane.connect(sidecar(node, n))
		c.subscribe(mesh.TypeRuntime, nil, mesh.Runtime)
		c.next()
	}
	served := func(agents int) func() bool {
		var answer struct{ Resources map[string]int }
		return func() bool { plane.get("/v1/admin/xds", &answer); return answer.Resources["listeners"] == agents }
	}
	register("first", 1, 1) // what is made once is made
	eventually(t, "the first is served", served(1))

	const sidecars, each = 3, 500
	before := heap()
	for i := range sidecars {
		register(fmt.Sprint("many-", i), 2+i, each)
	}
	eventually(t, "all are served", served(1+sidecars*each))
	cost := (heap() - before) * (1 << 20) / (sidecars * each)
	t.Logf("%.0f bytes for each agent", cost)
	if cost > agentCosts {
		t.Errorf("an agent takes %.0f bytes, want at most %d", cost, agentCosts)
	}
}

// Of what a client says of itself no more is kept than is looked at. It runs beside
// no other test.
func TestNodeIsNotKept(t *testing.T) {
	plane := start(t, nil, controlplane.NewRegistration(slog.New(slog.DiscardHandler)))
	const streams, size = 8, 3 << 20
	hold := func(id string, bytes int) {
		fields := map[string]*structpb.Value{"else": structpb.NewStringValue(strings.Repeat("x", bytes))}
		c := plane.connect(&core.Node{Id: id, Metadata: &structpb.Struct{Fields: fields}})
		c.subscribe(mesh.TypeRuntime, nil, mesh.Runtime)
		c.next()
		c.node = nil // this end keeps none either
	}
	hold("first", 1)
	before := heap()
	for i := range streams {
		hold(fmt.Sprint("long-", i), size)
	}
	grown := (heap() - before) * (1 << 20)
	t.Logf("%.0f bytes for each stream", grown/streams)
	if grown > streams*size/2 {
		t.Errorf("%d streams with nodes of %d bytes take %.0f bytes, want a fraction of those", streams, size, grown)
	}
}
