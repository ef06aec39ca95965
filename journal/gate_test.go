package journal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// part is an approval of a turn.
func part(turn uint32, any bool, to string) *wire.Part {
	return &wire.Part{Turn: turn, Any: any, Child: &wire.Envelope{IntentType: journal.GateType, ToAgent: to, HumanTask: []byte(`{"title":"?"}`)}}
}

func (w *world) gated(a journal.Accept, parts ...*wire.Part) journal.ID {
	w.Helper()
	a.Envelope, a.Plan = envelope(), &wire.Plan{Parts: parts}
	got, err := w.j.Accept(w.Context(), []journal.Accept{a})
	if err != nil || got[0].Err != nil {
		w.Fatalf("accept: %v, %+v", err, got)
	}
	return got[0].ID
}

// decide says yes or no to part n of an intent.
func (w *world) decide(id journal.ID, n int, yes bool) error {
	a := journal.Answer{Trigger: state.Complete, Reason: state.ReasonApp, Body: []byte(`{"outcome":"approved"}`), Actor: "ann"}
	if !yes {
		a = journal.Answer{Trigger: state.Cancel, Reason: state.ReasonCanceled, Body: []byte(`{"outcome":"rejected","comment":"too far"}`), Text: "rejected", Actor: "ann"}
	}
	_, err := w.j.Answer(w.Context(), journal.PartID(id, n), a)
	return err
}

// stand draws how the parts of an intent stand: not asked, asked, yes, or ended otherwise.
func (w *world) stand(id journal.ID) string {
	w.Helper()
	var b strings.Builder
	for _, p := range w.get(id).Plan.GetParts() {
		switch {
		case len(p.Id) == 0 && p.Status == 0:
			b.WriteByte('.')
		case p.Status == 0:
			b.WriteByte('?')
		case state.Status(p.Status) == state.Completed:
			b.WriteByte('y')
		default:
			b.WriteByte('n')
		}
	}
	return b.String()
}

// Each decision moves the intent it is for: to the next turn, to be offered, or to its end.
func TestGates(t *testing.T) {
	t.Parallel()
	all := func() []*wire.Part {
		return []*wire.Part{part(0, false, "a"), part(0, false, "b"), part(1, false, "c")}
	}
	some := func() []*wire.Part { return []*wire.Part{part(0, true, "a"), part(0, true, "b")} }
	for _, c := range []struct {
		rule      string
		parts     []*wire.Part
		decisions string // of part n: its digit, and y or n
		stand     string
		status    state.Status
		due       bool
	}{
		{"one is asked", []*wire.Part{part(0, false, "a"), part(1, false, "b")}, "", "?.", state.Submitted, false},
		{"then the other", []*wire.Part{part(0, false, "a"), part(1, false, "b")}, "0y", "y?", state.Submitted, false},
		{"both in turn", []*wire.Part{part(0, false, "a"), part(1, false, "b")}, "0y1y", "yy", state.Submitted, true},
		{"the first refuses", []*wire.Part{part(0, false, "a"), part(1, false, "b")}, "0n", "n.", state.Canceled, false},
		{"the last refuses", []*wire.Part{part(0, false, "a"), part(1, false, "b")}, "0y1n", "yn", state.Canceled, false},
		{"two at once, one has said", all(), "1y", "?y.", state.Submitted, false},
		{"two at once, both have", all(), "1y0y", "yy?", state.Submitted, false},
		{"two at once, one refuses", all(), "1n", "nn.", state.Canceled, false},
		{"any of two approves", some(), "1y", "ny", state.Submitted, true},
		{"one of any refuses", some(), "0n", "n?", state.Submitted, false},
		{"one of any refuses, the other does not", some(), "0n1y", "ny", state.Submitted, true},
		{"all of any refuse", some(), "1n0n", "nn", state.Canceled, false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			id := w.gated(journal.Accept{}, c.parts...)
			for d := c.decisions; d != ""; d = d[2:] {
				w.reopen()
				if err := w.decide(id, int(d[0]-'0'), d[1] == 'y'); err != nil {
					t.Fatalf("decision %s: %v", d[:2], err)
				}
			}
			w.reopen()
			if got := w.stand(id); got != c.stand || w.status(id) != c.status {
				t.Errorf("parts stand %s and it is %s, want %s and %s", got, w.status(id), c.stand, c.status)
			}
			if due := len(w.due()) == 1; due != c.due {
				t.Errorf("to be offered: %t, want %t", due, c.due)
			}
			for n, p := range w.get(id).Plan.Parts {
				if len(p.Id) > 0 && w.get(journal.PartID(id, n)).Status().Open() != (c.stand[n] == '?') {
					t.Errorf("part %d is %s", n, w.status(journal.PartID(id, n)))
				}
			}
			w.whole()
		})
	}
}

