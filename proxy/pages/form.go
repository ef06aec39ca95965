package pages

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// kind is how a field of a form is drawn.
type kind string

const (
	line     kind = "text"
	area     kind = "area"
	number   kind = "number"
	date     kind = "date"
	moment   kind = "datetime"
	email    kind = "email"
	link     kind = "url"
	check    kind = "check"
	choice   kind = "choice"
	several  kind = "several"
	list     kind = "list"  // one string a line
	group    kind = "group" // fields of its own
	anything kind = "json"
)

// field is one of a form, with what was typed into it and what is wrong with that.
type field struct {
	Kind     kind
	Name     string // of its input: the path of its value, "data.address.city"
	Pointer  string // of its value in data
	Label    string
	Help     string
	Required bool
	Options  []option
	Fields   []*field // of a group
	Least    string   // of a number
	Most     string

	Value string
	Error string
}

type option struct {
	Value  string // as JSON
	Label  string
	Chosen bool
}

const (
	maxFields  = 100
	longString = 200 // one that may be longer is typed into an area
)

// schema is what is read of a form_schema. All of it is held to by the routes: what is
// not read here is no less in force.
type schema struct {
	Type       json.RawMessage   `json:"type"`
	Title      string            `json:"title"`
	Help       string            `json:"description"`
	Format     string            `json:"format"`
	Enum       []json.RawMessage `json:"enum"`
	Properties json.RawMessage   `json:"properties"`
	Required   []string          `json:"required"`
	Items      *schema           `json:"items"`
	MaxLength  *int              `json:"maxLength"`
	Minimum    json.Number       `json:"minimum"`
	Maximum    json.Number       `json:"maximum"`
	Default    json.RawMessage   `json:"default"`
}

// formOf draws a form_schema up as fields. Of what it cannot draw, be it all of it, the
// JSON is asked for.
func formOf(raw json.RawMessage) []*field {
	if len(raw) == 0 {
		return nil
	}
	var s schema
	if json.Unmarshal(raw, &s) == nil {
		if fields, ok := s.fields("data", "", 0); ok {
			return fields
		}
	}
	return []*field{{Kind: anything, Name: "data", Label: "Form", Help: "A JSON object that fits the task's form_schema."}}
}

// fields are those of an object; false: it is none that has a list of them.
func (s *schema) fields(name, pointer string, level int) (all []*field, ok bool) {
	members, ok := orderedMembers(s.Properties)
	if !ok || len(members) == 0 || len(members) > maxFields || s.kindOf() != "object" && s.kindOf() != "" {
		return nil, false
	}
	for _, m := range members {
		f := &field{Name: name + "." + m.name, Pointer: pointer + "/" + step.Replace(m.name), Label: words(m.name), Required: slices.Contains(s.Required, m.name)}
		var of schema
		if json.Unmarshal(m.value, &of) != nil {
			of = schema{}
			f.Kind = anything
		}
		f.draw(&of, level)
		all = append(all, f)
	}
	return all, true
}

var step = strings.NewReplacer("~", "~0", "/", "~1")

// kindOf is the type of a schema that has one.
func (s *schema) kindOf() (t string) {
	_ = json.Unmarshal(s.Type, &t) // a list of types is none of those that are drawn
	return t
}

var formats = map[string]kind{"date": date, "date-time": moment, "email": email, "uri": link}

func (f *field) draw(s *schema, level int) {
	if s.Title != "" {
		f.Label = plain(s.Title)
	}
	f.Help = plain(s.Help)
	if f.Kind == anything {
		return
	}
	f.Kind = anything
	switch s.kindOf() {
	case "string":
		f.Kind = line
		if k, known := formats[s.Format]; known {
			f.Kind = k
		} else if s.MaxLength != nil && *s.MaxLength > longString {
			f.Kind = area
		}
		_ = json.Unmarshal(s.Default, &f.Value) // one of another type is no default
	case "integer", "number":
		f.Kind, f.Least, f.Most = number, s.Minimum.String(), s.Maximum.String()
		f.Value = string(s.Default)
	case "boolean":
		f.Kind = check
		if string(s.Default) == "true" {
			f.Value = "true"
		}
	case "object":
		if fields, ok := s.fields(f.Name, f.Pointer, level+1); ok && level == 0 {
			f.Kind, f.Fields = group, fields
		}
	case "array":
		switch {
		case s.Items != nil && len(s.Items.Enum) > 0:
			f.Kind, f.Options = several, optionsOf(s.Items.Enum)
		case s.Items != nil && s.Items.kindOf() == "string":
			f.Kind = list
			f.Help = strings.TrimSpace(f.Help + " One a line.")
		}
	}
	if len(s.Enum) > 0 {
		f.Kind, f.Options = choice, optionsOf(s.Enum)
		for i := range f.Options {
			f.Options[i].Chosen = string(s.Default) == f.Options[i].Value
		}
	}
	if f.Kind == anything {
		f.Help = strings.TrimSpace(f.Help + " As JSON.")
	}
}

