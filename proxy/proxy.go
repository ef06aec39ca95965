package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pannier/inbound"
	"pannier/journal"
	"pannier/journal/wire/peer"
	"pannier/outbound"
	"pannier/proxy/admin"
	"pannier/proxy/api"
	"pannier/proxy/crowd"
	"pannier/proxy/hostport"
	"pannier/proxy/identity"
	"pannier/proxy/identity/identityfile"
	"pannier/proxy/metrics/sidecar"
	"pannier/proxy/trace"
	"pannier/proxy/webhook"
	"pannier/proxy/xds"
)

// Info is the ready line.
type Info struct {
	Ready   bool   `json:"ready"`
	Node    string `json:"node"` // journal id
	API     string `json:"api"`
	Peer    string `json:"peer"`
	Admin   string `json:"admin"`
	Health  string `json:"health,omitempty"`
	Durable bool   `json:"durable"` // false: the journal's volume does not outlive the host
	Version string `json:"version,omitempty"`
}

// Proxy is one sidecar, not yet running.
type Proxy struct {
	opts    Options
	config  *configFile
	peers   *peersFile
	keys    *keysFile
	trust   *identity.Trust
	keyring *identityfile.Keyring
	log     *slog.Logger
}

// New checks the options and reads the files they name: its errors are all the
// operator's to mend. It opens nothing and starts nothing.
func New(o Options) (*Proxy, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	peers, err := openPeers(o.Peers, o.Policies, o.Log)
	if err != nil {
		return nil, err
	}
	keys, err := openKeys(o.APIKeys, o.Log)
	if err != nil {
		return nil, err
	}
	trust, keyring, err := identityfile.Open(o.Identity, o.Log)
	if err != nil {
		return nil, err
	}
	p := &Proxy{opts: o, peers: peers, keys: keys, trust: trust, keyring: keyring, log: o.Log}
	p.config = newConfigFile(&p.opts, peers)
	return p, nil
}

// Run runs the sidecar once. It calls ready when the sidecar takes intents,
// waits until ctx ends, then stops in order (doc.go); the end of force cuts
// the waiting for apps short. It returns nil after a clean stop. After an
// error the caller must end the process: what did not stop in time still runs.
func (p *Proxy) Run(ctx, force context.Context, ready func(Info)) error {
	alive, fail := context.WithCancelCause(context.Background())
	defer fail(nil)
	r := &run{Proxy: p, crew: crew{fail}}
	err := r.start(alive)
	if err == nil {
		r.phase.Store(serving)
		ready(r.info())
		err = r.serve(ctx, force, alive)
	}
	r.phase.Store(closing)
	return errors.Join(err, r.close(alive, err))
}

// phase is where a run stands. It only goes forward.
type phase = int32

const (
	starting phase = iota
	serving
	draining
	closing
)

// run is a sidecar while it runs.
type run struct {
	*Proxy
	phase    atomic.Int32
	crew     crew
	cleanups cleanups

	journal *journal.Journal
	dir     directory
	xds     *xds.Client // nil without control planes
	metrics *sidecar.Sidecar
	parts   atomic.Pointer[parts]        // nil until they are wired
	tracer  atomic.Pointer[trace.Tracer] // nil where nothing is traced

	apiListener, peerListener, adminListener net.Listener
	healthListener                           net.Listener // nil where none is asked for
}

// parts are what the journal's hooks call. They need the journal to be made,
// so its hooks find them here; a hook that fires before is not missed, since
// every part reads what is due when its loop starts.
type parts struct {
	mailbox    *inbound.Mailbox
	server     *inbound.Server
	dispatcher *outbound.Dispatcher
	api        *api.API
	pusher     *webhook.Pusher
}

