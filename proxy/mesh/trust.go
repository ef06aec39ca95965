package mesh

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// TrustBundle is the name of the secret that has the authorities of the mesh.
const TrustBundle = "pannier-trust"

// maxAuthorities bounds a bundle.
const maxAuthorities = 100

// BuildTrust is the secret of a bundle in PEM: a validation context, and never a
// private key.
func BuildTrust(bundle []byte) *tls.Secret {
	return &tls.Secret{Name: TrustBundle, Type: &tls.Secret_ValidationContext{ValidationContext: &tls.CertificateValidationContext{
		TrustedCa: &core.DataSource{Specifier: &core.DataSource_InlineBytes{InlineBytes: bundle}},
	}}}
}

// ReadTrust is the bundle of a secret that passes CheckTrust.
func ReadTrust(s *tls.Secret) []byte { return inline(s.GetValidationContext().GetTrustedCa()) }

// inline is the content of a data source that brings it along.
func inline(d *core.DataSource) []byte {
	if text := d.GetInlineString(); text != "" {
		return []byte(text)
	}
	return d.GetInlineBytes()
}

// CheckTrust refuses a Secret that is no trust bundle. An empty one would take
// all trust away at once, and so is a mistake whatever was meant by it; what has
// a private key was not meant for here.
func CheckTrust(s *tls.Secret) error {
	if s.GetValidationContext() == nil {
		return errors.New("type: want a validation_context: nothing else is taken from a control plane, private keys least of all")
	}
	rest := inline(s.GetValidationContext().GetTrustedCa())
	for n := 0; ; n++ {
		var block *pem.Block
		switch block, rest = pem.Decode(rest); {
		case block == nil && n == 0:
			return errors.New("validation_context.trusted_ca: no certificate in it, in inline_bytes or inline_string; an empty bundle is never obeyed")
		case block == nil && bytes.Contains(rest, []byte("-----BEGIN")):
			return errors.New("validation_context.trusted_ca: its last block is cut off")
		case block == nil:
			return nil
		case n == maxAuthorities:
			return fmt.Errorf("validation_context.trusted_ca: more than %d certificates", maxAuthorities)
		case block.Type != "CERTIFICATE":
			return fmt.Errorf("validation_context.trusted_ca: a block %q, want certificates only", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("validation_context.trusted_ca: %w", err)
		}
		if !c.IsCA {
			return fmt.Errorf("validation_context.trusted_ca: %q is no authority", c.Subject)
		}
	}
}
