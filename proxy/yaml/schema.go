package yaml

// A Schema is a JSON Schema (draft 2020-12) of a value that the readers of this
// package take. Editors check files by it while they are written; the readers
// themselves check more, and say it better.
type Schema map[string]any

var (
	StringSchema   = Schema{"type": "string"}
	BoolSchema     = Schema{"type": "boolean"}
	IntSchema      = Schema{"type": "integer"}
	PositiveSchema = Schema{"type": "integer", "minimum": 1}
	NumberSchema   = Schema{"type": "number"}
	DurationSchema = Schema{"type": "string", "pattern": `^[-+]?(0|((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)$`}
)

// ListOf is the schema of a list.
func ListOf(items Schema) Schema { return Schema{"type": "array", "items": items} }

// MappingOf is the schema of a mapping whose keys are the writer's own.
func MappingOf(values Schema) Schema {
	return Schema{"type": "object", "additionalProperties": values}
}

// Object is the schema of a mapping with keys of ours.
func Object(properties map[string]Schema, required ...string) Schema {
	s := Schema{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// With is the schema with a description for people.
func (s Schema) With(description string) Schema {
	out := Schema{"description": description}
	for k, v := range s {
		out[k] = v
	}
	return out
}
