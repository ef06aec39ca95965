package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// soonLost makes a home give a holder up within a test's patience.
var soonLost = map[string]string{"holder_lost_after": "1s"}

func kinds(events []event) (names []string) {
	for _, e := range events {
		names = append(names, strings.TrimPrefix(e.Type, "intent."))
	}
	return names
}

// TestLostHolder: what it held is offered to the other one, marked as perhaps
// seen before, and the lost one gives nothing of it when it comes back.
func TestLostHolder(t *testing.T) {
	t.Parallel()
	c := startTrio(t, soonLost)
	id := c.home.post(billing, map[string]any{"n": 1})
	has, other := c.holderOf(id)
	has.kill()
	it := other.take1(billing, take{lease: 60})
	if it.ID != id || !it.Redelivered {
		t.Fatalf("handed over %+v, want %s with redelivered", it, id)
	}
	if got := kinds(c.home.events(id)); !slices.Contains(got, "transfer") {
		t.Errorf("events %v, want a transfer", got)
	}
	has.start()
	// It lists what it has, and home takes it back. A poll before that would be
	// served: a holder goes on while home is away.
	eventually(t, "the old holder to hear of it", func() error {
		if got := has.get(id); got.Handover != "revoked" {
			return fmt.Errorf("the hand-over is %s there", got.Handover)
		}
		return nil
	})
	has.takeNothing(billing, 1)
	other.ack(it, map[string]any{"by": other.set.name})
	if end := c.home.wait(id); end.Status != "COMPLETED" {
		t.Errorf("ended %s", end.Status)
	}
	if w := c.home.why(id); w.Attempts.N != 0 {
		t.Errorf("%d attempts counted", w.Attempts.N)
	}
	has.takeNothing(billing, 1)
}

// TestHolderBackLate: two apps finish one intent; the answer home journals
// first is the outcome, whichever holder it comes from.
func TestHolderBackLate(t *testing.T) {
	t.Parallel()
	for _, lateWins := range []bool{false, true} {
		t.Run(fmt.Sprintf("the late one wins: %v", lateWins), func(t *testing.T) {
			t.Parallel()
			c := startTrio(t, soonLost)
			id := c.home.post(billing, map[string]any{"n": 1})
			has, other := c.holderOf(id)
			early := has.take1(billing, take{lease: 600})
			c.home.status(id, "DELIVERED")
			c.wireOf(has).cut()
			second := other.take1(billing, take{lease: 600})
			if second.ID != id || !second.Redelivered {
				t.Fatalf("handed over %+v", second)
			}
			has.ack(early, map[string]any{"by": "late"}) // journaled there: a holder never waits for home
			winner := "late"
			if lateWins {
				c.wireOf(has).mend(t)
				c.home.wait(id)
			} else {
				other.ack(second, map[string]any{"by": "second"})
				c.home.wait(id)
				c.wireOf(has).mend(t)
				winner = "second"
			}
			if lateWins {
				other.status(id, "COMPLETED") // revoked
				if a := other.settle("ack", second, nil); a.code != 409 || a.errorCode() != "intent_ended" {
					t.Errorf("ack after the end is known: %v, want 409 intent_ended", a)
				}
			} else {
				c.lateAnswerCounted(id)
			}
			got := c.home.get(id)
			if got.Status != "COMPLETED" || !jsonEqual(fmt.Sprintf(`{"by":%q}`, winner), got.Result) {
				t.Errorf("%s with %s, want the answer of %s", got.Status, got.Result, winner)
			}
			if err := legal(c.home.events(id), "COMPLETED"); err != nil {
				t.Error(err)
			}
			for _, s := range c.holders {
				s.takeNothing(billing, 1)
			}
		})
	}
}

// lateAnswerCounted waits until home shows that an answer came after the end.
func (c *trio) lateAnswerCounted(id string) {
	c.t.Helper()
	eventually(c.t, "the late answer to be kept", func() error {
		if got := c.home.get(id); len(got.LateAnswers) != 1 {
			return fmt.Errorf("%d late answers", len(got.LateAnswers))
		}
		return nil
	})
	if why := c.home.why(id).Text; !strings.Contains(why, "Answers that came after that: 1.") {
		c.t.Errorf("why says %q, and nothing of the late answer", why)
	}
}

