package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"pannier/proxy/crowd"
)

// refusedFor is how long a client that was refused may stay, to read why.
const refusedFor = 5 * time.Second

// transport are the credentials of one kind of channel. gRPC calls Clone; there
// is nothing in it that a copy must not share.
type transport struct {
	trust  *Trust
	server string // of a dial: the name the other side must have; empty: any
	host   bool   // server is the host that is dialed
}

// ServerOptions are for a listener of sidecars: they admit whom t trusts, and
// no call of anybody else reaches a handler. That one is told why by the status
// of its calls, which an alert of TLS could not say.
func (t *Trust) ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.Creds(transport{trust: t}),
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			if _, err := admitted(ctx); err != nil {
				return nil, status.Error(codes.Unauthenticated, err.Error())
			}
			return handle(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			if _, err := admitted(stream.Context()); err != nil {
				return status.Error(codes.Unauthenticated, err.Error())
			}
			return handle(srv, stream)
		}),
	}
}

// Dial are the credentials to dial a sidecar with. Whoever t trusts may answer:
// where it is matters less than for whom it speaks, which Of tells.
func (t *Trust) Dial() credentials.TransportCredentials { return transport{trust: t} }

// DialNamed are the credentials to dial a server that speaks for no agent, such
// as a control plane: it must have the name, a SPIFFE ID or a DNS name of its
// certificate. With a keyring any holder of a key will do.
func (t *Trust) DialNamed(name string) credentials.TransportCredentials {
	return transport{trust: t, server: name}
}

// DialHost is DialNamed with the name of the host that is dialed.
func (t *Trust) DialHost() credentials.TransportCredentials { return transport{trust: t, host: true} }

// ClientHandshake implements credentials.TransportCredentials.
func (c transport) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	m := c.trust.material()
	if m == nil {
		return nil, nil, c.trust.lacking()
	}
	if c.host {
		c.server = authority
		if host, _, err := net.SplitHostPort(authority); err == nil {
			c.server = host
		}
	}
	var found *standing
	conf := &tls.Config{MinVersion: tls.VersionTLS13}
	// Chains are judged by us, not by the name of the host that was dialed.
	conf.InsecureSkipVerify = true
	conf.VerifyConnection = func(cs tls.ConnectionState) (err error) {
		m = c.trust.material() // the other side may show what is newer than the start of this
		if found, err = m.judge(cs.PeerCertificates, x509.ExtKeyUsageServerAuth, &c.trust.opt, time.Now()); err != nil {
			return err
		}
		return c.named(cs.PeerCertificates[0], found)
	}
	own := m.own
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil }
	conn, info, err := credentials.NewTLS(conf).ClientHandshake(ctx, authority, raw)
	if err != nil {
		return nil, nil, hint(err)
	}
	peer := newPeer(c.trust.opt.Allow, found)
	conn = c.trust.keep(conn, info, m, peer, x509.ExtKeyUsageServerAuth, nil)
	return conn, AuthInfo{TLSInfo: info.(credentials.TLSInfo), peer: peer}, nil
}

// ServerHandshake implements credentials.TransportCredentials. A client that is
// not trusted gets through it, to be told why; see ServerOptions.
func (c transport) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	m := c.trust.material()
	if m == nil {
		return nil, nil, c.trust.lacking()
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS13}
	conf.Certificates = []tls.Certificate{*m.own}
	conf.ClientAuth = tls.RequireAnyClientCert // that it has the key; who it is we judge below
	conf.SessionTicketsDisabled = true         // each connection is judged anew
	conn, info, err := credentials.NewTLS(conf).ServerHandshake(raw)
	if err != nil {
		if err = hint(err); !hungUp(err) && !errors.Is(err, net.ErrClosed) { // one that had to make way says nothing
			c.trust.tell(raw.RemoteAddr(), err)
		}
		return nil, nil, err
	}
	chain := info.(credentials.TLSInfo).State.PeerCertificates
	m = c.trust.material()
	found, refused := m.judge(chain, x509.ExtKeyUsageClientAuth, &c.trust.opt, time.Now())
	if refused != nil {
		c.trust.tell(raw.RemoteAddr(), refused)
		found = &standing{}
	} else {
		crowd.Admit(raw)
	}
	peer := newPeer(c.trust.opt.Allow, found)
	conn = c.trust.keep(conn, info, m, peer, x509.ExtKeyUsageClientAuth, refused)
	return conn, AuthInfo{TLSInfo: info.(credentials.TLSInfo), peer: peer, refused: refused}, nil
}

