package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"
)

// changed is the answer of controls and policy.
type changed struct {
	Applied    bool   `json:"applied"`
	Generation int    `json:"policy_generation"`
	Reason     string `json:"reason"`
}

func (s *sidecar) control(id, patch string, header ...string) changed {
	s.t.Helper()
	var c changed
	s.call("POST", "/v1/intents/"+id+"/controls", `{"controls_patch":`+patch+`}`, header...).into(s.t, &c)
	return c
}

// policyAt waits until a sidecar knows that generation and limit of attempts.
func (s *sidecar) policyAt(id string, generation, attempts int) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("generation %d at %s", generation, s.set.name), func() error {
		var doc struct {
			Intent struct {
				Generation int `json:"policy_generation"`
				Attempts   int `json:"max_delivery_attempts"`
			}
		}
		a := s.call("GET", "/v1/intents/"+id, nil)
		if err := json.Unmarshal(a.body, &doc); err != nil || doc.Intent.Generation != generation || doc.Intent.Attempts != attempts {
			return fmt.Errorf("%v", a)
		}
		return nil
	})
}

// TestControlsReachTheHolder: before the offer, while held, given at the holder, and
// given while the two are apart, over kills of either; a limit lowered at home ends
// what fails at the holder.
func TestControlsReachTheHolder(t *testing.T) {
	t.Parallel()
	home, holder := pair(t, nil)
	home.start()
	id := home.post(billing, map[string]any{"n": 1})
	if c := home.control(id, `{"max_retry_count":9,"note":"before"}`); !c.Applied || c.Generation != 1 {
		t.Fatalf("before delivery: %+v", c)
	}
	holder.start()
	holder.holds(id)
	holder.policyAt(id, 1, 9)
	if c := home.control(id, `{"max_retry_count":8}`); c.Generation != 2 {
		t.Fatalf("while held: %+v", c)
	}
	holder.policyAt(id, 2, 8)
	if c := holder.control(id, `{"max_retry_count":7,"execution_timeout_seconds":600}`, "Idempotency-Key", "k"); !c.Applied || c.Generation != 3 {
		t.Fatalf("at the holder: %+v", c)
	}
	if c := holder.control(id, `{"max_retry_count":7,"execution_timeout_seconds":600}`, "Idempotency-Key", "k"); c.Generation != 3 {
		t.Errorf("repeated at the holder: %+v", c)
	}
	home.policyAt(id, 3, 7)
	holder.policyAt(id, 3, 7)

	holder.kill()
	home.control(id, `{"max_delivery_attempts":1}`)
	home.kill()
	home.start()
	holder.start()
	holder.policyAt(id, 4, 1)
	it := holder.take1(billing, take{lease: 60})
	if a := holder.settle("extend", it, nil); a.code != http.StatusOK {
		t.Fatalf("extend: %v", a)
	}
	var leased struct {
		Until time.Time `json:"lease_until"`
	}
	holder.settle("extend", it, nil).into(t, &leased)
	if left := time.Until(leased.Until); left > 10*time.Minute || left < 5*time.Minute {
		t.Errorf("an extend gives %v, want the 600 s of this intent", left)
	}
	holder.settle("nack", it, nil)
	home.status(id, "FAILED")
	if err := legal(home.events(id), "FAILED"); err != nil {
		t.Error(err)
	}
	if a := home.call("POST", "/v1/intents/"+id+"/controls", `{"controls_patch":{}}`); a.errorCode() != "intent_ended" {
		t.Errorf("after the end: %v", a)
	}
	holder.status(id, "FAILED")
	if a := holder.call("POST", "/v1/intents/"+id+"/policy", `{"envelope_patch":{}}`); a.errorCode() != "intent_ended" {
		t.Errorf("after the end, at the holder: %v", a)
	}
}

// TestControlsWithoutHome: a holder changes nothing of its own accord.
func TestControlsWithoutHome(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	id := home.post(billing, map[string]any{"n": 1})
	holder.holds(id)
	home.kill()
	a := holder.call("POST", "/v1/intents/"+id+"/controls", `{"controls_patch":{"max_retry_count":2}}`)
	if a.code != http.StatusServiceUnavailable || a.errorCode() != "home_unreachable" || a.header.Get("Retry-After") != "2" {
		t.Fatalf("without home: %v, Retry-After %q", a, a.header.Get("Retry-After"))
	}
	holder.policyAt(id, 0, 10)
	home.start()
	eventually(t, "home to be in reach", func() error {
		if a := holder.call("POST", "/v1/intents/"+id+"/controls", `{"controls_patch":{"max_retry_count":2},"expected_policy_generation":0}`); a.code != http.StatusOK {
			return fmt.Errorf("%v", a)
		}
		return nil
	})
	home.policyAt(id, 1, 2)
}

// TestDeadlineMoved: home ends it by the new one, and the holder hands it over until then.
func TestDeadlineMoved(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	soon := home.post(billing, map[string]any{"n": 1}, delivery("deadline_at", time.Now().Add(4*time.Second)))
	later := home.post(billing, map[string]any{"n": 2})
	holder.holds(soon)
	if c := home.control(soon, `{"ttl_seconds":3600}`); !c.Applied {
		t.Fatalf("%+v", c)
	}
	home.control(later, `{"ttl_seconds":5}`)
	home.status(later, "TIMED_OUT")
	it := holder.take1(billing, take{lease: 60})
	if it.ID != soon {
		t.Fatalf("handed over %+v", it)
	}
	holder.ack(it, nil)
	home.status(soon, "COMPLETED")
}
