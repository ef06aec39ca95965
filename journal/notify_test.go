package journal_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// tellAll tells two targets of each turn, and what it is.
func tellAll(n *journal.TaskNews) []journal.Notification {
	body := fmt.Appendf(nil, `{"said":"%s %d %s %s %s"}`, n.Turn, n.No, n.Asked, n.Status, n.By)
	return []journal.Notification{{Target: "chat", Payload: body}, {Target: "mail", To: "ann@example.org", Payload: body}}
}

// setupTold is a journal whose tasks are told of.
func setupTold(t *testing.T) *world {
	w := &world{T: t, dir: t.TempDir()}
	w.open(journal.Options{Tell: tellAll, DeliverBy: 30 * 24 * time.Hour})
	return w
}

// toldAt lists what is to be said at a target, sorted: what comes within a millisecond has
// no order.
func (w *world) toldAt(target string) (said []string) {
	w.Helper()
	page, _, err := w.j.List(journal.Filter{To: journal.NotifyAddress(target), Limit: 100})
	if err != nil {
		w.Fatal(err)
	}
	for _, i := range page {
		var body struct{ Said string }
		if err := json.Unmarshal(i.Envelope.Payload, &body); err != nil {
			w.Fatal(err)
		}
		if i.Status() != state.Submitted || i.Head.Thread || i.Envelope.IntentType != journal.NotificationType {
			w.Errorf("%q is %s, thread %t: want an intent that waits for whoever sends it", body.Said, i.Status(), i.Head.Thread)
		}
		said = append(said, body.Said)
	}
	slices.Sort(said)
	return said
}

func (w *world) wantTold(want ...string) {
	w.Helper()
	slices.Sort(want)
	for _, target := range []string{"chat", "mail"} {
		if got := w.toldAt(target); !slices.Equal(got, want) {
			w.Errorf("told at %s:\n\t%s\nwant\n\t%s", target, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
	}
}

// Each turn of a task is told once at each target: over days, over restarts, and whatever
// was missed meanwhile.
func TestTurnsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setupTold(t)
		w.accept() // is nobody's task
		id := w.ask(&wire.Reminders{AfterMs: 86_400_000, Most: 2, EscalateTo: "boss"})
		days := func(n int) {
			t.Helper()
			if err := w.j.Close(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(n)*24*time.Hour + time.Second)
			w.open(journal.Options{Tell: tellAll, DeliverBy: 30 * 24 * time.Hour})
			synctest.Wait()
			time.Sleep(time.Second)
		}
		days(1)
		days(0)
		days(3) // what was due twice is one reminder
		days(1)
		if _, err := w.j.Answer(t.Context(), id, journal.Answer{Trigger: state.Complete, Reason: state.ReasonApp, Body: []byte("{}"), Actor: "boss"}); err != nil {
			t.Fatal(err)
		}
		w.wantTold("assigned 0 agent://acme/prod/billing WAITING orders", "reminded 1 agent://acme/prod/billing WAITING pannier", "reminded 2 agent://acme/prod/billing WAITING pannier",
			"escalated 0 boss WAITING pannier", "decided 0 boss COMPLETED boss")
		w.whole()
	})
}

// A task that runs out of time is told as that. What nobody decided is nobody's decision:
// of gates of which one is enough, the others just end.
func TestEndsOfTasksAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setupTold(t)
		e := envelope()
		e.HumanTask = []byte("{}")
		if _, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: e, Deadline: time.Now().Add(time.Minute)}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute + time.Second)
		id := w.gated(journal.Accept{}, part(0, true, "a"), part(0, true, "b"))
		if _, err := w.j.Answer(t.Context(), journal.PartID(id, 1), journal.Answer{Trigger: state.Complete, Reason: state.ReasonApp, Body: []byte("{}"), Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		got := w.toldAt("chat")
		want := []string{"assigned 0 a WAITING pannier", "assigned 0 agent://acme/prod/billing WAITING orders", "assigned 0 b WAITING pannier", "decided 0 b COMPLETED ann", "expired 0 agent://acme/prod/billing TIMED_OUT pannier"}
		if !slices.Equal(got, want) {
			t.Errorf("told\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
		w.whole()
	})
}

// A turn and its messages are there after a commit that failed, or neither is, and a turn
// that is taken again is told once.
func TestATurnAndItsMessagesAreOneCommit(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 3; n++ {
		for _, persist := range []bool{false, true} {
			t.Run(fmt.Sprintf("commit %d/persisted %v", n, persist), func(t *testing.T) {
				t.Parallel()
				w := setupTold(t)
				var id journal.ID
				key := &journal.Key{Hash: [32]byte{7}, Fingerprint: [32]byte{7}}
				steps := []func() error{
					func() error {
						e := envelope()
						e.HumanTask, e.ToAgent = []byte("{}"), "ann"
						got, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: e, Key: key}})
						if err == nil {
							id, err = got[0].ID, got[0].Err
						}
						return err
					},
					func() error {
						_, err := w.j.ActOnThread(t.Context(), id, journal.ThreadAct{Verb: journal.ThreadDelegate, Actor: "ann", DelegateTo: "bob", Key: &journal.Key{Hash: [32]byte{8}}})
						return err
					},
					func() error {
						_, err := w.j.Answer(t.Context(), id, journal.Answer{Trigger: state.Complete, Reason: state.ReasonApp, Body: []byte("{}"), Actor: "bob"})
						return err
					},
				}
				said := []string{"assigned 0 ann WAITING orders", "delegated 2 bob WAITING ann", "decided 0 ann COMPLETED bob"}
				w.j.FailCommit(n, persist)
				done := 0
				for _, step := range steps {
					if step() != nil {
						break
					}
					done++
				}
				if w.j.Err() == nil || done != n-1 {
					t.Fatalf("%d steps went well before commit %d failed (%v)", done, n, w.j.Err())
				}
				w.j.Abandon()
				w.open(journal.Options{Tell: tellAll, DeliverBy: 30 * 24 * time.Hour})
				if persist {
					done++
				}
				w.wantTold(slices.Clone(said[:done])...)
				for i, step := range steps {
					if err := step(); err != nil && i != 2 { // an end that is there already is said to be
						t.Fatalf("step %d again: %v", i, err)
					}
				}
				w.wantTold(slices.Clone(said)...)
				w.whole()
			})
		}
	}
}

