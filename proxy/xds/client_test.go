package xds_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	runtimev3 "github.com/envoyproxy/go-control-plane/envoy/service/runtime/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"pannier/outbound"
	"pannier/proxy/mesh"
	"pannier/proxy/xds"
)

func TestFirstSync(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.up(first)
		w.start()
		w.sees(billing, "unknown")
		changed := w.c.Changed()
		s := p.accept()
		asked := s.requested()
		for _, url := range []string{mesh.TypeCluster, mesh.TypeEndpoints, mesh.TypeRoute} {
			if r := asked[url]; len(r) != 1 || !slices.Equal(r[0].GetResourceNamesSubscribe(), []string{key}) {
				t.Errorf("%s was asked for with %v, want one request for %s", url, r, key)
			}
		}
		s.ack(mesh.TypeCluster, cluster(key, "c1"))
		s.ack(mesh.TypeEndpoints, load(key, "e1", "10.0.0.7", "10.0.0.8"))
		w.sees(billing, "unknown") // its policy is still to come
		if r := s.ack(mesh.TypeRoute, route(key, "r1", key)); r.GetErrorDetail() != nil {
			t.Errorf("refused: %v", r.GetErrorDetail())
		}
		w.sees(billing, "10.0.0.7 10.0.0.8")
		select {
		case <-changed:
		default:
			t.Error("nobody was told")
		}
		if got := w.state("cluster", key); got.State != xds.Acked || got.Version != "c1" {
			t.Errorf("the cluster is %+v, want ACKED in version c1", got)
		}
	})
}

// The node is sent with the first request of a stream, and only there.
func TestNode(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.opt.Zone, w.opt.Version = "eu-1a", "v1.2"
		p := w.up(first)
		w.start()
		w.c.Endpoints(billing)
		s := p.accept()
		n := s.next().GetNode()
		told, _ := mesh.ReadNode(n.GetMetadata())
		if !told.Equal(w.node) || n.GetLocality().GetZone() != "eu-1a" || n.GetUserAgentName() != "pannier" || n.GetUserAgentVersion() != "v1.2" ||
			n.GetId() != "sidecar~10.0.0.1~0193.pannier~pannier" || n.GetCluster() != "orders.prod.acme" {
			t.Errorf("the node is %v", n)
		}
		for _, all := range s.requested() {
			for _, r := range all {
				if r.GetNode() != nil {
					t.Error("a node in a later request")
				}
			}
		}
	})
}

// What changes about this sidecar is heard within a second, also twice in a row,
// and costs nothing that is known already.
func TestAnnounce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p, s := w.synced("10.0.0.7")
		for _, draining := range []bool{true, false} {
			began := time.Now()
			n := w.node
			n.Draining = draining
			w.c.Announce(n)
			s.gone()
			s = p.accept()
			r := s.next()
			if told, _ := mesh.ReadNode(r.GetNode().GetMetadata()); told.Draining != draining {
				t.Errorf("the new stream says %+v", told)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("heard after %s", took)
			}
			if got := r.GetInitialResourceVersions()[key]; got != "c1" {
				t.Errorf("the new stream knows version %q of the cluster, want c1", got)
			}
			s.greet()
		}
		w.c.Announce(w.node) // as it was
		p.none(time.Minute)
	})
}

// A bad resource is refused by name, its last good value stays, the good ones of
// the response are in force, and a good version mends it on the same stream.
func TestNackIsPerResource(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.up(first)
		w.start()
		orders := "agent://acme/prod/orders2"
		w.c.Endpoints(billing)
		w.c.Endpoints(orders)
		s := p.accept()
		s.whole("10.0.0.7")
		s.ack(mesh.TypeRoute, "orders2.prod.acme")
		s.ack(mesh.TypeEndpoints, load("orders2.prod.acme", "e1", "10.0.0.9"))
		r := s.ack(mesh.TypeCluster, badCluster(key, "c2"), cluster("orders2.prod.acme", "c2"))
		if detail := r.GetErrorDetail().GetMessage(); !strings.HasPrefix(detail, key+": invalid Cluster.ConnectTimeout: value must be greater than 0s") {
			t.Errorf("refused with %q", detail)
		}
		w.sees(billing, "10.0.0.7")
		w.sees(orders, "10.0.0.9")
		got := w.state("cluster", key)
		if got.State != xds.Nacked || got.Version != "c1" || got.Refused != "c2" || !strings.Contains(got.Error, "ConnectTimeout") || got.Resource == nil {
			t.Errorf("the status is %+v", got)
		}
		if r := s.ack(mesh.TypeCluster, cluster(key, "c3")); r.GetErrorDetail() != nil {
			t.Errorf("the mended one is refused: %v", r.GetErrorDetail())
		}
		if got := w.state("cluster", key); got.State != xds.Acked || got.Version != "c3" || got.Error != "" {
			t.Errorf("the status is %+v after it was mended", got)
		}
		if n := w.c.Status(false).Servers[0].Nacks; n != 1 {
			t.Errorf("%d NACKs are counted, want 1", n)
		}
	})
}

