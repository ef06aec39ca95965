package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"pannier/e2e/kubelet"
)

// appBinary is the app of pods, static whatever this test is built with.
var appBinary = sync.OnceValues(func() (string, error) {
	out := filepath.Join(scratch, "app")
	cmd := exec.Command("go", "build", "-o", out, "./e2e/kubelet/app")
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the app: %w\n%s", err, text)
	}
	return out, nil
})

// cluster is a node with pods.
type cluster struct {
	t    testing.TB
	net  *network
	node *kubelet.Node
	api  *apiServer // nil: the cluster has none
	free []*host    // where a pod may be; those that were longest none come first
	seen []*kubelet.Pod
}

// Images of pods: that of the Dockerfile, and the app in kubelet/app.
const imageBuilt, imageOfApp = "pannier:0.1.0", "shop/app:1"

func newCluster(t testing.TB, pods int) *cluster {
	t.Helper()
	n := newNetwork(t, pods+1)
	program, err := appBinary()
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, net: n, free: slices.Clone(n.hosts[1:]), node: &kubelet.Node{
		Dir: t.TempDir(), NetNS: netns(n.hosts[0]),
		Images: map[string]kubelet.Image{
			imageBuilt: {
				Files:      map[string]string{"pannier": release(t, "pannier"), "pannier-control": release(t, "pannier-control")},
				Entrypoint: []string{"/pannier"}, Env: []string{"PANNIER_JOURNAL=/var/lib/pannier"},
			},
			imageOfApp: {Files: map[string]string{"app": program}, Entrypoint: []string{"/app"}},
		},
	}}
	var config strings.Builder
	for k, v := range quick {
		fmt.Fprintf(&config, "%s: %s\n", k, v)
	}
	if err := errors.Join(
		c.node.Host("nobody", n.hosts[0].ip), // the file is mounted
		c.node.Secret("keyring", map[string][]byte{"keyring.yaml": []byte(readAll(n.keyring))}),
		c.node.ConfigMap("sidecar", map[string][]byte{"config.yaml": []byte(config.String())}),
	); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, p := range c.seen {
			p.Kill()
			if t.Failed() {
				t.Logf("events: %q", p.Events())
				for name, log := range p.Logs() {
					t.Logf("%s at %s said:\n%s", name, p.IP, tail(log, 3000))
				}
			}
		}
	})
	return c
}

func netns(h *host) string { return "/run/netns/" + h.name }

// start runs a pod, and waits until it is ready.
func (c *cluster) start(spec *v1.Pod) *kubelet.Pod {
	c.t.Helper()
	p := c.begin(spec)
	eventually(c.t, spec.Name+" to be ready", func() error {
		if !p.Ready() {
			return fmt.Errorf("%q", p.Events())
		}
		return nil
	})
	return p
}

// begin runs a pod.
func (c *cluster) begin(spec *v1.Pod) *kubelet.Pod {
	c.t.Helper()
	at := c.free[0]
	c.free = c.free[1:]
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p, err := c.node.Start(ctx, spec, kubelet.Sandbox{NetNS: netns(at), IP: at.ip})
	c.seen = append(c.seen, p)
	if err != nil {
		c.t.Fatal(err)
	}
	if c.api != nil {
		c.api.run(p)
	}
	return p
}

// stop ends a pod; its host is free then.
func (c *cluster) stop(p *kubelet.Pod) {
	p.Stop()
	i := slices.IndexFunc(c.net.hosts, func(h *host) bool { return h.ip == p.IP })
	c.free = append(c.free, c.net.hosts[i])
}

// pod is one with an app that has these settings, before it gets its sidecar.
func pod(name string, env ...string) *v1.Pod {
	own := v1.Container{Name: "app", Image: imageOfApp}
	for i := 0; i+1 < len(env); i += 2 {
		own.Env = append(own.Env, v1.EnvVar{Name: env[i], Value: env[i+1]})
	}
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec:       v1.PodSpec{Containers: []v1.Container{own}},
	}
}

// beside has `pannier inject` give the pod its sidecar; claim is the journal's, empty for
// one that goes with the pod.
func (c *cluster) beside(p *v1.Pod, agents, claim string) *v1.Pod {
	c.t.Helper()
	p.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	notes := map[string]string{"inject": "true", "agents": agents, "config": "sidecar", "keyring-secret": "keyring"}
	for name, value := range notes {
		metav1.SetMetaDataAnnotation(&p.ObjectMeta, "pannier.io/"+name, value)
	}
	if claim != "" {
		source := v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}
		p.Spec.Volumes = append(p.Spec.Volumes, v1.Volume{Name: "pannier-journal", VolumeSource: source})
	}
	plain, err := json.Marshal(p)
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(binary(c.t), "inject", "-f", "-", "--image", imageBuilt)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(plain), new(bytes.Buffer)
	text, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("inject: %v: %s", err, cmd.Stderr)
	}
	out := &v1.Pod{}
	if err := yaml.UnmarshalStrict(text, out); err != nil {
		c.t.Fatalf("what inject wrote: %v\n%s", err, text)
	}
	return out
}

// heard is a line of the app.
type heard struct {
	Sent, Last, Refused, Got string
	Redelivered              bool
	Attempt                  int
}

// app is the name of a pod's app container.
func app(p *kubelet.Pod) string { return p.Spec().Spec.Containers[0].Name }

func hears(p *kubelet.Pod) (all []heard) {
	for line := range bytes.Lines([]byte(p.Container(app(p)).Log())) {
		var h heard
		if json.Unmarshal(line, &h) == nil { // the last one may not be whole
			all = append(all, h)
		}
	}
	return all
}

