package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
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
	UserAgent       string
	Told            func(Request) // of each request made; nil: nobody counts
	Tracer          *trace.Tracer // nil: nothing is traced
	NoTraceHeaders  bool          // apps are told no trace context in headers
}

// Request is one that was made, for those who count.
type Request struct {
	Host   string // HOST:PORT of the URL
	Status int    // of the answer; 0: none came
	Failed bool   // none came, or it broke off
	Took   time.Duration
	Trace  string // traceparent of its span; empty: there is none
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
	events bool // they are sent as a subscriber's, not as an app's
}

func (t target) same(u target) bool {
	return t.URL == u.URL && t.events == u.events && t.Secret.text == u.Secret.text
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
		all[address] = target{s, true}
	}
	for agent, url := range p.apps {
		all[agent] = target{Subscriber{URL: url}, false}
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

// pump sends the intents of one agent to one URL.
type pump struct {
	*Pusher
	target
	agent  string
	host   string // of the URL
	client *http.Client
	push   *inbound.Push
	stop   func()        // takes nothing more; what is under way is answered
	left   chan struct{} // closed when it takes nothing more
}

func (p *Pusher) start(ctx context.Context, running *sync.WaitGroup, agent string, to target) *pump {
	taking, stop := context.WithCancel(ctx)
	one := &pump{Pusher: p, target: to, agent: agent, host: hostOf(to.URL), client: newClient(to.URL, &p.o), push: p.m.OpenPush(agent), stop: stop, left: make(chan struct{})}
	running.Go(func() {
		defer stop()
		one.run(ctx, taking)
		one.client.CloseIdleConnections()
	})
	return one
}

// hostOf is HOST:PORT of a URL, which has been read before.
func hostOf(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return ""
	case u.Port() != "":
		return u.Host
	case u.Scheme == "https":
		return u.Host + ":443"
	}
	return u.Host + ":80"
}

// run takes as many as there are requests free, until taking ends, and returns
// when all are answered and the answers journaled.
func (p *pump) run(ctx, taking context.Context) {
	free := make(chan struct{}, p.o.HTTPConcurrency)
	for range p.o.HTTPConcurrency {
		free <- struct{}{}
	}
	var sent sync.WaitGroup
	came := newAnswers(p)
	go came.run(ctx) // until finish
	defer came.finish()
	defer sent.Wait()
	defer close(p.left)
	defer p.push.Close()
	for {
		select {
		case <-free:
		case <-taking.Done():
			return
		}
		n := 1 + grab(free, p.o.HTTPConcurrency)
		got, err := p.push.Next(taking, n)
		for range n - len(got) {
			free <- struct{}{}
		}
		for i := range got {
			sent.Go(func() {
				p.send(ctx, &got[i], came)
				free <- struct{}{}
			})
		}
		switch {
		case errors.Is(err, inbound.ErrDraining):
			<-taking.Done()
			return
		case err != nil && taking.Err() == nil:
			p.log.Error("push", "agent", p.agent, "err", err)
			select {
			case <-time.After(pauseFault):
			case <-taking.Done():
			}
		}
	}
}

const pauseFault = time.Second

// grab takes what there is without waiting.
func grab(free <-chan struct{}, most int) (n int) {
	for n < most {
		select {
		case <-free:
			n++
		default:
			return n
		}
	}
	return n
}

// send sends one intent, and has what came of it journaled.
//
// If we crash once the app has it and before that is durable, it is sent again,
// marked as redelivered.
func (p *pump) send(ctx context.Context, h *journal.Handed, to *answers) {
	span, began := p.tracer().Push(h, p.URL), time.Now()
	v, sent, err := p.post(ctx, h, span)
	p.tell(v.status, time.Since(began), span)
	switch {
	case err == nil:
	case ctx.Err() != nil && sent:
		v = verdict{came: journal.Pushed{Came: journal.Cut}}
	case ctx.Err() != nil:
		p.push.Unsent(h.ID) // and its span is not worth having
		return
	case sent:
		v = failure(p.why(err))
	default:
		v = verdict{shut: inbound.Unreachable, reason: p.why(err)}
	}
	answered := time.Now()
	if v.came.Came == 0 {
		p.log.Info("the app took nothing", "agent", p.agent, "url", p.URL, "reason", v.reason)
		p.push.TurnedAway(h.ID, v.shut, v.least)
		span.End(0, answered, v.shut.String(), true)
		return
	}
	v.came.ID, v.came.Attempt = h.ID, h.Attempt
	span.Note(&v.came)
	to.add(answer{v.came, span, answered})
}