// start wires a sidecar, from the journal outwards. Nothing in it waits for
// an app, a peer or the network. After an error close undoes what was done.
func (r *run) start(alive context.Context) error {
	r.metrics = sidecar.New(r.opts.Version, r.agents(), r.log)
	if err := r.openJournal(); err != nil {
		return err
	}
	if err := r.openTraces(alive); err != nil {
		return err
	}
	if err := r.listen(); err != nil {
		return err
	}
	o, l := &r.opts, &r.opts.Limits
	address := r.advertised()
	r.openDirectory()
	r.dir.IAm(address, r.peerListener.Addr().String())
	self, ephemeral := r.journal.Identity(), !r.journal.Stats().Durable
	dial := r.dialOptions()

	mailbox := inbound.NewMailbox(l.Inbound, r.journal, r.log)
	mailbox.Configure(r.agents(), o.Learn)
	mailbox.Completions(o.Completions)
	mailbox.SetElsewhere(r.dir.Elsewhere)
	mailbox.OnLearned(r.announce)

	dispatcher := outbound.New(l.Outbound, r.journal,
		outbound.Self{Identity: self, Address: address, Ephemeral: ephemeral, Zone: o.Zone},
		r.dir, mailbox, dial, r.log)
	dispatcher.SetTold(r.metrics.Told())
	mailbox.OnWindow(dispatcher.LocalWindow)
	if tracer := r.tracer.Load(); tracer != nil {
		dispatcher.SetTracer(tracer)
	}

	server := inbound.NewServer(l.Inbound, r.journal, mailbox,
		inbound.Self{Identity: self, Address: address, Ephemeral: ephemeral},
		dispatcher.Knocked, dial, r.log)
	if r.identified() {
		dispatcher.SetTrust(r.holderOf)
		server.SetTrust(r.homeOf)
	}
	r.introduce(r.agents())

	dead := &deadLetters{Journal: r.journal, ask: server.Ask, tracer: r.tracer.Load()}
	how := &bindings{journal: r.journal, mailbox: mailbox, configured: o.Agents}
	// The app API asks for redrives, and they for its schemas.
	app := api.New(r.apiOptions(server.Ask, dead.Redrive, how.subscribed, r.maySend(mailbox.Serves)), r.journal, mailbox, dispatcher, r.log)
	dead.fits = app.CheckPayload
	dispatcher.HoldTo(app.CheckPayload)
	r.keys.changed = app.KeysChanged
	pushing := l.Webhook
	pushing.Told = r.metrics.Pushed
	pushing.UserAgent, pushing.Tracer, pushing.NoTraceHeaders = "Pannier/"+o.Version, r.tracer.Load(), o.Tracing.NoHeaders
	keys := webhook.NewKeyring(filepath.Join(o.Journal, "secrets"))
	pusher := webhook.New(pushing, mailbox, keys, api.PushBody, r.log)
	how.pusher = pusher
	how.apply()
	how.subscribed()
	r.parts.Store(&parts{mailbox, server, dispatcher, app, pusher})

	r.watch(keys)
	r.serveAdmin(keys, how, dead)
	r.startLoops()
	r.servePeers()
	r.serveApp(alive)
	return nil
}

func (r *run) openJournal() error {
	o := journal.Options{
		Dir:         r.opts.Journal,
		AcceptLoss:  r.opts.AcceptLoss,
		Backoff:     func(attempts int) time.Duration { return r.config.limits.Load().backoff(attempts) },
		WorkTimeout: r.opts.Limits.Inbound.WorkTimeout,
		WorkMax:     r.opts.Limits.Inbound.WorkMax,
		DeliverBy:   r.opts.Limits.DeliverBy,
		Deadline:    r.opts.Limits.Deadline,
		Hooks:       r.hooks(),
	}
	r.traced(&o)
	j, err := journal.Open(o)
	if err != nil {
		return fmt.Errorf("open journal %s: %w", r.opts.Journal, err)
	}
	r.journal = j
	r.cleanups.add("journal", 2*time.Second, func(context.Context) error { return j.Close() })
	return nil
}

// hooks call the parts from the committer; none of them blocks.
func (r *run) hooks() journal.Hooks {
	with := func(f func(*parts)) {
		if p := r.parts.Load(); p != nil {
			f(p)
		}
	}
	return journal.Hooks{
		Due:       func(a journal.Agent) { with(func(p *parts) { p.dispatcher.Due(a) }) },
		Continued: func(c journal.Continued) { with(func(p *parts) { p.dispatcher.Continued(c) }) },
		Changed:   func(c journal.Policy) { with(func(p *parts) { p.dispatcher.Changed(c) }) },
		Ended:     func(e journal.Ended) { with(func(p *parts) { p.dispatcher.Ended(e) }) },
		Mail:      func(a journal.Agent) { with(func(p *parts) { p.mailbox.Mail(a) }) },
		Moved:     func(v journal.Moved) { with(func(p *parts) { p.mailbox.Moved(v) }) },
		Spoken:    func(s journal.Spoken) { with(func(p *parts) { p.mailbox.Spoken(s) }) },
		Reports:   func(home journal.ID) { with(func(p *parts) { p.server.Reports(home) }) },
		Failed:    func(err error) { r.crew.fail(fmt.Errorf("journal: %w", err)) },
		Warning:   func(text string) { r.log.Warn("journal", "reason", text) },
		Counted:   r.metrics.Counted,
	}
}

