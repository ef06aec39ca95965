package controlplane

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"

	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"pannier/proxy/mesh"
)

// grpcAgent begins the user agent of gRPC's own xDS clients, whatever their
// language.
const grpcAgent = "gRPC"

// caches are what is served: a LinearCache for each type, and a second one of
// clusters for gRPC's own clients, who refuse certificates named by SDS.
//
// Neither of go-control-plane's ways to serve several types would do. A
// SnapshotCache in ADS mode withholds endpoints and routes from whoever does not
// name each one in the snapshot, and drops the watch. A MuxCache fails the whole
// stream when one type has no cache, and the client comes back with the same
// request for ever.
type caches struct {
	listeners, routes, clusters, grpcClusters, endpoints, runtime, secrets *cache.LinearCache

	apart bool // clusters differ for gRPC's own clients; else they are the same cache

	// settled is closed when what clients knew before may be taken from them.
	settled <-chan struct{}
	limits  *limits
	log     *slog.Logger
}

var _ cache.Cache = (*caches)(nil)

// newCaches makes empty caches. prefix sets the versions of state-of-the-world
// responses, which are counters, apart from another replica's. apart says that
// clusters name certificates, which gRPC's own clients are told of in another way.
func newCaches(prefix string, apart bool, settled <-chan struct{}, l *limits, log *slog.Logger) *caches {
	linear := func(typeURL string) *cache.LinearCache {
		return cache.NewLinearCache(typeURL, cache.WithVersionPrefix(prefix))
	}
	c := &caches{
		listeners: linear(mesh.TypeListener), routes: linear(mesh.TypeRoute), clusters: linear(mesh.TypeCluster),
		endpoints: linear(mesh.TypeEndpoints), runtime: linear(mesh.TypeRuntime), secrets: linear(mesh.TypeSecret),
		apart: apart, settled: settled, limits: l, log: log,
	}
	c.grpcClusters = c.clusters
	if apart {
		c.grpcClusters = linear(mesh.TypeCluster)
	}
	return c
}

// of is the cache of a type for a client. Of a type that is not served there is
// an empty one: the client waits for it and gets all else.
func (c *caches) of(typeURL string, node *core.Node) *cache.LinearCache {
	switch typeURL {
	case mesh.TypeListener:
		return c.listeners
	case mesh.TypeRoute:
		return c.routes
	case mesh.TypeEndpoints:
		return c.endpoints
	case mesh.TypeRuntime:
		return c.runtime
	case mesh.TypeSecret:
		return c.secrets
	case mesh.TypeCluster:
		if strings.HasPrefix(node.GetUserAgentName(), grpcAgent) {
			return c.grpcClusters
		}
		return c.clusters
	}
	return cache.NewLinearCache(typeURL)
}

// CreateWatch implements cache.Cache for state-of-the-world streams.
func (c *caches) CreateWatch(r *cache.Request, sub cache.Subscription, value chan cache.Response) (func(), error) {
	of := c.of(r.GetTypeUrl(), r.GetNode())
	// Whoever keeps a watch keeps its request, with all the names in it.
	r = &cache.Request{TypeUrl: r.GetTypeUrl(), VersionInfo: r.GetVersionInfo(), Node: r.GetNode()}
	return c.counted(r.GetTypeUrl(), of, sub, func() (func(), error) { return of.CreateWatch(r, sub, value) })
}

// CreateDeltaWatch implements cache.Cache for delta streams. A client that comes
// with what it knew is answered when the sidecars have had the time to register
// again, since until then what it knows is better than what is known here. One
// that knows nothing is answered with what there is.
func (c *caches) CreateDeltaWatch(r *cache.DeltaRequest, sub cache.Subscription, value chan cache.DeltaResponse) (func(), error) {
	of := c.of(r.GetTypeUrl(), r.GetNode())
	r = &cache.DeltaRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetResponseNonce(), Node: r.GetNode()}
	return c.counted(r.GetTypeUrl(), of, sub, func() (func(), error) {
		create := func() (func(), error) { return of.CreateDeltaWatch(r, sub, value) }
		select {
		case <-c.settled:
			return create()
		default:
		}
		if r.GetResponseNonce() != "" || len(sub.ReturnedResources()) == 0 {
			return create()
		}
		return c.later(create), nil
	})
}

// counted creates a watch, if what must be kept for it is not too much. Its cancel
// is called when the stream ends or asks again, at times twice.
func (c *caches) counted(typeURL string, of *cache.LinearCache, sub cache.Subscription, create func() (func(), error)) (cancel func(), err error) {
	release, err := c.limits.keep(typeURL, sub, of.NumResources())
	if err != nil {
		return nil, err
	}
	inner, err := create()
	if err != nil {
		release()
		return nil, err
	}
	return sync.OnceFunc(func() {
		release()
		if inner != nil {
			inner()
		}
	}), nil
}

// later creates a watch once things have settled, unless it is cancelled before.
func (c *caches) later(create func() (func(), error)) (cancel func()) {
	var mu sync.Mutex // the subscription must stand still while a watch is created
	var once sync.Once
	var inner func()
	gone := make(chan struct{})
	go func() { // ends when things have settled, or the stream ends or asks again
		select {
		case <-gone:
			return
		case <-c.settled:
		}
		mu.Lock()
		defer mu.Unlock()
		select {
		case <-gone:
			return
		default:
		}
		var err error
		if inner, err = create(); err != nil {
			c.log.Error("watch not created", "err", err) // the client asks again on its next stream
		}
	}()
	return func() {
		once.Do(func() { close(gone) })
		mu.Lock()
		defer mu.Unlock()
		if inner != nil {
			inner()
		}
	}
}

// Fetch implements cache.Cache. Nobody asks: REST is not served.
func (c *caches) Fetch(context.Context, *cache.Request) (cache.Response, error) {
	return nil, errors.New("only streams are served")
}

// kind is a type of resources that services are made of, in the order in which
// they are made.
type kind int

const (
	endpoints kind = iota
	clusters
	grpcClusters
	routes
	listeners
	runtime

	kinds
)

// change is what is to become of the resources of one type.
type change struct {
	set    map[string]types.Resource
	remove []string
}

// changes are one update of everything.
type changes [kinds]change

// apply makes before it breaks: whoever reads a route finds its clusters, and
// whoever reads a cluster its endpoints.
func (c *caches) apply(all changes) error {
	served := [kinds]*cache.LinearCache{
		endpoints: c.endpoints, clusters: c.clusters, grpcClusters: c.grpcClusters,
		routes: c.routes, listeners: c.listeners, runtime: c.runtime,
	}
	var errs []error
	for k := range all {
		if set := all[k].set; len(set) > 0 {
			errs = append(errs, served[k].UpdateResources(set, nil))
		}
	}
	for k := len(all) - 1; k >= 0; k-- {
		if remove := all[k].remove; len(remove) > 0 {
			errs = append(errs, served[k].UpdateResources(nil, remove))
		}
	}
	return errors.Join(errs...)
}
