package inject

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	goyaml "github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"pannier/proxy/yaml"
)

// MaxDocument bounds a document that is read. The parser's time grows with the square of its input.
const MaxDocument = yaml.MaxFile

// Options say what the sidecars are like.
type Options struct {
	All bool // every pod gets one, unless it says "false"
	// Image and ControlPlane are those of pods that name none.
	Image, ControlPlane string
	// Set says what annotations say, by their names without the prefix, and is believed before them.
	Set map[string]string
}

// Validate returns all complaints about the options.
func (o *Options) Validate() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(o.Set)) {
		if !slices.Contains(Names(), name) {
			errs = append(errs, fmt.Errorf("%s: unknown%s; known are %s", name, yaml.DidYouMean(name, Names()), strings.Join(Names(), ", ")))
		}
	}
	return errors.Join(errs...)
}

// Outcome is what came of one object that has pods.
type Outcome struct {
	Kind, Name string
	Injected   bool
	Why        string // where it was not
}

// Stream returns a stream of manifests with the sidecars in them, and what came of each object that has
// pods. The error is all that is wrong, each an *yaml.Error with its place.
func Stream(file string, stream []byte, o Options) ([]byte, []Outcome, error) {
	if !utf8.Valid(stream) || bytes.IndexByte(stream, 0) >= 0 {
		return nil, nil, &yaml.Error{File: file, Line: 1, Column: 1, Text: "bytes that are no text; it is read as UTF-8"}
	}
	run := run{file: file, options: o}
	out, stream := bytes.Clone(stream[:markLength(stream)]), stream[markLength(stream):]
	for _, d := range split(stream) {
		text, err := run.document(d)
		if err != nil {
			run.errs = append(run.errs, err)
			continue
		}
		out = append(out, text...)
	}
	if err := errors.Join(run.errs...); err != nil {
		return nil, nil, err
	}
	return out, run.outcomes, nil
}

// markLength is the length of the mark by which some editors say that a text is UTF-8.
func markLength(stream []byte) int {
	if mark := "\ufeff"; bytes.HasPrefix(stream, []byte(mark)) {
		return len(mark)
	}
	return 0
}

type run struct {
	file     string
	options  Options
	outcomes []Outcome
	errs     []error
}

// document returns the text of a document with the sidecars in it.
func (r *run) document(d document) ([]byte, error) {
	if kindless(d.body) {
		return nil, &yaml.Error{File: r.file, Line: d.first, Column: 1, Text: "no object of Kubernetes: nothing says its kind"}
	}
	if !ofInterest(d.body) {
		return d.text, nil
	}
	if deep(d.body) {
		return nil, &yaml.Error{File: r.file, Line: d.first, Column: 1, Text: fmt.Sprintf("brackets more than %d deep", maxDepth)}
	}
	if len(d.body) > MaxDocument {
		return nil, &yaml.Error{File: r.file, Line: d.first, Column: 1, Text: fmt.Sprintf("a document of more than %d bytes, the most that is read; split it", MaxDocument)}
	}
	root, tree, err := r.read(d)
	if err != nil || root == nil {
		return d.text, err
	}
	e := newEditor(d.body, root)
	want := tree
	bases := [][]string{nil}
	if tree["kind"] == "List" {
		bases = nil
		items, _ := tree["items"].([]any)
		for i := range items {
			bases = append(bases, []string{"items", index(i)})
		}
	}
	for _, base := range bases {
		adds := r.object(d, root, tree, base)
		e.style(base)
		for _, a := range adds {
			if err := e.add(base, a); err != nil {
				r.refuse(d, root, slices.Concat(base, a.path), strings.Join(a.path, "."), err.Error())
			}
			want, _ = added(want, slices.Concat(base, a.path), a).(map[string]any)
		}
	}
	if len(e.splices) == 0 {
		return d.text, nil
	}
	body := e.result()
	// What was written must mean what was wanted, wherever the parser was wrong about a place, or an anchor
	// carries it to another one.
	_, got, err := r.read(document{body: body, first: d.first})
	if err != nil || !reflect.DeepEqual(got, want) {
		return nil, &yaml.Error{File: r.file, Line: d.first, Column: 1, Text: "the pod in this document is " + errWritten.Error()}
	}
	at := bytes.Index(d.text, d.body) // its own part of the text
	return slices.Concat(d.text[:at], body, d.text[at+len(d.body):]), nil
}

// read parses a document. One without a mapping is none of ours: its root is nil.
func (r *run) read(d document) (ast.Node, map[string]any, error) {
	source := d.body
	if isJSON(source) {
		source = bytes.ReplaceAll(source, []byte("\t"), []byte(" ")) // to YAML they are no white space; within strings JSON has none
	}
	source = bytes.ReplaceAll(source, []byte("\r\n"), []byte("\n"))
	fault := func(err error) error {
		at := yaml.SyntaxError(r.file, err)
		at.Line += d.first - 1
		return at
	}
	f, err := parser.ParseBytes(source, 0)
	if err != nil {
		return nil, nil, fault(err)
	}
	var v any
	if err := goyaml.Unmarshal(source, &v); err != nil {
		return nil, nil, fault(err)
	}
	tree, ok := v.(map[string]any)
	if !ok || len(f.Docs) == 0 {
		return nil, nil, nil
	}
	return f.Docs[0].Body, tree, nil
}

