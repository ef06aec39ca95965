package xds_test

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	testv3 "github.com/envoyproxy/go-control-plane/pkg/test/resource/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"pannier/proxy/mesh"
	"pannier/proxy/xds"
)

// wire counts what crosses it.
type wire struct {
	serverv3.CallbackFuncs
	resources, removed, requests int
	nacks                        []string
}

func newWire() *wire {
	w := &wire{}
	w.StreamDeltaRequestFunc = func(_ int64, r *discoveryv3.DeltaDiscoveryRequest) error {
		w.requests++
		if d := r.GetErrorDetail(); d != nil {
			w.nacks = append(w.nacks, d.GetMessage())
		}
		return nil
	}
	w.StreamDeltaResponseFunc = func(_ int64, _ *discoveryv3.DeltaDiscoveryRequest, r *discoveryv3.DeltaDiscoveryResponse) {
		w.resources += len(r.GetResources())
		w.removed += len(r.GetRemovedResources())
	}
	return w
}

// library starts go-control-plane's own server over one of its caches.
func (w *world) library(address string, c cachev3.Cache) *wire {
	count := newWire()
	ctx, cancel := context.WithCancel(context.Background())
	w.t.Cleanup(cancel)
	w.serve(address, serverv3.NewServer(ctx, c, count), &plane{t: w.t})
	return count
}

// one is a cache for each type, as a control plane of many agents has them.
type one map[string]*cachev3.LinearCache

func newLinear() one {
	c := one{}
	for _, url := range []string{mesh.TypeCluster, mesh.TypeEndpoints, mesh.TypeRoute, mesh.TypeRuntime} {
		c[url] = cachev3.NewLinearCache(url)
	}
	return c
}

func (c one) mux() *cachev3.MuxCache {
	m := &cachev3.MuxCache{Classify: func(r *cachev3.Request) string { return r.GetTypeUrl() }, ClassifyDelta: func(r *cachev3.DeltaRequest) string { return r.GetTypeUrl() }, Caches: map[string]cachev3.Cache{}}
	for url, linear := range c {
		m.Caches[url] = linear
	}
	return m
}

func (c one) put(t *testing.T, r *discoveryv3.Resource) {
	t.Helper()
	m, err := r.GetResource().UnmarshalNew()
	if err == nil {
		err = c[r.GetResource().GetTypeUrl()].UpdateResource(r.GetName(), m)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (c one) agent(t *testing.T, name, host string) {
	t.Helper()
	c.put(t, cluster(name, ""))
	c.put(t, load(name, "", host))
	c.put(t, route(name, "", name))
}

func agentName(i int) (address, key string) {
	return fmt.Sprintf("agent://acme/prod/a%d", i), fmt.Sprintf("a%d.prod.acme", i)
}

// Against the library's LinearCache: first sync, a change, and a reconnect after
// changes, of which only the differences cross the wire.
func TestLinearCache(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const agents = 295 // of three resources each
		w.opt.IdleAfter = 1000 * time.Hour
		planes := newLinear()
		for i := range agents {
			_, key := agentName(i)
			planes.agent(t, key, "10.0.0.7")
		}
		count := w.library(first, planes.mux())
		w.start()
		for i := range agents {
			address, _ := agentName(i)
			w.c.Endpoints(address)
		}
		time.Sleep(time.Second)
		for i := range agents {
			address, _ := agentName(i)
			w.sees(address, "10.0.0.7")
		}
		if count.resources != 3*agents {
			t.Errorf("%d resources crossed the wire, want %d", count.resources, 3*agents)
		}
		if count.requests > 30 {
			t.Errorf("%d requests for %d agents: they are not gathered", count.requests, agents)
		}
		_, a0 := agentName(0)
		planes.put(t, load(a0, "", "10.0.0.8"))
		address, _ := agentName(0)
		w.sees(address, "10.0.0.8")

		// Another replica with the same content, but for three changes and five
		// agents that are gone.
		w.down(first)
		next := newLinear()
		for i := range agents - 5 {
			_, key := agentName(i)
			next.agent(t, key, map[bool]string{true: "10.0.0.9", false: "10.0.0.7"}[i >= 1 && i < 4])
		}
		next.put(t, load(a0, "", "10.0.0.8"))
		again := w.library(first, next.mux())
		time.Sleep(time.Minute)
		if again.resources != 3 || again.removed != 15 {
			t.Errorf("%d resources and %d removals crossed the wire, want 3 and 15", again.resources, again.removed)
		}
		address, _ = agentName(1)
		w.sees(address, "10.0.0.9")
		address, _ = agentName(agents - 1)
		w.sees(address, "10.0.0.7") // the grace
		if len(count.nacks)+len(again.nacks) != 0 {
			t.Errorf("refused: %v %v", count.nacks, again.nacks)
		}
		if s := w.c.Status(false); s.Stale {
			t.Error("still marked stale")
		}
	})
}

