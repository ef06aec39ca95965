package xds_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"pannier/proxy/identity/identitytest"
	"pannier/proxy/mesh"
	"pannier/proxy/xds"
)

func secret(version string, s *tlsv3.Secret) *discoveryv3.Resource {
	return wrap(mesh.TrustBundle, version, s)
}

// A bundle is taken and replaced. What is no bundle is refused, one that is empty
// above all; one that is taken away stays, over a restart too.
func TestTrustBundle(t *testing.T) {
	old, next, leaf := identitytest.NewCA(t, "old"), identitytest.NewCA(t, "new"), identitytest.NewCA(t, "x").Issue(nil, "x.example")
	bubble(t, func(t *testing.T, w *world) {
		var given []string
		w.opt.Trust = func(bundle []byte) error {
			given = append(given, string(bundle))
			return nil
		}
		last := func(what, want string, times int) {
			t.Helper()
			synctest.Wait()
			if len(given) != times || given[len(given)-1] != want {
				t.Errorf("%s: given %d times, and last %q; want %d and %q", what, len(given), given[max(0, len(given)-1):], times, want)
			}
		}
		p := w.up(first)
		w.start()
		s := p.accept()
		if r := s.requested()[mesh.TypeSecret]; len(r) != 1 || !slices.Equal(r[0].GetResourceNamesSubscribe(), []string{mesh.TrustBundle}) {
			t.Errorf("asked for %v", r)
		}
		both := string(old.PEM()) + string(next.PEM())
		s.ack(mesh.TypeSecret, secret("1", mesh.BuildTrust(old.PEM())))
		last("the first", string(old.PEM()), 1)
		s.ack(mesh.TypeSecret, secret("2", mesh.BuildTrust([]byte(both))))
		last("the next", both, 2)

		key := &tlsv3.Secret{Name: mesh.TrustBundle, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
			PrivateKey: &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: leaf.KeyPEM()}},
		}}}
		for words, bad := range map[string]*tlsv3.Secret{
			"an empty bundle is never obeyed":   mesh.BuildTrust(nil),
			"private keys least of all":         key,
			`a block "PRIVATE KEY"`:             mesh.BuildTrust(append(old.PEM(), leaf.KeyPEM()...)),
			"is no authority":                   mesh.BuildTrust(leaf.CertPEM()),
			"its last block is cut off":         mesh.BuildTrust(append(old.PEM(), next.PEM()[:100]...)),
			"validation_context.trusted_ca: no": {Name: mesh.TrustBundle, Type: &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{}}},
		} {
			r := s.ack(mesh.TypeSecret, secret("3", bad))
			if text := r.GetErrorDetail().GetMessage(); !strings.Contains(text, words) {
				t.Errorf("want a refusal with %q, got %q", words, text)
			}
		}
		last("what is no bundle", both, 2)

		s.ack(mesh.TypeSecret, mesh.TrustBundle)
		time.Sleep(w.opt.DeletionGrace + time.Hour)
		if got := w.state("secret", mesh.TrustBundle); got.State != xds.DoesNotExist || got.Version != "2" {
			t.Errorf("taken away, it is %+v", got)
		}
		if given[len(given)-1] != both || slices.Contains(given, "") {
			t.Errorf("taken away: given %q", given)
		}

		w.quit()
		w.down(first)
		given = nil
		w.start()
		last("a start without a control plane", both, 1)
		w.up(first).accept().ack(mesh.TypeSecret, secret("4", mesh.BuildTrust(next.PEM())))
		last("another after that", string(next.PEM()), 2)
	})
}

// Who does not want bundles asks for none, and has none of a file.
func TestNoTrustBundle(t *testing.T) {
	ca := identitytest.NewCA(t, "acme")
	bubble(t, func(t *testing.T, w *world) {
		w.opt.Trust = func([]byte) error { return errors.New("not that") }
		p := w.up(first)
		w.start()
		p.accept().ack(mesh.TypeSecret, secret("1", mesh.BuildTrust(ca.PEM())))
		synctest.Wait()
		if n := w.log.count("are not trusted"); n != 1 {
			t.Errorf("%d lines of what was wrong with it", n)
		}
		w.quit()
		w.opt.Trust = nil
		w.start()
		if r := p.accept().requested()[mesh.TypeSecret]; len(r) != 0 {
			t.Errorf("asked for %v", r)
		}
		if got := w.state("secret", mesh.TrustBundle).State; got != "not there" {
			t.Errorf("it is %s", got)
		}
	})
}
