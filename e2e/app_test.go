package e2e_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The receiving app of these tests misbehaves. What counts as an attempt is
// asserted each time: a hand-over the app received and failed or let lapse,
// and nothing else.

// attempts compares what home has counted, in `why` and in the event log.
func attempts(t testing.TB, home *sidecar, id string, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d attempts counted", want), func() error {
		failed := 0
		for _, e := range home.events(id) {
			if e.Type == "intent.delivery_failed" {
				failed++
			}
		}
		if w := home.why(id); w.Attempts.N != want || failed != want {
			return fmt.Errorf("why says %d, the log has %d delivery_failed", w.Attempts.N, failed)
		}
		return nil
	})
}

// TestAppDiesWithALease: it comes again at the end of the lease, and the
// lapse is an attempt: the sidecar was up.
func TestAppDiesWithALease(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	id := home.post(billing, map[string]any{"n": 1})
	first := holder.take1(billing, take{lease: 1}) // and the app is gone
	second := holder.take1(billing, take{lease: 60})
	if second.ID != id || second.DeliveryAttempt != 2 || !second.Redelivered {
		t.Errorf("second hand-over %+v", second)
	}
	if second.Lease == first.Lease || second.Seq <= first.Seq {
		t.Errorf("lease %s and number %d again", second.Lease, second.Seq)
	}
	attempts(t, home, id, 1)
	holder.ack(second, nil)
	home.status(id, "COMPLETED")
	if got := kinds(home.events(id)); !slices.Equal(got, []string{"created", "submitted", "delivered", "delivery_failed", "delivered", "in_progress", "completed"}) {
		t.Errorf("events %v", got)
	}
}

// TestAppAnswersLate: a stale lease changes nothing, before the next
// hand-over, during it, and after the end.
func TestAppAnswersLate(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	id := home.post(billing, map[string]any{"n": 1})
	stale := holder.take1(billing, take{lease: 1})
	attempts(t, home, id, 1)
	refused := func(when, code string) {
		t.Helper()
		for _, verb := range []string{"ack", "nack", "extend"} {
			if a := holder.settle(verb, stale, map[string]any{}); a.code != 409 || a.errorCode() != code {
				t.Errorf("%s of a stale lease %s: %v, want 409 %s", verb, when, a, code)
			}
		}
	}
	lost := holder.settle("ack", stale, nil)
	if lost.code != 409 {
		t.Fatalf("ack after the lapse: %v", lost)
	}
	code := lost.errorCode()
	refused("before the next hand-over", code)
	it := holder.take1(billing, take{lease: 60})
	refused("during the next hand-over", code)
	holder.ack(it, map[string]any{"ok": 1})
	if a := holder.settle("ack", it, map[string]any{"result": map[string]any{"ok": 1}}); a.code != 200 {
		t.Errorf("the ack that won, repeated: %v", a)
	}
	if a := holder.settle("ack", it, map[string]any{"result": map[string]any{"ok": 2}}); a.code != 409 {
		t.Errorf("the ack that won, with another result: %v", a)
	}
	home.wait(id)
	eventually(t, "the holder to know of the end", func() error {
		if a := holder.settle("nack", stale, nil); a.errorCode() != "intent_ended" {
			return fmt.Errorf("%v", a)
		}
		return nil
	})
	refused("after the end", "intent_ended")
	if got := home.get(id); !jsonEqual(`{"ok":1}`, got.Result) {
		t.Errorf("result %s", got.Result)
	}
}

// TestPoisonIntent: one intent crashes the app every time. It alone burns its
// attempts and ends FAILED; the others flow.
func TestPoisonIntent(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	poison, rest := poisoned(home)
	deliveries := 0
	eventually(t, "the poison to end", func() error {
		for _, it := range holder.poll(billing, take{limit: 5, wait: 1, lease: 1}) {
			if it.ID == poison {
				deliveries++ // the app dies of it
			} else {
				holder.ack(it, nil)
			}
		}
		if got := home.get(poison); !terminal(got.Status) {
			return fmt.Errorf("status %s after %d hand-overs", got.Status, deliveries)
		}
		return nil
	})
	if got := home.get(poison); got.Status != "FAILED" || deliveries != 3 {
		t.Errorf("the poison ended %s after %d hand-overs, want FAILED after 3", got.Status, deliveries)
	}
	attempts(t, home, poison, 3)
	if err := legal(home.events(poison), "FAILED"); err != nil {
		t.Error(err)
	}
	for _, id := range rest {
		home.status(id, "COMPLETED")
		attempts(t, home, id, 0)
	}
}

