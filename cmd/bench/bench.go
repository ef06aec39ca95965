package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"
)

const (
	discardAbove = 1.5 // of the quietest canary
	pacedSpan    = 3   // times Options.Time: at a low rate a slot must be longer to have a p99
)

// run is one measurement: what is started once, and the number of the next slot.
type run struct {
	*Options
	dir    string
	client *http.Client
	echo   *process
	slots  int
}

// Run measures all items and returns what it found. What was counted and does not add
// up is an error.
func Run(ctx context.Context, o Options) (report *Report, err error) {
	dir, err := os.MkdirTemp(o.Dir, "pannier-bench-")
	if err != nil {
		return nil, err
	}
	r := &run{Options: &o, dir: dir, client: newClient(4 * o.Clients)}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if r.echo, err = start(ctx, "echo", dir, o.Program, "bench", "echo"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.echo.stop()) }()
	report = newReport(&o)
	for _, i := range o.items() {
		o.progress("%s: %s", i.name, i.what)
		measured, err := r.item(ctx, i)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", i.name, err)
		}
		report.Items = append(report.Items, measured)
	}
	report.summarize()
	return report, nil
}

// item measures one, in pairs with the echo.
func (r *run) item(ctx context.Context, i item) (m Item, err error) {
	m = Item{Name: i.name, What: i.what}
	var world *rig
	defer func() {
		if world != nil {
			err = errors.Join(err, world.stop())
		}
	}()
	for n := range r.Pairs {
		if world == nil || i.endless { // what was left open is not for the next slot
			if world != nil {
				if err := world.stop(); err != nil {
					return m, err
				}
			}
			if world, err = r.warm(ctx, i); err != nil {
				return m, err
			}
			m.Idle = map[string]Memory{"home": world.idle[0], "holder": world.idle[1]}
		}
		pair, err := r.pair(ctx, world, i, n%2 == 1, r.Profiles != "" && n == 0)
		if err != nil {
			return m, err
		}
		m.Pairs = append(m.Pairs, pair)
	}
	return m, nil
}

// warm starts a rig and lets it run for a moment: connections are open, and windows
// have grown.
func (r *run) warm(ctx context.Context, i item) (*rig, error) {
	world, err := r.newRig(ctx, i, r.dir, r.client)
	if err != nil {
		return nil, err
	}
	if i.receive == nil && !i.push {
		return world, nil // there is nothing to grow
	}
	calm := i
	calm.window, calm.endless, calm.paced = true, false, false
	if _, err := world.slot(ctx, calm, r.nextSlot(), r.Time/4); err != nil {
		return nil, errors.Join(fmt.Errorf("warm up: %w", err), world.stop())
	}
	return world, nil
}

func (r *run) nextSlot() int {
	r.slots++
	return r.slots
}

func (r *run) pair(ctx context.Context, world *rig, i item, turned, profiled bool) (p Pair, err error) {
	span, slot := r.Time, world.slot
	if i.paced {
		span *= pacedSpan
	}
	if profiled {
		slot = world.profiled
	}
	steps := []func() error{
		func() error { p.Echo, err = r.echoSlot(ctx, i, span); return err },
		func() error { p.Sample, err = slot(ctx, i, r.nextSlot(), span); return err },
	}
	if turned {
		steps[0], steps[1] = steps[1], steps[0]
	}
	steps = append([]func() error{r.look(&p.Before)}, append(steps, r.look(&p.After))...)
	for _, step := range steps {
		if err := step(); err != nil {
			return p, err
		}
	}
	return p, nil
}

func (r *run) look(at *float64) func() error {
	return func() error {
		took, err := canary(r.dir, r.Payload)
		*at = micros(took)
		return err
	}
}

// EchoSample is the echo in a slot: the same client, and no sidecar.
type EchoSample struct {
	Rate    float64            `json:"requests_per_second"`
	Latency Quantiles          `json:"latency"`
	CPU     map[string]float64 `json:"cpu_us_per_request"`
}

func (r *run) echoSlot(ctx context.Context, i item, span time.Duration) (e EchoSample, err error) {
	l := &load{
		client: r.client, url: "http://" + r.echo.ready.API + "/", clients: r.Clients,
		body: func() *body { return newBody(r.Payload, 1) }, ledger: newLedger(r.nextSlot(), span, 0),
	}
	pid := r.echo.cmd.Process.Pid
	client, server := ownSpent().cpu, spentBy(pid).cpu
	begin := time.Now()
	l.ledger.begin, l.until = begin, begin.Add(span)
	if i.paced {
		err = l.paced(ctx, r.Rate)
	} else {
		err = l.closed(ctx)
	}
	if err != nil {
		return e, fmt.Errorf("echo: %w", err)
	}
	done := float64(max(1, len(l.accepted)))
	e.Rate = done / time.Since(begin).Seconds()
	e.CPU = map[string]float64{
		"load": float64((ownSpent().cpu - client).Microseconds()) / done, "echo": float64((spentBy(pid).cpu - server).Microseconds()) / done,
	}
	e.Latency = quantiles(l.accepted)
	return e, nil
}