// What is said at the end: who refused, with which words, and which approval it was.
func TestRefusalSaysWho(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.gated(journal.Accept{}, part(0, false, "manager"), part(1, false, "finance"))
	if err := errors.Join(w.decide(id, 0, true), w.decide(id, 1, false)); err != nil {
		t.Fatal(err)
	}
	w.wantEvents(id, "created", "submitted", "human_task_assigned", "transfer", "human_task_assigned", "canceled")
	evs, _, _ := w.j.Events(id, 0)
	given, end := evs[3], evs[5]
	if given.Actor != "ann" || given.Asked != "manager" || given.Text != "approved" || given.Waited == nil || state.Reason(given.Reason) != state.ReasonApproved {
		t.Errorf("the approval is told as %v", given)
	}
	if part := journal.PartID(id, 1); end.Actor != "ann" || end.Asked != "finance" || journal.ID(end.Part) != part || state.Reason(end.Reason) != state.ReasonRefused {
		t.Errorf("the refusal is told as %v", end)
	}
	if out := w.get(id).Outcome; out.Text != "not approved by finance: rejected: too far" || !strings.Contains(string(out.Body), "too far") {
		t.Errorf("its outcome is %v", out)
	}
	child := w.get(journal.PartID(id, 1)).Envelope
	if want := `{"parent_payload":{"order_id":"ORD-1"},"parent":{"intent_id":"` + id.String() + `"`; !strings.HasPrefix(string(child.Payload), want) || child.FromAgent != "orders" {
		t.Errorf("finance was asked by %s with %s", child.FromAgent, child.Payload)
	}
}

// Whatever ends the intent ends what is asked about it, in the same batch.
func TestEndOfTheParentEndsItsGates(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.gated(journal.Accept{}, part(0, false, "a"), part(0, false, "b"), part(1, false, "c"))
	if _, err := w.j.Answer(t.Context(), id, journal.Answer{Trigger: state.Start}); !errors.Is(err, journal.ErrIllegal) {
		t.Errorf("a word lets it go on past its gates: %v", err)
	}
	if _, err := w.j.Answer(t.Context(), id, journal.Answer{Trigger: state.Cancel, Actor: "orders"}); err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		if s := w.status(journal.PartID(id, n)); s != state.Canceled {
			t.Errorf("approval %d is %s, want CANCELED", n, s)
		}
	}
	var ended *journal.EndedError
	if err := w.decide(id, 0, true); !errors.As(err, &ended) {
		t.Errorf("it is decided after the end: %v", err)
	}
	w.wantEvents(id, "created", "submitted", "human_task_assigned", "human_task_assigned", "canceled")
	w.whole()
}