// A server that has none of what is asked for says nothing of it, and with nothing
// new says nothing at all: it must not be taken for a dead one.
func TestLinearCacheWithNothingNew(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		planes := newLinear()
		w.library(first, planes.mux())
		w.start()
		w.sees(billing, "unknown")
		time.Sleep(14 * time.Second)
		w.sees(billing, "unknown")
		time.Sleep(3 * time.Second)
		w.sees(billing, "nowhere")
		planes.agent(t, key, "10.0.0.7")
		time.Sleep(time.Second)
		w.sees(billing, "10.0.0.7")
		time.Sleep(10 * time.Minute)
		if s := w.c.Status(false); s.Stale || s.Servers[0].State != "connected" || time.Since(s.Servers[0].Since) < 10*time.Minute {
			t.Errorf("the status is %+v", s.Servers[0])
		}
	})
}

// A type the server has no cache for ends the stream of the library's mux. What
// its other types have said stays in force.
func TestMuxCacheWithoutAType(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		planes := newLinear()
		delete(planes, mesh.TypeRuntime)
		planes.agent(t, key, "10.0.0.7")
		w.library(first, planes.mux())
		w.start()
		w.c.Endpoints(billing)
		time.Sleep(10 * time.Second)
		w.sees(billing, "10.0.0.7")
	})
}

// Against the library's SnapshotCache with its own test snapshot: names and
// policies that nobody here wrote.
func TestSnapshotCache(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		generate := testv3.TestSnapshot{Xds: "ads", Version: "v1", UpstreamPort: 7401, NumClusters: 4, NumHTTPListeners: 4, NumRuntimes: 2}
		snapshot := generate.Generate()
		// The snapshot's clusters, under the names of agents.
		clusters, loads := snapshot.GetResources(mesh.TypeCluster), snapshot.GetResources(mesh.TypeEndpoints)
		for i := range 4 {
			_, name := agentName(i)
			theirs := fmt.Sprintf("cluster-v1-%d", i)
			if clusters[theirs] == nil || loads[theirs] == nil {
				t.Fatalf("the snapshot has %v", maps.Keys(clusters))
			}
			clusters[name] = renamed(t, clusters[theirs], "name", name)
			loads[name] = renamed(t, loads[theirs], "cluster_name", name)
		}
		full, err := cachev3.NewSnapshot("v1", map[string][]types.Resource{
			mesh.TypeCluster: list(clusters), mesh.TypeEndpoints: list(loads),
			mesh.TypeRoute: list(snapshot.GetResources(mesh.TypeRoute)), mesh.TypeRuntime: list(snapshot.GetResources(mesh.TypeRuntime)),
		})
		if err != nil {
			t.Fatal(err)
		}
		c := cachev3.NewSnapshotCache(false, cachev3.IDHash{}, nil)
		if err := c.SetSnapshot(context.Background(), xds.Node(w.node, "", "").GetId(), full); err != nil {
			t.Fatal(err)
		}
		count := w.library(first, c)
		w.start()
		for i := range 4 {
			address, _ := agentName(i)
			w.c.Endpoints(address)
		}
		time.Sleep(20 * time.Second) // it has no routes of their names
		for i := range 4 {
			address, _ := agentName(i)
			w.sees(address, "127.0.0.1")
		}
		if len(count.nacks) != 0 {
			t.Errorf("refused: %v", count.nacks)
		}
		synctest.Wait()
	})
}

func renamed(t *testing.T, r types.Resource, field, name string) types.Resource {
	t.Helper()
	m := proto.Clone(r)
	m.ProtoReflect().Set(m.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(field)), protoreflect.ValueOfString(name))
	return m
}

func list(all map[string]types.Resource) (out []types.Resource) {
	for _, r := range all {
		out = append(out, r)
	}
	return out
}
