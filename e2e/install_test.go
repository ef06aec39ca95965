package e2e_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pannier/e2e/kubelet"
	"pannier/proxy/kubernetes"
)

// What helm renders of the charts is in golden files, which tests of tools/ hold to what
// is rendered. It is run here as it is there.

// manifest is what such a file holds that is more than a word to the API server.
type manifest struct {
	sets        map[string]*apps.StatefulSet
	deployments []*apps.Deployment
	jobs        []*batch.Job
	services    []*v1.Service
	roles       map[string]*rbac.ClusterRole
	bindings    []*rbac.ClusterRoleBinding
}

// rendered reads CHART/SET for a namespace.
func (c *cluster) rendered(name, namespace string) manifest {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join("tools/testdata/golden", name+".yaml"))
	if err != nil {
		c.t.Fatal(err)
	}
	objects, err := kubelet.Read(text)
	if err != nil {
		c.t.Fatal(err)
	}
	m := manifest{sets: map[string]*apps.StatefulSet{}, roles: map[string]*rbac.ClusterRole{}}
	for _, o := range objects {
		if named, ok := o.(meta.Object); ok && named.GetNamespace() == "" {
			named.SetNamespace(namespace)
		}
		switch o := o.(type) {
		case *apps.StatefulSet:
			m.sets[o.Name] = o
		case *apps.Deployment:
			m.deployments = append(m.deployments, o)
		case *batch.Job:
			m.jobs = append(m.jobs, o)
		case *v1.Service:
			m.services = append(m.services, o)
		case *rbac.ClusterRole:
			m.roles[o.Name] = o
		case *rbac.ClusterRoleBinding:
			m.bindings = append(m.bindings, o)
		case *v1.ConfigMap:
			data := map[string][]byte{}
			for key, value := range o.Data {
				data[key] = []byte(value)
			}
			if err := c.node.ConfigMap(o.Name, data); err != nil {
				c.t.Fatal(err)
			}
		case *v1.ServiceAccount, *policy.PodDisruptionBudget:
			// Pods have the account they name, and no node is drained.
		default:
			c.t.Fatalf("%s: a %T is not installed here", name, o)
		}
	}
	return m
}

// serve gives the cluster an API server.
func (c *cluster) serve() {
	c.t.Helper()
	c.api = newAPIServer(c.t, c.node, c.net.hosts[0].ip)
}

// allow lets a namespace hand out addresses.
func (c *cluster) allow(namespace, org, env string) {
	c.api.Put(&v1.Namespace{ObjectMeta: meta.ObjectMeta{Name: namespace, Annotations: map[string]string{kubernetes.AnnotationOrg: org, kubernetes.AnnotationEnv: env}}})
}

// install starts all pods of a rendered chart, and waits until they are ready.
func (c *cluster) install(name, namespace string) map[string]*statefulSet {
	c.t.Helper()
	m := c.rendered(name, namespace)
	for _, b := range m.bindings {
		c.api.bind(b, m.roles)
	}
	for _, s := range m.services {
		c.api.serve(s)
	}
	for _, d := range m.deployments {
		for n := range int(*d.Spec.Replicas) {
			c.start(kubelet.Instance(d, n))
		}
	}
	sets := map[string]*statefulSet{}
	for name, s := range m.sets {
		sets[name] = &statefulSet{cluster: c, spec: s}
		sets[name].scale(int(*s.Spec.Replicas))
	}
	return sets
}

// named is the pod that runs under a name.
func (c *cluster) named(namespace, name string) *kubelet.Pod {
	c.t.Helper()
	for _, p := range c.seen {
		if at := p.Spec(); at.Namespace == namespace && at.Name == name && !p.Stopping() {
			return p
		}
	}
	c.t.Fatalf("pod %s/%s: there is none", namespace, name)
	return nil
}

// TestFirstIntentInACluster does what the README says: each of its commands, by what it
// means where there is no helm and no API server to ask. The control plane asks the
// stand-in for one; the image is the Dockerfile's, and both apps are in it.
func TestFirstIntentInACluster(t *testing.T) {
	t.Parallel()
	need(t, true)
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "From an empty cluster to the first intent there and back")
	_, rest, _ = strings.Cut(rest, "\n\n")
	commands, _, _ := strings.Cut(rest, "\n\n")
	if !found {
		t.Fatal("the README does not say how")
	}
	c := newCluster(t, 4)
	c.serve()
	image := c.node.Images[imageBuilt]
	delete(c.node.Images, imageBuilt)
	sent := "" // the id that the last command prints
	for line := range strings.Lines(commands) {
		var of [4]string
		matches := func(form string) bool {
			m := regexp.MustCompile(`^ +` + form + `\n?$`).FindStringSubmatch(line)
			copy(of[:], m)
			return m != nil
		}
		switch {
		case matches(`docker build -t (\S+) \.`):
			c.node.Images[of[1]] = image
		case matches(`helm install \S+ charts/pannier-control -n (\S+) .*`):
			c.install("pannier-control/insecure", of[1]) // as tools/ says that it renders
		case matches(`helm install \S+ charts/pannier -n (\S+) .*`):
			c.install("pannier/default", of[1])
		case matches(`kubectl create namespace (\S+)`):
			c.api.Put(&v1.Namespace{ObjectMeta: meta.ObjectMeta{Name: of[1]}})
		case matches(`kubectl annotate namespace (\S+) pannier\.io/org=(\S+) pannier\.io/env=(\S+)`):
			c.allow(of[1], of[2], of[3])
		case matches(`kubectl -n (\S+) exec (\S+) -c (\S+) -- (.*)`):
			var argv []string
			for _, word := range regexp.MustCompile(`'[^']*'|\S+`).FindAllString(strings.TrimSpace(line[strings.Index(line, " -- ")+4:]), -1) {
				argv = append(argv, strings.Trim(word, "'"))
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			out, said, code, err := c.named(of[1], of[2]).Exec(ctx, of[3], argv...)
			cancel()
			if code != 0 || err != nil {
				t.Errorf("%s: exit code %d, %v\n%s%s", strings.TrimSpace(line), code, err, out, said)
			}
			sent = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`).FindString(out)
		default:
			t.Errorf("%q: what is that?", line)
		}
	}
	if sent == "" {
		t.Fatal("the last command prints no id")
	}
	receiver := c.named("shop", "billing-0")
	eventually(t, "the app of "+receiver.Spec().Name+" to take "+sent, func() error {
		if log := receiver.Container(app(receiver)).Log(); !strings.Contains(log, sent+"  acknowledged") {
			return errors.New(log)
		}
		return nil
	})
	if a := ask(c.named("shop", "orders-0"), 7400, "/v1/intents/"+sent); !strings.Contains(string(a.body), `"COMPLETED"`) {
		t.Errorf("at its sender: %v", a)
	}
	for _, e := range c.api.Events() {
		t.Errorf("an event: %s", e.Message)
	}
}