// Limits of time count from the last approval; one that is not given in time ends the
// intent, even while the process was down, and leaves no dead letter behind.
func TestGatesAndTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		slow := part(0, false, "a")
		slow.ExpiresMs = (72 * time.Hour).Milliseconds()
		expires := w.gated(journal.Accept{}, slow, part(1, false, "b"))
		passes := w.gated(journal.Accept{}, part(0, false, "a"))
		later := w.gated(journal.Accept{DeliverAt: time.Now().Add(100 * 24 * time.Hour)}, part(0, false, "a"))
		limited := w.gated(journal.Accept{DeliverBy: time.Now().Add(24 * time.Hour)}, part(0, false, "a"))
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(90 * 24 * time.Hour) // past every limit that would count from the accept
		w.open(journal.Options{})
		time.Sleep(time.Second)
		synctest.Wait()
		if s := w.status(expires); s != state.TimedOut {
			t.Errorf("what was not approved in time is %s, want TIMED_OUT", s)
		}
		evs, _, _ := w.j.Events(expires, 0)
		if end := evs[len(evs)-1]; state.Reason(end.Reason) != state.ReasonGateExpired || end.Asked != "a" {
			t.Errorf("its end is told as %v", end)
		}
		if s := w.status(limited); s != state.TimedOut {
			t.Errorf("what had a deliver_by of its own is %s, want TIMED_OUT", s)
		}
		w.wantDead(journal.DeadFilter{}, limited)
		again := w.redrive(journal.Redrive{ID: limited})
		if got := w.stand(again); got != "?" {
			t.Errorf("redriven without an approval its gates stand %q, want ?", got)
		}
		if err := errors.Join(w.decide(passes, 0, true), w.decide(later, 0, true)); err != nil {
			t.Fatal(err)
		}
		left := time.Until(time.UnixMilli(w.get(passes).Head.DeliverByMs)).Round(time.Hour)
		if left != journal.DefaultDeliverBy {
			t.Errorf("it has %v to be taken after the approval, want %v", left, journal.DefaultDeliverBy)
		}
		if offers := w.due(); len(offers) != 1 || offers[0].ID != passes || offers[0].Old {
			t.Errorf("due are %v, want %s alone, which waits for no holder's word", offers, passes)
		}
		if in := time.Until(time.UnixMilli(w.get(later).Head.DueMs)).Round(24 * time.Hour); in != 10*24*time.Hour {
			t.Errorf("what is not to be offered before day 100 is due in %v", in)
		}
	})
}

// An approval was given to what was seen: another payload, or receiver, is approved anew.
func TestRedriveOfWhatWasApproved(t *testing.T) {
	t.Parallel()
	w := setup(t)
	die := func() journal.ID {
		id := w.gated(journal.Accept{}, part(0, false, "a"))
		if err := w.decide(id, 0, true); err != nil {
			t.Fatal(err)
		}
		if err := w.j.Refuse(t.Context(), id, 1, state.ReasonTooLarge, "too large"); err != nil {
			t.Fatal(err)
		}
		return id
	}
	if same := w.redrive(journal.Redrive{ID: die()}); w.get(same).Plan != nil {
		t.Error("what was approved is asked for again")
	}
	for _, r := range []journal.Redrive{{ID: die(), Payload: []byte("{}")}, {ID: die(), ToAgent: "elsewhere"}} {
		if got := w.stand(w.redrive(r)); got != "?" {
			t.Errorf("changed by %+v its gates stand %q, want ?", r, got)
		}
	}
	w.whole()
}

// Random decisions, ends and restarts: an intent is offered exactly when those who must
// have approved it, nobody is asked about what has ended, and no turn begins before the
// one ahead of it is over.
func TestGatesWalk(t *testing.T) {
	t.Parallel()
	w := setup(t)
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	for range 12 {
		var parts []*wire.Part
		for turn := range 1 + r.IntN(3) {
			any := r.IntN(2) == 0
			for range 1 + r.IntN(3) {
				parts = append(parts, part(uint32(turn), any, fmt.Sprint("p", r.IntN(4))))
			}
		}
		id := w.gated(journal.Accept{}, parts...)
		for range 12 {
			switch n := r.IntN(len(parts)); {
			case r.IntN(12) == 0:
				w.reopen()
			case r.IntN(25) == 0:
				_, _ = w.j.Answer(t.Context(), id, journal.Answer{Trigger: state.Cancel})
			default:
				_ = w.decide(id, n, r.IntN(4) > 0) // one that is not asked, or has ended, changes nothing
			}
			w.consistent(id, parts)
		}
	}
	w.whole()
}

