package tools

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The chart of the control plane sets flags that it has.
func TestFlagsAreKnown(t *testing.T) {
	t.Parallel()
	flags := flagsOf(t, "../../cmd/plane", "../../cmd/pannier-control")
	dir := complete(t, "pannier-control")
	seen := 0
	for _, set := range valueSets(t, "pannier-control") {
		objects, err := decode(render(t, dir, set, set.values))
		if err != nil {
			t.Fatal(err)
		}
		var w world
		for _, o := range objects {
			w.collect(o)
		}
		for _, p := range w.pods {
			for _, arg := range p.Containers[0].Args {
				seen++
				name, _, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
				if !slices.Contains(flags, name) {
					t.Errorf("%s sets %s, which no control plane has", set.name, arg)
				}
			}
		}
	}
	if seen == 0 {
		t.Error("the chart sets nothing")
	}
}

// flagsOf are the names of the flags that the programs in directories have, by their text:
// a program cannot be imported.
func flagsOf(t *testing.T, dirs ...string) (names []string) {
	t.Helper()
	flag := regexp.MustCompile(`Flag\{Name: "([a-z-]+)"`)
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range flag.FindAllStringSubmatch(string(text), -1) {
				names = append(names, m[1])
			}
		}
	}
	return names
}
