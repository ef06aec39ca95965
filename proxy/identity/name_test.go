package identity_test

import (
	"crypto/x509"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"pannier/proxy/identity"
	"pannier/proxy/identity/identitytest"
)

// Which agents a certificate speaks for, as the other side finds it.
func TestNamesOfCertificates(t *testing.T) {
	t.Parallel()
	ca := identitytest.NewCA(t, "acme")
	istio := []identity.Mapping{
		mapping(t, "spiffe://acme.example/ns/{env}/sa/{name}", "agent://acme/{env}/{name}", "{name}"),
		mapping(t, "spiffe://partner.example/gateway", "agent://partner/*"),
		mapping(t, "{name}.prod.acme.internal", "agent://acme/prod/{name}"),
		mapping(t, "*.all.acme.internal", "*"),
		mapping(t, "https://acme.example/teams/*", "agent://acme/teams/any"),
	}
	for _, row := range []struct {
		name     string
		names    []string
		mappings []identity.Mapping
		yes, no  []string
	}{
		{name: "a SPIFFE ID that names its agent", names: []string{domain + "acme/prod/shop"}, yes: []string{shop}, no: []string{billing, "shop", "agent://acme/prod/shop/x"}},
		{name: "a bare name", names: []string{domain + "shop"}, yes: []string{"shop"}, no: []string{shop, "agent://shop"}},
		{name: "a URI that is an agent's", names: []string{shop, billing}, yes: []string{shop, billing}, no: []string{"agent://acme/prod/other"}},
		{name: "a pattern is no name", names: []string{domain + "acme/prod/-"}, yes: nil, no: []string{shop}},
		{name: "mapped", names: []string{"spiffe://acme.example/ns/prod/sa/shop"}, mappings: istio, yes: []string{shop, "shop"}, no: []string{billing, "agent://acme/test/shop"}},
		{name: "mapped, and longer", names: []string{"spiffe://acme.example/ns/prod/sa/shop/x"}, mappings: istio, no: []string{shop}},
		{name: "mapped to many", names: []string{"spiffe://partner.example/gateway"}, mappings: istio, yes: []string{"agent://partner/prod/x"}, no: []string{shop, "agent://partner"}},
		{name: "not mapped, though it names its agent", names: []string{domain + "acme/prod/shop"}, mappings: istio, no: []string{shop}},
		{name: "a DNS name", names: []string{"shop.prod.acme.internal"}, mappings: istio, yes: []string{shop}, no: []string{billing}},
		{name: "a DNS name in capitals", names: []string{"SHOP.Prod.acme.internal"}, mappings: istio, yes: []string{shop}, no: []string{billing}},
		{name: "a DNS name with a wildcard", names: []string{"*.prod.acme.internal"}, mappings: istio, no: []string{shop, billing, "agent://acme/prod/*"}},
		{name: "two names", names: []string{"shop.prod.acme.internal", "billing.prod.acme.internal"}, mappings: istio, yes: []string{shop, billing}, no: []string{"agent://acme/prod/other"}},
		{name: "every agent", names: []string{"x.all.acme.internal"}, mappings: istio, yes: []string{shop, "x", "agent://other/prod/x"}},
		{name: "any segment", names: []string{"https://acme.example/teams/a"}, mappings: istio, yes: []string{"agent://acme/teams/any"}},
		{name: "a segment with a slash in it", names: []string{"https://acme.example/teams/a%2Fb"}, mappings: istio, no: []string{"agent://acme/teams/any"}},
		{name: "a segment with a query", names: []string{"https://acme.example/teams/a?b"}, mappings: istio, no: []string{"agent://acme/teams/any"}},
		{name: "a DNS name without a mapping", names: []string{"shop.prod.acme.internal"}, no: []string{shop}},
	} {
		o := identity.Options{Identities: row.mappings}
		s, address := serve(t, withFiles(t, ca.Issue(nil, "spiffe://acme.example/ns/prod/sa/server"), o, ca))
		o.Identities = append(o.Identities, mapping(t, "spiffe://acme.example/ns/prod/sa/server", "*"))
		err := call(t, withFiles(t, ca.Issue(nil, row.names...), o, ca), address)
		if row.yes == nil && len(row.no) > 0 && err != nil {
			continue // it speaks for nobody, and is told so
		}
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		if foreign := strings.HasPrefix(row.names[0], "spiffe://partner."); s.peer().Foreign() != foreign {
			t.Errorf("%s: foreign is %v", row.name, !foreign)
		}
		for _, agent := range row.yes {
			if err := s.peer().SpeaksFor(agent); err != nil {
				t.Errorf("%s: %v", row.name, err)
			}
		}
		for _, agent := range row.no {
			if s.peer().SpeaksFor(agent) == nil {
				t.Errorf("%s: it speaks for %s", row.name, agent)
			}
		}
	}
	if _, err := identity.New(filesOf(t, ca.Issue(nil, domain+"acme/prod/shop", shop), ca), nil); err == nil || !strings.Contains(err.Error(), "another URI beside its SPIFFE ID") {
		t.Errorf("two URIs, one of them a SPIFFE ID: %v", err)
	}
}