// TestSettledGoesNowhereElse: the holder dies with the app's answer journaled
// and not yet reported. When it is back, the answer must reach home before
// home gives the intent to the other holder, whose app waits for work.
func TestSettledGoesNowhereElse(t *testing.T) {
	t.Parallel()
	c := startTrio(t, nil)
	id := c.home.post(billing, map[string]any{"n": 1})
	has, other := c.holderOf(id)
	it := has.take1(billing, take{lease: 600})
	c.home.status(id, "DELIVERED")
	c.wireOf(has).cut() // nothing it says now reaches home
	has.ack(it, map[string]any{"ok": 1})
	has.kill()
	stolen := make(chan []item, 1)
	go func() { stolen <- other.poll(billing, take{wait: 5, lease: 600}) }()
	c.wireOf(has).mend(t)
	has.start()
	if end := c.home.wait(id); end.Status != "COMPLETED" {
		t.Errorf("ended %s", end.Status)
	}
	if got := <-stolen; len(got) != 0 {
		t.Errorf("%s handed over %s, which the app of %s had finished", other.set.name, got[0].ID, has.set.name)
	}
	if got := kinds(c.home.events(id)); slices.Contains(got, "transfer") {
		t.Errorf("events %v", got)
	}
}

// TestStoppedHolder: a holder that is there and says nothing (SIGSTOP) costs
// the others nothing; what it may have had is offered to the other one, and
// when it wakes up it hands nothing of that out.
func TestStoppedHolder(t *testing.T) {
	t.Parallel()
	c := startTrio(t, map[string]string{"holder_lost_after": "1s", "offer_timeout": "500ms"})
	id := c.home.post(billing, map[string]any{"n": 0})
	has, other := c.holderOf(id)
	has.signal(syscall.SIGSTOP)
	ids := []string{id}
	for i := range 10 {
		ids = append(ids, c.home.post(billing, map[string]any{"n": i + 1}))
	}
	eventually(t, "the other holder to get all", func() error {
		for _, it := range other.poll(billing, take{limit: 100, wait: 1, lease: 60}) {
			other.ack(it, nil)
		}
		for _, id := range ids {
			if got := c.home.get(id); got.Status != "COMPLETED" {
				return fmt.Errorf("%s is %s: %s", id, got.Status, c.home.why(id).Text)
			}
		}
		return nil
	})
	has.signal(syscall.SIGCONT)
	eventually(t, "it to hear of the end", func() error {
		if got := has.get(id); !terminal(got.Status) && got.Handover != "revoked" {
			return fmt.Errorf("%s, %s", got.Status, got.Handover)
		}
		return nil
	})
	has.takeNothing(billing, 1)
}

// TestOldHoldersFactsDoNotCount: a lease that lapses at a holder that has been
// given up is no attempt; only an app's last word counts from there.
func TestOldHoldersFactsDoNotCount(t *testing.T) {
	t.Parallel()
	c := startTrio(t, soonLost)
	id := c.home.post(billing, map[string]any{"n": 1}, delivery("max_delivery_attempts", 1))
	has, other := c.holderOf(id)
	has.take1(billing, take{lease: 2}) // and its app dies
	c.home.status(id, "DELIVERED")
	c.wireOf(has).cut()
	it := other.take1(billing, take{lease: 600})
	eventually(t, "the lapse at the old holder", func() error {
		if w := has.why(id); w.Attempts.N != 1 {
			return fmt.Errorf("%d attempts there", w.Attempts.N)
		}
		return nil
	})
	c.wireOf(has).mend(t)
	has.takeNothing(billing, 2)
	attempts(t, c.home, id, 0)
	other.ack(it, nil)
	if end := c.home.wait(id); end.Status != "COMPLETED" {
		t.Errorf("ended %s: %v", end.Status, end.Details)
	}
}

// TestForgetPeer: an operator need not wait.
func TestForgetPeer(t *testing.T) {
	t.Parallel()
	c := startTrio(t, nil) // ten minutes of patience
	id := c.home.post(billing, map[string]any{"n": 1})
	has, other := c.holderOf(id)
	has.kill()
	other.takeNothing(billing, 1)
	if a := c.home.operate("POST", "/v1/admin/peers/"+has.ready.Node+"/forget", nil); a.code != http.StatusOK {
		t.Fatalf("forget: %v", a)
	}
	it := other.take1(billing, take{})
	if it.ID != id || !it.Redelivered {
		t.Errorf("handed over %+v", it)
	}
	other.ack(it, nil)
	c.home.status(id, "COMPLETED")
}

