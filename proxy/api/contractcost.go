package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Bounds of a schema. They are far above what people write, and keep the work of making
// it usable, parts of which is quadratic, below a second.
const (
	maxParts    = 2500   // objects and booleans
	maxUnfolded = 20_000 // schemas that one value is held to, each as often as it is referred to
	maxChain    = 256    // of them, one inside another
)

// price is what a schema takes of a value, as far as that can be told of the schema.
type price struct {
	base   int // before anything of it can be counted
	values int // of its enum: each is compared with a number
	same   []*jsonschema.Schema
}

// Units. A schema that looks at a value allocates its errors, its scope and its state.
const (
	unitsSchema = 8
	unitsMember = 2
	unitsNumber = 16  // read as an exact one
	unitsUnlike = 250 // an item that ends a comparison may be any number
)

// parts counts what could be a schema.
func parts(v any) (n int) {
	switch v := v.(type) {
	case bool:
		return 1
	case []any:
		for _, item := range v {
			n += parts(item)
		}
	case map[string]any:
		n = 1
		for _, member := range v {
			n += parts(member)
		}
	}
	return n
}

// dynamicAnchors are the places of those that a $dynamicRef may come to, as fragments.
func dynamicAnchors(v any, at string, found []string) []string {
	switch v := v.(type) {
	case []any:
		for i, item := range v {
			found = dynamicAnchors(item, at+"/"+strconv.Itoa(i), found)
		}
	case map[string]any:
		if _, is := v["$dynamicAnchor"]; is {
			found = append(found, at)
		}
		for name, member := range v {
			found = dynamicAnchors(member, at+"/"+url.PathEscape(pointerStep.Replace(name)), found)
		}
	}
	return found
}

// walk prices a schema and all it refers to.
func (c *contract) walk(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if _, done := c.prices[s]; done {
		return
	}
	p := price{base: unitsSchema + len(s.Required), same: sameValue(s)}
	if s.Enum != nil {
		p.values = len(s.Enum.Values)
		for _, v := range s.Enum.Values {
			p.base += weight(v)
		}
	}
	if s.Const != nil {
		p.values++
		p.base += weight(*s.Const)
	}
	for _, names := range s.DependentRequired {
		p.base += unitsMember + len(names)
	}
	for _, dependency := range s.Dependencies {
		names, _ := dependency.([]string)
		p.base += unitsMember + len(names)
	}
	p.base += unitsSchema * (len(s.AnyOf) + len(s.OneOf)) // each keeps why it was none
	c.prices[s] = p
	c.dearest = max(c.dearest, p.base)
	c.watched = c.watched || s.UnevaluatedItems != nil || s.UnevaluatedProperties != nil
	for _, next := range p.same {
		c.walk(next)
	}
	for _, next := range partsOfValue(s) {
		c.walk(next)
	}
	c.walk(s.RecursiveRef)
	if s.DynamicRef != nil {
		c.walk(s.DynamicRef.Ref)
	}
}

// sameValue are the schemas that a value is held to where it is held to s, but for what
// is found only while one looks.
func sameValue(s *jsonschema.Schema) (all []*jsonschema.Schema) {
	all = present(s.Ref, s.Not, s.If, s.Then, s.Else)
	all = append(append(append(all, s.AllOf...), s.AnyOf...), s.OneOf...)
	for _, d := range s.DependentSchemas {
		all = append(all, d)
	}
	for _, d := range s.Dependencies {
		if d, is := d.(*jsonschema.Schema); is {
			all = append(all, d)
		}
	}
	return all
}

// partsOfValue are the schemas that parts of a value are held to.
func partsOfValue(s *jsonschema.Schema) []*jsonschema.Schema {
	all := present(s.PropertyNames, s.UnevaluatedProperties, s.Contains, s.Items2020, s.UnevaluatedItems, s.ContentSchema)
	all = append(all, s.PrefixItems...)
	for _, p := range s.Properties {
		all = append(all, p)
	}
	for _, p := range s.PatternProperties {
		all = append(all, p)
	}
	for _, either := range []any{s.AdditionalProperties, s.Items, s.AdditionalItems} {
		switch either := either.(type) {
		case *jsonschema.Schema:
			all = append(all, either)
		case []*jsonschema.Schema:
			all = append(all, either...)
		}
	}
	return all
}

func present(some ...*jsonschema.Schema) (all []*jsonschema.Schema) {
	for _, s := range some {
		if s != nil {
			all = append(all, s)
		}
	}
	return all
}

// unfolded is what one value is held to where it is held to a schema.
type unfolded struct{ schemas, chain int }

// weigh refuses what no value could be held to.
func (c *contract) weigh() error {
	known := make(map[*jsonschema.Schema]unfolded, len(c.prices))
	inOrder := slices.SortedFunc(maps.Keys(c.prices), func(a, b *jsonschema.Schema) int { return cmp.Compare(a.Location, b.Location) })
	for _, s := range inOrder {
		if _, err := c.unfold(s, known); err != nil {
			return err
		}
	}
	return nil
}

