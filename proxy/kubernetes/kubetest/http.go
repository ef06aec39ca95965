package kubetest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	clienttesting "k8s.io/client-go/testing"
)

// request is what a client asks for.
type request struct {
	gvr       schema.GroupVersionResource
	kind      schema.GroupVersionKind
	namespace string
	name      string
	verb      string
	options   metav1.ListOptions
	labels    labels.Selector
	fields    fields.Selector
}

// parse reads /api/v1/… and /apis/GROUP/VERSION/….
func parse(r *http.Request) (q request, err error) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case len(parts) > 2 && parts[0] == "api":
		q.gvr.Version, parts = parts[1], parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		q.gvr.Group, q.gvr.Version, parts = parts[1], parts[2], parts[3:]
	}
	if len(parts) > 2 && parts[0] == "namespaces" {
		q.namespace, parts = parts[1], parts[2:]
	}
	q.gvr.Resource = parts[0]
	if len(parts) > 1 {
		q.name = parts[1]
	}
	kind, known := resources[q.gvr]
	if !known || len(parts) > 2 {
		return q, apierrors.NewNotFound(q.gvr.GroupResource(), q.name)
	}
	q.kind = q.gvr.GroupVersion().WithKind(kind)
	query := r.URL.Query()
	if err := metav1.Convert_url_Values_To_v1_ListOptions(&query, &q.options, nil); err != nil {
		return q, apierrors.NewBadRequest(err.Error())
	}
	if q.labels, err = labels.Parse(q.options.LabelSelector); err == nil {
		q.fields, err = fields.ParseSelector(q.options.FieldSelector)
	}
	if err != nil {
		return q, apierrors.NewBadRequest(err.Error())
	}
	switch {
	case r.Method == http.MethodPost:
		q.verb = "create"
	case r.Method == http.MethodGet && q.name != "":
		q.verb = "get"
	case r.Method == http.MethodGet && q.options.Watch:
		q.verb = "watch"
	case r.Method == http.MethodGet:
		q.verb = "list"
	default:
		return q, apierrors.NewMethodNotSupported(q.gvr.GroupResource(), r.Method)
	}
	return q, nil
}

