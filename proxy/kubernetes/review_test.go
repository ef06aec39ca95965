package kubernetes_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	authentication "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"pannier/proxy/controlplane"
	"pannier/proxy/kubernetes"
	"pannier/proxy/kubernetes/kubetest"
	"pannier/proxy/mesh"
)

// token makes one that the API server knows, bound to a pod unless that is empty.
func token(api *kubetest.Server, name, namespace, account, pod string) {
	s := authentication.TokenReviewStatus{
		Authenticated: true, Audiences: []string{kubernetes.DefaultAudience},
		User: authentication.UserInfo{Username: "system:serviceaccount:" + namespace + ":" + account, Extra: map[string]authentication.ExtraValue{}},
	}
	if pod != "" {
		s.User.Extra["authentication.kubernetes.io/pod-name"] = authentication.ExtraValue{pod}
	}
	api.Token(name, s)
}

// from is the context of a stream that shows a token.
func from(ip string, info credentials.AuthInfo, shown ...string) context.Context {
	ctx := peer.NewContext(context.Background(), &peer.Peer{Addr: &net.TCPAddr{IP: net.ParseIP(ip)}, AuthInfo: info})
	return metadata.NewIncomingContext(ctx, metadata.MD{"authorization": shown})
}

// tls is a channel that nobody else reads.
var tls = credentials.TLSInfo{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}

// reviews counts what the API server was asked.
func reviews(api *kubetest.Server) (n int) {
	for _, a := range api.Fake.Actions() {
		if a.GetResource().Resource == "tokenreviews" {
			n++
		}
	}
	return n
}

// Whose token it is decides who somebody is; and a token is looked at only where
// nobody else could have read it.
func TestIdentify(t *testing.T) {
	t.Parallel()
	api := cluster(t)
	token(api, "good", "shop", "billing", "billing-a")
	api.Token("person", authentication.TokenReviewStatus{Authenticated: true, Audiences: []string{kubernetes.DefaultAudience}, User: authentication.UserInfo{Username: "admin"}})
	api.Token("foreign", authentication.TokenReviewStatus{Authenticated: true, Audiences: []string{"vault"}, User: authentication.UserInfo{Username: "system:serviceaccount:shop:billing"}})
	source, next := run(t, api)
	next()
	identify := source.Reviewer(kubernetes.DefaultAudience).Identify
	for _, row := range []struct {
		name    string
		ctx     context.Context
		refused string // empty: it is the service account
	}{
		{"over TLS", from("10.0.0.1", tls, "Bearer good"), ""},
		{"on loopback", from("127.0.0.1", nil, "Bearer good"), ""},
		{"in plain text", from("10.0.0.1", nil, "Bearer good"), "over TLS or on loopback"},
		{"none", from("127.0.0.1", nil), "no token"},
		{"two", from("127.0.0.1", nil, "Bearer good", "Bearer good"), "no token"},
		{"no bearer", from("127.0.0.1", nil, "Basic good"), "no bearer token"},
		{"empty", from("127.0.0.1", nil, "Bearer "), "no bearer token"},
		{"unknown", from("127.0.0.1", nil, "Bearer bad"), "expired, or is none of this cluster"},
		{"for others", from("127.0.0.1", nil, "Bearer foreign"), "audiences"},
		{"a person's", from("127.0.0.1", nil, "Bearer person"), "admin is no service account"},
	} {
		a, err := identify(row.ctx)
		switch {
		case row.refused == "" && (err != nil || a.String() != "system:serviceaccount:shop:billing"):
			t.Errorf("%s: %v (%v), want the service account", row.name, a, err)
		case row.refused != "" && (err == nil || !strings.Contains(err.Error(), row.refused)):
			t.Errorf("%s: %v (%v), want an error with %q", row.name, a, err, row.refused)
		}
	}
	if n := reviews(api); n != 4 {
		t.Errorf("the API server was asked %d times, want once for each of 4 tokens", n)
	}
}

// A server that does not know of audiences takes any token: its word is no proof.
func TestAudienceMustBeConfirmed(t *testing.T) {
	t.Parallel()
	api := cluster(t)
	api.Fake.PrependReactor("create", "tokenreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		r := a.(clienttesting.CreateAction).GetObject().(*authentication.TokenReview).DeepCopy()
		r.Status = authentication.TokenReviewStatus{Authenticated: true, User: authentication.UserInfo{Username: "system:serviceaccount:shop:billing"}}
		return true, r, nil
	})
	source, next := run(t, api)
	next()
	if a, err := source.Reviewer("pannier").Identify(from("127.0.0.1", nil, "Bearer any")); err == nil {
		t.Errorf("it is %s, want nobody", a)
	}
}

// While the API server does not answer, who was known stays who it is, and nobody
// becomes anybody.
func TestReviewWhileAway(t *testing.T) {
	t.Parallel()
	api := cluster(t)
	token(api, "good", "shop", "billing", "")
	token(api, "new", "shop", "billing", "")
	source, next := run(t, api)
	next()
	reviewer := source.Reviewer(kubernetes.DefaultAudience)
	if _, err := reviewer.Identify(from("127.0.0.1", nil, "Bearer good")); err != nil {
		t.Fatal(err)
	}
	reviewer.Age(kubernetes.BelievedFor)
	api.Fake.PrependReactor("create", "tokenreviews", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("no quorum")
	})
	if _, err := reviewer.Identify(from("127.0.0.1", nil, "Bearer good")); err != nil {
		t.Errorf("who was known: %v", err)
	}
	if _, err := reviewer.Identify(from("127.0.0.1", nil, "Bearer new")); err == nil || !strings.Contains(err.Error(), "cannot be reviewed") {
		t.Errorf("who was not: %v, want that it cannot be reviewed", err)
	}
	reviewer.Age(kubernetes.BelievedWithout)
	if _, err := reviewer.Identify(from("127.0.0.1", nil, "Bearer good")); err == nil {
		t.Error("who was known long ago is still believed")
	}
}

