package build

import (
	"encoding/json"
	"runtime/debug"
	"strings"
	"testing"
)

func TestMaterials(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	err := write(&text, &debug.BuildInfo{
		GoVersion: "go1.26.1", Path: "pannier/cmd/pannier", Main: debug.Module{Path: "pannier", Version: "(devel)"},
		Deps: []*debug.Module{
			{Path: "example.com/a", Version: "v1.2.3", Sum: "h1:sum="},
			{Path: "example.com/b", Version: "v2.0.0+incompatible", Replace: &debug.Module{Path: "example.com/c", Version: "v2.0.1+incompatible"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got bom
	if err := json.Unmarshal([]byte(text.String()), &got); err != nil {
		t.Fatal(err)
	}
	if got.Format != "CycloneDX" || got.Version != "1.6" || got.Metadata.Component.URL != "pkg:golang/pannier/cmd/pannier" {
		t.Errorf("got %+v", got)
	}
	want := []string{"pkg:golang/std@1.26.1", "pkg:golang/example.com/a@v1.2.3", "pkg:golang/example.com/c@v2.0.1%2Bincompatible"}
	for i, c := range got.Components {
		if i >= len(want) || c.URL != want[i] || c.Type != "library" {
			t.Errorf("component %d is %+v, want %v", i, c, want)
		}
	}
	if sums := got.Components[1].Properties; len(sums) != 1 || sums[0].Value != "h1:sum=" {
		t.Errorf("properties %+v", sums)
	}
}

// What is linked here is in the document of the program that runs.
func TestMaterialsOfThis(t *testing.T) {
	t.Parallel()
	if This().Go == "" {
		t.Error("no version of Go")
	}
	var text strings.Builder
	if err := Materials(&text); err != nil || !strings.Contains(text.String(), `"name": "std"`) {
		t.Errorf("%v: %s", err, text.String())
	}
}