func (w *world) consistent(id journal.ID, parts []*wire.Part) {
	w.Helper()
	i := w.get(id)
	passed := map[uint32]bool{}
	for n := range parts {
		turn, given, all := parts[n].Turn, 0, true
		for _, p := range i.Plan.Parts {
			if p.Turn == turn {
				yes := state.Status(p.Status) == state.Completed
				all = all && yes
				if yes {
					given++
				}
			}
		}
		passed[turn] = all || parts[n].Any && given > 0
	}
	last := parts[len(parts)-1].Turn
	offered := journal.Place(i.Head.Place) == journal.PlaceDue
	for n, p := range i.Plan.Parts {
		asked := len(p.Id) > 0
		if asked && p.Turn > 0 && !passed[p.Turn-1] {
			w.Fatalf("%s: part %d is asked before its turn: %v", id, n, i.Plan)
		}
		if !i.Status().Open() && asked && w.get(journal.PartID(id, n)).Status().Open() {
			w.Fatalf("%s: part %d is asked about what has ended", id, n)
		}
	}
	if i.Status().Open() && offered != passed[last] {
		w.Fatalf("%s: offered %t, approved %t: %v", id, offered, passed[last], i.Plan)
	}
}

// An approval is in the inboxes of those who are asked, each in its turn, as any task is.
func TestGatesAreInInboxes(t *testing.T) {
	t.Parallel()
	w := setup(t)
	first, second := part(0, false, "a"), part(1, false, "b")
	second.Asked = []string{"zoe"}
	id := w.gated(journal.Accept{}, first, second)
	asked := func(owner string) (ids []journal.ID) { ids, _ = w.changed(owner, 0); return ids }
	if got := asked("a"); len(got) != 1 || got[0] != journal.PartID(id, 0) {
		t.Errorf("a has %v, want what is to be approved", got)
	}
	if got := asked("zoe"); len(got) != 0 {
		t.Errorf("before its turn zoe has %v", got)
	}
	if err := w.decide(id, 0, true); err != nil {
		t.Fatal(err)
	}
	for _, owner := range []string{"b", "zoe"} {
		if got := asked(owner); len(got) != 1 || got[0] != journal.PartID(id, 1) {
			t.Errorf("%s has %v, want what is to be approved", owner, got)
		}
	}
	if th, err := w.j.Thread(journal.PartID(id, 0)); err != nil || th.Decision.GetActor() != "ann" {
		t.Errorf("the thread of what was approved is %v, %v", th, err)
	}
	w.whole()
}

