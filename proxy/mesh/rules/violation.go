package rules

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// place is where in a message a value stands.
type place struct {
	field protoreflect.Descriptor // or oneof
	index protoreflect.Value      // in a list or map; invalid: it is the field's own value
}

// violation is one rule broken at one place.
type violation struct {
	place
	reason string
	cause  error // what a message below breaks
}

// Error is worded as by generated code.
func (v *violation) Error() string {
	var b strings.Builder
	b.WriteString("invalid ")
	message := v.field.Parent()
	name := strings.TrimPrefix(string(message.FullName()), string(message.ParentFile().Package())+".")
	b.WriteString(strings.ReplaceAll(name, ".", "_") + "." + camelCase(string(v.field.Name())))
	if v.index.IsValid() {
		fmt.Fprintf(&b, "[%v]", v.index.Interface())
	}
	b.WriteString(": " + v.reason)
	if v.cause != nil {
		b.WriteString(" | caused by: " + v.cause.Error())
	}
	return b.String()
}

func (v *violation) Unwrap() error { return v.cause }

// violations are all that one message breaks.
type violations []error

func (v violations) Error() string {
	texts := make([]string, len(v))
	for i, err := range v {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (v violations) Unwrap() []error { return v }

// camelCase is a field's name in Go. An underscore stays before what is no small letter.
func camelCase(name string) string {
	var b strings.Builder
	start := true
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '_' && i+1 < len(name) && lower(name[i+1]):
			start = true
			continue
		case start && lower(c):
			c -= 'a' - 'A'
		}
		b.WriteByte(c)
		start = '0' <= c && c <= '9'
	}
	return b.String()
}

func lower(c byte) bool { return 'a' <= c && c <= 'z' }
