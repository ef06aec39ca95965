package identity_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"pannier/proxy/identity"
	"pannier/proxy/identity/identitytest"
)

// load makes calls both ways, each over a connection of its own, until it is
// stopped. None may be refused. One whose connection was made with what is taken
// out while it is under way is cut, and made again, as a sidecar does.
type load struct {
	t     *testing.T
	calls [4]atomic.Int64 // by worker
	quit  chan struct{}
	crew  sync.WaitGroup
}

func startLoad(t *testing.T, a, b *side) *load {
	t.Helper()
	l := &load{t: t, quit: make(chan struct{})}
	_, atA := serve(t, a)
	_, atB := serve(t, b)
	for i := range l.calls {
		from, to := a, atB
		if i%2 == 1 {
			from, to = b, atA
		}
		l.crew.Go(func() { l.run(&l.calls[i], from, to) })
	}
	t.Cleanup(l.crew.Wait)
	return l
}

func (l *load) run(calls *atomic.Int64, from *side, to string) {
	for {
		select {
		case <-l.quit:
			return
		default:
		}
		switch err := call(l.t, from, to); {
		case err == nil:
			calls.Add(1)
		case status.Code(err) != codes.Unavailable || strings.Contains(err.Error(), "handshake failed"):
			l.t.Errorf("call %d: %v", calls.Load(), err)
			return
		}
	}
}

// more waits until every worker has begun and made a call in the present state
// of things: steps of a rotation are further apart than any handshake is long.
func (l *load) more() {
	l.t.Helper()
	for i := range l.calls {
		n := l.calls[i].Load() + 2 // beyond the one under way
		until(l.t, "calls were made", func() bool { return l.calls[i].Load() >= n || l.t.Failed() })
	}
}

func (l *load) stop() {
	close(l.quit)
	l.crew.Wait()
}

// A key takes the place of another, one side after the other at each step.
func TestKeyringRotatesUnderLoad(t *testing.T) {
	t.Parallel()
	sides := []*side{withKeys(t, key("k0", "0", identity.Current)), withKeys(t, key("k0", "0", identity.Current))}
	l := startLoad(t, sides[0], sides[1])
	for round := range 3 {
		was, is := fmt.Sprint(round), fmt.Sprint(round+1)
		old := func(u identity.Use) identity.Key { return key("k"+was, was, u) }
		next := func(u identity.Use) identity.Key { return key("k"+is, is, u) }
		for _, step := range [][]identity.Key{
			{old(identity.Current), next(identity.Next)},
			{old(identity.Retiring), next(identity.Current)},
			{next(identity.Current)},
		} {
			for i := range sides {
				if err := sides[(i+round)%2].SetKeys(step); err != nil {
					t.Fatal(err)
				}
				l.more()
			}
		}
	}
	l.stop()
}

