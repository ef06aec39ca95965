// Package yaml reads the files that operators write, strictly: every complaint
// has the line and the column, and nothing in a file means something that cannot
// be read off it.
package yaml

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	goyaml "github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// MaxFile bounds a file we read. The parser's time grows with the square of
	// its input: 1 MiB, or 16,000 agents, takes it four seconds.
	MaxFile = 1 << 20
	// maxNesting bounds [ and { within one another. Our files need two levels;
	// the parser takes a minute for a hundred thousand.
	maxNesting = 8
)

// Error is what is wrong at one place of a file that an operator wrote.
type Error struct {
	File         string
	Line, Column int
	Key          string // the setting or address it is about, if one is known
	Text         string
}

func (e *Error) Error() string {
	if e.Key == "" {
		return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Text)
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s", e.File, e.Line, e.Column, e.Key, e.Text)
}

// An Entry is one key of a mapping with its value.
type Entry struct {
	Key   string
	At    *token.Token
	Value ast.Node
}

// ParseMapping reads text as one YAML mapping. Of YAML it takes scalars,
// lists and mappings: no anchors, tags, directives or computed keys, so that
// what a file says can be read off it, line by line. JSON is within that.
func ParseMapping(file string, text []byte) ([]Entry, error) {
	if len(text) > MaxFile {
		return nil, &Error{file, 1, 1, "", fmt.Sprintf("the file has %d bytes, at most %d are read", len(text), MaxFile)}
	}
	tokens := lexer.Tokenize(string(bytes.TrimPrefix(text, []byte("\ufeff"))))
	if err := checkTokens(file, tokens); err != nil {
		return nil, err
	}
	tree, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, syntaxError(file, err)
	}
	if len(tree.Docs) == 0 || tree.Docs[0].Body == nil {
		return nil, nil
	}
	return EntriesOf(file, tree.Docs[0].Body)
}

// checkTokens refuses what we do not take before the parser sees it.
func checkTokens(file string, tokens token.Tokens) error {
	depth := 0
	for i, t := range tokens {
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType, token.DirectiveType, token.MappingKeyType:
			return ErrorAt(file, t, "", fmt.Sprintf("%q: anchors, tags, merges and computed keys are not read here", t.Value))
		case token.DocumentHeaderType, token.DocumentEndType:
			if i > 0 {
				return ErrorAt(file, t, "", "a second document: put everything into one")
			}
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.SequenceEntryType:
			if i > 0 && tokens[i-1].Type == token.SequenceEntryType {
				return ErrorAt(file, t, "", "a list in a list has no meaning here")
			}
		}
		if depth > maxNesting {
			return ErrorAt(file, t, "", "nested too deep")
		}
	}
	return nil
}

// EntriesOf lists a mapping's entries in the file's order. The parser has
// refused equal keys.
func EntriesOf(file string, n ast.Node) ([]Entry, error) {
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		return nil, ErrorAt(file, n.GetToken(), "", fmt.Sprintf("got %s, want settings of the form \"key: value\"", KindOf(n)))
	}
	entries := make([]Entry, 0, len(values))
	for _, v := range values {
		key, ok := v.Key.(ast.ScalarNode)
		if !ok {
			return nil, ErrorAt(file, v.Key.GetToken(), "", "a key must be plain text")
		}
		entries = append(entries, Entry{keyText(key), v.Key.GetToken(), v.Value})
	}
	return entries, nil
}

func keyText(n ast.ScalarNode) string {
	if s, ok := n.(*ast.StringNode); ok {
		return s.Value
	}
	return n.GetToken().Value
}

// StringsOf reads a list of strings; each comes with its place.
func StringsOf(file, key string, n ast.Node) ([]Entry, error) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		return nil, ErrorAt(file, n.GetToken(), key, fmt.Sprintf("got %s, want a list", KindOf(n)))
	}
	items := make([]Entry, 0, len(list.Values))
	for _, v := range list.Values {
		s, ok := v.(*ast.StringNode)
		if !ok {
			return nil, ErrorAt(file, v.GetToken(), key, fmt.Sprintf("got %s in the list, want a string", KindOf(v)))
		}
		items = append(items, Entry{s.Value, s.GetToken(), v})
	}
	return items, nil
}

// KindOf names a node's type as its writer would.
func KindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.StringNode:
		return "a string"
	case *ast.IntegerNode:
		return "an integer"
	case *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "a boolean"
	case *ast.NullNode, nil:
		return "nothing"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.LiteralNode:
		return "a block of text"
	}
	return "something else"
}

func ErrorAt(file string, t *token.Token, key, text string) *Error {
	e := &Error{File: file, Line: 1, Column: 1, Key: key, Text: text}
	if t != nil && t.Position != nil {
		e.Line, e.Column = max(t.Position.Line, 1), max(t.Position.Column, 1)
	}
	return e
}

// syntaxError keeps the parser's message and place and drops its picture of
// the source, which is several lines.
func syntaxError(file string, err error) error {
	var at goyaml.Error
	if !errors.As(err, &at) {
		return &Error{file, 1, 1, "", err.Error()}
	}
	text, _, _ := strings.Cut(at.GetMessage(), "\n")
	return ErrorAt(file, at.GetToken(), "", text)
}

// Hushed takes the text out of a complaint and leaves its place: where a file has
// secrets, what it says there may be one.
func Hushed(err error, text string) error {
	var at *Error
	if errors.As(err, &at) && !strings.HasPrefix(at.Text, "the file has ") {
		return &Error{File: at.File, Line: at.Line, Column: at.Column, Text: text}
	}
	return err
}
