package tools

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	goyaml "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// A form is what a schema says of one value.
type form struct {
	Ref         string           `json:"$ref"`
	Properties  map[string]*form `json:"properties"`
	Definitions map[string]*form `json:"definitions"`
}

func readSchema(t *testing.T, chart string) (root *form) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../charts", chart, "values.schema.json"))
	if err == nil {
		err = json.Unmarshal(text, &root)
	}
	if err != nil {
		t.Fatalf("%s: schema: %v", chart, err)
	}
	return root
}

// unlisted are values that charts have for others: for a chart they are part of, and for
// one that is part of them.
var unlisted = []string{"global", "enabled", "pannier-lib"}

// leaves are the paths of all values that are said as a whole.
func (f *form) leaves(root *form, path string) (all []string) {
	if name, there := strings.CutPrefix(f.Ref, "#/definitions/"); there {
		f = root.Definitions[name]
	}
	if len(f.Properties) == 0 {
		return []string{path}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Properties)) {
		if path == "" && slices.Contains(unlisted, name) {
			continue
		}
		all = append(all, f.Properties[name].leaves(root, strings.TrimPrefix(path+"."+name, "."))...)
	}
	return all
}

// Each value of a schema stands in values.yaml, with a sentence that says what it is for;
// and a sentence for each group of them.
func TestValuesAreDocumented(t *testing.T) {
	t.Parallel()
	sentence := regexp.MustCompile(`(?s)^# [A-Z].*\.$`)
	for _, chart := range charts {
		text, err := os.ReadFile(filepath.Join("../../charts", chart, "values.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var document goyaml.Node
		if err := goyaml.Unmarshal(text, &document); err != nil {
			t.Fatal(err)
		}
		comments := map[string]string{}
		documented(document.Content[0], "", comments)
		root := readSchema(t, chart)
		seen := 0
		for _, path := range root.leaves(root, "") {
			for part := path; part != "."; part, _, _ = cutLast(part) {
				comment, there := comments[part]
				switch {
				case !there:
					t.Errorf("%s: values.yaml does not have %s, of which the schema knows", chart, part)
				case !sentence.MatchString(comment):
					t.Errorf("%s: %s has no sentence above it: %q", chart, part, comment)
				}
				seen++
				if !strings.Contains(part, ".") {
					break
				}
			}
		}
		if seen == 0 {
			t.Errorf("%s: the schema has no values", chart)
		}
	}
}

// cutLast splits a path before its last part.
func cutLast(path string) (before, last string, found bool) {
	i := strings.LastIndexByte(path, '.')
	if i < 0 {
		return ".", path, false
	}
	return path[:i], path[i+1:], true
}

// documented collects the comment above each key.
func documented(n *goyaml.Node, path string, comments map[string]string) {
	if n.Kind != goyaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := strings.TrimPrefix(path+"."+key.Value, ".")
		comments[name] = key.HeadComment
		documented(value, name, comments)
	}
}

// Each value is set by a value set to something that is not its default, and without
// that something else is rendered.
func TestEveryValueCounts(t *testing.T) {
	t.Parallel()
	for _, chart := range charts {
		dir := complete(t, chart)
		defaults := readValues(t, filepath.Join("../../charts", chart, "values.yaml"))
		sets := valueSets(t, chart)
		rendered := make([]string, len(sets))
		for i, set := range sets {
			rendered[i] = render(t, dir, set, set.values)
		}
		root := readSchema(t, chart)
		for _, path := range root.leaves(root, "") {
			if path == "apps" {
				continue // of which each key is said below defaults
			}
			if !counts(t, dir, path, defaults, sets, rendered) {
				t.Errorf("%s: no value set says %s otherwise, or nothing is rendered otherwise for it", chart, path)
			}
		}
	}
}

func counts(t *testing.T, dir, path string, defaults map[string]any, sets []valueSet, rendered []string) bool {
	t.Helper()
	usual, _ := lookup(defaults, path)
	for i, set := range sets {
		for _, at := range places(path, set.values) {
			value, there := lookup(set.values, at)
			if !there || reflect.DeepEqual(value, usual) {
				continue
			}
			without := clone(t, set.values)
			remove(without, at)
			if render(t, dir, set, without) != rendered[i] {
				return true
			}
		}
	}
	return false
}

// places are where a value can be said: what is below defaults, at each app too.
func places(path string, values map[string]any) (all []string) {
	all = []string{path}
	if rest, there := strings.CutPrefix(path, "defaults."); there {
		apps, _ := values["apps"].(map[string]any)
		for name := range apps {
			all = append(all, "apps."+name+"."+rest)
		}
	}
	return all
}

func render(t *testing.T, dir string, set valueSet, values map[string]any) string {
	t.Helper()
	files, err := helm4.render(dir, clone(t, values), releaseOf(set.chart, newest, set.apis...))
	if err != nil {
		return err.Error()
	}
	return manifest(files)
}

func lookup(values map[string]any, path string) (value any, there bool) {
	head, rest, more := strings.Cut(path, ".")
	value, there = values[head]
	if !more || !there {
		return value, there
	}
	below, _ := value.(map[string]any)
	return lookup(below, rest)
}

func remove(values map[string]any, path string) {
	head, rest, more := strings.Cut(path, ".")
	if !more {
		delete(values, head)
		return
	}
	remove(values[head].(map[string]any), rest)
}

// Templates read no value that is not documented.
func TestTemplatesReadKnownValues(t *testing.T) {
	t.Parallel()
	reads := regexp.MustCompile(`\.Values((?:\.[A-Za-z]+)+)`)
	for _, chart := range charts {
		defaults := readValues(t, filepath.Join("../../charts", chart, "values.yaml"))
		files, err := filepath.Glob(filepath.Join("../../charts", chart, "templates/*"))
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range reads.FindAllStringSubmatch(string(text), -1) {
				found++
				if _, there := lookup(defaults, m[1][1:]); !there {
					t.Errorf("%s reads .Values%s, which values.yaml does not have", file, m[1])
				}
			}
		}
		if found == 0 {
			t.Errorf("%s: its templates read no value", chart)
		}
	}
}

// The example shows the defaults of the library as they are.
func TestLibraryDefaults(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../charts/pannier-lib/templates/_settings.tpl")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), `{{- define "pannier.defaults" -}}`)
	body, _, _ := strings.Cut(rest, "{{- end }}")
	var library map[string]any
	if err := yaml.UnmarshalStrict([]byte(body), &library); err != nil || len(library) == 0 {
		t.Fatalf("no defaults in the library: %v", err)
	}
	shown, _ := lookup(readValues(t, "../../charts/pannier/values.yaml"), "defaults.pannier")
	if !reflect.DeepEqual(shown, any(library)) {
		t.Errorf("the example has %v\nthe library %v", fmt.Sprint(shown), fmt.Sprint(library))
	}
}
