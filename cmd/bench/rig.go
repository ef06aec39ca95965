package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// rig is a home, a holder and an app, with journals of their own.
type rig struct {
	o            *Options
	dir          string
	client       *http.Client
	home, holder *process
	app          *app
	idle         [2]Memory // of home and holder, before the first intent
	stopApp      []func()
}

func (o *Options) newRig(ctx context.Context, i item, dir string, client *http.Client) (r *rig, err error) {
	r = &rig{o: o, client: client, app: &app{client: client}}
	if r.dir, err = os.MkdirTemp(dir, i.name+"-"); err != nil {
		return nil, err
	}
	if err := r.start(ctx, i); err != nil {
		return nil, errors.Join(err, r.stop())
	}
	return r, nil
}

func (r *rig) start(ctx context.Context, i item) (err error) {
	agent := receiver
	if i.push {
		url, stop, err := r.app.push()
		if err != nil {
			return err
		}
		r.stopApp = append(r.stopApp, stop)
		agent += "=http:" + url
	}
	if r.holder, err = r.sidecar(ctx, "holder", "--agent", agent); err != nil {
		return err
	}
	peers := filepath.Join(r.dir, "peers.yaml")
	known := fmt.Sprintf("agents: {%q: [%q]}\n", receiver, r.holder.ready.Peer)
	if i.receive == nil && !i.push {
		known = "agents: {}\n"
	}
	if err = os.WriteFile(peers, []byte(known), 0o600); err != nil {
		return err
	}
	if r.home, err = r.sidecar(ctx, "home", "--agent", sender, "--peers", peers); err != nil {
		return err
	}
	r.idle = [2]Memory{memory(r.home.cmd.Process.Pid), memory(r.holder.cmd.Process.Pid)}
	r.app.base = "http://" + r.holder.ready.API
	r.app.ledger.Store(newLedger(0, 0, 0))
	if i.receive != nil {
		loops, stop := context.WithCancel(ctx)
		r.stopApp = append(r.stopApp, func() { stop(); r.app.running.Wait() })
		i.receive(loops, r.app)
	}
	return nil
}

func (r *rig) sidecar(ctx context.Context, name string, args ...string) (*process, error) {
	args = append([]string{"run", "--journal", filepath.Join(r.dir, name), "--api", "127.0.0.1:0", "--peer", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, args...)
	if r.o.Profiles != "" {
		args = append(args, "--pprof")
	}
	return start(ctx, name, r.dir, r.o.Program, args...)
}

func (r *rig) stop() error {
	for _, stop := range r.stopApp {
		stop()
	}
	var errs []error
	for _, p := range []*process{r.home, r.holder} {
		if p != nil {
			errs = append(errs, p.stop())
		}
	}
	r.client.CloseIdleConnections()
	return errors.Join(append(errs, os.RemoveAll(r.dir))...)
}

// state is what a sidecar says of its journal.
type state struct {
	Commits uint64 `json:"seq"`
	Ops     uint64 `json:"operations"`
	Live    struct {
		Open uint64 `json:"expiry"` // every intent of home that has not ended
		Dead uint64 `json:"dead"`
	} `json:"live"`
}

func (r *rig) state(ctx context.Context, p *process) (state, error) {
	status, answer, err := call(ctx, r.client, http.MethodGet, "http://"+p.ready.Admin+"/v1/admin/status", nil)
	if err != nil {
		return state{}, err
	}
	var s struct{ Journal state }
	if err := json.Unmarshal(answer, &s); err != nil || status != http.StatusOK {
		return state{}, fmt.Errorf("status of %s: %d %s", p.name, status, clip(answer))
	}
	return s.Journal, nil
}

const (
	lookEvery = 5 * time.Millisecond // by so much an end is seen late
	drainMost = time.Minute          // for what is open when the posting ends
)

// drained waits until home has no open intent, and the app has heard that each of its
// answers is taken: home may know an outcome before that.
func (r *rig) drained(ctx context.Context, l *ledger) error {
	limit := time.Now().Add(drainMost)
	for {
		s, err := r.state(ctx, r.home)
		switch {
		case err != nil:
			return err
		case r.app.failed() != nil:
			return fmt.Errorf("app: %w", r.app.failed())
		case s.Live.Dead > 0:
			return fmt.Errorf("%d dead letters at home", s.Live.Dead)
		case s.Live.Open == 0 && l.settled.Load() >= l.accepted.Load():
			return nil
		case time.Now().After(limit):
			return fmt.Errorf("%v after the last was posted %d intents are open, and the app knows of %d of %d answers that they are taken",
				drainMost, s.Live.Open, l.settled.Load(), l.accepted.Load())
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// profile saves a CPU profile of a process.
func (r *rig) profile(ctx context.Context, p *process, seconds int, path string) error {
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", p.ready.Admin, seconds)
	status, answer, err := call(ctx, r.client, http.MethodGet, url, nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("profile of %s: %d %s", p.name, status, clip(answer))
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path, answer, 0o600)
}
