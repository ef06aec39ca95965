package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// waiters are clients that wait for the end of what they have posted, and go away, or
// wait no longer, at any moment around that end. The app at the holder takes as long for
// an intent as its payload says.
type waiters struct {
	t            testing.TB
	h            *history
	home, holder *sidecar
	over         atomic.Bool

	mu   sync.Mutex
	seen map[string]json.RawMessage // result in an answer to who waited, by intent
	told [2]int                     // waits that were answered: without the end, and with it
	gone int                        // waits that were not
}

// TestWaitersAreGone: what becomes of an intent does not hang on who waits for it. Each
// ends once, is handed over once and has one completion, and the sidecar keeps nothing of
// the waits of those who are gone.
func TestWaitersAreGone(t *testing.T) {
	t.Parallel()
	home, holder := pair(t, nil)
	home.set.args = append(home.set.args, "--pprof")
	home.launch()
	holder.start()
	home.awaitReady()
	rnd := seeded(t)
	w := &waiters{t: t, h: &history{}, home: home, holder: holder, seen: map[string]json.RawMessage{}}
	stays := home.post(nobody, map[string]any{"n": 0})
	staying := w.stay(stays)
	before := home.goroutines("")

	var apps, clients sync.WaitGroup
	t.Cleanup(func() { w.over.Store(true); apps.Wait() })
	for range 3 {
		apps.Go(w.app)
	}
	const each = 40
	for n := range 6 * each {
		work, drop := time.Duration(rnd.IntN(60))*time.Millisecond, time.Duration(rnd.IntN(100_000))*time.Microsecond
		key := fmt.Sprintf("waited-%d", n)
		clients.Go(func() {
			switch n / each {
			case 0, 1:
				w.dropsPost(key, work, drop, n%2 == 0)
			case 2, 3:
				w.dropsGet(key, work, drop)
			case 4: // the app answers about when the wait runs out
				w.waitsOneSecond(key, time.Second-2*drop)
			default:
				w.leavesOpen(drop)
			}
		})
		if n%each == each-1 && n/each < 3 {
			clients.Wait() // forty at once do not make the machine the slow one
		}
	}
	clients.Wait()
	w.drain()
	apps.Wait()
	w.judge()

	// Whoever is still there shows that those who are gone were not merely waited for to the end.
	eventually(t, "nobody to be waited for but who is there", func() error {
		if n := home.goroutines("(*API).await+"); n != 1 {
			return fmt.Errorf("%d waits are under way, want one", n)
		}
		return nil
	})
	select {
	case <-staying:
		t.Error("the wait that was to go on has ended: the others may have ended with it")
	default:
	}
	t.Logf("figure: %d waits dropped, %d ended without the end of their intent and %d with it; goroutines %d before, %d after",
		w.gone, w.told[0], w.told[1], before, home.goroutines(""))
}

const nobody = "agent://acme/prod/nobody"

// goroutines counts those of a sidecar with --pprof that are in a function.
func (s *sidecar) goroutines(in string) (n int) {
	s.t.Helper()
	a := s.operate("GET", "/debug/pprof/goroutine?debug=1", nil)
	if a.err != nil || a.code != http.StatusOK {
		s.t.Fatalf("goroutines: %v", a)
	}
	for stack := range strings.SplitSeq(string(a.body), "\n\n") {
		some := 0
		for line := range strings.Lines(stack) { // a title above the first
			fmt.Sscanf(line, "%d @", &some) // "3 @ 0x…": three that stand there
		}
		if strings.Contains(stack, in) {
			n += some
		}
	}
	return n
}

// stay waits as long as one may for the end of an intent; the channel is closed at the end.
func (w *waiters) stay(id string) <-chan struct{} {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.ask(ctx, "GET", "/v1/intents/"+id+"?wait_for=terminal&wait_seconds=60", nil)
	}()
	w.t.Cleanup(func() { cancel(); <-done })
	eventually(w.t, "a wait to be under way", func() error {
		if w.home.goroutines("(*API).await+") == 0 {
			return io.EOF
		}
		return nil
	})
	return done
}

