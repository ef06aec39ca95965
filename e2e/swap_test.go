package e2e_test

import (
	"fmt"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// setBinding changes by the command line how billing receives.
func (s *sidecar) setBinding(binding string) {
	s.t.Helper()
	if out, err := exec.Command(s.bin, "agents", "set", billing, binding, "--admin", s.admin).CombinedOutput(); err != nil {
		s.t.Fatalf("agents set %s: %v: %s", binding, err, out)
	}
}

// TestLiveSwap: stream, webhook and poll take turns while intents flow, over a
// restart too. Each intent ends, none is handed over twice, and each of the three
// had its part.
func TestLiveSwap(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	var seen sync.Map // id → how it was received
	twice := func(id, how string) {
		if before, again := seen.LoadOrStore(id, how); again {
			t.Errorf("%s came by %s, and by %s before", id, how, before)
		}
	}
	app := newHook(t, say(204, ``))

	var ids []string
	var mu sync.Mutex
	var posting, receiving sync.WaitGroup
	var over atomic.Bool
	posting.Go(func() {
		for n := 0; !over.Load(); n++ {
			id, a := home.tryPost(message(billing, map[string]any{"n": n}), "")
			if id == "" {
				t.Errorf("post: %v", a)
				return
			}
			mu.Lock()
			ids = append(ids, id)
			mu.Unlock()
			time.Sleep(2 * time.Millisecond) // an app has other things to do
		}
	})
	done := func() int {
		n := 0
		seen.Range(func(any, any) bool { n++; return true })
		return n + app.count()
	}
	flow := func(what string) {
		t.Helper()
		from := done()
		eventually(t, "intents to flow by "+what, func() error {
			if n := done() - from; n < 25 {
				return fmt.Errorf("%d so far", n)
			}
			return nil
		})
	}
	stream := func() {
		receiving.Wait() // what a stream has left unsettled when its connection closes is the next one's
		r := holder.read("")
		receiving.Go(func() {
			for f := range r.frames {
				if f.event != "intent.delivered" {
					continue
				}
				it := itemOf(t, f)
				twice(it.ID, "stream")
				if a := holder.call("POST", "/v1/intents/"+it.ID+"/resume", map[string]any{"by": "stream"}); a.code != 200 {
					t.Errorf("resume of %s: %v", it.ID, a)
				}
			}
		})
	}
	polling := atomic.Bool{}
	poll := func() {
		polling.Store(true)
		receiving.Go(func() {
			for polling.Load() {
				items, a := holder.tryPoll(billing, take{limit: 4, wait: 1, lease: 60})
				if a.errorCode() == "wrong_binding" {
					return
				}
				for _, it := range items {
					twice(it.ID, "poll")
					holder.ack(it, nil)
				}
			}
		})
	}
	for range 2 {
		stream()
		flow("stream")
		holder.setBinding("http:http://" + app.addr)
		flow("webhook")
		holder.setBinding("poll")
		poll()
		flow("poll")
		holder.setBinding("http:http://" + app.addr) // it ends the poll
		flow("webhook again")
		holder.setBinding("configured")
	}
	over.Store(true)
	posting.Wait()
	holder.setBinding("http:http://" + app.addr)
	if code, _ := holder.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	ids = append(ids, home.post(billing, map[string]any{"last": true}))
	holder.launch()
	holder.awaitReady()
	by := map[string]int{}
	for _, id := range ids {
		home.status(id, "COMPLETED")
		calls, how := app.of(id), "webhook"
		if other, ok := seen.Load(id); ok {
			how = other.(string)
			if len(calls) > 0 {
				t.Errorf("%s came by webhook, and by %s", id, how)
			}
		} else if len(calls) != 1 {
			t.Errorf("%s came %d times by webhook", id, len(calls))
		}
		by[how]++
	}
	polling.Store(false)
	receiving.Wait()
	t.Logf("figure: %d intents over eight switches and a restart, each handed over once: %v", len(ids), by)
}