// Keys that are not shared, and what they may be.
func TestWrongKey(t *testing.T) {
	t.Parallel()
	s, address := serve(t, withKeys(t, key("a", "x", identity.Current, billing)))
	refused(t, "another key", call(t, withKeys(t, key("a", "y", identity.Current)), address), "is none of this keyring's: put it into the keyring here before it becomes current there")
	// The client knows the server's key, and shows one the server does not know.
	refused(t, "a key made current too early", call(t, withKeys(t, key("a", "x", identity.Retiring), key("b", "y", identity.Current)), address), "is none of this keyring's")
	if s.calls.Load() > 0 {
		t.Error("a call reached the handler")
	}
	// Its name is each side's own affair; for whom it speaks is what this side says.
	if err := call(t, withKeys(t, key("other name", "x", identity.Current)), address); err != nil {
		t.Fatal(err)
	}
	if err := s.peer().SpeaksFor(billing); err != nil {
		t.Error(err)
	}
	if err := s.peer().SpeaksFor(shop); err == nil || err.Error() != "key a may not speak for "+shop+", only for "+billing {
		t.Errorf("got %v", err)
	}
	// A certificate that only says it was made of the key, as whoever dials can see it.
	var root []byte
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	root = conn.ConnectionState().PeerCertificates[0].AuthorityKeyId
	conn.Close()
	forger := identitytest.NewCA(t, "forger")
	forger.Cert.SubjectKeyId = root
	leaf := forger.Issue(nil)
	forged, err := tls.X509KeyPair(leaf.CertPEM(), leaf.KeyPEM())
	if err != nil {
		t.Fatal(err)
	}
	served := s.calls.Load()
	client, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{forged}})))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, err = grpc_health_v1.NewHealthClient(client).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	refused(t, "a forged certificate", err, "was not made of the key it names")
	if s.calls.Load() != served {
		t.Error("its call reached the handler")
	}

	for name, keys := range map[string][]identity.Key{
		"no current key":   {key("a", "x", identity.Next)},
		"two current keys": {key("a", "x", identity.Current), key("b", "y", identity.Current)},
		"the same id":      {key("a", "x", identity.Current), key("a", "y", identity.Next)},
		"the same secret":  {key("a", "x", identity.Current), key("b", "x", identity.Next)},
		"a short secret":   {{ID: "a", Secret: []byte("short"), Use: identity.Current}},
		"none":             {},
	} {
		if err := identity.CheckKeys(keys); err == nil {
			t.Errorf("a keyring with %s is taken", name)
		}
	}
}

// Certificates are renewed, and their authority takes the place of another,
// while calls go both ways.
func TestFilesRotateUnderLoad(t *testing.T) {
	t.Parallel()
	old, next := identitytest.NewCA(t, "old"), identitytest.NewCA(t, "new")
	names := []string{domain + "acme/prod/shop", domain + "acme/prod/billing"}
	dirs := []string{t.TempDir(), t.TempDir()}
	var sides []*side
	for i, name := range names {
		f := old.Issue(nil, name).Write(dirs[i], old)
		sides = append(sides, newSide(t, identity.Options{TLSCert: f.Cert, TLSKey: f.Key, TLSCA: f.CA}))
	}
	l := startLoad(t, sides[0], sides[1])
	for n, step := range []struct {
		by     *identitytest.CA
		trusts []*identitytest.CA
	}{
		{old, []*identitytest.CA{old}},
		{old, []*identitytest.CA{old, next}},
		{next, []*identitytest.CA{old, next}},
		{next, []*identitytest.CA{next}},
	} {
		for i, name := range names {
			step.by.Issue(nil, name).Write(dirs[i], step.trusts...)
		}
		for _, s := range sides {
			until(t, "the files are read", func() bool { return strings.Count(s.log.String(), "certificate files read") > n })
		}
		l.more()
	}
	l.stop()
}

// A mounted secret is three links through one more, and that is what changes.
func TestFilesOfAPod(t *testing.T) {
	t.Parallel()
	ca := identitytest.NewCA(t, "acme")
	dir := t.TempDir()
	swap := func() {
		t.Helper()
		version, err := os.MkdirTemp(dir, "..version")
		if err != nil {
			t.Fatal(err)
		}
		ca.Issue(nil, domain+"acme/prod/shop").Write(version, ca)
		next := filepath.Join(dir, "..data_tmp")
		if err := errors.Join(os.Symlink(filepath.Base(version), next), os.Rename(next, filepath.Join(dir, "..data"))); err != nil {
			t.Fatal(err)
		}
	}
	swap()
	o := identity.Options{TLSCert: filepath.Join(dir, "tls.crt"), TLSKey: filepath.Join(dir, "tls.key"), TLSCA: filepath.Join(dir, "ca.crt")}
	for _, path := range []string{o.TLSCert, o.TLSKey, o.TLSCA} {
		if err := os.Symlink(filepath.Join("..data", filepath.Base(path)), path); err != nil {
			t.Fatal(err)
		}
	}
	s := newSide(t, o)
	for n := range 3 {
		swap()
		until(t, "the files are read", func() bool { return strings.Count(s.log.String(), "certificate files read") > n })
	}
}

