package identityfile

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml/ast"

	"pannier/proxy/api"
	"pannier/proxy/identity"
	"pannier/proxy/watch"
	"pannier/proxy/yaml"
)

// mappingsMost and rulesMost bound what is looked through at each handshake, and
// at each offer.
const (
	mappingsMost = 1000
	rulesMost    = 1000
)

// Mappings reads which agents the names of certificates stand for.
//
//	identities:
//	  "spiffe://acme.example/ns/{env}/sa/{name}": ["agent://acme/{env}/{name}"]
func Mappings(file string, n ast.Node) (mappings []identity.Mapping, err error) {
	entries, err := yaml.EntriesOf(file, n)
	if err != nil {
		return nil, yaml.ErrorAt(file, n.GetToken(), "identities", fmt.Sprintf("got %s, want a mapping of names of certificates to lists of agents", yaml.KindOf(n)))
	}
	if len(entries) > mappingsMost {
		return nil, fmt.Errorf("%d entries, at most %d are read", len(entries), mappingsMost)
	}
	var errs []error
	for _, e := range entries {
		items, err := yaml.StringsOf(file, e.Key, e.Value)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		agents := make([]string, len(items))
		for i, item := range items {
			agents[i] = item.Key
		}
		m, err := identity.NewMapping(e.Key, agents)
		if err != nil {
			errs = append(errs, yaml.ErrorAt(file, e.At, "identities", err.Error()))
			continue
		}
		mappings = append(mappings, m)
	}
	return mappings, errors.Join(errs...)
}

// ReadMappings reads a file of mappings, which has them as a sidecar's config file
// has them and nothing else.
func ReadMappings(path string) ([]identity.Mapping, error) {
	text, err := watch.ReadBounded(path)
	if err != nil {
		return nil, fmt.Errorf("identities: %w", err)
	}
	entries, err := yaml.ParseMapping(path, text)
	if err != nil {
		return nil, err
	}
	var mappings []identity.Mapping
	var errs []error
	for _, e := range entries {
		if e.Key != "identities" {
			errs = append(errs, yaml.ErrorAt(path, e.At, e.Key, `not a setting of a file of identities, want "identities"`))
			continue
		}
		mappings, err = Mappings(path, e.Value)
		errs = append(errs, yaml.Placed(err, path, e))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if len(mappings) == 0 {
		return nil, fmt.Errorf("identities: %s names nobody; leave the setting out where certificates name their agents themselves", path)
	}
	return mappings, nil
}

// Policy reads who may send to whom; what it does not list is refused.
//
//	allow:
//	  - from: ["agent://partner/prod/*"]
//	    to: ["agent://acme/prod/billing"]
//	    types: ["order.*"]   # left out: every type
func Policy(file string, n ast.Node) (identity.Policy, error) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		return nil, fmt.Errorf("got %s, want a list of {from, to, types}", yaml.KindOf(n))
	}
	if len(list.Values) > rulesMost {
		return nil, fmt.Errorf("%d entries, at most %d are read", len(list.Values), rulesMost)
	}
	policy := identity.Policy{}
	var errs []error
	for _, v := range list.Values {
		r, err := parseRule(file, v)
		policy, errs = append(policy, r), append(errs, err)
	}
	return policy, errors.Join(errs...)
}

// RuleSchema is the schema of one rule of a policy.
var RuleSchema = yaml.Object(map[string]yaml.Schema{
	"from": yaml.ListOf(yaml.StringSchema), "to": yaml.ListOf(yaml.StringSchema), "types": yaml.ListOf(yaml.StringSchema),
}, "from", "to")

func parseRule(file string, n ast.Node) (r identity.Rule, err error) {
	entries, err := yaml.EntriesOf(file, n)
	if err != nil {
		return r, err
	}
	var errs []error
	for _, e := range entries {
		switch e.Key {
		case "from":
			r.From, err = grantsOf(file, e)
		case "to":
			r.To, err = grantsOf(file, e)
		case "types":
			r.Types, err = typesOf(file, e)
		default:
			err = yaml.ErrorAt(file, e.At, e.Key, "not a setting of a rule, want from, to and types")
		}
		errs = append(errs, err)
	}
	if (r.From == nil || r.To == nil) && errors.Join(errs...) == nil {
		errs = append(errs, yaml.ErrorAt(file, n.GetToken(), "allow", "a rule has from and to"))
	}
	return r, errors.Join(errs...)
}

func typesOf(file string, e yaml.Entry) (types []string, err error) {
	items, err := yaml.StringsOf(file, e.Key, e.Value)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, yaml.ErrorAt(file, e.Value.GetToken(), e.Key, "the list is empty: leave it out for every type")
	}
	var errs []error
	for _, item := range items {
		if err := identity.CheckType(item.Key); err != nil {
			errs = append(errs, yaml.ErrorAt(file, item.At, e.Key, err.Error()))
		}
		types = append(types, item.Key)
	}
	return types, errors.Join(errs...)
}

// grantsOf reads a list of addresses, "PREFIX/*" and "*".
func grantsOf(file string, e yaml.Entry) (grants []string, err error) {
	items, err := yaml.StringsOf(file, e.Key, e.Value)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, yaml.ErrorAt(file, e.Value.GetToken(), e.Key, "the list is empty")
	}
	var errs []error
	for _, item := range items {
		g, err := api.Grant(item.Key)
		if err != nil {
			errs = append(errs, yaml.ErrorAt(file, item.At, e.Key, `not an address, "PREFIX/*" or "*"`))
			continue
		}
		grants = append(grants, g)
	}
	return grants, errors.Join(errs...)
}
