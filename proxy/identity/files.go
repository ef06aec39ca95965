package identity

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"time"

	"pannier/proxy/regular"
)

// fileMost bounds a file: a bundle of a hundred authorities has 200 KiB.
const fileMost = 1 << 20

// files are a certificate with its key, and the authorities to trust, in PEM.
// They are read again and again: what mounts or writes them replaces them by
// rename, by a symlink above them, or in place, and no watch sees all of that.
type files struct {
	cert, key, ca string
	seen          [sha256.Size]byte // what was last looked at, good or bad
	said          string            // the last complaint
}

// read returns what the files say now, and a hash of it.
func (f *files) read() (*material, [sha256.Size]byte, error) {
	var texts [3][]byte
	hash := sha256.New()
	for i, p := range []struct{ key, path string }{{"tls_cert", f.cert}, {"tls_key", f.key}, {"tls_ca", f.ca}} {
		text, err := readBounded(p.path)
		if err != nil {
			return nil, [sha256.Size]byte{}, fmt.Errorf("%s: %w", p.key, err)
		}
		texts[i] = text
		fmt.Fprintf(hash, "%d\n", len(text))
		hash.Write(text)
	}
	sum := [sha256.Size]byte(hash.Sum(nil))
	own, err := tls.X509KeyPair(texts[0], texts[1])
	if err != nil {
		return nil, sum, fmt.Errorf("tls_cert, tls_key: %s and %s are no pair: %w", f.cert, f.key, err)
	}
	if now := time.Now(); now.After(own.Leaf.NotAfter) {
		return nil, sum, fmt.Errorf("tls_cert: %s expired at %s; renew it", f.cert, own.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	n, err := namesOf(own.Leaf)
	if err != nil {
		return nil, sum, fmt.Errorf("tls_cert: %s: %w", f.cert, err)
	}
	roots, err := parseCertificates(texts[2])
	if err != nil {
		return nil, sum, fmt.Errorf("tls_ca: %s: %w", f.ca, err)
	}
	return &material{own: &own, names: n, roots: roots, usage: true}, sum, nil
}

// reread takes over what the files say, if it is good. A pair of which one half
// is not written yet is looked at again until it is.
func (t *Trust) reread() {
	f := t.files
	m, sum, err := f.read()
	if err == nil && sum != f.seen {
		if err = t.succeeds(m, time.Now()); err != nil {
			err = fmt.Errorf("tls_cert: %s: %w", f.cert, err)
		}
	}
	switch {
	case err != nil && f.said != err.Error():
		f.said = err.Error()
		t.log.Error("certificate files are wrong, the last good ones stay in force", "err", err)
	case err != nil:
	case sum != f.seen:
		f.seen, f.said = sum, ""
		t.set(m)
		t.log.Info("certificate files read", "peer", m.names.String(), "until", m.own.Leaf.NotAfter.UTC())
	case f.said != "":
		f.said = ""
		t.log.Info("certificate files are as they were")
	}
}

// parseCertificates reads a PEM file of certificates. A block that is cut off is
// an error: half a bundle must not pass for one.
func parseCertificates(text []byte) (certs []*x509.Certificate, err error) {
	for rest := text; ; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			if bytes.Contains(rest, []byte("-----BEGIN")) {
				return nil, errors.New("its last block is cut off")
			}
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("it has a block %q, want certificates only", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, errors.New("it has no certificate")
	}
	return certs, nil
}

func readBounded(path string) ([]byte, error) {
	file, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, fileMost+1))
	if err == nil && len(text) > fileMost {
		err = fmt.Errorf("%s has more than %d bytes", path, fileMost)
	}
	return text, err
}
