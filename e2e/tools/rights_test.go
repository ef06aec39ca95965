package tools

import (
	"fmt"
	"slices"
	"testing"

	rbac "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"pannier/proxy/kubernetes"
)

// The chart grants what a control plane asks for, and nothing else: in all namespaces, or
// in those that are watched. Tokens are reviewed only where that is wanted.
func TestRights(t *testing.T) {
	t.Parallel()
	var cluster, tokens, spaced []string // of all namespaces by nature; for tokens; of one namespace
	for _, r := range kubernetes.Rules {
		for _, resource := range r.Resources {
			for _, verb := range r.Verbs {
				right := fmt.Sprintf("%s %s.%s", verb, resource, r.Group)
				switch resource {
				case "namespaces":
					cluster = append(cluster, right)
				case "tokenreviews":
					tokens = append(tokens, right)
				default:
					spaced = append(spaced, right)
				}
			}
		}
	}
	for _, row := range []struct {
		set        string
		everywhere []string
		namespaces map[string][]string
	}{
		{"insecure", slices.Concat(cluster, spaced), nil},
		{"tls", slices.Concat(cluster, spaced, tokens), nil},
		{"namespaces", cluster, map[string][]string{"shop": spaced, "warehouse": spaced}},
		{"own-account", nil, nil},
	} {
		set := valueSetNamed(t, "pannier-control", row.set)
		objects, err := decode(render(t, complete(t, set.chart), set, set.values))
		if err != nil {
			t.Fatal(err)
		}
		got := rights(objects)
		want := map[string][]string{}
		if row.everywhere != nil {
			want[""] = row.everywhere
		}
		for ns, list := range row.namespaces {
			want[ns] = list
		}
		for ns := range want {
			slices.Sort(want[ns])
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: granted is\n%v, asked for is\n%v", row.set, got, want)
		}
	}
}

// rights are what roles grant, by namespace; those of all stand under no name.
func rights(objects []runtime.Object) map[string][]string {
	all := map[string][]string{}
	add := func(ns string, rules []rbac.PolicyRule) {
		for _, r := range rules {
			for _, group := range r.APIGroups {
				for _, resource := range r.Resources {
					for _, verb := range r.Verbs {
						all[ns] = append(all[ns], fmt.Sprintf("%s %s.%s", verb, resource, group))
					}
				}
			}
		}
		slices.Sort(all[ns])
	}
	for _, o := range objects {
		switch o := o.(type) {
		case *rbac.ClusterRole:
			add("", o.Rules)
		case *rbac.Role:
			add(o.Namespace, o.Rules)
		}
	}
	return all
}
