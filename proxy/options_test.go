package proxy_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pannier/proxy"
)

func TestDefaultsAreValid(t *testing.T) {
	t.Parallel()
	o := proxy.DefaultOptions()
	if err := o.Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

func TestParseAgent(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ in, address, binding, refusal string }{
		{in: "orders", address: "orders"},
		{in: "orders=poll", address: "orders", binding: "poll"},
		{in: "acme/prod/billing", address: "agent://acme/prod/billing"},
		{in: "agent://acme/prod/billing=poll", address: "agent://acme/prod/billing", binding: "poll"},
		{in: "orders=", refusal: `"" is not a binding`},
		{in: "orders=stream", address: "orders", binding: "stream"},
		{in: "orders=inbox", address: "orders", binding: "inbox"},
		{in: "orders=http:http://127.0.0.1:8080/intents", address: "orders", binding: "http"},
		{in: "orders=http:", refusal: "is not an http:// or https:// URL"},
		{in: "orders=http:ftp://127.0.0.1/x", refusal: "is not an http:// or https:// URL"},
		{in: "orders=http:http://", refusal: "has no host"},
		{in: "orders=http:http://u:p@127.0.0.1/", refusal: "password"},
		{in: "orders=poll:x", refusal: "is not a binding"},
		{in: "=poll", refusal: "names nobody"},
		{in: "a b", refusal: "is not an address"},
	} {
		got, err := proxy.ParseAgent(row.in)
		if row.refusal != "" {
			if err == nil || !strings.Contains(err.Error(), row.refusal) {
				t.Errorf("%s: got %+v, %v; want a refusal with %q", row.in, got, err, row.refusal)
			}
			continue
		}
		if err != nil || got.Address != row.address || got.Binding != row.binding {
			t.Errorf("%s: got %+v, %v; want %s with binding %q", row.in, got, err, row.address, row.binding)
		}
	}
}

