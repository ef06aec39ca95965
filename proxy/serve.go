package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"pannier/journal/wire/peer"
	"pannier/proxy/admin"
	"pannier/proxy/crowd"
	"pannier/proxy/pages"
	"pannier/proxy/webhook"
	"pannier/proxy/xds"
)

func (r *run) listen() error {
	share, guard := shares(crowd.OpenFiles()), r.guard()
	operators := crowd.Guard{Out: guard.Out} // who mends it is let in
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
		guard   crowd.Guard
	}{
		{&r.apiListener, "api", r.opts.API, share.api, crowd.ListenForProof, guard},
		{&r.peerListener, "peer", r.opts.PeerAddress(), share.peer, hold, guard},
		{&r.adminListener, "admin", r.opts.Admin, share.operators, crowd.ListenForProof, operators},
		{&r.healthListener, "health", r.opts.Health, share.operators, crowd.ListenForProof, operators},
		{&r.peopleListener, "people", r.opts.People.People, share.operators, crowd.ListenForProof, guard},
	} {
		if l.address == "" || (l.to == &r.apiListener || l.to == &r.peopleListener) && r.emptying {
			continue
		}
		listener, err := listen(l.address)
		if err != nil {
			return fmt.Errorf("%s: %w", l.key, err)
		}
		one := l.hold(listener, l.key, l.most, r.log).Guarded(l.guard)
		*l.to, r.listeners = one, append(r.listeners, one)
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
		Pushed: p.pusher.Agents, Secrets: keys, Agents: how, DeadLetters: dead, Tally: p.tally, Metrics: r.metrics,
	}
	source.Pprof = r.opts.Pprof
	source.Pages = func(routes, notFound http.Handler) http.Handler {
		return pages.New(pages.Options{App: p.api.Inside, Operators: routes, NotFound: notFound, Log: r.log})
	}
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
	p := r.parts.Load()
	for _, loop := range []struct {
		name string
		run  func(context.Context) error
	}{{"directory", r.dir.Run}, {"config file", r.config.Run}, {"API keys file", r.keys.Run}, {"people file", r.people.Run}, {"identity", r.trust.Run}, {"keyring", r.keyring.Run}, {"mailbox", p.mailbox.Run}, {"peer sessions", p.server.Run}, {"dispatcher", p.dispatcher.Run}, {"discovery", r.discover}, {"memory", r.restMemory}, {"webhooks", p.pusher.Run}, {"dead letters", p.tally.Run}} {
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
	if r.apiListener != nil {
		app := newHTTPServer(p.api.Handler(), r.log)
		p.api.Track(app)
		crowd.Serve(app)
		r.serveHTTP("api", app, r.apiListener)
	}
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
