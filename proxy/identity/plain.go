package identity

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Plain are the credentials to dial with where nobody proves who they are. They
// know one thing more than gRPC's: what hangs up on plain text before it has said
// a word most likely asks for TLS, and whoever reads the error should hear that.
func Plain() credentials.TransportCredentials { return plain{insecure.NewCredentials()} }

type plain struct {
	credentials.TransportCredentials
}

// ClientHandshake implements credentials.TransportCredentials.
func (p plain) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return p.TransportCredentials.ClientHandshake(ctx, authority, &unheard{Conn: raw})
}

// Clone implements credentials.TransportCredentials.
func (p plain) Clone() credentials.TransportCredentials { return plain{p.TransportCredentials.Clone()} }

// unheard is a connection whose other end has said nothing yet.
type unheard struct {
	net.Conn
	spoke atomic.Bool
}

func (u *unheard) Read(b []byte) (int, error) {
	n, err := u.Conn.Read(b)
	if n > 0 {
		u.spoke.Store(true)
	}
	if err != nil && hungUp(err) && !u.spoke.Load() {
		err = fmt.Errorf("it hung up on plain text without a word: if it asks for TLS, give this sidecar an identity (tls_cert, tls_key and tls_ca; spiffe_socket; or keyring) (%w)", err)
	}
	return n, err
}
