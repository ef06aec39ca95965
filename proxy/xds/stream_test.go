package xds_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pannier/proxy/mesh"
	"pannier/proxy/xds"
)

func TestPauses(t *testing.T) {
	t.Parallel()
	const most = 1 - 1e-9
	for n, want := range map[int]time.Duration{1: time.Second, 2: 1600 * time.Millisecond, 3: 2560 * time.Millisecond, 8: 26843545600, 9: 30 * time.Second, 1000: 30 * time.Second} {
		if got := xds.Pause(n, most); got < want-time.Microsecond || got > want {
			t.Errorf("the longest pause before try %d is %s, want %s", n, got, want)
		}
		if got := xds.Pause(n, 0); got != 0 {
			t.Errorf("the shortest pause before try %d is %s, want none: jitter is full", n, got)
		}
	}
}

// The pauses grow while no try brings a response, whatever else it brings, and
// start anew after one that did.
func TestBackoffResetsAfterAResponse(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.up(first)
		w.start()
		w.c.Endpoints(billing)
		tries := func(d time.Duration, speak bool) (n int) {
			over := time.After(d)
			for {
				select {
				case s := <-p.streams:
					n++
					if speak {
						s.greet()
					}
					s.end <- errors.New("no")
				case <-over:
					return n
				}
			}
		}
		// Of full jitter below 30 s: 15 s between two tries on average.
		tries(3*time.Minute, false)
		if n := tries(time.Hour, false); n < 180 || n > 320 {
			t.Errorf("%d tries without a response in an hour, want about 240", n)
		}
		// Of full jitter below 1 s, and what requested takes in greet.
		if n := tries(3*time.Minute, true); n < 90 {
			t.Errorf("%d tries with a response in 3 minutes, want one in less than 2 s", n)
		}
	})
}

// A server that closes its streams, as many do to spread their clients, is no
// trouble worth a line, and nothing is marked for long.
func TestCleanCloseIsNoError(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p, s := w.synced("10.0.0.7")
		for range 10 {
			s.end <- nil
			s = p.accept()
			s.greet()
		}
		if n := w.log.count("level=WARN"); n != 0 {
			t.Errorf("%d warnings: %v", n, w.log.text)
		}
		w.sees(billing, "10.0.0.7")
		if got := w.state("cluster", key); got.State != xds.Acked {
			t.Errorf("the status is %+v", got)
		}
	})
}

// A server that takes the stream and never says anything is left after 60 s; one
// that has spoken may be silent for ever.
func TestSilence(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.up(first)
		began := time.Now()
		w.start()
		w.c.Endpoints(billing)
		s := p.accept()
		s.gone()
		if took := time.Since(began); took < 59*time.Second || took > 62*time.Second {
			t.Errorf("left after %s, want 60 s", took)
		}
		synctest.Wait()
		if got := w.c.Status(false).Servers[0]; got.State != "waiting" || got.LastError == "" || got.NextTry == nil {
			t.Errorf("the server's status is %+v", got)
		}
		s = p.accept()
		s.greet()
		p.none(24 * time.Hour)
	})
}

// The next server is asked only when the one before cannot be reached and
// something is missing, and is left when it can.
func TestNextServer(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.node.Agents = nil // nothing of us is missing there
		w.opt.Servers = []string{first, second}
		p, q := w.up(first), w.up(second)
		w.start()
		w.c.Endpoints(billing)
		s := p.accept()
		s.whole("10.0.0.7")
		w.down(first)
		q.none(time.Hour) // nothing is missing
		w.sees(billing, "10.0.0.7")

		w.c.Endpoints("agent://acme/prod/orders2")
		next := q.accept()
		asked := next.requested()[mesh.TypeCluster]
		if len(asked) != 1 || asked[0].GetInitialResourceVersions()[key] != "c1" {
			t.Errorf("the second server is asked %v", asked)
		}
		next.ack(mesh.TypeEndpoints, load(key, "e2", "10.0.0.8"))
		w.sees(billing, "10.0.0.8")

		p = w.up(first)
		s = p.accept()
		time.Sleep(10 * time.Second)
		w.sees(billing, "10.0.0.8")
		if got := w.c.Status(false).Servers[1].State; got != "connected" {
			t.Errorf("the second server is %s before the first has spoken", got)
		}
		s.greet()
		next.gone()
		synctest.Wait()
		if got := w.c.Status(false).Servers[1].State; got != "standby" {
			t.Errorf("the second server is %s", got)
		}
		q.none(time.Hour)
	})
}

// With nothing known, a first server that is away is not waited for.
func TestFirstServerAway(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.opt.Servers = []string{first, second}
		q := w.up(second)
		w.start()
		w.c.Endpoints(billing)
		q.accept().whole("10.0.0.7")
		w.sees(billing, "10.0.0.7")
	})
}

// A sidecar that has agents, and asks for none, needs a server to be heard of: the
// next at once where the first was never there, and otherwise when it has been away
// for longer than a restart takes.
func TestNextServerHearsOfUs(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.opt.Servers = []string{first, second}
		q := w.up(second)
		w.start()
		s := q.accept()
		node := s.next().GetNode()
		if n, ours := mesh.ReadNode(node.GetMetadata()); !ours || !slices.Equal(n.Agents, w.node.Agents) {
			t.Errorf("the second server hears of %v, want %v", n.Agents, w.node.Agents)
		}
		s.greet()

		p := w.up(first)
		p.accept().greet()
		s.gone()
		w.down(first)
		q.none(unheardFor - time.Millisecond)
		q.accept()
	})
}

// unheardFor is how long a restart of a server may take.
const unheardFor = 10 * time.Second
