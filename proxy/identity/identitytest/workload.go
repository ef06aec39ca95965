package identitytest

import (
	"net"
	"path/filepath"
	"sync"
	"testing"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
)

// Workload is the Workload API of a SPIFFE agent. It answers nobody before Set.
type Workload struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	mu      sync.Mutex
	now     *workload.X509SVIDResponse
	changed chan struct{}
}

// NewWorkload makes one that has no answer yet.
func NewWorkload() *Workload { return &Workload{changed: make(chan struct{})} }

// Set gives an answer to all who ask, and to those who have asked.
func (a *Workload) Set(r *workload.X509SVIDResponse) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = r
	close(a.changed)
	a.changed = make(chan struct{})
}

// Give is Set, of identities alone.
func (a *Workload) Give(all ...*workload.X509SVID) { a.Set(&workload.X509SVIDResponse{Svids: all}) }

// FetchX509SVID answers, and again when the answer has changed.
func (a *Workload) FetchX509SVID(_ *workload.X509SVIDRequest, stream grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	for {
		a.mu.Lock()
		now, changed := a.now, a.changed
		a.mu.Unlock()
		if now != nil {
			if err := stream.Send(now); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return nil
		}
	}
}

// Listen serves the API on a unix socket, and returns its address.
func (a *Workload) Listen(t testing.TB) (address string, stop func()) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(server, a)
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	stop = sync.OnceFunc(func() { server.Stop(); <-served })
	t.Cleanup(stop)
	return "unix://" + path, stop
}

// SVID is an identity, and the authorities of its trust domain.
func SVID(id string, l Leaf, bundle ...*CA) *workload.X509SVID {
	s := &workload.X509SVID{SpiffeId: id, X509Svid: l.Cert.Raw, X509SvidKey: l.KeyDER()}
	for _, ca := range bundle {
		s.Bundle = append(s.Bundle, ca.Cert.Raw...)
	}
	return s
}