const (
	// tellAgain is when the same refusal is worth a line of the log again: whoever is
	// refused dials on.
	tellAgain = time.Minute
	// tellOther is how far apart the lines of others are: a stranger can say another
	// name each time.
	tellOther = time.Second
)

// tell logs a refusal.
func (t *Trust) tell(from net.Addr, refused error) {
	text, now := refused.Error(), time.Now()
	t.mu.Lock()
	since := now.Sub(t.mu.toldAt)
	known := t.mu.told == text && since < tellAgain || since < tellOther
	untold := t.mu.untold
	if known {
		t.mu.untold++
	} else {
		t.mu.told, t.mu.toldAt, t.mu.untold = text, now, 0
	}
	t.mu.Unlock()
	if !known {
		t.log.Warn("peer refused", "peer", from.String(), "err", refused, "more", untold)
	}
}

// named checks the name of a server that must have one.
func (c transport) named(leaf *x509.Certificate, found *standing) error {
	switch {
	case c.server == "" || found.key:
		return nil
	case strings.Contains(c.server, "://"):
		if found.names.spiffe.String() == c.server {
			return nil
		}
	case leaf.VerifyHostname(c.server) == nil:
		return nil
	}
	return fmt.Errorf("%s answers, and %s is wanted", found.name, c.server)
}

// hint says what a handshake most likely met.
func hint(err error) error {
	var plain tls.RecordHeaderError
	if errors.As(err, &plain) {
		return fmt.Errorf("the peer does not speak TLS: give it an identity, as this end has one (%w)", err)
	}
	return err
}

// hungUp reports whether a handshake only ended: what looks whether a port is open
// does that all day.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrDeadlineExceeded)
}

// Info implements credentials.TransportCredentials.
func (c transport) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone implements credentials.TransportCredentials.
func (c transport) Clone() credentials.TransportCredentials { return c }

// OverrideServerName implements credentials.TransportCredentials; the name is
// that of the dial.
func (c transport) OverrideServerName(string) error { return nil }

// channel is a connection that is cut when its peer is trusted no more: streams
// live for weeks, certificates for hours.
type channel struct {
	net.Conn
	trust *Trust
	chain []*x509.Certificate
	as    x509.ExtKeyUsage
	peer  *Peer
	late  *time.Timer // nil: it was not refused
	once  sync.Once
}

// keep puts a connection on record until it is closed. m is what its peer was
// judged by.
func (t *Trust) keep(conn net.Conn, info credentials.AuthInfo, m *material, p *Peer, as x509.ExtKeyUsage, refused error) net.Conn {
	c := &channel{Conn: conn, trust: t, chain: info.(credentials.TLSInfo).State.PeerCertificates, as: as, peer: p}
	if refused != nil {
		c.late = time.AfterFunc(refusedFor, func() { c.Close() })
		return c
	}
	t.mu.Lock()
	t.mu.channels[c] = struct{}{}
	now := t.mu.now
	t.mu.Unlock()
	if now != m {
		c.review(now) // nobody saw it when that was put in force
	}
	return c
}

func (c *channel) Close() error {
	c.once.Do(func() {
		if c.late != nil {
			c.late.Stop()
		}
		c.trust.mu.Lock()
		defer c.trust.mu.Unlock()
		delete(c.trust.mu.channels, c)
	})
	return c.Conn.Close()
}

// review judges the peers of all open channels by what is in force now.
func (t *Trust) review() {
	m := t.material()
	if m == nil {
		return
	}
	for _, c := range t.open() {
		c.review(m)
	}
}

// review cuts the channel if its peer is trusted no more.
func (c *channel) review(m *material) {
	found, err := m.judge(c.chain, c.as, &c.trust.opt, time.Now())
	if err != nil {
		c.cut(err)
		return
	}
	c.peer.now.Store(found)
}

// expire cuts the channels of peers whose certificate has run out.
func (t *Trust) expire(now time.Time) {
	for _, c := range t.open() {
		if end := c.chain[0].NotAfter; now.After(end) {
			c.cut(fmt.Errorf("its certificate expired at %s", end.UTC().Format(time.RFC3339)))
		}
	}
}

func (c *channel) cut(why error) {
	c.trust.log.Warn("peer is trusted no more, its channel is cut", "peer", c.peer.String(), "err", why)
	c.Close() // the transport reads the end of it
}

func (t *Trust) open() []*channel {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.mu.channels))
}
