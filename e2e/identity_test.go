package e2e_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

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

// TestBadIdentityFiles: a file that is half written, does not fit the others, or is
// another agent's, changes nothing: home goes on, also to a holder that it has to
// dial anew, and takes the whole when it is there.
func TestBadIdentityFiles(t *testing.T) {
	t.Parallel()
	ca, dir := identitytest.NewCA(t, "acme"), t.TempDir()
	was, is := ca.Issue(nil, domain+"acme/prod/shop"), ca.Issue(nil, domain+"acme/prod/shop")
	files := was.Write(dir, ca)
	theirs := tlsArgs(ca.Issue(nil, domain+"acme/prod/billing").Write(t.TempDir(), ca))
	t.Run("certificates", func(t *testing.T) {
		t.Parallel()
		spoiled(t, tlsArgs(files), theirs, "certificate files", "are wrong",
			func() { ca.Issue(nil, domain+"acme/prod/else").Write(dir, ca) },
			func() { identitytest.Replace(t, files.Cert, is.CertPEM()) },
			func() { identitytest.Replace(t, files.Key, is.KeyPEM()) })
	})
	ring, both := filepath.Join(dir, "keyring.yaml"), filepath.Join(dir, "both.yaml")
	one, two := keyOf("1"), keyOf("2")
	identitytest.Replace(t, ring, keyringOf(one("current")))
	identitytest.Replace(t, both, keyringOf(one("current"), two("next")))
	t.Run("keyring", func(t *testing.T) {
		t.Parallel()
		whole := keyringOf(one("retiring"), two("current"))
		spoiled(t, []string{"--keyring", ring}, []string{"--keyring", both}, "keyring", "is wrong",
			func() { identitytest.Replace(t, ring, whole[:len(whole)-20]) },
			func() { identitytest.Replace(t, ring, keyringOf(one("current"), two("current"))) },
			func() { identitytest.Replace(t, ring, whole) })
	})
}

// keyOf is a line of a keyring, by the use of the key.
func keyOf(id string) func(use string) string {
	secret := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(id, 32)))
	return func(use string) string { return fmt.Sprintf("  - {id: k%s, secret: %s, use: %s}\n", id, secret, use) }
}

func keyringOf(keys ...string) []byte { return []byte("keys:\n" + strings.Join(keys, "")) }

// spoiled runs a pair and spoils home's files, twice, and then makes them good. After
// each step home dials the holder anew, and an intent comes through.
func spoiled(t *testing.T, home, holder []string, files, wrong string, once, again, good func()) {
	t.Helper()
	b := newSidecar(t, setup{name: "holder", agents: []string{billing}, args: holder})
	a := newSidecar(t, setup{name: "home", agents: []string{shop}, peers: peersFile(t, map[string][]string{billing: {b.peer}}), args: home})
	b.launch()
	a.launch()
	b.awaitReady()
	a.awaitReady()
	carry(t, a, b)
	read := strings.Count(a.stderr(), files+" read")
	for _, step := range []struct {
		do   func()
		says string
		n    int
	}{{once, wrong, 1}, {again, wrong, 2}, {good, "read", read + 1}} {
		step.do()
		eventually(t, fmt.Sprintf("%q for the %d. time", files+" "+step.says, step.n), func() error {
			if got := strings.Count(a.stderr(), files+" "+step.says); got < step.n {
				return fmt.Errorf("%d times", got)
			}
			return nil
		})
		b.kill()
		b.start()
		carry(t, a, b)
	}
}

// TestReplayedSession: what a home has said to a holder is said again by somebody
// who has listened, to it and to another holder, whole, cut short, in another order
// and changed. It brings nothing, and is hung up on; what is changed on its way
// brings no intent twice.
func TestReplayedSession(t *testing.T) {
	t.Parallel()
	ring := filepath.Join(t.TempDir(), "keyring.yaml")
	identitytest.Replace(t, ring, keyringOf(keyOf("1")("current")))
	identified := []string{"--keyring", ring}
	holder := newSidecar(t, setup{name: "holder", agents: []string{billing}})
	other := start(t, setup{name: "other", agents: []string{billing}, args: identified})

	var mu sync.Mutex
	var said [][]byte // by what was read at once
	change := false
	w := newWire(t, holder.peer)
	w.tap = func(p []byte) {
		mu.Lock()
		defer mu.Unlock()
		if change && len(p) > 0 {
			p[len(p)-1], change = p[len(p)-1]^1, false
		}
		said = append(said, bytes.Clone(p))
	}
	holder.set.args = append(identified, "--advertise", w.addr)
	holder.start()
	home := start(t, setup{name: "home", agents: []string{shop}, peers: peersFile(t, map[string][]string{billing: {w.addr}}), args: identified})
	id := home.post(billing, map[string]any{"order": "A-1"})
	holder.holds(id)

	mu.Lock()
	whole := bytes.Join(said, nil)
	swapped := slices.Clone(said)
	mu.Unlock()
	last := len(swapped) - 1
	swapped[last], swapped[last-1] = swapped[last-1], swapped[last]
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	for what, again := range map[string][]byte{"replayed": whole, "truncated": whole[:len(whole)-30], "reordered": bytes.Join(swapped, nil), "changed": flipped} {
		for _, to := range []*sidecar{holder, other} {
			c, err := net.Dial("tcp", to.peer)
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(time.Minute))
			c.Write(again) // it may hang up in the middle of it
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("%s: %s does not hang up", what, to.set.name)
			}
			c.Close()
		}
	}
	if a := other.call("GET", "/v1/intents/"+id, nil); a.code != http.StatusNotFound {
		t.Errorf("another holder was made to take it: %v", a)
	}
	finish(t, home, holder, id)

	mu.Lock()
	change = true
	mu.Unlock()
	carry(t, home, holder)
	holder.takeNothing(billing, 1)
	other.takeNothing(billing, 0)
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
