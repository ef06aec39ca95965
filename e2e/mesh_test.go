package e2e_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// mesh is a control plane that knows of sidecars only what they say themselves,
// a home, and two holders of billing.
type mesh struct {
	t       testing.TB
	net     *network // each on a host of its own; nil: all on loopback
	joined  int
	config  map[string]string
	plane   *plane
	home    *sidecar
	holders [2]*sidecar
	done    atomic.Bool
	workers sync.WaitGroup
}

// startMesh starts one on loopback, with apps that take what comes.
func startMesh(t testing.TB) *mesh {
	t.Helper()
	m := &mesh{t: t}
	m.up()
	for _, s := range m.holders {
		m.workers.Go(func() { m.work(s) })
	}
	t.Cleanup(func() {
		m.done.Store(true)
		m.workers.Wait()
	})
	return m
}

func (m *mesh) up() {
	m.t.Helper()
	m.plane = newPlane(m.t, m.next())
	m.plane.start()
	m.home = m.join("home", shop)
	for i := range m.holders {
		m.holders[i] = m.join(fmt.Sprintf("holder %d", i+1), billing)
	}
}

// next is the next host, where there are any.
func (m *mesh) next() *host {
	if m.net == nil {
		return nil
	}
	m.joined++
	return m.net.hosts[m.joined-1]
}

// join starts a sidecar that asks the control plane.
func (m *mesh) join(name, agent string) *sidecar {
	m.t.Helper()
	set := setup{name: name, agents: []string{agent}, args: []string{"--xds", m.plane.addr}, config: m.config, on: m.next()}
	if set.on != nil {
		set.args = append(set.args, "--keyring", m.net.keyring)
	}
	return start(m.t, set)
}

// work acks what comes, over restarts of its sidecar.
func (m *mesh) work(s *sidecar) {
	for !m.done.Load() {
		items, a := s.tryPoll(billing, take{limit: 10, wait: 1})
		if a.err != nil || a.code != 200 {
			time.Sleep(5 * time.Millisecond) // a sidecar that is down refuses at once
			continue
		}
		for _, it := range items {
			s.settle("ack", it, nil) // if it is not heard the lease runs out, and it comes again
		}
	}
}

// deliver posts some intents and waits until each has ended well.
func (m *mesh) deliver(n int, meanwhile func()) {
	m.t.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = m.home.post(billing, map[string]any{"n": i})
	}
	meanwhile()
	for _, id := range ids {
		if e := m.home.wait(id); e.Status != "COMPLETED" {
			m.t.Fatalf("%s ended %s", id, e.Status)
		}
	}
}

// TestNewReplica: from the ready line of a new replica to the first intent its app
// has, of those that have waited for it.
func TestNewReplica(t *testing.T) {
	t.Parallel()
	m := startMesh(t)
	const agent = "agent://acme/prod/late"
	var took []time.Duration
	for i := range 3 {
		id := m.home.post(agent, map[string]any{"n": i})
		s := m.join(fmt.Sprintf("late %d", i), agent)
		ready := time.Now()
		it := s.take1(agent, take{wait: 20})
		took = append(took, time.Since(ready))
		if it.ID != id {
			t.Errorf("got %s, want %s", it.ID, id)
		}
		s.ack(it, nil)
		m.home.wait(id)
		if code, _ := s.stop(); code != 0 {
			t.Errorf("stop: exit %d", code)
		}
	}
	t.Logf("figure: a new replica has its first intent %v after it is ready, worst of %d %v", middle(took), len(took), slices.Max(took))
}
