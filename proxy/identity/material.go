package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// material is all that a handshake needs at one moment. It is never changed,
// only replaced.
type material struct {
	own   *tls.Certificate // with its Leaf
	names names            // of own

	roots   []*x509.Certificate            // vouch for every name
	domains map[string][]*x509.Certificate // by trust domain, where each has roots of its own
	usage   bool                           // the extended key usage counts

	ring *ring // nil: certificates are issued, not made of keys
}

// errNothing is what handshakes fail with before there is anything to make them with.
var errNothing = errors.New("this sidecar has no certificate yet")

// judge tells who has proven to hold the key of a chain's leaf, or why that is
// nobody.
func (m *material) judge(chain []*x509.Certificate, as x509.ExtKeyUsage, o *Options, now time.Time) (*standing, error) {
	if len(chain) == 0 {
		return nil, errors.New("it has shown no certificate: give it one with tls_cert and tls_key")
	}
	leaf := chain[0]
	if m.ring != nil {
		return m.ring.judge(leaf)
	}
	n, err := namesOf(leaf)
	if err != nil {
		return nil, err
	}
	switch {
	case now.After(leaf.NotAfter):
		return nil, fmt.Errorf("the certificate of %s expired at %s: renew it there", n, leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return nil, fmt.Errorf("the certificate of %s is not valid before %s: see whether the clocks agree", n, leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	roots, err := m.rootsFor(n, o)
	if err != nil {
		return nil, err
	}
	if err := verify(chain, roots, m.usages(as), now); err != nil {
		return nil, explain(err, n, leaf)
	}
	theirs, ours := n.spiffe.TrustDomain(), m.names.spiffe.TrustDomain()
	return &standing{
		name: n.String(), names: n, agents: agentsOf(n, o.Identities),
		foreign: !theirs.IsZero() && !ours.IsZero() && theirs != ours,
	}, nil
}

// rootsFor returns who may vouch for a name. A SPIFFE ID must be of our own trust
// domain or of one that a mapping names: a root that signs for several vouches
// for no stranger.
func (m *material) rootsFor(n names, o *Options) ([]*x509.Certificate, error) {
	if n.spiffe.IsZero() {
		if m.domains != nil {
			return nil, fmt.Errorf("%s has no SPIFFE ID, and here all peers have", n)
		}
		return m.roots, nil
	}
	domain, own := n.spiffe.TrustDomain(), m.names.spiffe.TrustDomain()
	known := own.IsZero() && len(o.Identities) == 0 || domain == own || slices.Contains(domainsOf(o.Identities), domain.Name())
	if !known {
		return nil, fmt.Errorf("%s is of the trust domain %s%s: name it under identities, or issue it in a domain that is", n, domain, notOurs(own))
	}
	if m.domains == nil {
		return m.roots, nil
	}
	if roots := m.domains[domain.Name()]; len(roots) > 0 {
		return roots, nil
	}
	return nil, fmt.Errorf("nothing is known here to verify %s with: the trust domain %s has no bundle; federate with it", n, domain)
}

func notOurs(own spiffeid.TrustDomain) string {
	if own.IsZero() {
		return ""
	}
	return fmt.Sprintf(", ours is %s", own)
}

// usages are what a leaf must be issued for. X.509-SVIDs are good for both sides
// (X.509-SVID, 4.4).
func (m *material) usages(as x509.ExtKeyUsage) []x509.ExtKeyUsage {
	if m.usage {
		return []x509.ExtKeyUsage{as}
	}
	return []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
}

func verify(chain, roots []*x509.Certificate, usages []x509.ExtKeyUsage, now time.Time) error {
	o := x509.VerifyOptions{Roots: pool(roots), Intermediates: pool(chain[1:]), KeyUsages: usages, CurrentTime: now}
	_, err := chain[0].Verify(o)
	return err
}

func pool(certs []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}

// explain says what to do about a chain that does not verify.
func explain(err error, n names, leaf *x509.Certificate) error {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("the certificate of %s is signed by none of the authorities trusted here (by %s): give both sides the same tls_ca", n, clip(leaf.Issuer.String()))
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return fmt.Errorf("the certificate of %s is not issued for both clients and servers: a sidecar is both", n)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("an authority above the certificate of %s has expired: renew it, and tls_ca on both sides", n)
	}
	return fmt.Errorf("the certificate of %s does not verify: %w", n, err)
}

// clip cuts what a stranger has written.
func clip(s string) string {
	const most = 100
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