// TestCancelWhileLeased: the outcome is home's at once; the app that still
// works is told when it answers.
func TestCancelWhileLeased(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	id := home.post(billing, map[string]any{"n": 1})
	it := holder.take1(billing, take{lease: 60})
	if a := home.call("POST", "/v1/intents/"+id+"/resolve", `{"status":"CANCELED","reason":"changed my mind"}`); a.code != 200 {
		t.Fatalf("cancel: %v", a)
	}
	if a := home.call("POST", "/v1/intents/"+id+"/resolve", `{"status":"COMPLETED","result":{}}`); a.code != 409 {
		t.Errorf("second end: %v, want 409", a)
	}
	holder.status(id, "CANCELED")
	for _, verb := range []string{"ack", "nack", "extend"} {
		if a := holder.settle(verb, it, nil); a.code != 409 || a.errorCode() != "intent_ended" || !strings.Contains(string(a.body), "CANCELED") {
			t.Errorf("%s after the end: %v, want 409 intent_ended that says CANCELED", verb, a)
		}
	}
	holder.takeNothing(billing, 1)
	if err := legal(home.events(id), "CANCELED"); err != nil {
		t.Error(err)
	}
}

// TestCancelWhileCutOff: the holder hears of the end as soon as it can be
// reached, though it has nothing to say itself, and hands nothing over then.
func TestCancelWhileCutOff(t *testing.T) {
	t.Parallel()
	c := startTrio(t, nil)
	id := c.home.post(billing, map[string]any{"n": 1})
	has, _ := c.holderOf(id)
	c.wireOf(has).cut()
	if a := c.home.call("POST", "/v1/intents/"+id+"/resolve", `{"status":"CANCELED","reason":"changed my mind"}`); a.code != 200 {
		t.Fatalf("cancel: %v", a)
	}
	c.wireOf(has).mend(t)
	has.status(id, "CANCELED")
	has.takeNothing(billing, 1)
}

// TestDeadlineWhileCutOff: home ends it by its own clock; the holder, which
// journaled the time that was left, starts nothing after it; an answer under
// way is late and changes nothing.
func TestDeadlineWhileCutOff(t *testing.T) {
	t.Parallel()
	c := startTrio(t, nil)
	soon := map[string]any{"deadline_at": time.Now().Add(4 * time.Second).Format(time.RFC3339Nano)}
	leased := c.home.post(billing, map[string]any{"n": 1}, soon)
	has, _ := c.holderOf(leased)
	it := has.take1(billing, take{lease: 600})
	c.wires[0].cut()
	c.wires[1].cut()
	end := c.home.wait(leased)
	if end.Status != "TIMED_OUT" {
		t.Fatalf("ended %s", end.Status)
	}
	has.ack(it, nil) // the holder cannot know: journaled here
	c.wires[0].mend(t)
	c.wires[1].mend(t)
	c.lateAnswerCounted(leased)
	if got := c.home.get(leased); got.Status != "TIMED_OUT" || len(got.Result) != 0 {
		t.Errorf("after the late answer: %s with result %s", got.Status, got.Result)
	}
	if err := legal(c.home.events(leased), "TIMED_OUT"); err != nil {
		t.Error(err)
	}
}

// TestNoHandoverAfterDeadline: not even where home cannot say that it passed.
func TestNoHandoverAfterDeadline(t *testing.T) {
	t.Parallel()
	c := startTrio(t, nil)
	posted := time.Now()
	deadline := posted.Add(3 * time.Second)
	id := c.home.post(billing, map[string]any{"n": 1}, map[string]any{"deadline_at": deadline.Format(time.RFC3339Nano)})
	has, _ := c.holderOf(id)
	underWay := time.Since(posted) // at most: the holder counts what was left from when the offer came
	c.wires[0].cut()
	c.wires[1].cut()
	c.home.status(id, "TIMED_OUT")
	_ = within(time.Until(deadline.Add(underWay)), func() error { return nil })
	has.takeNothing(billing, 1)
	c.wires[0].mend(t)
	c.wires[1].mend(t)
	has.status(id, "TIMED_OUT")
}

