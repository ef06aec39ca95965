package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"pannier/proxy/webhook"
)

const (
	listenMost = 64 // worked on at once
	// listenWait is how long one poll waits for an intent.
	listenWait = 20 * time.Second
	// leaseMargin is what a settle may take.
	leaseMargin = 5 * time.Second

	reconnectMost = 5 * time.Second
	awayFirst     = 500 * time.Millisecond // between tries of an app that takes nothing: those of a door
	awayMost      = 30 * time.Second
)

// listenGrace is how long a stop waits for the answer to the poll that is under way: where there is a
// backlog it comes at once, with an intent that would else wait for its lease to end. Tests wait longer.
var listenGrace = 500 * time.Millisecond

const listenHelp = `Takes what is sent to an agent, as its app would, and prints it. Each is acknowledged, unless
--ack=false leaves that to "pannier ack ID --lease LEASE", or an app or a script answers:

--forward URL posts each as a sidecar does to an app that receives by http: the same body, the same
headers, and the answer means the same. 2xx is done (202: the app will resume or resolve), 400, 413,
415 and 422 make it a dead letter, 429, 503 and a connection that is refused are tried again here,
anything else is a failed attempt. While nothing listens at URL nothing is taken. It is signed with
--secret; a sidecar tells its own secrets to nobody ("pannier secret list" says in which file they are).

--respond 503,500,200 answers the first hand-over of each intent with the first status, and so on; the
last one stays.

It polls: so it holds only as many as it works on (--max), and what is behind them waits in the
sidecar. Ctrl-C finishes those; a second one leaves them to their lease. If it is killed, they come again
when their lease ends, and that is a failed attempt of each.`

func listenCommand(force context.Context) *cli.Command {
	return &cli.Command{
		Name: "listen", ArgsUsage: "AGENT", Description: listenHelp,
		Usage: "take what is sent to an agent as it comes, print it, and acknowledge it or forward it to a URL",
		Flags: append(appAddress(),
			&cli.StringFlag{Name: "forward", Usage: "post each to this `URL`, and settle it by the answer"},
			&cli.StringFlag{Name: "respond", Usage: "settle each as if an app had answered with these `STATUSES`, such as 503,500,200"},
			&cli.BoolFlag{Name: "ack", Value: true, Usage: "acknowledge each when it is printed"},
			&cli.IntFlag{Name: "max", Value: 1, Usage: "work on at most `N` at once"},
			&cli.IntFlag{Name: "count", DefaultText: "no end", Usage: "stop after `N`"},
			&cli.DurationFlag{Name: "timeout", Value: 30 * time.Second, Usage: "how long an answer to --forward may take, a `DURATION`"},
			&cli.DurationFlag{Name: "lease", Value: time.Minute, Usage: "keep each for this `DURATION`"},
			secretFlag(),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "print in this `VIEW`: interactive, compact, quiet, or ndjson (default: interactive on a terminal, else compact)"},
			colourFlag(),
		),
		Action: func(c *cli.Context) error {
			l, err := newListener(c)
			if err != nil {
				return err
			}
			return l.run(c.Context, force)
		},
	}
}

// listener is one run of listen.
type listener struct {
	client *client
	agent  string
	app    app
	show   *showing
	lease  time.Duration
	most   int
	talk   func(format string, args ...any)

	left atomic.Int64 // to be taken; below zero: no end
	met  atomic.Bool  // the sidecar has answered
	lost atomic.Bool  // it does not any more
}

// app answers hand-overs.
type app interface {
	// await returns when it may be handed something, or ctx ends.
	await(ctx context.Context)
	// answer says what the app says. ctx ends where its answer is not waited for any more.
	answer(ctx context.Context, h *handed) reply
}

// reply is an answer of an app, in the words of --output and as what it means.
type reply struct {
	said string
	webhook.Forwarded
	none bool // nobody has answered, or will
}

// handed is an intent as a poll returns it.
type handed struct {
	ID          string          `json:"intent_id"`
	Type        string          `json:"intent_type"`
	From        string          `json:"from_agent"`
	To          string          `json:"to_agent"`
	Attempt     uint32          `json:"delivery_attempt"`
	Redelivered bool            `json:"redelivered"`
	First       string          `json:"idempotency_key"`
	Traceparent string          `json:"traceparent"`
	Lease       string          `json:"lease_id"`
	Payload     json.RawMessage `json:"payload"`

	raw   json.RawMessage
	until time.Time // of the lease, by our own clock
}

func newListener(c *cli.Context) (*listener, error) {
	args, err := exactArgs(c)
	if err != nil {
		return nil, err
	}
	cl, err := unformatted(c, c.String("addr"), howAddr)
	if err != nil {
		return nil, err
	}
	l := &listener{client: cl, agent: args[0], lease: c.Duration("lease"), most: c.Int("max")}
	l.talk = func(format string, args ...any) { talk(c, format, args...) }
	switch {
	case l.most < 1 || l.most > listenMost:
		return nil, usageError("--max %d: work on 1 to %d at once", l.most, listenMost)
	case l.lease < time.Second || l.lease > time.Hour:
		return nil, usageError("--lease %s: a lease is of 1s to 1h", l.lease)
	case c.Int("count") < 0:
		return nil, usageError("--count %d: stop after one at least", c.Int("count"))
	}
	l.left.Store(-1)
	if n := c.Int("count"); n > 0 {
		l.left.Store(int64(n))
		l.most = min(l.most, n)
	}
	if l.app, err = appOf(c, l.lease); err != nil {
		return nil, err
	}
	if l.show, err = showingOf(c); err != nil {
		return nil, err
	}
	return l, nil
}

