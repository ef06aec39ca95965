package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"pannier/proxy/crowd"
	"pannier/proxy/hostport"
	"pannier/proxy/identity"
)

const (
	// maxMessage is gRPC's limit in both directions. Frames have 1 MiB; one
	// message larger than that goes alone.
	maxMessage = 4 << 20
	// pingEvery finds a peer that went away without a word, and keeps NATs from
	// forgetting the stream. gRPC's clients ping no faster than every 10 s.
	pingEvery   = 15 * time.Second
	pingTimeout = 10 * time.Second

	// flushFor is what a goodbye is given to reach the wire.
	flushFor = 200 * time.Millisecond

	// maxUnixPath is sizeof(sockaddr_un.sun_path) - 1.
	maxUnixPath = 107
)

// listen opens HOST:PORT or unix:PATH.
func listen(address string) (net.Listener, error) {
	path, ok := strings.CutPrefix(address, unixPrefix)
	if !ok {
		return net.Listen("tcp", address)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	// The owner and its group: whoever may connect may post and take intents.
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// removeStale removes a socket that nobody listens on, as a killed process
// leaves it. Anything else at that path stays, and Listen says so.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return nil
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		return conn.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	return os.Remove(path)
}

// addressOf is how a listener is called in the ready line.
func addressOf(l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return unixPrefix + l.Addr().String()
	}
	return l.Addr().String()
}

// newHTTPServer serves HTTP/1.1 and HTTP/2 without TLS. There is no write
// timeout: event streams are long-lived.
func newHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           h,
		Protocols:         protocols,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    16 << 10,
		// Ours answers "OPTIONS *", too: each answer has its id and its form.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug), // clients' broken requests
	}
}

// serveHTTP is the server's loop in the crew.
func serveHTTP(s *http.Server, l net.Listener) func(context.Context) error {
	return func(ctx context.Context) error {
		err := s.Serve(l)
		if errors.Is(err, http.ErrServerClosed) {
			<-ctx.Done() // closed by a clean-up; the crew goes with the loops
			return nil
		}
		return err
	}
}

// shutHTTP lets requests under way end, and cuts what is left when ctx ends.
func shutHTTP(s *http.Server) func(context.Context) error {
	return func(ctx context.Context) error {
		// Also a connection that never sent a request holds Shutdown up, for 5 s:
		// not worth an error.
		if err := s.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		return s.Close()
	}
}

func newPeerServer(trust *identity.Trust, identified bool) *grpc.Server {
	opts := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(maxMessage),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.MaxConcurrentStreams(64), // of one connection: a home needs one, and a few for knocks
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingEvery, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingEvery / 2, PermitWithoutStream: true}),
	}
	if identified {
		opts = append(opts, trust.ServerOptions()...)
	}
	return grpc.NewServer(opts...)
}

// servePeer is the gRPC server's loop in the crew.
func servePeer(s *grpc.Server, l net.Listener) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := s.Serve(l); err != nil {
			return err
		}
		<-ctx.Done() // stopped by a clean-up
		return nil
	}
}

// stopPeer waits for what is being written, such as a goodbye, and cuts what
// is left shortly before ctx ends.
func stopPeer(s *grpc.Server, l *cutter) func(context.Context) error {
	return func(ctx context.Context) error {
		graceful := make(chan struct{})
		go func() { // ends at the cut at the latest
			s.GracefulStop()
			close(graceful)
		}()
		select {
		case <-graceful:
			return nil
		case <-time.After(flushFor):
		case <-ctx.Done():
		}
		l.cut()
		s.Stop()
		<-graceful
		return nil
	}
}

// cutter is a listener that can close what it has accepted. gRPC's Stop waits
// for connections that have not said anything yet, up to its own time limit.
type cutter struct {
	net.Listener
	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func newCutter(l net.Listener) *cutter {
	return &cutter{Listener: l, conns: map[net.Conn]struct{}{}}
}

func (l *cutter) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = struct{}{}
	return &cutConn{c, l}, nil
}

func (l *cutter) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.Close() // an error is the peer's having closed it first
	}
}

type cutConn struct {
	net.Conn
	listener *cutter
}

// NetConn is the connection below.
func (c *cutConn) NetConn() net.Conn { return c.Conn }

func (c *cutConn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.conns, c.Conn)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}

// dialOptions are how this sidecar dials another.
func (r *run) dialOptions() []grpc.DialOption {
	room := crowd.NewRoom("dials", shares(crowd.OpenFiles()).dials, r.log).Guarded(r.guard())
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	channel := identity.Plain()
	switch {
	case r.identified():
		channel = r.trust.Dial()
	case !r.opts.InsecurePeer:
		dialer.Control = loopbackOnly
	}
	return []grpc.DialOption{
		grpc.WithTransportCredentials(channel),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return room.Dial(ctx, dialer, address)
		}),
		grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: pingTimeout, PermitWithoutStream: true}),
	}
}

// loopbackOnly refuses plain text beyond loopback. It sees the address after
// the name was resolved, so no name gets around it.
func loopbackOnly(_, address string, _ syscall.RawConn) error {
	if hostport.OnLoopback(address) {
		return nil
	}
	return fmt.Errorf("plain text to %s beyond loopback: set tls_cert, tls_key and tls_ca, or keyring; or insecure_peer if the network itself is trusted", address)
}
