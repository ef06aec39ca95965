package rules

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/envoyproxy/protoc-gen-validate/validate"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func listRule(f protoreflect.FieldDescriptor, rules *validate.FieldRules) rule {
	r := cmp.Or(rules.GetRepeated(), &validate.RepeatedRules{})
	tests := unknown(r, "min_items", "max_items", "unique", "items")
	tests = append(tests, lengthTests(r.GetMinItems(), r.MaxItems, func(v protoreflect.Value) int { return v.List().Len() }, "item")...)
	item := valueRule(f, r.GetItems())
	if len(tests) == 0 && item == nil && !r.GetUnique() {
		return nil
	}
	return func(broken violations, at place, v protoreflect.Value) violations {
		broken = run(tests, broken, at, v)
		if item == nil && !r.GetUnique() {
			return broken
		}
		var seen map[any]bool
		if r.GetUnique() {
			seen = map[any]bool{}
		}
		for i := range v.List().Len() {
			at.index = protoreflect.ValueOfInt64(int64(i))
			v := v.List().Get(i)
			if seen[v.Interface()] {
				broken = append(broken, &violation{place: at, reason: "repeated value must contain unique items"})
			}
			if r.GetUnique() {
				seen[v.Interface()] = true
			}
			if item != nil {
				broken = item(broken, at, v)
			}
		}
		return broken
	}
}

// mapRule goes by the order of the keys, for two errors to be alike.
func mapRule(f protoreflect.FieldDescriptor, rules *validate.FieldRules) rule {
	r := rules.GetMap()
	tests := unknown(r, "min_pairs", "keys", "values")
	tests = append(tests, lengthTests(r.GetMinPairs(), nil, func(v protoreflect.Value) int { return v.Map().Len() }, "pair")...)
	key, value := valueRule(f.MapKey(), r.GetKeys()), valueRule(f.MapValue(), r.GetValues())
	if len(tests) == 0 && key == nil && value == nil {
		return nil
	}
	return func(broken violations, at place, v protoreflect.Value) violations {
		broken = run(tests, broken, at, v)
		if key == nil && value == nil {
			return broken
		}
		for _, k := range sortedKeys(v.Map()) {
			at.index = k.Value()
			if key != nil {
				broken = key(broken, at, k.Value())
			}
			if value != nil {
				broken = value(broken, at, v.Map().Get(k))
			}
		}
		return broken
	}
}

func sortedKeys(m protoreflect.Map) []protoreflect.MapKey {
	keys := make([]protoreflect.MapKey, 0, m.Len())
	m.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k)
		return true
	})
	slices.SortFunc(keys, func(a, b protoreflect.MapKey) int {
		if s, ok := a.Interface().(string); ok {
			return cmp.Compare(s, b.String())
		}
		if less, _ := compare(a.Value(), b.Value()); less {
			return -1
		}
		return 1
	})
	return keys
}

// lengthTests bounds how many items or pairs there are.
func lengthTests(least uint64, most *uint64, length func(protoreflect.Value) int, unit string) []test {
	must := func(reason string, args ...any) []test {
		reason = fmt.Sprintf("value must contain "+reason, args...)
		return []test{func(v protoreflect.Value) string {
			if n := uint64(length(v)); n < least || most != nil && n > *most {
				return reason
			}
			return ""
		}}
	}
	switch {
	case least > 0 && most != nil && least == *most:
		return must("exactly %d %s(s)", least, unit)
	case least > 0 && most != nil:
		return must("between %d and %d %ss, inclusive", least, *most, unit)
	case least > 0:
		return must("at least %d %s(s)", least, unit)
	case most != nil:
		return must("no more than %d %s(s)", *most, unit)
	}
	return nil
}
