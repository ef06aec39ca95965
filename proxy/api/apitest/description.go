package apitest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"pannier/proxy/api"
)

// Description is openapi.yaml, ready to judge. It is safe for concurrent use.
type Description struct {
	doc    *openapi3.T
	routes []*described
	open   *jsonschema.Compiler // schemas as they are written: requests
	strict *jsonschema.Compiler // the same, without members that are not described: answers
	axp    *AXP                 // nil: not on this machine

	mu struct {
		sync.Mutex
		schemas map[string]*jsonschema.Schema // by compiler and pointer
	}
}

// described is one operation of the document.
type described struct {
	routers.Route
	params  []string
	pattern *regexp.Regexp // of the escaped path
	literal int            // bytes of the path that are no parameter: the most decides
}

// Load reads the description once.
var Load = sync.OnceValues(load)

func load() (*Description, error) {
	text, err := api.OpenAPI()
	if err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	d := &Description{}
	if d.doc, err = openapi3.NewLoader().LoadFromData(text); err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	if err := d.doc.Validate(context.Background()); err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	if d.open, err = compiler(text, func(any) {}); err != nil {
		return nil, err
	}
	if d.strict, err = compiler(text, closeObjects); err != nil {
		return nil, err
	}
	d.mu.schemas = map[string]*jsonschema.Schema{}
	for path, item := range d.doc.Paths.Map() {
		for method, op := range item.Operations() {
			d.routes = append(d.routes, describe(d.doc, path, item, method, op))
		}
	}
	if d.axp, err = loadAXP(); err != nil && !errors.Is(err, errNoSpec) {
		return nil, err
	}
	slices.SortFunc(d.routes, func(a, b *described) int { return b.literal - a.literal })
	return d, nil
}

// resource is how the document is called inside a compiler.
const resource = "urn:openapi"

func compiler(text []byte, change func(any)) (*jsonschema.Compiler, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	change(doc)
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	return c, c.AddResource(resource, doc)
}

// closeObjects forbids members that are not described, wherever a schema does
// not say otherwise.
func closeObjects(node any) {
	switch n := node.(type) {
	case map[string]any:
		_, says := n["additionalProperties"]
		if _, has := n["properties"].(map[string]any); has && !says && n["type"] == "object" {
			n["additionalProperties"] = false
		}
		for _, v := range n {
			closeObjects(v)
		}
	case []any:
		for _, v := range n {
			closeObjects(v)
		}
	}
}

var parameter = regexp.MustCompile(`\{(\w+)\}`)

func describe(doc *openapi3.T, path string, item *openapi3.PathItem, method string, op *openapi3.Operation) *described {
	r := &described{Route: routers.Route{Spec: doc, Path: path, PathItem: item, Method: method, Operation: op}}
	var pattern strings.Builder
	last := 0
	for _, at := range parameter.FindAllStringSubmatchIndex(path, -1) {
		pattern.WriteString(regexp.QuoteMeta(path[last:at[0]]))
		name := path[at[2]:at[3]]
		if name == "agent" {
			pattern.WriteString("(.+)") // an address has any number of segments
		} else {
			pattern.WriteString("([^/]+)")
		}
		r.params, last = append(r.params, name), at[1]
	}
	pattern.WriteString(regexp.QuoteMeta(path[last:]))
	r.pattern = regexp.MustCompile("^" + pattern.String() + "$")
	r.literal = len(parameter.ReplaceAllString(path, ""))
	return r
}

// Routes lists what is described, as "METHOD path".
func (d *Description) Routes() []string {
	var all []string
	for _, r := range d.routes {
		all = append(all, r.Method+" "+r.Path)
	}
	slices.Sort(all)
	return all
}

// Bodies lists the methods and paths whose requests have a body.
func (d *Description) Bodies() []string {
	var all []string
	for _, r := range d.routes {
		if r.Operation.RequestBody != nil {
			all = append(all, r.Method+" "+r.Path)
		}
	}
	slices.Sort(all)
	return all
}

// Example is a request body that the description shows.
type Example struct {
	Name, Method, Path, Media string
	Body                      []byte
}

// Examples lists the bodies of requests that are shown.
func (d *Description) Examples() ([]Example, error) {
	var all []Example
	for _, r := range d.routes {
		if r.Operation.RequestBody == nil {
			continue
		}
		for media, content := range r.Operation.RequestBody.Value.Content {
			for name, example := range content.Examples {
				body, err := json.Marshal(example.Value.Value)
				if err != nil {
					return nil, err
				}
				all = append(all, Example{r.Operation.OperationID + " " + name, r.Method, r.Path, media, body})
			}
		}
	}
	return all, nil
}

// Enum returns the words of a schema that is a list of them.
func (d *Description) Enum(schema string) []string {
	var words []string
	if s := d.doc.Components.Schemas[schema]; s != nil {
		for _, w := range s.Value.Enum {
			words = append(words, fmt.Sprint(w))
		}
	}
	return words
}

// find returns the operation a request is for, nil where none is described.
func (d *Description) find(r *http.Request) (route *described, params map[string]string) {
	// Some clients escape the colon of a verb.
	escaped := strings.ReplaceAll(r.URL.EscapedPath(), "intents%3A", "intents:")
	for _, route := range d.routes {
		m := route.pattern.FindStringSubmatch(escaped)
		if m == nil || route.Method != r.Method {
			continue
		}
		params = map[string]string{}
		for i, name := range route.params {
			text, err := url.PathUnescape(m[i+1])
			if err != nil {
				text = m[i+1]
			}
			params[name] = text
		}
		return route, params
	}
	return nil, nil
}

// kind is what an exchange is one of many of.
func (d *Description) kind(x *Exchange) string {
	if route, _ := d.find(x.Request); route != nil {
		return fmt.Sprint(route.Method, " ", route.Path, " ", x.Status)
	}
	return fmt.Sprint("no route ", x.Status)
}

// schema compiles what a pointer of the document points to.
func (d *Description) schema(c *jsonschema.Compiler, pointer string) (*jsonschema.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := fmt.Sprintf("%p %s", c, pointer)
	if s := d.mu.schemas[key]; s != nil {
		return s, nil
	}
	s, err := c.Compile(resource + "#" + pointer)
	if err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	d.mu.schemas[key] = s
	return s, nil
}

// judge validates a JSON text.
func (d *Description) judge(c *jsonschema.Compiler, pointer string, text []byte) error {
	s, err := d.schema(c, pointer)
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	if c == d.open {
		dropNulls(v)
	}
	return s.Validate(v)
}

// dropNulls takes away members that are null, which count as absent, where
// the API reads them; a payload keeps its own.
func dropNulls(v any) {
	m, _ := v.(map[string]any)
	for name, value := range m {
		if value == nil {
			delete(m, name)
		}
	}
	if delivery, ok := m["delivery"]; ok {
		dropNulls(delivery)
	}
}

// escape makes a token of a JSON pointer, as it stands in a URL's fragment.
func escape(token string) string {
	return url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(token))
}
