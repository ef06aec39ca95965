package rules_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	_ "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/service/runtime/v3"
	"github.com/envoyproxy/protoc-gen-validate/validate"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/durationpb"

	"pannier/proxy/mesh/rules"
)

// generated is a message with the code that its rules were compiled to.
type generated interface {
	proto.Message
	ValidateAll() error
}

// Whatever is in a message of whatever type, Check says of it what the generated code does.
func TestAgreesWithGeneratedCode(t *testing.T) {
	t.Parallel()
	unseen := slices.Clone(reasons)
	types := generatedTypes()
	if len(types) < 300 {
		t.Errorf("only %d types have generated code", len(types))
	}
	for _, empty := range types {
		r := rand.New(rand.NewPCG(1, 2))
		for range 30 {
			m := empty.ProtoReflect().New().Interface().(generated)
			fill(r, m.ProtoReflect(), 3)
			got, want := said(rules.Check(m)), said(m.ValidateAll())
			if got != want {
				same := 0
				for same < min(len(got), len(want)) && got[same] == want[same] {
					same++
				}
				t.Fatalf("of a %s\n%s\nall say\n%s\nit goes on\n%s\nand the generated code\n%s", m.ProtoReflect().Descriptor().FullName(), prototext.Format(m), got[:same], got[same:], want[same:])
			}
			unseen = slices.DeleteFunc(unseen, func(reason string) bool { return strings.Contains(want, reason) })
		}
	}
	if len(unseen) > 0 {
		t.Errorf("no message broke what is told by %q", unseen)
	}
}

// reasons tell every kind of rule that occurs.
var reasons = []string{
	"value is required", "value is required and must not be nil.", "embedded message failed validation",
	"value must be greater than 0", "value must be greater than or equal to 1", "value must be less than 256", "value must be less than or equal to 1",
	"value must be inside range [", "value must be inside range (", "value must be outside range (", "value is not a valid duration", "value must be greater than 0s", "value must be greater than or equal to 1ms",
	"value must equal true", "value must be one of the defined enum values", "value must not be in list [", "value must be in list [http https]",
	"value length must be at least 1 runes", "value length must be at most 16384 bytes", "value length must be between 0 and 16384 bytes, inclusive",
	"value does not have prefix", "value does not have suffix", `regex pattern "^:?[`, `regex pattern "^[^?#]`, `regex pattern "^[^\x00-`, `regex pattern "^[^\x00\n`,
	"value must contain at least 1 item(s)", "value must contain no more than 1 item(s)", "value must contain at least 1 pair(s)", "repeated value must contain unique items",
}

// A rule that nobody wrote code for is not taken for one that holds.
func TestRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for rule, options := range map[string]*validate.FieldRules{
		"validate.StringRules.email":          {Type: &validate.FieldRules_String_{String_: &validate.StringRules{WellKnown: &validate.StringRules_Email{Email: true}}}},
		"validate.RepeatedRules.ignore_empty": {Type: &validate.FieldRules_Repeated{Repeated: &validate.RepeatedRules{IgnoreEmpty: proto.Bool(true)}}},
	} {
		field := &descriptorpb.FieldDescriptorProto{Name: proto.String("some_field"), Number: proto.Int32(1), Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(), Options: &descriptorpb.FieldOptions{}}
		if options.GetRepeated() != nil {
			field.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		}
		proto.SetExtension(field.Options, validate.E_Rules, options)
		file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
			Name: proto.String("planted.proto"), Syntax: proto.String("proto3"),
			MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Planted"), Field: []*descriptorpb.FieldDescriptorProto{field}}},
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := said(rules.Check(dynamicpb.NewMessage(file.Messages().Get(0))))
		if want := "invalid Planted.SomeField: rule " + rule + " is not known here"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func said(err error) string {
	if err == nil {
		return "nothing"
	}
	return err.Error()
}

// generatedTypes are all that are linked, in the order of their names.
func generatedTypes() (found []generated) {
	protoregistry.GlobalTypes.RangeMessages(func(m protoreflect.MessageType) bool {
		if m, ok := m.Zero().Interface().(generated); ok {
			found = append(found, m)
		}
		return true
	})
	slices.SortFunc(found, func(a, b generated) int {
		return strings.Compare(string(a.ProtoReflect().Descriptor().FullName()), string(b.ProtoReflect().Descriptor().FullName()))
	})
	return found
}

// fill sets about half of the fields to values near the bounds of rules. Of the last
// messages down it sets none: they break what is required.
func fill(r *rand.Rand, m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		chances := 2
		if o := f.ContainingOneof(); o != nil {
			chances = o.Fields().Len()
		}
		if depth == 0 || r.IntN(chances) > 0 {
			continue
		}
		switch {
		case f.IsMap():
			for range r.IntN(3) {
				m.Mutable(f).Map().Set(value(r, f.MapKey(), m.NewField(f).Map().NewValue, depth).MapKey(), value(r, f.MapValue(), m.NewField(f).Map().NewValue, depth))
			}
		case f.IsList():
			for range r.IntN(4) {
				m.Mutable(f).List().Append(value(r, f, m.NewField(f).List().NewElement, depth))
			}
		default:
			m.Set(f, value(r, f, func() protoreflect.Value { return m.NewField(f) }, depth))
		}
	}
}

func value(r *rand.Rand, f protoreflect.FieldDescriptor, fresh func() protoreflect.Value, depth int) protoreflect.Value {
	number := one(r, 0, 0.5, 1, 2, 3, 99, 100, 101, 200, 255, 256, 599, 600, 65534, 65535, 65536, 1<<31-1, math.MaxUint32)
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(r.IntN(2) == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(one(r, 0, 1, 2, 3, 7, 1000)))
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(one(r, "", "", "a", "http", "CONNECT", "internal", "/a", "a?", "%", "%x%", "name", ":x-name", "with space", "tab\t", "line\n", "nul\x00",
			"del\x7f", "é", strings.Repeat("é", 1024), strings.Repeat("a", 64), strings.Repeat("b", 95), strings.Repeat("c", 16385)))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(make([]byte, one(r, 0, 1, 16384, 16385)))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(one(r, number, -1, math.NaN(), math.Inf(1)))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(number))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(number))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(uint64(number))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(one(r, -1, 0, 1, 1<<31-1)))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(int64(one(r, -1, number)))
	}
	v := fresh()
	if d, ok := v.Message().Interface().(*durationpb.Duration); ok {
		proto.Merge(d, one(r, &durationpb.Duration{}, &durationpb.Duration{Nanos: 1}, &durationpb.Duration{Nanos: 1e6}, &durationpb.Duration{Seconds: 1}, &durationpb.Duration{Seconds: 1, Nanos: -1},
			&durationpb.Duration{Seconds: -1}, &durationpb.Duration{Seconds: math.MaxUint32}))
		return v
	}
	fill(r, v.Message(), depth-1)
	return v
}

func one[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }
