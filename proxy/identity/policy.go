package identity

import (
	"fmt"
	"slices"
	"strings"

	"pannier/proxy/api"
)

// Policy says who may send to whom, at the sidecar of the receiver: what its
// rules allow, and nothing else. Nil is the default: agents of one org.
type Policy []Rule

// A Rule allows the agents From to send to the agents To. All are addresses,
// "PREFIX/*" or "*", canonical as api.Grant makes them. Types are intent types or
// "PREFIX.*"; none is every type.
type Rule struct {
	From, To, Types []string
}

// check returns why an intent is not allowed; nil: it is.
func (p Policy) check(from, to, intentType string) error {
	if p != nil {
		for _, r := range p {
			if covered(r.From, from) && covered(r.To, to) && r.takes(intentType) {
				return nil
			}
		}
		return fmt.Errorf("%s may not send %s to %s: no rule under allow says so", from, intentType, to)
	}
	if orgOf(from) != orgOf(to) {
		return fmt.Errorf("%s may not send to %s, which is of another org: a rule under allow can say so", from, to)
	}
	return nil
}

// tells reports whether one of the agents that the grants stand for may send
// something to an agent.
func (p Policy) tells(grants []string, to string) bool {
	return slices.ContainsFunc(grants, func(grant string) bool {
		if p == nil {
			return grant == "*" || orgOf(grant) == orgOf(to)
		}
		return slices.ContainsFunc(p, func(r Rule) bool {
			return covered(r.To, to) && slices.ContainsFunc(r.From, func(from string) bool { return overlap(from, grant) })
		})
	})
}

func (r Rule) takes(intentType string) bool {
	return len(r.Types) == 0 || slices.ContainsFunc(r.Types, func(t string) bool {
		prefix, wild := strings.CutSuffix(t, "*")
		return t == intentType || wild && strings.HasPrefix(intentType, prefix)
	})
}

func covered(grants []string, agent string) bool {
	return slices.ContainsFunc(grants, func(g string) bool { return api.Covers(g, agent) })
}

// overlap reports whether some agent is meant by both grants.
func overlap(a, b string) bool {
	if a == b || api.Covers(a, b) || api.Covers(b, a) {
		return true
	}
	x, wildX := strings.CutSuffix(a, "*")
	y, wildY := strings.CutSuffix(b, "*")
	return wildX && wildY && (strings.HasPrefix(x, y) || strings.HasPrefix(y, x))
}

// orgOf is the scheme and the first segment of an address. Bare names have
// none, and so are of one.
func orgOf(address string) string {
	scheme, path, ok := strings.Cut(address, "://")
	if !ok {
		return ""
	}
	org, _, _ := strings.Cut(path, "/")
	return scheme + "://" + org
}

// CheckType says what is wrong with an entry of Types.
func CheckType(s string) error {
	words := strings.TrimSuffix(s, ".*")
	if s == "*" || words != "" && strings.Trim(words, "abcdefghijklmnopqrstuvwxyz0123456789_.") == "" {
		return nil
	}
	return fmt.Errorf(`%q is no intent type, "PREFIX.*" or "*"`, s)
}

// MaySend returns nil where the policy of this sidecar lets an intent through,
// whoever brings it.
func (t *Trust) MaySend(from, to, intentType string) error {
	return t.opt.Allow.check(from, to, intentType)
}
