package identity

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"pannier/proxy/api"
)

// names are what a certificate says of its subject, in the two kinds of subject
// alternative name (RFC 5280, 4.2.1.6) that a mapping can name. The common name
// counts for nothing.
type names struct {
	spiffe spiffeid.ID // zero: none
	uris   []string
	dns    []string // lower case
}

const (
	// namesMost bounds the names of one certificate that are looked at.
	namesMost = 64
	// nameMost bounds one of them, as SPIFFE-ID, 2.3 does: it ends up in logs.
	nameMost = 2048
)

// namesOf reads the names of a leaf. One with a SPIFFE ID has no other URI
// (X.509-SVID, 2): else it could be taken for two.
func namesOf(leaf *x509.Certificate) (n names, err error) {
	if len(leaf.URIs)+len(leaf.DNSNames) > namesMost {
		return n, fmt.Errorf("its certificate has more than %d names", namesMost)
	}
	for _, u := range leaf.URIs {
		if len(u.String()) > nameMost {
			return n, fmt.Errorf("its certificate has a name of more than %d bytes", nameMost)
		}
		if u.Scheme == "spiffe" {
			if n.spiffe, err = spiffeid.FromURI(u); err != nil {
				return n, fmt.Errorf("%q in its certificate is no SPIFFE ID: %w", u, err)
			}
		}
		n.uris = append(n.uris, u.String())
	}
	if !n.spiffe.IsZero() && len(n.uris) > 1 {
		return n, errors.New("its certificate has another URI beside its SPIFFE ID: issue it with one")
	}
	for _, d := range leaf.DNSNames {
		if len(d) > nameMost {
			return n, fmt.Errorf("its certificate has a name of more than %d bytes", nameMost)
		}
		n.dns = append(n.dns, strings.ToLower(strings.TrimSuffix(d, ".")))
	}
	return n, nil
}

// String is how the subject is called in logs and errors.
func (n names) String() string {
	switch {
	case len(n.uris) > 0:
		return n.uris[0]
	case len(n.dns) > 0:
		return n.dns[0]
	}
	return "a certificate without a URI or DNS name"
}

// A Mapping says which agents the certificates with a name may speak for. The
// name is a URI or a DNS name in which a whole segment, between slashes or dots,
// may be "*" or "{word}", which stand for no segment with an escape (%2F) or a
// query; agents are addresses, "PREFIX/*" or "*", and may have "{word}" for a
// segment:
//
//	spiffe://acme.example/ns/{env}/sa/{name}  →  agent://acme/{env}/{name}
type Mapping struct {
	name   string
	parts  []string
	uri    bool
	agents []string
}

// NewMapping reads one mapping.
func NewMapping(name string, agents []string) (Mapping, error) {
	m := Mapping{name: name, agents: agents}
	if len(agents) == 0 {
		return m, errors.New("names no agent; list those it may speak for")
	}
	m.uri = strings.Contains(name, "://")
	if !m.uri {
		m.name = strings.ToLower(name)
	}
	m.parts = split(m.name, m.uri)
	words := map[string]bool{}
	for i, part := range m.parts {
		word, wild := wildcard(part)
		switch {
		case part == "":
			return m, fmt.Errorf("%q has an empty segment", name)
		case m.uri && i == 0 && strings.ContainsAny(part, "*{}"):
			return m, fmt.Errorf("%q: what stands before the path is named in full", name)
		case wild && word != "" && words[word]:
			return m, fmt.Errorf("%q has {%s} twice", name, word)
		case !wild && strings.ContainsAny(part, "*{}"):
			return m, fmt.Errorf("%q: \"*\" or \"{word}\" stands for a whole segment", name)
		}
		words[word] = true
	}
	for _, agent := range agents {
		if err := m.checkAgent(agent, words); err != nil {
			return m, err
		}
	}
	return m, nil
}

