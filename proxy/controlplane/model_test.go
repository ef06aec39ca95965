package controlplane_test

import (
	"reflect"
	"testing"

	"pannier/outbound"
	"pannier/proxy/controlplane"
	"pannier/proxy/mesh"
)

func where(address string) outbound.Endpoint { return outbound.Endpoint{Address: address} }

// What several sources say of one agent is put together in a fixed order.
func TestMerge(t *testing.T) {
	t.Parallel()
	limited, paused := outbound.Policy{MaxRequests: 5}, outbound.Policy{Paused: true}
	written := mesh.Service{Agent: billing, Endpoints: []outbound.Endpoint{where("a:1"), {Address: "b:1", Zone: "z"}}}
	registered := mesh.Service{Agent: billing, Endpoints: []outbound.Endpoint{
		{Address: "a:1", Zone: "y", Health: outbound.Draining}, {Address: "b:1", Zone: "y"}, where("stranger:1"),
	}, Hints: map[string]mesh.Hint{"a:1": {Journal: "j"}}}
	for name, row := range map[string]struct {
		sources []controlplane.Update
		want    mesh.Service
	}{
		"endpoints of the first, filled up by the second, and its word on health": {
			[]controlplane.Update{says(written), says(registered)},
			mesh.Service{
				Agent: billing, Endpoints: []outbound.Endpoint{{Address: "a:1", Zone: "y", Health: outbound.Draining}, {Address: "b:1", Zone: "z"}},
				Hints: map[string]mesh.Hint{"a:1": {Journal: "j"}},
			},
		},
		"a policy alone says nothing of where": {
			[]controlplane.Update{says(mesh.Service{Agent: billing, Policy: limited}), says(registered)},
			mesh.Service{Agent: billing, Endpoints: registered.Endpoints, Hints: registered.Hints, Policy: limited},
		},
		"nowhere is a word, too": {
			[]controlplane.Update{says(mesh.Service{Agent: billing, Endpoints: []outbound.Endpoint{}}), says(registered)},
			mesh.Service{Agent: billing, Endpoints: []outbound.Endpoint{}},
		},
		"either may pause": {
			[]controlplane.Update{says(mesh.Service{Agent: billing, Policy: limited}), says(mesh.Service{Agent: billing, Policy: paused, Endpoints: []outbound.Endpoint{where("a:1")}})},
			mesh.Service{Agent: billing, Endpoints: []outbound.Endpoint{where("a:1")}, Policy: outbound.Policy{MaxRequests: 5, Paused: true}},
		},
	} {
		if got := controlplane.Merge(row.sources)[billing]; !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, row.want)
		}
	}
}
