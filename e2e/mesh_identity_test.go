package e2e_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pannier/proxy/identity/identitytest"
)

// at is a sidecar's way to the control plane, by the name in its certificate.
func (c *controlPlane) at() []string {
	_, port, _ := strings.Cut(c.XDS, ":")
	return []string{"--xds", "localhost:" + port}
}

// says waits until the log of the control plane has the words.
func (c *controlPlane) says(t testing.TB, words string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%q in the control plane's log", words), func() error {
		if text := readAll(c.log); !strings.Contains(text, words) {
			return fmt.Errorf("it says %s", tail(text, 1000))
		}
		return nil
	})
}

// shows waits until a verb for operators of the sidecar prints the words.
func (s *sidecar) shows(words string, verb ...string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%q of %v", words, verb), func() error {
		cmd := exec.Command(s.bin, append(verb, "--admin", s.admin)...)
		cmd.Env = cleanEnv()
		out, _ := cmd.CombinedOutput() // check ends with 1
		if !strings.Contains(string(out), words) {
			return fmt.Errorf("it prints %s", out)
		}
		return nil
	})
}

// TestMeshWithCertificates: sidecars with certificates find one another at a
// control plane with one; each that must not take part is refused, and it, its
// operators and those of the control plane read which check it did not pass.
func TestMeshWithCertificates(t *testing.T) {
	t.Parallel()
	ca := identitytest.NewCA(t, "acme")
	files := func(change func(*x509.Certificate), names ...string) []string {
		return tlsArgs(ca.Issue(change, names...).Write(t.TempDir(), ca))
	}
	plane := startControlPlane(t, files(nil, "spiffe://acme.example/control-plane", "localhost")...)
	join := func(name, agent string, config map[string]string, args ...string) *sidecar {
		return start(t, setup{name: name, agents: []string{agent}, config: config, args: append(args, plane.at()...)})
	}
	// Its certificate must outlive its start, which takes its time on a busy machine.
	var short *sidecar
	var ends time.Time
	for life := 10 * time.Second; ; life *= 2 {
		ends = time.Now().Add(life).Truncate(time.Second)
		short = newSidecar(t, setup{name: "expired", agents: []string{shop}, args: append(files(func(c *x509.Certificate) { c.NotAfter = ends }, domain+"acme/prod/shop"), plane.at()...)})
		short.launch()
		err := short.tryReady()
		if err == nil {
			break
		}
		if life > 40*time.Second {
			t.Fatal(err)
		}
	}
	holder := join("holder", billing, nil, files(nil, domain+"acme/prod/billing")...)
	home := join("home", shop, nil, files(nil, domain+"acme/prod/shop")...)
	carry(t, home, holder)

	none := join("without a certificate", shop, nil)
	none.shows("if it asks for TLS, give this sidecar an identity", "xds", "status")
	plane.says(t, "does not speak TLS")
	none.kill()

	const words = "is of the trust domain evil.example, ours is acme.example"
	evil := join("another trust domain", shop, map[string]string{"identities": `{"spiffe://acme.example/*": ["*"]}`}, files(nil, "spiffe://evil.example/agent/acme/prod/shop")...)
	evil.shows(words, "xds", "status")
	plane.says(t, words)
	evil.kill()

	// By a name that the control plane does not prove; and by the one it does.
	named := join("another control plane", shop, nil, append(files(nil, domain+"acme/prod/shop"), "--xds-name", "spiffe://acme.example/else")...)
	named.shows("spiffe://acme.example/control-plane answers, and spiffe://acme.example/else is wanted", "xds", "status")
	named.kill()
	named = join("the control plane by its SPIFFE ID", shop, nil, append(files(nil, domain+"acme/prod/shop"), "--xds-name", "spiffe://acme.example/control-plane")...)
	carry(t, named, holder)
	named.kill()

	// Trusted, and not for that agent: it is not announced, and is served.
	thief := join("another's agent", billing, nil, files(nil, domain+"acme/prod/shop")...)
	const refused = "agent " + billing + " is not announced: " + domain + "acme/prod/shop may not speak for " + billing
	thief.shows(refused, "xds", "status")
	thief.shows("×  control plane", "check")
	plane.says(t, domain+"acme/prod/shop may not speak for "+billing)
	for range 3 {
		carry(t, home, holder) // and not to the thief
	}
	thief.takeNothing(billing, 0)
	thief.kill()

	// A channel ends with the certificate it was opened with.
	short.shows("expired at "+ends.UTC().Format(time.RFC3339)+": renew it there", "xds", "status")
	plane.says(t, "expired at "+ends.UTC().Format(time.RFC3339))
}

