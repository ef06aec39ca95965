package proxy

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"pannier/proxy/identity/identityfile"
	"pannier/proxy/mesh"
	"pannier/proxy/notify"
	"pannier/proxy/yaml"
)

// A Setting is one key of the config file.
type Setting struct {
	Key   string
	Usage string // a phrase; the word in backquotes stands for the value

	Flag string // of `run`, that sets it too; empty: none
	// Variables are the environment variables that set it; the first that is set
	// counts.
	Variables []string

	// Field is where its value is in the options: a *string, *bool, *int or
	// *time.Duration; nil where the value is more than that.
	Field func(*Options) any

	// Live says that an edit of the file acts at once, without a restart.
	Live bool

	// read returns what is wrong with a value of the file; the place and the key
	// are added by its caller.
	read func(o *Options, file string, n ast.Node) error
	// list is the value of a setting that is a list of strings, and setList sets it.
	list    func(*Options) []string
	setList func(*Options, []string) error
	// nested is the value of a setting that is more than a field or a list.
	nested func(*Options) any
	schema yaml.Schema
}

// Settings are all keys of the config file, in the order of their documentation.
func Settings() []Setting { return settings }

var settings = []Setting{
	{
		Key: "agents", Usage: "`ADDRESS` served here, or ADDRESS=poll, =stream, =inbox or =http:URL (repeatable)", Flag: "agent", Variables: []string{"PANNIER_AGENT"},
		read: setAgents, list: agentsOf, setList: parseAgents, schema: yaml.ListOf(yaml.StringSchema),
	},
	text("api", "listen for the app on `ADDR`", func(o *Options) *string { return &o.API }).flag(),
	text("peer", "listen for other sidecars on `ADDR`; unless said, 127.0.0.1:7401, and 0.0.0.0:7401 with an identity", func(o *Options) *string { return &o.Peer }).flag(),
	text("advertise", "`HOST:PORT` where other sidecars reach this one", func(o *Options) *string { return &o.Advertise }).flag(),
	text("admin", "listen for operators on `ADDR`", func(o *Options) *string { return &o.Admin }).flag(),
	text("health", "serve health pages and metrics, and nothing else, on `ADDR` too; for probes and scrapes from elsewhere", func(o *Options) *string { return &o.Health }).flag(),
	text("people", "let people who are not operators log in to the pages for them on `ADDR`", func(o *Options) *string { return &o.People.People }).flag(),
	text("people_file", "YAML `FILE` that says who they are, and which agents they act for; it is watched", func(o *Options) *string { return &o.People.PeopleFile }).flag(),
	text("people_url", "`URL` where browsers find them: https://HOST, where something serves TLS in front", func(o *Options) *string { return &o.People.PeopleURL }).flag(),
	text("people_header", "`NAME` of the header in which a proxy that logs people in says who they are, such as X-Forwarded-Email", func(o *Options) *string { return &o.People.PeopleHeader }).flag(),
	{
		Key: "people_proxies", Usage: "`ADDRESS` or network of such a proxy; from elsewhere its header is not believed (repeatable)", Flag: "people-proxies", Variables: []string{"PANNIER_PEOPLE_PROXIES"},
		read: setProxies, list: func(o *Options) []string { return o.People.PeopleProxies },
		setList: func(o *Options, words []string) error { o.People.PeopleProxies = words; return nil },
		schema:  yaml.ListOf(yaml.StringSchema),
	},
	text("journal", "`DIR` of the journal", func(o *Options) *string { return &o.Journal }).flag(),
	boolean("ephemeral", "the journal goes with this host or pod, as in a pod's emptyDir, although its volume does not look like it", func(o *Options) *bool { return &o.Ephemeral }).flag(),
	text("api_keys", "YAML `FILE` of the keys that the app API asks for; it is watched", func(o *Options) *string { return &o.APIKeys }).flag(),
	text("peers", "YAML `FILE` that says which sidecars serve which agents; it is watched", func(o *Options) *string { return &o.Peers }).flag(),
	{
		Key: "xds", Usage: "`HOST:PORT` of a control plane that says which sidecars serve which agents (repeatable, in order of preference)", Flag: "xds", Variables: []string{"PANNIER_XDS"},
		read: setXDS, list: func(o *Options) []string { return o.XDS },
		setList: func(o *Options, words []string) error { o.XDS = words; return nil },
		schema:  yaml.Schema{"oneOf": []yaml.Schema{yaml.StringSchema, yaml.ListOf(yaml.StringSchema)}},
	},
	text("xds_name", "`NAME` that control planes prove, a SPIFFE ID or a DNS name; unless said, the host that is dialed", func(o *Options) *string { return &o.XDSName }).flag(),
	boolean("xds_trust", "trust the authorities that control planes name, beside those of --tls-ca", func(o *Options) *bool { return &o.XDSTrust }).flag(),
	text("xds_token", "show control planes the token in `FILE`, such as that of a service account; it is read for each stream", func(o *Options) *string { return &o.XDSToken }).flag(),
	text("zone", "`NAME` of the zone this sidecar runs in", func(o *Options) *string { return &o.Zone }).flag(),
	text("tls_cert", "PEM `FILE` of this sidecar's certificate, for other sidecars; it is read again when it changes", func(o *Options) *string { return &o.Identity.TLSCert }).flag(),
	text("tls_key", "PEM `FILE` of its private key", func(o *Options) *string { return &o.Identity.TLSKey }).flag(),
	text("tls_ca", "PEM `FILE` of the authorities that vouch for other sidecars", func(o *Options) *string { return &o.Identity.TLSCA }).flag(),
	text("spiffe_socket", "take certificates from the SPIFFE Workload API at `ADDR`, such as unix:///run/spire/agent.sock", func(o *Options) *string { return &o.Identity.SPIFFESocket }).flag("SPIFFE_ENDPOINT_SOCKET"),
	text("keyring", "YAML `FILE` of keys shared by sidecars without certificates; it is watched", func(o *Options) *string { return &o.Identity.Keyring }).flag(),
	{
		Key: "identities", Usage: "which agents the names of certificates stand for: a mapping of names to lists of agents",
		read: setIdentities, nested: func(o *Options) any { return o.Identity.Identities }, schema: yaml.MappingOf(yaml.ListOf(yaml.StringSchema)),
	},
	{
		Key: "allow", Usage: "who may send to whom: a list of {from, to, types}; what it does not list is refused",
		read: setAllow, nested: func(o *Options) any { return o.Identity.Allow }, schema: yaml.ListOf(identityfile.RuleSchema),
	},
	boolean("insecure_peer", "allow plain text between sidecars beyond loopback", func(o *Options) *bool { return &o.InsecurePeer }).flag(),
	boolean("pprof", "serve profiles of this process under /debug/pprof/ of the admin listener", func(o *Options) *bool { return &o.Pprof }).flag(),
	boolean("accept_loss", "go on without what the journal has provably lost, in a new epoch; for one start, and after a copy was made", func(o *Options) *bool { return &o.AcceptLoss }).flag(),
	boolean("accept_clock", "believe the clock of this host, though it is far from when the journal was last open", func(o *Options) *bool { return &o.AcceptClock }).flag(),
	number("max_body", "largest request an app may send, and largest item of a batch, in `BYTES`", func(o *Options) *int { return &o.MaxBody }).flag(),
	text("learn", "serve an unknown agent that asks for its intents: `MODE` off, local or advertise", func(o *Options) *string { return &o.Learn }).flag(),

	{
		Key: "completions", Usage: "agents that get completions as intents, not in the inbox",
		read: setCompletions, list: func(o *Options) []string { return o.Completions }, schema: yaml.ListOf(yaml.StringSchema),
	},
	{
		Key: "policies", Usage: "traffic policies, by address, \"PREFIX/*\" or \"*\"",
		Live: true, read: setPolicies, nested: func(o *Options) any { return o.Policies }, schema: yaml.MappingOf(mesh.PolicySchema()),
	},

	{
		Key: "notify", Usage: "where people are told of their tasks: a list of {name, type: webhook, slack or mail, …}",
		read: setNotify, nested: func(o *Options) any { return o.Notify }, schema: notify.Schema,
	},
	text("pages_url", "`URL` under which people reach the pages, for links in what they are told; unless said, that of people_url", func(o *Options) *string { return &o.PagesURL }),

	number("drain_seconds", "from SIGTERM to the exit, for apps to finish in", func(o *Options) *int { return &o.Limits.DrainSeconds }).flag().live(),
	span("deliver_by", "an intent that says nothing is to be taken within this time", func(o *Options) *time.Duration { return &o.Limits.DeliverBy }),
	span("deadline", "an intent that says nothing is to be ended within this time", func(o *Options) *time.Duration { return &o.Limits.Deadline }),
	number("history_bytes", "what has ended is kept in at most about so many `BYTES`, the oldest goes first; 0: a quarter of the volume, at most 4 GiB, and 512 KiB for each file that may be open (ulimit -n)", func(o *Options) *int { return &o.Limits.History.HistoryBytes }),
	number("space_low_bytes", "where less than so many `BYTES` of the journal's volume are free nothing new is taken; 0: a tenth of it (a small one: up to a quarter), at most 1 GiB", func(o *Options) *int { return &o.Limits.Space.SpaceLowBytes }),
	number("ballast_bytes", "`BYTES` kept in reserve there, for what must be written when it is full; 0: a tenth of it, at most 64 MiB, and none in memory; -1: none", func(o *Options) *int { return &o.Limits.Space.BallastBytes }),
	span("history_bodies", "payloads and results of what has ended are kept for so long", func(o *Options) *time.Duration { return &o.Limits.History.HistoryBodies }),
	span("history_for", "what has ended is kept for so long, with its events", func(o *Options) *time.Duration { return &o.Limits.History.HistoryFor }),
	span("dead_letters_for", "dead letters are kept for so long, whole", func(o *Options) *time.Duration { return &o.Limits.History.DeadLettersFor }),
	span("scrub_interval", "what is open in the journal is read again so often, to find what the disk has lost: 1s to 24h", func(o *Options) *time.Duration { return &o.Limits.ScrubInterval }),
	span("retry_min", "pause after the first failed attempt, before jitter", func(o *Options) *time.Duration { return &o.Limits.RetryMin }).live(),
	span("retry_max", "longest pause between attempts", func(o *Options) *time.Duration { return &o.Limits.RetryMax }).live(),

	span("holder_lost_after", "intents of a sidecar that has been away for so long are offered elsewhere", func(o *Options) *time.Duration { return &o.Limits.Outbound.HolderLostAfter }),
	span("holder_lost_after_ephemeral", "the same, of one whose journal does not outlive its host", func(o *Options) *time.Duration { return &o.Limits.Outbound.HolderLostAfterEphemeral }),
	span("holder_moved_after", "the same, when another journal answers at its address", func(o *Options) *time.Duration { return &o.Limits.Outbound.HolderMovedAfter }),
	span("unclean_wait", "after an unclean start, what may be held somewhere waits so long for the others to say what they hold", func(o *Options) *time.Duration { return &o.Limits.Outbound.UncleanWait }),
	span("offer_timeout", "time of another sidecar for an answer", func(o *Options) *time.Duration { return &o.Limits.Outbound.OfferTimeout }),
	span("redial_min", "first pause before another sidecar is dialed again", func(o *Options) *time.Duration { return &o.Limits.Outbound.RedialMin }),
	span("redial_max", "longest pause before it is", func(o *Options) *time.Duration { return &o.Limits.Outbound.RedialMax }),

	span("poll_lease", "lease of what is polled, unless the poll names one", func(o *Options) *time.Duration { return &o.Limits.Inbound.PollLease }),
	span("stream_lease", "lease of what is handed over on a stream", func(o *Options) *time.Duration { return &o.Limits.Inbound.StreamLease }),
	span("work_timeout", "what an extend that names no time gets", func(o *Options) *time.Duration { return &o.Limits.Inbound.WorkTimeout }),
	span("work_max", "what an extend gets at most", func(o *Options) *time.Duration { return &o.Limits.Inbound.WorkMax }),
	span("no_reader_after", "an app that has asked for nothing for so long is away", func(o *Options) *time.Duration { return &o.Limits.Inbound.NoReaderAfter }),
	span("release_after", "what waits for an app that is away goes back to its home after this time", func(o *Options) *time.Duration { return &o.Limits.Inbound.ReleaseAfter }),
	span("probe_min", "first pause before an app that fails is tried again", func(o *Options) *time.Duration { return &o.Limits.Inbound.ProbeMin }),
	span("probe_max", "longest pause before it is", func(o *Options) *time.Duration { return &o.Limits.Inbound.ProbeMax }),
	number("max_open", "intents held for an agent and not settled, at most", func(o *Options) *int { return &o.Limits.Inbound.MaxOpen }),
	number("http_concurrency", "requests to an agent's webhook under way at once", func(o *Options) *int { return &o.Limits.Webhook.HTTPConcurrency }),
	span("http_timeout", "time of a webhook for its whole answer", func(o *Options) *time.Duration { return &o.Limits.Webhook.HTTPTimeout }),
	{
		Key: "http_remote", Usage: "hosts beyond loopback that webhooks may be at",
		read: setRemote, list: func(o *Options) []string { return o.Limits.Webhook.HTTPRemote }, schema: yaml.ListOf(yaml.StringSchema),
	},
	span("deletion_grace", "what a control plane has deleted is used on for so long", func(o *Options) *time.Duration { return &o.Limits.XDS.DeletionGrace }),
	boolean("fail_on_data_errors", "use at once nothing any more that a control plane deletes, denies or spoils", func(o *Options) *bool { return &o.Limits.XDS.FailOnDataErrors }),
	span("trace_parent_max_age", "a trace that began longer ago is linked to, not gone on with", func(o *Options) *time.Duration { return &o.Tracing.TraceParentMaxAge }),
	text("trace_retried_attempt_status", "span status of a failed attempt that is made again: error or unset", func(o *Options) *string { return &o.Tracing.TraceRetriedAttemptStatus }),
	span("orphan_after", "what is held for a home that has not been heard of for so long is an orphan", func(o *Options) *time.Duration { return &o.Limits.Inbound.OrphanAfter }),
}