func TestDoesNotExist(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.up(first)
		w.start()
		w.c.Endpoints(billing)
		s := p.accept()
		time.Sleep(20 * time.Second)
		w.sees(billing, "unknown") // a server that says nothing at all is no authority
		s.greet()
		time.Sleep(14 * time.Second)
		w.sees(billing, "unknown")
		time.Sleep(2 * time.Second)
		w.sees(billing, "nowhere")
		if got := w.state("cluster", key); got.State != xds.DoesNotExist {
			t.Errorf("the status is %+v", got)
		}
		s.whole("10.0.0.7")
		w.sees(billing, "10.0.0.7")
	})
}

// How long that takes can be said.
func TestDoesNotExistSooner(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.opt.NotFoundAfter = time.Second
		p := w.up(first)
		w.start()
		w.c.Endpoints(billing)
		p.accept().greet()
		w.sees(billing, "unknown")
		time.Sleep(1100 * time.Millisecond)
		w.sees(billing, "nowhere")
	})
}

// A server that says at once that it has none is believed at once.
func TestSaidNotToExist(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.up(first)
		w.start()
		w.c.Endpoints(billing)
		s := p.accept()
		s.ack(mesh.TypeRoute, key)
		s.ack(mesh.TypeCluster, key)
		w.sees(billing, "nowhere")
	})
}

func TestEmptySetIsObeyed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		_, s := w.synced("10.0.0.7")
		s.ack(mesh.TypeEndpoints, load(key, "e2"))
		w.sees(billing, "nowhere")
	})
}

// A server that goes away takes nothing along, however long it stays away.
func TestServerGoneChangesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.up(first)
		w.start()
		w.c.Endpoints(billing)
		p.accept().whole("10.0.0.7")
		w.down(first)
		for range 12 {
			time.Sleep(30 * time.Minute)
			w.sees(billing, "10.0.0.7")
		}
		if got := w.state("endpoints", key); got.State != xds.Stale {
			t.Errorf("the status is %+v, want STALE", got)
		}
	})
}

func TestDeletionHasAGrace(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		_, s := w.synced("10.0.0.7")
		s.ack(mesh.TypeEndpoints, key)
		s.ack(mesh.TypeCluster, key)
		s.ack(mesh.TypeRoute, key)
		time.Sleep(9 * time.Minute)
		w.sees(billing, "10.0.0.7")
		if got := w.state("cluster", key); got.State != xds.DoesNotExist || got.Deleted == nil || got.Resource == nil {
			t.Errorf("the status is %+v", got)
		}
		if n := w.log.count("the control plane deleted what is in use"); n != 3 {
			t.Errorf("%d lines in the log, want one for each", n)
		}
		s.ack(mesh.TypeEndpoints, key) // again: the clock does not start anew
		s.ack(mesh.TypeCluster, key)
		time.Sleep(2 * time.Minute)
		w.sees(billing, "nowhere")
		s.whole("10.0.0.8")
		w.sees(billing, "10.0.0.8")
	})
}

func TestDeletionTakenBack(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		_, s := w.synced("10.0.0.7")
		s.ack(mesh.TypeEndpoints, key)
		time.Sleep(9 * time.Minute)
		s.ack(mesh.TypeEndpoints, load(key, "e1", "10.0.0.7"))
		time.Sleep(9 * time.Minute)
		w.sees(billing, "10.0.0.7")
	})
}

