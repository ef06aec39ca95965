package rules

import (
	"sync"

	"github.com/envoyproxy/protoc-gen-validate/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Check returns, as one error, all that a message and those below it break of their rules. What is
// packed in an Any it passes over, as generated code does.
func Check(m proto.Message) error {
	if broken := check(m.ProtoReflect()); len(broken) > 0 {
		return broken
	}
	return nil
}

func check(m protoreflect.Message) (broken violations) {
	for _, step := range planOf(m.Descriptor()) {
		broken = step(broken, m)
	}
	return broken
}

// plan is what is to be checked of a message of one type. Each step appends what it finds.
type plan []func(violations, protoreflect.Message) violations

var plans sync.Map // protoreflect.MessageDescriptor to plan

func planOf(d protoreflect.MessageDescriptor) plan {
	if p, ok := plans.Load(d); ok {
		return p.(plan)
	}
	p := newPlan(d)
	plans.Store(d, p)
	return p
}

// newPlan has its steps in the order of generated code: fields, oneofs, and what may be
// absent though it is no message.
func newPlan(d protoreflect.MessageDescriptor) (p plan) {
	var optional plan
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		rule := fieldRule(f)
		switch {
		case rule == nil:
		case f.ContainingOneof() == nil:
			p = append(p, func(broken violations, m protoreflect.Message) violations {
				return rule(broken, place{field: f}, m.Get(f))
			})
		case f.HasOptionalKeyword():
			optional = append(optional, func(broken violations, m protoreflect.Message) violations {
				if !m.Has(f) {
					return broken
				}
				return rule(broken, place{field: f}, m.Get(f))
			})
		}
	}
	for i := range d.Oneofs().Len() {
		if o := d.Oneofs().Get(i); !o.IsSynthetic() {
			p = append(p, oneofStep(o))
		}
	}
	return append(p, optional...)
}

func oneofStep(o protoreflect.OneofDescriptor) func(violations, protoreflect.Message) violations {
	required := proto.GetExtension(o.Options(), validate.E_Required).(bool)
	members := map[protoreflect.FieldNumber]rule{}
	for i := range o.Fields().Len() {
		f := o.Fields().Get(i)
		members[f.Number()] = fieldRule(f)
	}
	return func(broken violations, m protoreflect.Message) violations {
		f := m.WhichOneof(o)
		if f == nil {
			if required {
				return append(broken, &violation{place: place{field: o}, reason: "value is required"})
			}
			return broken
		}
		if rule := members[f.Number()]; rule != nil {
			return rule(broken, place{field: f}, m.Get(f))
		}
		return broken
	}
}

// rule appends what a value at a place breaks.
type rule func(broken violations, at place, v protoreflect.Value) violations

func fieldRule(f protoreflect.FieldDescriptor) rule {
	r := proto.GetExtension(f.Options(), validate.E_Rules).(*validate.FieldRules)
	switch {
	case f.IsMap():
		return mapRule(f, r)
	case f.IsList():
		return listRule(f, r)
	}
	return valueRule(f, r)
}
