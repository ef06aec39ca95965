package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pannier/journal/failpoint"
)

// seen says whether the app sees something: where two things race, it may.
type seen string

const (
	no  seen = "no"
	yes seen = "yes"
	may seen = "may"
)

// walkRow is what the app sees when a process dies at a line of the crash
// walk. In every row the intent is handed over once, counted as no failed
// attempt, and completed once: that is asserted for all of them.
type walkRow struct {
	post, poll, ack seen // a try of it gets no answer
	replayed        seen // the POST that is answered finds its key known
	attempt         int  // delivery_attempt of the one hand-over the app gets; 0: 1 or 2
}

// The crash walk: what is seen after a death at each named line.
var walkRows = map[string]walkRow{
	failpoint.HomeBeforeAcceptCommit: {post: yes, replayed: no, poll: no, ack: no, attempt: 1},
	failpoint.HomeAfterAcceptCommit:  {post: yes, replayed: yes, poll: no, ack: no, attempt: 1},
	// The 200 and the offer leave side by side.
	failpoint.HomeOfferSent: {post: may, replayed: may, poll: no, ack: no, attempt: 1},
	// The poll may already be waiting when the offer comes.
	failpoint.HolderBeforeHeldCommit: {post: no, replayed: no, poll: may, ack: no, attempt: 1},
	failpoint.HolderAfterHeldCommit:  {post: no, replayed: no, poll: may, ack: no},
	failpoint.HolderAfterLeaseCommit: {post: no, replayed: no, poll: yes, ack: no, attempt: 2},

	failpoint.HolderBeforeSettleCommit: {post: no, replayed: no, poll: no, ack: yes, attempt: 1},
	failpoint.HolderAfterSettleCommit:  {post: no, replayed: no, poll: no, ack: yes, attempt: 1},
	// The first report is that of the lease, and races the answer of the poll.
	failpoint.HolderBeforeReport:    {post: no, replayed: no, poll: may, ack: may},
	failpoint.HomeAfterEventsCommit: {post: no, replayed: no, poll: no, ack: no, attempt: 1},
	failpoint.HomeAfterEnd:          {post: no, replayed: no, poll: no, ack: no, attempt: 1},
}

// TestCrashWalk ends the process at every line that has a name, the first
// time it is reached, the second time, and so on while it is reached at all.
func TestCrashWalk(t *testing.T) {
	t.Parallel()
	for name := range walkRows {
		if !slices.Contains(failpoint.Names, name) {
			t.Errorf("%s is no failpoint", name)
		}
	}
	for _, name := range failpoint.Names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			row, ok := walkRows[name]
			if !ok {
				t.Fatal("no row says what must happen here")
			}
			for n := 1; n <= 4; n++ {
				w := inTime(t, func() *walker { return walk(t, name, n, false) })
				if !w.died {
					if n == 1 {
						t.Fatal("never reached: no process died here")
					}
					break
				}
				if n == 1 {
					w.compare(row)
				}
			}
			// Once more with a reader that waits when the offer comes: held and
			// lease are one commit then.
			inTime(t, func() *walker { return walk(t, name, 1, true) })
		})
	}
}

// walker is an app that sends one intent and receives it, and a supervisor
// that starts the dead process again.
type walker struct {
	t            *testing.T
	home, holder *sidecar
	victim       *sidecar
	died         bool
	polled       time.Time
	late         bool // the ack, by which the lease had lapsed

	posts, polls, acks int // tries without an answer
	replayed           string
	hands              []item
}

// lease is that of the walks: what it fences is over soon, so that the end of a walk can
// see whether the intent is handed over again.
const lease = 2 * time.Second

// inTime repeats a walk that a busy machine has held up for longer than its lease.
func inTime(t *testing.T, walk func() *walker) *walker {
	t.Helper()
	for range 5 {
		if w := walk(); !w.late {
			return w
		}
	}
	t.Fatalf("five walks were too slow for a lease of %v", lease)
	return nil
}

func walk(t *testing.T, name string, n int, waiting bool) *walker {
	holder := newSidecar(t, setup{name: "holder", agents: []string{billing}, crashy: true})
	peers := peersFile(t, map[string][]string{billing: {holder.peer}})
	home := newSidecar(t, setup{name: "home", agents: []string{shop}, peers: peers, crashy: true})
	w := &walker{t: t, home: home, holder: holder, victim: home}
	if strings.HasPrefix(name, "holder-") {
		w.victim = holder
	}
	for _, s := range []*sidecar{holder, home} {
		if s == w.victim {
			s.start(fmt.Sprintf("PANNIER_FAILPOINT=%s:%d", name, n))
		} else {
			s.start()
		}
	}
	var polling chan struct{}
	if waiting {
		polling = make(chan struct{})
		go func() {
			defer close(polling)
			w.polled = time.Now()
			items, _ := holder.tryPoll(billing, take{wait: 20, lease: int(lease.Seconds())})
			w.hands = append(w.hands, items...)
		}()
		within(50*time.Millisecond, func() error { return nil }) // it waits by now; if not, the walk is the other one
	}
	id := w.post()
	if waiting {
		<-polling
	} else {
		w.until("the intent to be held", func() (bool, answer) {
			a := holder.call("GET", "/v1/intents/"+id, nil)
			return a.code == 200, a
		})
	}
	it := w.poll()
	if it.ID != id {
		t.Fatalf("posted %s, handed over %s", id, it.ID)
	}
	if w.ack(it); !w.late {
		w.settleDown(id)
	}
	return w
}

