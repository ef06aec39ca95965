package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"
)

// resolved is the answer of resolve.
type resolved struct {
	Event    event
	Delivery struct {
		Delivered bool
		Reason    string
	} `json:"completion_delivery"`
}

func (s *sidecar) resolve(id, body string) (resolved, answer) {
	s.t.Helper()
	a := s.call("POST", "/v1/intents/"+id+"/resolve", body)
	var r resolved
	if a.code == http.StatusOK {
		if err := json.Unmarshal(a.body, &r); err != nil {
			s.t.Fatal(err)
		}
	}
	return r, a
}

// TestVerdictAtTheHolder: an end given there has the number home gave it; while home
// is out of reach it is provisional, and counts once home hears of it, unless another
// came first.
func TestVerdictAtTheHolder(t *testing.T) {
	t.Parallel()
	c := startTrio(t, nil)
	reply := delivery("reply_to", shop)
	const done = `{"status":"COMPLETED","result":{"n":1}}`

	id := c.home.post(billing, map[string]any{"n": 1}, reply)
	has, _ := c.holderOf(id)
	r, a := has.resolve(id, done)
	log := c.home.wait1(id)
	if a.code != http.StatusOK || r.Event.Seq != len(log) || r.Event.Details["provisional"] != nil || !r.Delivery.Delivered {
		t.Errorf("in reach: %v, want event %d of home", a, len(log))
	}
	if _, a := has.resolve(id, done); a.errorCode() != "intent_ended" {
		t.Errorf("a second time: %v", a)
	}

	canceled := c.home.post(billing, map[string]any{"n": 2}, reply)
	late := c.home.post(billing, map[string]any{"n": 3}, reply)
	at := map[string]*sidecar{}
	for _, id := range []string{canceled, late} {
		at[id], _ = c.holderOf(id)
	}
	for _, w := range c.wires {
		w.cut()
	}
	c.home.resolve(canceled, `{"status":"CANCELED","reason":"no longer wanted"}`)
	for _, id := range []string{canceled, late} {
		began := time.Now()
		r, a := at[id].resolve(id, done)
		if a.code != http.StatusOK || r.Event.Details["provisional"] != true || r.Delivery.Delivered || r.Delivery.Reason != "provisional" {
			t.Errorf("out of reach: %v", a)
		}
		if took := time.Since(began); took < 900*time.Millisecond {
			t.Errorf("it waited %v for home, want about 1 s", took)
		}
		at[id].kill() // it is journaled there
		at[id].start()
	}
	for _, w := range c.wires {
		w.mend(t)
	}
	c.home.status(late, "COMPLETED")
	eventually(t, "the late answer to be kept", func() error {
		if got := c.home.get(canceled); got.Status != "CANCELED" || len(got.LateAnswers) != 1 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	at[canceled].status(canceled, "CANCELED")
	for _, id := range []string{id, canceled, late} {
		eventually(t, "the completion", func() error {
			_, err := c.home.completionAt(id)
			return err
		})
	}
}
