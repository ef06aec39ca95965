package proxy_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pannier/proxy"
	"pannier/proxy/identity"
)

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
	o.Identity.Keyring = filepath.Join(t.TempDir(), "keyring.yaml")
	secret := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("a"), identity.MinSecret))
	if err := os.WriteFile(o.Identity.Keyring, fmt.Appendf(nil, "keys: [{id: a, secret: %q, use: current}]\n", secret), 0o600); err != nil {
		t.Fatal(err)
	}
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
