package kubernetes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"

	"pannier/proxy/api"
)

// A claim is a Service that has an address.
type claim struct {
	service *core.Service
	account string // the only service account that may register its agent; empty: any of the namespace
}

// A refusal is a Service of the mesh that has none.
type refusal struct {
	service *core.Service
	reason  string // one of the Reasons
	text    string
}

// The reasons of the events that refused Services get.
const (
	ReasonTaken   = "AgentAddressTaken"   // another Service has the address
	ReasonRefused = "AgentAddressRefused" // it may not have it, or it is none
	ReasonNoPort  = "NoPeerPort"          // nobody could say where its sidecars listen
)

// scope is a namespace as far as addresses go.
type scope struct{ org, env string }

// prefix begins the addresses of the namespace.
func (s scope) prefix() string { return "agent://" + s.org + "/" + s.env + "/" }

// scopeOf reads what the admins wrote to a namespace.
func scopeOf(ns *core.Namespace) (s scope, err error) {
	if ns == nil {
		return s, fmt.Errorf("its namespace is not known here")
	}
	s = scope{ns.Annotations[AnnotationOrg], ns.Annotations[AnnotationEnv]}
	for _, part := range [...]struct{ key, value string }{{AnnotationOrg, s.org}, {AnnotationEnv, s.env}} {
		if part.value == "" {
			return s, fmt.Errorf("namespace %s has no annotation %s: without it nothing in it has an address", ns.Name, part.key)
		}
		if err := segment(part.value); err != nil {
			return s, fmt.Errorf("namespace %s: annotation %s: %w", ns.Name, part.key, err)
		}
	}
	return s, nil
}

// segment judges one part of an address.
func segment(s string) error {
	if strings.Contains(s, "/") {
		return fmt.Errorf("%q is more than one segment of an address", s)
	}
	_, err := api.Address(s)
	return err
}

// agentOf is the address that a Service asks for.
func agentOf(s *core.Service, in scope) (string, error) {
	name, full := s.Annotations[AnnotationAgentName], s.Annotations[AnnotationAgent]
	if name != "" {
		if err := segment(name); err != nil {
			return "", fmt.Errorf("annotation %s: %w", AnnotationAgentName, err)
		}
	}
	if full == "" {
		return api.Address(in.prefix() + cmp.Or(name, s.Name))
	}
	agent, err := api.Address(full)
	switch {
	case err != nil:
		return "", fmt.Errorf("annotation %s: %w", AnnotationAgent, err)
	case !strings.HasPrefix(agent, in.prefix()):
		return "", fmt.Errorf("annotation %s: %s is not of this namespace, whose addresses begin with %s", AnnotationAgent, agent, in.prefix())
	case name != "" && agent != in.prefix()+name:
		return "", fmt.Errorf("annotations %s and %s differ: %s and %s", AnnotationAgent, AnnotationAgentName, agent, name)
	}
	return agent, nil
}

// claims hands out the addresses. Of several Services that ask for one, the oldest
// has it, whatever else they say: who comes later takes nothing from anybody.
func claims(services []*core.Service, namespaces map[string]*core.Namespace) (held map[string]claim, refused []refusal) {
	services = slices.Clone(services)
	slices.SortFunc(services, func(a, b *core.Service) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	held = map[string]claim{}
	refuse := func(s *core.Service, reason, text string) {
		refused = append(refused, refusal{s, reason, brief(text)})
	}
	for _, s := range services {
		in, err := scopeOf(namespaces[s.Namespace])
		var agent string
		if err == nil {
			agent, err = agentOf(s, in)
		}
		other, taken := held[agent]
		switch {
		case err != nil:
			refuse(s, ReasonRefused, err.Error())
		case !slices.ContainsFunc(s.Spec.Ports, func(p core.ServicePort) bool { return peerPort(p.Name, p.AppProtocol, p.Protocol) }):
			refuse(s, ReasonNoPort, fmt.Sprintf("no TCP port is named %s or has the appProtocol %s", PortName, AppProtocol))
		case taken:
			refuse(s, ReasonTaken, fmt.Sprintf("%s belongs to the Service %s/%s, which is older", agent, other.service.Namespace, other.service.Name))
		case len(held) >= maxAgents:
			refuse(s, ReasonRefused, fmt.Sprintf("%d agents are known, no more are taken", maxAgents))
		default:
			held[agent] = claim{service: s, account: s.Annotations[AnnotationAccount]}
		}
	}
	return held, refused
}

// peerPort reports whether a port is where sidecars listen.
func peerPort(name string, appProtocol *string, protocol core.Protocol) bool {
	return (protocol == core.ProtocolTCP || protocol == "") &&
		(name == PortName || appProtocol != nil && *appProtocol == AppProtocol)
}
