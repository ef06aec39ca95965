package controlplane_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/xds"

	"pannier/outbound"
	"pannier/proxy/controlplane"
	"pannier/proxy/mesh"
)

// backend is a gRPC server that anybody may ask for its health.
func backend(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return l.Addr().String()
}

// dial resolves an agent as any gRPC client does that was told of a control plane.
func (r *running) dial(t testing.TB, agent string) healthpb.HealthClient {
	t.Helper()
	return r.dialOver(t, agent, `{"type": "insecure"}`)
}

// dialOver is dial with the credentials of gRPC's bootstrap for the control plane.
func (r *running) dialOver(t testing.TB, agent, creds string) healthpb.HealthClient {
	t.Helper()
	bootstrap := fmt.Sprintf(`{"xds_servers": [{"server_uri": %q, "channel_creds": [%s], "server_features": ["xds_v3"]}], "node": {"id": %q}}`, r.info.XDS, creds, t.Name())
	resolver, err := xds.NewXDSResolverWithConfigForTesting([]byte(bootstrap))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("xds:///"+mesh.Key(agent), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithResolvers(resolver))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return healthpb.NewHealthClient(conn)
}

// reaches asks until exactly the wanted backends have answered of the last many.
func reaches(t *testing.T, client healthpb.HealthClient, want ...string) {
	t.Helper()
	wanted := strings.Join(want, " ")
	var found map[string]bool
	eventually(t, "calls go to "+wanted, func() bool {
		found = map[string]bool{}
		for range 20 * len(want) {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			var from peer.Peer
			_, err := client.Check(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true), grpc.Peer(&from))
			cancel()
			if status.Code(err) == codes.Unavailable {
				return false // its balancer learns of a new cluster a moment after its router
			}
			if err != nil {
				t.Fatalf("call, to reach %s: %v", wanted, err)
			}
			found[from.Addr.String()] = true
		}
		if len(found) != len(want) {
			return false
		}
		for _, w := range want {
			if !found[w] {
				return false
			}
		}
		return true
	})
}

// gRPC's own xDS client, which nobody here wrote, takes all we say: it resolves,
// spreads, follows a change, leaves out what drains, and refuses nothing.
func TestGRPCGo(t *testing.T) {
	t.Parallel()
	a, b, c := backend(t), backend(t), backend(t)
	full := rich(a, b)
	source := newScripted("s", says(full))
	plane := start(t, func(o *controlplane.Options) { o.Security = nil }, source)
	client := plane.dial(t, billing)
	reaches(t, client, a, b)

	moved := rich(b, c)
	moved.Endpoints[0].Zone, moved.Endpoints[1].Zone = "one", "two"
	source.updates <- says(moved)
	reaches(t, client, b, c)

	draining := rich(b, c)
	draining.Endpoints[0].Health = outbound.Draining
	source.updates <- says(draining)
	reaches(t, client, c)

	split := rich(a, b, c)
	split.Endpoints[0].Subset, split.Endpoints[1].Subset, split.Endpoints[2].Subset = "canary", "stable", "stable"
	split.Policy.Split = []outbound.Share{{Subset: "canary", Weight: 100}, {Subset: "stable", Weight: 0}}
	source.updates <- says(split)
	reaches(t, client, a)
	split.Policy.Split = []outbound.Share{{Subset: "canary", Weight: 50}, {Subset: "stable", Weight: 50}}
	source.updates <- says(split)
	reaches(t, client, a, b, c)

	aborting := rich(a)
	aborting.Policy.Fault = outbound.Fault{AbortPercent: 100}
	source.updates <- says(aborting)
	eventually(t, "the fault is injected", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_, err := client.Check(ctx, &healthpb.HealthCheckRequest{})
		return status.Code(err) == codes.Unavailable && strings.Contains(err.Error(), "fault")
	})

	plane.tookAll(t, mesh.TypeListener, mesh.TypeRoute, mesh.TypeCluster, mesh.TypeEndpoints)
}

// rich is billing with something in every field of its policy but the fault.
func rich(addresses ...string) mesh.Service {
	s := at(billing, addresses...)
	s.Policy = outbound.Policy{
		MaxRequests: 50, PerTryTimeout: 20 * time.Second, Backoff: outbound.Backoff{Base: 10 * time.Millisecond, Max: time.Second},
		Breaker: outbound.BreakerPolicy{Consecutive: 5, Interval: time.Second, BaseEjection: time.Second, MaxEjection: time.Minute, MaxEjectionPercent: 50},
	}
	return s
}

// tookAll holds the one client to have acked what it was sent of these types.
func (r *running) tookAll(t *testing.T, types ...string) {
	t.Helper()
	var answer struct {
		Nodes []controlplane.NodeStatus
		Nacks []controlplane.Nack
	}
	r.get("/v1/admin/xds", &answer)
	if len(answer.Nacks) != 0 {
		t.Errorf("refused: %+v", answer.Nacks)
	}
	acked := map[string]int{}
	for _, n := range answer.Nodes {
		for typeURL, x := range n.Types {
			acked[typeURL] += x.Acked
		}
	}
	for _, typeURL := range types {
		if acked[typeURL] == 0 {
			t.Errorf("nothing of %s was acked: %+v", typeURL, answer.Nodes)
		}
	}
}