func optionsOf(values []json.RawMessage) (all []option) {
	for _, v := range values {
		o := option{Value: string(v), Label: plain(string(v))}
		var s string
		if json.Unmarshal(v, &s) == nil {
			o.Label = plain(s)
		}
		all = append(all, o)
	}
	return all
}

// take reads what was typed, keeps it to be shown again, and returns it as JSON; nil
// where nothing was. What is not of the type a field has is handed on as a string: the
// routes say what is wrong with it.
func take(fields []*field, typed url.Values) json.RawMessage {
	if len(fields) == 1 && fields[0].Kind == anything && fields[0].Name == "data" {
		return fields[0].take(typed)
	}
	var members []named
	for _, f := range fields {
		if v := f.take(typed); v != nil {
			members = append(members, named{f.key(), v})
		}
	}
	return object(members)
}

// key is the name of a field in its object.
func (f *field) key() string {
	last := f.Pointer[strings.LastIndexByte(f.Pointer, '/')+1:]
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(last)
}

func (f *field) take(typed url.Values) json.RawMessage {
	f.Value = strings.ReplaceAll(typed.Get(f.Name), "\r\n", "\n")
	switch f.Kind {
	case group:
		if v := take(f.Fields, typed); f.Required || string(v) != "{}" {
			return v
		}
		return nil
	case check:
		if f.Value != "" {
			return json.RawMessage("true")
		}
		return json.RawMessage("false")
	case choice:
		return f.choose(typed[f.Name], func(chosen []string) json.RawMessage { return json.RawMessage(chosen[0]) })
	case several:
		return f.choose(typed[f.Name], func(chosen []string) json.RawMessage {
			return json.RawMessage("[" + strings.Join(chosen, ",") + "]")
		})
	}
	if strings.TrimSpace(f.Value) == "" {
		return nil
	}
	switch f.Kind {
	case number, anything:
		if v := strings.TrimSpace(f.Value); json.Valid([]byte(v)) {
			return json.RawMessage(v)
		}
	case list:
		var lines []string
		for l := range strings.Lines(f.Value) {
			if l = strings.TrimSpace(l); l != "" {
				lines = append(lines, l)
			}
		}
		return encode(lines)
	case moment: // of a browser it has no zone, and mostly no seconds
		if strings.Count(f.Value, ":") == 1 {
			return encode(f.Value + ":00Z")
		}
		if !strings.HasSuffix(f.Value, "Z") {
			return encode(f.Value + "Z")
		}
	}
	return encode(f.Value)
}

// choose marks what was chosen. Of the values only those that are options count.
func (f *field) choose(values []string, with func([]string) json.RawMessage) json.RawMessage {
	var chosen []string
	for i := range f.Options {
		o := &f.Options[i]
		if o.Chosen = slices.Contains(values, o.Value); o.Chosen {
			chosen = append(chosen, o.Value)
		}
	}
	if len(chosen) == 0 {
		return nil
	}
	return with(chosen)
}

func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and lists of them
	}
	return b
}

func object(members []named) json.RawMessage {
	b := []byte{'{'}
	for i, m := range members {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, encode(m.name)...), ':'), m.value...)
	}
	return append(b, '}')
}

// blame puts what the routes said on the fields it is about. A
// required field that is empty is told so where it is: the fault is its object's.
func blame(fields []*field, faults map[string]string) {
	for _, f := range fields {
		f.Error = faults[f.Pointer]
		delete(faults, f.Pointer)
		parent := f.Pointer[:max(0, strings.LastIndexByte(f.Pointer, '/'))]
		_, lacks := faults[parent]
		empty := strings.TrimSpace(f.Value) == "" && !slices.ContainsFunc(f.Options, func(o option) bool { return o.Chosen })
		if f.Error == "" && lacks && f.Required && empty && f.Kind != check && f.Kind != group {
			f.Error = "is required"
		}
		blame(f.Fields, faults)
	}
}

// faulty lists the fields that are wrong.
func faulty(fields []*field) (all []*field) {
	for _, f := range fields {
		if f.Error != "" {
			all = append(all, f)
		}
		all = append(all, faulty(f.Fields)...)
	}
	return all
}
