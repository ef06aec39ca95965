package tools

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

const monitored = "../../charts/pannier-control/"

// targetLabels are those that Prometheus itself gives what a PodMonitor reads.
var targetLabels = []string{"namespace", "pod", "container", "job", "instance"}

// metrics are those of the tables of the README, with their labels. Other tests make
// these tables from what is served.
func metrics(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|(.*?)\\|")
	name := regexp.MustCompile("`([a-z_]+)`")
	all := map[string][]string{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		all[m[1]] = slices.Clone(targetLabels)
		for _, l := range name.FindAllStringSubmatch(m[2], -1) {
			all[m[1]] = append(all[m[1]], l[1])
		}
		if strings.HasSuffix(m[1], "_seconds") { // it may be a histogram
			all[m[1]+"_bucket"] = append(slices.Clone(all[m[1]]), "le")
		}
	}
	if len(all) < 20 {
		t.Fatalf("the README has %d metrics", len(all))
	}
	return all
}

var (
	metricName = regexp.MustCompile(`\b(?:pannier|http)_[a-z_]+`)
	matchers   = regexp.MustCompile(`\b((?:pannier|http)_[a-z_]+)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
	quoted     = regexp.MustCompile(`"[^"]*"`)
	grouping   = regexp.MustCompile(`\bby \(([^)]*)\)`)
)

// checkExpression returns the metrics that an expression reads, and complains about those
// that do not exist, and about labels that they do not have.
func checkExpression(t *testing.T, whose, expression string, known map[string][]string) (names []string) {
	t.Helper()
	names = metricName.FindAllString(quoted.ReplaceAllString(expression, `""`), -1)
	if len(names) == 0 {
		t.Errorf("%s reads no metric: %s", whose, expression)
	}
	for _, name := range names {
		if known[name] == nil {
			t.Errorf("%s reads %s, which does not exist", whose, name)
		}
	}
	for _, m := range matchers.FindAllStringSubmatch(expression, -1) {
		for _, l := range matcher.FindAllStringSubmatch(quoted.ReplaceAllString(m[2], `""`), -1) {
			if !slices.Contains(known[m[1]], l[1]) {
				t.Errorf("%s asks for label %s, which %s does not have", whose, l[1], m[1])
			}
		}
	}
	for _, m := range grouping.FindAllStringSubmatch(expression, -1) {
		for l := range strings.SplitSeq(m[1], ",") {
			l = strings.TrimSpace(l)
			if !slices.ContainsFunc(names, func(name string) bool { return slices.Contains(known[name], l) }) {
				t.Errorf("%s sums by %s, which none of %v has", whose, l, names)
			}
		}
	}
	return names
}

func readRules(t *testing.T) (rules Rules) {
	t.Helper()
	text, err := os.ReadFile(monitored + "monitoring/rules.yaml")
	if err == nil {
		err = yaml.UnmarshalStrict(text, &rules)
	}
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// Alerts read metrics that exist, and say in words what they mean, with labels that are
// there when they fire.
func TestAlerts(t *testing.T) {
	t.Parallel()
	known := metrics(t)
	shown := regexp.MustCompile(`\$labels\.([a-z_]+)`)
	seen := map[string]bool{}
	for _, group := range readRules(t).Groups {
		for _, r := range group.Rules {
			if seen[r.Alert] || !strings.HasPrefix(r.Alert, "Pannier") {
				t.Errorf("%q is the name of no alert, or of two", r.Alert)
			}
			seen[r.Alert] = true
			names := checkExpression(t, r.Alert, r.Expr, known)
			if !slices.Contains([]string{"info", "warning", "critical"}, r.Labels["severity"]) {
				t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
			}
			if _, err := time.ParseDuration(strings.Replace(r.For, "1d", "24h", 1)); r.For != "" && err != nil {
				t.Errorf("%s: for: %v", r.Alert, err)
			}
			if r.Annotations["summary"] == "" || !strings.HasSuffix(r.Annotations["description"], ".") {
				t.Errorf("%s: it says %q", r.Alert, r.Annotations)
			}
			left := slices.Clone(targetLabels)
			if m := grouping.FindStringSubmatch(r.Expr); m != nil {
				left = strings.Split(m[1], ", ")
			} else {
				for _, name := range names {
					left = append(left, known[name]...)
				}
			}
			for _, text := range r.Annotations {
				for _, m := range shown.FindAllStringSubmatch(text, -1) {
					if !slices.Contains(left, m[1]) {
						t.Errorf("%s says label %s; it has %v", r.Alert, m[1], left)
					}
				}
			}
		}
	}
	if len(seen) == 0 {
		t.Error("no alerts")
	}
}

// Prometheus reads the rules, and fires those alerts that what is scraped hides well; that
// names and labels are there is looked at above.
func TestPromtool(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no promtool (e2e/run --install gets it)")
		}
		t.Skip("no promtool: the grammar of the rules is not checked")
	}
	for _, args := range [][]string{
		{"check", "rules", "--lint-fatal", monitored + "monitoring/rules.yaml"},
		{"test", "rules", "testdata/alerts.yaml"},
	} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// Each panel of a dashboard shows metrics that exist; none is drawn over another.
func TestDashboards(t *testing.T) {
	t.Parallel()
	known := metrics(t)
	files, err := filepath.Glob(monitored + "dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	uids := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var board struct {
			UID, Title string
			Panels     []struct {
				ID      int
				Title   string
				GridPos struct{ X, Y, W, H int }
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(text, &board); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if board.UID == "" || uids[board.UID] != "" || board.Title == "" || len(board.Panels) == 0 {
			t.Errorf("%s: uid %q, title %q, %d panels", file, board.UID, board.Title, len(board.Panels))
		}
		uids[board.UID] = file
		places := map[[2]int]string{}
		ids := map[int]bool{}
		for _, p := range board.Panels {
			if ids[p.ID] || len(p.Targets) == 0 {
				t.Errorf("%s: %s has an id of another, or shows nothing", file, p.Title)
			}
			ids[p.ID] = true
			for _, target := range p.Targets {
				checkExpression(t, p.Title, target.Expr, known)
			}
			for x := range p.GridPos.W {
				for y := range p.GridPos.H {
					at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
					if places[at] != "" {
						t.Fatalf("%s: %s is drawn over %s", file, p.Title, places[at])
					}
					places[at] = p.Title
				}
			}
		}
	}
}

// What the checks above find in expressions that are wrong.
func TestExpressionsAreRead(t *testing.T) {
	t.Parallel()
	known := map[string][]string{"pannier_ready": {"pod"}}
	for _, row := range []struct {
		expression string
		names      []string
	}{
		{`pannier_ready == 0`, []string{"pannier_ready"}},
		{`sum by (pod) (rate(pannier_ready{pod=~"pannier_x.*"}[5m]))`, []string{"pannier_ready"}},
	} {
		if got := checkExpression(t, "a row", row.expression, known); !slices.Equal(got, row.names) {
			t.Errorf("%s reads %v, want %v", row.expression, got, row.names)
		}
	}
	if m := matchers.FindStringSubmatch(`pannier_ready{pod="a",state!="b"}`); m == nil || len(matcher.FindAllString(quoted.ReplaceAllString(m[2], `""`), -1)) != 2 {
		t.Errorf("labels that are asked for are not found: %v", m)
	}
}