func (c *contract) unfold(s *jsonschema.Schema, known map[*jsonschema.Schema]unfolded) (u unfolded, err error) {
	u, met := known[s]
	switch {
	case met && u.schemas == 0:
		return u, fmt.Errorf("at %s it refers to itself for the same value, without end", placeOf(s))
	case met:
		return u, nil
	}
	known[s] = unfolded{} // under way
	u = unfolded{1, 1}
	for _, next := range c.prices[s].same {
		below, err := c.unfold(next, known)
		if err != nil {
			return u, err
		}
		u.schemas, u.chain = u.schemas+below.schemas, max(u.chain, below.chain+1)
	}
	switch {
	case u.schemas > maxUnfolded:
		return u, fmt.Errorf("at %s its references unfold to more than %d schemas for one value: refer to each once", placeOf(s), maxUnfolded)
	case u.chain > maxChain:
		return u, fmt.Errorf("at %s more than %d schemas for one value are one inside another", placeOf(s), maxChain)
	}
	known[s] = u
	return u, nil
}

// placeOf is where in its document a schema is.
func placeOf(s *jsonschema.Schema) string {
	_, at, _ := strings.Cut(s.Location, "#")
	return clip(strconv.Quote(at), 128)
}

// price is what holding a value to a schema takes before the schema itself is asked.
func (c *contract) price(s *jsonschema.Schema, v any) int {
	p := c.prices[s]
	if number, is := v.(json.Number); is && p.values > 0 {
		return p.base + p.values*weight(number)
	}
	return p.base
}

// meter has a schema count before it does its work. The format is the first thing it looks
// at after the type, the constant and the enum, which its price is for, so nothing that it
// leads to is looked at uncounted.
func (c *contract) meter(s *jsonschema.Schema, p price) {
	if s.Bool != nil {
		return // it leads nowhere
	}
	format := s.Format
	metered := &jsonschema.Format{Validate: func(v any) error {
		for _, next := range p.same {
			c.spend(c.price(next, v))
		}
		if s.RecursiveRef != nil || s.DynamicRef != nil {
			c.spend(2 * c.dearest)
		}
		c.spendParts(s, v)
		if format == nil {
			return nil
		}
		return format.Validate(v)
	}}
	if format != nil {
		metered.Name = format.Name
	}
	s.Format = metered
}

// spendParts counts what a schema does with a value and its parts.
func (c *contract) spendParts(s *jsonschema.Schema, v any) {
	switch v := v.(type) {
	case string:
		c.spend(len(v) / 16)
	case json.Number:
		c.spend(weight(v))
		if s.MultipleOf != nil {
			c.spend(weight(v) + len(s.MultipleOf.RatString()))
		}
	case map[string]any:
		each := unitsMember
		if c.watched {
			each *= 4 // it is copied, and merged
		}
		for name, member := range v {
			c.spend(each)
			c.spendMember(s, name, member)
		}
	case []any:
		c.spendItems(s, v)
	}
}

func (c *contract) spendMember(s *jsonschema.Schema, name string, member any) {
	if p := s.Properties[name]; p != nil {
		c.spend(c.price(p, member))
	}
	for _, p := range s.PatternProperties {
		c.spend(c.price(p, member))
	}
	if p, is := s.AdditionalProperties.(*jsonschema.Schema); is {
		c.spend(c.price(p, member))
	}
	if p := s.UnevaluatedProperties; p != nil {
		c.spend(c.price(p, member))
	}
	if p := s.PropertyNames; p != nil {
		c.spend(c.price(p, name))
	}
}

func (c *contract) spendItems(s *jsonschema.Schema, items []any) {
	if c.watched {
		c.spend(4 * unitsMember * len(items))
	}
	if s.UniqueItems {
		// Few are compared each with each, more are looked up by a sum of all they hold.
		times := 2
		if len(items) <= 20 {
			times = 20
		}
		for _, item := range items {
			c.spend(times * weight(item))
		}
	}
	every := present(s.Items2020, s.Contains, s.UnevaluatedItems)
	var first []*jsonschema.Schema
	for _, either := range []any{s.Items, s.AdditionalItems, s.PrefixItems} {
		switch either := either.(type) {
		case *jsonschema.Schema:
			every = append(every, either)
		case []*jsonschema.Schema:
			first = either
		}
	}
	for i, item := range items {
		for _, p := range every {
			c.spend(c.price(p, item))
		}
		if i < len(first) {
			c.spend(c.price(first[i], item))
		}
	}
}

// weight is what comparing a value takes. A number is read exactly: with its digits, and
// those its exponent stands for.
func weight(v any) (n int) {
	switch v := v.(type) {
	case json.Number:
		_, exponent, _ := strings.Cut(strings.ToLower(v.String()), "e")
		shift, _ := strconv.Atoi(exponent) // what is no number has no digits
		return unitsNumber + (len(v)+max(shift, -shift))/4
	case string:
		return 1 + len(v)/256
	case []any:
		n = unitsUnlike
		for _, item := range v {
			n += weight(item)
		}
		return n
	case map[string]any:
		n = unitsUnlike
		for name, member := range v {
			n += 2*weight(name) + weight(member)
		}
		return n
	}
	return 1
}
