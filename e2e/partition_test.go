package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// spread is a mesh whose processes have a host each, with two hosts to spare, and
// a small crowd of apps at it.
type spread struct {
	*mesh
	apps *nemesis
	n    int      // probes
	open []string // those that had not come through when last looked at
}

func startSpread(t *testing.T) *spread {
	t.Helper()
	m := &mesh{t: t, net: newNetwork(t, 6)}
	// Silence is noticed by home in seconds, and by everybody else by gRPC's pings
	// as in production: theirs are 15 s apart, and may take 10 s.
	m.config = map[string]string{"offer_timeout": "2s"}
	m.up()
	n := newNemesis(t, m.home, m.holders[:]...)
	n.small = true
	n.begin()
	s := &spread{mesh: m, apps: n}
	s.flows()
	return s
}

// probe posts one to billing that the apps take like any other.
func (s *spread) probe() (id string) {
	s.n++
	return s.apps.posted(fmt.Sprintf("probe-%d-", s.n))
}

// flows waits until ten of the intents posted from now on have come through. What a
// holder was sent before anybody noticed that it is cut off need not.
func (s *spread) flows() {
	s.t.Helper()
	posted := map[string]bool{}
	waiting := func() (n int) {
		for _, id := range s.open {
			if posted[id] {
				n++
			}
		}
		return n
	}
	eventually(s.t, "fresh intents to come through", func() error {
		if waiting() < 10 { // those of an earlier batch may be in the gap
			for range 10 {
				id := s.probe()
				posted[id] = true
				s.open = append(s.open, id)
			}
		}
		s.look()
		if through := len(posted) - waiting(); through < 10 {
			return fmt.Errorf("%d of %d did, the last says: %s", through, len(posted), s.home.why(s.open[len(s.open)-1]).Text)
		}
		return nil
	})
}

// look forgets the probes that have come through.
func (s *spread) look() {
	s.open = slices.DeleteFunc(s.open, func(id string) bool {
		a := s.home.call("GET", "/v1/intents/"+id, nil)
		return a.code == 200 && strings.Contains(string(a.body), `"status":"COMPLETED"`)
	})
}

// stuck waits until an intent of one agent that waits says so with one of these
// causes.
func (s *spread) stuck(id string, causes ...string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("why of %s to be one of %v", id, causes), func() error {
		w := s.home.why(id)
		for _, c := range w.Causes {
			if slices.Contains(causes, c.Code) {
				return nil
			}
		}
		return fmt.Errorf("%s: %s", w.Status, w.Text)
	})
}

// caught waits until an intent has gone to a holder that cannot answer, and says
// so: that, and not that another holder would take it.
func (s *spread) caught() {
	s.t.Helper()
	eventually(s.t, "an intent that was sent into the gap to say so", func() error {
		var all []string
		for _, status := range []string{"SUBMITTED", "DELIVERED", "IN_PROGRESS"} {
			for _, i := range s.home.list("limit=100&status=" + status) {
				w := s.home.why(i.ID)
				codes := make([]string, len(w.Causes))
				for i, c := range w.Causes {
					codes[i] = c.Code
				}
				if slices.Contains(codes, "holder_unreachable") {
					if slices.Contains(codes, "offering") {
						s.t.Errorf("why: %s", w.Text)
					}
					return nil
				}
				all = append(all, i.Status+" "+w.Text)
			}
		}
		return fmt.Errorf("open: %v", all)
	})
}

// lost waits until a holder has noticed that it hears nothing more of home.
func (s *spread) lost(holder *sidecar) {
	s.t.Helper()
	_, port, _ := strings.Cut(holder.peer, ":")
	eventually(s.t, holder.set.name+" to give up the connection of home", func() error {
		name, args := holder.set.on.command("ss", []string{"-Htn", "state", "established", "sport = :" + port})
		open, err := run(name, args...)
		if err != nil || open != "" {
			return fmt.Errorf("%v, %s", err, open)
		}
		return nil
	})
}

// said waits for words in the log of a sidecar, beyond what it had said before.
func (s *spread) said(by *sidecar, words string, before int) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%s to say %q", by.set.name, words), func() error {
		if n := strings.Count(by.stderr(), words); n <= before {
			return fmt.Errorf("said %d times", n)
		}
		return nil
	})
}

// judge ends the traffic. All that was posted must have been handed over, and
// have ended well, once.
func (s *spread) judge() {
	s.t.Helper()
	s.apps.drain()
	s.apps.readFinals()
	r := check(s.apps.h)
	r.print(s.t.Logf)
	for _, v := range append(r.violations, s.apps.protests...) {
		s.t.Error(v)
	}
	if r.completed != r.acked {
		s.t.Errorf("%d of %d intents ended well", r.completed, r.acked)
	}
}

