package api

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// object is a JSON object as it was received: its members in order, each value
// the bytes of the request. Taking a member checks its type; what is wrong is
// added to faults, so that one answer names all of it.
type object struct {
	raw     jsontext.Value // the whole of it
	at      string         // JSON pointer to the object
	members []member
	faults  *[]fault
}

type member struct {
	name  string
	value jsontext.Value
	taken bool
}

// parseObject splits an object. Duplicate names, bad UTF-8 and everything else
// that is not JSON is refused here, at any depth.
func parseObject(raw []byte, at string, faults *[]fault) (*object, error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw))
	if kind := dec.PeekKind(); kind != '{' && kind != 0 {
		return nil, refuse(codeSchemaInvalid, "%s must be a JSON object", pointerOr(at, "the body"))
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, notJSON(err, at, len(raw))
	}
	o := &object{raw: bytes.TrimSpace(raw), at: at, faults: faults}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, notJSON(err, at, len(raw))
		}
		m := member{name: name.String()}
		value, err := dec.ReadValue()
		if err != nil {
			return nil, notJSON(err, at, len(raw))
		}
		// The decoder's value lives until its next call; the request's bytes stay.
		end := int(dec.InputOffset())
		m.value = raw[end-len(value) : end : end]
		if len(o.members) == maxMembers {
			return nil, refuse(codeSchemaInvalid, "%s has more than %d members", pointerOr(at, "the body"), maxMembers)
		}
		o.members = append(o.members, m)
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, notJSON(err, at, len(raw))
	}
	if _, err := dec.ReadToken(); err != io.EOF {
		return nil, refuse(codeInvalidJSON, "the body goes on after its object, at byte %d", dec.InputOffset())
	}
	return o, nil
}

func (o *object) pointer(name string) string {
	return o.at + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

func (o *object) fault(name string, c code, format string, args ...any) {
	*o.faults = append(*o.faults, fault{o.pointer(name), fmt.Sprintf(format, args...), c})
}

// has reports whether there is such a member.
func (o *object) has(name string) bool {
	for i := range o.members {
		if o.members[i].name == name {
			return true
		}
	}
	return false
}

// take returns a member's value; null counts as absent.
func (o *object) take(name string) (jsontext.Value, bool) {
	for i := range o.members {
		if m := &o.members[i]; m.name == name {
			m.taken = true
			return m.value, m.value.Kind() != 'n'
		}
	}
	return nil, false
}

// rest returns the members nobody has taken.
func (o *object) rest() []member {
	var rest []member
	for _, m := range o.members {
		if !m.taken {
			rest = append(rest, m)
		}
	}
	return rest
}

// text takes a string of 1 to most bytes; "" where it is absent or wrong.
func (o *object) text(name string, most int) string {
	raw, ok := o.take(name)
	if !ok {
		return ""
	}
	s, why := readText(raw, most)
	if why != "" {
		o.fault(name, codeSchemaInvalid, "%s", why)
	}
	return s
}

// prose is text that people write: of 1 to most characters, in whatever script.
func (o *object) prose(name string, most int) string {
	s := o.text(name, utf8.UTFMax*most)
	if n := utf8.RuneCountInString(s); n > most {
		o.fault(name, codeSchemaInvalid, "has %d characters; the limit is %d", n, most)
	}
	return s
}

// label is text that goes into headers, logs and terminals: without control
// characters.
func (o *object) label(name string, most int) string {
	s := o.text(name, most)
	if why := labelFault(s); why != "" {
		o.fault(name, codeSchemaInvalid, "%s", why)
	}
	return s
}

func labelFault(s string) string {
	if strings.ContainsFunc(s, unicode.IsControl) {
		return "has a control character"
	}
	return ""
}

// required is text for a member that must be there.
func (o *object) required(name string, most int) string {
	if _, ok := o.take(name); !ok {
		o.fault(name, codeSchemaInvalid, "is required")
		return ""
	}
	return o.text(name, most)
}

// integer takes a whole number in [least, most].
func (o *object) integer(name string, least, most int64) (int64, bool) {
	raw, ok := o.take(name)
	if !ok {
		return 0, false
	}
	n, why := readInteger(raw, least, most)
	if why != "" {
		o.fault(name, codeSchemaInvalid, "%s", why)
	}
	return n, why == ""
}

// boolean takes true or false.
func (o *object) boolean(name string) (value, given bool) {
	raw, ok := o.take(name)
	if !ok {
		return false, false
	}
	if k := raw.Kind(); k != 't' && k != 'f' {
		o.fault(name, codeSchemaInvalid, "must be true or false")
		return false, false
	}
	return raw.Kind() == 't', true
}

// object takes a JSON object as raw bytes; nil where it is absent or wrong.
func (o *object) object(name string) jsontext.Value {
	raw, ok := o.take(name)
	if !ok {
		return nil
	}
	if raw.Kind() != '{' {
		o.fault(name, codeSchemaInvalid, "must be a JSON object")
		return nil
	}
	return raw
}

func readText(raw jsontext.Value, most int) (text, why string) {
	if raw.Kind() != '"' {
		return "", "must be a string"
	}
	b, err := jsontext.AppendUnquote(nil, raw)
	switch {
	case err != nil:
		return "", "is not a valid string"
	case len(b) == 0:
		return "", "must not be empty"
	case len(b) > most:
		return "", fmt.Sprintf("has %d bytes; the limit is %d", len(b), most)
	}
	return string(b), ""
}

func readInteger(raw jsontext.Value, least, most int64) (n int64, why string) {
	if raw.Kind() != '0' {
		return 0, "must be a whole number"
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return 0, "must be a whole number"
	}
	if n < least || n > most {
		return 0, fmt.Sprintf("must be from %d to %d, not %d", least, most, n)
	}
	return n, ""
}
