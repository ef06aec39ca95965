package admission

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"text/template"

	"sigs.k8s.io/yaml"

	admissionregistration "k8s.io/api/admissionregistration/v1"
	core "k8s.io/api/core/v1"
)

const chart = "../../charts/pannier-control/templates/injection-policy.yaml"

// supports is what a chart is told of its cluster.
type supports bool

func (s supports) Has(string) bool { return bool(s) }

// render does of helm what the template needs. That helm renders it alike is for the tests of the charts.
func render(values map[string]any, cluster supports) (string, error) {
	source, err := os.ReadFile(chart)
	if err != nil {
		return "", err
	}
	t := template.New("injection-policy.yaml")
	t.Funcs(template.FuncMap{
		"include": func(name string, data any) (string, error) {
			var b strings.Builder
			err := t.ExecuteTemplate(&b, name, data)
			return b.String(), err
		},
		"nindent": func(n int, s string) string {
			return "\n" + strings.Repeat(" ", n) + strings.ReplaceAll(s, "\n", "\n"+strings.Repeat(" ", n))
		},
		"quote": func(v any) string { return fmt.Sprintf("%q", v) },
		"fail":  func(why string) (string, error) { return "", fmt.Errorf("%s", why) },
		"required": func(why string, v any) (any, error) {
			if v == nil || v == "" {
				return nil, fmt.Errorf("%s", why)
			}
			return v, nil
		},
		"default": func(otherwise, v any) any {
			if v == nil || v == "" {
				return otherwise
			}
			return v
		},
	})
	if _, err := t.Parse(string(source)); err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{
		"Values":       map[string]any{"name": "pannier-control", "injection": values},
		"Release":      map[string]any{"Namespace": "pannier-system", "Name": "pannier"},
		"Capabilities": map[string]any{"APIVersions": cluster},
	})
	return b.String(), err
}

// policies are the objects of the template.
type policies struct {
	params            core.ConfigMap
	mutating          admissionregistration.MutatingAdmissionPolicy
	mutatingBinding   admissionregistration.MutatingAdmissionPolicyBinding
	validating        admissionregistration.ValidatingAdmissionPolicy
	validatingBinding admissionregistration.ValidatingAdmissionPolicyBinding
}

const testImage = "registry.example/pannier:1.2"

func policiesOf(t *testing.T) *policies {
	t.Helper()
	text, err := render(map[string]any{"enabled": true, "image": testImage}, true)
	if err != nil {
		t.Fatal(err)
	}
	p := &policies{}
	into := []any{&p.params, &p.mutating, &p.mutatingBinding, &p.validating, &p.validatingBinding}
	documents := strings.Split(text, "\n---\n")
	if len(documents) != len(into) {
		t.Fatalf("%d objects, want %d:\n%s", len(documents), len(into), text)
	}
	for i, d := range documents {
		if err := yaml.UnmarshalStrict([]byte(d), into[i]); err != nil {
			t.Fatalf("object %d: %v\n%s", i, err, d)
		}
	}
	return p
}

func TestTemplate(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		values  map[string]any
		cluster supports
		want    string // of the error; empty: it renders
	}{
		{"off", map[string]any{"enabled": false}, true, ""},
		{"on", map[string]any{"enabled": true, "image": "x"}, true, ""},
		{"without the API", map[string]any{"enabled": true, "image": "x"}, false, "this cluster has no MutatingAdmissionPolicy"},
		{"said to be there", map[string]any{"enabled": true, "image": "x", "assumeSupported": true}, false, ""},
		{"without an image", map[string]any{"enabled": true}, true, "injection.image"},
	} {
		text, err := render(row.values, row.cluster)
		switch {
		case row.want == "" && err != nil, row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)):
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		case row.name == "off" && strings.TrimSpace(text) != "":
			t.Errorf("off renders %q", text)
		}
	}
}

// The parts must name one another, and let every pod through that does not ask, whatever is missing.
func TestPoliciesBelongTogether(t *testing.T) {
	t.Parallel()
	p := policiesOf(t)
	if p.mutatingBinding.Spec.PolicyName != p.mutating.Name || p.validatingBinding.Spec.PolicyName != p.validating.Name {
		t.Error("a binding names another policy")
	}
	ref := p.mutatingBinding.Spec.ParamRef
	if ref.Name != p.params.Name || ref.Namespace != p.params.Namespace {
		t.Errorf("parameters are looked for at %s/%s, and are at %s/%s", ref.Namespace, ref.Name, p.params.Namespace, p.params.Name)
	}
	// Parameters are looked up before conditions are: one that denied would deny every pod.
	if *ref.ParameterNotFoundAction != admissionregistration.AllowAction {
		t.Error("a missing ConfigMap would stop all pods")
	}
	if p.validating.Spec.ParamKind != nil {
		t.Error("what refuses pods without a sidecar depends on parameters, and would let them through without")
	}
	if *p.mutating.Spec.FailurePolicy != admissionregistration.Fail || *p.validating.Spec.FailurePolicy != admissionregistration.Fail {
		t.Error("a policy that cannot be evaluated lets pods through without a sidecar")
	}
	if p.mutating.Spec.ReinvocationPolicy != admissionregistration.IfNeededReinvocationPolicy {
		t.Errorf("reinvocation %q", p.mutating.Spec.ReinvocationPolicy)
	}
	for _, m := range []*admissionregistration.MatchResources{p.mutating.Spec.MatchConstraints, p.validating.Spec.MatchConstraints} {
		if r := m.ResourceRules; len(r) != 1 || len(r[0].Operations) != 1 || r[0].Operations[0] != admissionregistration.Create || r[0].Resources[0] != "pods" {
			t.Errorf("matches %+v, want pods when they are created", m.ResourceRules)
		}
	}
}
