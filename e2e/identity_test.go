package e2e_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"pannier/proxy/identity/identitytest"
)

const domain = "spiffe://acme.example/agent/"

// tlsArgs are the flags of a sidecar with these files.
func tlsArgs(f identitytest.Files) []string {
	return []string{"--tls-cert", f.Cert, "--tls-key", f.Key, "--tls-ca", f.CA}
}

// refusedWith waits until the sidecar shows an error with the words.
func (s *sidecar) refusedWith(words string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%q in `pannier peers`", words), func() error {
		var doc struct {
			Peers []struct {
				LastError string `json:"last_error"`
			}
		}
		a := s.operate("GET", "/v1/admin/peers", nil)
		if err := json.Unmarshal(a.body, &doc); err != nil {
			return err
		}
		for _, p := range doc.Peers {
			if strings.Contains(p.LastError, words) {
				return nil
			}
		}
		return fmt.Errorf("last errors: %+v", doc.Peers)
	})
}

// TestMutualTLS: a pair with certificates delivers; each one that must not take
// part is refused with what to do about it, and brings nothing.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	ca, stranger := identitytest.NewCA(t, "acme"), identitytest.NewCA(t, "stranger")
	files := func(by *identitytest.CA, change func(*x509.Certificate), name string) []string {
		return tlsArgs(by.Issue(change, name).Write(t.TempDir(), ca))
	}
	holder := start(t, setup{name: "holder", agents: []string{billing}, args: files(ca, nil, domain+"acme/prod/billing")})
	peers := peersFile(t, map[string][]string{billing: {holder.peer}})
	const foreign = "agent://other/prod/shop"
	good := start(t, setup{name: "home", agents: []string{shop, foreign}, peers: peers, args: files(ca, nil, domain+"acme/prod/shop")})
	carry(t, good, holder)

	for _, row := range []struct {
		name, words string
		args        []string
	}{
		{"another authority", "signed by none of the authorities trusted here", files(stranger, nil, domain+"acme/prod/shop")},
		{"another trust domain", "is of the trust domain acme.example, ours is evil.example", files(ca, nil, "spiffe://evil.example/agent/acme/prod/shop")},
		{"no agent", "no agent belongs to spiffe://acme.example/else", files(ca, nil, "spiffe://acme.example/else")},
	} {
		s := start(t, setup{name: row.name, agents: []string{shop}, peers: peers, args: row.args})
		id := s.post(billing, map[string]any{"n": 1})
		s.refusedWith(row.words)
		if a := holder.call("GET", "/v1/intents/"+id, nil); a.code != http.StatusNotFound {
			t.Errorf("%s: its intent is at the holder: %v", row.name, a)
		}
		s.kill()
	}

	// In the name of an agent that is not the sidecar's, and of one that its
	// certificate is not for.
	named := func(from string) answer {
		return good.call("POST", "/v1/intents", map[string]any{"intent_type": "x.v1", "to_agent": billing, "from_agent": from, "payload": map[string]any{}})
	}
	if a := named(billing); a.code != http.StatusForbidden || a.errorCode() != "policy_denied" {
		t.Errorf("home takes what is from an agent it does not serve: %v", a)
	}
	var doc struct {
		ID string `json:"intent_id"`
	}
	named(foreign).into(t, &doc)
	good.status(doc.ID, "FAILED")
	if a := good.call("GET", "/v1/intents/"+doc.ID+"/events", nil); !strings.Contains(string(a.body), "may not speak for "+foreign) {
		t.Errorf("its events do not say why: %v", a)
	}
	holder.takeNothing(billing, 0)
}

