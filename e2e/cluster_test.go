package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pannier/proxy/kubernetes"
	"pannier/proxy/kubernetes/kubetest"
)

// releases are the programs as they are shipped.
var releases = sync.OnceValues(func() (dir string, err error) {
	dir = filepath.Join(scratch, "release")
	return dir, buildImage("..", dir)
})

func release(t testing.TB, program string) string {
	t.Helper()
	dir, err := releases()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, program)
}

// sizeMost is what a program may have in bytes. What pannier-control links of
// Kubernetes grows by itself, with every kind that a careless import brings along. A
// sidecar that has grown by some 5 MB links text/template or html/template: they call
// methods by name, for which the linker keeps those of every type. One that has grown by
// some 4 MB asks any type for a method Validate() error, which each of Envoy's has (see
// proxy/mesh/rules).
var sizeMost = map[string]int64{"pannier": 28_000_000, "pannier-control": 33_000_000}

func TestSizes(t *testing.T) {
	t.Parallel()
	for program, most := range sizeMost {
		info, err := os.Stat(release(t, program))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("figure: %s has %.1f MB, stripped", program, float64(info.Size())/1e6)
		if info.Size() > most {
			t.Errorf("%s has %d bytes, want at most %d", program, info.Size(), most)
		}
	}
}

// replica is the slice of a sidecar, as of a pod. All are on loopback, so each is at a
// port of its own.
func replica(s *sidecar, of, pod string, terminating bool) *discovery.EndpointSlice {
	host, text, _ := net.SplitHostPort(s.peer)
	port, _ := strconv.ParseInt(text, 10, 32)
	return &discovery.EndpointSlice{
		ObjectMeta:  meta.ObjectMeta{Namespace: "shop", Name: pod, Labels: map[string]string{discovery.LabelServiceName: of, kubernetes.LabelMesh: kubernetes.MeshEnabled}},
		AddressType: discovery.AddressTypeIPv4,
		Ports:       []discovery.EndpointPort{{Name: new(kubernetes.PortName), Port: new(int32(port))}},
		Endpoints: []discovery.Endpoint{{
			Addresses: []string{host}, TargetRef: &core.ObjectReference{Kind: "Pod", Namespace: "shop", Name: pod},
			Conditions: discovery.EndpointConditions{Ready: new(!terminating), Serving: new(true), Terminating: &terminating},
		}},
	}
}

// TestCluster: pannier-control beside an API server. A sidecar finds another by its
// EndpointSlice, shows the token of its service account, and sends to the next replica
// when the first one terminates. It stops when it is told to.
func TestCluster(t *testing.T) {
	t.Parallel()
	api := kubetest.New(t)
	api.Put(
		&core.Namespace{ObjectMeta: meta.ObjectMeta{Name: "shop", Annotations: map[string]string{kubernetes.AnnotationOrg: "acme", kubernetes.AnnotationEnv: "prod"}}},
		&core.Service{
			ObjectMeta: meta.ObjectMeta{Namespace: "shop", Name: "billing", Labels: map[string]string{kubernetes.LabelMesh: kubernetes.MeshEnabled}},
			Spec:       core.ServiceSpec{Ports: []core.ServicePort{{Name: kubernetes.PortName, Port: 7401}}},
		},
	)
	api.Token("of shop", authentication.TokenReviewStatus{
		Authenticated: true, Audiences: []string{kubernetes.DefaultAudience}, User: authentication.UserInfo{Username: "system:serviceaccount:shop:shop"},
	})
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("of shop\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	xds := freeAddr(t)
	plane, err := spawn(release(t, "pannier-control"), []string{"--kubeconfig", api.Kubeconfig(), "--listen", xds, "--admin", "127.0.0.1:0", "--token-review"}, nil, filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		plane.cmd.Process.Kill() // it may have ended
		<-plane.exited
	})
	var ready struct{ Admin string }
	select {
	case line := <-plane.first:
		if err := json.Unmarshal([]byte(line), &ready); err != nil {
			t.Fatalf("ready line %q: %v", line, err)
		}
	case <-plane.exited:
		t.Fatalf("pannier-control ended: %v", plane.cmd.ProcessState)
	}
	join := func(name, agent string) *sidecar {
		s := newSidecar(t, setup{name: name, agents: []string{agent}, args: []string{"--xds", xds, "--xds-token", token}})
		s.bin = release(t, "pannier")
		s.start()
		return s
	}
	home, first, next := join("home", shop), join("first", billing), join("next", billing)
	deliver := func(to *sidecar) {
		t.Helper()
		id := home.post(billing, map[string]any{"n": 1})
		to.ack(to.take1(billing, take{wait: 30}), nil)
		if e := home.wait(id); e.Status != "COMPLETED" {
			t.Errorf("%s ended %s", id, e.Status)
		}
	}
	// It has registered, but a Service has the agent: only its slice says where.
	api.Put(replica(first, "billing", "billing-0", false))
	deliver(first)
	api.Put(replica(first, "billing", "billing-0", true), replica(next, "billing", "billing-1", false))
	eventually(t, "the home to know that the first replica drains", func() error {
		r, err := home.http.Get("http://" + home.admin + "/v1/admin/xds/dump")
		if err != nil {
			return err
		}
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		if err == nil && !bytes.Contains(text, []byte(`"DRAINING"`)) {
			err = errors.New("no endpoint drains")
		}
		return err
	})
	deliver(next)
	t.Logf("figure: RssAnon of pannier %.1f MiB, of pannier-control %.1f MiB, with three sidecars and nothing to do", mib(home.procField("RssAnon")), mib((&sidecar{t: t, proc: plane}).procField("RssAnon")))

	if err := plane.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-plane.exited:
		if code := plane.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("pannier-control ended with %d when it was told to stop, want 0", code)
		}
	case <-time.After(30 * time.Second):
		t.Error("pannier-control does not stop when it is told to")
	}
}
