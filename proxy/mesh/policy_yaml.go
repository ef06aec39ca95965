package mesh

import (
	"errors"
	"fmt"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"pannier/outbound"
	"pannier/proxy/yaml"
)

// policyReader reads the mapping of one policy, and remembers where each key
// stands: what is wrong with the whole is said there.
type policyReader struct {
	file   string
	what   string // it reads, for complaints
	policy outbound.Policy
	places map[string]yaml.Entry // by the key of PolicyError
	errs   []error
}

// field is one key of a mapping. read returns only what is wrong with the
// value: its place and key are added.
type field struct {
	key    string
	schema yaml.Schema
	read   func(ast.Node) error
}

// ReadPolicy reads a traffic policy from a file of an operator's:
//
//	paused: true
//	max_requests: 100
//	per_try_timeout: 2s
//	backoff: {base: 100ms, max: 10s}
//	breaker: {consecutive: 5, interval: 1m, base_ejection: 5s, max_ejection: 5m, max_ejection_percent: 50}
//	fault: {delay: 100ms, delay_percent: 10, abort_percent: 0.5}
//	split: [{subset: stable, weight: 95}, {subset: canary, weight: 5}]
//
// All that is wrong is reported at once, each with its place.
func ReadPolicy(file string, n ast.Node) (outbound.Policy, error) {
	r := &policyReader{file: file, what: "a policy", places: map[string]yaml.Entry{}}
	r.mapping(n, "", r.fields())
	r.complain(r.policy.Validate())
	if err := errors.Join(r.errs...); err != nil {
		return outbound.Policy{}, err
	}
	return r.policy, nil
}

// PolicySchema is the schema of what ReadPolicy reads.
func PolicySchema() yaml.Schema { return schemaOf((&policyReader{}).fields()) }

// fields are the keys of a policy.
func (r *policyReader) fields() []field {
	p := &r.policy
	return []field{
		{"paused", yaml.BoolSchema, into(&p.Paused, yaml.Bool)},
		{"max_requests", yaml.PositiveSchema, into(&p.MaxRequests, positive)},
		{"per_try_timeout", yaml.DurationSchema, into(&p.PerTryTimeout, yaml.Duration)},
		r.below("backoff", []field{
			{"base", yaml.DurationSchema, into(&p.Backoff.Base, yaml.Duration)},
			{"max", yaml.DurationSchema, into(&p.Backoff.Max, yaml.Duration)},
		}),
		r.below("breaker", []field{
			{"consecutive", yaml.PositiveSchema, into(&p.Breaker.Consecutive, positive)},
			{"interval", yaml.DurationSchema, into(&p.Breaker.Interval, yaml.Duration)},
			{"base_ejection", yaml.DurationSchema, into(&p.Breaker.BaseEjection, yaml.Duration)},
			{"max_ejection", yaml.DurationSchema, into(&p.Breaker.MaxEjection, yaml.Duration)},
			{"max_ejection_percent", yaml.PositiveSchema, into(&p.Breaker.MaxEjectionPercent, positive)},
		}),
		r.below("fault", []field{
			{"delay", yaml.DurationSchema, into(&p.Fault.Delay, yaml.Duration)},
			{"delay_percent", yaml.NumberSchema, into(&p.Fault.DelayPercent, yaml.Number)},
			{"abort_percent", yaml.NumberSchema, into(&p.Fault.AbortPercent, yaml.Number)},
		}),
		{"split", yaml.ListOf(schemaOf(shareFields(&outbound.Share{}), "subset", "weight")), r.split},
	}
}

func shareFields(s *outbound.Share) []field {
	return []field{{"subset", yaml.StringSchema, into(&s.Subset, yaml.String)}, {"weight", yaml.IntSchema, into(&s.Weight, yaml.Int)}}
}

func schemaOf(fields []field, required ...string) yaml.Schema {
	properties := map[string]yaml.Schema{}
	for _, f := range fields {
		properties[f.key] = f.schema
	}
	return yaml.Object(properties, required...)
}

// into sets a field by the reader of its type.
func into[T any](to *T, read func(ast.Node) (T, error)) func(ast.Node) error {
	return func(n ast.Node) error {
		v, err := read(n)
		if err == nil {
			*to = v
		}
		return err
	}
}

// positive is an integer above 0: in a policy 0 would mean that nothing is said.
func positive(n ast.Node) (int, error) {
	v, err := yaml.Int(n)
	if err == nil && v < 1 {
		return 0, fmt.Errorf("%d; use at least 1, or leave it out", v)
	}
	return v, err
}

// mapping reads the keys of a mapping, and complains of the others.
func (r *policyReader) mapping(n ast.Node, prefix string, fields []field) {
	entries, err := yaml.EntriesOf(r.file, n)
	if err != nil {
		r.errs = append(r.errs, err)
		return
	}
	known := make([]string, len(fields))
	for i, f := range fields {
		known[i] = f.key
	}
	for _, e := range entries {
		i := slices.Index(known, e.Key)
		e.Key = prefix + e.Key
		if i < 0 {
			r.errs = append(r.errs, yaml.ErrorAt(r.file, e.At, e.Key, "not a setting of "+r.what+yaml.DidYouMean(e.Key[len(prefix):], known)))
			continue
		}
		r.places[e.Key] = e
		if err := yaml.Placed(fields[i].read(e.Value), r.file, e); err != nil {
			r.errs = append(r.errs, err)
		}
	}
}

// below is a key with a mapping under it.
func (r *policyReader) below(key string, fields []field) field {
	return field{key, schemaOf(fields), func(n ast.Node) error {
		r.mapping(n, key+".", fields)
		return nil
	}}
}

func (r *policyReader) split(n ast.Node) error {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		return fmt.Errorf("got %s, want a list of {subset, weight}", yaml.KindOf(n))
	}
	for _, item := range list.Values {
		s := outbound.Share{Weight: -1}
		bad := len(r.errs)
		r.mapping(item, "split.", shareFields(&s))
		if len(r.errs) == bad && s.Weight == -1 {
			r.errs = append(r.errs, yaml.ErrorAt(r.file, item.GetToken(), "split", "a share has a subset and a weight, such as {subset: stable, weight: 95}"))
			s.Weight = 0
		}
		r.policy.Split = append(r.policy.Split, s)
	}
	return nil
}

// complain gives the complaints of Validate their places. Where the file was
// misread in the first place they would only repeat it.
func (r *policyReader) complain(err error) {
	if len(r.errs) > 0 || err == nil {
		return
	}
	for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
		var of *outbound.PolicyError
		if !errors.As(err, &of) {
			r.errs = append(r.errs, err)
			continue
		}
		r.errs = append(r.errs, yaml.Placed(errors.New(of.Text), r.file, r.places[of.Key]))
	}
}