// flag makes a setting a flag too, with further environment variables.
func (s Setting) flag(variables ...string) Setting {
	s.Flag = strings.ReplaceAll(s.Key, "_", "-")
	s.Variables = append([]string{"PANNIER_" + strings.ToUpper(s.Key)}, variables...)
	return s
}

func (s Setting) live() Setting {
	s.Live = true
	return s
}

// IsList reports whether the setting is a list of strings.
func (s Setting) IsList() bool { return s.list != nil }

// SetList sets a setting that is a list of strings.
func (s Setting) SetList(o *Options, words []string) error { return s.setList(o, words) }

// Value is the setting's value as YAML, which is JSON as well; ok is false where
// only the file can say it.
func (s Setting) Value(o *Options) (text string, ok bool) {
	switch {
	case s.list != nil:
		return yaml.QuoteList(s.list(o)), true
	case s.Field == nil:
		return "", false
	}
	switch v := s.Field(o).(type) {
	case *string:
		return yaml.Quote(*v), true
	case *bool:
		return strconv.FormatBool(*v), true
	case *int:
		return strconv.Itoa(*v), true
	case *time.Duration:
		return yaml.Quote(v.String()), true
	default:
		panic(fmt.Sprintf("a setting of type %T", v)) // a row of settings is wrong
	}
}

