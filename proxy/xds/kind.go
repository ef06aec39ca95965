package xds

import (
	"errors"
	"fmt"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	runtimev3 "github.com/envoyproxy/go-control-plane/envoy/service/runtime/v3"
	"google.golang.org/protobuf/proto"

	"pannier/proxy/mesh"
	"pannier/proxy/mesh/rules"
)

// kind is a type of resource. Only types whose code is linked are subscribed to:
// the first answer with another could only be refused.
type kind struct {
	url   string
	word  string // for people
	fresh func() proto.Message
	name  func(proto.Message) string
	check func(proto.Message) error // what this sidecar cannot use, beyond the rules
}

// kinds are all types, in the order in which a stream asks for them: what an
// answer refers to was then asked for before. Runtime is last, and every server
// answers it (see wildcard): its answer says that the others were looked at.
var kinds = [...]*kind{
	kindOf(mesh.TypeCluster, "cluster", func() *clusterv3.Cluster { return new(clusterv3.Cluster) }, (*clusterv3.Cluster).GetName, mesh.CheckCluster),
	kindOf(mesh.TypeEndpoints, "endpoints", func() *endpointv3.ClusterLoadAssignment { return new(endpointv3.ClusterLoadAssignment) }, (*endpointv3.ClusterLoadAssignment).GetClusterName, mesh.CheckEndpoints),
	kindOf(mesh.TypeRoute, "route", func() *routev3.RouteConfiguration { return new(routev3.RouteConfiguration) }, (*routev3.RouteConfiguration).GetName, mesh.CheckRoute),
	kindOf(mesh.TypeSecret, "secret", func() *tlsv3.Secret { return new(tlsv3.Secret) }, (*tlsv3.Secret).GetName, mesh.CheckTrust),
	kindOf(mesh.TypeRuntime, "runtime", func() *runtimev3.Runtime { return new(runtimev3.Runtime) }, (*runtimev3.Runtime).GetName, mesh.CheckRuntime),
}

// The places of the kinds.
const (
	cluster = iota
	endpoints
	route
	secret
	runtime
)

// wildcard subscribes to all resources of a type. Of runtime layers there are
// few, and a server answers a first wildcard even when it has none; by names
// alone one with nothing new says nothing, and could be a dead one.
const wildcard = "*"

func kindOf[M proto.Message](url, word string, fresh func() M, name func(M) string, check func(M) error) *kind {
	return &kind{
		url: url, word: word,
		fresh: func() proto.Message { return fresh() },
		name:  func(m proto.Message) string { return name(m.(M)) },
		check: func(m proto.Message) error { return check(m.(M)) },
	}
}

// indexOf is the place of a type among the kinds, -1 for one that is not linked.
func indexOf(url string) int {
	for i, k := range kinds {
		if k.url == url {
			return i
		}
	}
	return -1
}

// parse reads one resource of a response. Its error is told to the server.
func (k *kind) parse(r *discoveryv3.Resource) (proto.Message, error) {
	switch {
	case r.GetResource() == nil:
		return nil, errors.New("there is no resource in it")
	case r.GetResource().GetTypeUrl() != k.url:
		return nil, fmt.Errorf("it is a %s", short(r.GetResource().GetTypeUrl()))
	}
	m := k.fresh()
	if err := proto.Unmarshal(r.GetResource().GetValue(), m); err != nil {
		return nil, fmt.Errorf("not a %s: %w", short(k.url), err)
	}
	if err := rules.Check(m); err != nil {
		return nil, err
	}
	if name := k.name(m); name != r.GetName() {
		return nil, fmt.Errorf("its own name is %q", name)
	}
	return m, k.check(m)
}

// maxReason bounds what is kept, and told, of one error: texts of a server's
// come in parts of it.
const maxReason = 512

// short cuts text of unknown length.
func short(text string) string {
	if len(text) <= maxReason {
		return text
	}
	return strings.ToValidUTF8(text[:maxReason], "") + "…"
}
