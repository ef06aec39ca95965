package controlplane

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"pannier/proxy/crowd"
)

// Info is the ready line.
type Info struct {
	Ready   bool   `json:"ready"`
	XDS     string `json:"xds"`
	Admin   string `json:"admin"`
	Health  string `json:"health,omitempty"`
	Version string `json:"version,omitempty"`
}

// ControlPlane is one control plane, not yet running.
type ControlPlane struct {
	opts    Options
	log     *slog.Logger
	inbox   *inbox
	caches  *caches
	builder *builder
	streams *streams
	settle  func() // what clients knew may be taken from them from here on

	synced chan struct{} // closed when every source has synced and its word is served

	mu struct {
		sync.Mutex
		stopping bool
		applied  time.Time
	}
}

// New checks the options. It opens nothing and starts nothing.
func New(o Options) (*ControlPlane, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.limits == nil {
		o.limits = newLimits()
	}
	if r := o.registration(); r != nil {
		r.limits = o.limits
	}
	if r := o.registration(); r != nil && r.Identify == nil && o.Trust != nil {
		r.Identify = func(ctx context.Context) (Announcer, error) {
			peer, err := o.Trust.Of(ctx)
			if err != nil {
				return nil, err
			}
			return peer, nil
		}
	}
	settled := make(chan struct{})
	c := &ControlPlane{
		opts: o, log: o.Log, inbox: newInbox(len(o.Sources)),
		caches:  newCaches(rand.Text()+".", o.Security != nil, settled, o.limits, o.Log),
		streams: newStreams(o.registration(), o.limits, o.Log),
		settle:  sync.OnceFunc(func() { close(settled) }),
		synced:  make(chan struct{}),
	}
	c.builder = newBuilder(o.Security, c.caches, o.Log)
	return c, nil
}

// Run serves until ctx ends. It listens at once, answers operators at once, and
// clients when every source has synced; then it calls ready. Those who connect
// before that wait.
func (c *ControlPlane) Run(ctx context.Context, ready func(Info)) error {
	l, err := c.listen(crowd.OpenFiles())
	if err != nil {
		return err
	}
	defer l.close()

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.serveHTTP(ctx, l.admin, c.adminHandler()) })
	if l.health != nil {
		group.Go(func() error { return c.serveHTTP(ctx, l.health, c.probesHandler()) })
	}
	for i, s := range c.opts.Sources {
		group.Go(func() error { return c.follow(ctx, i, s) })
	}
	group.Go(func() error { return c.update(ctx) })
	group.Go(func() error { return c.nameAuthorities(ctx) })
	group.Go(func() error { return c.streams.judge(ctx, c.opts.Judge) })
	group.Go(func() error {
		select {
		case <-c.synced:
		case <-ctx.Done():
			return nil
		}
		settling := c.startSettling()
		defer settling()
		ready(l.info(c.opts.Version))
		return c.serveXDS(ctx, l.xds)
	})
	return group.Wait()
}

// startSettling lets things settle for a while where sidecars register. It
// returns what ends that early.
func (c *ControlPlane) startSettling() (stop func()) {
	if c.opts.registration() == nil || c.opts.Settle <= 0 {
		c.settle()
		return func() {}
	}
	timer := time.AfterFunc(c.opts.Settle, c.settle)
	return func() { timer.Stop() }
}

// follow runs one source. One that ends unasked is the control plane's failure:
// what it serves would grow old unseen.
func (c *ControlPlane) follow(ctx context.Context, i int, s Source) error {
	err := s.Run(ctx, c.inbox.report(i))
	if ctx.Err() != nil {
		return nil
	}
	if err == nil {
		err = errors.New("ended unasked")
	}
	return fmt.Errorf("source %s: %w", s.Name(), err)
}

// update serves what the sources say. It waits until they have been silent for a
// moment, so that a burst is one update, but not for ever.
func (c *ControlPlane) update(ctx context.Context) error {
	quiet := time.NewTimer(time.Hour)
	quiet.Stop()
	var latest time.Time // when it can be put off no longer; zero: nothing waits
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.inbox.wake:
			now := time.Now()
			if latest.IsZero() {
				latest = now.Add(c.opts.Longest)
			}
			quiet.Reset(min(c.opts.Quiet, latest.Sub(now)))
		case <-quiet.C:
			latest = time.Time{}
			if err := c.apply(); err != nil {
				return err
			}
		}
	}
}

// apply serves what the sources have said, once all of them have.
func (c *ControlPlane) apply() error {
	updates := c.inbox.updates()
	for _, u := range updates {
		if u == nil {
			return nil // a part of the world is not the world
		}
	}
	if err := c.builder.build(merge(updates)); err != nil {
		return fmt.Errorf("update caches: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.applied.IsZero() {
		close(c.synced)
	}
	c.mu.applied = time.Now()
	return nil
}

const (
	// pingEvery finds a client that went away without a word: what it announced
	// goes with it.
	pingEvery   = 15 * time.Second
	pingTimeout = 10 * time.Second
	// ageGrace is how long a client has to come back by itself once it was asked to.
	ageGrace = 30 * time.Second
	// maxConnStreams is of one connection: a client needs one, and another while it
	// opens that anew.
	maxConnStreams = 8
	// maxMessage bounds a request. One with what 10,000 resources were at has half
	// a megabyte.
	maxMessage = 4 << 20
)

func (c *ControlPlane) serveXDS(ctx context.Context, l net.Listener) error {
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.MaxConcurrentStreams(maxConnStreams),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: pingEvery, Timeout: pingTimeout,
			MaxConnectionAge: c.opts.MaxAge, MaxConnectionAgeGrace: ageGrace, // gRPC adds the jitter
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	}
	if c.opts.Trust != nil {
		options = append(options, c.opts.Trust.ServerOptions()...)
	}
	options = append(options, grpc.ChainStreamInterceptor(c.streams.endable))
	server := grpc.NewServer(options...)
	discovery.RegisterAggregatedDiscoveryServiceServer(server, serverv3.NewServer(ctx, c.caches, c.streams.callbacks()))
	stopped := make(chan struct{})
	go func() { // ends with ctx, and is waited for below
		defer close(stopped)
		<-ctx.Done()
		c.mu.Lock()
		c.mu.stopping = true
		c.mu.Unlock()
		// Streams have no end of their own, and clients lose nothing by it.
		server.Stop()
	}()
	err := server.Serve(l)
	if ctx.Err() == nil {
		return err
	}
	<-stopped
	return nil
}

func (c *ControlPlane) serveHTTP(ctx context.Context, l net.Listener, pages http.Handler) error {
	server := &http.Server{Handler: pages, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(c.log.Handler(), slog.LevelDebug)} // clients' broken requests
	crowd.Serve(server)
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}
