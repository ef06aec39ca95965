package proxy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"pannier/proxy/api"
	"pannier/proxy/hostport"
	"pannier/proxy/mesh"
	"pannier/proxy/notify"
	"pannier/proxy/watch"
	"pannier/proxy/yaml"
)

// A Place is where a config file gives a setting, and as what.
type Place struct {
	Line  int
	Value string // the value as JSON

	file  string
	entry yaml.Entry
}

// Blame gives a complaint about the setting, or several, the place of its value.
func (p Place) Blame(key string, err error) error {
	e := p.entry
	e.Key = key
	return yaml.Placed(err, p.file, e)
}

// LoadConfig reads a config file over the options: what it does not name
// stays as it is. It reports all that is wrong, each with its place. It also
// returns where each key stands that it could read.
func LoadConfig(path string, o *Options) (map[string]Place, error) {
	content, err := watch.ReadBounded(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w; name a YAML file that can be read, or none", err)
	}
	return parseConfig(path, content, o)
}

func parseConfig(file string, content []byte, o *Options) (map[string]Place, error) {
	entries, err := yaml.ParseMapping(file, content)
	if err != nil {
		return nil, err
	}
	keys := make([]string, len(settings))
	for i, s := range settings {
		keys[i] = s.Key
	}
	places := map[string]Place{}
	var errs []error
	for _, e := range entries {
		i := slices.Index(keys, e.Key)
		if i < 0 {
			errs = append(errs, yaml.ErrorAt(file, e.At, e.Key, "not a setting"+yaml.DidYouMean(e.Key, keys)))
			continue
		}
		if err := settings[i].read(o, file, e.Value); err != nil {
			errs = append(errs, yaml.Placed(err, file, e))
			continue
		}
		places[e.Key] = Place{e.At.Position.Line, yaml.JSON(e.Value), file, e}
	}
	return places, errors.Join(errs...)
}

// setRemote reads the hosts beyond loopback that apps may be called at.
func setRemote(o *Options, file string, n ast.Node) error {
	items, err := yaml.StringsOf(file, "http_remote", n)
	if err != nil {
		return err
	}
	o.Limits.Webhook.HTTPRemote = nil
	for _, item := range items {
		if item.Key == "" || strings.ContainsAny(item.Key, "/:@ ") && !strings.Contains(item.Key, "::") {
			return yaml.ErrorAt(file, item.At, "http_remote", fmt.Sprintf("%q is not a host: write it without scheme, port and path", item.Key))
		}
		o.Limits.Webhook.HTTPRemote = append(o.Limits.Webhook.HTTPRemote, item.Key)
	}
	return nil
}

// setProxies reads the proxies whose word on who somebody is counts.
func setProxies(o *Options, file string, n ast.Node) error {
	items, err := yaml.StringsOf(file, "people_proxies", n)
	if err != nil {
		return err
	}
	o.People.PeopleProxies = nil
	for _, item := range items {
		o.People.PeopleProxies = append(o.People.PeopleProxies, item.Key)
	}
	return nil
}

// setXDS reads one control plane, or several in order of preference.
func setXDS(o *Options, file string, n ast.Node) error {
	if one, ok := n.(*ast.StringNode); ok {
		o.XDS = []string{one.Value}
		return nil
	}
	items, err := yaml.StringsOf(file, "xds", n)
	if err != nil {
		return err
	}
	o.XDS = nil
	for _, item := range items {
		if err := hostport.Dial(item.Key); err != nil {
			return yaml.ErrorAt(file, item.At, "xds", err.Error())
		}
		o.XDS = append(o.XDS, item.Key)
	}
	return nil
}

func setAgents(o *Options, file string, n ast.Node) error {
	items, err := yaml.StringsOf(file, "agents", n)
	if err != nil {
		return err
	}
	agents := make([]AgentOption, 0, len(items))
	for _, item := range items {
		agent, err := ParseAgent(item.Key)
		if err != nil {
			return yaml.ErrorAt(file, item.At, "agents", err.Error())
		}
		agents = append(agents, agent)
	}
	o.Agents = agents
	return nil
}

// setPolicies reads the traffic policies by address or pattern.
func setPolicies(o *Options, file string, n ast.Node) (err error) {
	o.Policies, err = mesh.ReadPolicies(file, n, api.Grant)
	return err
}

// setNotify reads where people are told of their tasks.
func setNotify(o *Options, file string, n ast.Node) (err error) {
	o.Notify, err = notify.Read(file, n)
	return err
}

// setCompletions reads the agents that get completions like any other intent.
func setCompletions(o *Options, file string, n ast.Node) error {
	items, err := yaml.StringsOf(file, "completions", n)
	if err != nil {
		return err
	}
	o.Completions = nil
	for _, item := range items {
		agent, err := api.Address(item.Key)
		if err != nil {
			return yaml.ErrorAt(file, item.At, "completions", err.Error())
		}
		o.Completions = append(o.Completions, agent)
	}
	return nil
}
