package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/envoyproxy/protoc-gen-validate/validate"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
)

// The patterns of the well-known regular expressions.
const (
	headerName   = "^:?[0-9a-zA-Z!#$%&'*+-.^_|~\x60]+$"
	headerValue  = "^[^\u0000-\u0008\u000A-\u001F\u007F]*$"
	headerString = "^[^\u0000\u000A\u000D]*$" // of both, when not strict
)

func stringTests(r *validate.StringRules) []test {
	tests := unknown(r, "in", "min_len", "max_bytes", "prefix", "suffix", "pattern", "well_known_regex", "strict", "ignore_empty")
	must := func(ok func(string) bool, reason string, args ...any) {
		reason = fmt.Sprintf(reason, args...)
		tests = append(tests, func(v protoreflect.Value) string {
			if s := v.String(); ok(s) || s == "" && r.GetIgnoreEmpty() {
				return ""
			}
			return reason
		})
	}
	if in := r.GetIn(); len(in) > 0 {
		must(func(s string) bool { return slices.Contains(in, s) }, "value must be in list %v", in)
	}
	if r.MinLen != nil {
		must(func(s string) bool { return uint64(utf8.RuneCountInString(s)) >= r.GetMinLen() }, "value length must be at least %d runes", r.GetMinLen())
	}
	if r.MaxBytes != nil {
		must(func(s string) bool { return uint64(len(s)) <= r.GetMaxBytes() }, "value length must be at most %d bytes", r.GetMaxBytes())
	}
	if r.Prefix != nil {
		must(func(s string) bool { return strings.HasPrefix(s, r.GetPrefix()) }, "value does not have prefix %q", r.GetPrefix())
	}
	if r.Suffix != nil {
		must(func(s string) bool { return strings.HasSuffix(s, r.GetSuffix()) }, "value does not have suffix %q", r.GetSuffix())
	}
	if p := pattern(r); p != "" {
		must(regexp.MustCompile(p).MatchString, "value does not match regex pattern %q", p)
	}
	return tests
}

func pattern(r *validate.StringRules) string {
	known := r.GetWellKnownRegex()
	switch {
	case known == validate.KnownRegex_UNKNOWN:
		return r.GetPattern()
	case r.Strict != nil && !r.GetStrict():
		return headerString
	case known == validate.KnownRegex_HTTP_HEADER_NAME:
		return headerName
	}
	return headerValue
}

func bytesTests(r *validate.BytesRules) []test {
	tests := unknown(r, "min_len", "max_len")
	reason := fmt.Sprintf("value length must be between %d and %d bytes, inclusive", r.GetMinLen(), r.GetMaxLen())
	return append(tests, func(v protoreflect.Value) string {
		if n := uint64(len(v.Bytes())); n < r.GetMinLen() || n > r.GetMaxLen() {
			return reason
		}
		return ""
	})
}

func boolTests(r *validate.BoolRules) []test {
	return append(unknown(r, "const"), func(v protoreflect.Value) string {
		if v.Bool() != r.GetConst() {
			return fmt.Sprintf("value must equal %t", r.GetConst())
		}
		return ""
	})
}

func enumTests(d protoreflect.EnumDescriptor, r *validate.EnumRules) []test {
	tests := unknown(r, "not_in", "defined_only")
	if refused := r.GetNotIn(); len(refused) > 0 {
		names := make([]protoreflect.Name, len(refused))
		for i, n := range refused {
			names[i] = d.Values().ByNumber(protoreflect.EnumNumber(n)).Name()
		}
		tests = append(tests, func(v protoreflect.Value) string {
			if slices.Contains(refused, int32(v.Enum())) {
				return fmt.Sprintf("value must not be in list %v", names)
			}
			return ""
		})
	}
	if r.GetDefinedOnly() {
		tests = append(tests, func(v protoreflect.Value) string {
			if d.Values().ByNumber(v.Enum()) == nil {
				return "value must be one of the defined enum values"
			}
			return ""
		})
	}
	return tests
}

// numberTests is for the rules of any kind of number, and of durations. All of them have
// the same names, and values of the kind that they are about.
func numberTests(r protoreflect.Message) []test {
	tests := unknown(r.Interface(), "gt", "gte", "lt", "lte", "required")
	low := boundOf(r, "gt", "gte", func(v, at protoreflect.Value) (less, equal bool) { return compare(v, at) })
	high := boundOf(r, "lt", "lte", func(v, at protoreflect.Value) (less, equal bool) { return compare(at, v) })
	broken, reason := low.beyond, "greater than "+low.text
	switch {
	case low.beyond == nil && high.beyond == nil:
		return tests
	case low.beyond == nil:
		broken, reason = high.beyond, "less than "+high.text
	case high.beyond == nil:
	default:
		broken, reason = rangeOf(low, high)
	}
	return append(tests, func(v protoreflect.Value) string {
		if broken(v) {
			return "value must be " + reason
		}
		return ""
	})
}

// bound is one end of what is allowed.
type bound struct {
	at     protoreflect.Value
	equal  bool // it is allowed itself
	text   string
	beyond func(protoreflect.Value) bool // nil: there is no bound
}

func boundOf(r protoreflect.Message, open, closed protoreflect.Name, compare func(v, at protoreflect.Value) (less, equal bool)) bound {
	for _, name := range []protoreflect.Name{open, closed} {
		f := r.Descriptor().Fields().ByName(name)
		if !r.Has(f) {
			continue
		}
		b := bound{at: r.Get(f), equal: name == closed}
		b.beyond = func(v protoreflect.Value) bool {
			less, equal := compare(v, b.at)
			return less || equal && !b.equal
		}
		b.text = text(b.at)
		if b.equal {
			b.text = "or equal to " + b.text
		}
		return b
	}
	return bound{}
}

// rangeOf is from one bound to the other or, when the lower one is the greater, all but that.
func rangeOf(low, high bound) (broken func(protoreflect.Value) bool, reason string) {
	bracket := func(closed bool, yes, no string) string {
		if closed {
			return yes
		}
		return no
	}
	if less, _ := compare(low.at, high.at); less {
		return func(v protoreflect.Value) bool { return low.beyond(v) || high.beyond(v) },
			"inside range " + bracket(low.equal, "[", "(") + text(low.at) + ", " + text(high.at) + bracket(high.equal, "]", ")")
	}
	return func(v protoreflect.Value) bool { return low.beyond(v) && high.beyond(v) },
		"outside range " + bracket(high.equal, "(", "[") + text(high.at) + ", " + text(low.at) + bracket(low.equal, ")", "]")
}

// compare is for two numbers of one kind, or two durations. What is not a number is
// neither less nor equal, and so beyond no bound.
func compare(a, b protoreflect.Value) (less, equal bool) {
	switch a.Interface().(type) {
	case float32, float64:
		return a.Float() < b.Float(), a.Float() == b.Float()
	case uint32, uint64:
		return a.Uint() < b.Uint(), a.Uint() == b.Uint()
	case int32, int64:
		return a.Int() < b.Int(), a.Int() == b.Int()
	}
	x, y := duration(a), duration(b)
	return x.AsDuration() < y.AsDuration(), x.AsDuration() == y.AsDuration()
}

func duration(v protoreflect.Value) *durationpb.Duration {
	return v.Message().Interface().(*durationpb.Duration)
}

func text(v protoreflect.Value) string {
	if m, ok := v.Interface().(protoreflect.Message); ok {
		return m.Interface().(*durationpb.Duration).AsDuration().String()
	}
	return fmt.Sprint(v.Interface())
}
