package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"pannier/cmd/build"
	"pannier/proxy"
	"pannier/proxy/controlplane"
)

func devCommand(force context.Context) *cli.Command {
	return &cli.Command{
		Name: "dev", Usage: "run two sidecars, orders and billing, to try things out; not for production",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "data", Value: ".pannier", EnvVars: []string{"PANNIER_DEV_DATA"}, Usage: "keep the journals in `DIR`"},
			&cli.BoolFlag{Name: "random-ports", Usage: "take any free ports, not 7400–7402 and 7500–7502"},
			outputFlag(),
		},
		Action: func(c *cli.Context) error {
			asJSON, err := wantsJSON(c)
			if err != nil {
				return err
			}
			if _, err := exactArgs(c); err != nil {
				return err
			}
			logTo(c.App.ErrWriter, slog.LevelWarn)
			d := dev{start: time.Now(), data: c.String("data"), asJSON: asJSON, out: c.App.Writer}
			if err := d.run(c.Context, force, c.Bool("random-ports")); err != nil {
				return err
			}
			talk(c, "stopped; the data is kept in %s", d.data)
			return nil
		},
	}
}

// dev is a control plane and two sidecars in one process: they know of each other by what they say of
// themselves there.
type dev struct {
	start  time.Time
	data   string
	asJSON bool
	out    io.Writer
}

// devSidecars have their app API on this port; peer and admin follow it.
var devSidecars = []struct {
	name string
	port int
}{{"orders", 7400}, {"billing", 7500}}

// devStarted is one sidecar that is ready.
type devStarted struct {
	name string
	info proxy.Info
}

func (d *dev) run(ctx, force context.Context, randomPorts bool) error {
	if err := os.MkdirAll(d.data, 0o755); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	ports := map[string]int{}
	for _, s := range devSidecars {
		if randomPorts {
			s.port = 0
		} else if err := portsFree(s.port); err != nil {
			return err
		}
		ports[s.name] = s.port
	}
	group, ctx := errgroup.WithContext(ctx)
	xds, stop, err := startPlane(ctx, group)
	if err != nil {
		return err
	}
	defer stop()
	sidecars := map[string]*proxy.Proxy{}
	for name, port := range ports {
		if sidecars[name], err = d.sidecar(name, port, xds); err != nil {
			stop()
			_ = group.Wait() // of the control plane, which did nothing yet
			return err
		}
	}
	ready := make(chan devStarted, len(sidecars))
	var serving sync.WaitGroup
	for name, p := range sidecars {
		serving.Add(1)
		group.Go(func() error {
			defer serving.Done()
			return p.Run(ctx, force, func(i proxy.Info) { ready <- devStarted{name, i} })
		})
	}
	group.Go(func() error {
		defer stop() // after the sidecars, which would complain of its absence
		err := d.await(ctx, ready)
		serving.Wait()
		return err
	})
	return listenError(group.Wait(), otherPorts)
}

// startPlane starts the control plane in the group and returns where it is once it is ready. Nobody
// types its ports, so they are any free ones. It runs until stop, whatever becomes of ctx.
func startPlane(ctx context.Context, group *errgroup.Group) (xds string, stop func(), err error) {
	opts := controlplane.DefaultOptions()
	opts.Listen, opts.Admin = loopback(0, 0), loopback(0, 0)
	opts.Sources = []controlplane.Source{controlplane.NewRegistration(slog.Default())}
	// All who register are in this process, and do so at once. What they remember of the last run holds
	// until then: without a moment to settle they would be told that the other is gone.
	opts.Settle, opts.Quiet = time.Second, 5*time.Millisecond
	opts.Version = build.This().Version
	plane, err := controlplane.New(opts)
	if err != nil {
		return "", nil, err
	}
	alive, stop := context.WithCancel(context.WithoutCancel(ctx))
	ready, ended := make(chan string, 1), make(chan error, 1)
	group.Go(func() error {
		err := plane.Run(alive, func(i controlplane.Info) { ready <- i.XDS })
		ended <- err
		return err
	})
	select {
	case xds = <-ready:
		return xds, stop, nil
	case err = <-ended:
	case <-ctx.Done():
		err = ctx.Err()
	}
	stop()
	return "", nil, err
}

