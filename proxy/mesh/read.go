package mesh

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"pannier/outbound"
)

// Resources are what there is of one agent. All of it has passed the checks.
type Resources struct {
	Route     *routev3.RouteConfiguration                  // nil: all goes to the cluster of the agent's key
	Clusters  map[string]*clusterv3.Cluster                // by name
	Endpoints map[string]*endpointv3.ClusterLoadAssignment // by the name EndpointsOf gives
}

// Read makes an agent's resources one Service. A cluster that is not there, or
// has no endpoints, adds none.
//
//	Service.Endpoints              of each cluster its ClusterLoadAssignment, in their order
//	  Address                      LbEndpoint.endpoint.address.socket_address
//	  Zone                         LocalityLbEndpoints.locality.zone
//	  Priority                     LocalityLbEndpoints.priority
//	  Health                       LbEndpoint.health_status
//	  Subset                       from the cluster's name, as Cluster makes it
//	Policy.Split                   RouteAction.weighted_clusters
//	Policy.PerTryTimeout           RetryPolicy.per_try_timeout, or else RouteAction.timeout
//	Policy.Backoff                 RetryPolicy.retry_back_off
//	Policy.MaxRequests             Cluster.circuit_breakers.thresholds[DEFAULT].max_requests
//	Policy.Breaker                 Cluster.outlier_detection
//	Policy.Fault                   HTTPFault under envoy.filters.http.fault in typed_per_filter_config
//
// What is beyond the bounds of a Policy is brought to them, and not refused: other
// control planes write 2^32-1 for no limit.
func Read(agent string, r Resources) Service {
	key := Key(agent)
	s := Service{Agent: agent}
	if a := actionOf(r.Route, key); a != nil {
		s.Policy = a.policy(key)
	}
	limited, guarded := false, false
	for _, name := range ClustersOf(agent, r.Route) {
		c := r.Clusters[name]
		if c == nil || agentOf(c) != "" && agentOf(c) != agent {
			continue
		}
		s.Endpoints = append(s.Endpoints, endpointsOf(c, r.Endpoints[EndpointsOf(c)], subsetOf(key, name))...)
		// One policy for all of a destination: of several clusters the first that
		// says something counts.
		if n, ok := maxRequests(c); ok && !limited {
			s.Policy.MaxRequests, limited = n, true
		}
		if o := c.GetOutlierDetection(); o != nil && !guarded {
			s.Policy.Breaker, guarded = breakerOf(o), true
		}
	}
	s.Policy = s.Policy.Bounded()
	return s
}

// ClustersOf lists the clusters that serve an agent under a route; without one
// it is the cluster of its key.
func ClustersOf(agent string, route *routev3.RouteConfiguration) []string {
	key := Key(agent)
	a := actionOf(route, key)
	if a == nil {
		return []string{key}
	}
	weighted := a.route.GetWeightedClusters().GetClusters()
	if len(weighted) == 0 {
		return []string{a.route.GetCluster()}
	}
	var names []string
	for _, c := range weighted {
		if !slices.Contains(names, c.GetName()) {
			names = append(names, c.GetName())
		}
	}
	return names
}

// EndpointsOf is the name of a cluster's ClusterLoadAssignment, empty for one
// that has its endpoints with it.
func EndpointsOf(c *clusterv3.Cluster) string {
	if c.GetType() != clusterv3.Cluster_EDS {
		return ""
	}
	if name := c.GetEdsClusterConfig().GetServiceName(); name != "" {
		return name
	}
	return c.GetName()
}

// agentOf is the address in a cluster's metadata, empty without one.
func agentOf(c *clusterv3.Cluster) string {
	return c.GetMetadata().GetFilterMetadata()[Metadata].GetFields()[FieldAgent].GetStringValue()
}

// subsetMark stands between the subset and the key in a cluster's name.
const subsetMark = "|"

func subsetOf(key, cluster string) string {
	if cluster == key {
		return ""
	}
	return strings.TrimSuffix(cluster, subsetMark+key)
}

func endpointsOf(c *clusterv3.Cluster, l *endpointv3.ClusterLoadAssignment, subset string) (eps []outbound.Endpoint) {
	if EndpointsOf(c) == "" {
		l = c.GetLoadAssignment()
	}
	for _, locality := range l.GetEndpoints() {
		for _, e := range locality.GetLbEndpoints() {
			socket := e.GetEndpoint().GetAddress().GetSocketAddress()
			eps = append(eps, outbound.Endpoint{
				Address:  Address(net.JoinHostPort(socket.GetAddress(), strconv.FormatUint(uint64(socket.GetPortValue()), 10))),
				Zone:     locality.GetLocality().GetZone(),
				Priority: int(locality.GetPriority()),
				Health:   healthOf(e.GetHealthStatus()),
				Subset:   subset,
			})
		}
	}
	return eps
}

// healthOf takes what nobody has looked at for healthy, as Envoy does, and what
// is only degraded for unhealthy, as gRPC does.
func healthOf(h corev3.HealthStatus) outbound.Health {
	switch h {
	case corev3.HealthStatus_UNKNOWN, corev3.HealthStatus_HEALTHY:
		return outbound.Healthy
	case corev3.HealthStatus_DRAINING:
		return outbound.Draining
	}
	return outbound.Unhealthy
}

func maxRequests(c *clusterv3.Cluster) (n int, said bool) {
	for _, t := range c.GetCircuitBreakers().GetThresholds() {
		if t.GetPriority() == corev3.RoutingPriority_DEFAULT && t.GetMaxRequests() != nil {
			return int(t.GetMaxRequests().GetValue()), true
		}
	}
	return 0, false
}

// breakerOf leaves at zero what is not said: those defaults are the sidecar's.
func breakerOf(o *clusterv3.OutlierDetection) outbound.BreakerPolicy {
	return outbound.BreakerPolicy{
		Consecutive:        int(o.GetConsecutive_5Xx().GetValue()),
		Interval:           span(o.GetInterval()),
		BaseEjection:       span(o.GetBaseEjectionTime()),
		MaxEjection:        span(o.GetMaxEjectionTime()),
		MaxEjectionPercent: int(o.GetMaxEjectionPercent().GetValue()),
	}
}

func span(d *durationpb.Duration) time.Duration { return max(0, d.AsDuration()) }
