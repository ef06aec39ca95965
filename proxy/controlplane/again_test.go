package controlplane_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"pannier/proxy/controlplane"
	"pannier/proxy/mesh"
)

// judge knows everybody by one name, or nobody.
type judge struct {
	mu      sync.Mutex
	away    error            // nobody can be known
	refused map[string]error // agents that nobody may announce
}

func (j *judge) now(away error, refused map[string]error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.away, j.refused = away, refused
}

func (j *judge) Identify(context.Context) (controlplane.Announcer, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j, j.away
}

func (j *judge) String() string { return "somebody" }

func (j *judge) SpeaksFor(agent string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.refused[agent]
}

// Who could not be known for a moment, or may announce what it could not, or no
// longer what it could, is asked to come again; everybody else stays.
func TestJudgedAgain(t *testing.T) {
	t.Parallel()
	j := &judge{away: errors.New("no quorum")}
	registration := controlplane.NewRegistration(slog.New(slog.NewTextHandler(t.Output(), nil)))
	registration.Identify, registration.Grace = j.Identify, 1
	plane := start(t, func(o *controlplane.Options) { o.Judge = 5 * time.Millisecond }, registration)
	watcher := plane.connect(&core.Node{Id: "watcher"})
	watcher.subscribe(mesh.TypeEndpoints, nil, mesh.Key(billing))

	connect := func(want string) *client {
		t.Helper()
		c := plane.connect(sidecar("one", mesh.Node{Agents: []string{billing}, Peer: "127.0.0.1:7401"}))
		c.subscribe(mesh.TypeRuntime, nil, mesh.Runtime)
		c.next()
		if got := c.refusal(); got != want {
			t.Fatalf("it is told %q, want %q", got, want)
		}
		return c
	}
	ends := func(c *client) {
		t.Helper()
		if _, err := c.stream.Recv(); !errors.Is(err, io.EOF) {
			t.Fatalf("its stream ends with %v, want a good end", err)
		}
	}
	const because = "agent " + billing + " is not announced: "
	c := connect(because + "no quorum")
	denied := map[string]error{billing: errors.New("not yours")}
	j.now(nil, denied)
	ends(c)
	c = connect(because + "not yours")
	j.now(nil, nil)
	ends(c)
	c = connect("")
	if got := healths(t, watcher.next()); len(got) != 1 {
		t.Fatalf("billing: %v, want it where it has registered", got)
	}
	j.now(nil, denied)
	ends(c)
	c = connect(because + "not yours")
	if r := watcher.next(); len(r.GetRemovedResources()) != 1 {
		t.Errorf("%v, want billing removed", r)
	}
	// Meanwhile nobody else had to come again, and a stream with nothing new stays.
	open := plane.of("one").Since
	j.now(nil, map[string]error{billing: errors.New("still not yours")})
	eventually(t, "it was looked at a few times", func() bool { return time.Since(open) > 100*time.Millisecond })
	if got := plane.of("one"); !got.Since.Equal(open) {
		t.Errorf("it had to come again without a reason: %+v", got)
	}
	c.close()
}
