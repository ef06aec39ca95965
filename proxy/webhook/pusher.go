package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"pannier/inbound"
	"pannier/journal"
	"pannier/proxy/trace"
)

// Options configure a Pusher.
type Options struct {
	HTTPConcurrency int           // requests under way at once, per agent
	HTTPTimeout     time.Duration // for the whole answer
	MaxAnswer       int           // bytes of it
	HTTPRemote      []string      // hosts beyond loopback that may be called
	Dial            Dial
	UserAgent       string
	Told            func(Request) // of each request made; nil: nobody counts
	Tracer          *trace.Tracer // nil: nothing is traced
	NoTraceHeaders  bool          // apps are told no trace context in headers
}

// DefaultOptions are what a sidecar runs with when nothing else is said.
func DefaultOptions() Options {
	return Options{HTTPConcurrency: 16, HTTPTimeout: 30 * time.Second, MaxAnswer: 1 << 20}
}

// Validate names every option that makes no sense.
func (o *Options) Validate() error {
	var wrong []error
	if o.HTTPConcurrency < 1 || o.HTTPConcurrency > 1000 {
		wrong = append(wrong, fmt.Errorf("http_concurrency: %d; use 1 to 1000 requests at once", o.HTTPConcurrency))
	}
	if o.HTTPTimeout <= 0 {
		wrong = append(wrong, fmt.Errorf("http_timeout: %v; use more than zero", o.HTTPTimeout))
	}
	return errors.Join(wrong...)
}

// Mailbox is what a Pusher gets intents from: *inbound.Mailbox.
type Mailbox interface {
	OpenPush(agent string) *inbound.Push
}

// Pusher sends the intents of its agents to their apps. Which agents, and where,
// can be changed while it runs.
type Pusher struct {
	o    Options
	m    Mailbox
	keys *Keyring
	body func(*journal.Handed) []byte
	log  *slog.Logger

	mu          sync.Mutex
	apps        map[string]string     // URL, by agent
	subscribers map[string]Subscriber // by address
	couriers    map[string]Courier    // by address
	changed     chan struct{}         // closed at the next change
	acted       chan struct{}         // closed when Run has acted on the last one
}

// Subscriber is one who wants events: each intent to its address is one, and is
// sent as it is, payload alone. Any 2xx will do.
type Subscriber struct {
	URL    string
	Secret Secret // the zero one: nothing is signed
}

// target is where the intents of an address are sent.
type target struct {
	Subscriber
	events  bool    // they are sent as a subscriber's, not as an app's
	courier Courier // takes them, and there is no URL; nil: none
}

func (t target) same(u target) bool {
	return t.URL == u.URL && t.events == u.events && t.Secret.text == u.Secret.text && (t.courier == nil) == (u.courier == nil)
}

// New returns a pusher without targets. body writes what an app is sent.
func New(o Options, m Mailbox, keys *Keyring, body func(*journal.Handed) []byte, log *slog.Logger) *Pusher {
	return &Pusher{o: o, m: m, keys: keys, body: body, log: log, changed: make(chan struct{}), acted: make(chan struct{})}
}

// Set replaces the targets of apps: URLs by agent. An agent that is not among them
// any more is left when its requests under way are answered.
func (p *Pusher) Set(apps map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.apps = apps
	p.change()
}

// SetSubscribers replaces the subscribers, by address.
func (p *Pusher) SetSubscribers(all map[string]Subscriber) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.subscribers = all
	p.change()
}

func (p *Pusher) change() {
	close(p.changed)
	p.changed, p.acted = make(chan struct{}), make(chan struct{})
}

// Acted returns when Run has acted on all that was set, or ctx ends: apps that are no
// target any more may ask for their intents then, and the others may not.
func (p *Pusher) Acted(ctx context.Context) error {
	for {
		p.mu.Lock()
		acted, changed := p.acted, p.changed
		p.mu.Unlock()
		select {
		case <-acted:
			return nil
		case <-changed: // and acted may stay open
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// targets are those in force, until changed is closed; whoever has acted on them
// closes acted.
func (p *Pusher) targets() (all map[string]target, changed <-chan struct{}, acted chan<- struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all = map[string]target{}
	for address, s := range p.subscribers {
		all[address] = target{Subscriber: s, events: true}
	}
	for address, c := range p.couriers {
		all[address] = target{events: true, courier: c}
	}
	for agent, url := range p.apps {
		all[agent] = target{Subscriber: Subscriber{URL: url}}
	}
	return all, p.changed, p.acted
}

// Agents lists the agents whose apps are pushed to, in order.
func (p *Pusher) Agents() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.apps))
}

// Run pushes until ctx ends. Requests under way are cut off then; a caller that
// wants them answered drains the mailbox first.
func (p *Pusher) Run(ctx context.Context) error {
	pumps := map[string]*pump{}
	var running sync.WaitGroup
	defer running.Wait()
	for {
		targets, changed, acted := p.targets()
		var gone []*pump
		for agent, one := range pumps {
			if !targets[agent].same(one.target) {
				one.stop()
				gone = append(gone, one)
				delete(pumps, agent)
			}
		}
		for agent, to := range targets {
			if pumps[agent] == nil {
				pumps[agent] = p.start(ctx, &running, agent, to)
			}
		}
		for _, one := range gone { // after those that take their place: nobody comes between
			<-one.left
		}
		close(acted)
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}