// Whatever becomes of the files, the last good ones stay in force, and the log
// says what is wrong, once.
func TestBadFilesKeepTheLastGood(t *testing.T) {
	t.Parallel()
	ca := identitytest.NewCA(t, "acme")
	dir := t.TempDir()
	good := ca.Issue(nil, domain+"acme/prod/billing")
	f := good.Write(dir, ca)
	s := newSide(t, identity.Options{TLSCert: f.Cert, TLSKey: f.Key, TLSCA: f.CA})
	_, address := serve(t, s)
	client := withFiles(t, ca.Issue(nil, domain+"acme/prod/shop"), identity.Options{}, ca)

	other := ca.Issue(nil, domain+"acme/prod/other")
	expired := ca.Issue(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, domain+"acme/prod/billing")
	two := append(ca.PEM(), identitytest.NewCA(t, "second").PEM()...)
	for _, row := range []struct {
		path, words string
		text        []byte
	}{
		{f.Cert, "are no pair", other.CertPEM()},
		{f.Cert, "are no pair", good.CertPEM()[:200]},
		{f.Key, "are no pair", nil},
		{f.CA, "its last block is cut off", two[:len(two)-100]},
		{f.CA, "it has no certificate", []byte("\n")},
		{f.CA, "want certificates only", good.KeyPEM()},
	} {
		before, err := os.ReadFile(row.path)
		if err != nil {
			t.Fatal(err)
		}
		said := len(s.log.String())
		news := func() string { return s.log.String()[said:] }
		identitytest.Replace(t, row.path, row.text)
		until(t, "it says "+row.words, func() bool { return strings.Contains(news(), row.words) })
		if err := call(t, client, address); err != nil {
			t.Errorf("%s: %v", row.words, err)
		}
		identitytest.Replace(t, row.path, before)
		until(t, "it is mended", func() bool { return strings.Contains(news(), "as they were") })
		if n := strings.Count(news(), row.words); n != 1 {
			t.Errorf("%q is in the log %d times", row.words, n)
		}
	}
	// At the start it is a mistake of whoever starts it.
	g := expired.Write(t.TempDir(), ca)
	if _, err := identity.New(identity.Options{TLSCert: g.Cert, TLSKey: g.Key, TLSCA: g.CA}, nil); err == nil || !strings.Contains(err.Error(), "tls_cert: ") || !strings.Contains(err.Error(), "renew it") {
		t.Errorf("an expired certificate at the start: %v", err)
	}
}

// unused makes a certificate without extended key usage, as SPIFFE agents may.
func unused(c *x509.Certificate) { c.ExtKeyUsage = nil }

