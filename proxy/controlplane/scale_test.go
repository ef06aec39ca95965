package controlplane_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"pannier/outbound"
	"pannier/proxy/mesh"
)

// How a mesh of this size is served, judged by nobody: 1,000 agents of three
// endpoints each, and clients that want all of it.
const (
	manyAgents    = 1000
	manyEndpoints = 3
)

func manyServices() (services []mesh.Service) {
	for i := range manyAgents {
		s := mesh.Service{Agent: fmt.Sprintf("agent://acme/prod/a%d", i)}
		for k := range manyEndpoints {
			s.Endpoints = append(s.Endpoints, outbound.Endpoint{Address: fmt.Sprintf("10.%d.%d.%d:7401", k, i/250, i%250+1), Zone: string(rune('a' + k))})
		}
		services = append(services, s)
	}
	return services
}

// crowd are clients that have all endpoints and clusters, and count.
type crowd struct {
	synced, changed sync.WaitGroup
	ended           sync.WaitGroup
	stop            context.CancelFunc
	mu              sync.Mutex
	bytes           int
	failed          error
}

func (w *crowd) join(address string, n int) error {
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	w.synced.Add(n)
	w.changed.Add(n)
	for i := range n {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		w.ended.Go(func() {
			defer conn.Close()
			if err := w.follow(ctx, conn, fmt.Sprint("client-", i)); err != nil && ctx.Err() == nil {
				w.mu.Lock()
				w.failed = err
				w.mu.Unlock()
				cancel()
			}
		})
	}
	return nil
}

func (w *crowd) follow(ctx context.Context, conn *grpc.ClientConn, id string) error {
	var synced, changed sync.Once
	defer synced.Do(w.synced.Done) // nobody waits for one that failed
	defer changed.Do(w.changed.Done)
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return err
	}
	for _, typeURL := range []string{mesh.TypeCluster, mesh.TypeEndpoints} {
		if err := stream.Send(&discovery.DeltaDiscoveryRequest{Node: &core.Node{Id: id}, TypeUrl: typeURL, ResourceNamesSubscribe: []string{"*"}}); err != nil {
			return err
		}
	}
	for resources := 0; ; {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := stream.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce()}); err != nil {
			return err
		}
		if resources >= 2*manyAgents {
			w.mu.Lock()
			w.bytes += proto.Size(r)
			w.mu.Unlock()
			changed.Do(w.changed.Done)
		}
		resources += len(r.GetResources())
		if resources >= 2*manyAgents {
			synced.Do(w.synced.Done)
		}
	}
}

func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// TestScale runs when SCALE_CLIENTS says how many clients there are. They live in
// this process, and decoding 2,000 resources for each is most of the work: 50 take
// some seconds, 300 a minute on a busy machine.
func TestScale(t *testing.T) {
	manyClients, err := strconv.Atoi(os.Getenv("SCALE_CLIENTS"))
	if err != nil {
		t.Skip("set SCALE_CLIENTS to a number, without -race")
	}
	services := manyServices()
	source := newScripted("s", says(services...))
	before := heap()
	began := time.Now()
	plane := start(t, nil, source)
	built := time.Since(began)
	served := heap() - before

	var clients crowd
	began = time.Now()
	if err := clients.join(plane.info.XDS, manyClients); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { clients.stop(); clients.ended.Wait() })
	clients.synced.Wait()
	first := time.Since(began)
	all := heap() - before

	services = append([]mesh.Service(nil), services...)
	services[7].Endpoints = append([]outbound.Endpoint{{Address: "10.9.9.9:7401", Zone: "a"}}, services[7].Endpoints...)
	began = time.Now()
	source.updates <- says(services...)
	clients.changed.Wait()
	change := time.Since(began)
	clients.mu.Lock()
	defer clients.mu.Unlock()
	if clients.failed != nil {
		t.Fatal(clients.failed)
	}
	fmt.Printf("figure: control plane, %d agents x %d endpoints built in %d ms, %.0f MiB; %d clients have all after %.1f s, %.0f MiB with them; one change reaches all in %d ms, %d bytes each\n",
		manyAgents, manyEndpoints, built.Milliseconds(), served, manyClients, first.Seconds(), all, change.Milliseconds(), clients.bytes/manyClients)
	if each := clients.bytes / manyClients; each > 4<<10 {
		t.Errorf("one endpoint more costs %d bytes for each client: more than its agent was sent", each)
	}
}