// What people elsewhere are asked is offered there: gates, whichever turn they are of,
// and tasks, also where it becomes known later that they are elsewhere.
func TestPeopleElsewhereAreOfferedWhatTheyAreAsked(t *testing.T) {
	t.Parallel()
	w := setup(t)
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	var known atomic.Bool
	w.open(journal.Options{Elsewhere: func(address string) bool { return known.Load() && address == billing }})
	offered := func() (ids []journal.ID) {
		for _, a := range w.j.DueAgents() {
			if !w.j.ForThreads(a) {
				continue
			}
			w.j.Rewind(a, time.UnixMilli(1)) // also what was seen before
			offers, _, err := w.j.Due(a, time.Now(), 100, func(journal.ID) bool { return false })
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range offers {
				ids = append(ids, o.ID)
			}
		}
		return ids
	}
	early := w.ask(nil)
	gated := w.gated(journal.Accept{}, part(0, false, "here"), part(1, false, billing))
	if got := offered(); len(got) != 0 {
		t.Fatalf("offered to nobody knows whom: %v", got)
	}
	known.Store(true)
	if err := w.j.AskElsewhere(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := offered(); len(got) != 1 || got[0] != early {
		t.Errorf("offered are %v, want the task of before", got)
	}
	if err := w.decide(gated, 0, true); err != nil {
		t.Fatal(err)
	}
	if got := offered(); len(got) != 2 || !slices.Contains(got, early) || !slices.Contains(got, journal.PartID(gated, 1)) { // in any order, if within one millisecond
		t.Errorf("offered are %v, want the approval of the second turn too", got)
	}
	if tasks, _, err := w.j.Tasks(journal.ID{}, 10, func(*journal.Intent) bool { return true }); err != nil || len(tasks) != 2 {
		t.Errorf("%d tasks can be decided here, %v; want both", len(tasks), err)
	}
	if err := w.decide(gated, 1, true); err != nil {
		t.Fatal(err)
	}
	if _, err := w.j.Answer(t.Context(), early, journal.Answer{Trigger: state.Complete, Body: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	w.whole()
}

// Whoever has to approve is reminded, over a restart too, and then another one is asked as
// well; the approval of either passes the gate.
func TestGateRemindsAndEscalates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		slow, next := part(0, false, "ann"), part(1, false, "zoe")
		slow.Child.Reminders = &wire.Reminders{AfterMs: 4_000, IntervalMs: 24_000, Most: 2, EscalateTo: "boss"}
		next.Child.Reminders = &wire.Reminders{AfterMs: 5_000, Most: 1}
		id := w.gated(journal.Accept{}, slow, next)
		time.Sleep(10 * time.Second)
		w.reopen()
		time.Sleep(50 * time.Second)
		if reminded, escalated := remindersOf(t, w, journal.PartID(id, 0)); fmt.Sprint(reminded) != "[4 28]" || escalated != 52 {
			t.Errorf("reminded after %v seconds, escalated after %d; want 4, 28 and 52", reminded, escalated)
		}
		if got, _ := w.changed("boss", 0); len(got) != 1 || got[0] != journal.PartID(id, 0) {
			t.Errorf("the boss has %v, want the approval", got)
		}
		if err := w.decide(id, 0, true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if reminded, _ := remindersOf(t, w, journal.PartID(id, 1)); fmt.Sprint(reminded) != "[5]" {
			t.Errorf("the next is reminded after %v seconds of being asked, want 5", reminded)
		}
		if err := w.decide(id, 1, true); err != nil {
			t.Fatal(err)
		}
		if got := w.stand(id); got != "yy" || len(w.due()) != 1 {
			t.Errorf("the gates stand %s, %d are offered", got, len(w.due()))
		}
		w.whole()
	})
}

// Whatever is asked, and whoever hears of it, a decision opens the next turn: what many
// want to hear of does not make it too large for one commit.
func TestLargeTurnsFitADecision(t *testing.T) {
	t.Parallel()
	w := &world{T: t, dir: t.TempDir()}
	unsaid := 0
	w.open(journal.Options{Tell: tellMuch, Hooks: journal.Hooks{Warning: func(line string) {
		if strings.HasPrefix(line, "nobody is told of a task at mail: ") {
			unsaid++
		}
	}}})
	for n := range 32 {
		s := &wire.Subscription{Active: true, CallbackUrl: fmt.Sprintf("http://127.0.0.1:1/%d", n), EventTypes: []string{journal.ThreadCreated, journal.ThreadUpdated}}
		if _, _, err := w.j.Subscribe(t.Context(), s, nil); err != nil {
			t.Fatal(err)
		}
	}
	task := []byte(`{"title":"` + strings.Repeat("t", 4_000) + `"}`)
	parts := []*wire.Part{part(0, false, "a")}
	for n := range 15 {
		parts = append(parts, part(1, false, fmt.Sprint("b", n)))
	}
	for _, p := range parts {
		p.Child.HumanTask = task
	}
	e := envelope()
	e.Payload = []byte(`{"x":"` + strings.Repeat("x", 47<<10) + `"}`)
	got, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: e, Plan: &wire.Plan{Parts: parts}}})
	if err != nil || got[0].Err != nil {
		t.Fatal(err, got)
	}
	id := got[0].ID
	body := []byte(`{"outcome":"approved","data":"` + strings.Repeat("x", journal.MaxPartDecision-40) + `"}`)
	if _, err := w.j.Answer(t.Context(), journal.PartID(id, 0), journal.Answer{Trigger: state.Complete, Reason: state.ReasonApp, Body: body, Actor: "ann"}); err != nil {
		t.Fatalf("the decision is refused: %v", err)
	}
	if got := w.stand(id); got != "y"+strings.Repeat("?", 15) {
		t.Errorf("the gates stand %s", got)
	}
	if first := w.get(journal.PartID(id, 1)).Envelope.Payload; !strings.Contains(string(first), "payload_omitted") {
		t.Errorf("fifteen are each given %d bytes of payload", len(first))
	}
	if unsaid == 0 {
		t.Error("what there is no room to tell is not reported")
	}
	w.whole()
}
