package tools

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"pannier/cmd/inject"
)

// The library gives a pod the sidecar that `pannier inject` gives it, told the same. (That
// the admission policy does is tested beside it.)
func TestLibraryInjects(t *testing.T) {
	t.Parallel()
	dir := complete(t, "pannier")
	defaults := readValues(t, "../../charts/pannier/values.yaml")
	compared := 0
	for _, set := range valueSets(t, "pannier") {
		objects, err := decode(render(t, dir, set, set.values))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range objects {
			spec, name := podOf(o)
			if spec == nil {
				continue
			}
			told := annotations(defaults, set.values, name)
			if told["people-secret"] != "" {
				continue // it needs a Service, which is not a pod's to be given
			}
			want := spec.DeepCopy()
			strip(spec)
			text, err := yaml.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			out, _, err := inject.Stream(name, text, inject.Options{All: true, Set: told})
			if err != nil {
				t.Errorf("%s: %v", set.name, err)
				continue
			}
			again, err := decode(string(out))
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := podOf(again[0]); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: pannier inject makes of %s\n%+v\nand the library\n%+v", set.name, name, got, want)
			}
			compared++
		}
	}
	if compared == 0 {
		t.Error("nothing was compared")
	}
}

func podOf(o runtime.Object) (*core.PodSpec, string) {
	switch o := o.(type) {
	case *apps.Deployment:
		return &o.Spec.Template.Spec, o.Name
	case *apps.StatefulSet:
		return &o.Spec.Template.Spec, o.Name
	}
	return nil, ""
}

// strip takes out of a pod what the library has put in.
func strip(p *core.PodSpec) {
	ours := func(name string) bool { return name == "pannier" || strings.HasPrefix(name, "pannier-") }
	p.InitContainers = slices.DeleteFunc(p.InitContainers, func(c core.Container) bool { return ours(c.Name) })
	p.Containers = slices.DeleteFunc(p.Containers, func(c core.Container) bool { return ours(c.Name) })
	p.Volumes = slices.DeleteFunc(p.Volumes, func(v core.Volume) bool { return ours(v.Name) })
	p.SecurityContext = nil
}

// annotations are the values of an app's sidecar as annotations would say them.
func annotations(defaults, values map[string]any, app string) map[string]string {
	set := map[string]string{}
	for _, from := range []struct {
		values map[string]any
		path   string
	}{{defaults, "defaults.pannier"}, {values, "defaults.pannier"}, {defaults, "apps." + app + ".pannier"}, {values, "apps." + app + ".pannier"}} {
		said, _ := lookup(from.values, from.path)
		sidecar, _ := said.(map[string]any)
		for key, value := range sidecar {
			name := regexp.MustCompile(`[A-Z]`).ReplaceAllStringFunc(key, func(s string) string { return "-" + strings.ToLower(s) })
			set[name] = strings.Join(strings.Fields(strings.Trim(fmt.Sprint(value), "[]")), ",")
		}
	}
	for name, value := range set {
		if value == "" || value == "0" {
			delete(set, name)
		}
	}
	if set["app-port"] == "" {
		delete(set, "callback-path")
	}
	return set
}
