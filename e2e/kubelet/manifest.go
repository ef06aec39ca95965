package kubelet

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	serializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Read returns the objects of a manifest. A field that is unknown, or there twice, is an
// error, as is a kind that charts do not use.
func Read(manifest []byte) (objects []runtime.Object, err error) {
	kinds := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1.AddToScheme, apps.AddToScheme, batch.AddToScheme, policy.AddToScheme, rbac.AddToScheme} {
		if err := add(kinds); err != nil {
			return nil, err
		}
	}
	strict := serializer.NewSerializerWithOptions(serializer.DefaultMetaFactory, kinds, kinds, serializer.SerializerOptions{Yaml: true, Strict: true})
	for documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifest))); ; {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		var content any
		if err := yaml.Unmarshal(text, &content); err == nil && content == nil {
			continue // comments
		}
		o, _, err := strict.Decode(text, nil, nil)
		if err != nil {
			return nil, fmt.Errorf("%w in\n%s", err, text)
		}
		objects = append(objects, o)
	}
}