// object returns what one object of a document lacks. What is wrong with it is kept.
func (r *run) object(d document, root ast.Node, tree map[string]any, base []string) []addition {
	o := tree
	if len(base) > 0 {
		n, _ := strconv.Atoi(base[1])
		o, _ = tree["items"].([]any)[n].(map[string]any)
	}
	at, pods := templates[text(o, "kind")]
	if !pods || !builtIn(o) {
		r.unknown(d, root, o, base)
		return nil
	}
	p := newPod(o)
	outcome := Outcome{Kind: strings.ToLower(p.kind), Name: text(o, "metadata", "name")}
	if outcome.Name == "" {
		outcome.Name = text(o, "metadata", "generateName")
	}
	defer func() { r.outcomes = append(r.outcomes, outcome) }()

	key := Prefix + asked
	says, there := p.annotations[key]
	if elsewhere := asksAt(o); elsewhere != nil && !slices.Equal(elsewhere, slices.Concat(at, []string{"metadata", "annotations", key})) {
		where := strings.Join(slices.Concat(at, []string{"metadata", "annotations"}), ".")
		what := "stands on the " + p.kind + " itself"
		if len(elsewhere) > 3 {
			what = "stands at " + strings.Join(elsewhere[:len(elsewhere)-1], ".")
		}
		r.refuse(d, root, slices.Concat(base, elsewhere), key, what+", where nobody reads it; move it to "+where)
		return nil
	}
	switch {
	case says == "false":
		outcome.Why = key + ` is "false"`
		return nil
	case !there && !r.options.All:
		outcome.Why = "its pods do not ask for it with " + key
		return nil
	}
	if _, ours := p.sidecar(); ours {
		outcome.Why = "it has the sidecar; to have it made again, take the container " + container + " out"
		return nil
	}
	s := p.said(r.options.Set)
	for name, otherwise := range map[string]string{image: r.options.Image, controlPlane: r.options.ControlPlane} {
		if !s.has(name) && otherwise != "" {
			s[name] = otherwise
		}
	}
	refusals := p.refusals(s)
	for _, wrong := range refusals {
		r.refuse(d, root, slices.Concat(base, at, wrong.path), wrong.key, wrong.text)
	}
	if len(refusals) > 0 {
		return nil
	}
	outcome.Injected = true
	adds := p.additions(s)
	for i := range adds {
		adds[i].path = slices.Concat(at, adds[i].path)
	}
	return adds
}

// unknown refuses an object in which a pod asks for a sidecar, and of which is not known where its pods are.
// Where all are to have one, it is told of lists that have none.
func (r *run) unknown(d document, root ast.Node, o map[string]any, base []string) {
	kind := text(o, "kind")
	if at := asksAt(o); at != nil {
		r.refuse(d, root, slices.Concat(base, at), Prefix+asked, fmt.Sprintf("in an object of kind %q, of which is not known here where its pods are; "+
			"put its pods into one of kind List or of a kind of Kubernetes itself, or leave them to the library chart or the admission policy", kind))
		return
	}
	if _, pods := templates[strings.TrimSuffix(kind, "List")]; r.options.All && pods && builtIn(o) {
		r.outcomes = append(r.outcomes, Outcome{Kind: strings.ToLower(kind), Name: text(o, "metadata", "name"), Why: "its kind is not known here"})
	}
}

// refuse keeps a complaint about what is at a path, or would be.
func (r *run) refuse(d document, root ast.Node, path []string, key, what string) {
	at, _ := locate(root, path)
	where := at.node.GetToken()
	if at.entry != nil {
		where = at.entry.Key.GetToken()
	}
	err := yaml.ErrorAt(r.file, where, key, what)
	err.Line += d.first - 1
	r.errs = append(r.errs, err)
}

// added is a copy of a tree with one addition.
func added(tree any, path []string, a addition) any {
	if len(path) == 0 {
		if a.entries != nil {
			out := map[string]any{}
			if m, ok := tree.(map[string]any); ok {
				out = maps.Clone(m)
			}
			for _, e := range a.entries {
				out[e.Key.(string)] = decoded(e.Value)
			}
			return out
		}
		var items []any
		for _, item := range a.items {
			items = append(items, decoded(item))
		}
		there, _ := tree.([]any)
		if a.first {
			return slices.Concat(items, there)
		}
		return slices.Concat(there, items)
	}
	if list, ok := tree.([]any); ok {
		out := slices.Clone(list)
		n, _ := strconv.Atoi(path[0])
		out[n] = added(out[n], path[1:], a)
		return out
	}
	out := map[string]any{}
	if m, ok := tree.(map[string]any); ok {
		out = maps.Clone(m)
	}
	out[path[0]] = added(out[path[0]], path[1:], a)
	return out
}

// decoded is a value as the parser reads it.
func decoded(v any) any {
	switch v := v.(type) {
	case object:
		out := map[string]any{}
		for _, e := range v {
			out[e.Key.(string)] = decoded(e.Value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = decoded(item)
		}
		return out
	case int:
		return uint64(v)
	}
	return v
}
