package e2e_test

import (
	"fmt"
	"testing"
	"time"
)

// resume is the agent's word without a lease, as AXP's agents give it.
func (s *sidecar) resume(id string, body string) answer {
	return s.call("POST", "/v1/intents/"+id+"/resume", body)
}

// TestResumeAtEitherSide: control keys alone continue, anything else ends;
// the first end wins, at whichever sidecar it was given.
func TestResumeAtEitherSide(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	for _, at := range []*sidecar{holder, home} {
		id := home.post(billing, map[string]any{"n": 1})
		it := holder.take1(billing, take{lease: 60})
		if a := at.resume(id, `{"approve_current_step": true, "reason": "go on"}`); a.code != 200 {
			t.Fatalf("continue at %s: %v", at.set.name, a)
		}
		home.status(id, "IN_PROGRESS")
		if a := at.resume(id, `{"action": "complete", "status": "captured", "amount": 7}`); a.code != 200 {
			t.Fatalf("finish at %s: %v", at.set.name, a)
		}
		if got := home.status(id, "COMPLETED"); !jsonEqual(`{"action":"complete","status":"captured","amount":7}`, got.Result) {
			t.Errorf("finished at %s: result %s", at.set.name, got.Result)
		}
		if a := at.resume(id, `{"action": "fail", "reason": "too late"}`); a.code != 409 {
			t.Errorf("second end at %s: %v, want 409", at.set.name, a)
		}
		holder.status(id, "COMPLETED")
		if a := holder.settle("ack", it, nil); a.code != 409 {
			t.Errorf("ack after the end: %v, want 409", a)
		}
		if err := legal(home.events(id), "COMPLETED"); err != nil {
			t.Error(err)
		}
	}
	id := home.post(billing, map[string]any{"n": 2})
	holder.take1(billing, take{lease: 60})
	if a := holder.resume(id, `{"action": "fail", "reason": "no stock"}`); a.code != 200 {
		t.Fatalf("fail: %v", a)
	}
	home.status(id, "FAILED")
	holder.takeNothing(billing, 1)
}

// TestResumeWhileCutOff: journaled at the holder, and home hears of it.
func TestResumeWhileCutOff(t *testing.T) {
	t.Parallel()
	c := startTrio(t, nil)
	id := c.home.post(billing, map[string]any{"n": 1})
	has, _ := c.holderOf(id)
	has.take1(billing, take{lease: 60})
	c.wireOf(has).cut()
	if a := has.resume(id, `{"action": "complete", "n": 1}`); a.code != 200 {
		t.Fatalf("resume: %v", a)
	}
	has.kill()
	has.start()
	c.wireOf(has).mend(t)
	c.home.status(id, "COMPLETED")
}

// TestWordAtHome: the sender lets an intent go on that an app holds elsewhere;
// its lease does not end under it, also where the word is given while the
// holder cannot be told.
func TestWordAtHome(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	for _, apart := range []bool{false, true} {
		id := home.post(billing, map[string]any{"apart": apart})
		it := holder.take1(billing, take{lease: 8})
		home.status(id, "DELIVERED")
		if apart {
			holder.kill()
		}
		if a := home.resume(id, `{"approve_current_step": true}`); a.code != 200 {
			t.Fatalf("resume: %v", a)
		}
		if apart {
			holder.start()
		}
		holder.takeNothing(billing, 10)
		holder.ack(it, nil)
		home.status(id, "COMPLETED")
		if w := home.why(id); w.Attempts.N != 0 {
			t.Errorf("%d failed attempts", w.Attempts.N)
		}
	}
}

// TestHoldWhenExhausted: out of attempts, it waits for an operator, and goes
// on as itself.
func TestHoldWhenExhausted(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	id := home.post(billing, map[string]any{"n": 1}, delivery("on_exhausted", "hold", "max_delivery_attempts", 1))
	it := holder.take1(billing, take{lease: 60})
	if a := holder.settle("nack", it, nil); a.code != 200 {
		t.Fatalf("nack: %v", a)
	}
	home.status(id, "WAITING")
	holder.takeNothing(billing, 1)
	holder.kill() // nothing of this is in memory only
	home.kill()
	holder.start()
	home.start()
	home.status(id, "WAITING")
	if a := home.resume(id, `{"approve_current_step": true}`); a.code != 200 {
		t.Fatalf("resume: %v", a)
	}
	it = holder.take1(billing, take{lease: 60})
	if it.ID != id || !it.Redelivered {
		t.Errorf("handed over %+v", it)
	}
	holder.ack(it, nil)
	home.status(id, "COMPLETED")
	if err := legal(home.events(id), "COMPLETED"); err != nil {
		t.Error(err)
	}
}

// TestDelay: not before its time, and then without being asked for, over a
// crash of home too.
func TestDelay(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	due := time.Now().Add(3 * time.Second)
	later := home.post(billing, map[string]any{"n": 1}, delivery("deliver_at", due.Format(time.RFC3339Nano)))
	soon := home.post(billing, map[string]any{"n": 2}, delivery("delay_seconds", 1))
	now := home.post(billing, map[string]any{"n": 3})
	home.kill()
	home.start()
	for i, want := range []string{now, soon, later} {
		it := holder.take1(billing, take{wait: 10})
		if it.ID != want {
			t.Errorf("hand-over %d is %s, want %s", i+1, it.ID, want)
		}
		holder.ack(it, nil)
	}
	if early := time.Until(due); early > 0 {
		t.Errorf("handed over %v before its time", early)
	}
	if w := home.why(later); w.Attempts.N != 0 {
		t.Errorf("%d attempts", w.Attempts.N)
	}
}

// TestEventsGoHome: the holder answers for home while it can be reached, and
// says so when it cannot; of an ended intent it keeps a copy.
func TestEventsGoHome(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	open := home.post(billing, map[string]any{"n": 1})
	it := holder.take1(billing, take{lease: 60})
	eventually(t, "the holder to show home's events", func() error {
		if got := kinds(holder.events(open)); len(got) != 3 {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	done := home.post(billing, map[string]any{"n": 2})
	holder.ack(holder.take1(billing, take{lease: 60}), nil)
	holder.status(done, "COMPLETED")
	want := kinds(home.wait1(done))
	holder.reported()
	home.kill()
	if a := holder.call("GET", "/v1/intents/"+open+"/events", nil); a.code != 503 || a.errorCode() != "home_unreachable" {
		t.Errorf("events of an open intent without home: %v, want 503 home_unreachable", a)
	}
	eventually(t, "the holder's copy of the events", func() error {
		if got := kinds(holder.events(done)); fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("%v, want %v", got, want)
		}
		return nil
	})
	home.start()
	holder.ack(it, nil)
	home.status(open, "COMPLETED")
}

// reported waits until home has acked all that this sidecar has to tell.
func (s *sidecar) reported() {
	s.t.Helper()
	eventually(s.t, "all reports of "+s.set.name+" to be acked", func() error {
		var doc struct {
			Journal struct{ Live map[string]int }
		}
		call(s.http, "http://"+s.admin, "GET", "/v1/admin/status", nil).into(s.t, &doc)
		if n, known := doc.Journal.Live["report"]; !known || n > 0 {
			return fmt.Errorf("live %v", doc.Journal.Live)
		}
		return nil
	})
}

// wait1 waits for the end and returns the whole log.
func (s *sidecar) wait1(id string) []event {
	s.t.Helper()
	s.wait(id)
	return s.events(id)
}
