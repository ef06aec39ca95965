package mesh

import (
	"fmt"
	"math"
	"slices"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	fault "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/fault/v3"
	httpfault "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	router "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	runtime "github.com/envoyproxy/go-control-plane/envoy/service/runtime/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"pannier/outbound"
)

// TypeListener is what gRPC's own clients ask for first; a sidecar does not.
const TypeListener = "type.googleapis.com/envoy.config.listener.v3.Listener"

// Built is one service in Envoy's terms, each resource by its name. The same
// service has the same bytes, whoever builds it and when: their hash is their
// version.
type Built struct {
	Listeners map[string]proto.Message
	Routes    map[string]proto.Message
	Clusters  map[string]proto.Message // as Envoy and our sidecars read them
	GRPC      map[string]proto.Message // clusters as gRPC's own clients read them
	Endpoints map[string]proto.Message
}

const (
	routerFilter = "envoy.filters.http.router"

	// retryOn is what a try may be repeated for by those who retry by
	// route.RetryPolicy.retry_on: nothing was done yet, as far as one can know.
	retryOn = "connect-failure,refused-stream,unavailable"

	// abortStatus is what an injected abort looks like: 503, gRPC's UNAVAILABLE.
	abortStatus = 503
	perMillion  = 10_000 // millionths in one percent
)

// Build writes a service in Envoy's fields. The switches that pause it are the
// runtime layer's: see BuildRuntime.
func Build(s Service, security *Security) Built {
	key := Key(s.Agent)
	b := Built{
		Listeners: map[string]proto.Message{key: buildListener(key)},
		Routes:    map[string]proto.Message{},
		Clusters:  map[string]proto.Message{},
		GRPC:      map[string]proto.Message{},
		Endpoints: map[string]proto.Message{},
	}
	parts := partition(s)
	b.Routes[key] = buildRoute(key, s.Policy, parts)
	for _, p := range parts {
		name := Cluster(key, p.subset)
		b.Clusters[name] = buildCluster(name, s, security.envoy())
		b.GRPC[name] = buildCluster(name, s, security.grpc())
		b.Endpoints[name] = buildEndpoints(name, p.endpoints, s.Hints)
	}
	return b
}

// part is one cluster of a service: a subset of its endpoints and its share.
type part struct {
	subset    string
	weight    int
	endpoints []outbound.Endpoint
}

// partition cuts a service into clusters. The first is always the one whose name
// is the key. Without a share of its own it has every endpoint, also where a
// split leads past it: a call that chose it before the split came still finds
// somebody. With one it has the endpoints without a subset. Each other subset that
// gets a share has a cluster; endpoints that no share names are in none of these.
func partition(s Service) []part {
	parts := []part{{}}
	for _, share := range s.Policy.Split {
		if share.Weight <= 0 {
			continue
		}
		i := slices.IndexFunc(parts, func(p part) bool { return p.subset == share.Subset })
		if i < 0 {
			i = len(parts)
			parts = append(parts, part{subset: share.Subset})
		}
		parts[i].weight += share.Weight
	}
	for i := range parts {
		if p := &parts[i]; p.subset == "" && p.weight == 0 {
			p.endpoints = s.Endpoints
		} else {
			p.endpoints = subsetOfEndpoints(s.Endpoints, p.subset)
		}
	}
	return parts
}

func subsetOfEndpoints(all []outbound.Endpoint, subset string) (some []outbound.Endpoint) {
	for _, e := range all {
		if e.Subset == subset {
			some = append(some, e)
		}
	}
	return some
}

// buildListener is what gRPC asks for first. It never changes: whatever does is
// in the route.
func buildListener(key string) *listener.Listener {
	return &listener.Listener{
		Name: key,
		ApiListener: &listener.ApiListener{ApiListener: pack(&hcm.HttpConnectionManager{
			StatPrefix: key,
			RouteSpecifier: &hcm.HttpConnectionManager_Rds{Rds: &hcm.Rds{
				ConfigSource: ads(), RouteConfigName: key,
			}},
			HttpFilters: []*hcm.HttpFilter{
				{Name: FaultFilter, IsOptional: true, ConfigType: &hcm.HttpFilter_TypedConfig{TypedConfig: pack(&httpfault.HTTPFault{})}},
				{Name: routerFilter, ConfigType: &hcm.HttpFilter_TypedConfig{TypedConfig: pack(&router.Router{})}},
			},
		})},
	}
}

func buildRoute(key string, p outbound.Policy, parts []part) *route.RouteConfiguration {
	action := &route.RouteAction{
		Timeout:     durationpb.New(0), // none: what is sent is kept until it is done
		RetryPolicy: buildRetry(p),
	}
	weighted := &route.WeightedCluster{}
	for _, part := range parts {
		if part.weight > 0 {
			weighted.Clusters = append(weighted.Clusters, &route.WeightedCluster_ClusterWeight{
				Name: Cluster(key, part.subset), Weight: count(part.weight),
			})
		}
	}
	if len(weighted.Clusters) == 0 {
		action.ClusterSpecifier = &route.RouteAction_Cluster{Cluster: key}
	} else {
		action.ClusterSpecifier = &route.RouteAction_WeightedClusters{WeightedClusters: weighted}
	}
	all := &route.Route{
		Match:  &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: "/"}},
		Action: &route.Route_Route{Route: action},
	}
	if p.Fault != (outbound.Fault{}) {
		// Bare: every gRPC knows the filter, and the one for Node refuses a route in
		// which a filter it knows is wrapped in a FilterConfig.
		all.TypedPerFilterConfig = map[string]*anypb.Any{FaultFilter: pack(buildFault(p.Fault))}
	}
	return &route.RouteConfiguration{
		Name:         key,
		VirtualHosts: []*route.VirtualHost{{Name: key, Domains: []string{key}, Routes: []*route.Route{all}}},
	}
}

