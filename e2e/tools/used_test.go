package tools

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	actions    = regexp.MustCompile(`(?s)\{\{-?(.*?)-?\}\}`)
	asked      = regexp.MustCompile(`^\s*(else )?if\b`)
	comment    = regexp.MustCompile(`(?s)\{\{-?\s*/\*.*?\*/\s*-?\}\}`)
	complaints = regexp.MustCompile(`(?s)\{\{- define "[a-z]+\.validate" -\}\}.*`) // which ends its file
)

// readings counts where templates read a value: the actions that print it, or go through it,
// or, where none does, one for all those that ask for it. What complains about values, and the
// notes, are not counted: they speak of what is used.
func readings(templates string, names *regexp.Regexp) (n int) {
	asks := 0
	for _, m := range actions.FindAllStringSubmatch(templates, -1) {
		switch found := len(names.FindAllString(m[1], -1)); {
		case asked.MatchString(m[1]):
			asks += found
		default:
			n += found
		}
	}
	if n == 0 && asks > 0 {
		return 1
	}
	return n
}

// templatesOf are those of charts, without what is not counted.
func templatesOf(t *testing.T, charts ...string) (all string) {
	t.Helper()
	for _, chart := range charts {
		files, err := filepath.Glob(filepath.Join("../../charts", chart, "templates/*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has no templates: %v", chart, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(file, "NOTES.txt") {
				all += complaints.ReplaceAllString(comment.ReplaceAllString(string(text), ""), "")
			}
		}
	}
	return all
}

// names are how templates call a value.
func names(path string) *regexp.Regexp {
	forms := []string{`\.Values\.` + regexp.QuoteMeta(path)}
	if of, ours := strings.CutPrefix(path, "identity."); ours {
		forms = append(forms, `\$identity\.`+of)
	}
	if of, ours := strings.CutPrefix(path, "defaults.pannier."); ours {
		forms = append(forms, `\$s\.`+of, `\$app\.pannier\.`+of, `fromYaml\)\.`+of)
	} else if of, ours := strings.CutPrefix(path, "defaults."); ours {
		forms = append(forms, `\$app\.`+of, `pick \$app .*"`+of+`"`)
	}
	return regexp.MustCompile(`(?:` + strings.Join(forms, "|") + `)\b`)
}

// often are the values that are read more than once, and why.
var often = map[string]map[string]string{
	"pannier": {
		"apps":                          "it is gone through, and each is looked up by name",
		"defaults.kind":                 "the library is told, and what belongs to a StatefulSet alone depends on it",
		"defaults.port":                 "the library is told, which refuses ports of the sidecar's",
		"defaults.replicas":             "people find their tasks in one pod alone",
		"defaults.pannier.agents":       "the sidecar is told, and each has a Service",
		"defaults.pannier.image":        "the sidecar is of it, and the Job that drains",
		"defaults.pannier.journalClass": "a claim's, or an ephemeral volume's",
		"defaults.pannier.journalSize":  "a claim's, an ephemeral volume's, or the limit of an emptyDir",
		"defaults.pannier.memory":       "asked for and limit are the same",
	},
	"pannier-control": {
		"agents":              "the file, and whether there is one",
		"identity.mappings":   "the file, whether there is one, and its sum, which restarts the pods",
		"name":                "everything is called it",
		"namespaces":          "what is watched, what is granted, and whose sidecars are read",
		"podMonitor.interval": "a PodMonitor for the control plane and one for sidecars",
		"podMonitor.labels":   "a PodMonitor for the control plane and one for sidecars",
	},
}

// Each value is used in one place, or there is a reason.
func TestValuesAreUsedOnce(t *testing.T) {
	t.Parallel()
	for chart, from := range map[string][]string{"pannier": {"pannier", "pannier-lib"}, "pannier-control": {"pannier-control"}} {
		templates := templatesOf(t, from...)
		root := readSchema(t, chart)
		for _, path := range root.leaves(root, "") {
			n := readings(templates, names(path))
			why := often[chart][path]
			switch {
			case n == 0:
				t.Errorf("%s: no template reads %s", chart, path)
			case n > 1 && why == "":
				t.Errorf("%s: %s is read %d times; read it once, or say why not", chart, path, n)
			case n == 1 && why != "":
				t.Errorf("%s: %s is read once, not more often because of %s", chart, path, why)
			}
		}
		for path := range often[chart] {
			if readings(templates, names(path)) == 0 {
				t.Errorf("%s: nothing reads %s", chart, path)
			}
		}
	}
}