// ask asks the sidecar of a pod, from within.
func ask(p *kubelet.Pod, port int, path string) answer {
	client := p.Client()
	client.Timeout = 30 * time.Second
	defer client.CloseIdleConnections()
	return call(client, fmt.Sprintf("http://127.0.0.1:%d", port), "GET", path, nil)
}

// node is the journal of a pod's sidecar.
func node(t testing.TB, p *kubelet.Pod) string {
	t.Helper()
	for line := range strings.Lines(p.Container("pannier").Log()) {
		var ready readyLine
		if json.Unmarshal([]byte(line), &ready) == nil && ready.Ready {
			return ready.Node
		}
	}
	t.Fatalf("no ready line: %s", p.Container("pannier").Log())
	return ""
}

// TestPodStartsAndStops: in a pod of the chart's, the sidecar is up before the app's first
// line, and told to stop when the app has ended, whose last words it has taken. It waits for
// no control plane: there is none.
func TestPodStartsAndStops(t *testing.T) {
	t.Parallel()
	need(t, true)
	c := newCluster(t, 1)
	p := c.start(kubelet.Replica(c.rendered("pannier/own-apps", "shop").sets["orders"], 0))
	eventually(t, "its first intents", func() error {
		if n := len(hears(p)); n < 3 {
			return fmt.Errorf("%d lines", n)
		}
		return nil
	})
	if a := ask(p, 7402, "/v1/admin/status"); a.code != http.StatusOK || !strings.Contains(string(a.body), `"durable":true`) {
		t.Errorf("its journal outlives the pod: %v", a)
	}
	c.rotate(p)
	c.stop(p)
	if want := []string{
		"pannier started", "pannier up", "orders started", "orders told to stop", "orders ended 0", "pannier told to stop", "pannier ended 0",
	}; !slices.Equal(p.Events(), want) {
		t.Errorf("%q, want %q", p.Events(), want)
	}
	lines := hears(p)
	for _, h := range lines {
		if h.Refused != "" {
			t.Errorf("a post was refused: %s", h.Refused)
		}
	}
	if last := lines[len(lines)-1]; last.Last == "" {
		t.Errorf("after SIGTERM the app heard %+v", last)
	}
}

// rotate changes what is mounted into a pod as a cluster does, and waits until the
// sidecar has taken it over.
func (c *cluster) rotate(p *kubelet.Pod) {
	c.t.Helper()
	if err := errors.Join(
		c.node.Secret("keyring", map[string][]byte{"keyring.yaml": keyringOf(keyOf("1")("current"), keyOf("2")("next"))}),
		c.node.ConfigMap("sidecar", map[string][]byte{"config.yaml": []byte("retry_max: 7s\n")}),
	); err != nil {
		c.t.Fatal(err)
	}
	for _, line := range []string{`msg="keyring read".*keys="k1 current, k2 next"`, `msg="config file read".*\n(?s:.*)msg="config file read"`} {
		eventually(c.t, "the sidecar to say "+line, func() error {
			if log := p.Container("pannier").Log(); !regexp.MustCompile(line).MatchString(log) {
				return errors.New(log)
			}
			return nil
		})
	}
}

// TestPodOfAJob: its sidecar does not keep it.
func TestPodOfAJob(t *testing.T) {
	t.Parallel()
	need(t, true)
	c := newCluster(t, 1)
	job := c.beside(pod("job", "APP_TO", billing, "APP_ONCE", "true"), shop, "job-journal")
	job.Spec.RestartPolicy = v1.RestartPolicyNever
	p := c.begin(job)
	select {
	case <-p.Done():
	case <-time.After(2 * time.Minute):
		t.Fatalf("it does not end: %q", p.Events())
	}
	if want := []string{"pannier started", "pannier up", "app started", "app ended 0", "pannier told to stop", "pannier ended 0"}; !slices.Equal(p.Events(), want) {
		t.Errorf("%q, want %q", p.Events(), want)
	}
	if h := hears(p); len(h) != 1 || h[0].Sent == "" {
		t.Errorf("the app heard %+v", h)
	}
}

// TestPodWithAPlainContainer: where both are told to stop at once, the sleep before the
// sidecar is told leaves the app its last words.
func TestPodWithAPlainContainer(t *testing.T) {
	t.Parallel()
	need(t, true)
	c := newCluster(t, 1)
	spec := pod("plain", "APP_TO", billing)
	metav1.SetMetaDataAnnotation(&spec.ObjectMeta, "pannier.io/native", "false")
	metav1.SetMetaDataAnnotation(&spec.ObjectMeta, "pannier.io/drain-seconds", "6") // nobody takes what it has
	p := c.start(c.beside(spec, shop, ""))
	eventually(t, "an intent", func() error { // the app may have been there first
		if !slices.ContainsFunc(hears(p), func(h heard) bool { return h.Sent != "" }) {
			return errors.New("none yet")
		}
		return nil
	})
	if a := ask(p, 7402, "/v1/admin/status"); a.code != http.StatusOK || !strings.Contains(string(a.body), `"durable":false`) {
		t.Errorf("its journal goes with the pod: %v", a)
	}
	c.stop(p)
	all := hears(p)
	if last := all[len(all)-1]; last.Last == "" {
		t.Errorf("after SIGTERM the app heard %+v", last)
	}
	if code := p.Container("pannier").Code(); code != 0 {
		t.Errorf("pannier: exit code %d", code)
	}
}