const otherPorts = "take other ports with --random-ports"

// portsFree looks before the journals are opened: most likely a first dev has both, and of the two
// the port is what its user will recognize.
func portsFree(first int) error {
	for offset := range 3 {
		l, err := net.Listen("tcp", loopback(first, offset))
		if err != nil {
			return listenError(err, otherPorts)
		}
		l.Close()
	}
	return nil
}

func (d *dev) sidecar(name string, port int, xds string) (*proxy.Proxy, error) {
	opts := proxy.DefaultOptions()
	opts.API, opts.Peer, opts.Admin = loopback(port, 0), loopback(port, 1), loopback(port, 2)
	opts.Journal = filepath.Join(d.data, name)
	opts.Limits.Space.BallastBytes = -1 // a try-out is to take little of a disk that is somebody's own
	opts.XDS = []string{xds}
	opts.Limits.XDS.NotFoundAfter = devNotFound
	opts.Learn = "advertise"
	var err error
	if opts.Agents, err = proxy.ParseAgents(devAgents(name)); err != nil {
		return nil, err
	}
	return newSidecar(opts)
}

// devAgents are the addresses a sidecar serves: the full one, and the bare name for short commands.
// The people to ask are at orders, which verbs ask that name no sidecar.
func devAgents(name string) []string {
	all := []string{"agent://dev/local/" + name, name}
	if name == devSidecars[0].name {
		for _, who := range devPeople {
			all = append(all, "agent://dev/local/"+who+"=inbox", who+"=inbox")
		}
	}
	return all
}

// devPeople have an inbox, and no app.
var devPeople = []string{"manager", "finance"}

// devNotFound is when an agent that this control plane has not named is nobody's: whoever polls as
// somebody new should not wait for it as in a mesh, where servers may be slow.
const devNotFound = 250 * time.Millisecond

// loopback is the port with the given offset, or any free one.
func loopback(port, offset int) string {
	if port != 0 {
		port += offset
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// await waits until both sidecars are ready, and tells the user.
func (d *dev) await(ctx context.Context, ready <-chan devStarted) error {
	infos := map[string]proxy.Info{}
	for len(infos) < len(devSidecars) {
		select {
		case s := <-ready:
			infos[s.name] = s.info
		case <-ctx.Done():
			return nil // one of them did not start, and says why
		}
	}
	return d.greet(infos)
}

func (d *dev) greet(infos map[string]proxy.Info) error {
	if d.asJSON {
		return json.NewEncoder(d.out).Encode(struct {
			Ready    bool                  `json:"ready"`
			Sidecars map[string]proxy.Info `json:"sidecars"`
		}{true, infos})
	}
	orders, billing := infos["orders"], infos["billing"]
	_, err := fmt.Fprintf(d.out, greeting, d.data, time.Since(d.start).Seconds(),
		orders.API, orders.Peer, orders.Admin, billing.API, billing.Peer, billing.Admin)
	return err
}

// greeting is all that dev prints; its commands work as they stand, but for the two words in capitals.
const greeting = `pannier dev: two sidecars, data in %[1]s (kept), not for production
  orders   API %[3]s  peer %[4]s  admin %[5]s
  billing  API %[6]s  peer %[7]s  admin %[8]s
  people   http://%[5]s/inbox has what manager and finance are asked
Ready in %.2[2]f s. Now, in another terminal:
  pannier send --addr %[3]s --to billing '{"order_id":"ORD-1"}'
  pannier poll --addr %[6]s billing
  pannier ack --addr %[6]s ID --lease LEASE --result '{"paid":true}'
  pannier wait --addr %[3]s ID
With curl, and not before two people have approved it:
  curl -s %[3]s/v1/intents -H 'Content-Type: application/json' -d '{"intent_type":"pay.v1","to_agent":"billing","payload":{"eur":900},"delivery":{"gates":["manager","finance"]}}'
  curl -s '%[3]s/v1/intents/ID/events/stream?wait_seconds=60'
Ctrl-C stops both. "pannier demo approval" and "pannier demo outage" show more, with sidecars of their own.
`