// spanCodes are what is wrong with a push that has come to this, in its span.
var spanCodes = map[journal.Came]string{journal.Refused: "rejected", journal.Failed: "attempt_failed", journal.Cut: "cut_off"}

// tracer is nil also for a subscriber: what it is sent is no message between apps.
func (p *pump) tracer() *trace.Tracer {
	if p.events {
		return nil
	}
	return p.o.Tracer
}

// post makes one request. sent says whether the app may have seen it.
func (p *pump) post(ctx context.Context, h *journal.Handed, span trace.Pushing) (v verdict, sent bool, err error) {
	secrets, err := p.signing()
	if err != nil {
		return v, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.o.HTTPTimeout)
	defer cancel()
	var wrote atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { wrote.Store(true) }})
	req, err := p.request(ctx, h, secrets)
	if err != nil {
		return v, false, err
	}
	if !p.o.NoTraceHeaders {
		span.Header(req.Header, h)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return v, wrote.Load(), err
	}
	defer resp.Body.Close()
	span.Answered(resp.StatusCode)
	answer, err := io.ReadAll(io.LimitReader(resp.Body, int64(p.o.MaxAnswer)+1))
	switch {
	case err != nil:
		return v, true, fmt.Errorf("its answer broke off: %w", err)
	case len(answer) > p.o.MaxAnswer:
		return failure(fmt.Sprintf("the app's answer %d is larger than %d bytes", resp.StatusCode, p.o.MaxAnswer)), true, nil
	}
	if p.events && resp.StatusCode/100 == 2 {
		return verdict{came: journal.Pushed{Came: journal.Done}, status: resp.StatusCode}, true, nil
	}
	v = judge(resp.StatusCode, resp.Header, answer, h.Redelivered, time.Now())
	v.status = resp.StatusCode
	return v, true, nil
}

// tell counts a request.
func (p *pump) tell(status int, took time.Duration, span trace.Pushing) {
	if p.o.Told == nil {
		return
	}
	var kept journal.Pushed
	span.Note(&kept)
	p.o.Told(Request{Host: p.host, Status: status, Failed: status == 0, Took: took, Trace: kept.Trace})
}

// signing are the secrets of a request.
func (p *pump) signing() ([]Secret, error) {
	switch {
	case !p.events:
		return p.keys.Signing(p.agent)
	case p.Secret.text == "":
		return nil, nil
	}
	return []Secret{p.Secret}, nil
}

func (p *pump) request(ctx context.Context, h *journal.Handed, secrets []Secret) (*http.Request, error) {
	var body []byte
	if p.events {
		body = h.Envelope.Payload
	} else {
		body = p.body(h)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	// Or the transport would send it a second time by itself when a connection
	// breaks, and nobody would count that.
	req.GetBody = nil
	first := h.ID.String()
	if id, err := journal.IDOf(h.Envelope.FirstId); err == nil {
		first = id.String()
	}
	Describe(req.Header, p.o.UserAgent, first, h.Attempt, time.Now(), body, secrets...)
	return req, nil
}

// why is an error of a request in words that name what to look at.
func (p *pump) why(err error) string {
	var unverified *tls.CertificateVerificationError
	var wrapped *url.Error
	switch {
	case errors.Is(err, errOffLoopback):
		return fmt.Sprintf("%s is not called: %v", p.URL, errOffLoopback)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %v", p.o.HTTPTimeout)
	case errors.As(err, &unverified):
		return "its certificate is not trusted: " + unverified.Error()
	case errors.As(err, &wrapped):
		return wrapped.Err.Error()
	}
	return err.Error()
}
