package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestBacklogMemory: the receiver is down, and 100,000 intents wait for it.
// Memory must not follow: RssAnon at 100k within 8 MiB of that at 10k, of the
// binary as users run it. Nothing is written for what only waits.
// E2E_BACKLOG=n makes it n in place of 100,000.
func TestBacklogMemory(t *testing.T) {
	t.Parallel()
	total := number(t, "E2E_BACKLOG", 100_000)
	holder := newSidecar(t, setup{name: "holder", agents: []string{billing}})
	peers := peersFile(t, map[string][]string{billing: {holder.peer}})
	home := start(t, setup{name: "home", agents: []string{shop}, peers: peers})

	small := total / 10
	began := time.Now()
	park(t, home, small)
	atSmall := restingMemory(home)
	park(t, home, total-small)
	took := time.Since(began)
	atFull := restingMemory(home)
	t.Logf("figure: RssAnon with %d waiting %.1f MiB, with %d waiting %.1f MiB", small, mib(atSmall), total, mib(atFull))
	t.Logf("figure: %d intents accepted and parked in %v (with two rests)", total, took.Round(time.Millisecond))
	if grown := atFull - atSmall; grown > 8<<20 {
		t.Errorf("RssAnon grew by %.1f MiB from %d to %d waiting intents, want at most 8", mib(grown), small, total)
	}

	quiet(t, home)

	home.kill()
	began = time.Now()
	home.start()
	t.Logf("figure: after kill -9 with %d waiting, ready in %v", total, time.Since(began).Round(time.Millisecond))
	if again := restingMemory(home); again > atFull+(8<<20) {
		t.Errorf("RssAnon after the restart %.1f MiB, before %.1f", mib(again), mib(atFull))
	}

	holder.start()
	drainSome(t, holder, min(total, 3000))
}

// park posts n intents, by batches: how they come is no matter of what waits, and a request
// for each would be most of what this costs.
func park(t testing.TB, s *sidecar, n int) {
	t.Helper()
	const most = 20
	one := message(billing, map[string]any{"order": "A-1", "amount": 4999, "note": "waits for a receiver that is down"})
	var next atomic.Int64
	var failed atomic.Pointer[answer]
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for failed.Load() == nil {
				from := next.Add(most) - most
				some := min(most, int64(n)-from)
				if some <= 0 {
					return
				}
				a := s.call("POST", "/v1/intents:batch", map[string]any{"intents": slices.Repeat([]any{one}, int(some))})
				var doc struct{ Results []struct{ OK bool } }
				if err := json.Unmarshal(a.body, &doc); a.err == nil && err != nil {
					a.err = err
				}
				taken := 0
				for _, r := range doc.Results {
					if r.OK {
						taken++
					}
				}
				if a.err != nil || taken != int(some) {
					failed.Store(&a)
				}
			}
		})
	}
	wg.Wait()
	if a := failed.Load(); a != nil {
		t.Fatalf("post: %v", a)
	}
}

var errRested = errors.New("it falls no further")

// restingMemory is RssAnon once it has stopped falling: what the work before
// has left is not what waits, and the store gives its buffers back only one
// every two seconds.
func restingMemory(s *sidecar) int64 {
	s.http.CloseIdleConnections()
	least, since := s.procField("RssAnon"), time.Now()
	within(45*time.Second, func() error {
		if now := s.procField("RssAnon"); now < least-(512<<10) {
			least, since = now, time.Now()
		} else {
			least = min(least, now)
		}
		if time.Since(since) > 9*time.Second {
			return errRested
		}
		return nil
	})
	return least
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// quiet looks that waiting costs no writes: neither batches nor bytes.
func quiet(t testing.TB, s *sidecar) {
	t.Helper()
	eventually(t, "the journal to rest", func() error {
		seq, size := s.journalSeq(), allocated(t, s.dir)
		var err error
		within(2*time.Second, func() error { return nil })
		if now := s.journalSeq(); now != seq {
			err = fmt.Errorf("%d batches were written while all intents waited", now-seq)
		}
		if now := allocated(t, s.dir); now > size {
			err = fmt.Errorf("the journal grew by %d bytes while all intents waited", now-size)
		}
		return err
	})
}

// allocated is what the journal's files take, by their length.
func allocated(t testing.TB, dir string) (total int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // a file that a compaction has just removed
		}
		if info, err := d.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// drainSome lets the receiver come back and take n of what waits.
func drainSome(t testing.TB, holder *sidecar, n int) {
	t.Helper()
	began := time.Now()
	done := 0
	eventually(t, "the backlog to flow", func() error {
		for done < n {
			items := holder.poll(billing, take{limit: 500, wait: 5, lease: 60})
			if len(items) == 0 {
				return fmt.Errorf("%d of %d", done, n)
			}
			var list []map[string]any
			for _, it := range items {
				list = append(list, map[string]any{"intent_id": it.ID, "lease_id": it.Lease, "action": "ack"})
			}
			if a := holder.call("POST", agentPath(billing, "/intents:settle"), map[string]any{"items": list}); a.code != 200 {
				return fmt.Errorf("settle: %v", a)
			}
			done += len(items)
		}
		return nil
	})
	took := time.Since(began)
	t.Logf("figure: a returning receiver took %d of the backlog in %v, %.0f a second", done, took.Round(time.Millisecond), float64(done)/took.Seconds())
}