// Each row breaks the defaults in one way; the complaint must begin with the
// key and say what to do.
func TestValidateNamesTheKey(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, want string
		spoil      func(*proxy.Options)
	}{
		{"a trace of no age", "trace_parent_max_age: 0s", func(o *proxy.Options) { o.Tracing.TraceParentMaxAge = 0 }},
		{"an unknown status", "trace_retried_attempt_status: \"ok\"", func(o *proxy.Options) { o.Tracing.TraceRetriedAttemptStatus = "ok" }},
		{"api beyond loopback", "api: 0.0.0.0:7400 is beyond loopback", func(o *proxy.Options) { o.API = "0.0.0.0:7400" }},
		{"api on every interface", "api: :7400 is beyond loopback", func(o *proxy.Options) { o.API = ":7400" }},
		{"api at a name", "api: example.com:7400 is beyond loopback", func(o *proxy.Options) { o.API = "example.com:7400" }},
		{"api without port", `api: "127.0.0.1"; use HOST:PORT, or unix:PATH`, func(o *proxy.Options) { o.API = "127.0.0.1" }},
		{"api at an endless socket path", "a socket's path has", func(o *proxy.Options) { o.API = "unix:/" + strings.Repeat("x", 200) }},
		{"peer beyond loopback", "peer: 10.0.0.7:7401 is beyond loopback", func(o *proxy.Options) { o.Peer = "10.0.0.7:7401" }},
		{"peer on every interface of a pod", "peer: :7401 is beyond loopback", func(o *proxy.Options) { o.Peer, o.Advertise = ":7401", "[10.1.2.3]:7401" }},
		{"advertise without the address of the pod", `advertise: "[]:7401" names no host`, func(o *proxy.Options) { o.Peer, o.InsecurePeer, o.Advertise = ":7401", true, "[]:7401" }},
		{"peer with a port that is none", `peer: "127.0.0.1:99999" has no port`, func(o *proxy.Options) { o.Peer = "127.0.0.1:99999" }},
		{"nobody can reach the peer listener by its own address", "advertise: empty while peer listens on every interface", func(o *proxy.Options) { o.Peer, o.InsecurePeer = "0.0.0.0:7401", true }},
		{"advertise without port", `advertise: "host" is not HOST:PORT`, func(o *proxy.Options) { o.Advertise = "host" }},
		{"advertise port 0", `advertise: "host:0" has no port`, func(o *proxy.Options) { o.Advertise = "host:0" }},
		{"advertise unspecified", "is no address that can be dialed", func(o *proxy.Options) { o.Advertise = "0.0.0.0:7401" }},
		{"admin without port", `admin: "x"`, func(o *proxy.Options) { o.Admin = "x" }},
		{"no journal", "journal: empty", func(o *proxy.Options) { o.Journal = "" }},
		{"max_body of nothing", "max_body: 0;", func(o *proxy.Options) { o.MaxBody = 0 }},
		{"max_body beyond a record", "max_body: 2097152;", func(o *proxy.Options) { o.MaxBody = 2 << 20 }},
		{"learn", `learn: "always"; use off, local or advertise`, func(o *proxy.Options) { o.Learn = "always" }},
		{"keys file that is not there", "api_keys: open ", func(o *proxy.Options) { o.APIKeys = filepath.Join(t.TempDir(), "none.yaml") }},
		{"peers file that is not there", "none.yaml: no such file", func(o *proxy.Options) { o.Peers = filepath.Join(t.TempDir(), "none.yaml") }},
		{"agent twice", "agents: orders is listed twice", func(o *proxy.Options) {
			o.Agents = []proxy.AgentOption{{Address: "orders"}, {Address: "orders", Binding: "poll"}}
		}},
		{"a token nobody is shown", "xds_token: nobody is shown it", func(o *proxy.Options) { o.XDSToken = "/token" }},
		{"a token in plain text", "xds_token: 10.0.0.1:7410 is beyond loopback", func(o *proxy.Options) { o.XDS, o.XDSToken = []string{"127.0.0.1:7410", "10.0.0.1:7410"}, "/token" }},
		{"a name nobody is asked for", "xds_name: nobody is asked for it", func(o *proxy.Options) { o.XDS, o.XDSName = []string{"10.0.0.1:7410"}, "spiffe://td/x" }},
		{"authorities of a control plane beside nothing", "xds_trust: it adds to the authorities of tls_ca", func(o *proxy.Options) { o.XDS, o.XDSTrust = []string{"10.0.0.1:7410"}, true }},
		{"no time to drain", "drain_seconds: 1;", func(o *proxy.Options) { o.Limits.DrainSeconds = 1 }},
		{"deadline in the past", "deadline: -1s;", func(o *proxy.Options) { o.Limits.Deadline = -time.Second }},
		{"retry upside down", "retry_max: 1s is below retry_min (2s)", func(o *proxy.Options) { o.Limits.RetryMin, o.Limits.RetryMax = 2*time.Second, time.Second }},
		{"low below zero", "space_low_bytes: -1;", func(o *proxy.Options) { o.Limits.Space.SpaceLowBytes = -1 }},
		{"ballast below none", "ballast_bytes: -2;", func(o *proxy.Options) { o.Limits.Space.BallastBytes = -2 }},
		{"a limit of the mailbox", "max_open", func(o *proxy.Options) { o.Limits.Inbound.MaxOpen = 0 }},
		{"a limit of the dispatcher", "offer_timeout", func(o *proxy.Options) { o.Limits.Outbound.OfferTimeout = 0 }},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := proxy.DefaultOptions()
			row.spoil(&o)
			err := o.Validate()
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
			if _, err := proxy.New(o); err == nil {
				t.Error("New takes what Validate refuses")
			}
		})
	}
}

func TestValidateJoins(t *testing.T) {
	t.Parallel()
	o := proxy.DefaultOptions()
	o.API, o.Learn, o.Limits.Inbound.MaxOpen = "nowhere", "always", 0
	err := o.Validate()
	for _, key := range []string{"api: ", "learn: ", "max_open"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("got %v, want a complaint about %s too", err, key)
		}
	}
}

func TestValidAddresses(t *testing.T) {
	t.Parallel()
	for _, change := range []func(*proxy.Options){
		func(o *proxy.Options) { o.API = "unix:/run/pannier.sock" },
		func(o *proxy.Options) { o.API = "localhost:0" },
		func(o *proxy.Options) { o.API, o.Peer, o.Admin = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0" },
		func(o *proxy.Options) { o.API = "[::1]:7400" },
		func(o *proxy.Options) { o.Peer, o.InsecurePeer = "10.0.0.7:7401", true },
		func(o *proxy.Options) {
			o.Peer, o.InsecurePeer, o.Advertise = "0.0.0.0:7401", true, "orders.svc:7401"
		},
		func(o *proxy.Options) { o.Admin = "0.0.0.0:7402" }, // a kubelet probes from outside
		func(o *proxy.Options) { // a pod's, which knows its address only as it starts
			o.Peer, o.InsecurePeer, o.Advertise, o.Health = ":7401", true, "[10.1.2.3]:7401", ":7403"
		},
	} {
		o := proxy.DefaultOptions()
		change(&o)
		if err := o.Validate(); err != nil {
			t.Error(err)
		}
	}
}
