package admission

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/version"

	"pannier/cmd/inject"
)

var update = flag.Bool("update", false, "write testdata/want and testdata/refused/*.txt anew")

var options = inject.Options{Image: testImage}

// versions are those of Kubernetes that the policies are for: the first that has them, whose environment for
// new expressions is that of the version before it, and the newest that this was written against.
var versions = []*version.Version{version.MustParse("1.35"), version.MustParse("1.37")}

// each calls test with every file of a folder.
func each(t *testing.T, folder string, least int, test func(t *testing.T, name string, stream []byte)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
	if err != nil || len(files) < least {
		t.Fatalf("%d files in %s (%v), want %d", len(files), folder, err, least)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			stream, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			test(t, name, stream)
		})
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("not as in %s (%v; go test -update writes it anew):\n%s", path, err, got)
	}
}

// A pod is the same by inject and by the policy, with and without what a cluster adds to it, and either way
// stays what it is when it comes along again.
func TestSamePod(t *testing.T) {
	t.Parallel()
	p := policiesOf(t)
	var evaluators []*evaluator
	for _, v := range versions {
		evaluators = append(evaluators, newEvaluator(t, p, v))
	}
	each(t, "pods", 25, func(t *testing.T, name string, stream []byte) {
		out, _, err := inject.Stream(name, stream, options)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, filepath.Join("testdata", "want", name+".yaml"), out)
		if again, _, err := inject.Stream(name, out, options); err != nil || !bytes.Equal(again, out) {
			t.Errorf("inject changes what it made (%v):\n%s", err, again)
		}
		before, after := podsOf(t, stream), podsOf(t, out)
		for i, e := range evaluators {
			for n := range before {
				want := show(t, after[n])
				got := e.admitted(t, before[n])
				if show(t, got) != want {
					t.Errorf("Kubernetes %s: the policy makes\n%s\nand inject\n%s", versions[i], show(t, got), want)
				}
				if again := e.admitted(t, got); show(t, again) != want {
					t.Errorf("the policy changes what it made to\n%s", show(t, again))
				}
				if again := e.admitted(t, after[n]); show(t, again) != want {
					t.Errorf("the policy changes what inject made to\n%s", show(t, again))
				}
				if got, want := show(t, sorted(e.admitted(t, served(before[n])))), show(t, sorted(served(after[n]))); got != want {
					t.Errorf("in a cluster the policy makes\n%s\nand inject\n%s", got, want)
				}
				check(t, got)
			}
		}
	})
}

func (e *evaluator) admitted(t *testing.T, p *core.Pod) *core.Pod {
	t.Helper()
	got, refusal, err := e.admit(p)
	if err != nil || refusal != "" {
		t.Fatalf("refused: %q, %v", refusal, err)
	}
	return got
}

// check says what Kubernetes, or the sidecar, would refuse of an injected pod.
func check(t *testing.T, p *core.Pod) {
	t.Helper()
	volumes, names, ports := map[string]bool{}, map[string]bool{}, map[int32]bool{}
	for _, v := range p.Spec.Volumes {
		if volumes[v.Name] {
			t.Errorf("two volumes %s", v.Name)
		}
		volumes[v.Name] = true
	}
	for i, c := range append(p.Spec.InitContainers, p.Spec.Containers...) {
		if names[c.Name] {
			t.Errorf("two containers %s", c.Name)
		}
		names[c.Name] = true
		for _, port := range c.Ports {
			if ports[port.ContainerPort] {
				t.Errorf("two containers with port %d", port.ContainerPort)
			}
			ports[port.ContainerPort] = true
		}
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] && !strings.HasPrefix(p.Name, "of-statefulset") {
				t.Errorf("%s mounts %s, which is no volume", c.Name, m.Name)
			}
		}
		if c.Name != "pannier" || c.StartupProbe == nil {
			continue
		}
		if native := c.RestartPolicy != nil; native && i != 0 {
			t.Error("the native sidecar is not the first")
		} else if native == (c.Lifecycle != nil) {
			t.Error("a native sidecar has no preStop, a plain one has")
		}
		request, limit := c.Resources.Requests[core.ResourceMemory], c.Resources.Limits[core.ResourceMemory]
		if request.Cmp(limit) != 0 || limit.Cmp(resource.MustParse("1Mi")) < 0 {
			t.Errorf("memory %s requested, %s at most", request.String(), limit.String())
		}
		if _, ok := c.Resources.Limits[core.ResourceCPU]; ok {
			t.Error("processor time is limited")
		}
		for n, one := range c.Env {
			if one.Name == "POD_IP" && n != 0 {
				t.Error("POD_IP is not before what names it")
			}
		}
	}
}

// suggestion is what the policies cannot say: which known name is near.
var suggestion = regexp.MustCompile(` \(did you mean "[^"]*"\?\)`)

// place is what inject knows beside, and an admission does not.
var place = regexp.MustCompile(`(?m)^[^:\n]*:\d+:\d+: `)

// What is refused is refused by both, in the same sentences and the same order.
func TestSameRefusals(t *testing.T) {
	t.Parallel()
	p := policiesOf(t)
	e := newEvaluator(t, p, versions[1])
	each(t, "refused", 15, func(t *testing.T, name string, stream []byte) {
		out, _, err := inject.Stream(name+".yaml", stream, options)
		if err == nil || out != nil {
			t.Fatalf("inject takes it:\n%s", out)
		}
		golden(t, filepath.Join("testdata", "refused", name+".txt"), []byte(err.Error()+"\n"))
		want := strings.ReplaceAll(suggestion.ReplaceAllString(place.ReplaceAllString(err.Error(), ""), ""), "\n", "; ")
		for _, pod := range podsOf(t, stream) {
			for _, pod := range []*core.Pod{pod, served(pod)} {
				after, got, err := e.admit(pod)
				if err != nil {
					t.Fatal(err)
				}
				if got != want {
					t.Errorf("the policy says\n%s\nand inject\n%s", got, want)
				}
				if show(t, after) != show(t, pod) {
					t.Errorf("what is refused was changed:\n%s", show(t, after))
				}
			}
		}
	})
}

