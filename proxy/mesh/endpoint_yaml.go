package mesh

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml/ast"

	"pannier/outbound"
	"pannier/proxy/yaml"
)

// priorityMost is Envoy's bound of LocalityLbEndpoints.priority.
const priorityMost = 128

// ReadEndpoint reads an endpoint of a file of an operator's: its address alone,
// or a mapping with what discovery would say of it. key is whose it is, for
// complaints. Whether the address can be dialed is not looked at.
//
// region is where its region goes; nil: that is no setting there.
func ReadEndpoint(file, key string, n ast.Node, region *string) (outbound.Endpoint, error) {
	var e outbound.Endpoint
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
	default:
		s, ok := n.(*ast.StringNode)
		if !ok {
			return e, yaml.ErrorAt(file, n.GetToken(), key, fmt.Sprintf("got %s in the list, want a string", yaml.KindOf(n)))
		}
		e.Address = s.Value
		return e, nil
	}
	r := &policyReader{file: file, what: "an endpoint", places: map[string]yaml.Entry{}}
	fields := []field{
		{"address", yaml.StringSchema, into(&e.Address, yaml.String)},
		{"zone", yaml.StringSchema, into(&e.Zone, yaml.String)},
		{"priority", yaml.IntSchema, into(&e.Priority, priority)},
		{"subset", yaml.StringSchema, into(&e.Subset, yaml.String)},
		{"health", yaml.StringSchema, into(&e.Health, health)},
	}
	if region != nil {
		fields = append(fields, field{"region", yaml.StringSchema, into(region, yaml.String)})
	}
	r.mapping(n, "", fields)
	if len(r.errs) == 0 && e.Address == "" {
		r.errs = append(r.errs, yaml.ErrorAt(file, n.GetToken(), key, "an endpoint has an address"))
	}
	return e, errors.Join(r.errs...)
}

func priority(n ast.Node) (int, error) {
	v, err := yaml.Int(n)
	if err == nil && (v < 0 || v > priorityMost) {
		return 0, fmt.Errorf("%d; use 0 to %d, 0 first", v, priorityMost)
	}
	return v, err
}

func health(n ast.Node) (outbound.Health, error) {
	s, err := yaml.String(n)
	if err != nil {
		return 0, err
	}
	h, ok := outbound.ParseHealth(s)
	if !ok {
		return 0, fmt.Errorf("%q; use healthy, draining or unhealthy", s)
	}
	return h, nil
}
