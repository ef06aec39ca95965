package inject_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	goyaml "github.com/goccy/go-yaml"

	"pannier/cmd/inject"
	"pannier/proxy"
	"pannier/proxy/yaml"
)

var options = inject.Options{Image: "pannier:1.2"}

// asking are the annotations of a pod that asks for a sidecar, in one line.
const asking = `{pannier.io/inject: "true", pannier.io/agents: acme/prod/orders, pannier.io/keyring-secret: keys}`

// stream runs what must be taken, and run once more must stay.
func stream(t *testing.T, text string, o inject.Options) (string, []inject.Outcome) {
	t.Helper()
	out, outcomes, err := inject.Stream("f.yaml", []byte(text), o)
	if err != nil {
		t.Fatalf("%v, in\n%s", err, text)
	}
	again, _, err := inject.Stream("f.yaml", out, o)
	if err != nil {
		t.Fatalf("again: %v, in\n%s", err, out)
	}
	if !bytes.Equal(again, out) {
		t.Errorf("a second run changed\n%s\nto\n%s", out, again)
	}
	return string(out), outcomes
}

// spec is the spec of the pod in a manifest, decoded.
func spec(t *testing.T, text string) map[string]any {
	t.Helper()
	var o map[string]any
	if err := goyaml.Unmarshal([]byte(text), &o); err != nil {
		t.Fatalf("%v, in\n%s", err, text)
	}
	s, _ := o["spec"].(map[string]any)
	if template, ok := s["template"].(map[string]any); ok {
		s, _ = template["spec"].(map[string]any)
	}
	return s
}

func called(list any) (names []string) {
	items, _ := list.([]any)
	for _, item := range items {
		names = append(names, fmt.Sprint(item.(map[string]any)["name"]))
	}
	return names
}

// However a manifest is written, each of its lines stays as it is, in its order, and the pod gets what it
// lacks beside what it has.
func TestWaysToWrite(t *testing.T) {
	t.Parallel()
	const head = "kind: Pod\nmetadata:\n  name: p\n  annotations: " + asking + "\n"
	rows := []struct {
		name, text        string
		init, run, volume []string // that are there already
		inLine            bool     // a line of it is added to
	}{
		{name: "without what it lacks", text: head + "spec:\n  containers:\n  - name: app\n", run: []string{"app"}},
		{name: "indented lists", text: head + "spec:\n    containers:\n        - name: app\n          image: x\n", run: []string{"app"}},
		{name: "comments", text: "# all\n" + head + "spec: # the pod\n  # the app\n  containers: # of it\n  # first\n  - name: app # here\n  # its end\n# end\n", run: []string{"app"}},
		{name: "lists in the middle", text: head + "spec:\n  volumes:\n  - name: tmp\n    emptyDir: {}\n  # of the app\n\n  initContainers:\n  # first\n  - name: set\n\n  containers:\n  - name: app\n", init: []string{"set"}, run: []string{"app"}, volume: []string{"tmp"}},
		{name: "no end of the last line", text: head + "spec:\n  containers:\n  - name: app\n  volumes:\n  - name: tmp", run: []string{"app"}, volume: []string{"tmp"}},
		{name: "a script at the end", text: head + "spec:\n  containers:\n  - name: app\n  volumes:\n  - name: tmp\n    x: |\n      #!/bin/sh\n      # ends\n", run: []string{"app"}, volume: []string{"tmp"}},
		{name: "a folded script before", text: head + "spec:\n  containers:\n  - name: app\n    args:\n    - >-\n      a\n       b\n\n      c\n    - \"x\n      y\"\n", run: []string{"app"}},
		{name: "carriage returns", text: strings.ReplaceAll(head+"spec:\n  containers:\n  - name: app\n    args:\n    - |\n      a\n  volumes:\n  - name: tmp\n", "\n", "\r\n"), run: []string{"app"}, volume: []string{"tmp"}},
		{name: "an anchor of its own", text: head + "spec: &spec\n  containers:\n  - &c\n    name: app\n    image: &i x\n  volumes: &v\n  - name: tmp\n  other: *i\n", run: []string{"app"}, volume: []string{"tmp"}},
		{name: "a marker in front", text: "---\n" + head + "spec:\n  containers:\n  - name: app\n...\n", run: []string{"app"}},
		{name: "letters of several bytes", text: head + "spec: {\"é\": ü, volumes: [{name: tmp}], containers: [{name: app}]}\n", run: []string{"app"}, volume: []string{"tmp"}, inLine: true},
		{name: "empty collections", text: head + "spec:\n  initContainers: []\n  securityContext: {}\n  volumes: [\n  ]\n  containers: [{name: app}]\n", run: []string{"app"}, inLine: true},
		{name: "nothing", text: head + "spec:\n  initContainers: null\n  securityContext:\n  volumes: ~ # none\n  containers: [{name: app}]\n", run: []string{"app"}, inLine: true},
		{name: "a comma at the end", text: head + "spec:\n  volumes: [{name: tmp},]\n  containers: [{name: app}]\n", run: []string{"app"}, volume: []string{"tmp"}, inLine: true},
		{name: "JSON", text: "{\"kind\": \"Pod\", \"metadata\": {\"name\": \"\\u00e9\", \"annotations\": {\"pannier.io/inject\": \"true\", \"pannier.io/agents\": \"a\", \"pannier.io/keyring-secret\": \"k\"}},\n\t\"spec\": {\n\t\t\"volumes\": [\n\t\t\t{\"name\": \"tmp\"}\n\t\t],\n\t\t\"containers\": [{\"name\": \"app\"}]}}\n", run: []string{"app"}, volume: []string{"tmp"}, inLine: true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			out, outcomes := stream(t, row.text, options)
			if len(outcomes) != 1 || !outcomes[0].Injected {
				t.Fatalf("outcomes %+v, want one injected", outcomes)
			}
			if stays := strings.NewReplacer(" null", "", " ~", "").Replace(row.text); !within(stays, out, row.inLine) {
				t.Errorf("%q does not stand in its order in\n%s", stays, out)
			}
			if strings.Contains(row.text, "\r") && strings.Count(out, "\r\n") != strings.Count(out, "\n") {
				t.Errorf("line ends are mixed:\n%q", out)
			}
			if strings.HasSuffix(row.text, "\n") != strings.HasSuffix(out, "\n") {
				t.Errorf("the end of the last line is not what it was:\n%q", out)
			}
			s := spec(t, strings.TrimSuffix(out, "...\n"))
			if got, want := called(s["initContainers"]), append([]string{"pannier"}, row.init...); !slices.Equal(got, want) {
				t.Errorf("init containers %v, want %v", got, want)
			}
			if got := called(s["containers"]); !slices.Equal(got, row.run) {
				t.Errorf("containers %v, want %v", got, row.run)
			}
			if got, want := called(s["volumes"]), append(row.volume, "pannier-journal", "pannier-token", "pannier-keyring"); !slices.Equal(got, want) {
				t.Errorf("volumes %v, want %v", got, want)
			}
		})
	}
}

