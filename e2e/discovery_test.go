package e2e_test

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// asking starts a sidecar that asks these control planes, in this order.
func asking(t testing.TB, name, agent string, servers ...string) *sidecar {
	t.Helper()
	set := setup{name: name, agents: []string{agent}}
	for _, s := range servers {
		set.args = append(set.args, "--xds", s)
	}
	return start(t, set)
}

// hears waits until a control plane answers the sidecar, or none does.
func (s *sidecar) hears(want bool) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%s hearing a control plane: %v", s.set.name, want), func() error {
		k, err := s.xds()
		if err == nil && k.Stale == want {
			err = fmt.Errorf("servers: %+v", k.Servers)
		}
		return err
	})
}

// TestFirstControlPlaneGone: sidecars that cannot reach the first of two announce
// themselves at the second, and learn from it; when the first comes up they go to
// it, and miss nothing.
func TestFirstControlPlaneGone(t *testing.T) {
	t.Parallel()
	first, second := newPlane(t, nil), newPlane(t, nil)
	second.start()
	holder := asking(t, "holder", billing, first.addr, second.addr)
	home := asking(t, "home", shop, first.addr, second.addr)
	carry(t, home, holder)
	first.start()
	second.kill()
	carry(t, home, holder)
	late := asking(t, "late", billing, first.addr, second.addr)
	home.sees(holder.peer, late.peer)
}

// TestFirstControlPlaneHalfOpen: the same where the first takes connections and
// says nothing on them.
func TestFirstControlPlaneHalfOpen(t *testing.T) {
	t.Parallel()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mute.Close() }) // the kernel takes the connections
	p := newPlane(t, nil)
	p.start()
	holder := newSidecar(t, setup{name: "holder", agents: []string{billing}, args: []string{"--xds", mute.Addr().String(), "--xds", p.addr}})
	home := newSidecar(t, setup{name: "home", agents: []string{shop}, args: holder.set.args})
	holder.launch()
	home.launch()
	holder.awaitReady()
	home.awaitReady()
	carry(t, home, holder)
}

// TestControlPlaneStopped: one that is there and says nothing (SIGSTOP) holds up
// neither delivery nor a start.
func TestControlPlaneStopped(t *testing.T) {
	t.Parallel()
	p := newPlane(t, nil)
	p.start()
	holder, home := asking(t, "holder", billing, p.addr), asking(t, "home", shop, p.addr)
	carry(t, home, holder)
	home.keeps()
	p.signal(syscall.SIGSTOP)
	carry(t, home, holder)
	for _, s := range []*sidecar{home, holder} {
		s.kill()
		s.start()
		carry(t, home, holder)
	}
	home.hears(false)
	p.signal(syscall.SIGCONT)
	home.hears(true)
	home.sees(holder.peer)
	carry(t, home, holder)
}

// TestControlPlaneWithOtherContent: it comes back and says something else while
// home is down. Home hears the new word, though it starts with the old one.
func TestControlPlaneWithOtherContent(t *testing.T) {
	t.Parallel()
	was, is := start(t, setup{name: "was", agents: []string{billing}}), start(t, setup{name: "is", agents: []string{billing}})
	places := filepath.Join(t.TempDir(), "places.yaml")
	writePlaces(t, places, was.peer)
	p := newPlane(t, nil, "--source", "file="+places)
	p.start()
	home := asking(t, "home", shop, p.addr)
	carry(t, home, was)
	home.sees(was.peer)
	home.keeps()
	home.kill()
	p.kill()
	writePlaces(t, places, is.peer)
	p.start()
	home.start()
	home.sees(is.peer)
	carry(t, home, is)
}

// TestControlPlaneBackEmpty: it comes back before those it knew, and takes them
// out when it has waited for them. Home hears that, and uses what it knew on.
func TestControlPlaneBackEmpty(t *testing.T) {
	t.Parallel()
	p := newPlane(t, nil)
	p.start()
	holder, home := asking(t, "holder", billing, p.addr), asking(t, "home", shop, p.addr)
	carry(t, home, holder)
	home.sees(holder.peer)
	holder.signal(syscall.SIGSTOP)
	p.kill()
	p.start()
	eventually(t, "the control plane to delete billing", func() error {
		k, err := home.xds()
		for _, r := range k.Resources {
			if r.Type == "endpoints" && r.Deleted != nil {
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("resources: %+v", k.Resources))
	})
	home.sees(holder.peer)
	id := home.post(billing, map[string]any{"order": "A-1"})
	holder.signal(syscall.SIGCONT)
	finish(t, home, holder, id)
	eventually(t, "it to be announced again", func() error {
		k, err := home.xds()
		for _, r := range k.Resources {
			if r.Deleted != nil {
				err = errors.Join(err, fmt.Errorf("%s %s is deleted", r.Type, r.Name))
			}
		}
		return err
	})
}

// TestControlPlaneNotReady: one of its sources cannot be asked after a restart. It
// says nothing, and so takes nothing away.
func TestControlPlaneNotReady(t *testing.T) {
	t.Parallel()
	need(t, true, "ip", "nft", "ss")
	n := newNetwork(t, 3)
	on := func(i int, name, agent, to string) *sidecar {
		return start(t, setup{name: name, agents: []string{agent}, on: n.hosts[i], args: []string{"--keyring", n.keyring, "--xds", to}})
	}
	p := newPlane(t, n.hosts[0], "--source", "registration")
	p.start()
	holder, home := on(1, "holder", billing, p.addr), on(2, "home", shop, p.addr)
	carry(t, home, holder)
	home.sees(holder.peer)
	home.keeps()
	p.kill()
	p.args = append(p.args, "--source", "dns=agent://acme/prod/other=nowhere.example:7401") // there is no name server on this network
	p.launch()
	holder.kill() // it will not register again
	eventually(t, "home to be connected", func() error {
		name, args := p.on.command("ss", []string{"-Htn", "state", "established", "dst = " + home.set.on.ip})
		open, err := run(name, args...)
		if err == nil && !strings.Contains(open, ":7410") {
			err = fmt.Errorf("connections: %s", open)
		}
		return err
	})
	home.hears(false)
	home.sees(holder.peer)
	home.kill()
	home.start()
	home.sees(holder.peer)
	holder.set.args = []string{"--keyring", n.keyring}
	holder.start()
	carry(t, home, holder)
}
