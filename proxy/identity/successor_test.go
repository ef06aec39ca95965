package identity_test

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"pannier/proxy/identity"
	"pannier/proxy/identity/identitytest"
)

// A certificate that peers would not take for what this sidecar is takes the place
// of none that they do: what is sent in the name of its agents would end in refusals.
func TestNoIdentityLosesAnAgent(t *testing.T) {
	t.Parallel()
	ca := identitytest.NewCA(t, "acme")
	const ours, others = domain + "acme/prod/shop", domain + "acme/prod/other"
	dir := t.TempDir()
	good := ca.Issue(nil, ours)
	f := good.Write(dir, ca)
	s := newSide(t, identity.Options{TLSCert: f.Cert, TLSKey: f.Key, TLSCA: f.CA})
	s.Keep([]string{shop, billing}) // for billing it never was
	server, address := serve(t, withFiles(t, ca.Issue(nil, domain+"acme/prod/billing"), identity.Options{}, ca))

	for _, row := range []struct {
		words string
		leaf  identitytest.Leaf
	}{
		{"is not for " + shop + ", which this sidecar serves and " + ours + " is for", ca.Issue(nil, others)},
		{"is not valid before", ca.Issue(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(30 * time.Minute) }, ours)},
		{"is not issued for clients and servers", ca.Issue(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, ours)},
		{"is not issued for clients and servers", ca.Issue(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} }, ours)},
	} {
		said := len(s.log.String())
		news := func() string { return s.log.String()[said:] }
		row.leaf.Write(dir, ca)
		until(t, "it says "+row.words, func() bool { return strings.Contains(news(), row.words) })
		if err := call(t, s, address); err != nil {
			t.Errorf("%s: %v", row.words, err)
		} else if err := server.peer().SpeaksFor(shop); err != nil {
			t.Errorf("%s: %v", row.words, err)
		}
		good.Write(dir, ca)
		until(t, "it is mended", func() bool { return strings.Contains(news(), "as they were") })
		if n := strings.Count(news(), row.words); n != 1 {
			t.Errorf("%q is in the log %d times", row.words, n)
		}
	}
}

// The same of keys, of which each has its agents.
func TestNoKeyLosesAnAgent(t *testing.T) {
	t.Parallel()
	s := withKeys(t, key("a", "a", identity.Current, shop))
	s.Keep([]string{shop})
	err := s.SetKeys([]identity.Key{key("a", "a", identity.Retiring, shop), key("b", "b", identity.Current, billing)})
	if err == nil || !strings.Contains(err.Error(), "key b is not for "+shop) {
		t.Errorf("a key of others: %v", err)
	}
	if got := s.Self(); got != "key a" {
		t.Errorf("it shows %s", got)
	}
	if err := s.SetKeys([]identity.Key{key("b", "b", identity.Current)}); err != nil {
		t.Errorf("a key of all: %v", err)
	}
}

// What the Workload API pushes once is taken when what it would have taken the
// place of has ended.
func TestPushIsTakenLater(t *testing.T) {
	t.Parallel()
	ca := identitytest.NewCA(t, "acme")
	const ours, others = domain + "acme/prod/shop", domain + "acme/prod/other"
	api := identitytest.NewWorkload()
	address, _ := api.Listen(t)
	push := func(name string, change func(*x509.Certificate)) {
		api.Give(identitytest.SVID(name, ca.Issue(change, name), ca))
	}
	end := time.Now().Add(3 * time.Second)
	push(ours, func(c *x509.Certificate) { c.NotAfter = end })
	s := newSide(t, identity.Options{SPIFFESocket: address})
	s.Keep([]string{shop})
	until(t, "it has an identity", func() bool { return s.Self() == ours })
	push(others, nil)
	until(t, "it is another", func() bool { return s.Self() == others })
	if now := time.Now(); now.Before(end.Truncate(time.Second)) { // certificates know whole seconds
		t.Errorf("%s before the end of the one for its agent", end.Sub(now))
	}
}
