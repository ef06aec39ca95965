package identity

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// Keep names the agents that this sidecar serves. From then on no identity takes
// the place of one in force that is for one of them and the new one is not: peers
// would refuse for good what is sent in that agent's name, and nothing is wrong with
// it. A mistake in a rotation must not be the end of a backlog.
func (t *Trust) Keep(agents []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.keeps = slices.Clone(agents)
}

// succeeds returns why m may not take the place of what is in force. Where that
// does not hold any more, or not yet, there is nothing to lose. A start asks
// nothing of this: what the operator has then, is meant.
func (t *Trust) succeeds(m *material, now time.Time) error {
	t.mu.Lock()
	was, keeps := t.mu.source, t.mu.keeps
	t.mu.Unlock()
	if was == nil || now.Before(was.own.Leaf.NotBefore) || now.After(was.own.Leaf.NotAfter) {
		return nil
	}
	if from := m.own.Leaf.NotBefore; now.Before(from) {
		return fmt.Errorf("the certificate of %s is not valid before %s: it is taken then", m.self(), from.UTC().Format(time.RFC3339))
	}
	for _, use := range [...]x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		if issuedFor(was.own.Leaf, use) && !issuedFor(m.own.Leaf, use) {
			return fmt.Errorf("the certificate of %s is not issued for clients and servers, as the one in force is: no peer would take it", m.self())
		}
	}
	before, after := was.grants(&t.opt), m.grants(&t.opt)
	for _, agent := range keeps {
		if covered(before, agent) && !covered(after, agent) {
			return fmt.Errorf("%s is not for %s, which this sidecar serves and %s is for: if it is meant, restart", m.self(), agent, was.self())
		}
	}
	return nil
}

// issuedFor reports whether a certificate is good for a use (RFC 5280, 4.2.1.12:
// one that says nothing is good for all).
func issuedFor(leaf *x509.Certificate, use x509.ExtKeyUsage) bool {
	return len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) == 0 ||
		slices.Contains(leaf.ExtKeyUsage, use) || slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// self is what peers call whoever shows the material.
func (m *material) self() string {
	if m.ring != nil {
		return m.ring.own.String()
	}
	return m.names.String()
}

// grants are the agents that whoever shows the material may speak for, as it would
// judge itself.
func (m *material) grants(o *Options) []string {
	if m.ring != nil {
		return m.ring.own.Agents
	}
	return agentsOf(m.names, o.Identities)
}
