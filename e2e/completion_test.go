package e2e_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

const desk = "agent://acme/prod/desk"

// told is the completion of an intent, as the sidecar of reply_to has it.
type told struct {
	Type     string         `json:"type"`
	IntentID string         `json:"intent_id"`
	Status   string         `json:"status"`
	Result   map[string]any `json:"result"`
}

// office is a home, the holder of billing, and the sidecar of desk, which is to be
// told how things ended.
func office(t testing.TB, config map[string]string) (home, holder, front *sidecar) {
	t.Helper()
	holder = newSidecar(t, setup{name: "holder", agents: []string{billing}, config: config})
	front = newSidecar(t, setup{name: "desk", agents: []string{desk}, config: config})
	peers := peersFile(t, map[string][]string{billing: {holder.peer}, desk: {front.peer}})
	home = newSidecar(t, setup{name: "home", agents: []string{shop}, peers: peers, config: config})
	for _, s := range []*sidecar{home, holder, front} {
		s.launch()
	}
	for _, s := range []*sidecar{home, holder, front} {
		s.awaitReady()
	}
	return home, holder, front
}

// completionAt finds the completion of an intent in a sidecar's list.
func (s *sidecar) completionAt(id string) (found intent, err error) {
	n := 0
	for _, i := range s.list("limit=200") {
		if i.CompletionOf == id {
			found, n = i, n+1
		}
	}
	if n != 1 {
		return found, fmt.Errorf("%d completions of %s at %s", n, id, s.set.name)
	}
	return found, nil
}

// TestReplyTo: the end of an intent, whoever gave it, reaches the sidecar that serves
// reply_to as a thread, though nobody ever reads there, and over kills of any of
// the three at any time.
func TestReplyTo(t *testing.T) {
	t.Parallel()
	home, holder, front := office(t, nil)
	reply := delivery("reply_to", desk)
	// Something that waits for a reader at desk holds no completion up.
	stuck := home.post(desk, map[string]any{"n": 0})
	front.holds(stuck)
	kills := map[string]func(){
		"nobody":               func() {},
		"home":                 func() { home.kill(); home.start() },
		"desk":                 func() { front.kill(); front.start() },
		"both":                 func() { home.kill(); front.kill(); front.start(); home.start() },
		"desk down at the end": func() {},
	}
	for name, kill := range kills {
		id := home.post(billing, map[string]any{"n": 1}, reply)
		it := holder.take1(billing, take{lease: 60})
		if name == "desk down at the end" {
			front.kill()
		}
		holder.ack(it, map[string]any{"paid": true})
		home.status(id, "COMPLETED")
		kill()
		if name == "desk down at the end" {
			front.start()
		}
		var got intent
		eventually(t, "the completion to be known at desk; killed: "+name, func() (err error) {
			got, err = front.completionAt(id)
			return err
		})
		var said told
		json.Unmarshal(got.Payload, &said)
		if said.Type != "intent.completed" || said.IntentID != id || said.Status != "COMPLETED" || said.Result["paid"] != true {
			t.Errorf("killed %s: it says %s", name, got.Payload)
		}
		end := home.status(got.ID, "COMPLETED")
		if err := legal(home.events(end.ID), "COMPLETED"); err != nil {
			t.Errorf("killed %s: %v", name, err)
		}
		if _, err := home.completionAt(got.ID); err == nil {
			t.Error("a completion has one of its own")
		}
	}
	// A thread is never handed over; what was there to be handed over is.
	if it := front.take1(desk, take{lease: 60}); it.ID != stuck {
		t.Errorf("desk was handed %+v", it)
	}
	front.takeNothing(desk, 1)
	if code, took := front.stop(); code != 0 || took > 40*time.Second {
		t.Errorf("stopped with %d after %v", code, took)
	}
}

// TestReplyToOwnSidecar: home serves reply_to itself; a cancel, and an end by time,
// are told like any other.
func TestReplyToOwnSidecar(t *testing.T) {
	t.Parallel()
	home, _ := startPair(t, nil)
	reply := delivery("reply_to", shop)
	canceled := home.post(billing, map[string]any{"n": 1}, reply)
	var doc struct {
		Delivery struct {
			Delivered bool
			MessageID string `json:"message_id"`
			ThreadID  string `json:"thread_id"`
		} `json:"completion_delivery"`
	}
	home.call("POST", "/v1/intents/"+canceled+"/resolve", `{"status":"CANCELED"}`).into(t, &doc)
	if !doc.Delivery.Delivered || doc.Delivery.ThreadID != canceled {
		t.Errorf("completion_delivery: %+v", doc)
	}
	late := home.post(billing, map[string]any{"n": 2}, delivery("reply_to", shop, "deadline_at", time.Now().Add(time.Second)))
	home.status(late, "TIMED_OUT")
	for _, id := range []string{canceled, late} {
		eventually(t, "the completion to be taken", func() error {
			got, err := home.completionAt(id)
			if err == nil && got.Status != "COMPLETED" {
				err = fmt.Errorf("it is %s", got.Status)
			}
			return err
		})
	}
	home.takeNothing(shop, 1)
}

// TestCompletionsAsIntents: an agent that asks for them is handed completions like
// anything else.
func TestCompletionsAsIntents(t *testing.T) {
	t.Parallel()
	home, _, front := office(t, map[string]string{"completions": "[" + desk + "]"})
	id := home.post(billing, map[string]any{"n": 1}, delivery("reply_to", desk))
	if a := home.resume(id, `{"action":"fail","reason":"no stock"}`); a.code != 200 {
		t.Fatalf("fail: %v", a)
	}
	it := front.take1(desk, take{lease: 60, wait: 30})
	var said told
	json.Unmarshal(it.Payload, &said)
	if it.Type != "intent.completion.v1" || said.IntentID != id || said.Type != "intent.failed" {
		t.Errorf("handed over %+v: %s", it, it.Payload)
	}
	front.ack(it, nil)
	home.status(it.ID, "COMPLETED")
}
