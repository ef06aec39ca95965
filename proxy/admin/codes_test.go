package admin_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pannier/proxy/admin"
	"pannier/proxy/api"
)

// What this listener refuses with is in its table or in that of the app API, and
// nothing is in both.
func TestEveryCodeIsInATable(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, e := range api.Codes() {
		known[e.Code] = true
	}
	for _, e := range admin.Codes() {
		if known[e.Code] || e.Title == "" || !strings.HasSuffix(e.Means, ".") || !strings.HasSuffix(e.Remedy, ".") {
			t.Errorf("%s is in both tables, or not explained: %+v", e.Code, e)
		}
		known[e.Code] = true
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	refusal := regexp.MustCompile(`http\.Status\w+, "([a-z_]+)"`)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range refusal.FindAllSubmatch(text, -1) {
			if found++; !known[string(m[1])] {
				t.Errorf("%s refuses with %s, which no table has", name, m[1])
			}
		}
	}
	if found < 30 {
		t.Errorf("only %d refusals were found: is the test blind?", found)
	}
}
