// Package kubetest is an API server as far as a control plane asks one: the object
// tracker of client-go's fakes behind HTTP, so that what is tested is the client
// that runs, with its paths, selectors and watches. It grants only what it is told
// to, can be away, and knows who has asked for what.
//
// It keeps no history: a watch from anything but the latest version has expired, as
// one that comes late to a real API server.
package kubetest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
)

// Server is one API server.
type Server struct {
	// Fake sees every request as an action; reactors may be put before its own.
	Fake clienttesting.Fake
	// Granted says whether a verb on a resource, named as in a Role, is; nil grants all.
	Granted func(verb, group, resource string) bool
	// OldWatch refuses watches that begin with a list, as servers before 1.32.
	OldWatch bool

	t       testing.TB
	http    *httptest.Server
	scheme  *runtime.Scheme
	tracker clienttesting.ObjectTracker
	mu      struct {
		sync.Mutex
		down   chan struct{}            // closed while the server is away
		held   map[string]chan struct{} // resources that are not answered for until it is closed
		tokens map[string]authentication.TokenReviewStatus
	}
}

// resources are what is known here.
var resources = map[schema.GroupVersionResource]string{
	core.SchemeGroupVersion.WithResource("services"):               "Service",
	core.SchemeGroupVersion.WithResource("namespaces"):             "Namespace",
	core.SchemeGroupVersion.WithResource("events"):                 "Event",
	discovery.SchemeGroupVersion.WithResource("endpointslices"):    "EndpointSlice",
	authentication.SchemeGroupVersion.WithResource("tokenreviews"): "TokenReview",
}

// New starts a server that ends with the test.
func New(t testing.TB) *Server {
	s := &Server{t: t, scheme: runtime.NewScheme()}
	s.scheme.AddKnownTypes(core.SchemeGroupVersion, &core.Service{}, &core.ServiceList{}, &core.Namespace{}, &core.NamespaceList{}, &core.Event{}, &core.EventList{})
	s.scheme.AddKnownTypes(discovery.SchemeGroupVersion, &discovery.EndpointSlice{}, &discovery.EndpointSliceList{})
	s.scheme.AddKnownTypes(authentication.SchemeGroupVersion, &authentication.TokenReview{})
	s.tracker = clienttesting.NewObjectTracker(s.scheme, serializer.NewCodecFactory(s.scheme).UniversalDecoder())
	s.mu.down, s.mu.held, s.mu.tokens = make(chan struct{}), map[string]chan struct{}{}, map[string]authentication.TokenReviewStatus{}
	s.Fake.AddReactor("create", "tokenreviews", s.review)
	s.Fake.AddReactor("*", "*", clienttesting.ObjectReaction(s.tracker))
	s.Fake.AddWatchReactor("*", func(a clienttesting.Action) (bool, watch.Interface, error) {
		w, err := s.tracker.Watch(a.GetResource(), a.GetNamespace())
		return true, w, err
	})
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		s.Down()
		s.http.Close()
	})
	return s
}

// Config is how to reach the server.
func (s *Server) Config() *rest.Config { return &rest.Config{Host: s.http.URL} }

// Kubeconfig writes a file that says how to.
func (s *Server) Kubeconfig() string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"test","clusters":[{"name":"test","cluster":{"server":%q}}],"contexts":[{"name":"test","context":{"cluster":"test"}}]}`, s.http.URL)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// Put creates objects, or replaces those of their names.
func (s *Server) Put(objects ...runtime.Object) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range objects {
		o = o.DeepCopyObject()
		gvr, m := s.resourceOf(o), accessor(s.t, o)
		// The tracker counts by resource, and leaves it to us to write it down.
		m.SetResourceVersion(strconv.Itoa(s.version(gvr) + 1))
		err := s.tracker.Create(gvr, o, m.GetNamespace())
		if apierrors.IsAlreadyExists(err) {
			err = s.tracker.Update(gvr, o, m.GetNamespace())
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// Delete deletes objects.
func (s *Server) Delete(objects ...runtime.Object) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range objects {
		m := accessor(s.t, o)
		if err := s.tracker.Delete(s.resourceOf(o), m.GetNamespace(), m.GetName()); err != nil {
			s.t.Fatal(err)
		}
	}
}

// Events are what was created of these.
func (s *Server) Events() []core.Event {
	s.t.Helper()
	list, err := s.tracker.List(core.SchemeGroupVersion.WithResource("events"), core.SchemeGroupVersion.WithKind("Event"), "")
	if err != nil {
		s.t.Fatal(err)
	}
	return list.(*core.EventList).Items
}

// Token makes a token one that a review knows; any other is nobody's.
func (s *Server) Token(token string, status authentication.TokenReviewStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.tokens[token] = status
}

func (s *Server) review(a clienttesting.Action) (bool, runtime.Object, error) {
	review := a.(clienttesting.CreateAction).GetObject().(*authentication.TokenReview).DeepCopy()
	s.mu.Lock()
	defer s.mu.Unlock()
	status, known := s.mu.tokens[review.Spec.Token]
	if known && !slices.ContainsFunc(status.Audiences, func(a string) bool { return slices.Contains(review.Spec.Audiences, a) }) {
		status = authentication.TokenReviewStatus{Error: fmt.Sprintf("token audiences %q is invalid for the target audiences %q", status.Audiences, review.Spec.Audiences)}
	}
	review.Status = status
	return true, review, nil
}

// Down cuts every connection, and lets none do anything until Up.
func (s *Server) Down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.mu.down:
	default:
		close(s.mu.down)
	}
}

// Up ends Down.
func (s *Server) Up() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.down = make(chan struct{})
}

// Hold lets every request for a resource wait until release is called.
func (s *Server) Hold(resource string) (release func()) {
	held := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.held[resource] = held
	return sync.OnceFunc(func() { close(held) })
}

// A Use is what somebody asked for, as a Role names it.
type Use struct{ Verb, Group, Resource string }

// Used is what has been asked for, each once.
func (s *Server) Used() (uses []Use) {
	for _, a := range s.Fake.Actions() {
		u := Use{a.GetVerb(), a.GetResource().Group, a.GetResource().Resource}
		if !slices.Contains(uses, u) {
			uses = append(uses, u)
		}
	}
	return uses
}

func accessor(t testing.TB, o runtime.Object) metav1.Object {
	t.Helper()
	m, err := meta.Accessor(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (s *Server) resourceOf(o runtime.Object) schema.GroupVersionResource {
	s.t.Helper()
	kinds, _, err := s.scheme.ObjectKinds(o)
	if err != nil {
		s.t.Fatal(err)
	}
	for gvr, kind := range resources {
		if gvr.GroupVersion() == kinds[0].GroupVersion() && kind == kinds[0].Kind {
			return gvr
		}
	}
	s.t.Fatalf("%s is not known here", kinds[0])
	panic("unreachable")
}

// version is the latest of a resource.
func (s *Server) version(gvr schema.GroupVersionResource) int {
	list, err := s.tracker.List(gvr, gvr.GroupVersion().WithKind(resources[gvr]), "")
	if err != nil {
		s.t.Fatal(err)
	}
	m, err := meta.ListAccessor(list)
	if err != nil {
		s.t.Fatal(err)
	}
	n, err := strconv.Atoi(m.GetResourceVersion())
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}
