package mesh

import (
	"errors"
	"fmt"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	runtimev3 "github.com/envoyproxy/go-control-plane/envoy/service/runtime/v3"

	"pannier/outbound"
)

// The checks below say what a sidecar cannot use of a resource that the
// generated rules allow. Their errors are what the control plane is told.

const (
	// maxEndpoints bounds the replicas of one cluster.
	maxEndpoints = 4096
	// maxClusters bounds the clusters one route splits its traffic over. More would
	// be no split at all here: they are refused, so that somebody hears of it.
	maxClusters = outbound.SplitMost
)

// CheckCluster refuses a Cluster whose endpoints this sidecar could not learn,
// or that is another agent's.
func CheckCluster(c *clusterv3.Cluster) error {
	switch c.GetType() {
	case clusterv3.Cluster_EDS:
	case clusterv3.Cluster_STATIC:
		if err := CheckEndpoints(c.GetLoadAssignment()); err != nil {
			return fmt.Errorf("load_assignment: %w", err)
		}
	default:
		return fmt.Errorf("type: %s is not used here; use EDS or STATIC", c.GetType())
	}
	// The address decides whose resource it is: a key may be anybody's hash.
	if agent := agentOf(c); agent != "" {
		if key := Key(agent); c.GetName() != key && !strings.HasSuffix(c.GetName(), subsetMark+key) {
			return fmt.Errorf("metadata: %s belongs under the name %s", agent, key)
		}
	}
	return nil
}

// CheckEndpoints refuses a ClusterLoadAssignment with an endpoint that cannot be
// dialed.
func CheckEndpoints(l *endpointv3.ClusterLoadAssignment) error {
	n := 0
	for i, locality := range l.GetEndpoints() {
		for k, e := range locality.GetLbEndpoints() {
			socket := e.GetEndpoint().GetAddress().GetSocketAddress()
			switch {
			case socket == nil:
				return fmt.Errorf("endpoints[%d].lb_endpoints[%d]: no socket_address", i, k)
			case socket.GetPortValue() == 0:
				return fmt.Errorf("endpoints[%d].lb_endpoints[%d]: no port_value", i, k)
			case socket.GetProtocol() != corev3.SocketAddress_TCP:
				return fmt.Errorf("endpoints[%d].lb_endpoints[%d]: protocol %s, want TCP", i, k, socket.GetProtocol())
			}
			if n++; n > maxEndpoints {
				return fmt.Errorf("endpoints: more than %d", maxEndpoints)
			}
		}
	}
	return nil
}

// CheckRoute refuses a RouteConfiguration that splits over more than can be
// kept, or over nothing.
func CheckRoute(r *routev3.RouteConfiguration) error {
	for i, host := range r.GetVirtualHosts() {
		for k, route := range host.GetRoutes() {
			weighted := route.GetRoute().GetWeightedClusters()
			if weighted == nil {
				continue
			}
			where := fmt.Sprintf("virtual_hosts[%d].routes[%d].route.weighted_clusters", i, k)
			if len(weighted.GetClusters()) > maxClusters {
				return fmt.Errorf("%s: more than %d", where, maxClusters)
			}
			var sum uint64
			for _, c := range weighted.GetClusters() {
				sum += uint64(c.GetWeight().GetValue())
			}
			if sum == 0 || sum > 1<<32-1 {
				return fmt.Errorf("%s: the weights add up to %d, want 1 to %d", where, sum, uint32(1<<32-1))
			}
		}
	}
	return nil
}

// CheckRuntime refuses a Runtime layer without a layer.
func CheckRuntime(r *runtimev3.Runtime) error {
	if r.GetLayer() == nil {
		return errors.New("layer: missing")
	}
	return nil
}
