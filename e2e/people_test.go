package e2e_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestTaskOutlivesKills: what a person is asked, and what was decided, are there after a
// kill; of two who decide at once one wins, and the other hears how it ended.
func TestTaskOutlivesKills(t *testing.T) {
	t.Parallel()
	home, _ := pair(t, nil)
	home.start()
	id := home.post(billing, map[string]any{"n": 1}, map[string]any{"human_task": map[string]any{"title": "Refund?", "notify_email": "ann@acme.example"}})
	home.kill()
	home.start()
	var list struct {
		Tasks []struct {
			ID string `json:"intent_id"`
		}
	}
	home.call("GET", "/v1/me/tasks", nil).into(t, &list)
	if len(list.Tasks) != 1 || list.Tasks[0].ID != id {
		t.Fatalf("after the kill %+v is to be decided, want %s", list.Tasks, id)
	}

	var both sync.WaitGroup
	codes := make([]int, 2)
	for i, outcome := range []string{"approved", "rejected"} {
		both.Go(func() {
			codes[i] = home.call("POST", "/v1/intents/"+id+"/resume", `{"task_result":{"outcome":"`+outcome+`"}}`).code
		})
	}
	both.Wait()
	end := "COMPLETED"
	switch {
	case codes[0] == 200 && codes[1] == 409:
	case codes[0] == 409 && codes[1] == 200:
		end = "CANCELED"
	default:
		t.Fatalf("two decisions were answered %d, want one 200 and one 409", codes)
	}
	home.kill()
	home.start()
	home.status(id, end)
	if err := legal(home.events(id), end); err != nil {
		t.Error(err)
	}
	home.call("GET", "/v1/me/tasks", nil).into(t, &list)
	if len(list.Tasks) != 0 {
		t.Errorf("what was decided is still to be: %+v", list.Tasks)
	}
}

// gatesOf is what an intent shows of its gates.
type gatesOf struct {
	Intent struct {
		Status string
		Gates  []struct {
			Status string
			Asks   string `json:"intent_id"`
		}
	}
}

// TestGatesOutliveKills: an app is given what manager and finance have approved, in turn,
// and nothing else, whenever the sidecar is killed: between two decisions and beside them.
func TestGatesOutliveKills(t *testing.T) {
	t.Parallel()
	home, _ := pair(t, nil)
	home.start()
	for n, refusing := range []int{-1, 1} {
		id := home.post(billing, map[string]any{"n": n}, map[string]any{"delivery": map[string]any{"gates": []string{"manager", "finance"}}})
		home.kill()
		home.start()
		for gate := range 2 {
			var now gatesOf
			home.call("GET", "/v1/intents/"+id, nil).into(t, &now)
			if now.Intent.Status != "SUBMITTED" || now.Intent.Gates[gate].Status != "asked" {
				t.Fatalf("round %d, gate %d: after the kill it is %+v, want the gate asked", n, gate, now.Intent)
			}
			outcome := "approved"
			if gate == refusing {
				outcome = "rejected"
			}
			path := "/v1/intents/" + now.Intent.Gates[gate].Asks + "/resume"
			beside := make(chan struct{})
			go func() { // its answer may be cut off, and so may the decision
				defer close(beside)
				home.call("POST", path, `{"task_result":{"outcome":"`+outcome+`"}}`)
			}()
			home.kill()
			<-beside
			home.start()
			if said := home.call("POST", path, `{"task_result":{"outcome":"`+outcome+`"}}`).code; said != 200 && said != 409 {
				t.Fatalf("round %d, gate %d: the repeat of the decision was answered %d", n, gate, said)
			}
			if gate == refusing {
				break
			}
		}
		var end gatesOf
		home.call("GET", "/v1/intents/"+id, nil).into(t, &end)
		status, gates := end.Intent.Status, fmt.Sprint(end.Intent.Gates[0].Status, " ", end.Intent.Gates[1].Status)
		want := map[int][2]string{-1: {"SUBMITTED", "approved approved"}, 1: {"CANCELED", "approved refused"}}[refusing]
		if status != want[0] || gates != want[1] {
			t.Errorf("round %d: it is %s with gates %s, want %v", n, status, gates, want)
		}
		if err := legal(home.events(id), status); err != nil {
			t.Error(err)
		}
	}
	home.stop()
	home.verify()
}

// TestTaskIsAskedElsewhere: what people at another sidecar are asked is in their inbox
// there, and no app gets it; it is decided at either side, and whoever is second hears
// that it was. A kill of either in between loses nothing.
func TestTaskIsAskedElsewhere(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	task := map[string]any{"human_task": map[string]any{"title": "Refund?"}}
	there, here := home.post(billing, map[string]any{"n": 1}, task), home.post(billing, map[string]any{"n": 2}, task)
	tasks := func() (ids []string) {
		var list struct {
			Tasks []struct {
				ID string `json:"intent_id"`
			}
		}
		holder.call("GET", "/v1/me/tasks", nil).into(t, &list)
		for _, one := range list.Tasks {
			ids = append(ids, one.ID)
		}
		return ids
	}
	asked := func(want int) func() error {
		return func() error {
			if got := tasks(); len(got) != want {
				return fmt.Errorf("asked there is %v", got)
			}
			return nil
		}
	}
	eventually(t, "both are asked at the other sidecar", asked(2))
	home.status(there, "WAITING")
	holder.takeNothing(billing, 0)
	holder.kill()
	holder.start()
	if got := tasks(); len(got) != 2 {
		t.Fatalf("after a kill %v are asked there, want both", got)
	}
	if a := holder.call("POST", "/v1/inbox/"+there+"/approve?owner_agent="+billing, `{"comment": "fine"}`); a.code != 200 {
		t.Fatal(a)
	}
	home.kill()
	home.start()
	home.status(there, "COMPLETED")
	if a := home.call("POST", "/v1/inbox/"+there+"/reject", `{}`); a.code != 409 {
		t.Errorf("decided otherwise at home: %v", a)
	}
	if a := home.call("POST", "/v1/intents/"+here+"/resume", `{"task_result": {"outcome": "rejected"}}`); a.code != 200 {
		t.Fatal(a)
	}
	eventually(t, "the other sidecar hears of it", asked(0))
	for _, verb := range []string{"/v1/intents/" + here + "/resume", "/v1/inbox/" + here + "/approve"} {
		if a := holder.call("POST", verb, `{"task_result": {"outcome": "approved"}}`); a.code != 409 || !strings.Contains(string(a.body), "decided_by") {
			t.Errorf("decided otherwise there by %s: %v", verb, a)
		}
	}
	gated := home.post(shop, map[string]any{"n": 3}, delivery("gates", []string{billing}))
	eventually(t, "an approval is asked there too", asked(1))
	if a := holder.call("POST", "/v1/inbox/"+tasks()[0]+"/approve?owner_agent="+billing, `{}`); a.code != 200 {
		t.Fatal(a)
	}
	home.ack(home.take1(shop, take{wait: 20}), map[string]any{})
	home.status(gated, "COMPLETED")
	for id, end := range map[string]string{there: "COMPLETED", here: "CANCELED"} {
		if err := legal(home.events(id), end); err != nil {
			t.Error(err)
		}
		if th := holder.thread(id, billing); th.Status != "done" {
			t.Errorf("the thread of %s is %+v there", id, th)
		}
	}
}
