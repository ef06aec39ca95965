package controlplane_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pannier/proxy/controlplane"
	"pannier/proxy/mesh"
)

// Requests beyond what is read at once wait their time; a stream that ends waits no
// longer.
func TestPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		slowed := 0
		take := controlplane.NewPace(ctx, func() { slowed++ })
		began := time.Now()
		many := func(n, each int) {
			for range n {
				if err := take(each); err != nil {
					t.Fatal(err)
				}
			}
		}
		many(1000, 1)
		if time.Since(began) != 0 || slowed != 0 {
			t.Errorf("the first 1,000 took %s, and %d of them waited", time.Since(began), slowed)
		}
		many(200, 1)
		if got := time.Since(began).Round(10 * time.Millisecond); got != time.Second || slowed != 200 {
			t.Errorf("200 more took %s, and %d of them waited, want a second and all", got, slowed)
		}
		many(1, 1<<20) // counts as all there can be
		if got := time.Since(began).Round(10 * time.Millisecond); got != 6*time.Second {
			t.Errorf("one as long as can be came after %s, want 6s", got)
		}
		go func() { time.Sleep(time.Second); cancel() }()
		if err := take(1000); status.Code(err) != codes.ResourceExhausted || time.Since(began).Round(10*time.Millisecond) != 7*time.Second {
			t.Errorf("%v after %s, want an error when its stream has ended", err, time.Since(began))
		}
	})
}

// A client that sends too much is shown to be slowed.
func TestSlowed(t *testing.T) {
	t.Parallel()
	plane := start(t, func(o *controlplane.Options) { o.MaxRequests(1, 2) }, newScripted("s", says(at(billing, "10.0.0.1:7401"))))
	c := plane.connect(&core.Node{Id: "hasty"})
	sent := 0
	eventually(t, "it is slowed", func() bool {
		c.subscribe(mesh.TypeEndpoints, nil, fmt.Sprint("name-", sent))
		sent++
		return plane.node("hasty").Slowed
	})
	quiet := plane.connect(&core.Node{Id: "quiet"})
	quiet.subscribe(mesh.TypeEndpoints, nil, mesh.Key(billing))
	quiet.next() // is not held up by it
	if plane.node("quiet").Slowed {
		t.Error("who sends little is slowed")
	}
}

// asked counts how often it is judged whether an agent may be announced.
type asked struct{ times atomic.Int64 }

func (a *asked) String() string { return "one" }

func (a *asked) SpeaksFor(agent string) error {
	a.times.Add(1)
	if agent == orders {
		return errors.New("not yours")
	}
	return nil
}

// A node that says what it said before is no work, refused or not; one that says
// something else is, and one whose place another stream had taken.
func TestNodeSaidAgain(t *testing.T) {
	t.Parallel()
	who := &asked{}
	registration := controlplane.NewRegistration(slog.New(slog.NewTextHandler(t.Output(), nil)))
	registration.Grace = 1 // the smallest: gone at once
	registration.Identify = func(context.Context) (controlplane.Announcer, error) { return who, nil }
	plane := start(t, nil, registration)
	node := mesh.Node{Agents: []string{billing, orders}, Peer: "10.0.0.1:7401"}
	connect := func() *client {
		c := plane.connect(nil)
		c.subscribe(mesh.TypeRuntime, nil, "nothing")
		return c
	}
	say := func(c *client) { // and waits until it was heard
		t.Helper()
		c.send(&discovery.DeltaDiscoveryRequest{Node: sidecar("sidecar", node), TypeUrl: mesh.TypeRuntime, ResourceNamesUnsubscribe: []string{mesh.Runtime}})
		c.subscribe(mesh.TypeRuntime, nil, mesh.Runtime)
		c.next()
	}
	judged := func(want int64, when string) {
		t.Helper()
		if got := who.times.Swap(0); got != want {
			t.Errorf("%s: %d agents are judged, want %d", when, got, want)
		}
	}
	served := func(n int) func() bool {
		var answer struct{ Resources map[string]int }
		return func() bool { plane.get("/v1/admin/xds", &answer); return answer.Resources["listeners"] == n }
	}
	first := connect()
	say(first)
	judged(2, "at first")
	for range 5 {
		say(first)
	}
	judged(0, "said again")
	node.Draining = true
	say(first)
	judged(2, "it drains")
	second := connect()
	say(second)
	judged(2, "on a second stream")
	say(first)
	judged(2, "again on the first, in whose place the second is")
	second.close()
	eventually(t, "the second is gone", func() bool { return plane.streams() == 1 })
	say(first)
	judged(0, "again on the first, which has its place back")
	eventually(t, "it is served", served(1))
}
