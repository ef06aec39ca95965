package e2e_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestDrainingReachesHome: from the signal to stop until home hears of it, and
// from the ready line until home has the replica again. Meanwhile the replica goes
// on with what its app has.
func TestDrainingReachesHome(t *testing.T) {
	t.Parallel()
	m := &mesh{t: t}
	m.up()
	staying, leaving := m.holders[0], m.holders[1]
	m.home.post(billing, map[string]any{"n": 0}) // or it asks for nobody
	m.home.sees(staying.peer, leaving.peer)
	var drained, back []time.Duration
	for range 3 {
		// Its app holds it up.
		m.home.post(billing, map[string]any{"n": 1})
		var it item
		eventually(t, "an intent at the one that is to leave", func() error {
			for _, s := range m.holders {
				for _, got := range s.poll(billing, take{limit: 1, lease: 600}) {
					if s == leaving {
						it = got
						return nil
					}
					s.ack(got, nil)
				}
			}
			m.home.post(billing, map[string]any{"n": 1})
			return fmt.Errorf("all went to the other")
		})
		signaled := time.Now()
		leaving.signal(syscall.SIGTERM)
		m.home.sees(staying.peer, leaving.peer+" draining")
		drained = append(drained, time.Since(signaled))
		leaving.ack(it, nil)
		leaving.awaitExit()
		leaving.http.CloseIdleConnections()
		leaving.start()
		ready := time.Now()
		m.home.sees(staying.peer, leaving.peer)
		back = append(back, time.Since(ready))
	}
	t.Logf("figure: home hears that a replica drains %v after the signal, worst of %d %v", middle(drained), len(drained), slices.Max(drained))
	t.Logf("figure: home has a replica back %v after it is ready, worst of %d %v", middle(back), len(back), slices.Max(back))
}

// TestRollingRestart: both replicas of billing are restarted, one after the other,
// under load. No intent fails, none is an attempt, and each is handed over once.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	m := startMesh(t)
	var over atomic.Bool
	var posting sync.WaitGroup
	ids := map[string]time.Time{}
	posting.Go(func() {
		for n := 0; !over.Load(); n++ {
			at := time.Now()
			id, a := m.home.tryPost(message(billing, map[string]any{"n": n}), "")
			if id == "" {
				t.Errorf("post: %v", a)
				return
			}
			ids[id] = at
			time.Sleep(10 * time.Millisecond) // the load
		}
	})
	m.deliver(5, func() {})
	for _, s := range m.holders {
		s.stop() // the app never rests, so it takes all its time, and on a busy machine more than that
		s.start()
		m.home.sees(m.holders[0].peer, m.holders[1].peer)
		m.deliver(5, func() {})
	}
	over.Store(true)
	posting.Wait()
	var delays []time.Duration
	for id, at := range ids {
		m.home.status(id, "COMPLETED")
		events := m.home.events(id)
		delivered := 0
		for _, e := range events {
			switch e.Type {
			case "intent.delivered":
				delivered++
			case "intent.completed":
				delays = append(delays, e.At.Sub(at))
			case "intent.delivery_failed":
				t.Errorf("%s: a failed attempt: %v", id, e.Details)
			}
		}
		if delivered != 1 {
			t.Errorf("%s was handed over %d times: %v", id, delivered, kinds(events))
		}
	}
	t.Logf("figure: %d intents over a rolling restart of both replicas: done after %v, worst %v", len(delays), middle(delays), slices.Max(delays))
}
