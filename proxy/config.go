package proxy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"pannier/proxy/api"
	"pannier/proxy/hostport"
	"pannier/proxy/mesh"
	"pannier/proxy/watch"
	"pannier/proxy/yaml"
)

// A setting is one key of the config file. set returns only what is wrong
// with the value; the place and the key are added by its caller.
type setting struct {
	key string
	set func(o *Options, file string, n ast.Node) error
}

// settings are all keys of the config file. Those that are flags of `run`
// have the flag's name, with _ for -.
var settings = []setting{
	{"agents", setAgents},
	{"api", text(func(o *Options) *string { return &o.API })},
	{"peer", text(func(o *Options) *string { return &o.Peer })},
	{"admin", text(func(o *Options) *string { return &o.Admin })},
	{"advertise", text(func(o *Options) *string { return &o.Advertise })},
	{"journal", text(func(o *Options) *string { return &o.Journal })},
	{"api_keys", text(func(o *Options) *string { return &o.APIKeys })},
	{"peers", text(func(o *Options) *string { return &o.Peers })},
	{"xds", setXDS},
	{"xds_name", text(func(o *Options) *string { return &o.XDSName })},
	{"xds_trust", flag(func(o *Options) *bool { return &o.XDSTrust })},
	{"zone", text(func(o *Options) *string { return &o.Zone })},
	{"tls_cert", text(func(o *Options) *string { return &o.Identity.TLSCert })},
	{"tls_key", text(func(o *Options) *string { return &o.Identity.TLSKey })},
	{"tls_ca", text(func(o *Options) *string { return &o.Identity.TLSCA })},
	{"spiffe_socket", text(func(o *Options) *string { return &o.Identity.SPIFFESocket })},
	{"keyring", text(func(o *Options) *string { return &o.Identity.Keyring })},
	{"identities", setIdentities},
	{"allow", setAllow},
	{"insecure_peer", flag(func(o *Options) *bool { return &o.InsecurePeer })},
	{"accept_loss", flag(func(o *Options) *bool { return &o.AcceptLoss })},
	{"max_body", count(func(o *Options) *int { return &o.MaxBody })},
	{"learn", text(func(o *Options) *string { return &o.Learn })},

	{"completions", setCompletions},
	{"policies", setPolicies},

	{"drain_seconds", count(func(o *Options) *int { return &o.Limits.DrainSeconds })},
	{"deliver_by", span(func(o *Options) *time.Duration { return &o.Limits.DeliverBy })},
	{"deadline", span(func(o *Options) *time.Duration { return &o.Limits.Deadline })},
	{"retry_min", span(func(o *Options) *time.Duration { return &o.Limits.RetryMin })},
	{"retry_max", span(func(o *Options) *time.Duration { return &o.Limits.RetryMax })},

	{"holder_lost_after", span(func(o *Options) *time.Duration { return &o.Limits.Outbound.HolderLostAfter })},
	{"holder_lost_after_ephemeral", span(func(o *Options) *time.Duration { return &o.Limits.Outbound.HolderLostAfterEphemeral })},
	{"holder_moved_after", span(func(o *Options) *time.Duration { return &o.Limits.Outbound.HolderMovedAfter })},
	{"unclean_wait", span(func(o *Options) *time.Duration { return &o.Limits.Outbound.UncleanWait })},
	{"offer_timeout", span(func(o *Options) *time.Duration { return &o.Limits.Outbound.OfferTimeout })},
	{"redial_min", span(func(o *Options) *time.Duration { return &o.Limits.Outbound.RedialMin })},
	{"redial_max", span(func(o *Options) *time.Duration { return &o.Limits.Outbound.RedialMax })},

	{"poll_lease", span(func(o *Options) *time.Duration { return &o.Limits.Inbound.PollLease })},
	{"stream_lease", span(func(o *Options) *time.Duration { return &o.Limits.Inbound.StreamLease })},
	{"work_timeout", span(func(o *Options) *time.Duration { return &o.Limits.Inbound.WorkTimeout })},
	{"work_max", span(func(o *Options) *time.Duration { return &o.Limits.Inbound.WorkMax })},
	{"no_reader_after", span(func(o *Options) *time.Duration { return &o.Limits.Inbound.NoReaderAfter })},
	{"release_after", span(func(o *Options) *time.Duration { return &o.Limits.Inbound.ReleaseAfter })},
	{"probe_min", span(func(o *Options) *time.Duration { return &o.Limits.Inbound.ProbeMin })},
	{"probe_max", span(func(o *Options) *time.Duration { return &o.Limits.Inbound.ProbeMax })},
	{"max_open", count(func(o *Options) *int { return &o.Limits.Inbound.MaxOpen })},
	{"http_concurrency", count(func(o *Options) *int { return &o.Limits.Webhook.HTTPConcurrency })},
	{"http_timeout", span(func(o *Options) *time.Duration { return &o.Limits.Webhook.HTTPTimeout })},
	{"http_remote", setRemote},
	{"deletion_grace", span(func(o *Options) *time.Duration { return &o.Limits.XDS.DeletionGrace })},
	{"orphan_after", span(func(o *Options) *time.Duration { return &o.Limits.Inbound.OrphanAfter })},
}

// LoadConfig reads a config file over the options: what it does not name
// stays as it is. It reports all that is wrong, each with its place.
func LoadConfig(path string, o *Options) error {
	content, err := watch.ReadBounded(path)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return parseConfig(path, content, o)
}

func parseConfig(file string, content []byte, o *Options) error {
	entries, err := yaml.ParseMapping(file, content)
	if err != nil {
		return err
	}
	keys := make([]string, len(settings))
	for i, s := range settings {
		keys[i] = s.key
	}
	var errs []error
	for _, e := range entries {
		i := slices.IndexFunc(settings, func(s setting) bool { return s.key == e.Key })
		if i < 0 {
			errs = append(errs, yaml.ErrorAt(file, e.At, e.Key, "not a setting"+yaml.DidYouMean(e.Key, keys)))
			continue
		}
		errs = append(errs, yaml.Placed(settings[i].set(o, file, e.Value), file, e))
	}
	return errors.Join(errs...)
}

// value makes a setting's reader of the reader of its type.
func value[T any](read func(ast.Node) (T, error), field func(*Options) *T) func(*Options, string, ast.Node) error {
	return func(o *Options, _ string, n ast.Node) error {
		v, err := read(n)
		if err != nil {
			return err
		}
		*field(o) = v
		return nil
	}
}

func text(field func(*Options) *string) func(*Options, string, ast.Node) error {
	return value(yaml.String, field)
}

func flag(field func(*Options) *bool) func(*Options, string, ast.Node) error {
	return value(yaml.Bool, field)
}

func count(field func(*Options) *int) func(*Options, string, ast.Node) error {
	return value(yaml.Int, field)
}

func span(field func(*Options) *time.Duration) func(*Options, string, ast.Node) error {
	return value(yaml.Duration, field)
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
