package identity_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"pannier/proxy/identity"
	"pannier/proxy/identity/identitytest"
)

// Each row is a client that must not take part. It hears what to do, and
// nothing of it reaches a handler.
func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	ca, other := identitytest.NewCA(t, "acme"), identitytest.NewCA(t, "stranger")
	holder := withFiles(t, ca.Issue(nil, domain+"acme/prod/billing"), identity.Options{}, ca)
	s, address := serve(t, holder)

	if err := call(t, withFiles(t, ca.Issue(nil, domain+"acme/prod/shop"), identity.Options{}, ca), address); err != nil {
		t.Fatalf("a client that may: %v", err)
	}
	if got := s.peer().String(); got != domain+"acme/prod/shop" {
		t.Errorf("the peer is %q", got)
	}
	served := s.calls.Load()

	// A certificate says whole seconds, and it must be read before it has expired.
	expired := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(5 * time.Second) }
	for _, row := range []struct {
		name, words string
		leaf        identitytest.Leaf
		wait        bool
		trusts      []*identitytest.CA
	}{
		{name: "another authority", words: "signed by none of the authorities trusted here (by CN=stranger): give both sides the same tls_ca",
			leaf: other.Issue(nil, domain+"acme/prod/shop")},
		{name: "another trust domain", words: "is of the trust domain acme.example, ours is evil.example",
			leaf: ca.Issue(nil, "spiffe://evil.example/agent/acme/prod/shop")},
		{name: "not valid yet", words: "see whether the clocks agree",
			leaf: ca.Issue(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }, domain+"acme/prod/shop")},
		{name: "expired", words: "expired at", wait: true, leaf: ca.Issue(expired, domain+"acme/prod/shop")},
		{name: "for servers only", words: "is not issued for both clients and servers",
			leaf: ca.Issue(func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }, domain+"acme/prod/shop")},
	} {
		client := withFiles(t, row.leaf, identity.Options{}, ca)
		if row.wait {
			time.Sleep(time.Until(row.leaf.Cert.NotAfter) + time.Millisecond) // the files are not read when they have expired
		}
		refused(t, row.name, call(t, client, address), row.words)
	}
	if got := s.calls.Load(); got != served {
		t.Errorf("%d calls of strangers reached a handler", got-served)
	}

	// One whose certificate is good for nobody is no stranger, and speaks for none.
	refused(t, "no agent", call(t, withFiles(t, ca.Issue(nil, "spiffe://acme.example/else"), identity.Options{}, ca), address),
		"no agent belongs to spiffe://acme.example/else: name it under identities")
}

// A stranger who has another name each time, or a very long one, does not fill the
// log.
func TestStrangersFillNoLog(t *testing.T) {
	t.Parallel()
	ca, other := identitytest.NewCA(t, "acme"), identitytest.NewCA(t, "stranger")
	holder := withFiles(t, ca.Issue(nil, domain+"acme/prod/billing"), identity.Options{}, ca)
	_, address := serve(t, holder)
	began := time.Now()
	for i := range 20 {
		client := withFiles(t, other.Issue(nil, fmt.Sprintf("%sacme/prod/x%d", domain, i)), identity.Options{}, ca)
		refused(t, "a stranger", call(t, client, address), "signed by none of the authorities")
		client.stop()
	}
	if n, most := strings.Count(holder.log.String(), "peer refused"), 1+int(time.Since(began)/time.Second); n == 0 || n > most {
		t.Errorf("%d lines of 20 refusals, want one and at most %d", n, most)
	}
	// The test's own client has no such name to show: its certificate is refused at home.
	leaf := other.Issue(nil, "https://else.example/"+strings.Repeat("x", 3000)).Write(t.TempDir(), ca)
	if _, err := identity.New(identity.Options{TLSCert: leaf.Cert, TLSKey: leaf.Key, TLSCA: leaf.CA}, nil); err == nil || !strings.Contains(err.Error(), "a name of more than 2048 bytes") {
		t.Errorf("a name of 3,000 bytes: %v", err)
	}
}