// TestMeshWithKeyring is the same for those without certificates.
func TestMeshWithKeyring(t *testing.T) {
	t.Parallel()
	keyring := func(keys ...string) []string {
		path, text := filepath.Join(t.TempDir(), "keyring.yaml"), "keys:\n"
		for _, k := range keys {
			id, use, _ := strings.Cut(k, " ")
			text += fmt.Sprintf("  - {id: %s, secret: %s, use: %s}\n", id, base64.StdEncoding.EncodeToString([]byte(strings.Repeat(id, 32))), use)
		}
		identitytest.Replace(t, path, []byte(text))
		return []string{"--keyring", path}
	}
	plane := startControlPlane(t, keyring("a current")...)
	join := func(name, agent string, args ...string) *sidecar {
		return start(t, setup{name: name, agents: []string{agent}, args: append(args, plane.at()...)})
	}
	holder, home := join("holder", billing, keyring("a current")...), join("home", shop, keyring("a current")...)
	carry(t, home, holder)

	stranger := join("another key", shop, keyring("b current")...)
	stranger.shows("is none of this keyring's", "xds", "status")
	stranger.kill()
	ahead := join("a key too new", shop, keyring("a next", "b current")...)
	ahead.shows("put it into the keyring here before it becomes current there", "xds", "status")
	plane.says(t, "is none of this keyring's")
}

// TestControlPlaneIsChecked: what cannot work, or would be plain text for the
// world to read, is exit 2.
func TestControlPlaneIsChecked(t *testing.T) {
	t.Parallel()
	ca := identitytest.NewCA(t, "acme")
	f := ca.Issue(nil, "localhost").Write(t.TempDir(), ca)
	names := filepath.Join(t.TempDir(), "identities.yaml")
	identitytest.Replace(t, names, []byte("identities: {a.example: [b]}\nallow: []\n"))
	for name, row := range map[string]struct {
		words string
		args  []string
	}{
		"plain text beyond loopback": {"listen: 0.0.0.0:7410 is beyond loopback and the channel is plain text; set tls_cert", nil},
		"insecure beside TLS":        {"insecure: set beside an identity", append(tlsArgs(f), "--insecure")},
		"no key":                     {"tls_key: empty", []string{"--tls-cert", f.Cert, "--tls-ca", f.CA}},
		"two sources":                {"an identity has one source", append(tlsArgs(f), "--spiffe-socket", "unix:///run/x.sock")},
		"names for nobody":           {"identities, allow: nothing proves who a peer is", []string{"--identities", names + ".good", "--listen", "127.0.0.1:0"}},
		"another setting":            {names + ":2:1: allow: not a setting of a file of identities", append(tlsArgs(f), "--identities", names)},
	} {
		identitytest.Replace(t, names+".good", []byte("identities: {a.example: [b]}\n"))
		cmd := exec.Command(binary(t), append([]string{"control-plane", "--admin", "127.0.0.1:0"}, row.args...)...)
		cmd.Env = cleanEnv()
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), row.words) {
			t.Errorf("%s: %v, want exit code 2 and %q:\n%s", name, err, row.words, out)
		}
	}
}

// bundle is the version of the authorities that a control plane has named, as the
// sidecar has them in force.
func (s *sidecar) bundle() string {
	s.t.Helper()
	var doc struct {
		Resources []struct{ Type, State, Version string }
	}
	if err := json.Unmarshal(s.operate("GET", "/v1/admin/xds", nil).body, &doc); err != nil {
		s.t.Fatal(err)
	}
	for _, r := range doc.Resources {
		if r.Type == "secret" && r.State == "ACKED" {
			return r.Version
		}
	}
	return ""
}

