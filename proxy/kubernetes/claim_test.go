package kubernetes_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"pannier/proxy/controlplane"
	"pannier/proxy/kubernetes"
	"pannier/proxy/kubernetes/kubetest"
)

// run runs a source alone. next is what it reports.
func run(t *testing.T, api *kubetest.Server) (s *kubernetes.Source, next func() controlplane.Update) {
	t.Helper()
	s, err := kubernetes.New(api.Config(), nil, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	s.Settle(10 * time.Millisecond)
	ctx, cancel := context.WithCancel(context.Background())
	updates, done := make(chan controlplane.Update, 64), make(chan error, 1)
	go func() { done <- s.Run(ctx, func(u controlplane.Update) { updates <- u }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("source: %v", err)
		}
	})
	return s, func() controlplane.Update {
		t.Helper()
		select {
		case u := <-updates:
			return u
		case <-time.After(patience):
		}
		t.Fatal("the source says nothing")
		panic("unreachable")
	}
}

// holders are the agents of an update with the first address of each.
func holders(u controlplane.Update) map[string]string {
	at := map[string]string{}
	for _, s := range u.Services {
		at[s.Agent] = ""
		if len(s.Endpoints) > 0 {
			at[s.Agent] = s.Endpoints[0].Address
		}
	}
	return at
}

// Who has which address, by what admins wrote to the namespace, owners to the
// Service, and by age.
func TestClaims(t *testing.T) {
	t.Parallel()
	const name, full = kubernetes.AnnotationAgentName, kubernetes.AnnotationAgent
	portless := service("shop", "billing", 0)
	portless.Spec.Ports = portless.Spec.Ports[:1]
	byProtocol := service("shop", "billing", 0)
	byProtocol.Spec.Ports[1] = core.ServicePort{Name: "any", Port: 7401, AppProtocol: new(kubernetes.AppProtocol)}
	udp := service("shop", "billing", 0)
	udp.Spec.Ports[1].Protocol = core.ProtocolUDP
	unlabelled := service("shop", "billing", 0)
	unlabelled.Labels = nil
	for _, row := range []struct {
		rule    string
		objects []runtime.Object
		want    []string // agent of each Service that has one
		refused []string // SERVICE: REASON: a part of the text
	}{
		{rule: "its own name", objects: []runtime.Object{service("shop", "billing", 0)}, want: []string{billing}},
		{rule: "the name it gives", objects: []runtime.Object{service("shop", "svc", 0, name, "billing")}, want: []string{billing}},
		{rule: "a full address that agrees", objects: []runtime.Object{service("shop", "svc", 0, full, billing)}, want: []string{billing}},
		{rule: "a full address without its scheme", objects: []runtime.Object{service("shop", "svc", 0, full, "acme/prod/billing")}, want: []string{billing}},
		{rule: "both, agreeing", objects: []runtime.Object{service("shop", "svc", 0, full, billing, name, "billing")}, want: []string{billing}},
		{rule: "both, differing", objects: []runtime.Object{service("shop", "svc", 0, full, billing, name, "orders")}, refused: []string{"svc: AgentAddressRefused: differ"}},
		{rule: "another org", objects: []runtime.Object{service("shop", "svc", 0, full, "agent://other/prod/billing")}, refused: []string{"svc: AgentAddressRefused: begin with agent://acme/prod/"}},
		{rule: "another env", objects: []runtime.Object{service("shop", "svc", 0, full, "agent://acme/test/billing")}, refused: []string{"svc: AgentAddressRefused: begin with agent://acme/prod/"}},
		{rule: "an env that only begins alike", objects: []runtime.Object{service("shop", "svc", 0, full, "agent://acme/prod2/billing")}, refused: []string{"svc: AgentAddressRefused: begin with"}},
		{rule: "a bare name", objects: []runtime.Object{service("shop", "svc", 0, full, "billing")}, refused: []string{"svc: AgentAddressRefused: begin with"}},
		{rule: "a name of two segments", objects: []runtime.Object{service("shop", "svc", 0, name, "a/b")}, refused: []string{"svc: AgentAddressRefused: more than one segment"}},
		{rule: "a name that is none", objects: []runtime.Object{service("shop", "svc", 0, name, "..")}, refused: []string{"svc: AgentAddressRefused: only dots"}},
		{rule: "no org", objects: []runtime.Object{namespace("bare", "", "prod"), service("bare", "svc", 0)}, refused: []string{"svc: AgentAddressRefused: no annotation pannier.io/org"}},
		{rule: "no env", objects: []runtime.Object{namespace("bare", "acme", ""), service("bare", "svc", 0)}, refused: []string{"svc: AgentAddressRefused: no annotation pannier.io/env"}},
		{rule: "an env of two segments", objects: []runtime.Object{namespace("bare", "acme", "prod/x"), service("bare", "svc", 0)}, refused: []string{"svc: AgentAddressRefused: more than one segment"}},
		{rule: "a name longer than anything reads", objects: []runtime.Object{service("shop", "svc", 0, name, strings.Repeat("é/", 80_000))}, refused: []string{"svc: AgentAddressRefused: é/é"}},
		{rule: "no port", objects: []runtime.Object{portless}, refused: []string{"billing: NoPeerPort: pannier-peer"}},
		{rule: "a port by its protocol", objects: []runtime.Object{byProtocol}, want: []string{billing}},
		{rule: "a port that is not TCP", objects: []runtime.Object{udp}, refused: []string{"billing: NoPeerPort: pannier-peer"}},
		{rule: "not of the mesh", objects: []runtime.Object{unlabelled}},
		{
			rule:    "the oldest wins, in whatever order they come",
			objects: []runtime.Object{service("shop", "young", 2, name, "billing"), service("shop", "old", 1, name, "billing")},
			want:    []string{billing}, refused: []string{"young: AgentAddressTaken: shop/old"},
		},
		{
			rule:    "of two namespaces that may have it, too",
			objects: []runtime.Object{namespace("twin", "acme", "prod"), service("shop", "billing", 2), service("twin", "billing", 1)},
			want:    []string{billing}, refused: []string{"billing: AgentAddressTaken: twin/billing"},
		},
		{
			rule:    "of the same age, by name",
			objects: []runtime.Object{service("shop", "b", 1, name, "billing"), service("shop", "a", 1, name, "billing")},
			want:    []string{billing}, refused: []string{"b: AgentAddressTaken: shop/a"},
		},
		{
			rule:    "who may not have it does not keep it from who may",
			objects: []runtime.Object{namespace("evil", "evil", "prod"), service("evil", "first", 0, full, billing), service("shop", "billing", 1)},
			want:    []string{billing}, refused: []string{"first: AgentAddressRefused: begin with agent://evil/prod/"},
		},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			api := cluster(t)
			api.Put(row.objects...)
			s, next := run(t, api)
			if got := slices.Sorted(maps.Keys(holders(next()))); !slices.Equal(got, row.want) {
				t.Fatalf("agents %q, want %q", got, row.want)
			}
			eventually(t, "every refused Service has its event", func() bool { return len(api.Events()) >= len(row.refused) })
			for i, e := range api.Events() {
				about := e.InvolvedObject
				got := fmt.Sprintf("%s: %s: %s", about.Name, e.Reason, e.Message)
				head, tail, _ := strings.Cut(row.refused[i], ": ")
				reason, text, _ := strings.Cut(tail, ": ")
				if !strings.HasPrefix(got, head+": "+reason+": ") || !strings.Contains(got, text) {
					t.Errorf("event %q, want %q", got, row.refused[i])
				}
				if len(e.Message) > 1024 || !utf8.ValidString(e.Message) || len(s.Trouble()) > 3*1100 {
					t.Errorf("event of %d bytes, and %d for operators", len(e.Message), len(s.Trouble()))
				}
				if e.Type != core.EventTypeWarning || about.Kind != "Service" || string(about.UID) != about.Namespace+"."+about.Name || e.Namespace != about.Namespace {
					t.Errorf("event %+v is not about its Service", e)
				}
			}
		})
	}
}

