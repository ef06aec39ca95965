package tools

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/strvals"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"pannier/proxy/kubernetes"
)

// readmeSets are the value sets that say the same as the README's commands, by chart. What
// is rendered for them is run in pods by e2e.
var readmeSets = map[string]string{"pannier": "default", "pannier-control": "insecure"}

// The README's way from an empty cluster to the first intent fits what its commands
// render: the charts are there and take the values, sidecars ask the control plane that
// is installed, the namespace may have the addresses, and the pod that sends is there.
func TestReadmeInstalls(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	installs := regexp.MustCompile(`(?m)^ +helm install (\S+) charts/(\S+) -n (\S+)(.*)$`).FindAllStringSubmatch(string(text), -1)
	annotated := regexp.MustCompile(`kubectl annotate namespace (\S+) pannier\.io/org=(\S+) pannier\.io/env=(\S+)`).FindStringSubmatch(string(text))
	sends := regexp.MustCompile(`kubectl -n (\S+) exec (\S+)-0 -c (\S+) -- (\S+) send --to (\S+) .*`).FindStringSubmatch(string(text))
	image := regexp.MustCompile(`docker build -t (\S+:\S+) \.`).FindStringSubmatch(string(text))
	if len(installs) != 2 || annotated == nil || sends == nil || image == nil {
		t.Fatalf("the README has %d installs, annotates %q, sends %q, and builds %q", len(installs), annotated, sends, image)
	}
	var w world
	var stream, services string
	for _, m := range installs {
		text := install(t, m[2], m[4], release{m[1], m[3], newest, nil})
		for _, wrong := range validate(text, newest) {
			t.Errorf("%s: %v", m[0], wrong)
		}
		golden, err := os.ReadFile(filepath.Join("testdata/golden", m[2], readmeSets[m[2]]+".yaml"))
		if err != nil || text != string(golden) {
			t.Errorf("%s: it does not render the value set %q (%v), which is the one that is run; rendered is\n%s", m[0], readmeSets[m[2]], err, text)
		}
		stream += text
		services += m[1] + "." + m[3] + ".svc:7410 "
	}
	objects, err := decode(stream)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		w.collect(o)
	}
	agents := addresses(objects)
	for _, agent := range agents {
		if !strings.HasPrefix(agent, "agent://"+annotated[2]+"/"+annotated[3]+"/") {
			t.Errorf("namespace %s is of %s/%s, and %s is not", annotated[1], annotated[2], annotated[3], agent)
		}
	}
	if !slices.Contains(agents, "agent://"+sends[5]) {
		t.Errorf("sent is to %s, and served are %v", sends[5], agents)
	}
	for _, p := range w.pods {
		for _, c := range slices.Concat(p.InitContainers, p.Containers) {
			if c.Image != image[1] {
				t.Errorf("%s of %s has image %s, and built is %s", c.Name, p.of, c.Image, image[1])
			}
			for _, e := range c.Env {
				if e.Name == "PANNIER_XDS" && !strings.Contains(services, e.Value) {
					t.Errorf("%s asks %s, and installed are %s", p.of, e.Value, services)
				}
			}
		}
	}
	if !slices.ContainsFunc(w.pods, func(p podTemplate) bool {
		return p.of == "StatefulSet/"+sends[2] && slices.ContainsFunc(p.InitContainers, func(c core.Container) bool { return c.Name == sends[3] })
	}) {
		t.Errorf("%s: no such pod or container", sends[0])
	}
	if !strings.Contains(stream, sends[0]) {
		t.Errorf("the notes of the chart say otherwise how to send than %s", sends[0])
	}
}

// install renders a chart as a command line of helm does.
func install(t *testing.T, chart, flags string, as release) string {
	t.Helper()
	values := map[string]any{}
	for _, m := range regexp.MustCompile(`--set (\S+)`).FindAllStringSubmatch(flags, -1) {
		if err := strvals.ParseInto(m[1], values); err != nil {
			t.Fatal(err)
		}
	}
	files, err := helm4.render(complete(t, chart), values, as)
	if err != nil {
		t.Fatalf("%s %s: %v", chart, flags, err)
	}
	return manifest(files)
}

func addresses(objects []runtime.Object) (agents []string) {
	for _, o := range objects {
		if s, ok := o.(*core.Service); ok && s.Labels[kubernetes.LabelMesh] != "" {
			agents = append(agents, s.Annotations[kubernetes.AnnotationAgent])
		}
	}
	return agents
}

// Files that the README and the library's name are there.
func TestReadmeFiles(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"../../README.md", "../../charts/pannier-lib/README.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		links := regexp.MustCompile(`\]\(([^):]+)\)`).FindAllStringSubmatch(string(text), -1)
		if len(links) == 0 {
			t.Errorf("%s names no file", file)
		}
		for _, m := range links {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}
