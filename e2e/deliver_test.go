package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// carry sends one intent all the way: post, poll, ack, wait.
func carry(t testing.TB, home, holder *sidecar) {
	t.Helper()
	finish(t, home, holder, home.post(billing, map[string]any{"order": "A-1"}))
}

// finish is the rest of the way for an intent already posted.
func finish(t testing.TB, home, holder *sidecar, id string) {
	t.Helper()
	finishAs(t, home, holder, id, false)
}

// finishAs is finish of what says that it may have been seen before, or does not.
func finishAs(t testing.TB, home, holder *sidecar, id string, redelivered bool) {
	t.Helper()
	it := holder.take1(billing, take{})
	if it.ID != id || it.To != billing || it.DeliveryAttempt != 1 || it.Redelivered != redelivered {
		t.Fatalf("handed over %+v, want the first hand-over of %s", it, id)
	}
	if !jsonEqual(`{"order":"A-1"}`, it.Payload) {
		t.Errorf("payload %s", it.Payload)
	}
	holder.ack(it, map[string]any{"invoice": 7})
	end := home.wait(id)
	result, _ := json.Marshal(end.Details["result"])
	if end.Status != "COMPLETED" || !jsonEqual(`{"invoice":7}`, result) {
		t.Errorf("ended %s with %s", end.Status, result)
	}
	if err := legal(home.events(id), "COMPLETED"); err != nil {
		t.Error(err)
	}
	holder.status(id, "COMPLETED")
}

func TestDeliversInEitherStartOrder(t *testing.T) {
	t.Parallel()
	t.Run("home first", func(t *testing.T) {
		t.Parallel()
		home, holder := pair(t, nil)
		home.start()
		id := home.post(billing, map[string]any{"order": "A-1"})
		if got := home.get(id); got.Status != "SUBMITTED" {
			t.Errorf("status %s before there is a holder, want SUBMITTED", got.Status)
		}
		if w := home.why(id); len(w.Causes) == 0 || w.Text == "" {
			t.Errorf("why names no cause: %+v", w)
		}
		holder.start()
		finish(t, home, holder, id)
	})
	t.Run("holder first", func(t *testing.T) {
		t.Parallel()
		home, holder := pair(t, nil)
		holder.start()
		holder.takeNothing(billing, 0)
		home.start()
		carry(t, home, holder)
	})
	t.Run("receiver waiting in a poll", func(t *testing.T) {
		t.Parallel()
		home, holder := startPair(t, nil)
		got := make(chan item, 1)
		go func() { got <- holder.take1(billing, take{wait: 60}) }()
		id := home.post(billing, map[string]any{"order": "A-1"})
		it := <-got
		if it.ID != id {
			t.Fatalf("handed over %s, want %s", it.ID, id)
		}
		holder.ack(it, nil)
		home.status(id, "COMPLETED")
	})
}

// TestSurvivesKill puts each of the three kills at each stage of one intent.
// The kill loop does it at random; here each pair has a name.
func TestSurvivesKill(t *testing.T) {
	t.Parallel()
	for _, stage := range []string{"posted", "leased", "acked"} {
		for _, victim := range []string{"home", "holder", "both"} {
			t.Run(victim+" when "+stage, func(t *testing.T) {
				t.Parallel()
				home, holder := startPair(t, nil)
				crash := func(at string) {
					if at != stage {
						return
					}
					if victim != "holder" {
						home.kill()
						home.launch()
					}
					if victim != "home" {
						holder.kill()
						holder.launch()
					}
					for _, s := range []*sidecar{home, holder} {
						s.awaitReadyAgain()
					}
				}
				id := home.post(billing, map[string]any{"order": "A-1"})
				crash("posted")
				it := holder.take1(billing, take{})
				crash("leased")
				holder.ack(it, map[string]any{"invoice": 7})
				crash("acked")
				if end := home.wait(id); end.Status != "COMPLETED" {
					t.Errorf("ended %s", end.Status)
				}
				if it.ID != id || it.DeliveryAttempt != 1 {
					t.Errorf("handed over %+v", it)
				}
				holder.takeNothing(billing, 1)
				if w := home.why(id); w.Attempts.N != 0 {
					t.Errorf("%d attempts counted", w.Attempts.N)
				}
			})
		}
	}
}

