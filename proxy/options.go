package proxy

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"pannier/inbound"
	"pannier/journal"
	"pannier/outbound"
	"pannier/proxy/api"
	"pannier/proxy/hostport"
	"pannier/proxy/identity"
	"pannier/proxy/identity/identityfile"
	"pannier/proxy/mesh"
	"pannier/proxy/notify"
	"pannier/proxy/trace"
	"pannier/proxy/webhook"
	"pannier/proxy/xds"
)

// Options configure one sidecar. DefaultOptions has the default of each;
// LoadConfig reads a file over them; flags are bound to the fields.
type Options struct {
	Agents []AgentOption // served here

	API       string // HOST:PORT on loopback, or unix:PATH
	Peer      string // HOST:PORT; empty: as PeerAddress says
	Admin     string // HOST:PORT
	Health    string // HOST:PORT of health pages and metrics alone; empty: only where Admin is
	People    PeopleOptions
	Advertise string // HOST:PORT where peers reach us; empty: where we listen

	Journal     string // directory
	Ephemeral   bool   // it does not outlive the host, whatever its volume looks like
	AcceptLoss  bool   // go on without what the journal has provably lost
	AcceptClock bool   // believe the clock, however far it is from when the journal was last open

	APIKeys string // file of the keys that the app API asks for; empty: it asks for none

	Peers        string   // static peers file; empty: none
	XDS          []string // HOST:PORT of control planes, in order of preference; empty: none
	XDSName      string   // SPIFFE ID or DNS name that control planes prove; empty: the host that is dialed
	XDSTrust     bool     // trust the authorities that control planes name, beside those of tls_ca
	XDSToken     string   // file of a token that control planes are shown, read again for each stream; empty: none
	Zone         string
	InsecurePeer bool // plain text between sidecars beyond loopback
	Pprof        bool // profiles on the admin listener
	Identity     identity.Options

	MaxBody int    // bytes of a request to the app API; of a batch, of each item
	Learn   string // off, local or advertise

	Policies mesh.Policies // of the traffic to agents; those of Peers come first

	Completions []string // agents that get completions as intents, not as threads

	Notify   []notify.Target // where people are told of their tasks
	PagesURL string          // base URL of the pages they open; empty: that of People, or they get no link

	Limits  Limits
	Tracing Tracing

	// Config is the file that these options come from, which is watched; empty:
	// none. What is Given, by key of Settings, it does not change: flags and the
	// environment beat it.
	Config string
	Given  []string

	Version string       // of the program, for people to read
	Log     *slog.Logger // nil: slog.Default()
}

// Limits are times and numbers. But for DrainSeconds only a config file sets them.
type Limits struct {
	DrainSeconds  int           // from SIGTERM to the exit, for apps to finish in
	DeliverBy     time.Duration // to be taken by, of an intent that says nothing
	Deadline      time.Duration // to be ended by, of an intent that says nothing
	History       journal.History
	Space         journal.Space
	ScrubInterval time.Duration // between two readings of what is open in the journal
	RetryMin      time.Duration // pause after the first failed attempt, before jitter
	RetryMax      time.Duration // longest pause between attempts

	Outbound outbound.Options
	Inbound  inbound.Options
	Webhook  webhook.Options
	XDS      xds.Options
}

// AgentOption is an address served here and how its app receives.
type AgentOption struct {
	Address string
	Binding string // empty: open to every pull call; "poll", "stream"; "inbox": people; "http"
	URL     string // of the app, with http
}

// ParseAgents reads agents as ParseAgent does.
func ParseAgents(words []string) ([]AgentOption, error) {
	agents := make([]AgentOption, 0, len(words))
	for _, word := range words {
		agent, err := ParseAgent(word)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", word, err)
		}
		agents = append(agents, agent)
	}
	return agents, nil
}

// String is the form that ParseAgent reads.
func (a AgentOption) String() string {
	switch {
	case a.Binding == "":
		return a.Address
	case a.URL != "":
		return a.Address + "=" + a.Binding + ":" + a.URL
	}
	return a.Address + "=" + a.Binding
}

