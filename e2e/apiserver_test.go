package e2e_test

import (
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	rbac "k8s.io/api/rbac/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"pannier/e2e/kubelet"
	"pannier/proxy/kubernetes/kubetest"
)

// apiServer is that of a cluster, as far as pods ask it: its Namespaces and Services, and
// the slices of these, which follow the pods. It is at the node's address, by TLS. A service
// account is granted what roles grant it.
type apiServer struct {
	*kubetest.Server
	t    testing.TB
	node *kubelet.Node
	poke chan struct{} // something may have changed

	mu struct {
		sync.Mutex
		services []*core.Service
		pods     []*kubelet.Pod
		rules    []rbac.PolicyRule // granted to account
		account  string            // the token of the one that asks; empty: nobody may
	}
}

// apiHost is what the certificate of a test server is for.
const apiHost, apiPort = "example.com", "6443"

func newAPIServer(t testing.TB, node *kubelet.Node, ip string) *apiServer {
	t.Helper()
	s := &apiServer{Server: kubetest.New(t), t: t, node: node, poke: make(chan struct{}, 1)}
	s.Granted = s.grants
	behind, err := url.Parse(s.Config().Host)
	if err != nil {
		t.Fatal(err)
	}
	silent := slog.NewLogLogger(slog.DiscardHandler, 0) // watches end with their clients
	proxy := httputil.NewSingleHostReverseProxy(behind)
	proxy.ErrorLog = silent
	front := httptest.NewUnstartedServer(s.authenticated(proxy))
	front.Listener.Close()
	if front.Listener, err = kubelet.Listen(node.NetNS, net.JoinHostPort(ip, apiPort)); err != nil {
		t.Fatal(err)
	}
	front.Config.ErrorLog = silent
	front.StartTLS()
	node.API = &kubelet.APIServer{Host: apiHost, Port: apiPort}
	if err := errors.Join(
		node.Host(apiHost, ip),
		node.ConfigMap(kubelet.AuthorityConfigMap, map[string][]byte{"ca.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw})}),
	); err != nil {
		t.Fatal(err)
	}
	node.Changed = func() {
		select {
		case s.poke <- struct{}{}:
		default:
		}
	}
	over := make(chan struct{})
	var following sync.WaitGroup
	following.Go(func() { s.follow(over) })
	t.Cleanup(func() {
		close(over)
		following.Wait()
		closeServer(front)
	})
	return s
}

// closeServer ends a server whose clients come again as soon as they are cut off, to requests
// that last: Close would wait for those.
func closeServer(server *httptest.Server) {
	closed := make(chan struct{})
	go func() { server.Close(); close(closed) }()
	for {
		server.CloseClientConnections()
		select {
		case <-closed:
			return
		case <-time.After(10 * time.Millisecond): // the listener is closed by then, or soon
		}
	}
}

// authenticated lets through who shows the token of the account.
func (s *apiServer) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		account := s.mu.account
		s.mu.Unlock()
		if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); !ok || token == "" || token != account {
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *apiServer) grants(verb, group, resource string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.mu.rules, func(r rbac.PolicyRule) bool {
		return slices.Contains(r.Verbs, verb) && slices.Contains(r.APIGroups, group) && slices.Contains(r.Resources, resource)
	})
}

// bind grants what a ClusterRole says to the account of its binding.
func (s *apiServer) bind(b *rbac.ClusterRoleBinding, roles map[string]*rbac.ClusterRole) {
	s.t.Helper()
	role := roles[b.RoleRef.Name]
	if role == nil || b.RoleRef.Kind != "ClusterRole" || len(b.Subjects) != 1 || b.Subjects[0].Kind != rbac.ServiceAccountKind {
		s.t.Fatalf("%s: it does not bind a ClusterRole that is there to one service account", b.Name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.account = kubelet.Token(b.Subjects[0].Namespace, b.Subjects[0].Name, "")
	s.mu.rules = role.Rules
}

func (s *apiServer) serve(service *core.Service) {
	s.Put(service)
	s.mu.Lock()
	s.mu.services = append(s.mu.services, service)
	s.mu.Unlock()
	s.node.Changed()
}

func (s *apiServer) run(p *kubelet.Pod) {
	s.mu.Lock()
	s.mu.pods = append(s.mu.pods, p)
	s.mu.Unlock()
	s.node.Changed()
}

// follow is the controller of EndpointSlices, and what gives Services their names.
func (s *apiServer) follow(over <-chan struct{}) {
	last := map[string]*discovery.EndpointSlice{}
	for {
		select {
		case <-over:
			return
		case <-s.poke:
		}
		s.mu.Lock()
		services, pods := slices.Clone(s.mu.services), slices.Clone(s.mu.pods)
		s.mu.Unlock()
		for _, service := range services {
			slice := sliceOf(service, pods)
			name := service.Name + "." + service.Namespace + ".svc"
			if reflect.DeepEqual(slice, last[name]) {
				continue
			}
			last[name] = slice
			s.Put(slice)
			var ready []string
			for _, e := range slice.Endpoints {
				if *e.Conditions.Ready {
					ready = append(ready, e.Addresses...)
				}
			}
			if err := s.node.Host(name, ready...); err != nil {
				s.t.Error(err)
			}
		}
	}
}

// sliceOf is the one slice of a Service.
func sliceOf(service *core.Service, pods []*kubelet.Pod) *discovery.EndpointSlice {
	slice := &discovery.EndpointSlice{
		ObjectMeta:  meta.ObjectMeta{Namespace: service.Namespace, Name: service.Name + "-1", Labels: map[string]string{discovery.LabelServiceName: service.Name}},
		AddressType: discovery.AddressTypeIPv4,
	}
	for key, value := range service.Labels { // unlike annotations, which are not copied
		slice.Labels[key] = value
	}
	selector := labels.SelectorFromSet(service.Spec.Selector)
	for _, p := range pods {
		spec := p.Spec()
		select {
		case <-p.Done():
			continue
		default:
		}
		if spec.Namespace != service.Namespace || !selector.Matches(labels.Set(spec.Labels)) {
			continue
		}
		ready, stopping := p.Ready(), p.Stopping()
		slice.Endpoints = append(slice.Endpoints, discovery.Endpoint{
			Addresses: []string{p.IP}, TargetRef: &core.ObjectReference{Kind: "Pod", Namespace: spec.Namespace, Name: spec.Name},
			Conditions: discovery.EndpointConditions{Ready: new(ready && !stopping), Serving: &ready, Terminating: &stopping},
		})
		slice.Ports = portsOf(service, spec) // all pods have the same
	}
	return slice
}

// portsOf finds the ports of a Service at a pod as Kubernetes 1.29 does, which by their
// names knows those of app containers only.
func portsOf(service *core.Service, pod *core.Pod) (ports []discovery.EndpointPort) {
	for _, p := range service.Spec.Ports {
		add := func(number int32) {
			ports = append(ports, discovery.EndpointPort{Name: &p.Name, Port: &number, AppProtocol: p.AppProtocol})
		}
		if p.TargetPort.Type == intstr.Int {
			add(p.TargetPort.IntVal)
			continue
		}
		for _, c := range pod.Spec.Containers {
			for _, at := range c.Ports {
				if at.Name == p.TargetPort.StrVal {
					add(at.ContainerPort)
				}
			}
		}
	}
	return ports
}