// revive starts the victim again once it has died, as it should: by SIGKILL,
// and only once.
func (w *walker) revive() {
	w.t.Helper()
	if w.victim.running() {
		return
	}
	w.victim.awaitExit()
	if sig := w.victim.killedBySignal(); w.died || sig != syscall.SIGKILL {
		w.t.Fatalf("%s died by itself: %v", w.victim.set.name, w.victim.proc.cmd.ProcessState)
	}
	w.died = true
	w.victim.start()
}

// until calls try, whatever dies meanwhile, until it is content, and counts
// the tries that got no answer.
func (w *walker) until(what string, try func() (bool, answer)) (lost int) {
	w.t.Helper()
	eventually(w.t, what, func() error {
		w.revive()
		done, a := try()
		if a.err != nil {
			lost++
		}
		if !done {
			return fmt.Errorf("%v", a)
		}
		return nil
	})
	return lost
}

func (w *walker) post() (id string) {
	w.posts = w.until("the POST to be answered", func() (bool, answer) {
		var a answer
		id, a = w.home.tryPost(message(billing, map[string]any{"n": 1}), "walk")
		w.replayed = a.header.Get("Idempotency-Replayed")
		return id != "", a
	})
	return id
}

func (w *walker) poll() item {
	w.polls = w.until("the hand-over", func() (bool, answer) {
		if len(w.hands) > 0 {
			return true, answer{}
		}
		w.polled = time.Now()
		items, a := w.holder.tryPoll(billing, take{wait: 1, lease: int(lease.Seconds())})
		w.hands = append(w.hands, items...)
		return len(items) > 0, a
	})
	return w.hands[0]
}

func (w *walker) ack(it item) {
	w.acks = w.until("the ack to be answered", func() (bool, answer) {
		a := w.holder.settle("ack", it, map[string]any{"result": map[string]any{"ok": 1}})
		if w.late = a.code == http.StatusConflict && time.Since(w.polled) > lease; w.late {
			return true, a
		}
		if a.err == nil && a.code != 200 {
			w.t.Fatalf("ack, repeated with the same lease and result: %v", a)
		}
		return a.code == 200, a
	})
}

// settleDown waits for the outcome at home, and looks for what must not be:
// a second intent, a second hand-over, a counted attempt.
func (w *walker) settleDown(id string) {
	w.t.Helper()
	var last event
	w.until("the outcome at home", func() (bool, answer) {
		for _, e := range w.home.stream(id, last.Seq, 1) {
			last = e
		}
		return terminal(last.Status), answer{}
	})
	w.awaitDeath()
	if last.Status != "COMPLETED" {
		w.t.Errorf("ended %s: %v", last.Status, last.Details)
	}
	items, _ := w.holder.tryPoll(billing, take{wait: int(lease.Seconds()) + 1, lease: int(lease.Seconds())})
	w.hands = append(w.hands, items...)
	if len(w.hands) != 1 {
		w.t.Errorf("handed over %d times: %+v", len(w.hands), w.hands)
	}
	if all := w.home.list("limit=10"); len(all) != 1 || all[0].ID != id {
		w.t.Errorf("home has %d intents, want the one of this key", len(all))
	}
	events := w.home.events(id)
	if err := legal(events, "COMPLETED"); err != nil {
		w.t.Error(err)
	}
	delivered := 0
	for _, e := range events {
		switch e.Type {
		case "intent.delivery_failed":
			w.t.Errorf("a crash was counted as a failed attempt: %v", e.Details)
		case "intent.delivered":
			delivered++
		}
	}
	if want := w.hands[0].DeliveryAttempt; delivered != want {
		w.t.Errorf("%d events say delivered after %d leases: %v", delivered, want, kinds(events))
	}
	if got := w.home.get(id); !jsonEqual(`{"ok":1}`, got.Result) {
		w.t.Errorf("result at home %s", got.Result)
	}
}

// awaitDeath gives a line that comes after the end (a report-ack, say) time
// to be reached.
func (w *walker) awaitDeath() {
	within(time.Second, func() error {
		w.revive()
		if w.died {
			return errNoAnswer // stop waiting
		}
		return nil
	})
}

func (w *walker) compare(row walkRow) {
	w.t.Helper()
	for _, c := range []struct {
		what string
		got  bool
		want seen
	}{
		{"a POST without an answer", w.posts > 0, row.post},
		{"Idempotency-Replayed", w.replayed == "true", row.replayed},
		{"a poll without an answer", w.polls > 0, row.poll},
		{"an ack without an answer", w.acks > 0, row.ack},
	} {
		if c.want != may && c.got != (c.want == yes) {
			w.t.Errorf("the app saw %s: %v, want %s", c.what, c.got, c.want)
		}
	}
	if got := w.hands[0].DeliveryAttempt; row.attempt != 0 && got != row.attempt {
		w.t.Errorf("delivery_attempt %d, want %d", got, row.attempt)
	}
}

// Without a key, a POST repeated after a lost answer is a second intent: the
// one duplicate of the first two rows, and the README says so.
func TestLostAnswerWithoutKeyIsASecondIntent(t *testing.T) {
	t.Parallel()
	s := newSidecar(t, setup{name: "home", agents: []string{shop}, crashy: true})
	s.start("PANNIER_FAILPOINT=" + failpoint.HomeAfterAcceptCommit)
	if id, a := s.tryPost(message(shop, map[string]any{"n": 1}), ""); a.err == nil {
		t.Fatalf("answered %s %v, want no answer", id, a)
	}
	s.awaitExit()
	s.start()
	id := s.post(shop, map[string]any{"n": 1})
	all := s.list("limit=10")
	if len(all) != 2 || all[0].ID != id {
		t.Errorf("%d intents, newest not %s: want the lost one and its repetition", len(all), id)
	}
}
