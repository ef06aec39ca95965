package e2e_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

const hookSecret = "a secret that no answer has in it"

// subscriber is an app that is sent events. It checks AXP's signature over the
// bytes as they came.
type subscriber struct {
	*hook
	mu     sync.Mutex
	bodies []string
}

func newSubscriber(t *testing.T, status func() int) *subscriber {
	sub := &subscriber{}
	sub.hook = newHook(t, func(w http.ResponseWriter, r *http.Request) {})
	sub.hook.stop()
	sub.hook.wrap = func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mac := hmac.New(sha256.New, []byte(hookSecret))
		mac.Write(body)
		if want := "sha256=" + hex.EncodeToString(mac.Sum(nil)); err != nil || r.Header.Get("X-Axme-Signature") != want {
			t.Errorf("X-Axme-Signature %q, want %q: %v", r.Header.Get("X-Axme-Signature"), want, err)
		}
		sub.mu.Lock()
		sub.bodies = append(sub.bodies, r.Header.Get("webhook-id")+" "+string(body))
		sub.mu.Unlock()
		w.WriteHeader(status())
	}
	return sub
}

// got is how many requests of an event came.
func (s *subscriber) got(event string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.bodies {
		if strings.HasPrefix(b, event+" ") && strings.Contains(b, `"event_id":"`+event+`"`) && strings.Contains(b, `"payload":{"n": 1.50}`) {
			n++
		}
	}
	return n
}

// counters are what publish and replay answer.
type counters struct {
	Event     string `json:"event_id"`
	Queued    int    `json:"queued_deliveries"`
	Processed int    `json:"processed_deliveries"`
	Delivered int    `json:"delivered"`
	Pending   int    `json:"pending"`
	Dead      int    `json:"dead_lettered"`
}

func (s *sidecar) subscribe(url string) (id string) {
	s.t.Helper()
	a := s.call("POST", "/v1/webhooks/subscriptions", map[string]any{"callback_url": url, "event_types": []string{"inbox.thread_created"}, "secret": hookSecret})
	var doc struct {
		Subscription struct {
			ID string `json:"subscription_id"`
		}
	}
	a.into(s.t, &doc)
	if strings.Contains(string(a.body), hookSecret) {
		s.t.Errorf("the secret is in %s", a.body)
	}
	return doc.Subscription.ID
}

func (s *sidecar) publish() (c counters) {
	s.t.Helper()
	s.call("POST", "/v1/webhooks/events", `{"event_type": "inbox.thread_created", "source": "shop", "payload": {"n": 1.50}}`).into(s.t, &c)
	return c
}

func (s *sidecar) replayEvent(id string) (c counters) {
	s.t.Helper()
	s.call("POST", "/v1/webhooks/events/"+id+"/replay", nil, "Content-Type", "application/json").into(s.t, &c)
	return c
}

// TestEventsReachSubscribers: publishing does not wait for a subscriber that is
// down; events wait for it, over a SIGKILL of the sidecar, and come signed over the
// bytes. A revoked one gets none. No secret is in what the sidecar says.
func TestEventsReachSubscribers(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}})
	app := newSubscriber(t, func() int { return http.StatusAccepted }) // any 2xx will do; it is down
	url := "http://" + app.addr + "/events"
	id := s.subscribe(url)
	if again := s.subscribe(url); again != id {
		t.Errorf("subscribed twice: %s and %s", id, again)
	}
	var events []string
	for range 5 {
		c := s.publish()
		if c.Queued != 1 || c.Pending != 1 || c.Delivered != 0 {
			t.Errorf("published: %+v", c)
		}
		events = append(events, c.Event)
	}
	s.kill()
	s.start()
	app.start()
	for _, e := range events {
		eventually(t, "event "+e, func() error {
			if n := app.got(e); n < 1 {
				return errNoAnswer
			}
			return nil
		})
	}
	eventually(t, "a replay to come, too", func() error {
		if c := s.replayEvent(events[0]); c.Delivered < 2 || app.got(events[0]) < 2 {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	list := s.call("GET", "/v1/webhooks/subscriptions?owner_agent=agent://acme/prod/anybody", nil)
	revoked := s.call("DELETE", "/v1/webhooks/subscriptions/"+id+"?owner_agent=agent://acme/prod/anybody", nil)
	if list.code != 200 || !strings.Contains(string(list.body), id) || revoked.code != 200 {
		t.Errorf("list %v, revoked %v", list, revoked)
	}
	if c := s.publish(); c.Queued != 0 {
		t.Errorf("a revoked one is sent to: %+v", c)
	}
	if said := string(list.body) + string(revoked.body) + s.stderr(); strings.Contains(said, hookSecret) {
		t.Error("the secret is in what the sidecar says")
	}
	s.stop()
	s.verify()
}

// TestFailingCallback: retries, intent.delivery_failed for each, FAILED, a dead
// letter; and a replay reaches it when it is mended.
func TestFailingCallback(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}})
	var mended atomic.Bool
	app := newSubscriber(t, func() int {
		if mended.Load() {
			return http.StatusOK
		}
		return http.StatusInternalServerError
	})
	app.start()
	s.subscribe("http://" + app.addr + "/events")
	event := s.publish().Event
	intent := s.list("")[0].ID
	s.status(intent, "FAILED")
	attempts(t, s, intent, 10)
	if e := s.events(intent); e[len(e)-1].Type != "intent.failed" || e[len(e)-2].Type != "intent.delivery_failed" || app.got(event) != 10 {
		t.Errorf("%d requests, events %v", app.got(event), kinds(e))
	}
	mended.Store(true)
	if c := s.replayEvent(event); c.Dead != 1 || c.Queued != 2 {
		t.Errorf("replayed: %+v", c)
	}
	eventually(t, "the replay to come", func() error {
		if n := app.got(event); n != 11 {
			return fmt.Errorf("%d requests", n)
		}
		return nil
	})
	s.dlq(0, "", "purge", intent, "--yes")
	if c := s.replayEvent(event); c.Dead != 1 || c.Queued != 3 {
		t.Errorf("replayed after its dead letter was purged: %+v", c)
	}
}
