package e2e_test

import (
	"fmt"
	"testing"
)

// TestDoorShutsOnASickApp: five different intents failed with no success
// between, and the door shuts. From then on one intent at a time looks
// whether the app is well again, another one each time, and nothing that
// fails is an attempt.
func TestDoorShutsOnASickApp(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	holder.takeNothing(billing, 0)
	var ids []string
	for i := range 8 {
		ids = append(ids, home.post(billing, map[string]any{"n": i}, delivery("max_delivery_attempts", 6)))
	}
	var last string
	refused := 0
	eventually(t, "a sick app to have failed 20 hand-overs", func() error {
		items := holder.poll(billing, take{limit: 1, wait: 1, lease: 60})
		for _, it := range items {
			if refused > 5 && it.ID == last {
				t.Errorf("probed with %s twice in a row", it.ID)
			}
			last = it.ID
			if a := holder.settle("nack", it, map[string]any{"reason": "sick", "delay_seconds": 0}); a.code != 200 {
				t.Fatalf("nack: %v", a)
			}
			refused++
		}
		if refused < 20 {
			return fmt.Errorf("%d", refused)
		}
		return nil
	})
	counted := func() (n int) {
		for _, id := range ids {
			n += home.why(id).Attempts.N
		}
		return n
	}
	eventually(t, "the attempts to be counted", func() error {
		if n := counted(); n != 5 {
			return fmt.Errorf("%d attempts after %d failures, want the 5 that shut the door", n, refused)
		}
		return nil
	})
	eventually(t, "the app, well again, to get everything", func() error {
		for _, it := range holder.poll(billing, take{limit: 100, wait: 1, lease: 60}) {
			holder.ack(it, nil)
		}
		for _, id := range ids {
			if got := home.get(id); got.Status != "COMPLETED" {
				return fmt.Errorf("%s is %s", id, got.Status)
			}
		}
		return nil
	})
	if n := counted(); n != 5 {
		t.Errorf("%d attempts in the end, want 5", n)
	}
}

// TestShutDoorHandsOutOneAtATime: many readers, one probe.
func TestShutDoorHandsOutOneAtATime(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, map[string]string{"probe_min": "20ms", "probe_max": "20ms"})
	holder.takeNothing(billing, 0)
	for i := range 20 {
		home.post(billing, map[string]any{"n": i})
	}
	failed := 0
	eventually(t, "the door to shut", func() error {
		for _, it := range holder.poll(billing, take{limit: 1, wait: 1, lease: 60}) {
			holder.settle("nack", it, nil)
			failed++
		}
		if failed < 5 {
			return fmt.Errorf("%d failures", failed)
		}
		return nil
	})
	probe := holder.take1(billing, take{lease: 60})
	if more := holder.poll(billing, take{limit: 100, wait: 1, lease: 60}); len(more) != 0 {
		t.Errorf("%d handed over beside the probe", len(more))
	}
	holder.ack(probe, nil)
	if more := holder.poll(billing, take{limit: 100, wait: 5, lease: 60}); len(more) == 0 {
		t.Error("the door did not open when the probe succeeded")
	}
}
