package e2e_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// change is a scenario of the shape of AXP's published files: agents at two sidecars, a
// step that is tried again, a time that passes, and a person.
func change(retries int, instead string) map[string]any {
	m := func(pairs ...any) map[string]any {
		out := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i+1] != "" {
				out[pairs[i].(string)] = pairs[i+1]
			}
		}
		return out
	}
	return m("scenario_id", "change.rollout.v1", "title", "check, wait, bill, sign off, or undo",
		"agents", []any{
			m("role", "checker", "address", "compliance-checker-agent", "delivery_mode", "stream", "create_if_missing", true),
			m("role", "billing", "address", billing, "delivery_mode", "poll"),
		},
		"humans", []any{m("role", "cab", "display_name", "Change Advisory Board")},
		"workflow", m("steps", []any{
			m("step_id", "check", "tool_id", "tool.agent.task.v1", "assigned_to", "checker", "step_deadline_seconds", 600, "on_success", "cool_down"),
			m("step_id", "cool_down", "runtime_type", "delay", "runtime_config", m("seconds", 1), "on_success", "bill"),
			m("step_id", "bill", "tool_id", "tool.agent.task.v1", "assigned_to", "billing", "on_success", "signoff", "on_failure", instead,
				"retry", m("max_retries", retries, "retry_delay_seconds", 1)),
			m("step_id", "signoff", "tool_id", "tool.approval.human_signoff", "assigned_to", "cab", "requires_approval", true,
				"human_task", m("title", "Roll out?", "task_type", "approval"), "on_failure", instead),
			m("step_id", "undo", "tool_id", "tool.agent.task.v1", "assigned_to", "checker", "input", m("why", "failed")),
		}),
		"intent", m("type", "intent.change.rollout.v1", "payload", m("change_id", "CHG-1", "amount", json.Number("3.50")), "max_delivery_attempts", 3))
}

// running is what an intent shows of its workflow.
type running struct {
	Intent struct {
		Status string
		Result json.RawMessage
		Error  struct {
			Code string
			Step string `json:"step_id"`
		}
		Reason string `json:"lifecycle_waiting_reason"`
		With   struct {
			Ref, Name string
		} `json:"pending_with"`
		Steps []struct {
			ID     string `json:"step_id"`
			Intent string `json:"intent_id"`
			Status string
			Tries  int
		}
	}
}

func (s *sidecar) workflow(id string) (r running) {
	s.t.Helper()
	s.call("GET", "/v1/intents/"+id, nil).into(s.t, &r)
	return r
}

// awaitStep waits until the intent waits for a step, or has ended.
func (s *sidecar) awaitStep(id, step string) (r running) {
	s.t.Helper()
	eventually(s.t, "step "+step+" is awaited", func() error {
		r = s.workflow(id)
		for _, one := range r.Intent.Steps {
			if one.ID == step && one.Status == "IN_PROGRESS" {
				return nil
			}
		}
		return fmt.Errorf("it is %+v", r.Intent)
	})
	return r
}

// TestScenarios: a scenario of several agents and a person runs to its end over two
// sidecars, whenever its home is killed: a step that fails is tried again or undone, none
// is lost and none is begun twice.
func TestScenarios(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	const checker = "compliance-checker-agent"
	for n, c := range []struct {
		name     string
		retries  int
		fails    int    // how often billing fails
		decision string // "": it never comes to that
		undone   bool
		steps    []string // as they stand in the end
	}{
		{"all ends well, at the second try", 1, 1, "approve", false, []string{"COMPLETED", "COMPLETED", "COMPLETED", "COMPLETED", "not_begun"}},
		{"the person refuses, and it is undone", 0, 0, "reject", true, []string{"COMPLETED", "COMPLETED", "COMPLETED", "CANCELED", "COMPLETED"}},
		{"an agent fails, and nothing is done instead", 0, 1, "", false, []string{"COMPLETED", "COMPLETED", "FAILED", "not_begun", "not_begun"}},
	} {
		instead := ""
		if c.undone {
			instead = "undo"
		}
		var applied struct {
			ID       string `json:"intent_id"`
			Compiled string `json:"compile_id"`
		}
		key := []string{"Idempotency-Key", fmt.Sprint("k-", n)}
		home.call("POST", "/v1/scenarios/apply", change(c.retries, instead), key...).into(t, &applied)
		id := applied.ID
		kill := func() {
			home.kill()
			home.start()
			home.call("POST", "/v1/scenarios/apply", change(c.retries, instead), key...).into(t, &applied)
			if applied.ID != id {
				t.Fatalf("%s: applied again under its key it is %s, want %s", c.name, applied.ID, id)
			}
		}
		kill()
		first := home.take1(checker, take{wait: 10, lease: 3600})
		if got := string(first.Payload); !strings.Contains(got, `{"parent_payload":{"amount":3.50,`) {
			t.Errorf("%s: the first agent is given %s", c.name, got)
		}
		home.ack(first, map[string]any{"passed": true})
		kill() // while time passes, or after that
		home.awaitStep(id, "bill")
		for try := range c.fails + 1 {
			if try > c.retries {
				break
			}
			it := holder.take1(billing, take{wait: 10, lease: 3600})
			body := map[string]any{"action": "complete", "try": try}
			if try < c.fails {
				body = map[string]any{"action": "fail", "reason": "no"}
			}
			if a := holder.call("POST", "/v1/intents/"+it.ID+"/resume", body); a.code != 200 {
				t.Fatal(a)
			}
			kill()
		}
		if c.decision != "" {
			r := home.awaitStep(id, "signoff")
			kill()
			if a := home.call("POST", "/v1/inbox/"+r.Intent.With.Ref+"/"+c.decision+"?owner_agent=cab", `{"comment":"so"}`); a.code != 200 {
				t.Fatal(a)
			}
			kill()
		}
		if c.undone {
			home.ack(home.take1(checker, take{wait: 10, lease: 3600}), map[string]any{"undone": true})
		}
		end := "COMPLETED"
		if c.decision == "" {
			end = "FAILED"
		}
		home.wait(id)
		r := home.workflow(id)
		if r.Intent.Status != end {
			t.Fatalf("%s: it is %+v, want %s", c.name, r.Intent, end)
		}
		for n, want := range c.steps {
			if got := r.Intent.Steps[n]; got.Status != want {
				t.Errorf("%s: step %s is %s, want %s", c.name, got.ID, got.Status, want)
			}
		}
		if err := legal(home.events(id), end); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	holder.takeNothing(billing, 0)
	home.takeNothing(checker, 0)
	home.stop()
	home.verify()
}