// When the holder goes, the next in age has the address; and what an admin takes
// from a namespace is gone at once.
func TestClaimsMoveOn(t *testing.T) {
	t.Parallel()
	api := cluster(t)
	old, young := service("shop", "old", 1, kubernetes.AnnotationAgentName, "billing"), service("shop", "young", 2, kubernetes.AnnotationAgentName, "billing")
	api.Put(old, young, slice(old, "x", pod("old-a", "10.0.0.1", "a", true, false)), slice(young, "x", pod("young-a", "10.0.0.2", "a", true, false)))
	s, next := run(t, api)
	until := func(what string, want map[string]string) {
		t.Helper()
		for u := next(); !maps.Equal(holders(u), want); u = next() {
			t.Logf("not yet %s: %v", what, holders(u))
		}
	}
	until("the oldest has it", map[string]string{billing: "10.0.0.1:7401"})
	if told := s.Trouble(); !strings.Contains(told, "Service shop/young: "+billing+" belongs to the Service shop/old") {
		t.Errorf("operators are told %q", told)
	}
	api.Delete(old)
	until("the next has it", map[string]string{billing: "10.0.0.2:7401"})
	api.Put(namespace("shop", "acme", "test"))
	until("the address follows the namespace", map[string]string{"agent://acme/test/billing": "10.0.0.2:7401"})
	api.Put(namespace("shop", "", ""))
	until("nothing has an address", map[string]string{})
	if told := s.Trouble(); !strings.Contains(told, "Service shop/young: namespace shop has no annotation "+kubernetes.AnnotationOrg) {
		t.Errorf("operators are told %q", told)
	}
}