// simple makes a setting of a field and the reader of its type.
func simple[T any](key, usage string, schema yaml.Schema, read func(ast.Node) (T, error), field func(*Options) *T) Setting {
	return Setting{
		Key: key, Usage: usage, schema: schema,
		Field: func(o *Options) any { return field(o) },
		read: func(o *Options, _ string, n ast.Node) error {
			v, err := read(n)
			if err != nil {
				return err
			}
			*field(o) = v
			return nil
		},
	}
}

func text(key, usage string, field func(*Options) *string) Setting {
	return simple(key, usage, yaml.StringSchema, yaml.String, field)
}

func boolean(key, usage string, field func(*Options) *bool) Setting {
	return simple(key, usage, yaml.BoolSchema, yaml.Bool, field)
}

func number(key, usage string, field func(*Options) *int) Setting {
	return simple(key, usage, yaml.IntSchema, yaml.Int, field)
}

func span(key, usage string, field func(*Options) *time.Duration) Setting {
	return simple(key, usage, yaml.DurationSchema, yaml.Duration, field)
}

func agentsOf(o *Options) []string {
	words := make([]string, len(o.Agents))
	for i, a := range o.Agents {
		words[i] = a.String()
	}
	return words
}

func parseAgents(o *Options, words []string) (err error) {
	o.Agents, err = ParseAgents(words)
	return err
}

// ConfigSchema is the JSON Schema of the config file.
func ConfigSchema() yaml.Schema {
	properties := map[string]yaml.Schema{}
	for _, s := range settings {
		properties[s.Key] = s.schema.With(strings.ReplaceAll(s.Usage, "`", ""))
	}
	schema := yaml.Object(properties).With("The config file of a Pannier sidecar.")
	schema["$schema"], schema["title"] = "https://json-schema.org/draft/2020-12/schema", "Pannier"
	return schema
}
