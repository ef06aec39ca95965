package kubernetes_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pannier/proxy/controlplane"
	"pannier/proxy/kubernetes"
	"pannier/proxy/kubernetes/kubetest"
	"pannier/proxy/mesh"
	"pannier/proxy/xds"
)

const (
	billing = "agent://acme/prod/billing"
	orders  = "agent://acme/prod/orders"
)

// began is when the first object of a test was created.
var began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// namespace is one whose admins let it have agent://org/env/….
func namespace(name, org, env string) *core.Namespace {
	ns := &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: name, Annotations: map[string]string{}}}
	if org != "" {
		ns.Annotations[kubernetes.AnnotationOrg] = org
	}
	if env != "" {
		ns.Annotations[kubernetes.AnnotationEnv] = env
	}
	return ns
}

// service is one of the mesh, created age days after the beginning. Annotations are
// given by key and value.
func service(ns, name string, age int, annotations ...string) *core.Service {
	s := &core.Service{
		ObjectMeta: meta.ObjectMeta{
			Namespace: ns, Name: name, UID: types.UID(ns + "." + name), CreationTimestamp: meta.NewTime(began.AddDate(0, 0, age)),
			Labels: map[string]string{kubernetes.LabelMesh: kubernetes.MeshEnabled}, Annotations: map[string]string{},
		},
		Spec: core.ServiceSpec{
			ClusterIP: core.ClusterIPNone, IPFamilies: []core.IPFamily{core.IPv4Protocol},
			Ports: []core.ServicePort{{Name: "http", Port: 80}, {Name: kubernetes.PortName, Port: 7401}},
		},
	}
	for i := 0; i < len(annotations); i += 2 {
		s.Annotations[annotations[i]] = annotations[i+1]
	}
	return s
}

// slice is the one of a Service, as the controller makes it.
func slice(of *core.Service, name string, endpoints ...discovery.Endpoint) *discovery.EndpointSlice {
	return &discovery.EndpointSlice{
		ObjectMeta: meta.ObjectMeta{
			Namespace: of.Namespace, Name: of.Name + "-" + name,
			Labels: map[string]string{discovery.LabelServiceName: of.Name, kubernetes.LabelMesh: of.Labels[kubernetes.LabelMesh]},
		},
		AddressType: discovery.AddressTypeIPv4, Endpoints: endpoints,
		Ports: []discovery.EndpointPort{{Name: new("http"), Port: new(int32(8080))}, {Name: new(kubernetes.PortName), Port: new(int32(7401))}},
	}
}

// pod is an endpoint. Its conditions are as the controller writes them.
func pod(name, ip, zone string, ready, terminating bool) discovery.Endpoint {
	return discovery.Endpoint{
		Addresses: []string{ip}, Zone: &zone, NodeName: new("node-" + zone),
		Conditions: discovery.EndpointConditions{Ready: new(ready && !terminating), Serving: new(ready), Terminating: new(terminating)},
		TargetRef:  &core.ObjectReference{Kind: "Pod", Namespace: "shop", Name: name},
	}
}

// cluster is an API server with the namespace shop, which has agent://acme/prod/….
func cluster(t *testing.T) *kubetest.Server {
	t.Helper()
	api := kubetest.New(t)
	api.Put(namespace("shop", "acme", "prod"))
	return api
}

// world is a control plane of a cluster.
type world struct {
	t            *testing.T
	source       *kubernetes.Source
	registration *controlplane.Registration
	token        string // file that sidecars show; empty: none
	info         controlplane.Info
	ready        chan controlplane.Info
	log          *lines
}

func open(t *testing.T, api *kubetest.Server, namespaces ...string) *world {
	t.Helper()
	w := launch(t, api, namespaces...)
	w.wait()
	return w
}

// launch does not wait until the control plane is ready.
func launch(t *testing.T, api *kubetest.Server, namespaces ...string) *world {
	t.Helper()
	w := prepare(t, api, namespaces...)
	w.run()
	return w
}

// prepare does not run it.
func prepare(t *testing.T, api *kubetest.Server, namespaces ...string) *world {
	t.Helper()
	w := &world{t: t, ready: make(chan controlplane.Info, 1), log: &lines{t: t}}
	log := slog.New(slog.NewTextHandler(w.log, nil))
	var err error
	if w.source, err = kubernetes.New(api.Config(), namespaces, log); err != nil {
		t.Fatal(err)
	}
	w.registration = controlplane.NewRegistration(log)
	return w
}

