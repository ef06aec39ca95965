package tools

import (
	"flag"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// Every value set passes `helm lint --strict`, gives what its golden file says, by each
// helm and for the oldest and the newest Kubernetes (which has a file of its own where
// that differs), and only objects that are valid there.
func TestValueSets(t *testing.T) {
	t.Parallel()
	sets := 0
	for _, chart := range charts {
		dir := complete(t, chart)
		golden := map[string]string{}
		for _, set := range valueSets(t, chart) {
			sets++
			file := filepath.Join("testdata/golden", chart, set.name)
			old, new := checkSet(t, dir, set, oldest), checkSet(t, dir, set, newest)
			golden[file+".yaml"] = new
			if old != new {
				golden[file+"@"+oldest+".yaml"] = old
			}
		}
		compareGolden(t, filepath.Join("testdata/golden", chart), golden)
	}
	if sets < 25 {
		t.Errorf("%d value sets, want 25 or more", sets)
	}
}

// compareGolden compares files with those of a directory, of which none is left over.
func compareGolden(t *testing.T, dir string, golden map[string]string) {
	t.Helper()
	if *update {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		for file, text := range golden {
			if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if _, there := golden[file]; !there {
			t.Errorf("%s: no value set gives it; delete it", file)
		}
	}
	for file, text := range golden {
		want, err := os.ReadFile(file)
		if err != nil || string(want) != text {
			t.Errorf("%s is not what is rendered (%v); go test ./ -update writes it. Rendered is\n%s", file, err, text)
		}
	}
}

// The library passes `helm lint --strict` by itself.
func TestLibraryLints(t *testing.T) {
	t.Parallel()
	for _, h := range helms {
		if err := h.lint(complete(t, "pannier-lib"), map[string]any{}, newest); err != nil {
			t.Errorf("%s: %v", h.name, err)
		}
	}
}

// checkSet returns what a value set gives for a Kubernetes.
func checkSet(t *testing.T, dir string, set valueSet, kube string) (first string) {
	t.Helper()
	where := set.chart + " " + set.name + " for " + kube
	for _, h := range helms {
		if err := h.lint(dir, clone(t, set.values), kube); err != nil {
			t.Errorf("%s lint --strict %s:\n%v", h.name, where, err)
		}
		files, err := h.render(dir, clone(t, set.values), releaseOf(set.chart, kube, set.apis...))
		if err != nil {
			t.Errorf("%s template %s: %v", h.name, where, err)
			return ""
		}
		switch text := manifest(files); {
		case first == "":
			first = text
		case first != text:
			t.Errorf("%s template %s differs from what %s gives:\n%s", h.name, where, helms[0].name, text)
		}
	}
	for _, wrong := range validate(first, kube) {
		t.Errorf("%s: %v", where, wrong)
	}
	return first
}

// manifest joins what a chart gives, as `helm template` prints it; notes for people come
// last, as comments.
func manifest(files map[string]string) string {
	var out, notes strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		text := strings.TrimSpace(files[name])
		switch {
		case text == "" || strings.HasPrefix(path.Base(name), "_"):
		case strings.HasSuffix(name, "NOTES.txt"):
			for line := range strings.Lines(text) {
				notes.WriteString(strings.TrimRight("# "+strings.TrimRight(line, "\n"), " ") + "\n")
			}
		default:
			text = strings.TrimSpace(strings.TrimPrefix(text, "---"))
			out.WriteString("---\n# Source: " + name + "\n" + text + "\n")
		}
	}
	return out.String() + "---\n# Notes\n#\n" + notes.String()
}