// What inject refuses because of more than a pod shows must be no secret: the template says so, too.
func TestWhatAPodDoesNotShow(t *testing.T) {
	t.Parallel()
	e := newEvaluator(t, policiesOf(t), versions[1])
	each(t, "unseen", 4, func(t *testing.T, name string, stream []byte) {
		_, _, err := inject.Stream(name+".yaml", stream, options)
		if err == nil {
			t.Fatal("inject takes it")
		}
		golden(t, filepath.Join("testdata", "unseen", name+".txt"), []byte(err.Error()+"\n"))
		for _, pod := range podsOf(t, stream) {
			if _, refusal, err := e.admit(pod); err != nil || refusal != "" {
				t.Errorf("the policy sees it: %q, %v; it belongs into testdata/refused", refusal, err)
			}
		}
	})
}

// Each annotation means the same to both, whatever is written there.
func TestSameValues(t *testing.T) {
	t.Parallel()
	e := newEvaluator(t, policiesOf(t), versions[1])
	values := []string{
		"", " ", "true", "false", "True", "0", "1", "5", "4", "20", "24", "25", "020", "3600", "3601", "7400", "7404", "65535", "65536", "-1", "1.5",
		"0.25", "0.000", "0.1234", "25m", "0m", "128Mi", "128mi", "1G", "0Gi", "1e3", "1Ti", "1Pi", "none", "a", "a.b", "a.", "-a", "a-", "A", "a_b", "a/b", "a//b", "/", "/a b",
		"/%2f", "/%2", "/a$(POD_IP)", "/é", "a=poll", "a=stream", "a=inbox", "a=http:http://h/", "a=http:http://h:0/", "a=http:https://h", "a=", "a,b", "a,a", "agent://a,a",
		"x:1", "x:0", ":7410", "[::1]:7410", "::1:7410", "h:7410,i:7410", "registry/x:1@sha256:ab", "x y", "\"x\"", "a\\b", "\u00e9\n\t", "$(X)", "...", "..", "a/../b", "a/.../b", strings.Repeat("a", 375), strings.Repeat("a", 376),
	}
	base := map[string]string{"inject": "true", "agents": "acme/prod/x", "keyring-secret": "k"}
	for _, name := range append(inject.Names(), "inject") {
		for _, value := range values {
			if name == "inject" && value == "false" {
				continue // asks for none
			}
			pod := &core.Pod{}
			pod.Name, pod.Annotations = "x", map[string]string{"pannier.io/" + name: value}
			for other, v := range base {
				if other != name && (other != "keyring-secret" || name != "tls-secret") {
					pod.Annotations["pannier.io/"+other] = v
				}
			}
			pod.Spec.Containers = []core.Container{{Name: "app"}}
			text := fmt.Sprintf("kind: Pod\nmetadata: {name: x, annotations: %s}\nspec: {containers: [{name: app, resources: {}}]}\n", annotations(pod.Annotations))
			out, _, err := inject.Stream("f", []byte(text), options)
			after, refusal, fault := e.admit(pod)
			if fault != nil {
				t.Errorf("%s: %q: %v", name, value, fault)
				continue
			}
			want := ""
			if err != nil {
				want = strings.ReplaceAll(suggestion.ReplaceAllString(place.ReplaceAllString(err.Error(), ""), ""), "\n", "; ")
			}
			if refusal != want {
				t.Errorf("%s: %q: the policy says %q, inject %q", name, value, refusal, want)
			}
			if err == nil {
				if got, want := show(t, after), show(t, podsOf(t, bytes.Replace(out, []byte("kind: Pod"), []byte("kind: Pod\napiVersion: v1"), 1))[0]); got != want {
					t.Errorf("%s: %q: the policy makes\n%s\nand inject\n%s", name, value, got, want)
				}
			}
		}
	}
}

func annotations(of map[string]string) string {
	var parts []string
	for k, v := range of {
		parts = append(parts, fmt.Sprintf("%q: %q", k, v))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// A pod that asks and gets nothing is refused, whatever was missing: parameters, an image, the policy.
func TestNoPodWithoutItsSidecar(t *testing.T) {
	t.Parallel()
	stream, err := os.ReadFile("testdata/pods/plain-pod.yaml")
	if err != nil {
		t.Fatal(err)
	}
	pod := podsOf(t, stream)[0]
	p := policiesOf(t)
	const want = "asks for a sidecar and was given none"
	for name, data := range map[string]map[string]string{"no data": nil, "no image": {"controlPlane": "x:1"}, "an empty image": {"image": ""}} {
		p.params.Data = data
		if _, refusal, err := newEvaluator(t, p, versions[1]).admit(pod); err != nil || !strings.Contains(refusal, want) {
			t.Errorf("%s: %q, %v", name, refusal, err)
		}
	}
	e := newEvaluator(t, p, versions[1])
	if refusal, err := e.validate(request(pod)); err != nil || !strings.Contains(refusal, want) {
		t.Errorf("without the policy: %q, %v", refusal, err)
	}
	p.params.Data = map[string]string{"image": "x", "controlPlane": "other.example:7"}
	got := newEvaluator(t, p, versions[1]).admitted(t, pod)
	if text := show(t, got); !strings.Contains(text, "value: other.example:7\n") || !strings.Contains(text, "image: x\n") {
		t.Errorf("the parameters are not used:\n%s", text)
	}
}
