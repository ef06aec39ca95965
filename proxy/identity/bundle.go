package identity

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
)

// bundlesMost bounds the bundles that are given from outside.
const bundlesMost = 100

// SetBundle adds authorities to those that are trusted, in PEM, as a secret of
// SDS brings them (envoy.extensions.transport_sockets.tls.v3.Secret,
// validation_context.trusted_ca.inline_bytes); the name is the secret's. One of
// the same name is replaced, an empty one taken away. Where roots belong to trust
// domains (the Workload API), the name is a trust domain's. A keyring trusts its
// keys alone.
func (t *Trust) SetBundle(name string, text []byte) error {
	if t.opt.Keyring != "" {
		return errors.New("a keyring trusts its keys, and no authorities")
	}
	var certs []*x509.Certificate
	if len(text) > 0 {
		var err error
		if certs, err = parseCertificates(text); err != nil {
			return fmt.Errorf("trust bundle %q: %w", name, err)
		}
	}
	t.mu.Lock()
	if _, had := t.mu.bundles[name]; !had && len(t.mu.bundles) >= bundlesMost {
		t.mu.Unlock()
		return fmt.Errorf("trust bundle %q: there are %d already", name, bundlesMost)
	}
	if certs == nil {
		delete(t.mu.bundles, name)
	} else {
		t.mu.bundles[name] = certs
	}
	if t.mu.source != nil {
		t.mu.now = t.mu.source.with(t.mu.bundles)
	}
	t.mu.Unlock()
	t.review()
	return nil
}

// Authorities are those that the certificate files name, in PEM: what a control
// plane that trusts them can tell others to trust. Empty without files.
func (t *Trust) Authorities() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.source == nil || t.files == nil {
		return nil
	}
	var out []byte
	for _, c := range t.mu.source.roots {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

// with returns the material with authorities added to its own.
func (m *material) with(bundles map[string][]*x509.Certificate) *material {
	out := *m
	if m.domains == nil {
		for _, certs := range bundles {
			out.roots = append(out.roots[:len(out.roots):len(out.roots)], certs...)
		}
		return &out
	}
	out.domains = maps.Clone(m.domains)
	for name, certs := range bundles {
		own := out.domains[name]
		out.domains[name] = append(own[:len(own):len(own)], certs...)
	}
	return &out
}