// within reports whether the lines of a text, or its bytes, stand in this order in another one.
func within(text, in string, bytewise bool) bool {
	parts, all := strings.SplitAfter(text, "\n"), strings.SplitAfter(in, "\n")
	if bytewise {
		parts, all = strings.Split(text, ""), strings.Split(in, "")
	}
	for _, part := range all {
		if len(parts) > 0 && strings.TrimRight(part, "\n") == strings.TrimRight(parts[0], "\n") {
			parts = parts[1:]
		}
	}
	return len(parts) == 0
}

// What is none of ours is not touched, and need not even be read.
func TestPassesThrough(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty":               "",
		"only comments":       "# nothing\n---\n# here\n",
		"other kinds":         "kind: Service\nmetadata: {name: s}\n---\nkind: ConfigMap\ndata:\n  a: |\n    ---x\n\n",
		"no YAML at all":      "{{ template }}\nkind: Secret\n",
		"a list of others":    "kind: List\nitems:\n- kind: Service\n- kind: Pod\n  metadata: {name: p}\n",
		"does not ask":        "kind: Pod\nmetadata: {name: p}\nspec: {hostNetwork: true}\n",
		"asks not":            "kind: Pod\nmetadata: {annotations: {pannier.io/inject: \"false\", pannier.io/x: y}}\n",
		"asks as JSON":        `{"kind":"Pod","metadata":{"annotations":{"pannier.io/inject":"false"}}} {"kind":"Service"}` + "\n\n",
		"kind within a text":  "kind: ConfigMap\ndata:\n  x: |\n    kind: Pod\n",
		"directive":           "%YAML 1.2\n---\nkind: Pod\nmetadata: {name: p}\n",
		"another Job":         "apiVersion: batch.volcano.sh/v1\nkind: Job\nspec: {template: {metadata: {name: p}}}\n",
		"a large one":         "kind: ConfigMap\ndata:\n  x: |\n    kind: Deployment\n" + strings.Repeat("    # more\n", inject.MaxDocument/10),
		"a large one as JSON": `{"kind": "ConfigMap", "data": {"x": "` + strings.Repeat("kind: Pod ", inject.MaxDocument/10) + `"}}`,
		"kinds in a schema":   "kind: CustomResourceDefinition\nspec:\n  properties:\n    kind:\n      description: >\n        x\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if out, _ := stream(t, text, options); out != text {
				t.Errorf("got %q, want it as it was: %q", out, text)
			}
		})
	}
}

