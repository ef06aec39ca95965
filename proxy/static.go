package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"

	"pannier/outbound"
	"pannier/proxy/api"
	"pannier/proxy/yaml"
)

// peersFile is the directory of endpoints for a sidecar without a control
// plane: a YAML file, watched.
//
//	agents:
//	  agent://acme/prod/billing: ["10.0.0.7:7401", "10.0.0.8:7401"]
//
// The last good content stays in force whatever becomes of the file. Without
// a file the directory is known and empty.
type peersFile struct {
	watchedFile

	mu struct {
		sync.Mutex
		self    []string // addresses that are this sidecar, normalized
		agents  map[string][]string
		changed chan struct{} // closed at the next change
	}
}

var _ outbound.Directory = (*peersFile)(nil)

// openPeers reads the file for the first time, when an error is one of
// configuration. An empty path is no file.
func openPeers(path string, log *slog.Logger) (*peersFile, error) {
	f := &peersFile{watchedFile: watchedFile{key: "peers", kind: "peers file", path: path, log: log}}
	f.take = f.replace
	f.mu.changed = make(chan struct{})
	return f, f.open()
}

// replace makes a content the one in force.
func (f *peersFile) replace(text []byte) ([]any, error) {
	agents, err := parsePeers(f.path, text)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.agents = agents
	close(f.mu.changed)
	f.mu.changed = make(chan struct{})
	return []any{"agents", len(agents)}, nil
}

// iAm says which addresses in the file are this sidecar's own. Nobody dials
// itself: what this sidecar serves it takes without a wire.
func (f *peersFile) iAm(addresses ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range addresses {
		f.mu.self = append(f.mu.self, normalize(a))
	}
}

// Endpoints implements outbound.Directory.
func (f *peersFile) Endpoints(agent string) (eps []outbound.Endpoint, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.mu.agents[agent] {
		if !slices.Contains(f.mu.self, a) {
			eps = append(eps, outbound.Endpoint{Address: a})
		}
	}
	return eps, true
}

// Policy implements outbound.Directory.
func (f *peersFile) Policy(string) outbound.Policy { return outbound.Policy{} }

// Changed implements outbound.Directory.
func (f *peersFile) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.changed
}

// elsewhere reports whether an agent lives at other sidecars and not here.
func (f *peersFile) elsewhere(agent string) (elsewhere, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.mu.agents[agent]
	here := slices.ContainsFunc(all, func(a string) bool { return slices.Contains(f.mu.self, a) })
	return len(all) > 0 && !here, true
}

// parsePeers reads the content of a peers file: address to endpoints, in the
// file's order. All that is wrong is reported at once.
func parsePeers(file string, text []byte) (map[string][]string, error) {
	top, err := yaml.ParseMapping(file, text)
	if err != nil {
		return nil, err
	}
	if len(top) == 0 {
		// Half of a file that is just being written must not empty the directory.
		return nil, &yaml.Error{File: file, Line: 1 + bytes.Count(text, []byte("\n")), Column: 1, Text: `the file is empty, want "agents:"`}
	}
	agents := map[string][]string{}
	var errs []error
	for _, e := range top {
		if e.Key != "agents" {
			errs = append(errs, yaml.ErrorAt(file, e.At, e.Key, `not a setting of a peers file, want "agents"`))
			continue
		}
		list, err := yaml.EntriesOf(file, e.Value)
		if err != nil {
			errs = append(errs, yaml.ErrorAt(file, e.Value.GetToken(), e.Key,
				fmt.Sprintf("got %s, want a mapping of addresses to lists of HOST:PORT", yaml.KindOf(e.Value))))
			continue
		}
		for _, a := range list {
			errs = append(errs, addPeers(file, a, agents))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return agents, nil
}

// addPeers reads one line of the file: an address and its endpoints.
func addPeers(file string, a yaml.Entry, agents map[string][]string) error {
	agent, err := api.Address(a.Key)
	if err != nil {
		return yaml.ErrorAt(file, a.At, a.Key, err.Error())
	}
	if _, twice := agents[agent]; twice {
		return yaml.ErrorAt(file, a.At, a.Key, "this address is listed twice")
	}
	items, err := yaml.StringsOf(file, a.Key, a.Value)
	if err != nil {
		return err
	}
	endpoints := make([]string, 0, len(items))
	for _, item := range items {
		if err := checkHostPort(item.Key); err != nil {
			return yaml.ErrorAt(file, item.At, a.Key, err.Error())
		}
		endpoint := normalize(item.Key)
		if slices.Contains(endpoints, endpoint) {
			return yaml.ErrorAt(file, item.At, a.Key, fmt.Sprintf("%s is listed twice", item.Key))
		}
		endpoints = append(endpoints, endpoint)
	}
	agents[agent] = endpoints
	return nil
}

// normalize makes two spellings of one address equal: a host is compared
// without regard to case, and localhost is 127.0.0.1.
func normalize(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	host = strings.ToLower(host)
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip := net.ParseIP(host); ip != nil {
		host = ip.String()
	}
	return net.JoinHostPort(host, port)
}