// TestNeighboursOfAPoison: what fails each time costs those beside it some
// time and no attempt. How much is a figure, of one run on one machine.
func TestNeighboursOfAPoison(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	got, over := make(chan string, 100), make(chan struct{})
	var failed atomic.Int64
	var app sync.WaitGroup
	stop := sync.OnceFunc(func() { close(over); app.Wait() })
	t.Cleanup(stop)
	app.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
			}
			for _, it := range holder.poll(billing, take{limit: 10, wait: 1, lease: 60}) {
				if jsonEqual(`{"poison":true}`, it.Payload) {
					failed.Add(1)
					holder.settle("nack", it, nil)
					continue
				}
				holder.settle("ack", it, nil)
				got <- it.ID
			}
		}
	})
	var ids []string
	neighbours := func() []time.Duration {
		return latencies(40, func() {
			id := home.post(billing, map[string]any{"n": 1})
			for ids = append(ids, id); <-got != id; {
			}
		})
	}
	neighbours() // the first are slower
	alone := neighbours()
	for range 3 {
		home.post(billing, map[string]any{"poison": true}, delivery("max_delivery_attempts", 1000))
	}
	var beside []time.Duration
	for failed.Load() < 10 {
		beside = append(beside, neighbours()...)
	}
	stop()
	for _, id := range ids {
		home.status(id, "COMPLETED")
		attempts(t, home, id, 0)
	}
	t.Logf("figure: from POST to hand-over beside three intents that fail, %d times so far: median %v, 99th %v; without them %v and %v; ratio of medians %.2f",
		failed.Load(), middle(beside), late(beside), middle(alone), late(alone), float64(middle(beside))/float64(middle(alone)))
}

// TestPoisonTakesItsBatchAlong: the app takes several at once and dies with
// all of them. The door then hands them out one by one, so that the others
// come through.
func TestPoisonTakesItsBatchAlong(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	poison, rest := poisoned(home)
	eventually(t, "all to end", func() error {
		items := holder.poll(billing, take{limit: 10, wait: 1, lease: 1})
		dies := slices.ContainsFunc(items, func(it item) bool { return it.ID == poison })
		for _, it := range items {
			if !dies {
				holder.settle("ack", it, nil) // 409 where it took too long
			}
		}
		for _, id := range append([]string{poison}, rest...) {
			if got := home.get(id); !terminal(got.Status) {
				return fmt.Errorf("%s is %s", id, got.Status)
			}
		}
		return nil
	})
	if got := home.get(poison); got.Status != "FAILED" {
		t.Errorf("the poison ended %s", got.Status)
	}
	attempts(t, home, poison, 3)
	for _, id := range rest {
		if got := home.get(id); got.Status != "COMPLETED" {
			t.Errorf("%s, which did no harm, ended %s", id, got.Status)
		}
	}
}

// poisoned posts one intent that crashes the app, and thirty that do not.
func poisoned(home *sidecar) (poison string, rest []string) {
	for i := range 31 {
		if i == 7 {
			poison = home.post(billing, map[string]any{"poison": true}, delivery("max_delivery_attempts", 3))
			continue
		}
		rest = append(rest, home.post(billing, map[string]any{"n": i}))
	}
	return poison, rest
}

// TestNack: a failed attempt each, with the delay the app asks for, until
// none is left; or at once, when the app will never take it.
func TestNack(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	id := home.post(billing, map[string]any{"n": 1}, delivery("max_delivery_attempts", 2))
	it := holder.take1(billing, take{lease: 60})
	asked := time.Now()
	if a := holder.settle("nack", it, map[string]any{"reason": "database is away", "delay_seconds": 2}); a.code != 200 {
		t.Fatalf("nack: %v", a)
	}
	attempts(t, home, id, 1)
	it = holder.take1(billing, take{lease: 60})
	if waited := time.Since(asked); waited < 2*time.Second {
		t.Errorf("handed over again after %v, want the 2 s asked for", waited)
	}
	if a := holder.settle("nack", it, map[string]any{"reason": "still away"}); a.code != 200 {
		t.Fatalf("nack: %v", a)
	}
	end := home.wait(id)
	if end.Status != "FAILED" {
		t.Errorf("out of attempts: %s", end.Status)
	}
	attempts(t, home, id, 2)

	rejected := home.post(billing, map[string]any{"n": 2})
	it = holder.take1(billing, take{})
	if a := holder.settle("nack", it, map[string]any{"reject": true, "reason": "no such order"}); a.code != 200 {
		t.Fatalf("reject: %v", a)
	}
	if end := home.wait(rejected); end.Status != "FAILED" {
		t.Errorf("rejected: %s", end.Status)
	}
	holder.takeNothing(billing, 1)
}

