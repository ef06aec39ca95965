package api

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// contract is a JSON Schema of somebody's, ready for use. Both the schema and what is held
// to it come from anybody who may send, and what a schema refers to may double with each
// reference, so the work is counted and bounded. It is counted in units of about 20 ns: not
// in time, so that the same value gets the same answer on any machine.
type contract struct {
	schema  *jsonschema.Schema
	prices  map[*jsonschema.Schema]price
	dearest int  // the highest base of all
	watched bool // some schema asks what the others have looked at

	patterns map[string]*pattern
	most     int // what patterns may still take together
	ready    bool

	mu struct {
		sync.Mutex
		left int // units that the value at hand may still take
	}
}

const (
	// effortBase and effortPerByte are the units that a value may take. An honest one takes
	// some dozens for each of its members, and of those a byte is the fifth or less.
	effortBase    = 1_000_000
	effortPerByte = 32
)

// exhausted is thrown where the units are used up. The library has no context and no error
// that ends all of a validation (below "not" any error is an agreement), but it holds
// nothing that would be left behind.
type exhausted struct{}

var errExhausted = errors.New("it takes too much work to be held to its schema, whose references and alternatives multiply: send less, or have the schema made simpler")

func (c *contract) spend(units int) {
	if c.mu.left -= units; c.mu.left < 0 {
		panic(exhausted{})
	}
}

// newContract makes a schema of its text, which calls itself url. A reference to anything
// outside of it is an error: neither the network nor a file is ever read for one.
func newContract(text []byte, url string) (*contract, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	if at, is := immense(doc, ""); is {
		return nil, fmt.Errorf("the number at %q is too long to be compared with", at)
	}
	if n := parts(doc); n > maxParts {
		return nil, fmt.Errorf("it has %d objects and booleans, each of which can be a schema; the limit is %d", n, maxParts)
	}
	c := &contract{prices: map[*jsonschema.Schema]price{}, patterns: map[string]*pattern{}, most: maxPatterns}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(noLoader{})
	compiler.UseRegexpEngine(c.compilePattern)
	compiler.AssertFormat()
	if err := compiler.AddResource(url, doc); err != nil {
		return nil, err
	}
	if c.schema, err = compiler.Compile(url); err != nil {
		return nil, whyUnusable(err)
	}
	c.walk(c.schema)
	for _, at := range dynamicAnchors(doc, "", nil) {
		// What is found only while a value is looked at. It is compiled already, and what
		// is no schema, and looks like one, is not.
		if s, err := compiler.Compile(url + "#" + at); err == nil {
			c.walk(s)
		}
	}
	if err := c.weigh(); err != nil {
		return nil, err
	}
	for s, p := range c.prices {
		c.meter(s, p)
	}
	c.ready = true
	return c, nil
}

// whyUnusable is the first place where a schema is none, without the way there.
func whyUnusable(err error) error {
	var invalid *jsonschema.SchemaValidationError
	var wrong *jsonschema.ValidationError
	if !errors.As(err, &invalid) || !errors.As(invalid.Err, &wrong) {
		return err
	}
	first := leaves(wrong, nil)[0]
	return fmt.Errorf("at %q: %s", pointerTo("", first.InstanceLocation), clip(first.ErrorKind.LocalizedString(english), maxWhy))
}

type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("it refers to %s, and only what is in it is looked at", clip(url, 128))
}

// hold validates a value of that many bytes.
func (c *contract) hold(value any, size int) (err error) {
	c.mu.Lock() // the library has no place for a counter of each validation
	defer c.mu.Unlock()
	c.mu.left = effortBase + effortPerByte*size
	defer func() {
		switch thrown := recover(); thrown.(type) {
		case nil:
		case exhausted:
			err = errExhausted
		default:
			panic(thrown)
		}
	}()
	c.spend(c.price(c.schema, value))
	return c.schema.Validate(value)
}

// misfits lists where a payload is not as its schema says, at most maxFaults, and the
// rules of the schema that say so, as pointers into it.
func (c *contract) misfits(payload jsontext.Value, at string) (faults []fault, rules []string) {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(payload))
	if err != nil {
		return []fault{{at, err.Error(), codeSchemaInvalid}}, nil // it was read as JSON before
	}
	if where, is := immense(value, at); is {
		return []fault{{clip(where, maxWhere), "is a number too long to be compared with a schema", codeSchemaInvalid}}, []string{"number"}
	}
	var wrong *jsonschema.ValidationError
	if err := c.hold(value, len(payload)); err == nil {
		return nil, nil
	} else if !errors.As(err, &wrong) {
		return []fault{{at, err.Error(), codeSchemaInvalid}}, []string{"work"}
	}
	for _, e := range leaves(wrong, nil) {
		where := pointerTo(at, e.InstanceLocation)
		// Both may hold as much of the payload as it has.
		why := clip(e.ErrorKind.LocalizedString(english), maxWhy)
		faults = append(faults, fault{clip(where, maxWhere), why, codeSchemaInvalid})
		_, rule, _ := strings.Cut(e.SchemaURL, "#")
		rules = append(rules, strings.Join(append([]string{rule}, e.ErrorKind.KeywordPath()...), "/"))
	}
	return faults, rules
}

// pointerTo points below a place.
func pointerTo(at string, steps []string) string {
	for _, step := range steps {
		at += "/" + pointerStep.Replace(step)
	}
	return at
}
