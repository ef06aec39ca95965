// Package identitytest makes certificates for tests: an authority, what it
// issues, and the files a sidecar reads. What it makes is for nothing else.
package identitytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// CA is an authority.
type CA struct {
	t    testing.TB
	Cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewCA makes one. Two of one name are as strange to one another as any.
func NewCA(t testing.TB, name string) *CA {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	return &CA{t, sign(t, template, template, key, key), key}
}

// PEM is the authority's certificate.
func (ca *CA) PEM() []byte { return encode("CERTIFICATE", ca.Cert.Raw) }

// Leaf is a certificate with its key.
type Leaf struct {
	t    testing.TB
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
}

// Issue makes a certificate of the names, URIs or DNS names, after the template
// was changed.
func (ca *CA) Issue(change func(*x509.Certificate), names ...string) Leaf {
	ca.t.Helper()
	template := &x509.Certificate{
		SerialNumber: serial(ca.t), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if !strings.Contains(n, "://") {
			template.DNSNames = append(template.DNSNames, n)
			continue
		}
		u, err := url.Parse(n)
		if err != nil {
			ca.t.Fatal(err)
		}
		template.URIs = append(template.URIs, u)
	}
	if change != nil {
		change(template)
	}
	key := newKey(ca.t)
	return Leaf{ca.t, sign(ca.t, template, ca.Cert, key, ca.key), key}
}

// CertPEM and KeyPEM are what goes into the files.
func (l Leaf) CertPEM() []byte { return encode("CERTIFICATE", l.Cert.Raw) }

// KeyPEM is its private key.
func (l Leaf) KeyPEM() []byte { return encode("PRIVATE KEY", l.KeyDER()) }

// KeyDER is its private key in PKCS #8.
func (l Leaf) KeyDER() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(l.Key)
	if err != nil {
		l.t.Fatal(err)
	}
	return der
}

// Files are the paths of what a sidecar reads.
type Files struct{ Cert, Key, CA string }

// Write puts a leaf and authorities into a directory, each file replaced by
// rename, the certificate first.
func (l Leaf) Write(dir string, authorities ...*CA) Files {
	l.t.Helper()
	f := Files{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), filepath.Join(dir, "ca.crt")}
	var bundle []byte
	for _, ca := range authorities {
		bundle = append(bundle, ca.PEM()...)
	}
	for path, text := range map[string][]byte{f.Cert: l.CertPEM(), f.Key: l.KeyPEM(), f.CA: bundle} {
		Replace(l.t, path, text)
	}
	return f
}

// Replace replaces a file by rename.
func Replace(t testing.TB, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func sign(t testing.TB, template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