// DefaultOptions are what a sidecar runs with when nobody says otherwise.
func DefaultOptions() Options {
	return Options{
		API:     "127.0.0.1:7400",
		Admin:   "127.0.0.1:7402",
		Journal: "./pannier-data",
		MaxBody: 1 << 20,
		Learn:   learnLocal,
		Limits: Limits{
			DrainSeconds:  25,
			DeliverBy:     journal.DefaultDeliverBy,
			Deadline:      journal.DefaultDeadline,
			History:       journal.DefaultHistory(),
			ScrubInterval: journal.DefaultScrub,
			RetryMin:      time.Second,
			RetryMax:      5 * time.Minute,
			Outbound:      outbound.DefaultOptions(),
			Inbound:       inbound.DefaultOptions(),
			Webhook:       webhook.DefaultOptions(),
			XDS:           xds.DefaultOptions(),
		},
		Tracing: Tracing{Options: trace.DefaultOptions()},
	}
}

const (
	learnOff       = "off"
	learnLocal     = "local"
	learnAdvertise = "advertise"

	inboxBinding = "inbox"

	unixPrefix = "unix:"

	// closeMargin of the drain time is for phase 4 of a stop: reports, goodbye,
	// journal.
	closeMargin = 5 * time.Second
)

// ParseAgent reads ADDRESS or ADDRESS=BINDING.
func ParseAgent(s string) (AgentOption, error) {
	address, binding, bound := strings.Cut(s, "=")
	agent, err := api.Address(address)
	if err != nil {
		return AgentOption{}, err
	}
	kind, target, _ := strings.Cut(binding, ":")
	switch {
	case !bound, binding == "poll", binding == "stream", binding == inboxBinding:
		return AgentOption{Address: agent, Binding: binding}, nil
	case kind == "http":
		if err := webhook.CheckURL(target); err != nil {
			return AgentOption{}, fmt.Errorf("binding of %s: %w; write it %s=http:http://127.0.0.1:PORT/PATH", address, err, address)
		}
		return AgentOption{Address: agent, Binding: kind, URL: target}, nil
	}
	return AgentOption{}, fmt.Errorf("%q is not a binding: leave it out, or use %s=poll, =stream, =inbox or =http:URL", binding, address)
}

