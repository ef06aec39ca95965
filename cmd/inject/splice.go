package inject

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// errWritten is a place that cannot be added to as it is written.
var errWritten = errors.New("written in a way that cannot be added to; write it out as a block, without anchors, aliases or merges")

// splice is a piece of text that goes where another is, or between two.
type splice struct {
	at, end int // bytes of the document
	text    string
}

// editor puts additions into the text of one document.
type editor struct {
	text    []byte
	root    ast.Node
	starts  []int // of its lines
	newline string
	deeper  bool // items of lists stand farther in than their key
	flow    flow
	splices []splice
}

func newEditor(body []byte, root ast.Node) *editor {
	e := &editor{text: body, root: root, starts: []int{0}, newline: "\n", deeper: true, flow: flow{json: isJSON(body)}}
	for i, c := range body {
		if c == '\n' {
			e.starts = append(e.starts, i+1)
		}
	}
	if bytes.Contains(body, []byte("\r\n")) {
		e.newline = "\r\n"
	}
	return e
}

// style finds out how lists are written in the object at a path.
func (e *editor) style(base []string) {
	o, _ := locate(e.root, base)
	for _, m := range entriesOf(o.node) {
		if kind, ok := bare(m.Value).(*ast.StringNode); ok && keyOf(m) == "kind" {
			at, _ := locate(e.root, slices.Concat(base, templates[kind.Value], []string{"spec", "containers"}))
			if list, ok := at.node.(*ast.SequenceNode); ok && at.entry != nil {
				e.deeper = list.Start.Position.Column > at.entry.Key.GetToken().Position.Column
			}
		}
	}
}

// place is what is found at a path.
type place struct {
	node  ast.Node              // without its anchor and tag
	entry *ast.MappingValueNode // of which it is the value, if it is one
	next  int                   // the line in which something follows that is not within it; 0: nothing does
}

func bare(n ast.Node) ast.Node {
	for {
		switch outer := n.(type) {
		case *ast.AnchorNode:
			n = outer.Value
		case *ast.TagNode:
			n = outer.Value
		default:
			return n
		}
	}
}

func entriesOf(n ast.Node) []*ast.MappingValueNode {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}
	}
	return nil
}

// keyOf is the text of a key. The parser keeps quotes off the value of a token.
func keyOf(e *ast.MappingValueNode) string { return e.Key.GetToken().Value }

// locate goes along a path as far as it is there, and says how far that is.
func locate(root ast.Node, path []string) (at place, found int) {
	at.node = bare(root)
	for i, key := range path {
		if list, ok := at.node.(*ast.SequenceNode); ok {
			n, _ := strconv.Atoi(key) // of our own making
			if n+1 < len(list.Entries) {
				at.next = list.Entries[n+1].Start.Position.Line
			}
			at.node, at.entry = bare(list.Values[n]), nil
			continue
		}
		entries := entriesOf(at.node)
		n := slices.IndexFunc(entries, func(e *ast.MappingValueNode) bool { return keyOf(e) == key })
		if n < 0 {
			return at, i
		}
		if n+1 < len(entries) {
			at.next = entries[n+1].Key.GetToken().Position.Line
		}
		at.entry, at.node = entries[n], bare(entries[n].Value)
	}
	return at, len(path)
}

// add puts one addition at a path below which it is meant.
func (e *editor) add(base []string, a addition) error {
	path := slices.Concat(base, a.path)
	at, found := locate(e.root, path)
	if found < len(path) {
		var content any = a.content()
		for i := len(path) - 1; i > found; i-- {
			content = object{entry(path[i], content)}
		}
		a = addition{entries: object{entry(path[found], content)}}
	}
	if null, ok := at.node.(*ast.NullNode); ok {
		return e.insteadOf(null, at, a.content())
	}
	if a.entries != nil {
		return e.addEntries(at, a.entries)
	}
	return e.addItems(at, a)
}

// insteadOf writes a value where there is none, or the word null.
func (e *editor) insteadOf(null *ast.NullNode, at place, v any) error {
	if at.entry == nil {
		return errWritten
	}
	start, ok := e.offset(null.Token.Position)
	for _, word := range []string{"null", "Null", "NULL", "~"} {
		if ok && bytes.HasPrefix(e.text[start:], []byte(word)) {
			e.splices = append(e.splices, splice{start, start + len(word), e.flow.value(v)})
			return nil
		}
	}
	colon, ok := e.offset(at.entry.Start.Position)
	if !ok || e.text[colon] != ':' {
		return errWritten
	}
	e.splices = append(e.splices, splice{colon + 1, colon + 1, " " + e.flow.value(v)})
	return nil
}

