package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestLargeBodiesAtOnce: 64 apps send a MiB each at the same time, and 64 take them, of
// sidecars in pods of 128 MiB. However many they are, memory is that of a few.
func TestLargeBodiesAtOnce(t *testing.T) {
	t.Parallel()
	const apps, size, limit = 64, 1<<20 - 2<<10, 128 << 20
	group := newMemoryGroup(t, "home", limit)
	other := newMemoryGroup(t, "holder", limit)
	holder := newSidecar(t, setup{name: "holder", agents: []string{billing}, group: other})
	peers := peersFile(t, map[string][]string{billing: {holder.peer}})
	home := start(t, setup{name: "home", agents: []string{shop}, peers: peers, group: group})
	holder.start()
	home.app, holder.app = home.http, holder.http
	idle := [2]int64{home.procField("RssAnon"), holder.procField("RssAnon")}

	over := make(chan struct{})
	var most [2]int64
	var watch, work sync.WaitGroup
	watch.Go(func() {
		for {
			for i, s := range []*sidecar{home, holder} {
				most[i] = max(most[i], s.procField("RssAnon"))
			}
			select {
			case <-over:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	began := time.Now()
	body := message(billing, map[string]any{"x": strings.Repeat("x", size)})
	var refused, taken atomic.Int64
	for range apps {
		work.Go(func() {
			eventually(t, "an intent of a MiB to be taken", func() error {
				id, a := home.tryPost(body, "")
				if id == "" {
					refused.Add(1)
					return fmt.Errorf("%v", a)
				}
				return nil
			})
		})
		work.Go(func() {
			eventually(t, "it to be handed over", func() error {
				items, a := holder.tryPoll(billing, take{limit: 10, wait: 5, lease: 60})
				taken.Add(int64(len(items)))
				for _, it := range items {
					holder.ack(it, nil)
				}
				if n := taken.Load(); n < apps {
					return fmt.Errorf("%d of %d, %v", n, apps, a)
				}
				return nil
			})
		})
	}
	work.Wait()
	close(over)
	watch.Wait()
	t.Logf("figure: %d bodies of a MiB in %v (%d posts asked to come again); RssAnon of home %.1f, of the holder %.1f MiB at most, idle %.1f and %.1f",
		apps, time.Since(began).Round(time.Millisecond), refused.Load(), mib(most[0]), mib(most[1]), mib(idle[0]), mib(idle[1]))
	for i, g := range []*memoryGroup{group, other} {
		if n := g.kills(t); n != 0 {
			t.Errorf("the kernel killed sidecar %d %d times for want of memory", i, n)
		}
	}
}

// TestSlowReadersOfLargeIntents: 150 ask for an intent of a MiB each and do not read it, of
// a sidecar in a pod of 128 MiB. It answers what others ask meanwhile.
func TestSlowReadersOfLargeIntents(t *testing.T) {
	t.Parallel()
	const readers, intents, size, limit = 150, 8, 1<<20 - 2<<10, 128 << 20
	group := newMemoryGroup(t, "read", limit)
	home := start(t, setup{name: "home", agents: []string{shop}, group: group})
	body := message(billing, map[string]any{"x": strings.Repeat("x", size)})
	var ids []string
	for range intents {
		eventually(t, "an intent of a MiB to be taken", func() error {
			id, a := home.tryPost(body, "")
			if id == "" {
				return fmt.Errorf("%v", a)
			}
			ids = append(ids, id)
			return nil
		})
	}
	var all []*deaf
	for i := range readers {
		all = append(all, home.deafTo("GET /v1/intents/"+ids[i%intents]+" HTTP/1.1"))
	}
	began := time.Now()
	home.post(billing, map[string]any{"x": 1})
	small := time.Since(began)
	answers := map[int]int{}
	for _, d := range all {
		resp, err := http.ReadResponse(d.r, nil)
		if err != nil {
			t.Fatalf("a reader is answered %v; the group has %d kills", err, group.kills(t))
		}
		answers[resp.StatusCode]++
		d.conn.Close()
	}
	t.Logf("figure: %d readers are answered %v, a small intent is taken in %v; RssAnon %.1f MiB", readers, answers, small.Round(time.Millisecond), mib(home.procField("RssAnon")))
	if answers[http.StatusOK] == 0 || answers[http.StatusTooManyRequests] == 0 || answers[http.StatusOK]+answers[http.StatusTooManyRequests] != readers {
		t.Errorf("answers are %v, want 200 and 429 alone", answers)
	}
	if n := group.kills(t); n != 0 {
		t.Errorf("the kernel killed it %d times for want of memory", n)
	}
}
