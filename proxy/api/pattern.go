package api

import (
	"fmt"
	"regexp"
	"regexp/syntax"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const (
	// maxPattern is how many instructions a pattern may have. Matching takes their number
	// times the length of the text, at worst.
	maxPattern = 5000
	// maxPatterns is how many those of one schema may have together.
	maxPatterns = 50_000
)

// pattern is a regular expression whose work is counted.
type pattern struct {
	*regexp.Regexp
	of   *contract
	size int
}

// compilePattern is the engine of regular expressions: of those in the schema and, where
// the schema says so, of those in a value.
func (c *contract) compilePattern(text string) (jsonschema.Regexp, error) {
	if c.ready {
		c.spend(len(text) * 8)
	} else if p := c.patterns[text]; p != nil {
		return p, nil
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	size := sizeOf(tree)
	if size > maxPattern || !c.ready && size > c.most {
		return nil, fmt.Errorf("it repeats too much: written out it would be %d steps; the limit is %d, and %d for all of a schema", size, maxPattern, maxPatterns)
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	p := &pattern{re, c, size}
	if c.ready {
		c.spend(size * 32)
	} else {
		c.most -= size
		c.patterns[text] = p
	}
	return p, nil
}

// MatchString reports whether a text matches.
func (p *pattern) MatchString(text string) bool {
	if p.of.ready {
		p.of.spend(4 + len(text) + len(text)*p.size/8)
	}
	return p.Regexp.MatchString(text)
}

// sizeOf is about how many instructions an expression has, its repeats written out.
func sizeOf(e *syntax.Regexp) (n int) {
	n = 1 // so is a class, whatever is in it
	if e.Op == syntax.OpLiteral {
		n = len(e.Rune)
	}
	for _, sub := range e.Sub {
		n += sizeOf(sub)
	}
	if e.Op == syntax.OpRepeat {
		n *= max(1, e.Min, e.Max)
	}
	return n
}