// run runs the control plane until the test ends.
func (w *world) run() {
	w.t.Helper()
	log := slog.New(slog.NewTextHandler(w.log, nil))
	o := controlplane.DefaultOptions()
	o.Listen, o.Admin, o.Settle, o.Log = "127.0.0.1:0", "127.0.0.1:0", 0, log
	o.Sources = []controlplane.Source{w.source, w.registration}
	plane, err := controlplane.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- plane.Run(ctx, func(i controlplane.Info) { w.ready <- i }) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("control plane: %v", err)
		}
	})
}

func (w *world) wait() {
	w.t.Helper()
	select {
	case w.info = <-w.ready:
	case <-time.After(patience):
		w.t.Fatal("the control plane does not become ready")
	}
}

// patience is for what should be at once.
const patience = 30 * time.Second

// sidecar is a client of the control plane.
type sidecar struct {
	*xds.Client
	t    *testing.T
	wire *wire
}

// join starts a sidecar that announces itself as n.
func (w *world) join(n mesh.Node) *sidecar {
	w.t.Helper()
	s := &sidecar{t: w.t, wire: &wire{}}
	o := xds.DefaultOptions()
	o.Servers, o.DeletionGrace, o.Token = []string{w.info.XDS}, 0, w.token
	o.Dial = []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithStreamInterceptor(s.wire.intercept)}
	s.Client = xds.New(o, n, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	w.t.Cleanup(func() { cancel(); <-done })
	return s
}

// sees waits until the endpoints of an agent are as wanted: address, zone and
// health of each in a line.
func (s *sidecar) sees(agent string, want ...string) {
	s.t.Helper()
	deadline := time.After(patience)
	for {
		changed := s.Changed()
		endpoints, known := s.Endpoints(agent)
		var got []string
		for _, e := range endpoints {
			got = append(got, strings.Join(strings.Fields(fmt.Sprint(e.Address, " ", e.Zone, " ", e.Health)), " "))
		}
		slices.Sort(got)
		if known && slices.Equal(got, want) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			s.t.Fatalf("%s is at %q (known: %v), want %q", agent, got, known, want)
		}
	}
}

// wire notes what a server sends, as TYPE NAME, removed ones as -TYPE NAME.
type wire struct {
	mu  sync.Mutex
	got []string
}

func (w *wire) intercept(ctx context.Context, d *grpc.StreamDesc, c *grpc.ClientConn, method string, next grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := next(ctx, d, c, method, o...)
	return &wiretap{s, w}, err
}

type wiretap struct {
	grpc.ClientStream
	to *wire
}

func (w *wiretap) RecvMsg(m any) error {
	err := w.ClientStream.RecvMsg(m)
	if r, ok := m.(*discoveryv3.DeltaDiscoveryResponse); ok && err == nil {
		w.to.mu.Lock()
		defer w.to.mu.Unlock()
		kind := path.Ext(r.GetTypeUrl())
		for _, one := range r.GetResources() {
			w.to.got = append(w.to.got, kind[1:]+" "+one.GetName())
		}
		for _, name := range r.GetRemovedResources() {
			w.to.got = append(w.to.got, "-"+kind[1:]+" "+name)
		}
	}
	return err
}

// settled waits until all that is asked for at first has come, and forgets it.
func (s *sidecar) settled() {
	s.t.Helper()
	eventually(s.t, "the switches have come", func() bool {
		return slices.ContainsFunc(s.Status(false).Resources, func(r xds.ResourceStatus) bool { return r.Type == "runtime" && r.State == xds.Acked })
	})
	s.wire.take()
}

// take returns what came since the last call.
func (w *wire) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	got := w.got
	w.got = nil
	return got
}

// lines is a log that can be asked.
type lines struct {
	t   *testing.T
	mu  sync.Mutex
	all strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.Write(p)
	return l.t.Output().Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// sourcePage is what operators are shown of the source.
type sourcePage struct {
	Name, Error string
	Agents      int
}

func (w *world) page() sourcePage {
	w.t.Helper()
	r, err := http.Get("http://" + w.info.Admin + "/v1/admin/xds")
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Body.Close()
	var page struct{ Sources []sourcePage }
	if err := json.NewDecoder(r.Body).Decode(&page); err != nil || len(page.Sources) == 0 || page.Sources[0].Name != "kubernetes" {
		w.t.Fatalf("page for operators: %+v (%v), want the source first", page, err)
	}
	return page.Sources[0]
}

// dump is the endpoints resource of an agent as the sidecar has it.
func (s *sidecar) dump(agent string) string {
	for _, r := range s.Status(true).Resources {
		if r.Type == "endpoints" && r.Name == mesh.Key(agent) {
			return string(r.Resource)
		}
	}
	return ""
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if so() {
			return
		}
	}
	t.Fatalf("not after %s: %s", patience, what)
}
