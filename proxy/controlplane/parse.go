package controlplane

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"pannier/outbound"
	"pannier/proxy/api"
	"pannier/proxy/hostport"
	"pannier/proxy/mesh"
	"pannier/proxy/yaml"
)

// parser reads files of the form
//
//	paused: true                  # nobody sends anything
//	agents:
//	  agent://acme/prod/billing:
//	    endpoints:
//	      - 10.0.0.7:7401
//	      - {address: 10.0.0.8:7401, zone: b, region: eu, priority: 1, health: draining, subset: canary}
//	    policy: {max_requests: 100}
//	  agent://acme/prod/orders: [10.0.0.9:7401]
//	policies:                     # of those without one of their own
//	  agent://acme/prod/*: {per_try_timeout: 2s}
//
// so that a static peers file is one, too. A policy is as mesh.ReadPolicy reads
// it. An agent without endpoints says nothing of where it is; one with an empty
// list is nowhere.
type parser struct {
	update Update
	places map[string]string // where each agent was found
}

var (
	fileKeys  = []string{"agents", "policies", "paused"}
	agentKeys = []string{"endpoints", "policy"}
)

func unknown(file string, e yaml.Entry, of string, known []string) error {
	return yaml.ErrorAt(file, e.At, e.Key, "not a setting of "+of+yaml.DidYouMean(e.Key, known))
}

func (p *parser) file(file string, text []byte) error {
	top, err := yaml.ParseMapping(file, text)
	if err != nil {
		return err
	}
	if len(top) == 0 {
		// Half of a file that is just being written must not empty the world.
		return &yaml.Error{File: file, Line: 1 + bytes.Count(text, []byte("\n")), Column: 1, Text: `the file is empty, want "agents:"`}
	}
	var errs []error
	for _, e := range top {
		switch e.Key {
		case "agents":
			errs = append(errs, p.agents(file, e))
		case "policies":
			policies, err := mesh.ReadPolicies(file, e.Value, api.Grant)
			errs = append(errs, err)
			p.update.Policies = p.update.Policies.Over(policies)
		case "paused":
			paused, err := yaml.Bool(e.Value)
			errs = append(errs, yaml.Placed(err, file, e))
			p.update.Paused = p.update.Paused || paused
		default:
			errs = append(errs, unknown(file, e, "a file of agents", fileKeys))
		}
	}
	return errors.Join(errs...)
}

func (p *parser) agents(file string, agents yaml.Entry) error {
	list, err := yaml.EntriesOf(file, agents.Value)
	if err != nil {
		return yaml.ErrorAt(file, agents.Value.GetToken(), agents.Key, fmt.Sprintf("got %s, want a mapping of addresses", yaml.KindOf(agents.Value)))
	}
	var errs []error
	for _, e := range list {
		agent, err := api.Address(e.Key)
		if err != nil {
			errs = append(errs, yaml.ErrorAt(file, e.At, e.Key, err.Error()))
			continue
		}
		if where, twice := p.places[agent]; twice {
			errs = append(errs, yaml.ErrorAt(file, e.At, e.Key, "this address is listed twice, first in "+where))
			continue
		}
		p.places[agent] = fmt.Sprintf("%s:%d", file, e.At.Position.Line)
		s, err := readAgent(file, agent, e)
		if err == nil {
			// What Envoy's rules forbid, nobody would take.
			if broken := mesh.Build(s, nil).Validate(); broken != nil {
				err = yaml.ErrorAt(file, e.At, e.Key, broken.Error())
			}
		}
		errs = append(errs, err)
		p.update.Services = append(p.update.Services, s)
	}
	return errors.Join(errs...)
}

func readAgent(file, agent string, e yaml.Entry) (mesh.Service, error) {
	s := mesh.Service{Agent: agent}
	if _, short := e.Value.(*ast.SequenceNode); short {
		return s, readEndpoints(file, e, &s)
	}
	settings, err := yaml.EntriesOf(file, e.Value)
	if err != nil {
		return s, yaml.ErrorAt(file, e.Value.GetToken(), e.Key, fmt.Sprintf("got %s, want {endpoints, policy} or a list of HOST:PORT", yaml.KindOf(e.Value)))
	}
	var errs []error
	for _, setting := range settings {
		switch setting.Key {
		case "endpoints":
			errs = append(errs, readEndpoints(file, setting, &s))
		case "policy":
			var err error
			s.Policy, err = mesh.ReadPolicy(file, setting.Value)
			errs = append(errs, err)
		default:
			errs = append(errs, unknown(file, setting, "an agent", agentKeys))
		}
	}
	return s, errors.Join(errs...)
}

func readEndpoints(file string, e yaml.Entry, s *mesh.Service) error {
	list, ok := e.Value.(*ast.SequenceNode)
	if !ok {
		return yaml.ErrorAt(file, e.Value.GetToken(), e.Key, fmt.Sprintf("got %s, want a list of HOST:PORT or {address, …}", yaml.KindOf(e.Value)))
	}
	s.Endpoints, s.Hints = []outbound.Endpoint{}, map[string]mesh.Hint{}
	var errs []error
	for _, n := range list.Values {
		endpoint, hint, err := readEndpoint(file, e.Key, n)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if slices.ContainsFunc(s.Endpoints, func(other outbound.Endpoint) bool { return other.Address == endpoint.Address }) {
			errs = append(errs, yaml.ErrorAt(file, n.GetToken(), e.Key, endpoint.Address+" is listed twice"))
			continue
		}
		s.Endpoints = append(s.Endpoints, endpoint)
		if hint != (mesh.Hint{}) {
			s.Hints[endpoint.Address] = hint
		}
	}
	sortEndpoints(s.Endpoints)
	return errors.Join(errs...)
}

func readEndpoint(file, key string, n ast.Node) (endpoint outbound.Endpoint, hint mesh.Hint, err error) {
	if endpoint, err = mesh.ReadEndpoint(file, key, n, &hint.Region); err != nil {
		return endpoint, hint, err
	}
	if err := hostport.Dial(endpoint.Address); err != nil {
		return endpoint, hint, yaml.ErrorAt(file, n.GetToken(), key, err.Error())
	}
	endpoint.Address = mesh.Address(endpoint.Address)
	return endpoint, hint, nil
}
