package xds_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statusv3 "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"pannier/proxy/mesh"
	"pannier/proxy/xds"
)

// tool is a client of CSDS, as grpcdebug is one. It asks as it would the admin
// listener: HTTP/2 without TLS, on a server that speaks HTTP/1.1 too.
func tool(t *testing.T, c *xds.Client) (ask statusv3.ClientStatusDiscoveryServiceClient, stop func()) {
	t.Helper()
	service := xds.NewStatusServer(c)
	l, h := bufconn.Listen(1<<20), &http.Server{Handler: service, Protocols: new(http.Protocols)}
	h.Protocols.SetHTTP1(true)
	h.Protocols.SetUnencryptedHTTP2(true)
	go h.Serve(l)
	conn, err := grpc.NewClient("passthrough:///tool", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		service.Stop()
		h.Close()
	})
	return statusv3.NewClientStatusDiscoveryServiceClient(conn), service.Stop
}

// fetched are the resources in an answer, by the last word of the type and the name.
func fetched(t *testing.T, a *statusv3.ClientStatusResponse) map[string]*statusv3.ClientConfig_GenericXdsConfig {
	t.Helper()
	if len(a.GetConfig()) != 1 {
		t.Fatalf("%d clients, want one", len(a.GetConfig()))
	}
	all := map[string]*statusv3.ClientConfig_GenericXdsConfig{}
	for _, one := range a.GetConfig()[0].GetGenericXdsConfigs() {
		all[one.GetTypeUrl()[strings.LastIndexByte(one.GetTypeUrl(), '.')+1:]+" "+one.GetName()] = one
	}
	return all
}

// Each state a resource can be in, with what goes with it.
func TestClientStatus(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.up(first)
		w.start()
		orders := "orders2.prod.acme"
		w.c.Endpoints(billing)
		w.c.Endpoints("agent://acme/prod/orders2")
		s := p.accept()
		s.whole("10.0.0.7")
		began := time.Now()
		s.ack(mesh.TypeRoute, key)
		s.sendRaw(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: mesh.TypeEndpoints, ResourceErrors: []*discoveryv3.ResourceError{{
			ResourceName: &discoveryv3.ResourceName{Name: key}, ErrorDetail: &rpcstatus.Status{Code: int32(codes.Unavailable), Message: "not now"},
		}}})
		s.requested()
		time.Sleep(time.Second)
		nacked := time.Now()
		s.ack(mesh.TypeCluster, badCluster(key, "c2"), cluster(orders, "c3"))
		ask, _ := tool(t, w.c)
		a, err := ask.FetchClientStatus(t.Context(), &statusv3.ClientStatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := a.GetConfig()[0].GetNode(), xds.Node(w.node, "", ""); !proto.Equal(got, want) {
			t.Errorf("the node is %v, want %v", got, want)
		}
		all := fetched(t, a)
		for _, row := range []struct {
			name    string
			state   adminv3.ClientResourceStatus
			version string
			failed  string // version, and a part of the error
			because string
		}{
			{"Cluster " + orders, adminv3.ClientResourceStatus_ACKED, "c3", "", ""},
			{"Cluster " + key, adminv3.ClientResourceStatus_NACKED, "c1", "c2", "ConnectTimeout: value must be greater than 0s"},
			{"ClusterLoadAssignment " + key, adminv3.ClientResourceStatus_RECEIVED_ERROR, "e1", "", "the control plane: not now"},
			{"ClusterLoadAssignment " + orders, adminv3.ClientResourceStatus_REQUESTED, "", "", ""},
			{"RouteConfiguration " + key, adminv3.ClientResourceStatus_DOES_NOT_EXIST, "r1", "", ""}, // in use for the grace
			{"RouteConfiguration " + orders, adminv3.ClientResourceStatus_REQUESTED, "", "", ""},
			{"Runtime " + mesh.Runtime, adminv3.ClientResourceStatus_REQUESTED, "", "", ""},
		} {
			got := all[row.name]
			delete(all, row.name)
			if got.GetClientStatus() != row.state || got.GetVersionInfo() != row.version {
				t.Errorf("%s is %v in version %q, want %v in %q", row.name, got.GetClientStatus(), got.GetVersionInfo(), row.state, row.version)
			}
			e := got.GetErrorState()
			if !strings.Contains(e.GetDetails(), row.because) || (e == nil) != (row.because == "") || e.GetVersionInfo() != row.failed {
				t.Errorf("%s has the error %v, want %q of version %q", row.name, e, row.because, row.failed)
			}
			if inForce := row.version != ""; inForce != (got.GetXdsConfig() != nil) || inForce != (got.GetLastUpdated() != nil) {
				t.Errorf("%s is shown with %v of %v", row.name, got.GetXdsConfig(), got.GetLastUpdated())
			}
		}
		if len(all) > 0 {
			t.Errorf("and there is %v", all)
		}
		counts := w.c.Figures().Resources
		for of, want := range map[xds.Counted]int{
			{Type: "cluster", State: "acked"}: 1, {Type: "cluster", State: "nacked_but_cached"}: 1, {Type: "cluster", State: "nacked"}: 0,
			{Type: "endpoints", State: "received_error_but_cached"}: 1, {Type: "endpoints", State: "requested"}: 1,
			{Type: "route", State: "does_not_exist_but_cached"}: 1, {Type: "route", State: "requested"}: 1, {Type: "runtime", State: "requested"}: 1,
		} {
			if got, there := counts[of]; got != want || !there {
				t.Errorf("%d are counted as %v, want %d", got, of, want)
			}
		}
		at := fetched(t, a)["Cluster "+key]
		if got := at.GetErrorState().GetLastUpdateAttempt().AsTime(); got.Before(nacked) {
			t.Errorf("it was refused at %s, not before %s", got, nacked)
		}
		if got := at.GetLastUpdated().AsTime(); got.After(began) {
			t.Errorf("what is in force is of %s, not after %s", got, began)
		}
		if m, err := at.GetXdsConfig().UnmarshalNew(); err != nil || !proto.Equal(m, unwrapped(t, cluster(key, "c1"))) {
			t.Errorf("what is in force is %v (%v), want the last good", m, err)
		}

		// Without the resources themselves, and with a question that is not for one client.
		a, err = ask.FetchClientStatus(t.Context(), &statusv3.ClientStatusRequest{ExcludeResourceContents: true})
		if got := fetched(t, a)["Cluster "+key]; err != nil || got.GetXdsConfig() != nil || got.GetVersionInfo() != "c1" {
			t.Errorf("without contents it is %v (%v)", got, err)
		}
		_, err = ask.FetchClientStatus(t.Context(), &statusv3.ClientStatusRequest{NodeMatchers: []*matcherv3.NodeMatcher{{}}})
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("matchers: %v", err)
		}

		// A server that went away makes nothing of it less acknowledged.
		w.down(first)
		synctest.Wait()
		a, err = ask.FetchClientStatus(t.Context(), &statusv3.ClientStatusRequest{})
		if got := fetched(t, a)["Cluster "+orders]; err != nil || got.GetClientStatus() != adminv3.ClientResourceStatus_ACKED {
			t.Errorf("without a server it is %v (%v)", got, err)
		}
	})
}

