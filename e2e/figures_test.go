package e2e_test

import (
	"sort"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestFigures prints what this machine gives; it judges nothing, since a slow
// machine is no defect.
func TestFigures(t *testing.T) {
	home, holder := startPair(t, nil)
	home.app, holder.app = home.http, holder.http // the sidecar is measured, not the judge of its answers
	one := latencies(300, func() { home.post("agent://acme/prod/nobody", map[string]any{"n": 1}) })
	t.Logf("figure: POST, one client: median %v, 99th %v", middle(one), late(one))

	var mu sync.Mutex
	var many []time.Duration
	var count atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range 64 {
		wg.Go(func() {
			for time.Since(began) < 3*time.Second {
				l := latencies(10, func() { home.tryPost(message("agent://acme/prod/nobody", map[string]any{"n": 1}), "") })
				count.Add(10)
				mu.Lock()
				many = append(many, l...)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("figure: POST, 64 clients: %.0f a second, median %v, 99th %v", float64(count.Load())/time.Since(began).Seconds(), middle(many), late(many))

	var whole []time.Duration
	for range 100 {
		began := time.Now()
		id := home.post(billing, map[string]any{"n": 1})
		it := holder.take1(billing, take{wait: 10})
		holder.ack(it, nil)
		home.wait(id)
		whole = append(whole, time.Since(began))
	}
	t.Logf("figure: post, poll, ack, wait across two sidecars: median %v, 99th %v", middle(whole), late(whole))
}

func latencies(n int, do func()) (all []time.Duration) {
	for range n {
		began := time.Now()
		do()
		all = append(all, time.Since(began))
	}
	return all
}

func middle(all []time.Duration) time.Duration { return quantile(all, 50) }
func late(all []time.Duration) time.Duration   { return quantile(all, 99) }

func quantile(all []time.Duration, percent int) time.Duration {
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	return all[(len(all)-1)*percent/100].Round(10 * time.Microsecond)
}
