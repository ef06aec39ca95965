package mesh_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3" // named in an Any below
	runtimev3 "github.com/envoyproxy/go-control-plane/envoy/service/runtime/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"pannier/outbound"
	"pannier/proxy/mesh"
)

const billing = "agent://acme/prod/billing"

// parse reads a resource as its users write it.
func parse[T proto.Message](t *testing.T, into T, text string) T {
	t.Helper()
	if err := protojson.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return into
}

func TestRead(t *testing.T) {
	t.Parallel()
	cluster := parse(t, &clusterv3.Cluster{}, `{
		"name": "billing.prod.acme", "type": "EDS",
		"metadata": {"filterMetadata": {"pannier": {"agent": "agent://acme/prod/billing"}}},
		"circuitBreakers": {"thresholds": [{"priority": "HIGH", "maxRequests": 9}, {"maxRequests": 20}]},
		"outlierDetection": {"consecutive5xx": 3, "interval": "5s", "baseEjectionTime": "30s", "maxEjectionTime": "300s", "maxEjectionPercent": 50}}`)
	canary := parse(t, &clusterv3.Cluster{}, `{"name": "v2|billing.prod.acme", "type": "EDS", "edsClusterConfig": {"serviceName": "billing-canary"}}`)
	stable := parse(t, &endpointv3.ClusterLoadAssignment{}, `{"clusterName": "billing.prod.acme", "endpoints": [
		{"locality": {"zone": "a"}, "lbEndpoints": [
			{"endpoint": {"address": {"socketAddress": {"address": "10.0.0.7", "portValue": 7401}}}},
			{"healthStatus": "DRAINING", "endpoint": {"address": {"socketAddress": {"address": "LOCALHOST", "portValue": 7402}}}}]},
		{"locality": {"zone": "b"}, "priority": 1, "lbEndpoints": [
			{"healthStatus": "UNHEALTHY", "endpoint": {"address": {"socketAddress": {"address": "::1", "portValue": 7401}}}},
			{"healthStatus": "DEGRADED", "endpoint": {"address": {"socketAddress": {"address": "h", "portValue": 7401}}}}]}]}`)
	fresh := parse(t, &endpointv3.ClusterLoadAssignment{}, `{"clusterName": "billing-canary", "endpoints": [
		{"lbEndpoints": [{"healthStatus": "HEALTHY", "endpoint": {"address": {"socketAddress": {"address": "10.0.0.9", "portValue": 7401}}}}]}]}`)
	route := parse(t, &routev3.RouteConfiguration{}, `{"name": "billing.prod.acme", "virtualHosts": [
		{"name": "other", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "wrong"}}]},
		{"name": "ours", "domains": ["billing.prod.acme"], "retryPolicy": {"perTryTimeout": "7s"}, "routes": [
			{"match": {"prefix": "/v2/"}, "route": {"cluster": "wrong"}},
			{"match": {"prefix": ""}, "route": {
				"weightedClusters": {"clusters": [{"name": "billing.prod.acme", "weight": 95}, {"name": "v2|billing.prod.acme", "weight": 5}]},
				"retryPolicy": {"perTryTimeout": "2s", "retryBackOff": {"baseInterval": "0.1s"}}},
			 "typedPerFilterConfig": {"envoy.filters.http.fault": {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "isOptional": true,
				"config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
					"delay": {"fixedDelay": "3s", "percentage": {"numerator": 125, "denominator": "TEN_THOUSAND"}},
					"abort": {"httpStatus": 503, "percentage": {"numerator": 2}}}}}}]}]}`)

	if got, want := mesh.ClustersOf(billing, route), []string{"billing.prod.acme", "v2|billing.prod.acme"}; !reflect.DeepEqual(got, want) {
		t.Errorf("the route sends to %v, want %v", got, want)
	}
	got := mesh.Read(billing, mesh.Resources{
		Route:     route,
		Clusters:  map[string]*clusterv3.Cluster{cluster.GetName(): cluster, canary.GetName(): canary},
		Endpoints: map[string]*endpointv3.ClusterLoadAssignment{"billing.prod.acme": stable, "billing-canary": fresh},
	})
	want := mesh.Service{
		Agent: billing,
		Endpoints: []outbound.Endpoint{
			{Address: "10.0.0.7:7401", Zone: "a"},
			{Address: "127.0.0.1:7402", Zone: "a", Health: outbound.Draining},
			{Address: "[::1]:7401", Zone: "b", Priority: 1, Health: outbound.Unhealthy},
			{Address: "h:7401", Zone: "b", Priority: 1, Health: outbound.Unhealthy},
			{Address: "10.0.0.9:7401", Subset: "v2"},
		},
		Policy: outbound.Policy{
			MaxRequests: 20, PerTryTimeout: 2 * time.Second,
			Backoff: outbound.Backoff{Base: 100 * time.Millisecond, Max: time.Second},
			Breaker: outbound.BreakerPolicy{Consecutive: 3, Interval: 5 * time.Second, BaseEjection: 30 * time.Second, MaxEjection: 5 * time.Minute, MaxEjectionPercent: 50},
			Fault:   outbound.Fault{Delay: 3 * time.Second, DelayPercent: 1.25, AbortPercent: 2},
			Split:   []outbound.Share{{Subset: "", Weight: 95}, {Subset: "v2", Weight: 5}},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// Without a route all goes to the cluster of the key; one of another agent under
// that name is none.
func TestReadWithoutARoute(t *testing.T) {
	t.Parallel()
	inline := `{"name": "billing.prod.acme", "type": "STATIC", "metadata": {"filterMetadata": {"pannier": {"agent": "%"}}}, "loadAssignment": {
		"clusterName": "x", "endpoints": [{"lbEndpoints": [{"endpoint": {"address": {"socketAddress": {"address": "10.0.0.7", "portValue": 1}}}}]}]}}`
	for agent, want := range map[string]int{billing: 1, "agent://acme/prod/orders": 0} {
		c := parse(t, &clusterv3.Cluster{}, strings.Replace(inline, "%", agent, 1))
		got := mesh.Read(billing, mesh.Resources{Clusters: map[string]*clusterv3.Cluster{c.GetName(): c}})
		if len(got.Endpoints) != want || !reflect.DeepEqual(got.Policy, outbound.Policy{}) {
			t.Errorf("a cluster of %s: got %+v, want %d endpoints and no policy", agent, got, want)
		}
	}
}

// Whatever is in a resource that Envoy's rules allow, the policy read from it is one
// that a file could have.
func TestReadIsBounded(t *testing.T) {
	t.Parallel()
	const agent = "agent://acme/prod/billing"
	key := mesh.Key(agent)
	for name, row := range map[string]struct{ route, cluster string }{
		"least": {`{"retryPolicy":{"perTryTimeout":"0.000000001s","retryBackOff":{"baseInterval":"0.001s"}},"cluster":"` + key + `"}`,
			`"outlierDetection":{"interval":"0.000000001s","baseEjectionTime":"0.000000001s","maxEjectionTime":"0.000000001s"}`},
		"most": {`{"retryPolicy":{"perTryTimeout":"315576000000s","retryBackOff":{"baseInterval":"315576000000s"}},"cluster":"` + key + `"}`,
			`"outlierDetection":{"interval":"315576000000s","baseEjectionTime":"315576000000s","maxEjectionTime":"1s","consecutive5xx":4294967295},"circuitBreakers":{"thresholds":[{"maxRequests":4294967295}]}`},
		"timeout": {`{"timeout":"0.000000001s","cluster":"` + key + `"}`, `"name":"` + key + `"`},
		"split": {`{"weightedClusters":{"clusters":[{"name":"` + key + `","weight":4000000000},{"name":"a|` + key + `","weight":1},{"name":"a|` + key + `","weight":1}]}}`,
			`"name":"` + key + `"`},
	} {
		route := parse(t, &routev3.RouteConfiguration{}, `{"name":"`+key+`","virtualHosts":[{"name":"h","domains":["*"],"routes":[{"match":{"prefix":"/"},"route":`+row.route+`,
			"typedPerFilterConfig":{"envoy.filters.http.fault":{"@type":"type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault","delay":{"fixedDelay":"315576000000s","percentage":{"numerator":4294967295}}}}}]}]}`)
		if err := mesh.CheckRoute(route); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text := row.cluster
		if !strings.HasPrefix(text, `"name"`) {
			text = `"name":"` + key + `",` + text
		}
		cluster := parse(t, &clusterv3.Cluster{}, `{"type":"EDS",`+text+`}`)
		got := mesh.Read(agent, mesh.Resources{Route: route, Clusters: map[string]*clusterv3.Cluster{key: cluster}})
		if err := got.Policy.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got.Policy.Fault.Delay == 0 || name != "split" && name != "timeout" && got.Policy.Breaker.BaseEjection == 0 {
			t.Errorf("%s: %+v, what is said counts for nothing", name, got.Policy)
		}
		if name == "split" && !slices.Equal(got.Policy.Split, []outbound.Share{{Subset: "", Weight: 1 << 20}, {Subset: "a", Weight: 1}}) {
			t.Errorf("split: %+v", got.Policy.Split)
		}
	}
	many := ""
	for i := range 17 {
		many += fmt.Sprintf(`,{"name":"s%d|%s","weight":1}`, i, key)
	}
	if err := mesh.CheckRoute(parse(t, &routev3.RouteConfiguration{}, `{"virtualHosts":[{"routes":[{"route":{"weightedClusters":{"clusters":[`+many[1:]+`]}}}]}]}`)); err == nil {
		t.Error("a split over more than is kept is taken, and would count for nothing")
	}
}

func TestChecks(t *testing.T) {
	t.Parallel()
	endpoint := func(text string) error {
		return mesh.CheckEndpoints(parse(t, &endpointv3.ClusterLoadAssignment{}, `{"clusterName":"c","endpoints":[{"lbEndpoints":[{"endpoint":{"address":`+text+`}}]}]}`))
	}
	cluster := func(text string) error { return mesh.CheckCluster(parse(t, &clusterv3.Cluster{}, text)) }
	for want, err := range map[string]error{
		"endpoints[0].lb_endpoints[0]: no socket_address":      endpoint(`{"pipe":{"path":"/x"}}`),
		"endpoints[0].lb_endpoints[0]: no port_value":          endpoint(`{"socketAddress":{"address":"h","namedPort":"p"}}`),
		"endpoints[0].lb_endpoints[0]: protocol UDP, want TCP": endpoint(`{"socketAddress":{"protocol":"UDP","address":"h","portValue":1}}`),
		"type: STRICT_DNS is not used here; use EDS or STATIC": cluster(`{"name":"c","type":"STRICT_DNS"}`),
		"metadata: b belongs under the name " + mesh.Key("b"):  cluster(`{"name":"c","type":"EDS","metadata":{"filterMetadata":{"pannier":{"agent":"b"}}}}`),
		"layer: missing": mesh.CheckRuntime(&runtimev3.Runtime{Name: "pannier"}),
		"virtual_hosts[0].routes[0].route.weighted_clusters: the weights add up to 0, want 1 to 4294967295": mesh.CheckRoute(parse(t, &routev3.RouteConfiguration{},
			`{"virtualHosts":[{"routes":[{"route":{"weightedClusters":{"clusters":[{"name":"c"}]}}}]}]}`)),
	} {
		if err == nil || err.Error() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
	for name, err := range map[string]error{
		"an endpoint": endpoint(`{"socketAddress":{"address":"h","portValue":1}}`),
		"a cluster":   cluster(`{"name":"billing.prod.acme","type":"EDS","metadata":{"filterMetadata":{"pannier":{"agent":"agent://acme/prod/billing"}}}}`),
		"a subset":    cluster(`{"name":"v2|billing.prod.acme","type":"EDS","metadata":{"filterMetadata":{"pannier":{"agent":"agent://acme/prod/billing"}}}}`),
		"a foreign":   cluster(`{"name":"outbound|7443||r.default","type":"EDS"}`),
	} {
		if err != nil {
			t.Errorf("%s is refused: %v", name, err)
		}
	}
}

func TestSwitches(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		layer           string
		billing, orders bool
	}{
		{`{}`, false, false},
		{`{"pannier.outbound.paused": true}`, true, true},
		{`{"pannier": {"outbound": {"paused": true}}}`, true, true},
		{`{"pannier.outbound.paused": false, "pannier.destination.billing.prod.acme.paused": true}`, true, false},
		{`{"pannier": {"destination": {"billing": {"prod": {"acme.paused": 1}}}}}`, true, false},
		{`{"pannier.outbound.paused": {"numerator": 100}}`, true, true},
		{`{"pannier.outbound.paused": {"numerator": 0}}`, false, false},
		{`{"pannier.destination..paused": true, "outbound.paused": true, "pannier.destination.paused": true}`, false, false},
	} {
		s := mesh.ReadSwitches(parse(t, &runtimev3.Runtime{}, `{"name":"pannier","layer":`+row.layer+`}`))
		if b, o := s.Paused(billing), s.Paused("agent://acme/prod/orders"); b != row.billing || o != row.orders {
			t.Errorf("%s: billing paused %v, orders %v; want %v, %v", row.layer, b, o, row.billing, row.orders)
		}
	}
}

func TestNode(t *testing.T) {
	t.Parallel()
	want := mesh.Node{Agents: []string{billing, "bare"}, Peer: "10.0.0.7:7401", Journal: "0193", Draining: true}
	if got, known := mesh.ReadNode(want.Metadata()); !known || !got.Equal(want) {
		t.Errorf("got %+v, %v, want %+v", got, known, want)
	}
	if _, known := mesh.ReadNode(nil); known {
		t.Error("the metadata of another program is taken for ours")
	}
}
