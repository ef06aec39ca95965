package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// requestsPerSecond and requestsAtOnce bound what is asked of the API server.
	// Watches are few; the rest are the tokens of sidecars that all come back at
	// once when a control plane starts.
	requestsPerSecond = 50
	requestsAtOnce    = 100
)

// Config finds the API server: as a kubeconfig file says, or, without one, as the
// pod says that this program runs in.
func Config(kubeconfig string) (*rest.Config, error) {
	// Not clientcmd.BuildConfigFromFlags, which warns of what is no mistake here.
	if kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("%w; outside of a cluster name a file with --kubeconfig", err)
		}
		return config, nil
	}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}, &clientcmd.ConfigOverrides{}).ClientConfig()
}

// client asks the API server for the few kinds that matter here. A typed
// clientset would link every kind there is.
type client struct {
	core, discovery, authentication rest.Interface
}

func newClient(config *rest.Config) (c client, err error) {
	kinds := runtime.NewScheme()
	kinds.AddKnownTypes(core.SchemeGroupVersion, &core.Service{}, &core.ServiceList{}, &core.Namespace{}, &core.NamespaceList{}, &core.Event{})
	kinds.AddKnownTypes(discovery.SchemeGroupVersion, &discovery.EndpointSlice{}, &discovery.EndpointSliceList{})
	kinds.AddKnownTypes(authentication.SchemeGroupVersion, &authentication.TokenReview{})
	group := func(path string, version schema.GroupVersion) (rest.Interface, error) {
		meta.AddToGroupVersion(kinds, version)
		of := rest.CopyConfig(config)
		of.APIPath, of.GroupVersion = path, &version
		of.NegotiatedSerializer = serializer.NewCodecFactory(kinds).WithoutConversion()
		of.QPS, of.Burst = requestsPerSecond, requestsAtOnce
		of.UserAgent = component
		return rest.RESTClientFor(of)
	}
	if c.core, err = group("/api", core.SchemeGroupVersion); err != nil {
		return c, err
	}
	if c.discovery, err = group("/apis", discovery.SchemeGroupVersion); err != nil {
		return c, err
	}
	c.authentication, err = group("/apis", authentication.SchemeGroupVersion)
	return c, err
}

// component is what the API server, and readers of events, know the program by.
const component = "pannier-control"

// watched lists and watches one resource. heard is told how each request went.
func watched(from rest.Interface, resource, namespace string, choose func(*meta.ListOptions), heard func(error)) cache.ListerWatcher {
	request := func(o *meta.ListOptions) *rest.Request {
		choose(o)
		return from.Get().Namespace(namespace).Resource(resource).VersionedParams(o, meta.ParameterCodec)
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o meta.ListOptions) (runtime.Object, error) {
			list, err := request(&o).Do(ctx).Get()
			heard(err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o meta.ListOptions) (watch.Interface, error) {
			o.Watch = true
			w, err := request(&o).Watch(ctx)
			if err == nil && reflect.TypeOf(w) == unanswered {
				heard(errUnanswered)
			} else {
				heard(err)
			}
			return w, err
		},
	}
}

// unanswered is what client-go makes of a watch that was cut off, or timed out,
// before there was an answer: a watch that ends at once, and no error.
var unanswered = reflect.TypeOf(watch.NewEmptyWatch())

var errUnanswered = errors.New("a watch was not answered: the connection was cut, or timed out")
