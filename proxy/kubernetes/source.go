package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"pannier/outbound"
	"pannier/proxy/controlplane"
	"pannier/proxy/mesh"
)

const (
	// maxAgents and maxReplicas bound what is taken from a cluster.
	maxAgents   = 10_000
	maxReplicas = 1_000
	// maxNamespaces bounds the watches of a source that is to see some namespaces only.
	maxNamespaces = 64
	// gatherFor lets a burst of changes be looked at once.
	gatherFor = 10 * time.Millisecond
)

// Source is what a cluster's Services and EndpointSlices say.
type Source struct {
	client     client
	log        *slog.Logger
	services   []cache.SharedIndexInformer // one for each namespace that is watched
	slices     []cache.SharedIndexInformer
	namespaces []cache.SharedIndexInformer
	wake       chan struct{} // something has changed
	events     *events

	mu struct {
		sync.Mutex
		trouble map[string]string // by what is watched
		refused []refusal
		known   known
	}
}

// known is what the source said last, for those who ask who may register what.
type known struct {
	scopes map[string]scope  // by namespace
	claims map[string]claim  // by agent
	pods   map[string]string // by address of a peer listener; empty: no pod's
}

// New returns the source of all namespaces, or of some. It asks the API server for
// nothing until Run.
func New(config *rest.Config, namespaces []string, log *slog.Logger) (*Source, error) {
	for _, ns := range namespaces {
		if wrong := validation.IsDNS1123Label(ns); len(wrong) > 0 {
			return nil, fmt.Errorf("namespace: %q is none: %s", ns, strings.Join(wrong, "; "))
		}
	}
	namespaces = slices.Compact(slices.Sorted(slices.Values(namespaces)))
	if len(namespaces) > maxNamespaces {
		return nil, fmt.Errorf("namespace: %d of them, at most %d are watched one by one: leave it out to watch all", len(namespaces), maxNamespaces)
	}
	c, err := newClient(config)
	if err != nil {
		return nil, err
	}
	s := &Source{client: c, log: log, wake: make(chan struct{}, 1), events: newEvents(c.core, log)}
	s.mu.trouble = map[string]string{}
	if len(namespaces) == 0 {
		namespaces = []string{meta.NamespaceAll}
	}
	for _, ns := range namespaces {
		s.watch(ns)
	}
	return s, nil
}

// watch adds the informers of a namespace, or of all.
func (s *Source) watch(namespace string) {
	labelled := func(o *meta.ListOptions) { o.LabelSelector = LabelMesh + "=" + MeshEnabled }
	named := func(o *meta.ListOptions) {
		if namespace != meta.NamespaceAll {
			o.FieldSelector = "metadata.name=" + namespace
		}
	}
	s.services = append(s.services, s.informer(s.client.core, "services", namespace, labelled, &core.Service{}))
	s.slices = append(s.slices, s.informer(s.client.discovery, "endpointslices", namespace, labelled, &discovery.EndpointSlice{}))
	s.namespaces = append(s.namespaces, s.informer(s.client.core, "namespaces", meta.NamespaceAll, named, &core.Namespace{}))
}

// informer keeps what is there of one resource, and wakes the source when that
// changes. It has not been started.
func (s *Source) informer(from rest.Interface, resource, namespace string, choose func(*meta.ListOptions), kind runtime.Object) cache.SharedIndexInformer {
	heard := func(err error) { s.troubled(resource+" "+namespace, err) }
	i := cache.NewSharedIndexInformerWithOptions(watched(from, resource, namespace, choose, heard), kind,
		cache.SharedIndexInformerOptions{Indexers: cache.Indexers{byService: serviceOf}})
	// An informer that has not been started takes all three.
	_ = i.SetTransform(strip)
	// Each failed request was heard above, and a watch that ends is only asked for again.
	_ = i.SetWatchErrorHandlerWithContext(func(context.Context, *cache.Reflector, error) {})
	_, _ = i.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { s.changed() }, UpdateFunc: func(any, any) { s.changed() }, DeleteFunc: func(any) { s.changed() },
	})
	return i
}

// byService is the index of slices by NAMESPACE/NAME of their Service.
const byService = "service"

func serviceOf(o any) ([]string, error) {
	slice, ok := o.(*discovery.EndpointSlice)
	if !ok {
		return nil, nil
	}
	return []string{slice.Namespace + "/" + slice.Labels[discovery.LabelServiceName]}, nil
}

// strip forgets what is not looked at here: it is most of an object.
func strip(o any) (any, error) {
	switch o := o.(type) {
	case *core.Service:
		o.ManagedFields, o.Labels, o.OwnerReferences, o.Status = nil, nil, nil, core.ServiceStatus{}
		o.Annotations = kept(o.Annotations, AnnotationAgentName, AnnotationAgent, AnnotationAccount)
		o.Spec = core.ServiceSpec{Ports: o.Spec.Ports, IPFamilies: o.Spec.IPFamilies}
	case *discovery.EndpointSlice:
		o.ManagedFields, o.Annotations, o.OwnerReferences = nil, nil, nil
		o.Labels = kept(o.Labels, discovery.LabelServiceName)
	case *core.Namespace:
		o.ManagedFields, o.Labels, o.Spec, o.Status = nil, nil, core.NamespaceSpec{}, core.NamespaceStatus{}
		o.Annotations = kept(o.Annotations, AnnotationOrg, AnnotationEnv)
	}
	return o, nil
}

