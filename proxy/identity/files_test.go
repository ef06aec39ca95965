package identity_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pannier/proxy/identity"
	"pannier/proxy/identity/identitytest"
)

// A named pipe in the place of a file is refused with the setting that names it, and
// not waited for.
func TestNamedPipes(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ca := identitytest.NewCA(t, "ca")
	good := filesOf(t, ca.Issue(nil, "spiffe://acme.test/a"), ca)
	for key, o := range map[string]identity.Options{
		"tls_cert": {TLSCert: pipe, TLSKey: good.TLSKey, TLSCA: good.TLSCA},
		"tls_key":  {TLSCert: good.TLSCert, TLSKey: pipe, TLSCA: good.TLSCA},
		"tls_ca":   {TLSCert: good.TLSCert, TLSKey: good.TLSKey, TLSCA: pipe},
	} {
		made := make(chan error, 1)
		go func() { _, err := identity.New(o, nil); made <- err }()
		select {
		case err := <-made:
			if err == nil || !strings.Contains(err.Error(), key+": ") || !strings.Contains(err.Error(), "a named pipe, want a regular file") {
				t.Errorf("%s: %v", key, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: it waits for somebody to write into it", key)
		}
	}
}
