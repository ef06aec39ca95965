package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/goccy/go-yaml/ast"

	"pannier/outbound"
	"pannier/proxy/api"
	"pannier/proxy/hostport"
	"pannier/proxy/mesh"
	"pannier/proxy/watch"
	"pannier/proxy/yaml"
)

// peersFile is the directory of endpoints for a sidecar without a control
// plane: a YAML file, watched. Of an endpoint that is more than an address the
// rest is what discovery would say of it; policies are as in the config file, and
// come before those: they may be changed while the sidecar runs.
//
//	agents:
//	  agent://acme/prod/billing: ["10.0.0.7:7401", "10.0.0.8:7401"]
//	  agent://acme/prod/ledger:
//	    - {address: "10.0.0.9:7401", zone: a, priority: 0, subset: stable, health: healthy}
//	    - {address: "10.1.0.9:7401", zone: b, priority: 1}
//	policies:
//	  agent://acme/prod/billing: {max_requests: 100, per_try_timeout: 2s}
//	  "*": {paused: true}
//
// The last good content stays in force whatever becomes of the file. Without
// a file the directory is known and empty.
type peersFile struct {
	watch.File

	mu struct {
		sync.Mutex
		self       []string // addresses that are this sidecar, normalized
		agents     map[string][]outbound.Endpoint
		own        mesh.Policies // of this file
		configured mesh.Policies // of the config file
		policies   mesh.Policies // both
		changed    chan struct{} // closed at the next change
	}
}

var _ directory = (*peersFile)(nil)

// openPeers reads the file for the first time, when an error is one of
// configuration. An empty path is no file.
func openPeers(path string, configured mesh.Policies, log *slog.Logger) (*peersFile, error) {
	f := &peersFile{File: watch.File{Key: "peers", Kind: "peers file", Path: path, Log: log}}
	f.Take = f.replace
	f.mu.configured, f.mu.policies = configured, configured
	f.mu.changed = make(chan struct{})
	return f, f.Open()
}

// replace makes a content the one in force.
func (f *peersFile) replace(text []byte) ([]any, error) {
	agents, policies, err := parsePeers(f.Path, text)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.agents, f.mu.own = agents, policies
	f.settle()
	return []any{"agents", len(agents), "policies", policies.Len()}, nil
}

// settle makes what both files say the policies in force.
func (f *peersFile) settle() {
	f.mu.policies = f.mu.own.Over(f.mu.configured)
	close(f.mu.changed)
	f.mu.changed = make(chan struct{})
}

// configure puts other policies of the config file into force.
func (f *peersFile) configure(configured mesh.Policies) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.configured = configured
	f.settle()
}

// IAm says which addresses in the file are this sidecar's own. Nobody dials
// itself: what this sidecar serves it takes without a wire.
func (f *peersFile) IAm(addresses ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range addresses {
		f.mu.self = append(f.mu.self, mesh.Address(a))
	}
}

// Endpoints implements outbound.Directory.
func (f *peersFile) Endpoints(agent string) (eps []outbound.Endpoint, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.mu.agents[agent] {
		if !slices.Contains(f.mu.self, e.Address) {
			eps = append(eps, e)
		}
	}
	return eps, true
}

// Policy implements outbound.Directory.
func (f *peersFile) Policy(agent string) outbound.Policy {
	f.mu.Lock()
	policies := f.mu.policies // never changed, only replaced
	f.mu.Unlock()
	return policies.For(agent)
}

// Changed implements outbound.Directory.
func (f *peersFile) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.changed
}

// Elsewhere reports whether an agent lives at other sidecars and not here.
func (f *peersFile) Elsewhere(agent string) (elsewhere, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.mu.agents[agent]
	here := slices.ContainsFunc(all, func(e outbound.Endpoint) bool { return slices.Contains(f.mu.self, e.Address) })
	return len(all) > 0 && !here, true
}

// parsePeers reads the content of a peers file: address to endpoints, in the
// file's order, and policies. All that is wrong is reported at once.
func parsePeers(file string, text []byte) (map[string][]outbound.Endpoint, mesh.Policies, error) {
	var policies mesh.Policies
	top, err := yaml.ParseMapping(file, text)
	if err != nil {
		return nil, policies, err
	}
	if len(top) == 0 {
		// Half of a file that is just being written must not empty the directory.
		return nil, policies, &yaml.Error{File: file, Line: 1 + bytes.Count(text, []byte("\n")), Column: 1, Text: `the file is empty, want "agents:"`}
	}
	agents := map[string][]outbound.Endpoint{}
	var errs []error
	for _, e := range top {
		switch e.Key {
		case "agents":
			errs = append(errs, addAgents(file, e, agents))
		case "policies":
			if policies, err = mesh.ReadPolicies(file, e.Value, api.Grant); err != nil {
				errs = append(errs, err)
			}
		default:
			errs = append(errs, yaml.ErrorAt(file, e.At, e.Key, `not a setting of a peers file, want "agents" or "policies"`))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, mesh.Policies{}, err
	}
	return agents, policies, nil
}

func addAgents(file string, e yaml.Entry, agents map[string][]outbound.Endpoint) error {
	list, err := yaml.EntriesOf(file, e.Value)
	if err != nil {
		return yaml.ErrorAt(file, e.Value.GetToken(), e.Key,
			fmt.Sprintf("got %s, want a mapping of addresses to lists of HOST:PORT", yaml.KindOf(e.Value)))
	}
	var errs []error
	for _, a := range list {
		errs = append(errs, addPeers(file, a, agents))
	}
	return errors.Join(errs...)
}

// addPeers reads one line of the file: an address and its endpoints.
func addPeers(file string, a yaml.Entry, agents map[string][]outbound.Endpoint) error {
	agent, err := api.Address(a.Key)
	if err != nil {
		return yaml.ErrorAt(file, a.At, a.Key, err.Error())
	}
	if _, twice := agents[agent]; twice {
		return yaml.ErrorAt(file, a.At, a.Key, "this address is listed twice")
	}
	list, ok := a.Value.(*ast.SequenceNode)
	if !ok {
		return yaml.ErrorAt(file, a.Value.GetToken(), a.Key, fmt.Sprintf("got %s, want a list", yaml.KindOf(a.Value)))
	}
	endpoints := make([]outbound.Endpoint, 0, len(list.Values))
	for _, item := range list.Values {
		e, err := mesh.ReadEndpoint(file, a.Key, item, nil)
		if err != nil {
			return err
		}
		if err := hostport.Dial(e.Address); err != nil {
			return yaml.ErrorAt(file, item.GetToken(), a.Key, err.Error())
		}
		written := e.Address
		e.Address = mesh.Address(e.Address)
		if slices.ContainsFunc(endpoints, func(x outbound.Endpoint) bool { return x.Address == e.Address }) {
			return yaml.ErrorAt(file, item.GetToken(), a.Key, fmt.Sprintf("%s is listed twice", written))
		}
		endpoints = append(endpoints, e)
	}
	agents[agent] = endpoints
	return nil
}