// What an answer may hold is bounded, and so is who may wait for one.
func TestClientStatusIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.up(first)
		w.start()
		w.c.Endpoints(billing)
		w.c.Endpoints("agent://acme/prod/orders2")
		s := p.accept()
		ask, _ := tool(t, w.c)
		for _, name := range []string{key, "orders2.prod.acme"} {
			large := &clusterv3.Cluster{Name: name, ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}, AltStatName: strings.Repeat("x", 9<<20)}
			if r := s.ack(mesh.TypeCluster, wrap(name, "c1", large)); r.GetErrorDetail() != nil {
				t.Fatalf("refused: %v", r.GetErrorDetail())
			}
		}
		if _, err := ask.FetchClientStatus(t.Context(), &statusv3.ClientStatusRequest{}); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "exclude_resource_contents") {
			t.Errorf("18 MB: %v", err)
		}
		without := &statusv3.ClientStatusRequest{ExcludeResourceContents: true}
		if a, err := ask.FetchClientStatus(t.Context(), without); err != nil || fetched(t, a)["Cluster "+key].GetVersionInfo() != "c1" {
			t.Errorf("without contents it is %v (%v)", a, err)
		}

		ctx, hangUp := context.WithCancel(t.Context())
		for range 4 {
			stream, err := ask.StreamClientStatus(ctx)
			if err == nil {
				err = stream.Send(without)
			}
			if err == nil {
				_, err = stream.Recv()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := ask.FetchClientStatus(t.Context(), without); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "4 others") {
			t.Errorf("beside four streams: %v", err)
		}
		hangUp()
		synctest.Wait()
		if _, err := ask.FetchClientStatus(t.Context(), without); err != nil {
			t.Errorf("after them: %v", err)
		}
	})
}

// A stream has an answer for each question, and ends with the service.
func TestClientStatusStream(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.up(first)
		w.start()
		w.c.Endpoints(billing)
		s := p.accept()
		ask, stop := tool(t, w.c)
		stream, err := ask.StreamClientStatus(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []adminv3.ClientResourceStatus{adminv3.ClientResourceStatus_REQUESTED, adminv3.ClientResourceStatus_ACKED} {
			if err := stream.Send(&statusv3.ClientStatusRequest{}); err != nil {
				t.Fatal(err)
			}
			a, err := stream.Recv()
			if got := fetched(t, a)["Cluster "+key]; err != nil || got.GetClientStatus() != want {
				t.Errorf("it is %v (%v), want %v", got, err, want)
			}
			s.whole("10.0.0.7")
		}
		stop()
		if _, err := stream.Recv(); err == nil {
			t.Error("the stream goes on")
		}
	})
}

// A sidecar that asks no control plane is no client of one.
func TestClientStatusOfNone(t *testing.T) {
	t.Parallel()
	ask, _ := tool(t, nil)
	if a, err := ask.FetchClientStatus(t.Context(), &statusv3.ClientStatusRequest{}); err != nil || len(a.GetConfig()) > 0 {
		t.Errorf("it is %v (%v)", a, err)
	}
}

func unwrapped(t *testing.T, r *discoveryv3.Resource) proto.Message {
	t.Helper()
	m, err := r.GetResource().UnmarshalNew()
	if err != nil {
		t.Fatal(err)
	}
	return m
}