// TestDeliverByPasses: nobody took it in time.
func TestDeliverByPasses(t *testing.T) {
	t.Parallel()
	home, _ := pair(t, nil)
	home.start()
	id := home.post(billing, map[string]any{"n": 1}, delivery("deliver_by", time.Now().Add(time.Second).Format(time.RFC3339Nano)))
	if end := home.wait(id); end.Status != "TIMED_OUT" {
		t.Errorf("ended %s", end.Status)
	}
}

// TestDeadlinePassesWhileDown: the limit holds over a crash of home.
func TestDeadlinePassesWhileDown(t *testing.T) {
	t.Parallel()
	home, _ := pair(t, nil)
	home.start()
	soon := time.Now().Add(time.Second)
	id := home.post(billing, map[string]any{"n": 1}, map[string]any{"deadline_at": soon.Format(time.RFC3339Nano)})
	home.kill()
	within(time.Until(soon), func() error { return nil })
	home.start()
	if end := home.wait(id); end.Status != "TIMED_OUT" {
		t.Errorf("ended %s", end.Status)
	}
}

// TestHomeKilledWithOffersOnTheWire: the holder can be asked, so each intent
// is handed over once, whatever was on its way.
func TestHomeKilledWithOffersOnTheWire(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	ids := map[string]string{}
	seen := map[string]int{}
	collect := func(wait int) {
		for _, it := range holder.poll(billing, take{limit: 1000, wait: wait, lease: 600}) {
			seen[it.ID]++
			holder.ack(it, resultOf(it))
		}
	}
	collect(0) // a reader: the window is open
	for round := range 5 {
		for i := range 40 {
			key := fmt.Sprintf("%d-%d", round, i)
			ids[home.post(billing, map[string]any{"key": key})] = key
		}
		home.kill() // some are held, some on the wire, some not yet offered
		home.start()
		collect(0)
	}
	eventually(t, "all to be handed over", func() error {
		collect(1)
		if len(seen) != len(ids) {
			return fmt.Errorf("%d of %d", len(seen), len(ids))
		}
		return nil
	})
	for id := range ids {
		home.status(id, "COMPLETED")
		if seen[id] != 1 {
			t.Errorf("%s was handed over %d times", id, seen[id])
		}
	}
}

// TestHomeKilledAndHolderCannotBeAsked: after five seconds what home accepted
// before the crash goes to the other endpoint; a second hand-over of what the
// first one had already is the duplicate this page names.
func TestHomeKilledAndHolderCannotBeAsked(t *testing.T) {
	t.Parallel()
	c := startTrio(t, nil)
	id := c.home.post(billing, map[string]any{"n": 1})
	has, other := c.holderOf(id)
	has.kill() // and stays away
	c.home.kill()
	c.home.start()
	fresh := c.home.post(billing, map[string]any{"n": 2}) // does not wait for anybody
	if it := other.take1(billing, take{}); it.ID != fresh && it.ID != id {
		t.Errorf("handed over %s", it.ID)
	} else {
		other.ack(it, nil)
	}
	// Whether home had journaled who holds it decides which rule applies: on
	// record it waits for that holder, else it goes to the one that is there.
	has.start()
	finishAll(t, c, id, fresh)
}

// finishAll acks whatever either holder gives until the intents have ended.
func finishAll(t *testing.T, c *trio, ids ...string) {
	t.Helper()
	eventually(t, "all to end", func() error {
		for _, s := range c.holders {
			for _, it := range s.poll(billing, take{}) {
				s.settle("ack", it, nil) // 409 where the other was first
			}
		}
		for _, id := range ids {
			if got := c.home.get(id); !terminal(got.Status) {
				return fmt.Errorf("%s is %s", id, got.Status)
			}
		}
		return nil
	})
	for _, id := range ids {
		if err := legal(c.home.events(id), "COMPLETED"); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// TestHomeGone: home's volume is lost, and another home starts in its place.
// What the holder has is finished there, and its outcome kept.
func TestHomeGone(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	id := home.post(billing, map[string]any{"n": 1})
	holder.holds(id)
	home.kill()
	if err := os.RemoveAll(home.dir); err != nil {
		t.Fatal(err)
	}
	home.start()
	it := holder.take1(billing, take{})
	if it.ID != id {
		t.Fatalf("handed over %s", it.ID)
	}
	holder.ack(it, map[string]any{"ok": 1})
	got := holder.get(id)
	if got.Role != "holder" || got.Status != "COMPLETED" {
		t.Errorf("at the holder: %s as %s, want COMPLETED as holder", got.Status, got.Role)
	}
	carry(t, home, holder)
}