// However a kind is written, its pods get what they are to.
func TestWaysToSayTheKind(t *testing.T) {
	t.Parallel()
	all := inject.Options{Image: "pannier:1.2", All: true, Set: map[string]string{"agents": "acme/prod/all", "keyring-secret": "k"}}
	const rest = "spec:\n  containers:\n  - name: app\n"
	for _, kind := range []string{
		"kind: !!str Pod\n", "kind: >-\n  Pod\n", "kind: &k Pod\n", "kind:\n  Pod\n", "'kind'  : \"Pod\" # so\n",
		"metadata: {name: &k Pod}\nkind: *k\n", "\ufeffkind: Pod\n", "apiVersion: v1\nkind: Pod\r\n",
	} {
		text := kind + rest
		out, outcomes := stream(t, text, all)
		if len(outcomes) != 1 || !outcomes[0].Injected {
			t.Errorf("%q: outcomes %+v", kind, outcomes)
		}
		if strings.HasPrefix(text, "\ufeff") != strings.HasPrefix(out, "\ufeff") {
			t.Errorf("%q: it begins otherwise now: %q", kind, out[:10])
		}
	}
	json := `{"spec": {"containers": [{"name": "app"}]}, "kind": "Pod"}`
	if _, outcomes := stream(t, "\ufeff"+json, all); len(outcomes) != 1 || !outcomes[0].Injected {
		t.Errorf("JSON: outcomes %+v", outcomes)
	}
	if _, outcomes := stream(t, "kind: PodList\nitems: [{metadata: {name: p}}]\n", all); len(outcomes) != 1 || outcomes[0].Why == "" {
		t.Errorf("of a list that is not read: outcomes %+v", outcomes)
	}
}

// A volume without a source is an emptyDir to Kubernetes.
func TestVolumeWithoutASource(t *testing.T) {
	t.Parallel()
	for _, volume := range []string{"{name: pannier-journal}", "{name: pannier-journal, emptyDir: null}", "{name: pannier-journal, emptyDir: {}}"} {
		out, _ := stream(t, "kind: Pod\nmetadata: {annotations: "+asking+"}\nspec:\n  containers: [{name: app}]\n  volumes: ["+volume+"]\n", options)
		if !strings.Contains(out, "PANNIER_EPHEMERAL") {
			t.Errorf("%s: the sidecar is not told that its journal ends with the pod:\n%s", volume, out)
		}
	}
}

func TestStreamOfSeveral(t *testing.T) {
	t.Parallel()
	const text = `# first
kind: Job
metadata: {name: nightly}
spec: {template: {metadata: {annotations: ` + asking + `}, spec: {containers: [{name: app}]}}}
--- # second
kind: List
items:
- kind: Service
  metadata: {name: s}
- kind: StatefulSet
  metadata: {name: orders}
  spec:
    volumeClaimTemplates:
    - metadata: {name: pannier-journal}
    template:
      metadata:
        annotations: ` + asking + `
      spec:
        containers:
        - name: app
- kind: CronJob
  metadata: {name: hourly}
  spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: app}]}}}}}
`
	out, outcomes := stream(t, text, options)
	want := []inject.Outcome{
		{Kind: "job", Name: "nightly", Injected: true},
		{Kind: "statefulset", Name: "orders", Injected: true},
		{Kind: "cronjob", Name: "hourly", Why: "its pods do not ask for it with pannier.io/inject"},
	}
	if !slices.Equal(outcomes, want) {
		t.Errorf("outcomes\n%+v, want\n%+v", outcomes, want)
	}
	if n := strings.Count(out, "emptyDir"); n != 1 {
		t.Errorf("%d pods have a journal that ends with them, want that of the job alone:\n%s", n, out)
	}
	if n := strings.Count(out, "PANNIER_EPHEMERAL"); n != 1 {
		t.Errorf("%d sidecars are told that their journal ends with the pod, want that of the job alone:\n%s", n, out)
	}
	all := inject.Options{Image: "pannier:1.2", All: true, Set: map[string]string{"agents": "acme/prod/all", "keyring-secret": "k"}}
	if out, _ := stream(t, text, all); strings.Count(out, "acme/prod/all") != 3 {
		t.Errorf("all three are to have a sidecar with the agents that are set:\n%s", out)
	}
}

