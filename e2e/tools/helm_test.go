package tools

import (
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"
)

// A helm is one major version of it.
type helm struct {
	name string
	// lint returns what `helm lint --strict` fails for.
	lint func(dir string, values map[string]any, kube string) error
	// render returns what `helm template` prints, by file.
	render func(dir string, values map[string]any, as release) (map[string]string, error)
}

var helms = []helm{helm3, helm4}

// The oldest and the newest Kubernetes that the charts are for.
const oldest, newest = "1.29.0", "1.37.2"

// linted is the namespace that charts are linted for.
const linted = "default"

// A release is what helm is told beside values.
type release struct {
	name, namespace string
	kube            string   // --kube-version
	apis            []string // --api-versions
}

// releaseOf is the release of a chart as the README installs it.
func releaseOf(chart, kube string, apis ...string) release {
	if chart == "pannier-control" {
		return release{"pannier-control", "pannier-system", kube, apis}
	}
	return release{"shop", "shop", kube, apis}
}

// charts are those that are installed, of which the library is not one.
var charts = []string{"pannier", "pannier-control"}

// complete returns a copy of a chart with what it depends on, as `helm dependency
// build` makes it.
func complete(t testing.TB, chart string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), chart)
	copyTree(t, filepath.Join("../../charts", chart), dir)
	if chart == "pannier" {
		copyTree(t, "../../charts/pannier-lib", filepath.Join(dir, "charts/pannier-lib"))
	}
	return dir
}

func copyTree(t testing.TB, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// A valueSet is a file of charts/*/ci.
type valueSet struct {
	chart, name string
	apis        []string // API versions that the cluster has beyond helm's own list
	values      map[string]any
}

// monitoring is the API of the Prometheus operator.
const monitoring = "monitoring.coreos.com/v1"

// valueSets are all of a chart. Those whose name begins with "operator" are for a cluster
// with the Prometheus operator.
func valueSets(t testing.TB, chart string) (sets []valueSet) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../../charts", chart, "ci/*-values.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no value sets: %v", chart, err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		set := valueSet{chart: chart, name: name[:len(name)-len("-values.yaml")], values: readValues(t, file)}
		if len(set.name) >= len("operator") && set.name[:len("operator")] == "operator" {
			set.apis = []string{monitoring}
		}
		sets = append(sets, set)
	}
	return sets
}

func readValues(t testing.TB, file string) (values map[string]any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, &values); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return values
}

// clone copies values: helm writes into those that it is given.
func clone(t testing.TB, values map[string]any) (out map[string]any) {
	t.Helper()
	text, err := yaml.Marshal(values)
	if err == nil {
		err = yaml.Unmarshal(text, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}