func (r *run) listen() error {
	api, peers, operators, _ := shares(crowd.OpenFiles())
	hold := crowd.ListenForProof
	if !r.identified() {
		hold = crowd.Listen
	}
	for _, l := range []struct {
		to      *net.Listener
		key     string
		address string
		most    int
		hold    func(net.Listener, string, int, *slog.Logger) *crowd.Listener
	}{{&r.apiListener, "api", r.opts.API, api, crowd.Listen}, {&r.peerListener, "peer", r.opts.PeerAddress(), peers, hold}, {&r.adminListener, "admin", r.opts.Admin, operators, crowd.ListenForProof}, {&r.healthListener, "health", r.opts.Health, operators, crowd.ListenForProof}} {
		if l.address == "" {
			continue
		}
		listener, err := listen(l.address)
		if err != nil {
			return fmt.Errorf("%s: %w", l.key, err)
		}
		*l.to = l.hold(listener, l.key, l.most, r.log)
		r.cleanups.add(l.key+" listener", time.Second, func(context.Context) error {
			if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				return err
			}
			return nil // usually its server has closed it
		})
	}
	return nil
}

// serveAdmin comes first and so ends last: a supervisor hears of a stop.
func (r *run) serveAdmin(keys *webhook.Keyring, how *bindings, dead *deadLetters) {
	p := r.parts.Load()
	source := admin.Source{
		Version: r.opts.Version, Health: r.health, Stats: r.journal.Stats, Figures: r.figures, Peers: p.dispatcher.Peers, Due: p.dispatcher.Destinations, Forget: p.dispatcher.Forget, Breaker: p.dispatcher,
		Pushed: p.pusher.Agents, Secrets: keys, Agents: how, DeadLetters: dead, Metrics: r.metrics,
	}
	source.Pprof = r.opts.Pprof
	if r.xds != nil {
		source.XDS = r.xds.Status
	}
	clientStatus := xds.NewStatusServer(r.xds)
	source.ClientStatus = clientStatus
	server := newHTTPServer(admin.New(source, r.hosts(), r.log), r.log)
	crowd.Serve(server)
	r.serveHTTP("admin", server, r.adminListener)
	r.cleanups.add("client status", 500*time.Millisecond, func(context.Context) error {
		clientStatus.Stop() // a stream of it has no end of its own, and would hold the listener up
		return nil
	})
	if r.healthListener != nil {
		probes := newHTTPServer(admin.Probes(source.Version, source.Health, source.Metrics, r.hosts()), r.log)
		crowd.Serve(probes)
		r.serveHTTP("health", probes, r.healthListener)
	}
}

func (r *run) startLoops() {
	holdMemory()
	p := r.parts.Load()
	for _, loop := range []struct {
		name string
		run  func(context.Context) error
	}{{"directory", r.dir.Run}, {"config file", r.config.Run}, {"API keys file", r.keys.Run}, {"identity", r.trust.Run}, {"keyring", r.keyring.Run}, {"mailbox", p.mailbox.Run}, {"peer sessions", p.server.Run}, {"dispatcher", p.dispatcher.Run}, {"discovery", r.discover}, {"memory", r.restMemory}, {"webhooks", p.pusher.Run}} {
		r.cleanups.add(loop.name, 500*time.Millisecond, r.crew.start(loop.name, loop.run))
	}
}

// servePeers answers other sidecars.
func (r *run) servePeers() {
	server := newPeerServer(r.trust, r.identified())
	peer.RegisterPeerServer(server, r.parts.Load().server)
	listener := newCutter(r.peerListener)
	join := r.crew.start("peer listener", servePeer(server, listener))
	r.cleanups.add("peer listener", 500*time.Millisecond, func(ctx context.Context) error {
		err := stopPeer(server, listener)(ctx)
		return errors.Join(err, join(ctx))
	})
}

