package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"time"
)

const (
	// MinSecret is how many bytes a key has at least. A stranger who dials sees
	// what was made of the key, and can try others at leisure: only one that
	// nobody can guess will do.
	MinSecret = 32
	// KeysMost bounds a keyring.
	KeysMost = 16

	rootLabel = "pannier keyring root v1" // of HKDF (RFC 5869), info
)

// Key is one of a keyring. Whoever has it may speak for its agents.
type Key struct {
	ID     string   // for people; the other side may call it something else
	Secret []byte   // MinSecret bytes at least
	Agents []string // grants; none: every agent
	Use    Use
}

// String is how a holder of the key is called.
func (k Key) String() string { return "key " + k.ID }

// Use is where a key stands in its life. All are accepted; one is shown.
type Use string

// A key that is to take the place of another is added everywhere as the next,
// made the current one everywhere, while the other retires, and then the other is
// taken out. At each step, in whatever order sidecars take it, both are known to
// all.
const (
	Next     Use = "next"
	Current  Use = "current"
	Retiring Use = "retiring"
)

// ring is what a keyring makes of its keys: each is the root of certificates
// that only its holders can issue, to themselves.
type ring struct {
	own  Key
	keys map[string]root // by subject key id
}

type root struct {
	key  Key
	cert *x509.Certificate
}

// SetKeys puts a keyring in force. An error says what is wrong with it; the last
// good one stays then.
func (t *Trust) SetKeys(keys []Key) error {
	m, err := materialOf(keys)
	if err != nil {
		return err
	}
	if err := t.succeeds(m, time.Now()); err != nil {
		return err
	}
	t.set(m)
	return nil
}

// CheckKeys says what is wrong with a keyring.
func CheckKeys(keys []Key) error {
	_, err := materialOf(keys)
	return err
}

func materialOf(keys []Key) (*material, error) {
	if len(keys) > KeysMost {
		return nil, fmt.Errorf("%d keys, at most %d are read", len(keys), KeysMost)
	}
	m := &material{ring: &ring{keys: map[string]root{}}}
	ids := map[string]bool{}
	current := 0
	for _, k := range keys {
		if ids[k.ID] {
			return nil, fmt.Errorf("two keys have the id %s", k.ID)
		}
		ids[k.ID] = true
		if len(k.Agents) == 0 {
			k.Agents = []string{"*"}
		}
		cert, signer, err := rootOf(k.Secret)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", k.ID, err)
		}
		ski := string(cert.SubjectKeyId)
		if twin, twice := m.ring.keys[ski]; twice {
			return nil, fmt.Errorf("the keys %s and %s are the same", twin.key.ID, k.ID)
		}
		m.ring.keys[ski] = root{k, cert}
		if k.Use == Current {
			current++
			m.ring.own = k
			if m.own, err = issue(cert, signer); err != nil {
				return nil, fmt.Errorf("key %s: %w", k.ID, err)
			}
		}
	}
	if current != 1 {
		return nil, fmt.Errorf("%d keys are current, want one: that is the key this sidecar shows", current)
	}
	return m, nil
}

// Certificates made of keys are valid for all time: a key ends when it is taken
// out of the keyrings, and no clock matters. The end is that of RFC 5280, 4.1.2.5,
// for what has none.
var (
	validFrom = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	validTo   = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// rootOf makes the root of a key: every holder makes the same.
func rootOf(secret []byte) (*x509.Certificate, ed25519.PrivateKey, error) {
	if len(secret) < MinSecret {
		return nil, nil, fmt.Errorf("it has %d bytes, want %d or more: make one with openssl rand -base64 %d", len(secret), MinSecret, MinSecret)
	}
	seed, err := hkdf.Key(sha256.New, secret, nil, rootLabel, ed25519.SeedSize)
	if err != nil {
		return nil, nil, err
	}
	signer := ed25519.NewKeyFromSeed(seed)
	sum := sha256.Sum256(signer.Public().(ed25519.PublicKey))
	ski := sum[:20]
	cert, err := create(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pannier key " + fingerprint(ski)},
		NotBefore: validFrom, NotAfter: validTo, SubjectKeyId: ski,
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, signer.Public(), signer)
	return cert, signer, err
}

// issue makes a certificate under a root, for a private key that never leaves
// this process.
func issue(by *x509.Certificate, signer ed25519.PrivateKey) (*tls.Certificate, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	leaf, err := create(&x509.Certificate{
		SerialNumber: serial, Subject: by.Subject, NotBefore: validFrom, NotAfter: validTo, AuthorityKeyId: by.SubjectKeyId,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, by, private.Public(), signer)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: private, Leaf: leaf}, nil
}

// create signs a certificate; without a parent by itself.
func create(template, parent *x509.Certificate, public any, signer ed25519.PrivateKey) (*x509.Certificate, error) {
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// judge finds the key that a certificate was made of.
func (r *ring) judge(leaf *x509.Certificate) (*standing, error) {
	found, ok := r.keys[string(leaf.AuthorityKeyId)]
	if !ok {
		return nil, fmt.Errorf("its key (%s) is none of this keyring's: put it into the keyring here before it becomes current there", fingerprint(leaf.AuthorityKeyId))
	}
	if err := verify([]*x509.Certificate{leaf}, []*x509.Certificate{found.cert}, []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, time.Now()); err != nil {
		return nil, errors.New("its certificate was not made of the key it names")
	}
	return &standing{name: found.key.String(), agents: found.key.Agents, key: true}, nil
}

// fingerprint is how keys are told apart without being shown.
func fingerprint(ski []byte) string {
	if len(ski) == 0 {
		return "no key"
	}
	return hex.EncodeToString(ski[:min(len(ski), 6)])
}
