// Package yaml reads the files that operators write, strictly: every complaint
// has the line and the column, and nothing in a file means something that cannot
// be read off it.
package yaml

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

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
		return nil, &Error{file, 1, 1, "", fmt.Sprintf("the file has more than %d bytes, the most that is read", MaxFile)}
	}
	if !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
		return nil, &Error{file, 1, 1, "", "the file has bytes that are no text; it is read as UTF-8"}
	}
	tokens := lexer.Tokenize(string(bytes.TrimPrefix(text, []byte("\ufeff"))))
	if err := checkTokens(file, tokens); err != nil {
		return nil, err
	}
	tree, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // EntriesOf says more of them
	if err != nil {
		return nil, SyntaxError(file, err)
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
			return ErrorAt(file, t, "", fmt.Sprintf("%q: anchors, tags, merges and computed keys are not read here; write out what is meant", t.Value))
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
			return ErrorAt(file, t, "", fmt.Sprintf("nested too deep: at most %d levels are read", maxNesting))
		}
	}
	return nil
}

// EntriesOf lists a mapping's entries in the file's order. Equal keys are an
// error.
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
	entries, seen := make([]Entry, 0, len(values)), make(map[string]int, len(values))
	for _, v := range values {
		key, ok := v.Key.(ast.ScalarNode)
		if !ok {
			return nil, ErrorAt(file, v.Key.GetToken(), "", "a key must be plain text")
		}
		e := Entry{keyText(key), v.Key.GetToken(), v.Value}
		if first, twice := seen[e.Key]; twice {
			return nil, ErrorAt(file, e.At, e.Key, fmt.Sprintf("given twice, first in line %d; take one of them out", first))
		}
		seen[e.Key] = e.At.Position.Line
		entries = append(entries, e)
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
		return nil, ErrorAt(file, n.GetToken(), key, fmt.Sprintf("got %s, want a list: [one, another]", KindOf(n)))
	}
	items := make([]Entry, 0, len(list.Values))
	for _, v := range list.Values {
		s, ok := v.(*ast.StringNode)
		if !ok {
			return nil, ErrorAt(file, v.GetToken(), key, fmt.Sprintf("got %s in the list, want strings: write it in quotes", KindOf(v)))
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

// parserSays are complaints of the parser that an operator would have to know
// YAML's grammar for, and what to say instead.
var parserSays = map[string]string{
	"found character '\t' that cannot start any token":       "a tab: indent with spaces",
	"value is not allowed in this context":                   "not expected here: is it indented as the lines around it?",
	"could not find end character of double-quoted text":     "the quote \" that begins here is not closed",
	"could not find end character of single-quoted text":     "the quote ' that begins here is not closed",
	"',' or ']' must be specified":                           "a [ above is not closed: put ] behind its last item, and commas between them",
	"',' or '}' must be specified":                           "a { above is not closed: put } behind its last entry, and commas between them",
	"sequence end token ']' not found":                       "the [ that begins here is not closed",
	"could not find flow mapping end token '}'":              "the { that begins here is not closed",
	"could not find flow map content":                        "a key needs a colon and a value",
	"mapping value is not allowed in this context":           "a second colon: put the value in quotes, or the key in a line of its own",
	"could not find '[' character corresponding to ']'":      "a ] without a [ before it",
	"could not find '{' character corresponding to '}'":      "a } without a { before it",
	"unexpected key name":                                    "a key needs a colon and a value",
	"non-map value is specified":                             "a key needs a colon, a space and a value",
	"block sequence entries are not allowed in this context": "a list begins in a line of its own, below its key",
}

// SyntaxError keeps the parser's place, and its message where there is no better
// one, and drops its picture of the source, which is several lines.
func SyntaxError(file string, err error) *Error {
	var at goyaml.Error
	if !errors.As(err, &at) {
		return &Error{file, 1, 1, "", err.Error()}
	}
	text, _, _ := strings.Cut(at.GetMessage(), "\n")
	if better := parserSays[text]; better != "" {
		text = better
	}
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