// ask makes a request that ends with ctx, and its connection with it.
func (w *waiters) ask(ctx context.Context, method, path string, body any, header ...string) (*intent, bool) {
	text, err := json.Marshal(body)
	if err != nil {
		w.t.Error(err)
	}
	req, err := http.NewRequestWithContext(ctx, method, w.home.apiURL()+path, bytes.NewReader(text))
	if err != nil {
		w.t.Error(err)
		return nil, false
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	var doc struct{ Intent *intent }
	resp, err := w.home.app.Do(req)
	if err == nil {
		defer resp.Body.Close()
		err = json.NewDecoder(bufio.NewReader(resp.Body)).Decode(&doc)
		if err == nil && resp.StatusCode != http.StatusOK {
			w.t.Errorf("%s %s: status %d", method, path, resp.StatusCode)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err != nil && ctx.Err() == nil:
		w.t.Errorf("%s %s: %v", method, path, err)
	case err != nil:
		w.gone++
	case doc.Intent != nil && terminal(doc.Intent.Status):
		w.told[1]++
		if was, ok := w.seen[doc.Intent.ID]; ok && !jsonEqual(string(was), doc.Intent.Result) {
			w.t.Errorf("%s ended with %s, and with %s before", doc.Intent.ID, doc.Intent.Result, was)
		}
		w.seen[doc.Intent.ID] = doc.Intent.Result
	default:
		w.told[0]++
	}
	return doc.Intent, err == nil
}

// order is an intent for which the app takes a time.
func order(key string, work time.Duration, options ...any) map[string]any {
	return message(billing, map[string]any{"key": key, "work": work}, delivery(append(options, "reply_to", shop)...))
}

// dropsPost posts, waits and goes away; it may never hear the id, and asks for it with its key.
func (w *waiters) dropsPost(key string, work, drop time.Duration, elsewhere bool) {
	asked := order(key, work)
	if elsewhere {
		asked = order(key, work, "durability", "receiver")
	}
	ctx, cancel := context.WithTimeout(context.Background(), drop)
	defer cancel()
	w.ask(ctx, "POST", "/v1/intents", asked, "Idempotency-Key", key, "Prefer", "wait=60")
	w.insist(asked, key)
}

// dropsGet waits, by id, and goes away; and then once more.
func (w *waiters) dropsGet(key string, work, drop time.Duration) {
	id := w.insist(order(key, work), key)
	for range 2 {
		ctx, cancel := context.WithTimeout(context.Background(), drop/2)
		w.ask(ctx, "GET", "/v1/intents/"+id+"?wait_for=terminal&wait_seconds=60", nil)
		cancel()
	}
}

// waitsOneSecond waits in both ways, for a second each.
func (w *waiters) waitsOneSecond(key string, work time.Duration) {
	asked := order(key, work)
	w.ask(context.Background(), "POST", "/v1/intents", asked, "Idempotency-Key", key, "Prefer", "wait=1")
	id := w.insist(asked, key)
	w.ask(context.Background(), "GET", "/v1/intents/"+id+"?wait_for=terminal&wait_seconds=1", nil)
}

// leavesOpen goes away from what nobody will ever end.
func (w *waiters) leavesOpen(drop time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), drop)
	defer cancel()
	w.ask(ctx, "POST", "/v1/intents", message(nobody, map[string]any{"n": 1}), "Prefer", "wait=60")
}

// insist is the id under a key, for whoever has not heard it.
func (w *waiters) insist(asked map[string]any, key string) string {
	began := time.Now()
	id, a := w.home.tryPost(asked, key)
	if id == "" {
		w.t.Errorf("post %s: %v", key, a)
	}
	w.h.post(posted{span: span{began, time.Now()}, key: key, id: id})
	return id
}

// app takes what there is and works on all of it at once.
func (w *waiters) app() {
	var working sync.WaitGroup
	defer working.Wait()
	for !w.over.Load() {
		began := time.Now()
		for _, it := range w.holder.poll(billing, take{limit: 16, wait: 1, lease: 600}) {
			w.h.hand(handed{span: span{began, time.Now()}, item: it, holder: w.holder.set.name, agent: billing})
			var asked struct{ Work time.Duration }
			if err := json.Unmarshal(it.Payload, &asked); err != nil {
				w.t.Error(err)
			}
			working.Go(func() {
				time.Sleep(asked.Work) // the app's work
				began := time.Now()
				result, _ := json.Marshal(resultOf(it))
				a := w.holder.settle("ack", it, map[string]any{"result": resultOf(it)})
				w.h.settle(settled{span: span{began, time.Now()}, id: it.ID, lease: it.Lease, verb: "ack", code: a.code, result: string(result)})
			})
		}
	}
}

// drain waits for the end of all that has a key.
func (w *waiters) drain() {
	for id := range w.h.acked() {
		w.home.status(id, "COMPLETED")
	}
	w.over.Store(true)
}

func (w *waiters) judge() {
	w.h.final = finals(w.home, w.h.acked())
	r := check(w.h)
	for id, result := range w.seen {
		if !jsonEqual(string(result), w.h.final[id].result) {
			r.bad("%s: who waited was told %s, and it is %s", id, result, w.h.final[id].result)
		}
	}
	if r.handovers != r.acked || r.completed != r.acked {
		r.bad("%d intents, %d hand-overs, %d completed", r.acked, r.handovers, r.completed)
	}
	completions := map[string]int{}
	for _, i := range w.home.listAll("") {
		if i.CompletionOf != "" {
			completions[i.CompletionOf]++
		}
	}
	for id := range w.h.acked() {
		if completions[id] != 1 {
			r.bad("%s: %d completions", id, completions[id])
		}
	}
	for _, v := range r.violations {
		w.t.Error(v)
	}
	r.print(w.t.Logf)
}
