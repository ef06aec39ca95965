package rules

import (
	"fmt"

	"github.com/envoyproxy/protoc-gen-validate/validate"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
)

// test returns what is wrong with a scalar, or "".
type test func(protoreflect.Value) string

// valueRule is the rule for one value: a field's, an element's or a key's. Without
// anything to check it is nil.
func valueRule(d protoreflect.FieldDescriptor, r *validate.FieldRules) rule {
	switch t := r.GetType().(type) {
	case nil:
		return messageRule(d, r.GetMessage())
	case *validate.FieldRules_Any:
		return presenceRule(t.Any.GetRequired(), unknown(t.Any, "required"))
	case *validate.FieldRules_Duration:
		return durationRule(t.Duration)
	case *validate.FieldRules_String_:
		return scalarRule(d, r, stringTests(t.String_))
	case *validate.FieldRules_Bytes:
		return scalarRule(d, r, bytesTests(t.Bytes))
	case *validate.FieldRules_Bool:
		return scalarRule(d, r, boolTests(t.Bool))
	case *validate.FieldRules_Enum:
		return scalarRule(d, r, enumTests(d.Enum(), t.Enum))
	}
	fields := r.ProtoReflect()
	set := fields.WhichOneof(fields.Descriptor().Oneofs().ByName("type"))
	return scalarRule(d, r, numberTests(fields.Get(set).Message()))
}

// messageRule descends into a message, where there can be rules. Those of Protobuf
// itself have none.
func messageRule(d protoreflect.FieldDescriptor, r *validate.MessageRules) rule {
	if d.Message() == nil {
		return nil
	}
	below := !r.GetSkip() && d.Message().ParentFile().Package() != "google.protobuf"
	if !below && !r.GetRequired() {
		return nil
	}
	return func(broken violations, at place, v protoreflect.Value) violations {
		switch m := v.Message(); {
		case !m.IsValid():
			return missing(broken, at, r.GetRequired())
		case below:
			if cause := check(m); len(cause) > 0 {
				return append(broken, &violation{at, "embedded message failed validation", cause})
			}
		}
		return broken
	}
}

func missing(broken violations, at place, required bool) violations {
	if required {
		return append(broken, &violation{place: at, reason: "value is required"})
	}
	return broken
}

// presenceRule asks for a message, whatever it says, to be there.
func presenceRule(required bool, tests []test) rule {
	return func(broken violations, at place, v protoreflect.Value) violations {
		if !v.Message().IsValid() {
			return missing(broken, at, required)
		}
		return run(tests, broken, at, v)
	}
}

func durationRule(r *validate.DurationRules) rule {
	tests := numberTests(r.ProtoReflect())
	return func(broken violations, at place, v protoreflect.Value) violations {
		if !v.Message().IsValid() {
			return missing(broken, at, r.GetRequired())
		}
		if len(tests) == 0 {
			return broken
		}
		if err := v.Message().Interface().(*durationpb.Duration).CheckValid(); err != nil {
			return append(broken, &violation{at, "value is not a valid duration", err})
		}
		return run(tests, broken, at, v)
	}
}

// scalarRule is for a scalar, or one in a wrapper that may be absent.
func scalarRule(d protoreflect.FieldDescriptor, r *validate.FieldRules, tests []test) rule {
	if d.Message() == nil {
		return func(broken violations, at place, v protoreflect.Value) violations {
			return run(tests, broken, at, v)
		}
	}
	wrapped := d.Message().Fields().ByName("value")
	return func(broken violations, at place, v protoreflect.Value) violations {
		switch m := v.Message(); {
		case m.IsValid():
			return run(tests, broken, at, m.Get(wrapped))
		case r.GetMessage().GetRequired():
			return append(broken, &violation{place: at, reason: "value is required and must not be nil."})
		}
		return broken
	}
}

func run(tests []test, broken violations, at place, v protoreflect.Value) violations {
	for _, test := range tests {
		if reason := test(v); reason != "" {
			broken = append(broken, &violation{place: at, reason: reason})
		}
	}
	return broken
}

// unknown refuses every value for each rule beyond the known ones.
func unknown(r protoreflect.ProtoMessage, known ...protoreflect.Name) (tests []test) {
	m := r.ProtoReflect()
	m.Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		for _, name := range known {
			if f.Name() == name {
				return true
			}
		}
		reason := fmt.Sprintf("rule %s is not known here", f.FullName())
		tests = append(tests, func(protoreflect.Value) string { return reason })
		return true
	})
	return tests
}