func kept(all map[string]string, keys ...string) map[string]string {
	some := map[string]string{}
	for _, key := range keys {
		if value, ok := all[key]; ok {
			some[key] = value
		}
	}
	return some
}

// Name implements controlplane.Source.
func (s *Source) Name() string { return "kubernetes" }

// Run implements controlplane.Source. It has synced when each informer has. While
// the API server is away, what it said last stays. It is run once.
func (s *Source) Run(ctx context.Context, report func(controlplane.Update)) error {
	ctx, cancel := context.WithCancel(ctx)
	var started sync.WaitGroup
	defer started.Wait()
	defer cancel()
	var synced []cache.DoneChecker
	for _, i := range slices.Concat(s.services, s.slices, s.namespaces) {
		started.Go(func() { i.RunWithContext(ctx) })
		synced = append(synced, i.HasSyncedChecker())
	}
	started.Go(func() { s.events.run(ctx) })
	if !cache.WaitFor(ctx, "", synced...) {
		return nil
	}
	for {
		report(s.look())
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(gatherFor):
		}
	}
}

func (s *Source) changed() {
	select {
	case s.wake <- struct{}{}:
	default: // the loop is about to look
	}
}

// look reads all that the informers have.
func (s *Source) look() controlplane.Update {
	namespaces := map[string]*core.Namespace{}
	for ns := range all[*core.Namespace](s.namespaces) {
		namespaces[ns.Name] = ns
	}
	held, refused := claims(slices.Collect(all[*core.Service](s.services)), namespaces)
	now := known{scopes: map[string]scope{}, claims: held, pods: map[string]string{}}
	for name, ns := range namespaces {
		if in, err := scopeOf(ns); err == nil {
			now.scopes[name] = in
		}
	}
	var u controlplane.Update
	for _, agent := range slices.Sorted(maps.Keys(held)) {
		service := mesh.Service{Agent: agent, Endpoints: []outbound.Endpoint{}, Hints: map[string]mesh.Hint{}}
		for _, r := range replicas(held[agent].service, s.slicesOf(held[agent].service)) {
			service.Endpoints = append(service.Endpoints, r.Endpoint)
			if r.pod != "" {
				service.Hints[r.Address] = mesh.Hint{Pod: r.pod}
			}
			now.pods[r.Address] = r.pod
		}
		u.Services = append(u.Services, service)
	}
	s.events.refusals(refused)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.known, s.mu.refused = now, refused
	return u
}

// all are the objects of some informers.
func all[T any](informers []cache.SharedIndexInformer) iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, i := range informers {
			for _, o := range i.GetStore().List() {
				if t, ok := o.(T); ok && !yield(t) {
					return
				}
			}
		}
	}
}

// slicesOf are the slices of a Service, in an order of their own.
func (s *Source) slicesOf(service *core.Service) (found []*discovery.EndpointSlice) {
	for _, i := range s.slices {
		objects, _ := i.GetIndexer().ByIndex(byService, service.Namespace+"/"+service.Name) // an index there is
		for _, o := range objects {
			found = append(found, o.(*discovery.EndpointSlice))
		}
	}
	slices.SortFunc(found, func(a, b *discovery.EndpointSlice) int { return strings.Compare(a.Name, b.Name) })
	return found
}

// troubled notes how the last request for something went, and says once what is
// wrong. That a watch has grown too old is not.
func (s *Source) troubled(what string, err error) {
	text := ""
	if err != nil && !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) && !errors.Is(err, context.Canceled) {
		text = err.Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch was := s.mu.trouble[what]; {
	case text == "":
		delete(s.mu.trouble, what)
	case text != was:
		s.mu.trouble[what] = text
		s.log.Error("the API server does not answer, what it said last stays", "resource", strings.TrimSpace(what), "err", err)
	}
}

// troubleMost bounds how much Trouble names.
const troubleMost = 3

// Trouble implements controlplane.Troubled: what the API server refuses, and which
// Services have no address.
func (s *Source) Trouble() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var said []string
	for _, what := range slices.Sorted(maps.Keys(s.mu.trouble)) {
		said = append(said, s.mu.trouble[what])
	}
	said = slices.Compact(said)
	for i, r := range s.mu.refused {
		if i == troubleMost {
			said = append(said, fmt.Sprintf("%d more Services have no address", len(s.mu.refused)-i))
			break
		}
		said = append(said, fmt.Sprintf("Service %s/%s: %s", r.service.Namespace, r.service.Name, r.text))
	}
	return strings.Join(said, "; ")
}