// TestMeshAcrossHosts: whichever process is killed, the control plane included, or
// loses its network, delivery goes on over what is left, and nothing is lost.
func TestMeshAcrossHosts(t *testing.T) {
	t.Parallel()
	s := startSpread(t)
	for _, victim := range []*sidecar{s.home, s.holders[0], s.holders[1]} {
		s.apps.strike([]*sidecar{victim})
		s.flows()
	}
	s.plane.kill()
	s.flows()
	s.apps.strike([]*sidecar{s.home}) // with nobody to ask
	s.flows()
	s.plane.start()
	s.apps.strike([]*sidecar{s.home, s.holders[0]})
	s.flows()

	s.net.unplug(s.home.set.on)
	id := s.probe()
	s.stuck(id, "breaker_open", "connecting")
	s.net.mend()
	s.flows()

	s.net.unplug(s.plane.on)
	s.apps.strike([]*sidecar{s.home}) // with nobody in reach to ask
	s.flows()
	s.net.mend()
	s.judge()
}

// TestPartitions…: two of the processes do not hear one another, or one of them not
// the other, for as long as it takes to be noticed. Delivery goes on, what cannot
// says why, and afterwards nothing is missing. They are tests of their own, since
// parts of one that run side by side begin when all other tests have begun.
func TestPartitionsHomeFromPlane(t *testing.T)        { partitioned(t, homeFromPlane) }
func TestPartitionsHolderFromPlane(t *testing.T)      { partitioned(t, holderFromPlane) }
func TestPartitionsHomeFromHolder(t *testing.T)       { partitioned(t, homeFromHolder) }
func TestPartitionsHomeFromHolderOneWay(t *testing.T) { partitioned(t, homeFromHolderOneWay) }

func partitioned(t *testing.T, walk func(*testing.T, *spread)) {
	t.Parallel()
	need(t, true, "ip", "nft", "ss")
	s := startSpread(t)
	walk(t, s)
	s.judge()
}

// homeFromPlane: home cannot ask the control plane, and then cannot hear its
// answers. It goes on with what it knows. What it does not know waits for both.
func homeFromPlane(t *testing.T, s *spread) {
	home, plane := s.home.set.on, s.plane.on
	for i, cut := range []func(){
		func() { s.net.drop(home, plane); s.net.drop(plane, home) },
		func() { s.net.drop(plane, home) },
	} {
		const away = "control plane out of reach"
		before := strings.Count(s.home.stderr(), away)
		cut()
		late := fmt.Sprintf("agent://acme/prod/late-%d", i)
		id := s.home.post(late, map[string]any{"n": i})
		newcomer := s.join(late, late)
		s.said(s.home, away, before)
		s.stuck(id, "discovery_pending", "no_endpoint")
		s.flows()
		s.net.mend()
		newcomer.ack(newcomer.take1(late, take{lease: 60}), nil)
		s.home.status(id, "COMPLETED")
	}
}

// holderFromPlane: a holder that the control plane loses sight of is no longer
// named to home, which sends it nothing new, and finishes with it what it has.
func holderFromPlane(t *testing.T, s *spread) {
	cut := s.holders[0]
	s.home.sees(s.holders[0].peer, s.holders[1].peer)
	s.net.drop(cut.set.on, s.plane.on)
	s.net.drop(s.plane.on, cut.set.on)
	began := time.Now()
	s.home.sees(s.holders[1].peer)
	t.Logf("figure: a holder the control plane does not hear is taken out after %v", time.Since(began).Round(time.Second))
	s.flows()
	s.net.mend()
	// What it asks the control plane next tells it that its stream is dead.
	cut.post("agent://acme/prod/nobody", map[string]any{})
	s.home.sees(s.holders[0].peer, s.holders[1].peer)
	s.flows()
}

// homeFromHolder: what home had sent a holder waits for it and says so. The holder
// goes on with what it has, and reports when it is back.
func homeFromHolder(t *testing.T, s *spread) {
	cut := s.holders[0]
	s.net.drop(s.home.set.on, cut.set.on)
	s.net.drop(cut.set.on, s.home.set.on)
	s.caught()
	s.flows()
	s.lost(cut)
	s.flows()
	s.net.mend()
	s.flows()
}

// homeFromHolderOneWay: as before, but one of the two is heard. Last the wire comes
// and goes, faster than anybody notices.
func homeFromHolderOneWay(t *testing.T, s *spread) {
	home, holder := s.home.set.on, s.holders[0].set.on
	for _, way := range [][2]*host{{home, holder}, {holder, home}} {
		s.net.drop(way[0], way[1])
		s.caught()
		s.flows()
		s.net.mend()
		s.flows()
	}
	for range 5 {
		s.net.drop(home, holder)
		within(500*time.Millisecond, func() error { return nil }) // the fault itself
		s.net.mend()
		within(500*time.Millisecond, func() error { return nil })
	}
	s.flows()
}
