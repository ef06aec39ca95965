package inject

import (
	"regexp"
	"strconv"
	"strings"

	"pannier/proxy/yaml"
)

// plain are the strings that every version of YAML reads as strings, without quotes.
var plain = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_/.]*[-A-Za-z0-9_/.]+$`)

// alike are those of them that some version reads as something else.
var alike = regexp.MustCompile(`(?i)^(true|false|yes|no|on|off|null|nan|inf)$`)

func scalar(v any) string {
	switch v := v.(type) {
	case string:
		if plain.MatchString(v) && !alike.MatchString(v) {
			return v
		}
		return yaml.Quote(v)
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	}
	panic("inject: a value of a type that nothing here has")
}

// flow writes values in one line: of YAML, or of JSON, whose strings are all in quotes.
type flow struct{ json bool }

func (f flow) value(v any) string {
	switch v := v.(type) {
	case object:
		return "{" + f.entries(v) + "}"
	case []any:
		return "[" + f.items(v) + "]"
	case string:
		if f.json {
			return yaml.Quote(v)
		}
	}
	return scalar(v)
}

func (f flow) entries(entries object) string {
	parts := make([]string, len(entries))
	for i, e := range entries {
		parts[i] = f.value(e.Key) + ": " + f.value(e.Value)
	}
	return strings.Join(parts, ", ")
}

func (f flow) items(items []any) string {
	parts := make([]string, len(items))
	for i, item := range items {
		parts[i] = f.value(item)
	}
	return strings.Join(parts, ", ")
}

// block writes entries or items below one another, in the style of the file: whether items stand farther
// in than the key of their list.
type block struct {
	lines  []string
	deeper bool
}

func (b *block) entries(indent string, entries object) {
	for _, e := range entries {
		key := indent + scalar(e.Key) + ":"
		switch v := e.Value.(type) {
		case object:
			b.lines = append(b.lines, key)
			b.entries(indent+"  ", v)
		case []any:
			b.lines = append(b.lines, key)
			if b.deeper {
				b.items(indent+"  ", v)
			} else {
				b.items(indent, v)
			}
		default:
			b.lines = append(b.lines, key+" "+scalar(v))
		}
	}
}

func (b *block) items(indent string, items []any) {
	for _, item := range items {
		if entries, ok := item.(object); ok {
			at := len(b.lines)
			b.entries(indent+"  ", entries)
			b.lines[at] = indent + "- " + strings.TrimPrefix(b.lines[at], indent+"  ")
			continue
		}
		b.lines = append(b.lines, indent+"- "+scalar(item))
	}
}
