package mesh

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"pannier/proxy/mesh/rules"
)

// Validate holds all resources to the rules that stand in Envoy's own protos and
// that Envoy refuses a resource by.
func (b Built) Validate() error {
	var errs []error
	for _, byName := range []map[string]proto.Message{b.Listeners, b.Routes, b.Clusters, b.GRPC, b.Endpoints} {
		for _, name := range slices.Sorted(maps.Keys(byName)) {
			errs = append(errs, Validate(name, byName[name]))
		}
	}
	return errors.Join(errs...)
}

// Validate holds one resource to the rules of its proto, and what is packed in it
// to those of its own, which rules.Check passes over.
func Validate(name string, resource proto.Message) error {
	if err := validate(resource.ProtoReflect()); err != nil {
		return fmt.Errorf("%s %q: %w", resource.ProtoReflect().Descriptor().FullName(), name, err)
	}
	return nil
}

func validate(m protoreflect.Message) error {
	var errs []error
	if v, ok := m.Interface().(*anypb.Any); ok {
		inner, err := v.UnmarshalNew()
		if err != nil {
			return err
		}
		return validate(inner.ProtoReflect())
	}
	if err := rules.Check(m.Interface()); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, packed(m)...)...)
}

// packed looks for Any below a message whose own rules hold.
func packed(m protoreflect.Message) (errs []error) {
	visit := func(v protoreflect.Value) {
		inner := v.Message()
		if _, ok := inner.Interface().(*anypb.Any); ok {
			errs = append(errs, validate(inner))
			return
		}
		errs = append(errs, packed(inner)...)
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
			if f.MapValue().Message() != nil {
				v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool { visit(v); return true })
			}
		case f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				visit(v.List().Get(i))
			}
		default:
			visit(v)
		}
		return true
	})
	return errs
}
