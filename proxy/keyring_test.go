package proxy_test

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pannier/proxy"
	"pannier/proxy/identity"
)

func secret(c string) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(c, identity.MinSecret)))
}

func writeKeyring(t *testing.T, mode os.FileMode, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keyring.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// openKeyring returns what the file sets.
func openKeyring(path string) (got []identity.Key, err error) {
	err = proxy.OpenKeyring(path, func(keys []identity.Key) error {
		got = keys
		return identity.CheckKeys(keys)
	}, slog.New(slog.DiscardHandler))
	return got, err
}

func TestKeyringIsRead(t *testing.T) {
	t.Parallel()
	got, err := openKeyring(writeKeyring(t, 0o600, fmt.Sprintf("keys:\n  - {id: a, secret: %q, use: current, agents: [acme/*, orders]}\n  - {id: b, secret: %q, use: next}\n", secret("a"), secret("b"))))
	if err != nil {
		t.Fatal(err)
	}
	want := []identity.Key{
		{ID: "a", Secret: []byte(strings.Repeat("a", identity.MinSecret)), Use: identity.Current, Agents: []string{"agent://acme/*", "orders"}},
		{ID: "b", Secret: []byte(strings.Repeat("b", identity.MinSecret)), Use: identity.Next},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestKeyringIsPrivate(t *testing.T) {
	t.Parallel()
	text := fmt.Sprintf("keys: [{id: a, secret: %q, use: current}]\n", secret("a"))
	for _, mode := range []os.FileMode{0o644, 0o640, 0o620, 0o604, 0o602, 0o660} {
		if _, err := openKeyring(writeKeyring(t, mode, text)); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	for _, mode := range []os.FileMode{0o600, 0o400} {
		if _, err := openKeyring(writeKeyring(t, mode, text)); err != nil {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	// A secret that is mounted for a group belongs to another user.
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	path := writeKeyring(t, 0o640, text)
	if err := os.Chown(path, 65532, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := openKeyring(path); err != nil {
		t.Errorf("of another user, and readable for the group: %v", err)
	}
}

// What is wrong is told with its place, and without the text there.
func TestKeyringComplaints(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, text, want string }{
		{"empty", "", "the file is empty"},
		{"another key", "key: []\n", `not a setting of a keyring, want "keys"`},
		{"no list", "keys: {}\n", "want a list of {id, secret, use, agents}"},
		{"not YAML", "keys: [\nSECRET", "not YAML"},
		{"a short secret", "keys: [{id: a, secret: SECRET, use: current}]\n", ":1:24: secret: want 32 bytes or more in base64"},
		{"no use", fmt.Sprintf("keys: [{id: a, secret: %q}]\n", secret("a")), "use: missing"},
		{"another use", fmt.Sprintf("keys: [{id: a, secret: %q, use: SECRET}]\n", secret("a")), "use: want next, current or retiring"},
		{"a number", fmt.Sprintf("keys: [{id: 7, secret: %q, use: current}]\n", secret("a")), "write it in quotes"},
		{"another field", fmt.Sprintf("keys: [{id: a, SECRET: x, secret: %q, use: current}]\n", secret("a")), "not a setting of a key"},
		{"no current one", fmt.Sprintf("keys: [{id: a, secret: %q, use: next}]\n", secret("a")), "0 keys are current, want one"},
		{"no agents", fmt.Sprintf("keys: [{id: a, secret: %q, use: current, agents: []}]\n", secret("a")), "the list is empty"},
		{"too many", "keys: [" + strings.Repeat("{}, ", identity.KeysMost+1) + "]\n", "at most 16 are read"},
	} {
		_, err := openKeyring(writeKeyring(t, 0o600, row.text))
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: got %v, want %q", row.name, err, row.want)
		} else if strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), secret("a")) {
			t.Errorf("%s: the text is told: %v", row.name, err)
		}
	}
}

func TestTrustSettings(t *testing.T) {
	t.Parallel()
	o := proxy.DefaultOptions()
	err := proxy.ParseConfig("c.yaml", []byte(`identities:
  "spiffe://acme.example/ns/{env}/sa/{name}": ["agent://acme/{env}/{name}"]
allow:
  - from: [partner/*]
    to: [acme/prod/billing]
    types: ["order.*"]
`), &o)
	if err != nil {
		t.Fatal(err)
	}
	want := identity.Policy{{From: []string{"agent://partner/*"}, To: []string{"agent://acme/prod/billing"}, Types: []string{"order.*"}}}
	if len(o.Identity.Identities) != 1 || !reflect.DeepEqual(o.Identity.Allow, want) {
		t.Errorf("got %+v", o.Identity)
	}
	if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "identities, allow: nothing proves who a peer is") {
		t.Errorf("without an identity: %v", err)
	}
	for _, row := range []struct{ text, want string }{
		{"allow: [{from: [a]}]\n", "c.yaml:1:9: allow: a rule has from and to"},
		{"allow: [{from: [a], to: [b], types: [A]}]\n", `c.yaml:1:38: types: "A" is no intent type`},
		{"allow: [{from: [a], to: []}]\n", "c.yaml:1:25: to: the list is empty"},
		{"allow: [{form: [a], to: [b]}]\n", "c.yaml:1:10: form: not a setting of a rule"},
		{"identities: {\"spiffe://{td}/x\": [a]}\n", "c.yaml:1:14: identities: \"spiffe://{td}/x\": what stands before the path"},
		{"identities: {a.example: []}\n", "c.yaml:1:14: identities: names no agent"},
	} {
		o := proxy.DefaultOptions()
		if err := proxy.ParseConfig("c.yaml", []byte(row.text), &o); err == nil || !strings.HasPrefix(err.Error(), row.want) {
			t.Errorf("%s got %v, want %s", row.text, err, row.want)
		}
	}
}

// With an identity the peer listener is for the world, unless said otherwise.
func TestPeerAddress(t *testing.T) {
	t.Parallel()
	o := proxy.DefaultOptions()
	if got := o.PeerAddress(); got != "127.0.0.1:7401" {
		t.Errorf("without an identity: %s", got)
	}
	o.Identity.Keyring = writeKeyring(t, 0o600, fmt.Sprintf("keys: [{id: a, secret: %q, use: current}]\n", secret("a")))
	if got := o.PeerAddress(); got != "0.0.0.0:7401" {
		t.Errorf("with one: %s", got)
	}
	if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "advertise: empty while peer listens on every interface") {
		t.Errorf("without an address to be reached at: %v", err)
	}
	o.Advertise = "here.example:7401"
	if err := o.Validate(); err != nil {
		t.Error(err)
	}
	o.InsecurePeer = true
	if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "insecure_peer: set beside an identity") {
		t.Errorf("insecure beside it: %v", err)
	}
	o.Peer, o.InsecurePeer = "127.0.0.1:9", false
	if got := o.PeerAddress(); got != "127.0.0.1:9" {
		t.Errorf("where it is said: %s", got)
	}
}