// TestRotationUnderLoad: certificates, and the authority that signs them, and
// then the keys of a keyring take the place of one another at both sidecars while
// intents flow. None fails, and none is handed over twice.
func TestRotationUnderLoad(t *testing.T) {
	t.Parallel()
	old, next := identitytest.NewCA(t, "old"), identitytest.NewCA(t, "new")
	both := []string{"acme/prod/shop", "acme/prod/billing"}
	dirs := []string{t.TempDir(), t.TempDir()}
	issue := func(by *identitytest.CA, trusted ...*identitytest.CA) (args [][]string) {
		for i, name := range both {
			args = append(args, tlsArgs(by.Issue(nil, domain+name).Write(dirs[i], trusted...)))
		}
		return args
	}
	rotate(t, issue(old, old), "certificate files read",
		func() { issue(old, old, next) }, func() { issue(next, old, next) }, func() { issue(next, next) })

	files := []string{filepath.Join(dirs[0], "keyring.yaml"), filepath.Join(dirs[1], "keyring.yaml")}
	secret := func(n string) string { return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(n, 32))) }
	keyring := func(keys ...string) {
		text := "keys:\n"
		for _, k := range keys {
			text += fmt.Sprintf("  - {id: k%s, secret: %s, use: %s}\n", k[:1], secret(k[:1]), k[2:])
		}
		for _, f := range files {
			identitytest.Replace(t, f, []byte(text))
		}
	}
	keyring("1 current")
	rotate(t, [][]string{{"--keyring", files[0]}, {"--keyring", files[1]}}, "keyring read",
		func() { keyring("1 current", "2 next") }, func() { keyring("1 retiring", "2 current") }, func() { keyring("2 current") })
}

// rotate runs a pair with the flags, and takes the steps, each when both have
// read the one before and an intent has come through since.
func rotate(t *testing.T, args [][]string, read string, steps ...func()) {
	t.Helper()
	holder := newSidecar(t, setup{name: "holder", agents: []string{billing}, args: args[1]})
	home := newSidecar(t, setup{name: "home", agents: []string{shop}, peers: peersFile(t, map[string][]string{billing: {holder.peer}}), args: args[0]})
	holder.launch()
	home.launch()
	holder.awaitReady()
	home.awaitReady()
	n := 0
	flow := func() {
		for range 5 {
			n++
			id := home.post(billing, map[string]any{"n": n})
			it := holder.take1(billing, take{lease: 60, wait: 20})
			if it.ID != id || it.Redelivered || it.DeliveryAttempt != 1 {
				t.Errorf("handed over %+v, want %s for the first time", it, id)
			}
			holder.ack(it, nil)
			home.status(id, "COMPLETED")
		}
	}
	flow()
	for i, step := range steps {
		step()
		for _, s := range []*sidecar{home, holder} {
			eventually(t, fmt.Sprintf("%s: %q for the %d. time", s.set.name, read, i+1), func() error {
				flow()
				if got := strings.Count(s.stderr(), read); got <= i {
					return fmt.Errorf("%d times", got)
				}
				return nil
			})
		}
		flow()
	}
	holder.kill()
	home.kill()
}

// TestIdentityIsChecked: what cannot work, or would be plain text for the world
// to read, is exit 2.
func TestIdentityIsChecked(t *testing.T) {
	t.Parallel()
	ca := identitytest.NewCA(t, "acme")
	f := ca.Issue(nil, domain+"acme/prod/shop").Write(t.TempDir(), ca)
	ring := filepath.Join(t.TempDir(), "keyring.yaml")
	identitytest.Replace(t, ring, []byte("keys: [{id: a, secret: c2hvcnQ=, use: current}]\n"))
	for name, row := range map[string]struct {
		words string
		args  []string
	}{
		"plain text beyond loopback": {"peer: 0.0.0.0:0 is beyond loopback", []string{"--peer", "0.0.0.0:0", "--advertise", "here:1"}},
		"no key":                     {"tls_key: empty", []string{"--tls-cert", f.Cert, "--tls-ca", f.CA}},
		"two sources":                {"an identity has one source", append(tlsArgs(f), "--keyring", ring)},
		"a short secret":             {"make one with openssl rand", []string{"--keyring", ring}},
		"every interface":            {"advertise: empty while peer listens on every interface", append(tlsArgs(f), "--peer", "0.0.0.0:0")},
	} {
		s := newSidecar(t, setup{name: name, agents: []string{shop}, args: row.args})
		s.launch()
		s.awaitExit()
		if code := s.proc.cmd.ProcessState.ExitCode(); code != 2 || !strings.Contains(s.stderr(), row.words) {
			t.Errorf("%s: exit code %d, want 2 and %q:\n%s", name, code, row.words, s.stderr())
		}
	}
}