// buildRetry is nil for a policy that says nothing of tries. One without a base
// has no retry_back_off, in which base_interval is required.
func buildRetry(p outbound.Policy) *route.RetryPolicy {
	if p.PerTryTimeout == 0 && p.Backoff == (outbound.Backoff{}) {
		return nil
	}
	r := &route.RetryPolicy{RetryOn: retryOn, PerTryTimeout: duration(p.PerTryTimeout)}
	if p.Backoff != (outbound.Backoff{}) {
		r.RetryBackOff = &route.RetryPolicy_RetryBackOff{BaseInterval: duration(p.Backoff.Base), MaxInterval: duration(p.Backoff.Max)}
	}
	return r
}

func buildFault(f outbound.Fault) *httpfault.HTTPFault {
	h := &httpfault.HTTPFault{}
	if f.Delay != 0 {
		h.Delay = &fault.FaultDelay{
			FaultDelaySecifier: &fault.FaultDelay_FixedDelay{FixedDelay: durationpb.New(f.Delay)},
			Percentage:         fraction(f.DelayPercent),
		}
	}
	if f.AbortPercent > 0 {
		h.Abort = &httpfault.FaultAbort{
			ErrorType:  &httpfault.FaultAbort_HttpStatus{HttpStatus: abortStatus},
			Percentage: fraction(f.AbortPercent),
		}
	}
	return h
}

func buildCluster(name string, s Service, transport *core.TransportSocket) *cluster.Cluster {
	c := &cluster.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_EDS},
		EdsClusterConfig:     &cluster.Cluster_EdsClusterConfig{EdsConfig: ads()},
		LbPolicy:             cluster.Cluster_ROUND_ROBIN, // least request is not every client's
		TransportSocket:      transport,
		Metadata:             metadata(map[string]string{FieldAgent: s.Agent}),
		OutlierDetection:     buildBreaker(s.Policy.Breaker),
	}
	if n := s.Policy.MaxRequests; n > 0 {
		c.CircuitBreakers = &cluster.CircuitBreakers{Thresholds: []*cluster.CircuitBreakers_Thresholds{
			{Priority: core.RoutingPriority_DEFAULT, MaxRequests: count(n)},
		}}
	}
	return c
}

// buildBreaker is nil for a policy that says nothing of it. Ejection by success
// rate, which Envoy does unasked, is no part of ours.
func buildBreaker(b outbound.BreakerPolicy) *cluster.OutlierDetection {
	if b == (outbound.BreakerPolicy{}) {
		return nil
	}
	return &cluster.OutlierDetection{
		Consecutive_5Xx:      count(b.Consecutive),
		Interval:             duration(b.Interval),
		BaseEjectionTime:     duration(b.BaseEjection),
		MaxEjectionTime:      duration(b.MaxEjection),
		MaxEjectionPercent:   count(b.MaxEjectionPercent),
		EnforcingSuccessRate: wrapperspb.UInt32(0),
	}
}

// BuildRuntime is the layer with the switches: all outbound, and the
// destinations that are paused by their keys.
func BuildRuntime(outboundPaused bool, paused []string) proto.Message {
	layer := &structpb.Struct{Fields: map[string]*structpb.Value{
		SwitchOutbound: structpb.NewBoolValue(outboundPaused),
	}}
	for _, key := range paused {
		layer.Fields[SwitchDestinationPrefix+key+SwitchDestinationSuffix] = structpb.NewBoolValue(true)
	}
	return &runtime.Runtime{Name: Runtime, Layer: layer}
}

// ads is the stream that the resource with this in it came on.
func ads() *core.ConfigSource {
	return &core.ConfigSource{
		ResourceApiVersion:    core.ApiVersion_V3,
		ConfigSourceSpecifier: &core.ConfigSource_Ads{Ads: &core.AggregatedConfigSource{}},
	}
}

// metadata is nil when no field has a value.
func metadata(fields map[string]string) *core.Metadata {
	s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for name, value := range fields {
		if value != "" {
			s.Fields[name] = structpb.NewStringValue(value)
		}
	}
	if len(s.Fields) == 0 {
		return nil
	}
	return &core.Metadata{FilterMetadata: map[string]*structpb.Struct{Metadata: s}}
}

// pack never fails: it is given messages of this file's making, and none has a
// string that is not UTF-8 where Validate has passed.
func pack(m proto.Message) *anypb.Any {
	packed := new(anypb.Any)
	if err := anypb.MarshalFrom(packed, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		panic(fmt.Sprintf("pack %T: %v", m, err))
	}
	return packed
}

func duration(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

func count(n int) *wrapperspb.UInt32Value {
	if n == 0 {
		return nil
	}
	return wrapperspb.UInt32(uint32(min(max(n, 0), math.MaxUint32)))
}

func fraction(p float64) *typev3.FractionalPercent {
	return &typev3.FractionalPercent{
		Numerator:   uint32(math.Round(min(max(p, 0), 100) * perMillion)),
		Denominator: typev3.FractionalPercent_MILLION,
	}
}
