package tools

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	serializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// strict reads an object of Kubernetes, and refuses a field that is unknown or there
// twice. What is in the fields it does not judge: that is for semantics.
var strict = serializer.NewSerializerWithOptions(serializer.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, serializer.SerializerOptions{Yaml: true, Strict: true})

// separator is the line between documents of a stream.
var separator = regexp.MustCompile(`(?m)^---[ \t]*$`)

// decode returns the objects of a stream, each read strictly.
func decode(stream string) (objects []runtime.Object, err error) {
	for _, text := range separator.Split(stream, -1) {
		var any map[string]any
		if err := yaml.UnmarshalStrict([]byte(text), &any); err != nil {
			return nil, fmt.Errorf("%w in\n%s", err, text)
		}
		if any == nil {
			continue // comments
		}
		object, err := decodeOne([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("%w in\n%s", err, text)
		}
		objects = append(objects, object)
	}
	if len(objects) == 0 {
		return nil, errors.New("nothing is rendered")
	}
	return objects, nil
}

func decodeOne(text []byte) (runtime.Object, error) {
	object, _, err := strict.Decode(text, nil, nil)
	if !runtime.IsNotRegisteredError(err) {
		return object, err
	}
	var kind meta.TypeMeta
	if err := yaml.Unmarshal(text, &kind); err != nil {
		return nil, err
	}
	shape, known := shapes[kind.GroupVersionKind()]
	if !known {
		return nil, fmt.Errorf("%s is neither of Kubernetes nor of the kinds that are known here", kind.GroupVersionKind())
	}
	object = shape()
	data, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(object); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one object")
	}
	return object, nil
}

// shapes are the custom resources of others that the charts use, as far as they do.
var shapes = map[schema.GroupVersionKind]func() runtime.Object{
	{Group: "monitoring.coreos.com", Version: "v1", Kind: "PodMonitor"}:     func() runtime.Object { return new(PodMonitor) },
	{Group: "monitoring.coreos.com", Version: "v1", Kind: "PrometheusRule"}: func() runtime.Object { return new(PrometheusRule) },
}

// A PodMonitor says which pods Prometheus reads.
type PodMonitor struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		NamespaceSelector struct {
			Any        bool     `json:"any"`
			MatchNames []string `json:"matchNames"`
		} `json:"namespaceSelector"`
		Selector  meta.LabelSelector `json:"selector"`
		Endpoints []struct {
			Port     string `json:"port"`
			Path     string `json:"path"`
			Interval string `json:"interval"`
		} `json:"podMetricsEndpoints"`
	} `json:"spec"`
}

// A PrometheusRule has alerts.
type PrometheusRule struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            Rules `json:"spec"`
}

// Rules are what Prometheus itself reads.
type Rules struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []struct {
			Alert       string            `json:"alert"`
			Expr        string            `json:"expr"`
			For         string            `json:"for"`
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"rules"`
	} `json:"groups"`
}

// DeepCopyObject implements runtime.Object; nobody here copies one.
func (m *PodMonitor) DeepCopyObject() runtime.Object { panic("not copied") }

// DeepCopyObject implements runtime.Object; nobody here copies one.
func (r *PrometheusRule) DeepCopyObject() runtime.Object { panic("not copied") }

// title is how an object is named in complaints.
func title(o runtime.Object) string {
	name := "?"
	if m, ok := o.(meta.Object); ok {
		name = m.GetName()
	}
	return strings.TrimPrefix(o.GetObjectKind().GroupVersionKind().Kind+"/"+name, "/")
}