// TestAuthorityOfTheMesh: the authority that signs everybody takes the place of
// another, under load, and only the control plane's file of authorities is told of
// it: no intent fails, and none comes twice. What was named last holds over a
// restart without a control plane.
func TestAuthorityOfTheMesh(t *testing.T) {
	t.Parallel()
	old, next := identitytest.NewCA(t, "old"), identitytest.NewCA(t, "new")
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	names := [][]string{{"spiffe://acme.example/control-plane", "localhost"}, {domain + "acme/prod/billing"}, {domain + "acme/prod/shop"}}
	issue := func(i int, by *identitytest.CA, trusted ...*identitytest.CA) []string {
		return tlsArgs(by.Issue(nil, names[i]...).Write(dirs[i], trusted...))
	}
	plane := startControlPlane(t, issue(0, old, old)...)
	join := func(i int, agent string) *sidecar {
		return start(t, setup{name: agent, agents: []string{agent}, args: append(append(issue(i, old, old), "--xds-trust"), plane.at()...)})
	}
	holder, home := join(1, billing), join(2, shop)
	n := 0
	flow := func() {
		t.Helper()
		for range 3 {
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
	until := func(what string, so func(s *sidecar) bool) {
		t.Helper()
		for _, s := range []*sidecar{holder, home} {
			eventually(t, s.set.name+": "+what, func() error {
				flow()
				if !so(s) {
					return errors.New("not yet")
				}
				return nil
			})
		}
	}
	named := map[*sidecar]string{}
	another := func(s *sidecar) bool {
		if v := s.bundle(); v != "" && v != named[s] {
			named[s] = v
			return true
		}
		return false
	}
	until("the old authority is named", another)
	issue(0, old, old, next)
	until("both are named", another)
	for i := range dirs {
		authorities := []*identitytest.CA{old}
		if i == 0 {
			authorities = append(authorities, next)
		}
		issue(i, next, authorities...)
	}
	until("its own certificate is the new authority's", func(s *sidecar) bool { return strings.Contains(s.stderr(), "certificate files read") })
	issue(0, next, next)
	until("the new authority alone is named", another)

	plane.proc.cmd.Process.Kill()
	<-plane.proc.exited
	home.kill()
	home.start()
	flow()
}

// TestControlPlaneBySPIFFE: a control plane that has its identity from the Workload
// API is found by its SPIFFE ID, by sidecars whose certificates are files, and goes on
// with the next one it is given.
func TestControlPlaneBySPIFFE(t *testing.T) {
	t.Parallel()
	const id = "spiffe://acme.example/control-plane"
	ca, next := identitytest.NewCA(t, "acme"), identitytest.NewCA(t, "next")
	workload := identitytest.NewWorkload()
	socket, _ := workload.Listen(t)
	workload.Give(identitytest.SVID(id, ca.Issue(nil, id), ca))
	plane := startControlPlane(t, "--spiffe-socket", socket)
	join := func(name, agent string) *sidecar {
		files := ca.Issue(nil, domain+strings.TrimPrefix(agent, "agent://")).Write(t.TempDir(), ca, next)
		return start(t, setup{name: name, agents: []string{agent}, args: append(append(tlsArgs(files), "--xds-name", id), plane.at()...)})
	}
	holder, home := join("holder", billing), join("home", shop)
	carry(t, home, holder)

	const taken = "identity taken from the Workload API"
	workload.Give(identitytest.SVID(id, next.Issue(nil, id), ca, next))
	eventually(t, "the next identity is taken", func() error {
		if n := strings.Count(readAll(plane.log), taken); n < 2 {
			return fmt.Errorf("%q %d times", taken, n)
		}
		return nil
	})
	join("third", "agent://acme/prod/third").shows("connected", "xds", "status")
}