// With FailOnDataErrors what is wrong with a resource ends its use at once, and what
// may pass does not. In use again it is with the next good one.
func TestFailOnDataErrors(t *testing.T) {
	t.Parallel()
	said := func(s *play, code codes.Code) {
		s.sendRaw(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: mesh.TypeCluster, ResourceErrors: []*discoveryv3.ResourceError{{
			ResourceName: &discoveryv3.ResourceName{Name: key}, ErrorDetail: &status.Status{Code: int32(code), Message: "no"},
		}}})
		s.requested()
	}
	for _, row := range []struct {
		name  string
		do    func(s *play)
		state string // of the cluster
		gone  bool
	}{
		{"deleted", func(s *play) { s.ack(mesh.TypeCluster, key) }, xds.DoesNotExist, true},
		{"said not to be there", func(s *play) { said(s, codes.NotFound) }, xds.DoesNotExist, true},
		{"said not to be for us", func(s *play) { said(s, codes.PermissionDenied) }, xds.ReceivedError, true},
		{"refused", func(s *play) { s.ack(mesh.TypeCluster, badCluster(key, "c2")) }, xds.Nacked, true},
		{"said not to be at hand", func(s *play) { said(s, codes.Unavailable) }, xds.ReceivedError, false},
		{"not heard of any more", func(s *play) { s.end <- nil }, xds.Stale, false},
	} {
		for _, on := range []bool{true, false} {
			t.Run(fmt.Sprint(row.name, " ", on), func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) {
					w.opt.FailOnDataErrors = on
					p, s := w.synced("10.0.0.7")
					s.ack(mesh.TypeRuntime, layer("1", map[string]any{mesh.SwitchOutbound: true}))
					row.do(s)
					place, version := "10.0.0.7", "c1"
					if on && row.gone {
						place, version = "nowhere", ""
					}
					w.sees(billing, place)
					if got := w.state("cluster", key); got.State != row.state || got.Version != version {
						t.Errorf("the status is %+v, want %s in version %q", got, row.state, version)
					}
					if s.Context().Err() != nil {
						s = p.accept()
					}
					s.ack(mesh.TypeRuntime, wrap(mesh.Runtime, "2", &runtimev3.Runtime{}))
					if !w.c.Policy(billing).Paused {
						t.Error("a layer that is refused has set off what was paused")
					}
					s.whole("10.0.0.8") // endpoints too: of no cluster there are none to ask for
					w.sees(billing, "10.0.0.8")
				})
			})
		}
	}
}

// A route is swapped in when its clusters are whole, or after 15 s.
func TestWarming(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		_, s := w.synced("10.0.0.7")
		s.ack(mesh.TypeRoute, route(key, "r2", "v2|"+key))
		w.sees(billing, "10.0.0.7")
		s.ack(mesh.TypeEndpoints, load(key, "e2", "10.0.0.8")) // what is in force goes on changing
		w.sees(billing, "10.0.0.8")
		s.ack(mesh.TypeCluster, cluster("v2|"+key, "c1"))
		w.sees(billing, "10.0.0.8")
		s.ack(mesh.TypeEndpoints, load("v2|"+key, "e1", "10.0.0.9"))
		w.sees(billing, "10.0.0.9")
		if got := w.state("cluster", key); got.State != "not there" {
			t.Errorf("the cluster of the route before is still subscribed to: %+v", got)
		}

		s.ack(mesh.TypeRoute, route(key, "r3", "v3|"+key))
		time.Sleep(14 * time.Second)
		w.sees(billing, "10.0.0.9")
		time.Sleep(2 * time.Second)
		w.sees(billing, "nowhere")
	})
}

// Many questions at once are one request.
func TestSubscriptionsAreGathered(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.up(first)
		w.start()
		s := p.accept()
		s.requested()
		for _, name := range []string{"a", "b", "c", "d"} {
			w.c.Endpoints("agent://acme/prod/" + name)
			time.Sleep(time.Millisecond)
		}
		for url, all := range s.requested() {
			if len(all) != 1 || len(all[0].GetResourceNamesSubscribe()) != 4 {
				t.Errorf("%s was asked for in %d requests: %v", url, len(all), all)
			}
		}
	})
}

// An agent nobody asks for is let go of after an hour; whoever watches the
// directory is woken before, and keeps it by asking.
func TestIdleIsUnsubscribed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.up(first)
		w.start()
		const kept = "agent://acme/prod/kept"
		w.c.Endpoints(billing)
		w.c.Endpoints(kept)
		s := p.accept()
		s.whole("10.0.0.7")
		stop := make(chan struct{})
		defer close(stop)
		go func() { // as the dispatcher
			for {
				changed := w.c.Changed()
				w.c.Endpoints(kept)
				select {
				case <-changed:
				case <-stop:
					return
				}
			}
		}()
		time.Sleep(30 * time.Minute)
		s.requested()
		time.Sleep(5 * time.Hour)
		asked := s.requested()
		for _, url := range []string{mesh.TypeCluster, mesh.TypeEndpoints, mesh.TypeRoute} {
			if all := asked[url]; len(all) != 1 || !slices.Equal(all[0].GetResourceNamesUnsubscribe(), []string{key}) {
				t.Errorf("%s: %v, want %s let go of, and nothing else", url, all, key)
			}
		}
		w.sees(billing, "unknown")
	})
}