func (e *editor) addEntries(at place, entries object) error {
	m, ok := at.node.(*ast.MappingNode)
	if !ok {
		return errWritten
	}
	if m.IsFlowStyle {
		text := e.flow.entries(entries)
		if len(m.Values) > 0 {
			text += ", "
		}
		return e.behind(m.Start, '{', text)
	}
	first := m.Values[0].Key.GetToken().Position
	line := first.Line
	if at.entry != nil {
		line = at.entry.Key.GetToken().Position.Line + 1 // before the comments of what is there
	}
	if line > first.Line {
		return errWritten
	}
	e.lines(line, func(b *block) { b.entries(strings.Repeat(" ", first.Column-1), entries) })
	return nil
}

func (e *editor) addItems(at place, a addition) error {
	list, ok := at.node.(*ast.SequenceNode)
	if !ok || at.entry == nil {
		return errWritten
	}
	if list.IsFlowStyle {
		text := e.flow.items(a.items)
		switch {
		case len(list.Values) == 0:
			return e.behind(list.Start, '[', text)
		case a.first:
			return e.behind(list.Start, '[', text+", ")
		}
		return e.before(list.End, ']', text)
	}
	line := at.entry.Key.GetToken().Position.Line + 1
	if first := list.Start.Position.Line; line > first {
		return errWritten
	}
	column := list.Start.Position.Column
	if !a.first {
		line = e.end(at, column)
	}
	e.lines(line, func(b *block) { b.items(strings.Repeat(" ", column-1), a.items) })
	return nil
}

// end is the line behind a list whose items begin in a column: what follows it may be preceded by empty
// lines and by comments of its own.
func (e *editor) end(at place, column int) int {
	line := at.next
	if line == 0 {
		line = len(e.starts) + 1
	}
	for line > 1 {
		text := string(e.line(line - 1))
		trimmed := strings.TrimSpace(text)
		own := strings.HasPrefix(trimmed, "#") && strings.Index(text, "#") <= column-1
		if trimmed != "" && !own {
			break
		}
		line--
	}
	return line
}

func (e *editor) line(n int) []byte {
	end := len(e.text)
	if n < len(e.starts) {
		end = e.starts[n]
	}
	return e.text[e.starts[n-1]:end]
}

// lines puts lines of their own before one.
func (e *editor) lines(before int, write func(*block)) {
	b := block{deeper: e.deeper}
	write(&b)
	text, at := strings.Join(b.lines, e.newline), len(e.text)
	if before <= len(e.starts) {
		at = e.starts[before-1]
	}
	if at == len(e.text) && !bytes.HasSuffix(e.text, []byte("\n")) { // the last line has no end
		text = e.newline + text
	} else {
		text += e.newline
	}
	e.splices = append(e.splices, splice{at, at, text})
}

func (e *editor) behind(t *token.Token, bracket byte, text string) error {
	at, ok := e.offset(t.Position)
	if !ok || e.text[at] != bracket {
		return errWritten
	}
	e.splices = append(e.splices, splice{at + 1, at + 1, text})
	return nil
}

func (e *editor) before(t *token.Token, bracket byte, text string) error {
	at, ok := e.offset(t.Position)
	if !ok || e.text[at] != bracket {
		return errWritten
	}
	at = len(bytes.TrimRight(e.text[:at], " \t\r\n"))
	if e.text[at-1] != ',' {
		text = ", " + text
	}
	e.splices = append(e.splices, splice{at, at, text})
	return nil
}

// offset is the byte of a position, which counts lines and characters from 1.
func (e *editor) offset(p *token.Position) (int, bool) {
	if p.Line < 1 || p.Line > len(e.starts) {
		return 0, false
	}
	at := e.starts[p.Line-1]
	for range p.Column - 1 {
		_, size := utf8.DecodeRune(e.text[at:])
		at += size
	}
	return at, at < len(e.text)
}

// result is the text with all that was added.
func (e *editor) result() []byte {
	slices.SortStableFunc(e.splices, func(a, b splice) int { return cmp.Compare(a.at, b.at) })
	var out []byte
	last := 0
	for _, s := range e.splices {
		out = append(append(out, e.text[last:s.at]...), s.text...)
		last = s.end
	}
	return append(out, e.text[last:]...)
}