// chosen applies the selectors.
func (q request) chosen(o runtime.Object) bool {
	m, err := meta.Accessor(o)
	return err == nil && q.labels.Matches(labels.Set(m.GetLabels())) &&
		q.fields.Matches(fields.Set{"metadata.name": m.GetName(), "metadata.namespace": m.GetNamespace()})
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	q, err := parse(r)
	s.mu.Lock()
	down, held := s.mu.down, s.mu.held[q.gvr.Resource]
	s.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-down:
		case <-r.Context().Done():
		}
	}
	select {
	case <-down:
		panic(http.ErrAbortHandler) // the connection is cut
	default:
	}
	if err == nil && s.Granted != nil && !s.Granted(q.verb, q.gvr.Group, q.gvr.Resource) {
		err = apierrors.NewForbidden(q.gvr.GroupResource(), q.name, errors.New("no role grants "+q.verb))
	}
	var answer runtime.Object
	if err == nil {
		switch q.verb {
		case "create":
			answer, err = s.create(q, r.Body)
		case "get":
			answer, err = s.Fake.Invokes(clienttesting.NewGetAction(q.gvr, q.namespace, q.name), nil)
		case "list":
			s.mu.Lock()
			answer, err = s.list(q)
			s.mu.Unlock()
		case "watch":
			err = s.watch(w, r, q, down)
			if err == nil {
				return
			}
		}
	}
	status := http.StatusOK
	if err != nil {
		status, answer = failure(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(s.typed(answer)) // a client that hung up
}

func failure(err error) (code int, answer runtime.Object) {
	var known apierrors.APIStatus
	if !errors.As(err, &known) {
		known = apierrors.NewInternalError(err)
	}
	status := known.Status()
	return int(status.Code), &status
}

// typed writes its kind to an object, which the tracker leaves out.
func (s *Server) typed(o runtime.Object) runtime.Object {
	if status, ok := o.(*metav1.Status); ok {
		status.Kind, status.APIVersion = "Status", "v1"
		return status
	}
	o = o.DeepCopyObject()
	if kinds, _, err := s.scheme.ObjectKinds(o); err == nil {
		o.GetObjectKind().SetGroupVersionKind(kinds[0])
	}
	return o
}

func (s *Server) create(q request, body io.Reader) (runtime.Object, error) {
	o, err := s.scheme.New(q.kind)
	if err == nil {
		err = json.NewDecoder(body).Decode(o)
	}
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return s.Fake.Invokes(clienttesting.NewCreateAction(q.gvr, q.namespace, o), nil)
}

// list is called with mu held: what is put comes before or after it.
func (s *Server) list(q request) (runtime.Object, error) {
	list, err := s.Fake.Invokes(clienttesting.NewListAction(q.gvr, q.kind, q.namespace, q.options), nil)
	if err != nil {
		return nil, err
	}
	return list, q.choose(list)
}

// choose leaves in a list what is chosen.
func (q request) choose(list runtime.Object) error {
	all, err := meta.ExtractList(list)
	if err != nil {
		return err
	}
	some := []runtime.Object{}
	for _, o := range all {
		if q.chosen(o) {
			some = append(some, o)
		}
	}
	return meta.SetList(list, some)
}

// watch streams until the client, or the server, is away.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, q request, down <-chan struct{}) error {
	begin := q.options.SendInitialEvents != nil && *q.options.SendInitialEvents
	if begin && s.OldWatch {
		return apierrors.NewInvalid(schema.GroupKind{Group: "meta.k8s.io", Kind: "ListOptions"}, "", nil)
	}
	s.mu.Lock()
	latest := strconv.Itoa(s.version(q.gvr))
	if !begin && q.options.ResourceVersion != latest {
		s.mu.Unlock()
		return apierrors.NewResourceExpired("too old resource version: " + q.options.ResourceVersion + " (" + latest + ")")
	}
	changes, err := s.Fake.InvokesWatch(clienttesting.NewWatchAction(q.gvr, q.namespace, q.options))
	var there runtime.Object
	if err == nil && begin {
		// Not by the fake: nobody has asked for a list.
		if there, err = s.tracker.List(q.gvr, q.kind, q.namespace); err == nil {
			err = q.choose(there)
		}
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	defer changes.Stop()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	send := func(kind watch.EventType, o runtime.Object) {
		text, err := json.Marshal(s.typed(o))
		if err == nil {
			err = json.NewEncoder(w).Encode(metav1.WatchEvent{Type: string(kind), Object: runtime.RawExtension{Raw: text}})
		}
		if err != nil {
			return // the client is gone: so is its context
		}
		w.(http.Flusher).Flush()
	}
	w.(http.Flusher).Flush()
	if begin {
		_ = meta.EachListItem(there, func(o runtime.Object) error {
			send(watch.Added, o)
			return nil
		})
		send(watch.Bookmark, s.bookmark(q, latest))
	}
	for {
		select {
		case <-down:
			panic(http.ErrAbortHandler)
		case <-r.Context().Done():
			return nil
		case e := <-changes.ResultChan():
			switch {
			case q.chosen(e.Object):
				send(e.Type, e.Object)
			case e.Type == watch.Modified: // it was chosen before, or nobody minds
				send(watch.Deleted, e.Object)
			}
		}
	}
}

// bookmark says that all that was there has been sent.
func (s *Server) bookmark(q request, version string) runtime.Object {
	o, err := s.scheme.New(q.kind)
	if err != nil {
		s.t.Error(err)
		return &metav1.Status{}
	}
	m, err := meta.Accessor(o)
	if err != nil {
		s.t.Error(err)
		return &metav1.Status{}
	}
	m.SetResourceVersion(version)
	m.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	return o
}