// The people's own sidecar tells of what another has sent them: once, however often it
// comes, and of the decision made there. Reminders are the business of its home.
func TestTasksOfAnotherHomeAreTold(t *testing.T) {
	t.Parallel()
	w, id := setupTold(t), journal.NewID()
	e := envelope()
	e.Id, e.HumanTask, e.ToAgent, e.MaxDeliveryAttempts = id[:], []byte("{}"), "ann", 10
	blob, err := proto.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	home := journal.Identity{Journal: journal.NewID(), Epoch: 1}
	hold := func(offer uint64) {
		t.Helper()
		done := make(chan error, 1)
		w.j.Hold(home, []journal.HoldRequest{{Envelope: blob, OfferNo: offer, Lease: journal.Terms{Inbox: true}}}, func(res []journal.HoldResult, err error) {
			if err == nil {
				err = res[0].Err
			}
			done <- err
		})
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	hold(1)
	hold(2)
	if err := w.j.Revoke(t.Context(), home.Journal, []journal.Verdict{{ID: id, OfferNo: 2}}); err != nil {
		t.Fatal(err)
	}
	hold(3) // home had given it to another in between
	w.wantTold("assigned 0 ann WAITING ")
	if _, err := w.j.ActOnThread(t.Context(), id, journal.ThreadAct{Verb: journal.ThreadDelegate, Actor: "ann", DelegateTo: "bob"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.j.Answer(t.Context(), id, journal.Answer{Trigger: state.Cancel, Reason: state.ReasonApp, Body: []byte("{}"), Actor: "bob"}); err != nil {
		t.Fatal(err)
	}
	w.wantTold("assigned 0 ann WAITING ", "delegated 3 bob WAITING ann", "decided 0 ann CANCELED bob")
	w.whole()
}

// A rule that names too many, or says too much, costs no task anything.
func TestMessagesAreBounded(t *testing.T) {
	t.Parallel()
	w := &world{T: t, dir: t.TempDir()}
	w.open(journal.Options{Tell: func(n *journal.TaskNews) (all []journal.Notification) {
		for i := range 100 {
			all = append(all, journal.Notification{Target: "chat", To: fmt.Sprint(i), Payload: []byte("{}")})
		}
		all[0].Payload = []byte(`"` + strings.Repeat("x", 17<<10) + `"`)
		return all
	}})
	id := w.ask(nil)
	page, _, err := w.j.List(journal.Filter{To: journal.NotifyAddress("chat"), Limit: 200})
	if err != nil || len(page) != 31 {
		t.Errorf("%d messages, %v; want the first 32 but for the one that is too large", len(page), err)
	}
	if s := w.status(id); s != state.Waiting {
		t.Errorf("the task is %s", s)
	}
	w.whole()
}

// However large a decision is, and whatever has been said before, what it is to tell leaves room
// for it and for what comes of it.
func TestLargeDecisionsAreTaken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		replyTo string
		bytes   int  // of the decision
		full    bool // of what was said before, is its thread
	}{
		"one that a completion has once more":    {desk, 450_000, false},
		"one of a MiB, on a thread that is full": {"", 1<<20 - 40, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{T: t, dir: t.TempDir()}
			w.open(journal.Options{Tell: tellMuch})
			e := envelope()
			e.HumanTask, e.ReplyTo = []byte("{}"), c.replyTo
			got, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: e}})
			if err != nil || got[0].Err != nil {
				t.Fatal(err, got)
			}
			id := got[0].ID
			for full := error(nil); c.full && full == nil; {
				_, full = w.j.ActOnThread(t.Context(), id, journal.ThreadAct{Verb: journal.ThreadReply, Actor: "ann", Text: strings.Repeat("x", 2000)})
				if full != nil && !errors.Is(full, journal.ErrThreadFull) {
					t.Fatal(full)
				}
			}
			body := []byte(`{"x":"` + strings.Repeat("x", c.bytes) + `"}`)
			if _, err := w.j.Answer(t.Context(), id, journal.Answer{Trigger: state.Complete, Reason: state.ReasonApp, Body: body, Actor: "ann"}); err != nil {
				t.Errorf("the decision is refused: %v", err)
			}
			w.whole()
		})
	}
}

// tellMuch has 32 messages about each turn, of half a MiB together.
func tellMuch(*journal.TaskNews) (all []journal.Notification) {
	for to := range 32 {
		all = append(all, journal.Notification{Target: "mail", To: fmt.Sprint(to), Payload: fmt.Appendf(nil, `{"x":"%s"}`, strings.Repeat("x", 15<<10))})
	}
	return all
}