func TestWorkloadAPI(t *testing.T) {
	t.Parallel()
	names := []string{domain + "acme/prod/shop", domain + "acme/prod/billing"}
	old, next := identitytest.NewCA(t, "old"), identitytest.NewCA(t, "new")
	var sides []*side
	var apis []*identitytest.Workload
	var stops []func()
	for range names {
		a := identitytest.NewWorkload()
		address, stop := a.Listen(t)
		apis, stops = append(apis, a), append(stops, stop)
		sides = append(sides, newSide(t, identity.Options{SPIFFESocket: address}))
	}
	_, at := serve(t, sides[1])
	refused(t, "before the API has answered", call(t, sides[0], at), "has given this sidecar no identity yet: see whether its agent runs")

	push := func(n int, by *identitytest.CA, bundle ...*identitytest.CA) {
		for i, a := range apis {
			a.Set(&workload.X509SVIDResponse{Svids: []*workload.X509SVID{identitytest.SVID(names[i], by.Issue(unused, names[i]), bundle...)}})
		}
		for _, s := range sides {
			until(t, "the push is taken over", func() bool { return strings.Count(s.log.String(), "identity taken") > n })
		}
	}
	push(0, old, old)
	s, at := serve(t, sides[1])
	if err := call(t, sides[0], at); err != nil {
		t.Fatal(err)
	}
	if err := s.peer().SpeaksFor(shop); err != nil {
		t.Error(err)
	}

	l := startLoad(t, sides[0], sides[1])
	push(1, old, old)
	l.more()
	push(2, old, old, next)
	l.more()
	push(3, next, old, next)
	l.more()
	push(4, next, next)
	l.more()
	for _, stop := range stops {
		stop() // what the API gave last stays in force
	}
	l.more()
	l.stop()

	// Of another trust domain, first without a bundle, then federated, then named.
	const evil = "spiffe://evil.example/agent/acme/prod/shop"
	far := identitytest.NewCA(t, "far")
	farAPI, nearAPI := identitytest.NewWorkload(), identitytest.NewWorkload()
	farAt, _ := farAPI.Listen(t)
	nearAt, _ := nearAPI.Listen(t)
	both := []identity.Mapping{mapping(t, "spiffe://evil.example/agent/acme/prod/shop", shop), mapping(t, names[1], billing)}
	farAPI.Set(&workload.X509SVIDResponse{Svids: []*workload.X509SVID{identitytest.SVID(evil, far.Issue(unused, evil), far)}, FederatedBundles: map[string][]byte{"spiffe://acme.example": next.Cert.Raw}})
	nearAPI.Set(&workload.X509SVIDResponse{Svids: []*workload.X509SVID{identitytest.SVID(names[1], next.Issue(unused, names[1]), next)}})
	client, server := newSide(t, identity.Options{SPIFFESocket: farAt, Identities: both}), newSide(t, identity.Options{SPIFFESocket: nearAt, Identities: both})
	strict := newSide(t, identity.Options{SPIFFESocket: nearAt})
	for _, s := range []*side{client, server, strict} {
		until(t, "it has an identity", func() bool { return s.Self() != "" })
	}
	_, at = serve(t, server)
	_, atStrict := serve(t, strict)
	refused(t, "no bundle", call(t, client, at), "the trust domain evil.example has no bundle; federate with it")
	nearAPI.Set(&workload.X509SVIDResponse{Svids: []*workload.X509SVID{identitytest.SVID(names[1], next.Issue(unused, names[1]), next)}, FederatedBundles: map[string][]byte{"spiffe://evil.example": far.Cert.Raw}})
	until(t, "the bundle is taken over", func() bool { return call(t, client, at) == nil })
	refused(t, "federated, but not named", call(t, client, atStrict), "is of the trust domain evil.example, ours is acme.example")
}

func mapping(t *testing.T, name string, agents ...string) identity.Mapping {
	t.Helper()
	m, err := identity.NewMapping(name, agents)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Authorities that come from outside count beside those of the file, until they
// are taken away.
func TestBundlesFromOutside(t *testing.T) {
	t.Parallel()
	ca, far := identitytest.NewCA(t, "acme"), identitytest.NewCA(t, "far")
	server := withFiles(t, ca.Issue(nil, domain+"acme/prod/billing"), identity.Options{}, ca)
	client := withFiles(t, far.Issue(nil, domain+"acme/prod/shop"), identity.Options{}, ca)
	_, address := serve(t, server)
	refused(t, "before", call(t, client, address), "signed by none of the authorities")
	if err := server.SetBundle("ROOTCA", far.PEM()); err != nil {
		t.Fatal(err)
	}
	if err := call(t, client, address); err != nil {
		t.Error(err)
	}
	if err := server.SetBundle("ROOTCA", append(far.PEM(), ca.PEM()[:100]...)); err == nil {
		t.Error("half a bundle is taken")
	}
	if err := call(t, client, address); err != nil {
		t.Errorf("after half a bundle: %v", err)
	}
	if err := server.SetBundle("ROOTCA", nil); err != nil {
		t.Fatal(err)
	}
	refused(t, "after", call(t, client, address), "signed by none of the authorities")
	if err := withKeys(t, key("a", "x", identity.Current)).SetBundle("ROOTCA", far.PEM()); err == nil {
		t.Error("a keyring takes authorities")
	}
}
