package e2e_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// crowd is the apps on both sides: senders at home, workers at both.
type crowd struct {
	t       testing.TB
	h       *history
	home    *sidecar
	holders []*sidecar
	small   bool // few apps, in no hurry: where it is not the load that counts
	pause   int  // of a sender, at most so many milliseconds

	sendersDone, workersDone atomic.Bool
	abandoned                atomic.Bool // not even a POST that owes its answer goes on
	senders, workers         sync.WaitGroup

	mu       sync.Mutex
	ackedN   int
	finished map[string]bool
	protests []string // what a worker or sender saw that must never be
}

func (c *crowd) protest(format string, args ...any) {
	c.mu.Lock()
	c.protests = append(c.protests, fmt.Sprintf(format, args...))
	c.mu.Unlock()
}

// busy is how many intents are acked to a sender and not completed.
func (c *crowd) busy() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ackedN - len(c.finished)
}

func (c *crowd) begin() {
	senders, workers := 6, 5
	c.pause = 100
	if c.small {
		senders, workers, c.pause = 1, 2, 250
	}
	for i := range senders {
		c.senders.Go(func() { c.send(i) })
	}
	for _, holder := range c.holders {
		for range workers {
			c.workers.Go(func() { c.work(holder, billing) })
		}
	}
	for range 2 {
		c.workers.Go(func() { c.work(c.home, shop) })
	}
	c.senders.Go(c.watch)
	c.t.Cleanup(func() { // a test that gives up must not leave them running
		c.abandoned.Store(true)
		c.sendersDone.Store(true)
		c.workersDone.Store(true)
		c.senders.Wait()
		c.workers.Wait()
	})
}

// send posts one intent after the other, each until it is acked: the app that
// retries with its key.
func (c *crowd) send(n int) {
	for i := 0; !c.sendersDone.Load(); i++ {
		if c.busy() > 200 {
			time.Sleep(5 * time.Millisecond) // the sender's own throttle
			continue
		}
		key := fmt.Sprintf("key-%d-%d", n, i)
		id := c.posted(key)
		if i%10 == 9 && !c.sendersDone.Load() {
			if again := c.insist(key); again != id {
				c.protest("key %s answered %s, and later %s", key, id, again)
			}
		}
		time.Sleep(time.Duration(rand.IntN(c.pause)) * time.Millisecond) // an app has other things to do
	}
}

// posted is the id of an intent that is under way from now on.
func (c *crowd) posted(key string) string {
	id := c.insist(key)
	c.mu.Lock()
	c.ackedN++
	c.mu.Unlock()
	return id
}

func (c *crowd) insist(key string) string {
	to := billing
	if strings.HasSuffix(key, "3") {
		to = shop
	}
	for !c.abandoned.Load() {
		began := time.Now()
		id, a := c.home.tryPost(message(to, map[string]any{"key": key}), key)
		c.h.post(posted{span: span{began, time.Now()}, key: key, id: id})
		switch {
		case id != "":
			return id
		case a.err == nil && a.code != 503:
			c.protest("post %s: %v", key, a)
			return ""
		}
		time.Sleep(5 * time.Millisecond) // a down sidecar refuses at once
	}
	return ""
}

func (c *crowd) work(at *sidecar, agent string) {
	for !c.workersDone.Load() {
		began := time.Now()
		items, a := at.tryPoll(agent, take{limit: 1 + rand.IntN(16), wait: 1, lease: 3})
		if a.err != nil || a.code != 200 {
			if a.err == nil && a.code != 503 {
				c.protest("poll: %v", a)
			}
			time.Sleep(5 * time.Millisecond)
			continue
		}
		got := time.Now()
		for _, it := range items {
			c.h.hand(handed{span: span{began, got}, item: it, holder: at.set.name, agent: agent})
		}
		if len(items) > 2 && rand.IntN(4) == 0 {
			c.ackAll(at, agent, items)
			continue
		}
		for _, it := range items {
			c.handle(at, it)
		}
	}
}

// handle is one app's work on one intent, with the moods apps have.
func (c *crowd) handle(at *sidecar, it item) {
	time.Sleep(time.Duration(rand.IntN(8)) * time.Millisecond)
	switch mood := rand.IntN(100); {
	case mood < 1: // forgets it
		return
	case mood < 4:
		c.answer(at, it, "nack", map[string]any{"reason": "not now"})
		return
	case mood < 7:
		c.answer(at, it, "extend", map[string]any{"lease_seconds": 4})
	}
	c.answer(at, it, "ack", map[string]any{"result": resultOf(it)})
}

func resultOf(it item) map[string]any { return map[string]any{"lease": it.Lease} }

// answer repeats a settle until it is answered: the app that retries. The
// answer of a repetition must be that of the first.
func (c *crowd) answer(at *sidecar, it item, verb string, more map[string]any) {
	for !c.workersDone.Load() {
		began := time.Now()
		a := at.settle(verb, it, more)
		var doc struct {
			LeaseUntil time.Time `json:"lease_until"`
		}
		json.Unmarshal(a.body, &doc) // only extend has it
		result, _ := json.Marshal(resultOf(it))
		code := a.code
		if a.err != nil {
			code = 0
		}
		c.h.settle(settled{span: span{began, time.Now()}, id: it.ID, lease: it.Lease, verb: verb, code: code, result: string(result), until: doc.LeaseUntil})
		switch code {
		case 200:
			if verb == "ack" {
				c.finish(it.ID)
			}
			return
		case 409:
			return // another hand-over has it
		case 0, 503:
			time.Sleep(5 * time.Millisecond)
		default:
			c.protest("%s %s: %v", verb, it.ID, a)
			return
		}
	}
}

