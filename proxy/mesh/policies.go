package mesh

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"pannier/outbound"
	"pannier/proxy/yaml"
)

// Policies are traffic policies by agent: of one address, of all below a prefix
// ("agent://acme/prod/*"), or of all ("*"). The zero value says nothing of any.
type Policies struct {
	of   map[string]outbound.Policy // by address
	wild []patterned                // the longest first
}

// patterned is the policy of all whose address begins so.
type patterned struct {
	prefix string
	policy outbound.Policy
}

const everyAgent = "*"

// ReadPolicies reads a mapping of patterns to policies. canonical gives the one
// spelling of an address or a pattern, or says what is wrong with it.
func ReadPolicies(file string, n ast.Node, canonical func(string) (string, error)) (Policies, error) {
	entries, err := yaml.EntriesOf(file, n)
	if err != nil {
		return Policies{}, yaml.ErrorAt(file, n.GetToken(), "policies", fmt.Sprintf("got %s, want a mapping of addresses, \"PREFIX/*\" or \"*\" to policies", yaml.KindOf(n)))
	}
	all := Policies{of: map[string]outbound.Policy{}}
	seen := map[string]bool{}
	var errs []error
	for _, e := range entries {
		pattern, err := canonical(e.Key)
		switch {
		case err != nil:
			errs = append(errs, yaml.ErrorAt(file, e.At, e.Key, err.Error()))
			continue
		case seen[pattern]:
			errs = append(errs, yaml.ErrorAt(file, e.At, e.Key, "this address is listed twice"))
			continue
		}
		seen[pattern] = true
		policy, err := ReadPolicy(file, e.Value)
		if err != nil {
			errs = append(errs, err)
		}
		if prefix, wild := strings.CutSuffix(pattern, everyAgent); wild {
			all.wild = append(all.wild, patterned{prefix, policy})
		} else {
			all.of[pattern] = policy
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Policies{}, err
	}
	all.sort()
	return all, nil
}

func (p *Policies) sort() {
	slices.SortStableFunc(p.wild, func(a, b patterned) int { return len(b.prefix) - len(a.prefix) })
}

// Over returns these policies before those of another source: where both have
// one pattern, it is ours that counts.
func (p Policies) Over(other Policies) Policies {
	both := Policies{of: maps.Clone(other.of), wild: slices.Concat(p.wild, other.wild)}
	if both.of == nil {
		both.of = map[string]outbound.Policy{}
	}
	maps.Copy(both.of, p.of)
	both.sort()
	return both
}

// For returns the policy of an agent: that of its address, or of the longest
// pattern. Nothing is merged, but the pauses: an agent is paused where any pattern
// of it says so, or "*" could not stop everything.
func (p Policies) For(agent string) outbound.Policy {
	found, known := p.of[agent]
	for _, x := range p.wild {
		if !strings.HasPrefix(agent, x.prefix) {
			continue
		}
		if !known {
			found, known = x.policy, true
		}
		found.Paused = found.Paused || x.policy.Paused
	}
	return found
}

// Len is how many patterns there are.
func (p Policies) Len() int { return len(p.of) + len(p.wild) }
