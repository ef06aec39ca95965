package e2e_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// mesh is a control plane that knows of sidecars only what they say themselves,
// a home, and two holders of billing.
type mesh struct {
	t       testing.TB
	xds     string
	plane   *process
	home    *sidecar
	holders [2]*sidecar
	done    atomic.Bool
	workers sync.WaitGroup
}

func startMesh(t testing.TB) *mesh {
	t.Helper()
	m := &mesh{t: t, xds: freeAddr(t)}
	m.startPlane()
	m.home = m.join("home", shop)
	for i := range m.holders {
		m.holders[i] = m.join(fmt.Sprintf("holder %d", i+1), billing)
		m.workers.Go(func() { m.work(m.holders[i]) })
	}
	t.Cleanup(func() {
		m.done.Store(true)
		m.workers.Wait()
		m.stopPlane()
	})
	return m
}

// join starts a sidecar that asks the control plane.
func (m *mesh) join(name, agent string) *sidecar {
	m.t.Helper()
	return start(m.t, setup{name: name, agents: []string{agent}, args: []string{"--xds", m.xds}})
}

// startPlane takes the address the control plane had before.
func (m *mesh) startPlane() {
	m.t.Helper()
	p, err := spawn(binary(m.t), []string{"control-plane", "--listen", m.xds, "--admin", "127.0.0.1:0"}, nil, filepath.Join(m.t.TempDir(), "stderr"))
	if err != nil {
		m.t.Fatal(err)
	}
	select {
	case <-p.first:
	case <-p.exited:
		m.t.Fatalf("control plane ended: %v", p.cmd.ProcessState)
	}
	m.plane = p
}

// stopPlane is SIGKILL.
func (m *mesh) stopPlane() {
	m.plane.cmd.Process.Signal(syscall.SIGKILL) // it may have been killed before
	<-m.plane.exited
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

// TestMesh: a control plane and three sidecars, none of them configured to know of
// another. Whichever is killed, nothing is lost.
func TestMesh(t *testing.T) {
	t.Parallel()
	m := startMesh(t)
	m.deliver(20, func() {})
	m.deliver(20, m.stopPlane)
	m.deliver(20, func() { m.home.kill(); m.home.start() }) // with nobody to ask
	m.startPlane()
	for _, s := range m.holders {
		m.deliver(20, func() { s.kill(); s.start() })
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
