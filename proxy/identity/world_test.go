package identity_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"pannier/proxy/identity"
	"pannier/proxy/identity/identitytest"
)

const (
	billing = "agent://acme/prod/billing"
	shop    = "agent://acme/prod/shop"
	domain  = "spiffe://acme.example/agent/"
)

// log is what a trust has said.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// side is one end: its trust, running, and what it has logged.
type side struct {
	*identity.Trust
	log  *log
	stop func()
}

func newSide(t *testing.T, o identity.Options) *side {
	t.Helper()
	s := &side{log: &log{}}
	var err error
	if s.Trust, err = identity.New(o, slog.New(slog.NewTextHandler(s.log, nil))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

// withFiles is a side with a certificate of the names.
func withFiles(t *testing.T, l identitytest.Leaf, o identity.Options, authorities ...*identitytest.CA) *side {
	t.Helper()
	f := l.Write(t.TempDir(), authorities...)
	o.TLSCert, o.TLSKey, o.TLSCA = f.Cert, f.Key, f.CA
	return newSide(t, o)
}

// withKeys is a side with a keyring.
func withKeys(t *testing.T, keys ...identity.Key) *side {
	t.Helper()
	s := newSide(t, identity.Options{Keyring: "read elsewhere"})
	if err := s.SetKeys(keys); err != nil {
		t.Fatal(err)
	}
	return s
}

func key(id, secret string, use identity.Use, agents ...string) identity.Key {
	return identity.Key{ID: id, Secret: []byte(strings.Repeat(secret, identity.MinSecret)), Use: use, Agents: agents}
}

// service answers health checks, and remembers who has asked. Nothing a
// stranger sends may reach it.
type service struct {
	grpc_health_v1.UnimplementedHealthServer
	side  *side
	calls atomic.Int64
	mu    sync.Mutex
	last  *identity.Peer
}

func (s *service) peer() *identity.Peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

func (s *service) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	s.calls.Add(1)
	p, err := s.side.Of(ctx)
	s.mu.Lock()
	s.last = p
	s.mu.Unlock()
	return &grpc_health_v1.HealthCheckResponse{}, err
}

// Watch echoes nothing and stays until the stream ends.
func (s *service) Watch(_ *grpc_health_v1.HealthCheckRequest, stream grpc_health_v1.Health_WatchServer) error {
	s.calls.Add(1)
	if err := stream.Send(&grpc_health_v1.HealthCheckResponse{}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

// serve listens as a side.
func serve(t *testing.T, as *side) (*service, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{side: as}
	server := grpc.NewServer(as.ServerOptions()...)
	grpc_health_v1.RegisterHealthServer(server, s)
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-served })
	return s, l.Addr().String()
}

// dial makes a client of a side; nothing is connected yet.
func dial(t *testing.T, as *side, address string) grpc_health_v1.HealthClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(as.Dial()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return grpc_health_v1.NewHealthClient(conn)
}

// call makes one call over a connection of its own.
func call(t *testing.T, as *side, address string) error {
	t.Helper()
	_, err := dial(t, as, address).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	return err
}

// refused checks that a call fails, with the words for whoever reads the error.
func refused(t *testing.T, what string, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(status.Convert(err).Message(), words) {
		t.Errorf("%s: got %v, want a refusal with %q", what, err, words)
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute until %s", what)
		}
	}
}

var _ io.Writer = (*log)(nil)
