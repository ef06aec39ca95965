package xds_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/anypb"

	"pannier/proxy/mesh"
	"pannier/proxy/xds"
)

// TestMisbehavingServer does to a client that knows where billing is what no
// server should. In no row does that place change but where the row says so, and
// after each the same client, on this stream or the next, takes what is right.
func TestMisbehavingServer(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		do   func(t *testing.T, w *world, s *play)
		want string // billing's place after it; empty: as before
	}{
		{"a nonce twice, and none", func(_ *testing.T, _ *world, s *play) {
			for _, nonce := range []string{"x", "x", ""} {
				s.Send(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: mesh.TypeEndpoints, Nonce: nonce, Resources: []*discoveryv3.Resource{load(key, "e"+nonce, "10.0.0.7")}})
			}
		}, ""},
		{"an Any of another type", func(t *testing.T, _ *world, s *play) {
			one := cluster(key, "c2")
			one.Resource = load(key, "e1", "10.6.6.6").Resource
			refused(t, s.ack(mesh.TypeCluster, one), key+": it is a type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment")
		}, ""},
		{"an Any that is not protobuf", func(t *testing.T, _ *world, s *play) {
			one := cluster(key, "c2")
			one.Resource = &anypb.Any{TypeUrl: mesh.TypeCluster, Value: []byte("\xff\xff\xff")}
			refused(t, s.ack(mesh.TypeCluster, one), key+": not a ")
		}, ""},
		{"no resource", func(t *testing.T, _ *world, s *play) {
			refused(t, s.ack(mesh.TypeCluster, &discoveryv3.Resource{Name: key, Version: "c2"}), key+": there is no resource in it")
		}, ""},
		{"a name that is not its own", func(t *testing.T, _ *world, s *play) {
			one := cluster("other", "c2")
			one.Name = key
			refused(t, s.ack(mesh.TypeCluster, one), key+`: its own name is "other"`)
		}, ""},
		{"one name twice", func(t *testing.T, _ *world, s *play) {
			refused(t, s.ack(mesh.TypeEndpoints, load(key, "e2", "10.0.0.7"), load(key, "e3", "10.6.6.6")), key+": it is in the response twice")
		}, ""},
		{"a type nobody asked for", func(t *testing.T, w *world, s *play) {
			s.requested()
			s.send("type.googleapis.com/envoy.config.listener.v3.Listener", &discoveryv3.Resource{Name: key})
			if got := s.requested(); len(got) != 0 {
				t.Errorf("answered with %v: the first request of a type asks for everything", got)
			}
			if n := w.c.Status(false).Servers[0].Unexpected; n != 1 {
				t.Errorf("%d are counted", n)
			}
		}, ""},
		{"names nobody asked for", func(t *testing.T, w *world, s *play) {
			if r := s.ack(mesh.TypeCluster, cluster("other", "c1"), badCluster("third", "c1"), "fourth"); r.GetErrorDetail() != nil {
				t.Errorf("refused: %v", r.GetErrorDetail())
			}
			if got := w.state("cluster", "other"); got.State != "not there" {
				t.Errorf("it is kept: %+v", got)
			}
		}, ""},
		{"everything removed", func(_ *testing.T, _ *world, s *play) {
			for _, url := range []string{mesh.TypeEndpoints, mesh.TypeCluster, mesh.TypeRoute} {
				s.ack(url, key)
			}
		}, ""},
		{"an error for a resource", func(t *testing.T, w *world, s *play) {
			s.requested()
			s.sendRaw(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: mesh.TypeCluster, ResourceErrors: []*discoveryv3.ResourceError{{
				ResourceName: &discoveryv3.ResourceName{Name: key}, ErrorDetail: &status.Status{Code: int32(codes.PermissionDenied), Message: "not yours"},
			}}})
			s.requested()
			if got := w.state("cluster", key); got.State != xds.ReceivedError || got.Error != "the control plane: not yours" || got.Version != "c1" {
				t.Errorf("the status is %+v", got)
			}
		}, ""},
		{"errors for what nobody asked for, and for nothing", func(t *testing.T, w *world, s *play) {
			s.requested()
			s.sendRaw(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: mesh.TypeCluster, ResourceErrors: []*discoveryv3.ResourceError{
				{ResourceName: &discoveryv3.ResourceName{Name: "other"}, ErrorDetail: &status.Status{Code: int32(codes.NotFound)}}, {}, nil,
			}})
			s.requested()
			if got := w.state("cluster", key); got.State != xds.Acked || len(w.c.Status(false).Resources) != 4 {
				t.Errorf("the status is %+v of %+v", got, w.c.Status(false).Resources)
			}
		}, ""},
		{"an error that says there is none", func(t *testing.T, w *world, s *play) {
			s.requested()
			s.sendRaw(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: mesh.TypeCluster, ResourceErrors: []*discoveryv3.ResourceError{{
				ResourceName: &discoveryv3.ResourceName{Name: key}, ErrorDetail: &status.Status{Code: int32(codes.NotFound), Message: strings.Repeat("no", 1<<20)},
			}}})
			s.requested()
			if got := w.state("cluster", key); got.State != xds.DoesNotExist || got.Deleted == nil || got.Error != "" {
				t.Errorf("the status is %+v", got)
			}
		}, ""},
		{"4 MB in one response", func(t *testing.T, _ *world, s *play) {
			one := load(key, strings.Repeat("v", 4<<20), "10.0.0.9")
			if r := s.ack(mesh.TypeEndpoints, one); r.GetErrorDetail() != nil {
				t.Errorf("refused: %v", r.GetErrorDetail())
			}
		}, "10.0.0.9"},
		{"17 MB in one response", func(t *testing.T, w *world, s *play) {
			s.requested()
			s.send(mesh.TypeEndpoints, load(key, strings.Repeat("v", 17<<20), "10.6.6.6"))
			s.gone()
			synctest.Wait()
			if got := w.c.Status(false).Servers[0].LastError; !strings.Contains(got, "larger than max") {
				t.Errorf("the server's error is %q", got)
			}
		}, ""},
		{"flapping", func(_ *testing.T, w *world, s *play) {
			for i := range 200 {
				s.send(mesh.TypeEndpoints, load(key, strings.Repeat("e", i+2), "10.0.0.8"))
				s.send(mesh.TypeEndpoints, load(key, strings.Repeat("f", i+2), "10.0.0.7"))
			}
			time.Sleep(time.Second)
		}, ""},
		{"a stream that ends at once, again and again", func(_ *testing.T, w *world, s *play) {
			for i := range 20 {
				s.end <- []error{nil, errors.New("no")}[i%2]
				s = w.plane[first].accept()
			}
			s.end <- nil
		}, ""},
		{"a response before any request", func(_ *testing.T, w *world, s *play) {
			s.end <- nil
			s = w.plane[first].accept()
			s.send(mesh.TypeEndpoints, key)
			s.send(mesh.TypeCluster, badCluster(key, "c9"))
		}, ""},
		{"a very long reason", func(t *testing.T, _ *world, s *play) {
			one := cluster(key, "c2")
			one.Resource.TypeUrl = strings.Repeat("x/", 5000)
			if r := s.ack(mesh.TypeCluster, one); len(r.GetErrorDetail().GetMessage()) > 1024 {
				t.Errorf("refused with %d bytes", len(r.GetErrorDetail().GetMessage()))
			}
		}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				p, s := w.synced("10.0.0.7")
				row.do(t, w, s)
				want := row.want
				if want == "" {
					want = "10.0.0.7"
				}
				w.sees(billing, want)
				// It recovers, on this stream where there still is one.
				if s = p.last; s.Context().Err() != nil {
					s = p.accept()
				}
				s.whole("10.0.0.5")
				w.sees(billing, "10.0.0.5")
			})
		})
	}
}

func refused(t *testing.T, r *discoveryv3.DeltaDiscoveryRequest, want string) {
	t.Helper()
	if got := r.GetErrorDetail().GetMessage(); !strings.HasPrefix(got, want) {
		t.Errorf("refused with %q, want %q", got, want)
	}
}