// What a service account may register: what its namespace has, and no Service says
// otherwise.
func TestSpeaksFor(t *testing.T) {
	t.Parallel()
	api := cluster(t)
	billed := service("shop", "billing", 0, kubernetes.AnnotationAccount, "billing")
	api.Put(
		namespace("twin", "acme", "prod"), namespace("bare", "", ""), billed, service("shop", "orders", 0),
		slice(billed, "x", pod("billing-a", "10.0.0.1", "a", true, false), pod("billing-b", "10.0.0.2", "a", true, false)),
	)
	for _, a := range []struct{ namespace, account, pod string }{
		{"shop", "billing", "billing-a"}, {"shop", "other", "other-a"}, {"shop", "loose", ""}, {"twin", "loose", ""}, {"twin", "billing", "billing-a"}, {"bare", "billing", "x"}, {"gone", "billing", "x"},
	} {
		token(api, a.namespace+"."+a.account, a.namespace, a.account, a.pod)
	}
	source, next := run(t, api)
	next()
	reviewer := source.Reviewer(kubernetes.DefaultAudience)
	is := func(who string) controlplane.Announcer {
		t.Helper()
		a, err := reviewer.Identify(from("127.0.0.1", nil, "Bearer "+who))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	check := func(what string, err error, refused string) {
		t.Helper()
		if refused == "" && err != nil || refused != "" && (err == nil || !strings.Contains(err.Error(), refused)) {
			t.Errorf("%s: %v, want %q", what, err, refused)
		}
	}
	for _, row := range []struct{ who, agent, refused string }{
		{"shop.billing", billing, ""},
		{"shop.other", billing, "its Service says the service account billing"},
		{"shop.other", orders, ""},
		{"shop.other", "agent://acme/prod/unclaimed", ""},
		{"shop.other", "agent://acme/prod2/unclaimed", "only addresses that begin with agent://acme/prod/"},
		{"shop.other", "agent://acme/test/billing", "only addresses that begin with"},
		{"shop.other", "billing", "only addresses that begin with"},
		{"twin.billing", billing, "belongs to the Service shop/billing"},
		{"twin.billing", "agent://acme/prod/unclaimed", ""},
		{"bare.billing", billing, "namespace bare has no annotations"},
		{"gone.billing", billing, "namespace gone has no annotations"},
	} {
		check(row.who+" as "+row.agent, is(row.who).SpeaksFor(row.agent), row.refused)
	}
	for _, row := range []struct{ who, address, refused string }{
		{"shop.billing", "10.0.0.1:7401", ""},
		{"shop.billing", "10.0.0.2:7401", "10.0.0.2:7401 is the pod shop/billing-b, and the token is of shop/billing-a"},
		{"shop.billing", "10.0.0.9:7401", ""}, // nobody's yet: its slice may be late
		{"shop.loose", "10.0.0.2:7401", ""},
		{"twin.loose", "10.0.0.2:7401", "is not of namespace twin"},
		{"twin.billing", "10.0.0.1:7401", "the token is of twin/billing-a"},
	} {
		check(row.who+" at "+row.address, is(row.who).(controlplane.Resident).At(row.address), row.refused)
	}
}

// A sidecar shows the token of its file for each stream, the one that is there then.
func TestSidecarsShowTheirTokens(t *testing.T) {
	t.Parallel()
	api := cluster(t)
	billed := service("shop", "billing", 0)
	api.Put(billed, slice(billed, "x", pod("billing-a", "10.0.0.1", "a", true, false), pod("billing-b", "10.0.0.2", "a", true, false)))
	token(api, "a", "shop", "billing", "billing-a")
	w := prepare(t, api)
	w.registration.Identify = w.source.Reviewer(kubernetes.DefaultAudience).Identify
	w.run()
	w.wait()
	file := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("expired\n")
	w.token = file
	node := mesh.Node{Agents: []string{billing}, Peer: "10.0.0.1:7401", Journal: "0193"}
	s := w.join(node)
	s.sees(billing, "10.0.0.1:7401 a healthy", "10.0.0.2:7401 a healthy") // it may ask
	eventually(t, "operators see why it is not announced", func() bool { return strings.Contains(w.log.String(), "its token is refused") })
	write("a\n")
	node.Draining = true
	s.Announce(node) // on another stream
	s.sees(billing, "10.0.0.1:7401 a draining", "10.0.0.2:7401 a healthy")
	node.Peer = "10.0.0.2:7401"
	s.Announce(node)
	eventually(t, "it is refused at another pod's address", func() bool { return strings.Contains(w.log.String(), "is the pod shop/billing-b") })
	s.sees(billing, "10.0.0.1:7401 a healthy", "10.0.0.2:7401 a healthy")
}
