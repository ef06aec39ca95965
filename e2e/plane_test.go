package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// plane is one `pannier control-plane`. It keeps its address over restarts.
type plane struct {
	t    testing.TB
	addr string
	on   *host
	args []string // its sources; none: what sidecars say themselves
	log  string
	proc *process
}

func newPlane(t testing.TB, on *host, args ...string) *plane {
	t.Helper()
	p := &plane{t: t, on: on, args: args, log: filepath.Join(t.TempDir(), "stderr")}
	if on != nil {
		p.addr = on.ip + ":7410"
		p.args = append(p.args, "--keyring", on.net.keyring)
	} else {
		p.addr = freeAddr(t)
	}
	t.Cleanup(func() {
		if p.proc != nil {
			p.kill()
		}
		if t.Failed() {
			t.Logf("stderr of the control plane %s:\n%s", p.addr, tail(readAll(p.log), 6000))
		}
	})
	return p
}

// start waits until it is ready: until its sources have synced.
func (p *plane) start() {
	p.t.Helper()
	p.launch()
	select {
	case <-p.proc.first:
	case <-p.proc.exited:
		p.t.Fatalf("the control plane ended: %v", p.proc.cmd.ProcessState)
	case <-time.After(60 * time.Second):
		p.t.Fatal("the control plane is not ready after a minute")
	}
}

func (p *plane) launch() {
	p.t.Helper()
	bin, argv := p.on.command(binary(p.t), append([]string{"control-plane", "--listen", p.addr, "--admin", "127.0.0.1:0"}, p.args...))
	proc, err := spawn(bin, argv, nil, p.log)
	if err != nil {
		p.t.Fatal(err)
	}
	p.proc = proc
}

// kill is SIGKILL.
func (p *plane) kill() {
	p.proc.cmd.Process.Signal(syscall.SIGKILL) // it may have been killed before
	<-p.proc.exited
}

func (p *plane) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.proc.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// known is what a sidecar knows by its control planes.
type known struct {
	Stale   bool
	Servers []struct {
		Address, State string
		LastError      string `json:"last_error"`
	}
	Resources []struct {
		Type, Name, State, Version string
		Deleted                    *string
		Resource                   struct {
			Endpoints []struct {
				LbEndpoints []struct {
					HealthStatus string
					Endpoint     struct {
						Address struct {
							SocketAddress struct {
								Address   string
								PortValue int
							}
						}
					}
				}
			}
		}
	}
}

// xds asks the sidecar, on its host as an operator does.
func (s *sidecar) xds() (k known, err error) {
	if s.set.on == nil {
		a := s.operate("GET", "/v1/admin/xds/dump", nil)
		if a.err != nil || a.code != 200 {
			return k, fmt.Errorf("xds dump: %v", a)
		}
		return k, json.Unmarshal(a.body, &k)
	}
	bin, argv := s.set.on.command(s.bin, []string{"xds", "dump", "--admin", s.admin})
	text, err := run(bin, argv...)
	if err != nil {
		return k, fmt.Errorf("xds dump: %w: %s", err, text)
	}
	return k, json.Unmarshal([]byte(text), &k)
}

// endpoints are those of billing as the sidecar has them: HOST:PORT, and a word
// for what is not healthy.
func (s *sidecar) endpoints() (all []string, err error) {
	k, err := s.xds()
	for _, r := range k.Resources {
		if r.Type != "endpoints" || r.Name != "billing.prod.acme" {
			continue
		}
		for _, zone := range r.Resource.Endpoints {
			for _, e := range zone.LbEndpoints {
				a := e.Endpoint.Address.SocketAddress
				one := fmt.Sprintf("%s:%d", a.Address, a.PortValue)
				if e.HealthStatus != "" && e.HealthStatus != "HEALTHY" {
					one += " " + strings.ToLower(e.HealthStatus)
				}
				all = append(all, one)
			}
		}
	}
	slices.Sort(all)
	return all, err
}

// keeps waits until all that the sidecar knows is in the file of its last known good.
func (s *sidecar) keeps() {
	s.t.Helper()
	eventually(s.t, s.set.name+" to have kept what it knows", func() error {
		k, err := s.xds()
		if err != nil {
			return err
		}
		content, err := os.ReadFile(filepath.Join(s.dir, "xds"))
		for _, r := range k.Resources {
			if !bytes.Contains(content, []byte(r.Version)) {
				err = fmt.Errorf("%s %s %s is not in the file", r.Type, r.Name, r.Version)
			}
		}
		return err
	})
}

// sees waits until the sidecar has billing at these places and no others.
func (s *sidecar) sees(want ...string) {
	s.t.Helper()
	slices.Sort(want)
	eventually(s.t, fmt.Sprintf("%s to have billing at %v", s.set.name, want), func() error {
		got, err := s.endpoints()
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("it has it at %v", got)
		}
		return err
	})
}