// What is wrong is said at its place, all of it, and nothing is written.
func TestRefusals(t *testing.T) {
	t.Parallel()
	pod := func(annotations, spec string) string {
		return "kind: Pod\nmetadata:\n  name: p\n  annotations:\n    pannier.io/inject: \"true\"\n" + annotations + "spec:\n  containers: [{name: app}]\n" + spec
	}
	const agents, keys = "    pannier.io/agents: acme/prod/orders\n", "    pannier.io/keyring-secret: keys\n"
	rows := []struct{ name, text, want string }{
		{"unknown", pod(agents+keys+"    pannier.io/agent: x\n", ""), `f.yaml:8:5: pannier.io/agent: unknown (did you mean "agents"?); known are inject, agents,`},
		{"no string", pod(agents+keys+"    pannier.io/drain-seconds: 5\n", ""), `f.yaml:8:5: pannier.io/drain-seconds: no string: write it in quotes`},
		{"no agents", pod(keys, ""), `f.yaml:4:3: pannier.io/agents: nothing says which agents the pod serves`},
		{"no identity", pod(agents, ""), `f.yaml:4:3: pannier.io/tls-secret: nothing says how sidecars prove who they are`},
		{"grace", pod(agents+keys, "  terminationGracePeriodSeconds: 25\n"), `f.yaml:4:3: pannier.io/drain-seconds: 20, and 5 to close the journal in, are not less than terminationGracePeriodSeconds, which is 25`},
		{"host network", pod(agents+keys, "  hostNetwork: true\n"), `f.yaml:10:3: spec.hostNetwork: true`},
		{"on the deployment", "kind: Deployment\nmetadata:\n  annotations:\n    pannier.io/inject: \"true\"\nspec: {template: {}}\n", `f.yaml:4:5: pannier.io/inject: stands on the Deployment itself, where nobody reads it; move it to spec.template.metadata.annotations`},
		{"second document", "kind: Service\n---\n" + pod(agents, ""), `f.yaml:6:3: pannier.io/tls-secret: `},
		{"no YAML", "kind: Pod\nmetadata: {name: [\n", `f.yaml:2:18: `},
		{"given twice", "kind: Pod\nmetadata: {}\nmetadata: {}\n", `f.yaml:3:`},
		{"an alias", pod(agents+keys, "  volumes: &v\n  - name: tmp\n  ephemeralContainers: *v\n"), `f.yaml:1:1: the pod in this document is written in a way`},
		{"a list that is an alias", pod(agents+keys, "  x: &v []\n  volumes: *v\n"), `f.yaml:11:3: spec.volumes: written in a way`},
		{"bytes", "kind: Pod\xff", `f.yaml:1:1: bytes that are no text`},
		{"another kind", "kind: Rollout\nspec:\n  template:\n    metadata:\n      annotations: " + asking + "\n", `f.yaml:5:21: pannier.io/inject: in an object of kind "Rollout"`},
		{"a list of pods", "kind: PodList\nitems:\n- metadata: {annotations: " + asking + "}\n", `f.yaml:3:28: pannier.io/inject: in an object of kind "PodList"`},
		{"a list in a list", "kind: List\nitems:\n- kind: List\n  items:\n  - kind: Pod\n    metadata: {annotations: " + asking + "}\n", `f.yaml:6:30: pannier.io/inject: in an object of kind "List"`},
		{"another Job", "apiVersion: batch.volcano.sh/v1\nkind: Job\nspec: {template: {metadata: {annotations: " + asking + "}}}\n", `pannier.io/inject: in an object of kind "Job"`},
		{"yes for true", pod(agents+keys, "  hostNetwork: yes\n"), `f.yaml:10:3: spec.hostNetwork: yes is neither true nor false`},
		{"a number of old", pod(agents+keys, "  terminationGracePeriodSeconds: \"60\"\n"), `f.yaml:10:3: spec.terminationGracePeriodSeconds: "60" is no number`},
		{"on the Job of a CronJob", "kind: CronJob\nspec: {jobTemplate: {metadata: {annotations: " + asking + "}, spec: {template: {spec: {}}}}}\n", `pannier.io/inject: stands at spec.jobTemplate.metadata.annotations, where nobody reads it; move it to spec.jobTemplate.spec.template.metadata.annotations`},
		{"too deep", "kind: Pod\nx: " + strings.Repeat("[", 400_000), `f.yaml:1:1: brackets more than 1000 deep`},
		{"no kind", "kind: Service\n---\n# here\n" + strings.Repeat("[", 5000), `f.yaml:3:1: no object of Kubernetes: nothing says its kind`},
		{"several in one", pod("", "  hostNetwork: true\n") + "---\n" + pod(agents, ""), "f.yaml:13:3: pannier.io/tls-secret"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			out, _, err := inject.Stream("f.yaml", []byte(row.text), options)
			if err == nil || len(out) > 0 {
				t.Fatalf("got %q and %v, want a refusal and nothing", out, err)
			}
			if !strings.Contains(err.Error(), row.want) {
				t.Errorf("got\n%v\nwant\n%s", err, row.want)
			}
			if at := (*yaml.Error)(nil); !errors.As(err, &at) {
				t.Errorf("%T has no place", err)
			}
		})
	}
}

