package kubernetes_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	discovery "k8s.io/api/discovery/v1"

	"pannier/proxy/kubernetes"
	"pannier/proxy/mesh"
)

// A rolling update as the EndpointSlice controller writes it: each step is one
// resource on the wire, and nothing else is.
func TestRollingUpdate(t *testing.T) {
	t.Parallel()
	api := cluster(t)
	billed := service("shop", "billing", 0)
	steady := pod("billing-b", "10.0.0.2", "b", true, false)
	api.Put(billed, slice(billed, "x1", pod("billing-a", "10.0.0.1", "a", true, false), steady))
	s := open(t, api).join(mesh.Node{})
	const kept = "10.0.0.2:7401 b healthy"
	s.sees(billing, "10.0.0.1:7401 a healthy", kept)
	s.settled()

	for _, step := range []struct {
		name string
		pods []discovery.Endpoint
		want []string
	}{
		{"it terminates", []discovery.Endpoint{pod("billing-a", "10.0.0.1", "a", true, true), steady}, []string{"10.0.0.1:7401 a draining", kept}},
		{"it is gone", []discovery.Endpoint{steady}, []string{kept}},
		{"the next one starts", []discovery.Endpoint{pod("billing-c", "10.0.0.3", "a", false, false), steady}, []string{kept, "10.0.0.3:7401 a unhealthy"}},
		{"it is ready", []discovery.Endpoint{pod("billing-c", "10.0.0.3", "a", true, false), steady}, []string{kept, "10.0.0.3:7401 a healthy"}},
	} {
		api.Put(slice(billed, "x1", step.pods...))
		s.sees(billing, step.want...)
		if got := s.wire.take(); !slices.Equal(got, []string{"ClusterLoadAssignment billing.prod.acme"}) {
			t.Errorf("%s: on the wire came %q, want the one resource", step.name, got)
		}
	}
	if nacks := s.Status(false).Servers[0].Nacks; nacks != 0 {
		t.Errorf("the sidecar refused %d resources", nacks)
	}
}

// A sidecar that registers adds what slices cannot know, and nowhere to send to.
func TestRegistrationAddsOnlyWhatIsLacking(t *testing.T) {
	t.Parallel()
	api := cluster(t)
	billed := service("shop", "billing", 0)
	api.Put(billed, slice(billed, "x1", pod("billing-a", "10.0.0.1", "a", true, false)))
	w := open(t, api)
	s := w.join(mesh.Node{Agents: []string{billing}, Peer: "10.0.0.1:7401", Journal: "0193"})
	w.join(mesh.Node{Agents: []string{billing, orders}, Peer: "10.0.0.9:7401", Journal: "0194"})
	s.sees(orders, "10.0.0.9:7401 healthy") // no Service says anything of it
	s.sees(billing, "10.0.0.1:7401 a healthy")
	eventually(t, "the endpoint has its journal and its pod", func() bool {
		said := s.dump(billing)
		return strings.Contains(said, `"0193"`) && strings.Contains(said, `"shop/billing-a"`)
	})
	if said := s.dump(billing); strings.Contains(said, "10.0.0.9") {
		t.Errorf("an endpoint that registered was added: %s", said)
	}
}

// A Service that is taken out of the mesh takes its agent with it.
func TestServiceComesAndGoes(t *testing.T) {
	t.Parallel()
	api := cluster(t)
	w := open(t, api)
	s := w.join(mesh.Node{})
	billed := service("shop", "billing", 0)
	api.Put(billed)
	s.sees(billing) // known, and nowhere
	api.Put(slice(billed, "x1", pod("billing-a", "10.0.0.1", "a", true, false)))
	s.sees(billing, "10.0.0.1:7401 a healthy")
	api.Put(slice(billed, "x2", pod("billing-b", "10.0.0.2", "b", true, false)))
	s.sees(billing, "10.0.0.1:7401 a healthy", "10.0.0.2:7401 b healthy")
	delete(billed.Labels, kubernetes.LabelMesh)
	api.Put(billed)
	s.sees(billing)
	if n := w.page().Agents; n != 0 {
		t.Errorf("%d agents are known, want none", n)
	}
}

// The first that is said is the whole, whichever part of it comes last.
func TestNotReadyBeforeAllIsThere(t *testing.T) {
	t.Parallel()
	for _, resource := range []string{"services", "endpointslices", "namespaces"} {
		t.Run(resource, func(t *testing.T) {
			t.Parallel()
			api := cluster(t)
			billed := service("shop", "billing", 0)
			api.Put(billed, slice(billed, "x1", pod("billing-a", "10.0.0.1", "a", true, false)))
			release := api.Hold(resource)
			_, next := run(t, api)
			eventually(t, "the other two have been asked for", func() bool { return len(api.Used()) == 2 })
			release()
			if got := holders(next()); !maps.Equal(got, map[string]string{billing: "10.0.0.1:7401"}) {
				t.Errorf("first it says %v", got)
			}
		})
	}
}

// What the API server said last stays while it is away, and what has changed
// meanwhile is made up for.
func TestAPIServerAway(t *testing.T) {
	t.Parallel()
	api := cluster(t)
	billed := service("shop", "billing", 0)
	x1 := slice(billed, "x1", pod("billing-a", "10.0.0.1", "a", true, false))
	x2 := slice(billed, "x2", pod("billing-b", "10.0.0.2", "b", true, false))
	api.Put(billed, x1, x2)
	w := open(t, api)
	s := w.join(mesh.Node{})
	s.sees(billing, "10.0.0.1:7401 a healthy", "10.0.0.2:7401 b healthy")

	api.Down()
	eventually(t, "the trouble is told", func() bool { return w.page().Error != "" })
	w.join(mesh.Node{}).sees(billing, "10.0.0.1:7401 a healthy", "10.0.0.2:7401 b healthy")
	api.Delete(x2)
	api.Put(slice(billed, "x1", pod("billing-a", "10.0.0.1", "a", true, true)))
	api.Up()
	s.sees(billing, "10.0.0.1:7401 a draining")
	eventually(t, "the trouble is over", func() bool { return w.page().Error == "" })
}

// A source of some namespaces asks for nothing outside of them.
func TestNamespacesAreABound(t *testing.T) {
	t.Parallel()
	api := cluster(t)
	api.Put(namespace("other", "acme", "test"))
	billed, elsewhere := service("shop", "billing", 0), service("other", "orders", 0)
	api.Put(billed, elsewhere, slice(billed, "x1", pod("billing-a", "10.0.0.1", "a", true, false)), slice(elsewhere, "x1", pod("orders-a", "10.0.0.9", "a", true, false)))
	w := open(t, api, "shop")
	w.join(mesh.Node{}).sees(billing, "10.0.0.1:7401 a healthy")
	for _, a := range api.Fake.Actions() {
		if a.GetResource().Resource != "namespaces" && a.GetNamespace() != "shop" {
			t.Errorf("it asks to %s %s of %q", a.GetVerb(), a.GetResource().Resource, a.GetNamespace())
		}
	}
	if got := w.page().Agents; got != 1 {
		t.Errorf("%d agents are known, want that of shop", got)
	}
}