// What a client judges, a server with the other trust domain must judge too: here
// the client takes everybody.
func TestServerJudgesTheTrustDomain(t *testing.T) {
	t.Parallel()
	ca := identitytest.NewCA(t, "acme")
	s, address := serve(t, withFiles(t, ca.Issue(nil, domain+"acme/prod/billing"), identity.Options{}, ca))
	any1, err := identity.NewMapping("spiffe://acme.example/agent/*/*/*", []string{"*"})
	if err != nil {
		t.Fatal(err)
	}
	evil := withFiles(t, ca.Issue(nil, "spiffe://evil.example/agent/acme/prod/shop"), identity.Options{Identities: []identity.Mapping{any1}}, ca)
	refused(t, "another trust domain", call(t, evil, address), "is of the trust domain evil.example, ours is acme.example: name it under identities")
	if s.calls.Load() > 0 {
		t.Error("its call reached a handler")
	}
}

// No certificate at all, plain text, and TLS 1.2.
func TestOnlyMutualTLS13(t *testing.T) {
	t.Parallel()
	ca := identitytest.NewCA(t, "acme")
	holder := withFiles(t, ca.Issue(nil, domain+"acme/prod/billing"), identity.Options{}, ca)
	s, address := serve(t, holder)

	for name, conf := range map[string]*tls.Config{
		"no certificate": {InsecureSkipVerify: true, NextProtos: []string{"h2"}},
		"TLS 1.2":        {InsecureSkipVerify: true, NextProtos: []string{"h2"}, MaxVersion: tls.VersionTLS12},
	} {
		conn, err := tls.Dial("tcp", address, conf)
		if err == nil {
			_, err = io.ReadAll(conn) // of TLS 1.3 the refusal comes after the client's part is done
			conn.Close()
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err == nil {
		t.Error("plain text is answered")
	}
	if s.calls.Load() > 0 {
		t.Error("a call reached the handler")
	}

	// A server that speaks plain text is told from one that is not there.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	plain := grpc.NewServer()
	served := make(chan struct{})
	go func() { defer close(served); _ = plain.Serve(l) }()
	defer func() { plain.Stop(); <-served }()
	refused(t, "a server without TLS", call(t, holder, l.Addr().String()), "does not speak TLS")
}

// recorder is a wire that keeps what the client sends.
type recorder struct {
	address string
	mu      sync.Mutex
	sent    bytes.Buffer
}

func record(t *testing.T, to string) *recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{address: l.Addr().String()}
	var pipes sync.WaitGroup
	pipes.Go(func() {
		client, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", to)
		if err != nil {
			t.Error(err)
			client.Close()
			return
		}
		pipes.Go(func() { io.Copy(client, server); client.Close() })
		io.Copy(io.MultiWriter(server, r), client)
		server.Close()
	})
	t.Cleanup(func() { l.Close(); pipes.Wait() })
	return r
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent.Write(p)
}

// Whoever has heard a whole session can say it again, whole or with a byte
// changed or left out, to the same server or another: nothing of it is acted on.
func TestReplay(t *testing.T) {
	t.Parallel()
	ca := identitytest.NewCA(t, "acme")
	for name, pair := range map[string][2]*side{
		"certificates": {
			withFiles(t, ca.Issue(nil, domain+"acme/prod/shop"), identity.Options{}, ca),
			withFiles(t, ca.Issue(nil, domain+"acme/prod/billing"), identity.Options{}, ca),
		},
		"keyring": {withKeys(t, key("a", "x", identity.Current)), withKeys(t, key("a", "x", identity.Current))},
	} {
		s, address := serve(t, pair[1])
		wire := record(t, address)
		conn, err := grpc.NewClient("passthrough:///"+wire.address, grpc.WithTransportCredentials(pair[0].Dial()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		conn.Close()
		wire.mu.Lock()
		said := bytes.Clone(wire.sent.Bytes())
		wire.mu.Unlock()
		heard := s.calls.Load()
		other, elsewhere := serve(t, pair[1])

		spoiled := bytes.Clone(said)
		spoiled[len(spoiled)/2] ^= 1
		for what, again := range map[string][]byte{"replayed": said, "truncated": said[:len(said)-30], "changed": spoiled} {
			for _, to := range []string{address, elsewhere} {
				c, err := net.Dial("tcp", to)
				if err != nil {
					t.Fatal(err)
				}
				c.Write(again)                // the server may hang up in the middle of it
				c.(*net.TCPConn).CloseWrite() // else it waits for more
				io.Copy(io.Discard, c)        // until it has hung up
				c.Close()
				if s.calls.Load() != heard || other.calls.Load() > 0 {
					t.Errorf("%s: a %s session reached the handler", name, what)
				}
			}
		}
	}
}

// A peer that is trusted no more loses the channel it has, and not only the next.
func TestChannelsAreCut(t *testing.T) {
	t.Parallel()
	watch := func(client, server *side) func() error {
		_, address := serve(t, server)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		t.Cleanup(cancel)
		stream, err := dial(t, client, address).Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		if err != nil {
			t.Fatal(err)
		}
		return func() error { // nil: it lives on
			if _, err := stream.Recv(); ctx.Err() == nil {
				return err
			}
			return nil
		}
	}

	t.Run("the key is taken out", func(t *testing.T) {
		server := withKeys(t, key("a", "x", identity.Current), key("b", "y", identity.Next))
		end := watch(withKeys(t, key("b", "y", identity.Current), key("a", "x", identity.Retiring)), server)
		if err := server.SetKeys([]identity.Key{key("a", "x", identity.Current)}); err != nil {
			t.Fatal(err)
		}
		if err := end(); err == nil {
			t.Error("the stream lives")
		}
	})
	t.Run("its certificate expires", func(t *testing.T) {
		ca := identitytest.NewCA(t, "acme")
		server := withFiles(t, ca.Issue(nil, domain+"acme/prod/billing"), identity.Options{}, ca)
		short := ca.Issue(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(5 * time.Second) }, domain+"acme/prod/shop")
		end := watch(withFiles(t, short, identity.Options{}, ca), server)
		if err := end(); err == nil {
			t.Error("the stream lives")
		}
		if said := server.log.String(); !strings.Contains(said, "expired at") {
			t.Errorf("the log does not say why: %s", said)
		}
	})
	t.Run("its authority is taken out", func(t *testing.T) {
		old, ca := identitytest.NewCA(t, "old"), identitytest.NewCA(t, "new")
		dir := t.TempDir()
		leaf := ca.Issue(nil, domain+"acme/prod/billing")
		f := leaf.Write(dir, old, ca)
		server := newSide(t, identity.Options{TLSCert: f.Cert, TLSKey: f.Key, TLSCA: f.CA})
		end := watch(withFiles(t, old.Issue(nil, domain+"acme/prod/shop"), identity.Options{}, old, ca), server)
		leaf.Write(dir, ca)
		if err := end(); err == nil {
			t.Error("the stream lives")
		}
	})
}

// What is wrong with our own certificate is told before peers tell it.
func TestFault(t *testing.T) {
	t.Parallel()
	ca := identitytest.NewCA(t, "acme")
	leaf := ca.Issue(nil, domain+"acme/prod/shop") // of two hours, one of them over
	s := withFiles(t, leaf, identity.Options{}, ca)
	end := leaf.Cert.NotAfter
	for _, row := range []struct {
		at   time.Time
		want string
	}{{end.Add(-3 * time.Hour), "our certificate is not valid before"}, {end.Add(-time.Hour), ""}, {end.Add(-10 * time.Minute), "our certificate expires at"}, {end, "our certificate expired at"}} {
		err := s.Fault(row.at)
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s before its end: got %v, want %q", end.Sub(row.at), err, row.want)
		}
	}
	if err := newSide(t, identity.Options{SPIFFESocket: "unix:///nowhere"}).Fault(end); err == nil {
		t.Error("without an answer of the Workload API there is no fault")
	}
}
