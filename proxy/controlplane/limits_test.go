package controlplane_test

import (
	"log/slog"
	"strings"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

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