// TestExtend: the lease moves on as long as the app says it works.
func TestExtend(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	id := home.post(billing, map[string]any{"n": 1})
	it := holder.take1(billing, take{lease: 1})
	for range 3 {
		if a := holder.settle("extend", it, map[string]any{"lease_seconds": 2}); a.code != 200 {
			t.Fatalf("extend: %v", a)
		}
		holder.takeNothing(billing, 1)
	}
	if got := home.get(id); got.Status != "IN_PROGRESS" && got.Status != "ACKNOWLEDGED" {
		t.Errorf("status %s", got.Status)
	}
	holder.ack(it, nil)
	home.status(id, "COMPLETED")
	attempts(t, home, id, 0)
}

// TestWorkTimeout: acknowledged, then silent: a failed attempt, later.
func TestWorkTimeout(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, map[string]string{"work_timeout": "1s"})
	id := home.post(billing, map[string]any{"n": 1})
	it := holder.take1(billing, take{lease: 60})
	if a := holder.settle("extend", it, nil); a.code != 200 { // without lease_seconds: work_timeout
		t.Fatalf("extend: %v", a)
	}
	attempts(t, home, id, 1)
	holder.ack(holder.take1(billing, take{}), nil)
	home.status(id, "COMPLETED")
}

// TestHolderCrashIsNoAttempt: a lease that ran out while its holder was down,
// or over a crash of it, was not the app's fault.
func TestHolderCrashIsNoAttempt(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	id := home.post(billing, map[string]any{"n": 1}, delivery("max_delivery_attempts", 1))
	for range 3 {
		it := holder.take1(billing, take{lease: 1})
		holder.kill()
		within(time.Until(it.LeaseUntil), func() error { return nil })
		holder.start()
	}
	it := holder.take1(billing, take{lease: 60})
	if it.ID != id || !it.Redelivered {
		t.Errorf("handed over %+v", it)
	}
	holder.ack(it, nil)
	home.status(id, "COMPLETED")
	attempts(t, home, id, 0)
}

// TestNobodyReads: the door shuts, what is unleased goes home, no attempt is
// counted; the first poll opens it and gets what waits.
func TestNobodyReads(t *testing.T) {
	t.Parallel()
	c := startTrio(t, map[string]string{"no_reader_after": "1s", "release_after": "1s"})
	id := c.home.post(billing, map[string]any{"n": 1})
	has, other := c.holderOf(id)
	eventually(t, "the release", func() error {
		if w := c.home.why(id); w.HeldBy != "" {
			return fmt.Errorf("held by %s: %s", w.HeldBy, w.Text)
		}
		return nil
	})
	for _, s := range []*sidecar{other, has} { // whichever reads first gets it
		items := s.poll(billing, take{wait: 5, lease: 60})
		if len(items) != 1 || items[0].ID != id {
			continue
		}
		s.ack(items[0], nil)
		break
	}
	c.home.status(id, "COMPLETED")
	attempts(t, c.home, id, 0)
}

// TestHangingAppHoldsNobodyUp: one worker takes a batch and hangs; another
// gets all the rest at once, and that batch when the leases end.
func TestHangingAppHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	holder.takeNothing(billing, 0)
	for i := range 20 {
		home.post(billing, map[string]any{"n": i})
	}
	hung := map[string]bool{}
	eventually(t, "a batch to hang on", func() error {
		for _, it := range holder.poll(billing, take{limit: 5, wait: 1, lease: 4}) {
			hung[it.ID] = true
		}
		if len(hung) < 5 {
			return fmt.Errorf("%d", len(hung))
		}
		return nil
	})
	done := map[string]bool{}
	eventually(t, "all to be done", func() error {
		for _, it := range holder.poll(billing, take{limit: 100, wait: 1, lease: 60}) {
			if hung[it.ID] && it.DeliveryAttempt == 1 {
				t.Errorf("%s was handed to a second worker under its first lease", it.ID)
			}
			holder.ack(it, nil)
			done[it.ID] = true
		}
		if len(done) < 20 {
			return fmt.Errorf("%d of 20", len(done))
		}
		return nil
	})
	for id := range done {
		want := 0
		if hung[id] {
			want = 1
		}
		attempts(t, home, id, want)
	}
}

// TestSecondPollWhileOneIsLeased: an app that takes one at a time and works on
// several side by side is given the next whenever it asks.
func TestSecondPollWhileOneIsLeased(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	var taken []item
	for i := range 10 {
		home.post(billing, map[string]any{"n": i})
		taken = append(taken, holder.take1(billing, take{lease: 600}))
	}
	for _, it := range taken {
		holder.ack(it, nil)
		home.status(it.ID, "COMPLETED")
	}
}