// serveApp comes last: the app is let in when everything behind it works. It
// is also turned away first: posts are refused, streams and polls end, and only
// then is what was taken from it settled with the peers. They get 503 meanwhile,
// not a refused connection.
func (r *run) serveApp(alive context.Context) {
	p := r.parts.Load()
	app := newHTTPServer(p.api.Handler(), r.log)
	p.api.Track(app)
	r.serveHTTP("api", app, r.apiListener)
	r.cleanups.add("deliveries", closeMargin-time.Second, func(ctx context.Context) error {
		if alive.Err() != nil {
			return nil // a failed journal can settle nothing
		}
		// The offers of both directions are answered or recorded, reports are
		// flushed, every peer hears goodbye.
		var both sync.WaitGroup
		both.Go(func() { p.dispatcher.Drain(ctx) })
		both.Go(func() { p.server.Drain(ctx) })
		both.Wait()
		return nil
	})
	r.cleanups.add("app requests", 100*time.Millisecond, func(context.Context) error {
		p.api.Drain()
		return nil
	})
}

func (r *run) serveHTTP(name string, server *http.Server, l net.Listener) {
	join := r.crew.start(name, serveHTTP(server, l))
	r.cleanups.add(name, 500*time.Millisecond, func(ctx context.Context) error {
		err := shutHTTP(server)(ctx)
		return errors.Join(err, join(ctx))
	})
}

// health is what the admin listener tells. It reads memory only.
func (r *run) health() admin.Health {
	phase, stats := r.phase.Load(), r.journal.Stats()
	journalCheck := admin.Check{Name: "journal", OK: true}
	if err := r.journal.Err(); err != nil {
		journalCheck.OK, journalCheck.Detail = false, err.Error()
	}
	listeners := admin.Check{Name: "listeners", OK: phase > starting}
	running := admin.Check{Name: "running", OK: phase <= serving}
	if !running.OK {
		running.Detail = "the sidecar is stopping"
	}
	durable := admin.Check{Name: "durable", OK: stats.Durable, Advice: true}
	if !durable.OK {
		durable.Detail = "the journal's volume does not outlive this host: intents are lost with it"
	}
	checks := []admin.Check{journalCheck, listeners, running, durable}
	if r.opts.Config != "" {
		checks = append(checks, r.config.check())
	}
	if discovery, asked := r.discovery(); asked {
		checks = append(checks, discovery)
	}
	if r.identified() {
		checks = append(checks, r.identityCheck())
	}
	return admin.Health{Started: phase > starting, Checks: checks}
}

func (r *run) info() Info {
	i := Info{
		Ready:   true,
		Node:    r.journal.Identity().Journal.String(),
		API:     addressOf(r.apiListener),
		Peer:    addressOf(r.peerListener),
		Admin:   addressOf(r.adminListener),
		Durable: r.journal.Stats().Durable,
		Version: r.opts.Version,
	}
	if r.healthListener != nil {
		i.Health = addressOf(r.healthListener)
	}
	return i
}

// advertised is where peers dial us.
func (r *run) advertised() string {
	if r.opts.Advertise != "" {
		return r.opts.Advertise
	}
	return r.peerListener.Addr().String()
}

func (r *run) agents() []string {
	agents := make([]string, 0, len(r.opts.Agents))
	for _, a := range r.opts.Agents {
		agents = append(agents, a.Address)
	}
	return agents
}

// hosts are names the operator gave our listeners, for the Host check.
func (r *run) hosts() []string {
	var hosts []string
	for _, address := range []string{r.opts.API, r.opts.Admin, r.opts.Health, r.opts.Advertise} {
		if host, _, err := net.SplitHostPort(address); err == nil && host != "" {
			hosts = append(hosts, strings.ToLower(host))
		}
	}
	return hosts
}

func (r *run) apiOptions(
	askHome func(context.Context, journal.ID, *peer.Ask) (*peer.Answer, error),
	redrive func(context.Context, journal.Redrive) (journal.Redriven, error),
	subscribed func(),
	maySend func(from, to, intentType string) error,
) api.Options {
	o := api.Options{
		MaxBody: r.opts.MaxBody,
		Hosts:   r.hosts(),
		Version: r.opts.Version,
		AskHome: askHome,
		Redrive: redrive,
		MaySend: maySend,
		Tracer:  r.tracer.Load(),

		NoTraceHeaders: r.opts.Tracing.NoHeaders,
		Served:         r.metrics.Served,

		CheckCallback: func(url string) error { return webhook.CheckCallback(url, r.opts.Limits.Webhook.HTTPRemote) },
		Subscribed:    subscribed,
	}
	if r.opts.APIKeys != "" {
		o.Identify = r.keys.identify
		o.AnyHost = !strings.HasPrefix(r.opts.API, unixPrefix) && !hostport.OnLoopback(r.opts.API)
	}
	if len(r.opts.Agents) > 0 {
		o.DefaultAgent = r.opts.Agents[0].Address
	}
	return o
}