// checkAgent reads an agent of the mapping with a word in each place.
func (m Mapping) checkAgent(agent string, words map[string]bool) error {
	for segment := range strings.SplitSeq(agent, "/") {
		if word, wild := wildcard(segment); wild && word != "" && !words[word] {
			return fmt.Errorf("%q: {%s} is not in %q", agent, word, m.name)
		}
	}
	_, err := api.Grant(fill(agent, func(string) string { return "x" }))
	return err
}

// split cuts a name into its segments; the first of a URI is all before its path.
func split(name string, uri bool) []string {
	if !uri {
		return strings.Split(name, ".")
	}
	scheme, rest, _ := strings.Cut(name, "://")
	parts := strings.Split(rest, "/")
	parts[0] = scheme + "://" + parts[0]
	return parts
}

// wildcard reads a segment that stands for any; the word may be empty.
func wildcard(part string) (word string, wild bool) {
	if part == "*" {
		return "", true
	}
	if len(part) > 2 && part[0] == '{' && part[len(part)-1] == '}' {
		word = part[1 : len(part)-1]
		return word, strings.Trim(word, "abcdefghijklmnopqrstuvwxyz_0123456789") == ""
	}
	return "", false
}

// fill puts values in the place of the words of an agent.
func fill(agent string, value func(word string) string) string {
	parts := strings.Split(agent, "/")
	for i, part := range parts {
		if word, wild := wildcard(part); wild && word != "" {
			parts[i] = value(word)
		}
	}
	return strings.Join(parts, "/")
}

// grants returns the agents of a name, none where it is not meant.
func (m Mapping) grants(name string, uri bool) (agents []string) {
	parts := split(name, uri)
	if uri != m.uri || len(parts) != len(m.parts) {
		return nil
	}
	words := map[string]string{}
	for i, want := range m.parts {
		switch word, wild := wildcard(want); {
		case wild && parts[i] != "" && !strings.ContainsAny(parts[i], "%?#"):
			words[word] = parts[i]
		case want != parts[i]: // also where more than a segment may be meant: a%2Fb, a?b
			return nil
		}
	}
	for _, agent := range m.agents {
		// A value that is no segment of an address, "*" among them, grants nothing.
		strange := false
		filled := fill(agent, func(word string) string {
			_, err := api.Address(words[word])
			strange = strange || err != nil || strings.Contains(words[word], "/")
			return words[word]
		})
		if grant, err := api.Grant(filled); err == nil && !strange {
			agents = append(agents, grant)
		}
	}
	return agents
}

const (
	// agentPath begins the path of a SPIFFE ID that names its agent itself:
	// spiffe://TRUST-DOMAIN/agent/org/env/name is agent://org/env/name.
	agentPath = "/agent/"
	agentURI  = "agent://"
)

// agentsOf returns the agents a certificate may speak for, by the mappings, or
// where there are none by the names that say it themselves.
func agentsOf(n names, mappings []Mapping) (agents []string) {
	add := func(grants ...string) {
		for _, g := range grants {
			if !slices.Contains(agents, g) {
				agents = append(agents, g)
			}
		}
	}
	for _, m := range mappings {
		for _, uri := range n.uris {
			add(m.grants(uri, true)...)
		}
		for _, name := range n.dns {
			add(m.grants(name, false)...)
		}
	}
	if len(mappings) > 0 {
		return agents
	}
	if path, ok := strings.CutPrefix(n.spiffe.Path(), agentPath); ok {
		if agent, err := api.Address(path); err == nil {
			add(agent)
		}
	}
	for _, uri := range n.uris {
		if path, ok := strings.CutPrefix(uri, agentURI); ok {
			if agent, err := api.Address(path); err == nil {
				add(agent)
			}
		}
	}
	return agents
}

// domainsOf are the trust domains that the mappings name.
func domainsOf(mappings []Mapping) (domains []string) {
	for _, m := range mappings {
		if domain, ok := strings.CutPrefix(m.parts[0], "spiffe://"); ok {
			domains = append(domains, domain)
		}
	}
	return domains
}
