package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestBacklogMemory: the receiver is down, and 100,000 intents wait for it, in a pod of
// 96 MiB: files that are mapped count there, too. Memory must not follow: RssAnon at 100k
// within 8 MiB of that at 10k, of the binary as users run it. Nothing is written for what
// only waits, and all of it is there after a kill. E2E_BACKLOG=n makes it n in place of
// 100,000.
func TestBacklogMemory(t *testing.T) {
	t.Parallel()
	const limit, most = 96 << 20, 64 << 20 // of the group, of RssAnon
	total := number(t, "E2E_BACKLOG", 100_000)
	group := newMemoryGroup(t, "backlog", limit)
	holder := newSidecar(t, setup{name: "holder", agents: []string{billing}})
	peers := peersFile(t, map[string][]string{billing: {holder.peer}})
	home := start(t, setup{name: "home", agents: []string{shop}, peers: peers, group: group})
	home.app = home.http // the sidecar is measured, not the judge of its answers
	idle := home.procField("RssAnon")
	if got := home.heapLimit(); got > limit*8/10 || got < limit*7/10 {
		t.Errorf("Go is to keep within %.0f bytes, of %d", got, limit)
	}

	small := total / 10
	began := time.Now()
	park(t, home, small)
	took := time.Since(began)
	atSmall := restingMemory(home)
	began = time.Now()
	sample := park(t, home, total-small)
	took += time.Since(began)
	loaded := home.procField("RssAnon")
	atFull := restingMemory(home)
	t.Logf("figure: RssAnon idle %.1f MiB, with %d waiting %.1f MiB, with %d waiting %.1f MiB, just before that came to rest %.1f MiB", mib(idle), small, mib(atSmall), total, mib(atFull), mib(loaded))
	t.Logf("figure: %d intents accepted and parked in %v, %.0f a second; they take %.0f MiB of disk", total, took.Round(time.Millisecond), float64(total)/took.Seconds(), mib(allocated(t, home.dir)))
	if grown := atFull - atSmall; grown > 8<<20 {
		t.Errorf("RssAnon grew by %.1f MiB from %d to %d waiting intents, want at most 8", mib(grown), small, total)
	}
	if atFull > most {
		t.Errorf("RssAnon with %d waiting is %.1f MiB, want at most %d", total, mib(atFull), most>>20)
	}

	quiet(t, home)

	for _, end := range []struct {
		how string
		do  func()
	}{
		{"kill -9", home.kill},
		{"a clean stop", func() {
			if code, _ := home.stop(); code != 0 {
				t.Errorf("a clean stop ends with %d", code)
			}
		}},
	} {
		end.do()
		began = time.Now()
		home.start()
		t.Logf("figure: after %s with %d waiting, ready in %v", end.how, total, time.Since(began).Round(time.Millisecond))
		if again := restingMemory(home); again > atFull+(8<<20) {
			t.Errorf("RssAnon after %s and a start %.1f MiB, before %.1f", end.how, mib(again), mib(atFull))
		}
		home.waiting(total)
	}
	for _, n := range rand.Perm(len(sample))[:min(200, len(sample))] {
		if in := home.get(sample[n]); in.Status != "SUBMITTED" || in.To != billing {
			t.Fatalf("of what waits, %s is %s for %s", sample[n], in.Status, in.To)
		}
	}

	holder.start()
	drainSome(t, holder, min(total, 3000))
	t.Logf("figure: at most %.1f of %d MiB in memory, files included, reclaimed %d times", mib(int64(group.most(t))), limit>>20, group.pressed(t))
	if n := group.kills(t); n != 0 {
		t.Errorf("the kernel killed it %d times for want of memory", n)
	}
}

// waiting looks that so many intents are due.
func (s *sidecar) waiting(want int) {
	s.t.Helper()
	var doc struct {
		Backlogs []struct {
			Place string
			Count int
		}
	}
	s.operate("GET", "/v1/admin/status", nil).into(s.t, &doc)
	for _, b := range doc.Backlogs {
		if b.Place == "due" && b.Count == want {
			return
		}
	}
	s.t.Errorf("%d intents should be due: %v", want, doc.Backlogs)
}

// heapLimit is below what Go keeps its memory.
func (s *sidecar) heapLimit() float64 { return s.figure("go_gc_gomemlimit_bytes") }

// figure is one of the page of metrics that has no labels.
func (s *sidecar) figure(name string) (value float64) {
	s.t.Helper()
	for line := range bytes.Lines(s.operate("GET", "/metrics", nil).body) {
		if n, _ := fmt.Sscanf(string(line), name+" %g", &value); n == 1 {
			return value
		}
	}
	s.t.Fatalf("no %s on the page of metrics", name)
	return 0
}

// park posts n intents, by batches: how they come is no matter of what waits, and a request
// for each would be most of what this costs. It returns one id of each batch.
func park(t testing.TB, s *sidecar, n int) (ids []string) {
	t.Helper()
	const most = 20
	one := message(billing, map[string]any{"order": "A-1", "amount": 4999, "note": "waits for a receiver that is down"})
	var next atomic.Int64
	var failed atomic.Pointer[answer]
	var mu sync.Mutex // of ids
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
				var doc struct {
					Results []struct {
						OK bool
						ID string `json:"intent_id"`
					}
				}
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
					return
				}
				mu.Lock()
				ids = append(ids, doc.Results[0].ID)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if a := failed.Load(); a != nil {
		t.Fatalf("post: %v", a)
	}
	return ids
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
