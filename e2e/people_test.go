package e2e_test

import (
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