func filesOf(t *testing.T, l identitytest.Leaf, ca *identitytest.CA) identity.Options {
	f := l.Write(t.TempDir(), ca)
	return identity.Options{TLSCert: f.Cert, TLSKey: f.Key, TLSCA: f.CA}
}

func TestMappingsAreChecked(t *testing.T) {
	t.Parallel()
	for name, agents := range map[string][]string{
		"spiffe://acme.example/x":        {},
		"spiffe://{td}/x":                {"x"},
		"spiffe://*/x":                   {"x"},
		"spiffe://acme.example/a*":       {"x"},
		"spiffe://acme.example/{a}/{a}":  {"x"},
		"spiffe://acme.example/{a b}":    {"x"},
		"spiffe://acme.example//x":       {"x"},
		"spiffe://acme.example/{name}":   {"agent://acme/{nam}"},
		"spiffe://acme.example/{person}": {"agent://acme/{person}/", "x"},
		"a..b":                           {"x"},
	} {
		if _, err := identity.NewMapping(name, agents); err == nil {
			t.Errorf("%s → %v is taken", name, agents)
		}
	}
}

// A server that speaks for no agent is told by its name.
func TestDialNamed(t *testing.T) {
	t.Parallel()
	ca := identitytest.NewCA(t, "acme")
	client := withFiles(t, ca.Issue(nil, domain+"acme/prod/shop"), identity.Options{}, ca)
	check := func(server *side, name string) error {
		_, address := serve(t, server)
		conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(client.DialNamed(name)))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		stream, err := grpc_health_v1.NewHealthClient(conn).Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	control := ca.Issue(func(c *x509.Certificate) { c.DNSNames = []string{"control.acme.internal"} }, "spiffe://acme.example/control")
	for _, name := range []string{"control.acme.internal", "spiffe://acme.example/control"} {
		if err := check(withFiles(t, control, identity.Options{}, ca), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		refused(t, name, check(withFiles(t, ca.Issue(nil, domain+"acme/prod/billing"), identity.Options{}, ca), name), "answers, and "+name+" is wanted")
	}
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	const partner = "agent://partner/prod/buyer"
	allow := identity.Policy{
		{From: []string{"agent://partner/*"}, To: []string{billing}, Types: []string{"order.*"}},
		{From: []string{shop}, To: []string{"*"}},
	}
	for _, row := range []struct {
		name             string
		policy           identity.Policy
		grants           []string
		from, to, ofType string
		words            string
		tells            bool
	}{
		{"one org", nil, []string{shop}, shop, billing, "x", "", true},
		{"two orgs", nil, []string{partner}, partner, billing, "order.new", "of another org: a rule under allow can say so", false},
		{"in another's name", nil, []string{shop}, billing, shop, "x", "may not speak for " + billing, true},
		{"bare names", nil, []string{"a"}, "a", "b", "x", "", true},
		{"a bare name to an org", nil, []string{"a"}, "a", billing, "x", "of another org", false},
		{"allowed", allow, []string{partner}, partner, billing, "order.new", "", true},
		{"another type", allow, []string{partner}, partner, billing, "orders", "no rule under allow says so", true},
		{"another receiver", allow, []string{partner}, partner, shop, "order.new", "no rule under allow says so", false},
		{"one org, and no rule", allow, []string{billing}, billing, shop, "x", "no rule under allow says so", false},
		{"to everybody", allow, []string{"agent://acme/*"}, shop, partner, "x", "", true},
		{"nobody", identity.Policy{}, []string{"*"}, shop, billing, "x", "no rule under allow says so", false},
	} {
		server := newSide(t, identity.Options{Keyring: "read elsewhere", Allow: row.policy})
		keys := []identity.Key{key("a", "x", identity.Current, row.grants...)}
		if err := server.SetKeys(keys); err != nil {
			t.Fatal(err)
		}
		s, address := serve(t, server)
		if err := call(t, server, address); err != nil {
			t.Fatal(err)
		}
		switch err := s.peer().MaySend(row.from, row.to, row.ofType); {
		case row.words == "" && err != nil:
			t.Errorf("%s: %v", row.name, err)
		case row.words != "" && (err == nil || !strings.Contains(err.Error(), row.words)):
			t.Errorf("%s: got %v, want %q", row.name, err, row.words)
		}
		if err := s.peer().MayTell(row.to); (err == nil) != row.tells {
			t.Errorf("%s: a completion: %v", row.name, err)
		}
	}
}
