package proxy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/xrash/smetrics"

	"pannier/proxy/api"
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
	{"zone", text(func(o *Options) *string { return &o.Zone })},
	{"insecure_peer", flag(func(o *Options) *bool { return &o.InsecurePeer })},
	{"accept_loss", flag(func(o *Options) *bool { return &o.AcceptLoss })},
	{"max_body", count(func(o *Options) *int { return &o.MaxBody })},
	{"learn", text(func(o *Options) *string { return &o.Learn })},

	{"completions", setCompletions},

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
	{"orphan_after", span(func(o *Options) *time.Duration { return &o.Limits.Inbound.OrphanAfter })},
}

// LoadConfig reads a config file over the options: what it does not name
// stays as it is. It reports all that is wrong, each with its place.
func LoadConfig(path string, o *Options) error {
	content, err := readBounded(path)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return parseConfig(path, content, o)
}

func parseConfig(file string, content []byte, o *Options) error {
	entries, err := parseMapping(file, content)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		i := slices.IndexFunc(settings, func(s setting) bool { return s.key == e.key })
		if i < 0 {
			errs = append(errs, errorAt(file, e.at, e.key, "not a setting"+suggestion(e.key)))
			continue
		}
		errs = append(errs, placed(settings[i].set(o, file, e.value), file, e))
	}
	return errors.Join(errs...)
}

// placed adds the place of the entry's value where the complaint names none
// of its own.
func placed(err error, file string, e entry) error {
	var has *FileError
	if err == nil || errors.As(err, &has) {
		return err
	}
	at := e.value.GetToken()
	if _, empty := e.value.(*ast.NullNode); empty {
		at = e.at // the value is not there to be pointed at
	}
	return errorAt(file, at, e.key, err.Error())
}

// suggestion is the setting that was probably meant.
func suggestion(key string) string {
	typed := strings.ReplaceAll(strings.ToLower(key), "-", "_")
	best, distance := "", len(typed)/3+1
	for _, s := range settings {
		if d := smetrics.WagnerFischer(typed, s.key, 1, 1, 1); d < distance {
			best, distance = s.key, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

func mismatch(n ast.Node, want string) error {
	return fmt.Errorf("got %s, want %s", kindOf(n), want)
}

func text(field func(*Options) *string) func(*Options, string, ast.Node) error {
	return func(o *Options, _ string, n ast.Node) error {
		s, ok := n.(*ast.StringNode)
		if !ok {
			return mismatch(n, "a string: write it in quotes")
		}
		*field(o) = s.Value
		return nil
	}
}

func flag(field func(*Options) *bool) func(*Options, string, ast.Node) error {
	return func(o *Options, _ string, n ast.Node) error {
		b, ok := n.(*ast.BoolNode)
		if !ok {
			return mismatch(n, "true or false")
		}
		*field(o) = b.Value
		return nil
	}
}

func count(field func(*Options) *int) func(*Options, string, ast.Node) error {
	return func(o *Options, _ string, n ast.Node) error {
		if _, ok := n.(*ast.IntegerNode); !ok {
			return mismatch(n, "an integer")
		}
		// Decimal only: YAML's octal and binary forms are traps in a config file.
		v, err := strconv.Atoi(n.GetToken().Value)
		if err != nil {
			return fmt.Errorf("%s is not an integer in decimal", n.GetToken().Value)
		}
		*field(o) = v
		return nil
	}
}

func span(field func(*Options) *time.Duration) func(*Options, string, ast.Node) error {
	return func(o *Options, _ string, n ast.Node) error {
		s, ok := n.(*ast.StringNode)
		if !ok {
			return mismatch(n, `a duration such as "500ms", "30s" or "72h"`)
		}
		d, err := time.ParseDuration(s.Value)
		if err != nil {
			return fmt.Errorf(`%q is not a duration such as "500ms", "30s" or "72h"`, s.Value)
		}
		*field(o) = d
		return nil
	}
}

// setRemote reads the hosts beyond loopback that apps may be called at.
func setRemote(o *Options, file string, n ast.Node) error {
	items, err := stringsOf(file, "http_remote", n)
	if err != nil {
		return err
	}
	o.Limits.Webhook.HTTPRemote = nil
	for _, item := range items {
		if item.key == "" || strings.ContainsAny(item.key, "/:@ ") && !strings.Contains(item.key, "::") {
			return errorAt(file, item.at, "http_remote", fmt.Sprintf("%q is not a host: write it without scheme, port and path", item.key))
		}
		o.Limits.Webhook.HTTPRemote = append(o.Limits.Webhook.HTTPRemote, item.key)
	}
	return nil
}

func setAgents(o *Options, file string, n ast.Node) error {
	items, err := stringsOf(file, "agents", n)
	if err != nil {
		return err
	}
	agents := make([]AgentOption, 0, len(items))
	for _, item := range items {
		agent, err := ParseAgent(item.key)
		if err != nil {
			return errorAt(file, item.at, "agents", err.Error())
		}
		agents = append(agents, agent)
	}
	o.Agents = agents
	return nil
}

// setCompletions reads the agents that get completions like any other intent.
func setCompletions(o *Options, file string, n ast.Node) error {
	items, err := stringsOf(file, "completions", n)
	if err != nil {
		return err
	}
	o.Completions = nil
	for _, item := range items {
		agent, err := api.Address(item.key)
		if err != nil {
			return errorAt(file, item.at, "completions", err.Error())
		}
		o.Completions = append(o.Completions, agent)
	}
	return nil
}
