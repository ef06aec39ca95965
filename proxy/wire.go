package proxy

import (
	"context"
	"path/filepath"
	"strings"

	"pannier/inbound"
	"pannier/journal"
	"pannier/journal/wire/peer"
	"pannier/outbound"
	"pannier/proxy/admin"
	"pannier/proxy/api"
	"pannier/proxy/crowd"
	"pannier/proxy/hostport"
	"pannier/proxy/metrics/sidecar"
	"pannier/proxy/webhook"
)

// parts are what the journal's hooks call. They need the journal to be made,
// so its hooks find them here; a hook that fires before is not missed, since
// every part reads what is due when its loop starts.
type parts struct {
	mailbox    *inbound.Mailbox
	server     *inbound.Server
	dispatcher *outbound.Dispatcher
	api        *api.API
	pusher     *webhook.Pusher
	tally      *admin.Tally
}

// start wires a sidecar, from the journal outwards. Nothing in it waits for
// an app, a peer or the network. The end of ctx, or of force, ends the one thing that may
// take long. After an error close undoes what was done.
func (r *run) start(ctx, force, alive context.Context) error {
	r.metrics = sidecar.New(r.opts.Version, r.agents(), r.log)
	if err := r.openJournal(ctx, force, alive); err != nil {
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

	mailbox := r.newMailbox()
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
	keys := webhook.NewKeyring(filepath.Join(o.Journal, "secrets"))
	pushing := r.pushing()
	pusher := webhook.New(pushing, mailbox, keys, api.PushBody, r.log)
	how.pusher, how.told = pusher, r.rules().Couriers(pushing.UserAgent, pushing.Dial)
	if !r.emptying {
		how.apply()
		how.subscribed()
	}
	r.parts.Store(&parts{mailbox, server, dispatcher, app, pusher, admin.NewTally(r.journal, func() uint64 { return r.journal.Stats().Seq })})

	r.watch(keys)
	r.serveAdmin(keys, how, dead)
	r.startLoops()
	r.servePeers()
	r.serveApp(alive)
	return r.servePeople()
}

func (r *run) newMailbox() *inbound.Mailbox {
	m := inbound.NewMailbox(r.opts.Limits.Inbound, r.journal, r.log)
	m.Configure(r.agents(), r.opts.Learn)
	m.Completions(r.opts.Completions)
	m.SetElsewhere(r.dir.Elsewhere)
	m.OnLearned(r.announce)
	if r.emptying {
		m.Retire()
	}
	return m
}

// pushing are the options of what sends to apps.
func (r *run) pushing() webhook.Options {
	o := r.opts.Limits.Webhook
	o.Dial = crowd.NewRoom("calls", shares(crowd.OpenFiles()).calls, r.log).Guarded(r.guard()).Dial
	o.UserAgent, o.Told = "Pannier/"+r.opts.Version, r.metrics.Pushed
	o.Tracer, o.NoTraceHeaders = r.tracer.Load(), r.opts.Tracing.NoHeaders
	return o
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

		Notifies: r.rules().Find,

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
