package mesh_test

import (
	"testing"

	"pannier/proxy/mesh"
)

func TestKey(t *testing.T) {
	t.Parallel()
	for agent, want := range map[string]string{
		"agent://acme/prod/billing": "billing.prod.acme",
		"agent://a/b/c-1":           "c-1.b.a",
	} {
		if got := mesh.Key(agent); got != want {
			t.Errorf("Key(%q) = %q, want %q", agent, got, want)
		}
	}
	seen := map[string]string{}
	for _, agent := range []string{"billing", "agent://acme/billing", "agent://acme/prod/Billing", "agent://acme/prod/-b", "agent://acme/prod/b/c", "agent://x/y/z.w", "agent://acme//b", ""} {
		got := mesh.Key(agent)
		if len(got) != len("x-.pannier")+26 || got[:2] != "x-" {
			t.Errorf("Key(%q) = %q, want x- and 26 characters and .pannier", agent, got)
		}
		if other, twice := seen[got]; twice {
			t.Errorf("%q and %q have one key", agent, other)
		}
		seen[got] = agent
	}
}