// The sidecar must take each agent that is let through, and one it takes must not be refused without need.
func TestAgentsAreThoseOfTheSidecar(t *testing.T) {
	t.Parallel()
	for _, word := range []string{
		"orders", "acme/prod/orders", "agent://acme/prod/orders", "spiffe://x/y", "a/.../b", "a.b/..c/~d@e+f-_",
		"a=poll", "a=stream", "a=http:http://127.0.0.1:3000/intents?x=%20", "a=http:https://app.shop.svc", "a=http:http://localhost:65535",
		"a=inbox", "a=letterbox", "a=http:ftp://x/", "a=http://x/", "a=http:http://u:p@x/", "a=http:http://x/#f", "a=http:http://x/%zz", "a=http:http://",
		"a//b", "/a", "a/", ".", "a/..", "A://b", "a b", "é", "a=", "=poll", "a$b", "a=http:http://x:65536/", strings.Repeat("a", 376), "a/" + strings.Repeat("b", 372),
	} {
		text := fmt.Sprintf("kind: Pod\nmetadata: {annotations: {pannier.io/inject: \"true\", pannier.io/keyring-secret: k, pannier.io/agents: %s}}\nspec: {containers: []}\n", yaml.Quote(word))
		_, _, err := inject.Stream("f.yaml", []byte(text), options)
		_, want := proxy.ParseAgents([]string{word})
		if strings.Contains(word, ":65536") { // to the sidecar that is wrong when it is dialed
			want = errors.New("no port")
		}
		if len(word) == 376 { // of a bare name it would take 383
			want = errors.New("too long")
		}
		if (err == nil) != (want == nil) {
			t.Errorf("%q: inject says %v, the sidecar %v", word, err, want)
		}
	}
}

func TestOptionsAreKnown(t *testing.T) {
	t.Parallel()
	o := inject.Options{Set: map[string]string{"agnets": "x", "image": "y"}}
	if err := o.Validate(); err == nil || !strings.Contains(err.Error(), `agnets: unknown (did you mean "agents"?)`) {
		t.Errorf("got %v, want agnets refused", err)
	}
}

// Whatever comes in, nothing panics, and what comes out is taken again as it is.
func FuzzStream(f *testing.F) {
	for _, seed := range []string{
		"kind: Pod\nmetadata: {annotations: " + asking + "}\nspec:\n  containers:\n  - name: a\n",
		"kind: List\nitems:\n- kind: Pod\n  metadata: {annotations: " + asking + "}\n  spec: {containers: [{name: a}]}\n",
		`{"kind":"Job","spec":{"template":{"metadata":{"annotations":` + `{"pannier.io/inject":"true","pannier.io/agents":"a","pannier.io/spiffe":"true"}` + `},"spec":{"volumes":null}}}}`,
		"kind: Pod\nmetadata: &a\n  annotations: " + asking + "\nspec: *a\n", "--- !!map\nkind: Pod\n? [a]\n: b\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<12 {
			return // the parser's time grows with the square
		}
		out, _, err := inject.Stream("f", []byte(text), options)
		if err != nil {
			return
		}
		if again, _, err := inject.Stream("f", out, options); err != nil || !bytes.Equal(again, out) {
			t.Errorf("%q became %q, and that %q (%v)", text, out, again, err)
		}
	})
}