func TestPause(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		_, s := w.synced("10.0.0.7")
		const other = "agent://acme/prod/other"
		for _, row := range []struct {
			on             map[string]any
			billing, other bool
		}{
			{map[string]any{mesh.SwitchOutbound: true}, true, true},
			{map[string]any{mesh.SwitchOutbound: false}, false, false},
			{map[string]any{mesh.SwitchDestinationPrefix + key + mesh.SwitchDestinationSuffix: true}, true, false},
			{map[string]any{}, false, false},
		} {
			changed := w.c.Changed()
			s.ack(mesh.TypeRuntime, layer("l", row.on))
			synctest.Wait()
			if b, o := w.c.Policy(billing).Paused, w.c.Policy(other).Paused; b != row.billing || o != row.other {
				t.Errorf("%v: billing paused %v, other %v", row.on, b, o)
			}
			select {
			case <-changed:
			default:
				t.Errorf("%v: nobody was told", row.on)
			}
		}
	})
}

// A layer that a server no longer has when it is asked again switches nothing for
// ever: after the grace of a deletion its pauses end.
func TestPauseEndsWithItsLayer(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p, s := w.synced("10.0.0.7")
		on := layer("l", map[string]any{mesh.SwitchOutbound: true})
		s.ack(mesh.TypeRuntime, on)
		paused := func(want bool, when string) {
			t.Helper()
			synctest.Wait()
			if got := w.c.Policy(billing).Paused; got != want {
				t.Errorf("%s: paused %v, want %v", when, got, want)
			}
		}
		again := func() *play {
			p.down()
			p = w.up(first)
			return p.accept()
		}
		s = again()
		s.greet()
		s.ack(mesh.TypeRuntime, on)
		time.Sleep(30 * time.Minute)
		paused(true, "the next server has the layer, too")

		s = again()
		s.greet()
		time.Sleep(9 * time.Minute)
		paused(true, "it may be a mistake")
		time.Sleep(2 * time.Minute)
		paused(false, "the server has no layer")
		s.ack(mesh.TypeRuntime, on)
		paused(true, "it has one again")
	})
}

// This sidecar is left out of what it dials; an agent that is also here is not
// elsewhere.
func TestHere(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.up(first)
		w.start()
		if elsewhere, known := w.c.Elsewhere(billing); elsewhere || known {
			t.Error("known before anybody said anything")
		}
		s := p.accept()
		s.whole("10.0.0.7", "10.0.0.1")
		w.sees(billing, "10.0.0.7")
		if elsewhere, known := w.c.Elsewhere(billing); elsewhere || !known {
			t.Errorf("an agent that is here too: elsewhere %v, known %v", elsewhere, known)
		}
		s.ack(mesh.TypeEndpoints, load(key, "e2", "10.0.0.7"))
		synctest.Wait()
		if elsewhere, known := w.c.Elsewhere(billing); !elsewhere || !known {
			t.Errorf("an agent that is not here: elsewhere %v, known %v", elsewhere, known)
		}
	})
}

var _ outbound.Directory = (*xds.Client)(nil)

// What the control plane says of the node, in the header of its stream, is for
// operators; what it says on a later stream takes its place.
func TestNotAnnounced(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.up(first)
		w.start()
		const text = "agent x is not announced: ü may not speak for it"
		s := p.accept()
		if err := s.SetHeader(metadata.Pairs(mesh.HeaderRefused, text)); err != nil {
			t.Fatal(err)
		}
		s.greet()
		if got := w.c.Status(false).Servers[0]; got.Refused != text || got.State != "connected" {
			t.Errorf("the status says %+v", got)
		}
		if n := w.log.count("does not announce this sidecar"); n != 1 {
			t.Errorf("%d lines of it in the log", n)
		}
		s.end <- nil
		p.accept().greet()
		if got := w.c.Status(false).Servers[0].Refused; got != "" {
			t.Errorf("announced, and the status says %q", got)
		}
	})
}