// TestAlone is one sidecar with no peer: it delivers to its own agents, and
// to an address that first shows itself by asking for its intents.
func TestAlone(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}})
	carry(t, s, s)

	const stranger = "agent://acme/prod/stranger"
	id := s.post(stranger, map[string]any{"n": 1})
	if got := s.get(id); got.Status != "SUBMITTED" {
		t.Errorf("for an unknown agent: %s, want SUBMITTED", got.Status)
	}
	s.kill()
	s.start()
	// The first call is the use that learns it, and sees what waits. The form
	// is the one a careful client sends: the whole address, escaped.
	var doc struct{ Intents []item }
	eventually(t, "the first poll of a learned agent to give what waits", func() error {
		s.call("GET", "/v1/agents/"+url.PathEscape(stranger)+"/intents?wait_seconds=1", nil).into(t, &doc)
		if len(doc.Intents) != 1 {
			return fmt.Errorf("%d intents", len(doc.Intents))
		}
		return nil
	})
	s.kill() // what was learned is durable, and so is the lease
	s.start()
	s.ack(doc.Intents[0], nil)
	s.status(id, "COMPLETED")
	again := s.post(stranger, map[string]any{"n": 2})
	if it := s.take1(stranger, take{}); it.ID != again {
		t.Errorf("handed over %s, want %s", it.ID, again)
	}
}

// TestLearnOff: a sidecar told not to learn gives an unknown agent nothing.
func TestLearnOff(t *testing.T) {
	t.Parallel()
	const stranger = "agent://acme/prod/stranger"
	s := start(t, setup{name: "alone", agents: []string{billing}, args: []string{"--learn", "off"}})
	id := s.post(stranger, map[string]any{"n": 1})
	items, _ := s.tryPoll(stranger, take{wait: 1}) // nothing, or a refusal: not ours to choose here
	if len(items) != 0 {
		t.Errorf("handed over %v", items)
	}
	if got := s.get(id); got.Status != "SUBMITTED" {
		t.Errorf("status %s", got.Status)
	}
}

// TestReadyLine: port 0 works for every listener, and the line says where.
func TestReadyLine(t *testing.T) {
	t.Parallel()
	s := newSidecar(t, setup{name: "any port", agents: []string{billing}})
	s.api, s.peer, s.admin = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	s.start()
	if s.ready.Node == "" || s.ready.Durable == nil {
		t.Errorf("ready line without node or durable: %+v", s.ready)
	}
	for _, addr := range []string{s.api, s.peer, s.admin} {
		if strings.HasSuffix(addr, ":0") || !strings.HasPrefix(addr, "127.0.0.1:") {
			t.Errorf("address %s in the ready line", addr)
		}
	}
	carry(t, s, s)
	node := s.ready.Node
	s.kill()
	s.start()
	if s.ready.Node != node {
		t.Errorf("node %s after the restart, %s before: the identity is the journal's", s.ready.Node, node)
	}
	for _, path := range []string{"/health", "/v1/health"} {
		if a := s.call("GET", path, nil); a.code != http.StatusOK {
			t.Errorf("%s: %v", path, a)
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/startupz"} {
		if a := s.operate("GET", path, nil); a.code != http.StatusOK {
			t.Errorf("%s: %v", path, a)
		}
	}
}

// TestShortForm: any JSON object, the agent and the type in the path.
func TestShortForm(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}})
	var doc struct {
		ID string `json:"intent_id"`
	}
	s.call("POST", agentPath(billing, "/intents/order.placed.v1"), `{"order":"A-1"}`).into(t, &doc)
	if got := s.get(doc.ID); got.Type != "order.placed.v1" || got.To != billing {
		t.Errorf("type %s to %s", got.Type, got.To)
	}
	finish(t, s, s, doc.ID)
}

// TestKilledAtItsFirstStart: a journal half made is no reason not to start.
func TestKilledAtItsFirstStart(t *testing.T) {
	t.Parallel()
	for n := range 25 {
		s := newSidecar(t, setup{name: fmt.Sprint("killed after ", n*4, " ms"), agents: []string{billing}})
		s.launch()
		within(time.Duration(n*4)*time.Millisecond, func() error { return nil })
		s.kill()
		s.start()
		id := s.post(billing, map[string]any{"n": 1})
		s.ack(s.take1(billing, take{}), nil)
		s.status(id, "COMPLETED")
		s.kill()
	}
}
