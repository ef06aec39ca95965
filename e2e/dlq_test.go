package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
)

// deadLetter is what the tests read of one.
type deadLetter struct {
	ID         string `json:"intent_id"`
	Reason     string `json:"reason"`
	LastAnswer string `json:"last_answer"`
	TraceID    string `json:"trace_id"`
	Role       string `json:"role"`
	RedriveOf  string `json:"redrive_of"`
	RedrivenAs string `json:"redriven_as"`
	Attempts   struct {
		N      int
		Failed []struct {
			Attempt int
			At      string
			Message string
		}
	}
	Payload json.RawMessage
}

// dlq runs `pannier dlq` at this sidecar and returns what it prints on stdout.
func (s *sidecar) dlq(code int, stdin string, args ...string) string {
	s.t.Helper()
	var out, talk strings.Builder
	cmd := exec.Command(s.bin, append([]string{"dlq"}, append(args, "--admin", s.admin)...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = strings.NewReader(stdin), &out, &talk, cleanEnv()
	err := cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != code {
		s.t.Fatalf("pannier dlq %s at %s: exit code %d, want %d: %v\n%s%s", strings.Join(args, " "), s.set.name, got, code, err, out.String(), talk.String())
	}
	return strings.TrimSpace(out.String())
}

// deadLetters lists those of this sidecar that match.
func (s *sidecar) deadLetters(args ...string) (list []deadLetter) {
	s.t.Helper()
	var doc struct {
		List []deadLetter `json:"dead_letters"`
	}
	if err := json.Unmarshal([]byte(s.dlq(0, "", append([]string{"list", "-o", "json"}, args...)...)), &doc); err != nil {
		s.t.Fatal(err)
	}
	return doc.List
}

// awaitDead waits until the sidecar shows it as a dead letter.
func (s *sidecar) awaitDead(id string) (d deadLetter) {
	s.t.Helper()
	eventually(s.t, "a dead letter at "+s.set.name, func() error {
		a := s.operate("GET", "/v1/admin/dead-letters/"+id, nil)
		var doc struct {
			Letter deadLetter `json:"dead_letter"`
		}
		if a.err != nil || a.code != http.StatusOK {
			return fmt.Errorf("%v", a)
		}
		err := json.Unmarshal(a.body, &doc)
		d = doc.Letter
		return err
	})
	return d
}

// reject has the app of the holder turn down what comes next.
func (s *sidecar) reject(id, reason string) item {
	s.t.Helper()
	it := s.take1(billing, take{lease: 60})
	if it.ID != id {
		s.t.Fatalf("handed over %s, want %s", it.ID, id)
	}
	if a := s.settle("nack", it, map[string]any{"reject": true, "reason": reason}); a.code != 200 {
		s.t.Fatalf("nack: %v", a)
	}
	return it
}

// TestDeadLetterIsRedrivenFromEitherEnd: both ends show it with its reason, either
// has a successor made, over crashes of either; the app sees the first one's id.
func TestDeadLetterIsRedrivenFromEitherEnd(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	var posted struct {
		ID string `json:"intent_id"`
	}
	home.call("POST", "/v1/intents", message(billing, map[string]any{"order_id": "ORD-1"}), "traceparent", trace).into(t, &posted)
	first := posted.ID
	holder.reject(first, "no such order")
	for _, s := range []*sidecar{home, holder} {
		d := s.awaitDead(first)
		if d.Reason != "rejected" || d.LastAnswer != "no such order" || d.TraceID != "4bf92f3577b34da6a3ce929d0e0e4736" || !jsonEqual(`{"order_id":"ORD-1"}`, d.Payload) {
			t.Errorf("at %s: %+v", s.set.name, d)
		}
		if f := d.Attempts.Failed; len(f) != 1 || f[0].Attempt != 1 || f[0].Message != "no such order" || f[0].At == "" {
			t.Errorf("failed attempts at %s: %+v", s.set.name, f)
		}
	}
	home.kill()
	holder.dlq(1, "", "redrive", first) // home is out of reach, and the command says so
	holder.kill()
	home.start()
	holder.start()
	second := holder.dlq(0, "", "redrive", first)
	for _, s := range []*sidecar{home, holder} {
		if d := s.awaitDead(first); d.RedrivenAs != second {
			t.Errorf("at %s it shows redriven_as %q, want %s", s.set.name, d.RedrivenAs, second)
		}
	}
	holder.dlq(4, "", "redrive", first)
	it := holder.reject(second, "still no such order")
	if it.IdempotencyKey != first || it.Redelivered || it.DeliveryAttempt != 1 {
		t.Errorf("the successor is handed over as %+v, want the first one's id as its key", it)
	}
	home.awaitDead(second)
	if d := holder.awaitDead(second); d.RedriveOf != first {
		t.Errorf("the holder's copy is a redrive of %q", d.RedriveOf)
	}
	home.kill()
	home.start()
	third := home.dlq(0, "", "redrive", second)
	holder.kill()
	home.kill()
	home.start()
	holder.start()
	it = holder.take1(billing, take{lease: 60})
	if it.ID != third || it.IdempotencyKey != first {
		t.Errorf("handed over %+v, want %s with the key %s", it, third, first)
	}
	holder.ack(it, nil)
	home.status(third, "COMPLETED")
	if err := legal(home.events(third), "COMPLETED"); err != nil {
		t.Error(err)
	}
	if got := home.deadLetters("--open"); len(got) != 0 {
		t.Errorf("without a successor: %+v", got)
	}
	home.stop()
	holder.stop()
	home.verify()
	holder.verify()
}

// TestRejectedWebhookIsRedriven: the same for an app that receives by http; an
// edited payload is another message, with an id of its own.
func TestRejectedWebhookIsRedriven(t *testing.T) {
	t.Parallel()
	var sound atomic.Bool
	app := newHook(t, func(w http.ResponseWriter, r *http.Request) {
		if sound.Load() {
			say(200, `{"done":true}`)(w, r)
			return
		}
		say(422, `order_id is missing`)(w, r)
	})
	home, holder := hookPair(t, app, nil)
	plain, edited := home.post(billing, map[string]any{"n": 1}), home.post(billing, map[string]any{"n": 2})
	for _, id := range []string{plain, edited} {
		if d := home.awaitDead(id); d.Reason != "rejected" || !strings.Contains(d.LastAnswer, "422") || len(d.Attempts.Failed) != 1 {
			t.Errorf("rejected by its app: %+v", d)
		}
		holder.awaitDead(id)
	}
	sound.Store(true)
	again := holder.dlq(0, "", "redrive", plain)
	for s, member := range map[*sidecar]string{home: "order_id", holder: "of_another_sidecar"} {
		schema := map[string]any{
			"semantic_type": "intent.order.process.v1", "compatibility_mode": "strict",
			"schema_json": map[string]any{"type": "object", "required": []string{member}},
		}
		if a := s.call("POST", "/v1/schemas", schema); a.code != http.StatusOK {
			t.Fatalf("register a schema: %v", a)
		}
	}
	holder.dlq(2, "", "redrive", edited, "--data", `{"n":2}`) // does not fit home's, which accepts it
	fixed := holder.dlq(0, "", "redrive", edited, "--data", `{"n":2,"order_id":"ORD-2"}`)
	home.status(again, "COMPLETED")
	home.status(fixed, "COMPLETED")
	for id, key := range map[string]string{again: plain, fixed: fixed} {
		for _, c := range app.of(id) {
			if c.header.Get("Webhook-Id") != key || c.item.IdempotencyKey != key || c.item.Redelivered {
				t.Errorf("%s came with webhook-id %s and %+v, want the id %s", id, c.header.Get("Webhook-Id"), c.item, key)
			}
		}
	}
	if got := app.of(fixed); len(got) != 1 || !jsonEqual(`{"n":2,"order_id":"ORD-2"}`, got[0].item.Payload) {
		t.Errorf("the edited one came as %+v", got)
	}
}

// TestFailingCallbackIsReplayed: a callback that fails is tried again, each time an
// event; the last ends the intent, which AXP's tools find and replay.
func TestFailingCallbackIsReplayed(t *testing.T) {
	t.Parallel()
	var sound atomic.Bool
	app := newHook(t, func(w http.ResponseWriter, r *http.Request) {
		if sound.Load() {
			say(200, `{"done":true}`)(w, r)
			return
		}
		say(500, `out of paper`)(w, r)
	})
	home, holder := hookPair(t, app, nil)
	id := home.post(billing, map[string]any{"n": 1}, delivery("max_delivery_attempts", 2))
	home.status(id, "FAILED")
	var tries []int
	for _, e := range home.events(id) {
		if e.Type == "intent.delivery_failed" {
			n, _ := e.Details["delivery_attempt"].(float64)
			tries = append(tries, int(n))
		}
	}
	if fmt.Sprint(tries) != "[1 2]" {
		t.Errorf("delivery_failed for the attempts %v, want 1 and 2", tries)
	}
	for _, s := range []*sidecar{home, holder} {
		if d := s.awaitDead(id); d.Reason != "exhausted" || d.Attempts.N != 2 || !strings.Contains(d.LastAnswer, "500") {
			t.Errorf("at %s: %+v", s.set.name, d)
		}
		var doc struct {
			Deliveries []struct {
				ID     string `json:"delivery_id"`
				Status string `json:"status"`
			}
		}
		s.call("GET", "/v1/deliveries?status=dead_lettered", nil).into(t, &doc)
		if d := doc.Deliveries; len(d) != 1 || d[0].ID != id || d[0].Status != "dead_lettered" {
			t.Errorf("deliveries at %s: %+v", s.set.name, d)
		}
	}
	sound.Store(true)
	var doc struct {
		Delivery struct {
			ID string `json:"delivery_id"`
			Of string `json:"replay_of_delivery_id"`
		}
	}
	again := holder.call("POST", "/v1/deliveries/"+id+"/replay", nil, "Idempotency-Key", "again")
	again.into(t, &doc)
	if doc.Delivery.Of != id {
		t.Errorf("replayed: %v", again)
	}
	if same := holder.call("POST", "/v1/deliveries/"+id+"/replay", nil, "Idempotency-Key", "again"); same.code != 200 || !strings.Contains(string(same.body), doc.Delivery.ID) {
		t.Errorf("repeated under its key: %v", same)
	}
	home.status(doc.Delivery.ID, "COMPLETED")
	if got := app.of(doc.Delivery.ID); len(got) != 1 || got[0].header.Get("Webhook-Id") != id {
		t.Errorf("the successor came as %+v", got)
	}
}

// TestRedriveManyAndPurge: many go at a rate, the command says which; a purge asks
// first, and takes nothing that is open.
func TestRedriveManyAndPurge(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	var dead []string
	for n := range 6 {
		id := home.post(billing, map[string]any{"n": n})
		holder.reject(id, "no")
		home.awaitDead(id)
		holder.awaitDead(id)
		dead = append(dead, id)
	}
	home.dlq(2, "", "redrive") // of what?
	var done struct {
		Redriven []struct {
			RedrivenAs string `json:"redriven_as"`
		}
		Failed []struct{ Code string }
	}
	if err := json.Unmarshal([]byte(holder.dlq(0, "", "redrive", "--to", billing, "--rate", "100", "-o", "json")), &done); err != nil || len(done.Redriven) != 6 || len(done.Failed) != 0 {
		t.Fatalf("redriven from the holder: %v %+v", err, done)
	}
	made := done.Redriven
	out := home.dlq(8, "", "redrive", dead[0], dead[1], "-o", "json") // both have a successor
	if err := json.Unmarshal([]byte(out), &done); err != nil || len(done.Failed) != 2 || done.Failed[0].Code != "already_redriven" {
		t.Errorf("redriven again: %v %s", err, out)
	}
	home.dlq(4, "5\n", "purge", "--all")
	home.dlq(4, "", "purge", "--all")
	if out := home.dlq(0, "", "purge", "--all", "--dry-run", "-o", "json"); !strings.Contains(out, `"matched":6`) || len(home.deadLetters()) != 6 {
		t.Errorf("a dry run: %s", out)
	}
	home.dlq(0, "", "purge", dead[0], "--yes")
	home.dlq(0, "5\n", "purge", "--reason", "rejected")
	if left := home.deadLetters(); len(left) != 0 {
		t.Errorf("after the purge: %+v", left)
	}
	home.dlq(3, "", "show", dead[0])
	if len(holder.deadLetters()) != 6 {
		t.Error("the holder's copies went with those of home")
	}
	for range 6 {
		holder.ack(holder.take1(billing, take{lease: 60}), nil)
	}
	for _, r := range made {
		home.status(r.RedrivenAs, "COMPLETED")
	}
	home.stop()
	home.verify()
}
