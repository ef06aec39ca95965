package mesh

import (
	"cmp"
	"net"
	"slices"
	"strconv"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"pannier/outbound"
)

// place is what one LocalityLbEndpoints is of.
type place struct {
	priority     int
	region, zone string
}

// buildEndpoints groups endpoints by priority and locality, in an order of their
// own. Priorities are made to follow one another: gRPC refuses a gap. An address
// that comes twice counts once, for the same reason. A locality weighs as much as
// it has endpoints that may get something, so that gRPC, which draws the locality
// first, loads each endpoint alike; one without a weight it would leave out.
func buildEndpoints(name string, endpoints []outbound.Endpoint, hints map[string]Hint) *endpoint.ClusterLoadAssignment {
	endpoints = slices.Clone(endpoints)
	slices.SortStableFunc(endpoints, func(a, b outbound.Endpoint) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority),
			cmp.Compare(hints[a.Address].Region, hints[b.Address].Region), cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Address, b.Address))
	})
	assignment := &endpoint.ClusterLoadAssignment{ClusterName: name}
	var at place
	var priority uint32
	var group *endpoint.LocalityLbEndpoints
	seen := map[string]bool{}
	for _, e := range endpoints {
		if seen[e.Address] {
			continue
		}
		seen[e.Address] = true
		hint := hints[e.Address]
		here := place{e.Priority, hint.Region, e.Zone}
		if group == nil || here != at {
			if group != nil && here.priority != at.priority {
				priority++
			}
			at = here
			group = &endpoint.LocalityLbEndpoints{
				Locality: &core.Locality{Region: here.region, Zone: here.zone}, Priority: priority, LoadBalancingWeight: wrapperspb.UInt32(0),
			}
			assignment.Endpoints = append(assignment.Endpoints, group)
		}
		group.LbEndpoints = append(group.LbEndpoints, buildEndpoint(e, hint))
		if e.Health == outbound.Healthy {
			group.LoadBalancingWeight.Value++
		}
	}
	for _, g := range assignment.Endpoints {
		g.LoadBalancingWeight.Value = max(g.LoadBalancingWeight.Value, 1)
	}
	return assignment
}

func buildEndpoint(e outbound.Endpoint, hint Hint) *endpoint.LbEndpoint {
	host, port := splitAddress(e.Address)
	return &endpoint.LbEndpoint{
		HostIdentifier: &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{Address: &core.Address{
			Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
				Address: host, PortSpecifier: &core.SocketAddress_PortValue{PortValue: port},
			}},
		}}},
		HealthStatus:        healthStatus(e.Health),
		Metadata:            metadata(map[string]string{FieldJournal: hint.Journal, FieldPod: hint.Pod}),
		LoadBalancingWeight: wrapperspb.UInt32(1),
	}
}

func healthStatus(h outbound.Health) core.HealthStatus {
	switch h {
	case outbound.Healthy:
		return core.HealthStatus_HEALTHY
	case outbound.Draining:
		return core.HealthStatus_DRAINING
	}
	return core.HealthStatus_UNHEALTHY
}

// splitAddress leaves empty what is no HOST:PORT, for Validate to refuse.
func splitAddress(address string) (host string, port uint32) {
	host, text, err := net.SplitHostPort(address)
	n, bad := strconv.ParseUint(text, 10, 16)
	if err != nil || bad != nil {
		return "", 0
	}
	return host, uint32(n)
}