// run works until ctx ends, and on what it has then until force does.
func (l *listener) run(ctx, force context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	failed := make(chan error, l.most)
	var working sync.WaitGroup
	if l.show.how != quiet {
		l.talk("listening for %s at %s; Ctrl-C stops", l.agent, l.client.target)
	}
	for range l.most {
		working.Go(func() {
			if err := l.work(ctx, force); err != nil {
				failed <- err
				stop()
			}
		})
	}
	working.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil // Ctrl-C is how it ends
	}
}

// work takes one after the other. Its error is one that trying again does not mend.
func (l *listener) work(ctx, force context.Context) error {
	pause := retryFirst
	for {
		if l.app.await(ctx); ctx.Err() != nil {
			return nil
		}
		if !l.reserve() {
			return nil
		}
		h, err := l.take(ctx, force)
		if h == nil {
			l.giveBack()
		}
		switch {
		case h != nil:
			l.back()
			pause = retryFirst
			if err := l.handle(ctx, force, h); err != nil {
				return err
			}
		case err == nil:
			l.back()
			pause = retryFirst
		case ctx.Err() != nil:
			return nil
		case !l.worthRetrying(err):
			return err
		default:
			if !l.lost.Swap(true) {
				l.talk("%s; trying again until it answers", explain(err))
			}
			sleep(ctx, pause)
			pause = min(2*pause, reconnectMost)
		}
	}
}

// reserve counts one that is about to be taken; there may be no more.
func (l *listener) reserve() bool {
	for {
		n := l.left.Load()
		if n == 0 {
			return false
		}
		if n < 0 || l.left.CompareAndSwap(n, n-1) {
			return true
		}
	}
}

func (l *listener) giveBack() {
	if l.left.Load() >= 0 {
		l.left.Add(1)
	}
}

// back notes that the sidecar answers.
func (l *listener) back() {
	l.met.Store(true)
	if l.lost.Swap(false) {
		l.talk("%s answers again", l.client.target)
	}
}

// take polls for one. Nothing and no error means that nothing came. A stop lets the poll that is
// under way end, for a moment.
//
// If we are killed here, or give up, the sidecar takes back what it could not tell us of, or hands it
// over again when the lease ends.
func (l *listener) take(ctx, force context.Context) (*handed, error) {
	polling, cancel := context.WithCancel(force)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(listenGrace, cancel) })()
	body, err := l.client.call(polling, request{
		doing: "listen for " + l.agent, method: http.MethodGet, path: "/v1/agents/" + agentPath(l.agent) + "/intents",
		query: url.Values{"limit": {"1"}, "wait_seconds": {wholeSeconds(listenWait)}, "lease_seconds": {wholeSeconds(l.lease)}},
		wait:  listenWait,
	})
	if err != nil {
		return nil, err
	}
	var got struct {
		Intents []json.RawMessage `json:"intents"`
	}
	if err := json.Unmarshal(body, &got); err != nil || len(got.Intents) == 0 {
		return nil, err
	}
	h := &handed{raw: got.Intents[0], until: time.Now().Add(l.lease)}
	return h, json.Unmarshal(h.raw, h)
}

// handle has one answered and settles it.
func (l *listener) handle(ctx, force context.Context, h *handed) error {
	if err := l.show.arrived(h); err != nil {
		return err
	}
	began, pause := time.Now(), awayFirst
	for {
		r := l.app.answer(force, h)
		switch {
		case force.Err() != nil:
			l.talk("%s is left to its lease, which ends within %s", h.ID, time.Until(h.until).Round(time.Second))
			return nil
		case r.none:
			return nil
		case r.Settle != "":
			return l.settle(ctx, force, h, r, began)
		}
		// The app has taken nothing. It is tried again for as long as the lease lasts; who stops, or
		// has no time left, gives the intent back.
		again := max(pause, r.Pause)
		if ctx.Err() != nil || time.Now().Add(again).After(h.until.Add(-2*leaseMargin)) {
			r.Settle = "nack"
			return l.settle(ctx, force, h, r, began)
		}
		if err := l.show.away(h, r, again); err != nil {
			return err
		}
		sleep(ctx, again)
		pause = min(2*pause, awayMost)
	}
}

// settle tells the sidecar, until it has heard it or the lease is over. Only that it could not be
// shown is an error: whatever the sidecar says, the next one may be settled.
func (l *listener) settle(ctx, force context.Context, h *handed, r reply, began time.Time) error {
	body := settleBody{LeaseID: h.Lease, Result: r.Result, Reject: r.Reject, Reason: r.Reason}
	if seconds := int64(r.Pause / time.Second); r.Settle == "nack" && seconds > 0 {
		body.Delay = &seconds
	}
	pause := retryFirst
	for {
		_, err := l.client.call(force, request{
			doing: r.Settle + " " + h.ID, method: http.MethodPost, path: intentPath(h.ID) + "/" + r.Settle, body: body,
		})
		if err == nil {
			return l.show.settled(h, r, time.Since(began))
		}
		if force.Err() != nil || !l.worthRetrying(err) || time.Now().After(h.until) {
			l.talk("%s", explain(err))
			return nil
		}
		sleep(force, pause)
		pause = min(2*pause, reconnectMost)
	}
}

// worthRetrying: also where the sidecar has failed, since what is held waits for an answer.
func (l *listener) worthRetrying(err error) bool {
	var f *failure
	return passes(err, l.met.Load()) || errors.As(err, &f) && f.status >= http.StatusInternalServerError
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
