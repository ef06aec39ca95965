package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"pannier/proxy"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name: "demo", Usage: "show how it goes, with two sidecars that live as long as the demo",
		Subcommands: []*cli.Command{approvalDemo(), outageDemo()},
	}
}

// stage is where a demo plays: billing's sidecar and that of orders, which knows where billing is
// and has the inboxes of people, on any free ports. All they store is thrown away.
type stage struct {
	out             io.Writer
	dir             string
	orders, billing *actor
	running         sync.WaitGroup
}

// actor is one sidecar of a demo.
type actor struct {
	*client // of its app API
	admin   *client
	info    proxy.Info
	stop    context.CancelFunc
	ended   chan error
}

// demonstrate plays on a stage of its own, and clears it whatever comes of it.
func demonstrate(c *cli.Context, play func(context.Context, *stage) error) error {
	if _, err := exactArgs(c); err != nil {
		return err
	}
	logTo(c.App.ErrWriter, slog.LevelError) // that nobody answers is what a demo is about
	dir, err := os.MkdirTemp("", "pannier-demo-")
	if err != nil {
		return fmt.Errorf("make a directory for the demo: %w", err)
	}
	ctx, curtain := context.WithCancel(c.Context)
	s := &stage{out: c.App.Writer, dir: dir}
	err = s.set(ctx)
	if err == nil {
		err = play(ctx, s)
	}
	curtain()
	s.running.Wait()
	return errors.Join(err, os.RemoveAll(dir))
}

// set starts both sidecars. Where billing's peers find it, it is found again after a restart.
func (s *stage) set(ctx context.Context) (err error) {
	if s.billing, err = s.start(ctx, "billing", func(o *proxy.Options) {}); err != nil {
		return err
	}
	peers := filepath.Join(s.dir, "peers.yaml")
	if err := os.WriteFile(peers, fmt.Appendf(nil, demoPeers, s.billing.info.Peer, outageTrip), 0o600); err != nil {
		return err
	}
	s.orders, err = s.start(ctx, "orders", func(o *proxy.Options) { o.Peers = peers })
	return err
}

// demoPeers leaves billing alone sooner than a mesh should, and shorter: a demo has no minutes.
const demoPeers = `agents:
  billing: [%q]
policies:
  billing: {breaker: {consecutive: %d, base_ejection: 1s, max_ejection: 2s}}
`

func (s *stage) start(ctx context.Context, name string, change func(*proxy.Options)) (*actor, error) {
	opts := proxy.DefaultOptions()
	opts.API, opts.Peer, opts.Admin = loopback(0, 0), loopback(0, 0), loopback(0, 0)
	opts.Journal = filepath.Join(s.dir, name)
	var err error
	if opts.Agents, err = proxy.ParseAgents(devAgents(name)); err != nil {
		return nil, err
	}
	change(&opts)
	sidecar, err := newSidecar(opts)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx) // its end is in a hurry: no app has more to say
	a := &actor{stop: stop, ended: make(chan error, 1)}
	ready := make(chan proxy.Info, 1)
	s.running.Go(func() { a.ended <- sidecar.Run(ctx, ctx, func(i proxy.Info) { ready <- i }) })
	select {
	case a.info = <-ready:
		a.client, a.admin = clientOf(a.info.API), clientOf(a.info.Admin)
		return a, nil
	case err := <-a.ended:
		stop()
		if err == nil {
			err = context.Canceled // it was to stop before it was ready
		}
		return nil, err
	}
}

// leave stops a sidecar and waits until it has.
func (a *actor) leave() error {
	a.stop()
	return <-a.ended
}

// say prints what happens.
func (s *stage) say(format string, args ...any) {
	fmt.Fprintf(s.out, format+"\n", args...) // an output that is gone ends nothing
}

// send accepts an intent at orders, and returns its id.
func (s *stage) send(ctx context.Context, body createBody) (id string, err error) {
	answer, err := s.orders.call(ctx, request{doing: "send", method: http.MethodPost, path: "/v1/intents", body: body})
	if err != nil {
		return "", err
	}
	var accepted struct {
		ID string `json:"intent_id"`
	}
	err = json.Unmarshal(answer, &accepted)
	return accepted.ID, err
}

// reason is why an intent waits.
type reason struct {
	Text   string
	Causes []struct{ Code string }
}

// why is what the verb of that name says of an intent.
func (s *stage) why(ctx context.Context, id string) (r reason, err error) {
	answer, err := s.orders.call(ctx, request{doing: "say why", method: http.MethodGet, path: intentPath(id) + "/why"})
	if err != nil {
		return reason{}, err
	}
	err = json.Unmarshal(answer, &r)
	r.Text = printable(strings.TrimSpace(r.Text))
	return r, err
}

// work is billing's app: it acknowledges what it is given, until it has seen so many intents. It
// returns how often it was given each.
func (s *stage) work(ctx context.Context, intents int) (given map[string]int, err error) {
	given = map[string]int{}
	for len(given) < intents {
		answer, err := s.billing.call(ctx, request{
			doing: "poll", method: http.MethodGet, path: "/v1/agents/billing/intents",
			query: url.Values{"wait_seconds": {"20"}, "lease_seconds": {"600"}}, wait: 20 * time.Second,
		})
		if err != nil {
			return given, err
		}
		var got handovers
		if err := json.Unmarshal(answer, &got); err != nil {
			return given, err
		}
		for _, i := range got.Intents {
			given[i.ID]++
			if _, err := s.billing.call(ctx, request{
				doing: "ack", method: http.MethodPost, path: intentPath(i.ID) + "/ack",
				body: settleBody{LeaseID: i.Lease, Result: json.RawMessage(`{"paid":true}`)},
			}); err != nil {
				return given, err
			}
		}
	}
	return given, nil
}