func (c *crowd) finish(id string) {
	c.mu.Lock()
	c.finished[id] = true
	c.mu.Unlock()
}

// ackAll settles a whole poll in one call.
func (c *crowd) ackAll(at *sidecar, agent string, items []item) {
	var list []map[string]any
	for _, it := range items {
		list = append(list, map[string]any{"intent_id": it.ID, "lease_id": it.Lease, "action": "ack", "result": resultOf(it)})
	}
	for !c.workersDone.Load() {
		began := time.Now()
		a := at.call("POST", agentPath(agent, "/intents:settle"), map[string]any{"items": list})
		var doc struct {
			Results []struct {
				OK bool `json:"ok"`
			} `json:"results"`
		}
		answered := a.err == nil && a.code == 200 && json.Unmarshal(a.body, &doc) == nil && len(doc.Results) == len(items)
		for i, it := range items {
			code := 0
			if answered && doc.Results[i].OK {
				code = 200
				c.finish(it.ID)
			} else if answered {
				code = 409
			}
			result, _ := json.Marshal(resultOf(it))
			c.h.settle(settled{span: span{began, time.Now()}, id: it.ID, lease: it.Lease, verb: "ack", code: code, result: string(result)})
		}
		if answered {
			return
		}
		if a.err == nil && a.code != 503 {
			c.protest("settle: %v", a)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// watch reads event logs during the run: whatever a reader saw must be there
// in the end.
func (c *crowd) watch() {
	for !c.sendersDone.Load() {
		time.Sleep(time.Duration(c.pause) * time.Millisecond / 4)
		c.h.mu.Lock()
		id := ""
		if n := len(c.h.posts); n > 0 {
			id = c.h.posts[n-1-rand.IntN(min(n, 50))].id
		}
		c.h.mu.Unlock()
		if id == "" {
			continue
		}
		var doc struct{ Events []event }
		a := c.home.call("GET", "/v1/intents/"+id+"/events", nil)
		if a.err == nil && a.code == 200 && json.Unmarshal(a.body, &doc) == nil {
			c.h.sighted(sighting{at: time.Now(), id: id, events: doc.Events})
		}
	}
}

// drain stops the senders and lets the workers finish everything.
func (c *crowd) drain() {
	c.sendersDone.Store(true)
	c.senders.Wait()
	c.t.Logf("drain: %d open", c.busy())
	eventually(c.t, "every acked intent to end at home", func() error {
		for _, status := range []string{"SUBMITTED", "DELIVERED", "ACKNOWLEDGED", "IN_PROGRESS", "WAITING"} {
			if open := c.home.list("limit=1&status=" + status); len(open) > 0 {
				return fmt.Errorf("%s is %s", open[0].ID, status)
			}
		}
		return nil
	})
	c.workersDone.Store(true)
	c.workers.Wait()
}

// readFinals asks home for every intent that was ever acked.
func (c *crowd) readFinals() {
	c.h.final = finals(c.home, c.h.acked())
}

// finals reads intents and their logs, several at a time. What cannot be read
// is left out, and the checker calls it lost.
func finals(s *sidecar, ids map[string]string) map[string]verdict {
	out := map[string]verdict{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	todo := make(chan string)
	for range 8 {
		wg.Go(func() {
			for id := range todo {
				if v, ok := final(s, id); ok {
					mu.Lock()
					out[id] = v
					mu.Unlock()
				}
			}
		})
	}
	for id := range ids {
		todo <- id
	}
	close(todo)
	wg.Wait()
	return out
}

func final(s *sidecar, id string) (verdict, bool) {
	var got struct{ Intent intent }
	var logged struct{ Events []event }
	a := s.call("GET", "/v1/intents/"+id, nil)
	b := s.call("GET", "/v1/intents/"+id+"/events", nil)
	if a.code != 200 || b.code != 200 || json.Unmarshal(a.body, &got) != nil || json.Unmarshal(b.body, &logged) != nil {
		return verdict{}, false
	}
	var payload struct{ Key string }
	if json.Unmarshal(got.Intent.Payload, &payload) != nil {
		return verdict{}, false
	}
	return verdict{status: got.Intent.Status, to: got.Intent.To, key: payload.Key, result: got.Intent.Result, events: logged.Events, late: len(got.Intent.LateAnswers)}, true
}

// tell prints all that is known of the intent a violation begins with.
func (c *crowd) tell(violation string) {
	id, _, _ := strings.Cut(violation, ":")
	short := func(at time.Time) string { return at.Format("05.000") }
	for _, p := range c.h.posts {
		if p.id == id {
			c.t.Logf("%s–%s posted %s", short(p.begin), short(p.end), p.key)
		}
	}
	for _, x := range c.h.hands {
		if x.item.ID == id {
			c.t.Logf("%s–%s handed over by %s: lease %s until %s, attempt %d, redelivered %v", short(x.begin), short(x.end),
				x.holder, x.item.Lease, short(x.item.LeaseUntil), x.item.DeliveryAttempt, x.item.Redelivered)
		}
	}
	for _, s := range c.h.ends {
		if s.id == id {
			c.t.Logf("%s–%s %s of lease %s: %d", short(s.begin), short(s.end), s.verb, s.lease, s.code)
		}
	}
	for _, e := range c.h.final[id].events {
		c.t.Logf("%s event %d %s %s %v", short(e.At), e.Seq, e.Type, e.Status, e.Details)
	}
	for _, k := range c.h.kills {
		c.t.Logf("%s %s killed, up %s", short(k.at), k.who, short(k.up))
	}
}