// Validate returns all complaints about the options, each with its key and
// what to do. The files it names are read too: a sidecar must not start with
// one that is wrong.
func (o *Options) Validate() error {
	errs := []error{
		o.validateListeners(),
		o.validateAgents(),
		o.validateXDS(),
		o.Limits.validate(),
		o.Tracing.Validate(),
		o.People.validate(),
		o.validateNotify(),
	}
	if o.Journal == "" {
		errs = append(errs, errors.New("journal: empty; name a directory on a volume that outlives the process"))
	}
	if o.MaxBody < 1 || o.MaxBody > maxMaxBody {
		errs = append(errs, fmt.Errorf("max_body: %d; use 1 to %d bytes", o.MaxBody, maxMaxBody))
	}
	if every := o.Limits.ScrubInterval; every < time.Second || every > 24*time.Hour {
		errs = append(errs, fmt.Errorf("scrub_interval: %v; use 1s to 24h", every))
	}
	switch o.Learn {
	case learnOff, learnLocal, learnAdvertise:
	default:
		errs = append(errs, fmt.Errorf("learn: %q; use off, local or advertise", o.Learn))
	}
	if _, err := openKeys(o.APIKeys, slog.New(slog.DiscardHandler)); err != nil {
		errs = append(errs, err)
	}
	if _, err := openPeers(o.Peers, o.Policies, slog.New(slog.DiscardHandler)); err != nil {
		errs = append(errs, err)
	}
	if _, _, err := identityfile.Open(o.Identity, slog.New(slog.DiscardHandler)); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// PeerAddress is where the peer listener is to be: to be reached from elsewhere,
// unless said otherwise, once peers prove who they are.
func (o *Options) PeerAddress() string {
	switch {
	case o.Peer != "":
		return o.Peer
	case o.Identity.Configured():
		return "0.0.0.0:7401"
	}
	return "127.0.0.1:7401"
}

// maxMaxBody is one record of the journal; larger bodies need chunks.
const maxMaxBody = 1 << 20

func (o *Options) validateListeners() error {
	var errs []error
	if path, ok := strings.CutPrefix(o.API, unixPrefix); ok {
		if path == "" || len(path) > maxUnixPath {
			errs = append(errs, fmt.Errorf("api: %q; a socket's path has 1 to %d bytes", o.API, maxUnixPath))
		}
	} else if err := hostport.Listen(o.API); err != nil {
		errs = append(errs, fmt.Errorf("api: %w, or unix:PATH", err))
	} else if !hostport.OnLoopback(o.API) && o.APIKeys == "" {
		errs = append(errs, fmt.Errorf("api: %s is beyond loopback, where whoever reaches it could post and take intents; use 127.0.0.1:PORT or unix:PATH, or set api_keys", o.API))
	}
	if peer := o.PeerAddress(); hostport.Listen(peer) != nil {
		errs = append(errs, fmt.Errorf("peer: %w", hostport.Listen(peer)))
	} else if !hostport.OnLoopback(peer) && !o.InsecurePeer && !o.Identity.Configured() {
		errs = append(errs, fmt.Errorf("peer: %s is beyond loopback and the channel is plain text; set tls_cert, tls_key and tls_ca, or keyring; or use 127.0.0.1:PORT, or insecure_peer if the network itself is trusted", peer))
	} else if o.Advertise == "" && hostport.Everywhere(peer) {
		errs = append(errs, fmt.Errorf("advertise: empty while peer listens on every interface (%s); say at which HOST:PORT other sidecars reach this one", peer))
	}
	if o.InsecurePeer && o.Identity.Configured() {
		errs = append(errs, errors.New("insecure_peer: set beside an identity, which it would have no effect on; take one of them out"))
	}
	if err := hostport.Listen(o.Admin); err != nil {
		errs = append(errs, fmt.Errorf("admin: %w", err))
	}
	if o.Health != "" {
		if err := hostport.Listen(o.Health); err != nil {
			errs = append(errs, fmt.Errorf("health: %w", err))
		}
	}
	if o.Advertise != "" {
		if err := hostport.Dial(o.Advertise); err != nil {
			errs = append(errs, fmt.Errorf("advertise: %w", err))
		}
	}
	return errors.Join(errs...)
}

func (o *Options) validateXDS() error {
	var errs []error
	for i, server := range o.XDS {
		if err := hostport.Dial(server); err != nil {
			errs = append(errs, fmt.Errorf("xds: %w", err))
		} else if slices.Contains(o.XDS[:i], server) {
			errs = append(errs, fmt.Errorf("xds: %s is listed twice; take one of them out", server))
		}
	}
	if o.XDSName != "" && (len(o.XDS) == 0 || !o.Identity.Configured()) {
		errs = append(errs, errors.New("xds_name: nobody is asked for it; set xds and an identity, or leave it out"))
	}
	if o.XDSTrust && (len(o.XDS) == 0 || o.Identity.TLSCA == "") {
		errs = append(errs, errors.New("xds_trust: it adds to the authorities of tls_ca what a control plane names; set xds, tls_cert, tls_key and tls_ca, or leave it out"))
	}
	if o.XDSToken != "" && len(o.XDS) == 0 {
		errs = append(errs, errors.New("xds_token: nobody is shown it; set xds, or leave it out"))
	}
	if o.XDSToken != "" && !o.Identity.Configured() {
		for _, server := range o.XDS {
			if !hostport.OnLoopback(server) {
				errs = append(errs, fmt.Errorf("xds_token: %s is beyond loopback and the channel is plain text, in which whoever listens could take the token; set an identity", server))
			}
		}
	}
	if len(o.XDS) > 0 && o.Peers != "" {
		errs = append(errs, errors.New("xds, peers: both say where agents live, and neither could be believed when they differ; leave one out"))
	}
	return errors.Join(errs...)
}

func (o *Options) validateAgents() error {
	var errs []error
	seen := map[string]bool{}
	for _, a := range o.Agents {
		if seen[a.Address] {
			errs = append(errs, fmt.Errorf("agents: %s is listed twice; an address has one binding", a.Address))
		}
		seen[a.Address] = true
	}
	return errors.Join(errs...)
}

func (o *Options) validateNotify() error {
	var errs []error
	if err := notify.Validate(o.Notify); err != nil {
		errs = append(errs, fmt.Errorf("notify: %w", err))
	}
	if o.PagesURL != "" {
		if err := webhook.CheckURL(o.PagesURL); err != nil {
			errs = append(errs, fmt.Errorf("pages_url: %w; use https://HOST, where people reach the pages", err))
		} else if len(o.PagesURL) > maxPagesURL || strings.ContainsAny(o.PagesURL, "?<>|\" ") {
			errs = append(errs, fmt.Errorf("pages_url: use a URL of at most %d bytes, without a query", maxPagesURL))
		}
	}
	return errors.Join(errs...)
}

const maxPagesURL = 500

func (l *Limits) validate() error {
	var errs []error
	if margin := int(closeMargin / time.Second); l.DrainSeconds < margin || l.DrainSeconds > 3600 {
		errs = append(errs, fmt.Errorf("drain_seconds: %d; use %d to 3600, less than what the supervisor waits before it kills", l.DrainSeconds, margin))
	}
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"deliver_by", l.DeliverBy}, {"deadline", l.Deadline}, {"retry_min", l.RetryMin}, {"retry_max", l.RetryMax},
		{"history_bodies", l.History.HistoryBodies}, {"history_for", l.History.HistoryFor}, {"dead_letters_for", l.History.DeadLettersFor},
	} {
		if d.value <= 0 {
			errs = append(errs, fmt.Errorf("%s: %s; use a duration above zero", d.key, d.value))
		}
	}
	if l.RetryMax < l.RetryMin {
		errs = append(errs, fmt.Errorf("retry_max: %s is below retry_min (%s); use at least that", l.RetryMax, l.RetryMin))
	}
	if l.History.HistoryBytes < 0 {
		errs = append(errs, fmt.Errorf("history_bytes: %d; use a number above zero, or 0 for a quarter of the volume", l.History.HistoryBytes))
	}
	if l.Space.SpaceLowBytes < 0 {
		errs = append(errs, fmt.Errorf("space_low_bytes: %d; use a number above zero, or 0 for what suits the volume", l.Space.SpaceLowBytes))
	}
	if l.Space.BallastBytes < -1 {
		errs = append(errs, fmt.Errorf("ballast_bytes: %d; use a number above zero, 0 for what suits the volume, or -1 for none", l.Space.BallastBytes))
	}
	if l.History.HistoryFor < l.History.HistoryBodies {
		errs = append(errs, fmt.Errorf("history_for: %s is below history_bodies (%s); use at least that", l.History.HistoryFor, l.History.HistoryBodies))
	}
	return errors.Join(append(errs, l.Outbound.Validate(), l.Inbound.Validate(), l.Webhook.Validate(), l.XDS.Validate())...)
}

func (l *Limits) drain() time.Duration { return time.Duration(l.DrainSeconds) * time.Second }

// backoff is the pause after the n-th failed attempt: full jitter, so that
// what failed together does not come back together.
func (l *Limits) backoff(attempts int) time.Duration {
	ceiling := l.RetryMin
	for range attempts - 1 {
		if ceiling >= l.RetryMax/2 {
			ceiling = l.RetryMax
			break
		}
		ceiling *= 2
	}
	return rand.N(ceiling + 1)
}
