package kubernetes_test

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	"pannier/proxy/kubernetes"
	"pannier/proxy/kubernetes/kubetest"
	"pannier/proxy/mesh"
)

// granted is Rules as an API server reads them.
func granted(verb, group, resource string) bool {
	return slices.ContainsFunc(kubernetes.Rules, func(r kubernetes.Rule) bool {
		return r.Group == group && slices.Contains(r.Resources, resource) && slices.Contains(r.Verbs, verb)
	})
}

// Under a role that grants the rules and nothing else all goes well, and nothing of
// the rules goes unused.
func TestLeastRights(t *testing.T) {
	t.Parallel()
	var uses []kubetest.Use
	for _, old := range []bool{false, true} {
		api := cluster(t)
		api.Granted, api.OldWatch = granted, old
		billed := service("shop", "billing", 0)
		api.Put(billed, slice(billed, "x", pod("billing-a", "10.0.0.1", "a", true, false)), service("shop", "late", 1, kubernetes.AnnotationAgentName, "billing"))
		w := prepare(t, api)
		w.source.Settle(10 * time.Millisecond)
		w.run()
		w.wait()
		w.join(mesh.Node{}).sees(billing, "10.0.0.1:7401 a healthy")
		eventually(t, "the refused Service has its event", func() bool { return len(api.Events()) == 1 })
		if _, err := w.source.Reviewer(kubernetes.DefaultAudience).Identify(from("127.0.0.1", nil, "Bearer nobody's")); err == nil {
			t.Error("an unknown token is somebody's")
		}
		uses = append(uses, api.Used()...)
		if told := w.page().Error; !strings.HasPrefix(told, "Service shop/late") {
			t.Errorf("operators are told %q, want only the refused Service", told)
		}
	}
	var want []kubetest.Use
	for _, r := range kubernetes.Rules {
		for _, resource := range r.Resources {
			for _, verb := range r.Verbs {
				want = append(want, kubetest.Use{Verb: verb, Group: r.Group, Resource: resource})
			}
		}
	}
	order := func(a, b kubetest.Use) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Verb, b.Verb))
	}
	slices.SortFunc(uses, order)
	slices.SortFunc(want, order)
	if got := slices.Compact(uses); !slices.Equal(got, want) {
		t.Errorf("asked for was\n%v, the rules are\n%v", got, want)
	}
}

// A right that is missing is told to operators, and keeps the source from having
// synced.
func TestMissingRight(t *testing.T) {
	t.Parallel()
	api := cluster(t)
	api.Granted = func(verb, group, resource string) bool {
		return resource != "endpointslices" && granted(verb, group, resource)
	}
	w := launch(t, api)
	eventually(t, "the trouble is told", func() bool { return strings.Contains(w.source.Trouble(), "endpointslices") })
	if told := w.source.Trouble(); !strings.Contains(told, "forbidden") {
		t.Errorf("operators are told %q, want what is forbidden", told)
	}
	select {
	case <-w.ready:
		t.Error("ready without endpoints")
	default:
	}
}
