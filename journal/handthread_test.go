package journal_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// branch is a sidecar where people are asked by the home of another journal.
type branch struct {
	*world
	id      journal.ID
	home    journal.Identity
	offerNo uint64
	plain   bool // an intent for an inbox that is no person's task
	refused string
}

func setupBranch(t *testing.T, plain bool) *branch {
	d := &branch{world: &world{T: t, dir: t.TempDir()}, id: journal.NewID(), home: journal.Identity{Journal: journal.NewID(), Epoch: 1}, plain: plain}
	d.world.open(journal.Options{Tell: tellAll})
	return d
}

func (d *branch) reopen() {
	d.Helper()
	if err := d.j.Close(); err != nil {
		d.Fatal(err)
	}
	d.world.open(journal.Options{Tell: tellAll})
}

// offered holds it, under the next number.
func (d *branch) offered() {
	d.Helper()
	d.offerNo++
	e := envelope()
	if e.Id, e.MaxDeliveryAttempts = d.id[:], 3; !d.plain {
		e.HumanTask = []byte(`{"title":"?"}`)
	}
	text, err := proto.Marshal(e)
	if err != nil {
		d.Fatal(err)
	}
	done := make(chan error, 1)
	r := journal.HoldRequest{Envelope: text, OfferNo: d.offerNo, Lease: journal.Terms{Inbox: true}}
	d.j.Hold(d.home, []journal.HoldRequest{r}, func(r []journal.HoldResult, err error) { done <- errors.Join(err, r[0].Err) })
	if err := <-done; err != nil {
		d.Fatal(err)
	}
}

// says is a decision of ann's in the inbox, under a key of its own.
func (d *branch) says(decision string) {
	d.Helper()
	act := journal.ThreadAct{Verb: journal.ThreadDecide, Actor: "ann", Decision: decision, Key: &journal.Key{Hash: [32]byte{decision[0]}}}
	act.Word = &journal.Answer{Trigger: state.Complete, Reason: state.ReasonApp, Actor: "ann", Body: []byte("{}")}
	if decision == journal.Reject {
		act.Word.Trigger, act.Word.Reason = state.Cancel, state.ReasonCanceled
	}
	_, err := d.j.ActOnThread(d.T.Context(), d.id, act)
	d.note(err)
}

// completes is a word of ann's on the intent itself.
func (d *branch) completes() {
	d.Helper()
	_, err := d.j.Answer(d.T.Context(), d.id, journal.Answer{Trigger: state.Complete, Reason: state.ReasonApp, Actor: "ann", Body: []byte("{}")})
	d.note(err)
}

func (d *branch) note(err error) {
	d.Helper()
	var decided *journal.DecidedError
	var ended *journal.EndedError
	switch {
	case err == nil:
		d.refused = "no"
	case errors.As(err, &decided):
		d.refused = "decided by " + decided.By
	case errors.As(err, &ended):
		d.refused = strings.TrimSpace("ended " + ended.Status.String() + " " + ended.By)
	case errors.Is(err, journal.ErrIllegal):
		d.refused = "not asked"
	default:
		d.Fatal(err)
	}
}

// revoked is home's word by itself.
func (d *branch) revoked(v journal.Verdict) {
	d.Helper()
	v.ID, v.OfferNo = d.id, max(v.OfferNo, d.offerNo)
	if err := d.j.Revoke(d.T.Context(), d.home.Journal, []journal.Verdict{v}); err != nil {
		d.Fatal(err)
	}
}

// acked is home's word as the answer to all that was reported.
func (d *branch) acked(a journal.Acked) {
	d.Helper()
	a.ID = d.id
	if err := d.j.AckReports(d.T.Context(), d.home.Journal, math.MaxUint64, []journal.Acked{a}); err != nil {
		d.Fatal(err)
	}
}

// log is home's, of an intent that somebody has ended.
func (d *branch) log(status state.Status, actor string) []*wire.Event {
	e := &wire.Event{Status: uint32(status), Actor: actor, AtMs: 7_000, Reason: uint32(state.ReasonApp)}
	on := map[state.Status]state.EventType{state.Completed: state.EventCompleted, state.Canceled: state.EventCanceled, state.TimedOut: state.EventTimedOut}
	switch e.Type = uint32(on[status]); {
	case status == state.TimedOut:
		e.Reason = uint32(state.ReasonDeadline)
	case status == state.Canceled:
		e.Reason = uint32(state.ReasonCanceled)
	}
	return []*wire.Event{{Type: uint32(state.EventCreated), Status: uint32(state.Created)}, e}
}

func (d *branch) ends(status state.Status, actor string) {
	d.Helper()
	log := d.log(status, actor)
	d.revoked(journal.Verdict{Ended: true, Status: status, Reason: state.Reason(log[1].Reason), Events: log})
}

// confirms is home's answer to the word that was given here.
func (d *branch) confirms(status state.Status) {
	d.Helper()
	log, self := d.log(status, "ann"), d.j.Identity().Journal
	log[1].Peer = self[:]
	d.acked(journal.Acked{Status: status, Events: log})
}

// shows is the thread in short: how far, whose decision, and what its timeline says.
func (d *branch) shows() string {
	d.Helper()
	th, err := d.j.Thread(d.id)
	if err != nil {
		return err.Error()
	}
	line := []string{}
	for _, e := range th.Entries[1:] {
		var said struct {
			By   string `json:"decided_by"`
			Over string `json:"overruled"`
		}
		if err := json.Unmarshal(e.Details, &said); err != nil {
			d.Fatal(err)
		}
		text := e.Type
		if said.By != "" {
			text += " by " + said.By
		}
		if said.Over != "" {
			text += " over " + said.Over
		}
		line = append(line, text)
	}
	whose := strings.TrimSpace(th.Decision.GetDecision() + " " + th.Decision.GetActor())
	return fmt.Sprintf("%s, %s: %s", journal.ThreadStatus(th.Status), whose, strings.Join(line, ", "))
}

// What home rules is what the thread of those who were asked shows: whoever decided there
// has decided, whatever was said to people here at first. Home repeats what was not heard,
// and either side may have stopped in between.
func TestThreadElsewhereShowsHomesRuling(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rule  string
		plain bool
		play  func(d *branch)
		want  string
	}{
		{"nobody has decided", false, func(d *branch) {}, "pending, : "},
		{"decided here, and home has not heard", false, func(d *branch) { d.says("approve") },
			"done, approve ann: thread.approved, intent.completed by ann"},
		{"decided here, and confirmed", false, func(d *branch) { d.says("approve"); d.confirms(state.Completed) },
			"done, approve ann: thread.approved, intent.completed by ann"},
		{"decided here by a word on the intent, and confirmed", false, func(d *branch) { d.completes(); d.confirms(state.Completed) },
			"done, approve ann: intent.completed by ann"},
		{"decided here, and home ruled otherwise", false, func(d *branch) { d.says("approve"); d.ends(state.Canceled, "bob") },
			"done, reject bob: thread.approved, intent.completed by ann, intent.canceled by bob over approve by ann"},
		{"somebody else was before with the same", false, func(d *branch) { d.says("reject"); d.ends(state.Canceled, "bob") },
			"done, reject bob: thread.rejected, intent.canceled by ann, intent.canceled by bob over reject by ann"},
		{"overruled by the answer to the report", false, func(d *branch) {
			d.says("approve")
			d.acked(journal.Acked{Status: state.Canceled, Events: d.log(state.Canceled, "bob")})
		},
			"done, reject bob: thread.approved, intent.completed by ann, intent.canceled by bob over approve by ann"},
		{"decided at home", false, func(d *branch) { d.ends(state.Canceled, "bob") },
			"done, reject bob: intent.canceled by bob"},
		{"home does not say by whom at first", false, func(d *branch) {
			d.revoked(journal.Verdict{Ended: true, Status: state.Completed})
			d.acked(journal.Acked{Status: state.Completed, Events: d.log(state.Completed, "bob")})
		}, "done, approve bob: intent.completed, intent.completed by bob"},
		{"decided here, and home does not say by whom", false, func(d *branch) { d.says("approve"); d.revoked(journal.Verdict{Ended: true, Status: state.Completed}) },
			"done, approve ann: thread.approved, intent.completed by ann"},
		{"overruled, and home does not say by whom", false, func(d *branch) { d.says("approve"); d.revoked(journal.Verdict{Ended: true, Status: state.Canceled}) },
			"done, : thread.approved, intent.completed by ann, intent.canceled over approve by ann"},
		{"out of time", false, func(d *branch) { d.ends(state.TimedOut, "pannier") },
			"done, : intent.timed_out"},
		{"decided here when it was out of time", false, func(d *branch) { d.says("approve"); d.ends(state.TimedOut, "pannier") },
			"done, : thread.approved, intent.completed by ann, intent.timed_out over approve by ann"},
		{"canceled by nobody", false, func(d *branch) { d.ends(state.Canceled, "pannier") },
			"done, : intent.canceled"},
		{"rejected here, and canceled by nobody", false, func(d *branch) { d.says("reject"); d.ends(state.Canceled, "pannier") },
			"done, : thread.rejected, intent.canceled by ann, intent.canceled over reject by ann"},
		{"given to others", false, func(d *branch) { d.revoked(journal.Verdict{OfferNo: 2}) },
			"done, : thread.withdrawn"},
		{"decided here, and given to others", false, func(d *branch) { d.says("approve"); d.revoked(journal.Verdict{OfferNo: 2}) },
			"done, approve ann: thread.approved, intent.completed by ann"},
		{"given to others, who decide", false, func(d *branch) { d.revoked(journal.Verdict{OfferNo: 2}); d.ends(state.Completed, "bob") },
			"done, approve bob: thread.withdrawn, intent.completed by bob"},
		{"left home's history", false, func(d *branch) { d.revoked(journal.Verdict{Ended: true}) },
			"done, : thread.withdrawn"},
		{"purged at home", false, func(d *branch) {
			d.revoked(journal.Verdict{Ended: true, Status: state.TimedOut, Reason: state.ReasonDeadline})
		},
			"done, : intent.timed_out"},
		{"held anew", false, func(d *branch) { d.revoked(journal.Verdict{OfferNo: 2}); d.offered() },
			"active, : thread.withdrawn"},
		{"held anew, and decided", false, func(d *branch) {
			d.ends(state.Completed, "bob") // of which home knows nothing, being put back to before
			d.offered()
			d.says("approve")
			d.confirms(state.Completed)
		}, "done, approve ann: intent.completed by bob, thread.approved, intent.completed by ann"},
		{"held anew, and canceled", false, func(d *branch) { d.ends(state.Completed, "bob"); d.offered(); d.ends(state.Canceled, "eve") },
			"done, reject eve: intent.completed by bob, intent.canceled by eve"},
		{"held anew, withdrawn, and out of time", false, func(d *branch) {
			d.ends(state.TimedOut, "pannier")
			d.offered()
			d.revoked(journal.Verdict{OfferNo: d.offerNo + 1})
			d.revoked(journal.Verdict{Ended: true, Status: state.TimedOut})
		}, "done, : intent.timed_out, thread.withdrawn, intent.timed_out"},
		{"no task, and ended at home", true, func(d *branch) { d.ends(state.Completed, "bob") },
			"done, : intent.completed"},
		{"no task, ended here, and confirmed", true, func(d *branch) { d.completes(); d.confirms(state.Completed) },
			"done, : intent.completed"},
		{"no task, ended here, and home ruled otherwise", true, func(d *branch) { d.completes(); d.ends(state.TimedOut, "pannier") },
			"done, : intent.completed, intent.timed_out"},
		{"no task, and decided for the record", true, func(d *branch) {
			d.ends(state.TimedOut, "pannier")
			d.says("approve")
			d.ends(state.TimedOut, "pannier")
		},
			"done, approve ann: intent.timed_out, thread.approved"},
		{"no task, approved here, and home ruled otherwise", true, func(d *branch) { d.says("approve"); d.ends(state.Canceled, "bob") },
			"done, reject bob: thread.approved, intent.completed by ann, intent.canceled by bob over approve by ann"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			d := setupBranch(t, c.plain)
			d.offered()
			c.play(d)
			if got := d.shows(); got != c.want {
				t.Errorf("the thread is\n\t%s\nwant\n\t%s", got, c.want)
			}
			d.whole()
		})
	}
}

// Home says again what was not heard, as a revoke or as the answer to a report: nothing
// changes, and nobody is told of a change.
func TestRulingIsSeenOnce(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"ann", "bob", "pannier"} {
		d := setupBranch(t, false)
		d.offered()
		d.says("approve")
		log, self := d.log(state.Completed, by), d.j.Identity().Journal
		if by == "ann" {
			log[1].Peer = self[:]
		}
		again := func() {
			d.revoked(journal.Verdict{Ended: true, Status: state.Completed, Reason: state.ReasonApp, Events: log})
		}
		again()
		once, _, err := d.j.Threads(journal.ThreadFilter{Limit: 1}, 0)
		if err != nil {
			t.Fatal(err)
		}
		d.reopen()
		again()
		d.acked(journal.Acked{Status: state.Completed, Events: log})
		d.acked(journal.Acked{Status: state.Completed}) // it is purged there by now
		twice, _, err := d.j.Threads(journal.ThreadFilter{Limit: 1}, 0)
		if err != nil || !proto.Equal(once[0].Thread, twice[0].Thread) {
			t.Errorf("decided by %s, and said again: %v, %v; want %v", by, twice, err, once)
		}
		if kept, _, err := d.j.Events(d.id, 0); err != nil || len(kept) != len(log) {
			t.Errorf("its log has %d events, %v; want what home has told", len(kept), err)
		}
		d.whole()
	}
}

// What was ruled is what a decision meets, whether it is said again or for the first time.
func TestDecisionAfterARuling(t *testing.T) {
	t.Parallel()
	overruled := func(status state.Status, by string) func(*branch) {
		return func(d *branch) { d.says("approve"); d.ends(status, by) }
	}
	for _, c := range []struct {
		rule string
		play func(d *branch)
		say  string
		want string
	}{
		{"confirmed, and said again", func(d *branch) { d.says("approve"); d.confirms(state.Completed) }, "approve", "no"},
		{"confirmed, and contradicted", func(d *branch) { d.says("approve"); d.confirms(state.Completed) }, "reject", "decided by ann"},
		{"overruled, and said again", overruled(state.Canceled, "bob"), "approve", "decided by bob"},
		{"out of time, and said again", overruled(state.TimedOut, "pannier"), "approve", "ended TIMED_OUT"},
		{"decided at home, and said here too", func(d *branch) { d.ends(state.Completed, "bob") }, "approve", "no"},
		{"decided at home, and contradicted", func(d *branch) { d.ends(state.Completed, "bob") }, "reject", "decided by bob"},
		{"out of time, and decided", func(d *branch) { d.ends(state.TimedOut, "pannier") }, "approve", "ended TIMED_OUT"},
		{"canceled by nobody, and decided", func(d *branch) { d.ends(state.Canceled, "pannier") }, "reject", "ended CANCELED"},
		{"others are asked", func(d *branch) { d.revoked(journal.Verdict{OfferNo: 2}) }, "approve", "not asked"},
		{"home does not know it", func(d *branch) { d.revoked(journal.Verdict{Ended: true}) }, "approve", "not asked"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			d := setupBranch(t, false)
			d.offered()
			c.play(d)
			before := d.shows()
			d.reopen()
			if d.says(c.say); d.refused != c.want || d.shows() != before {
				t.Errorf("refused: %s; want %s, and that nothing changes:\n\t%s\n\t%s", d.refused, c.want, before, d.shows())
			}
			if d.completes(); d.refused == "no" {
				t.Error("a word on the intent is taken")
			}
			d.whole()
		})
	}
}

// However many have it, and however much was said in it, a thread hears how its intent has
// ended.
func TestFullThreadElsewhereIsRuled(t *testing.T) {
	t.Parallel()
	d := setupBranch(t, false)
	d.offered()
	act := func(a journal.ThreadAct) (err error) {
		for n := 0; err == nil && n < 1000; n++ {
			a.Actor, a.DelegateTo = "ann", fmt.Sprint("reader ", n)
			_, err = d.j.ActOnThread(t.Context(), d.id, a)
		}
		return err
	}
	for _, verb := range []journal.ThreadVerb{journal.ThreadDelegate, journal.ThreadReply} {
		if err := act(journal.ThreadAct{Verb: verb, Text: strings.Repeat("x", 1000)}); !errors.Is(err, journal.ErrThreadFull) {
			t.Fatal(err)
		}
	}
	d.says("approve")
	d.ends(state.Canceled, "bob")
	if got := d.shows(); !strings.HasPrefix(got, "done, reject bob: ") || !strings.HasSuffix(got, "over approve by ann") {
		t.Errorf("the thread is %s", got[max(0, len(got)-200):])
	}
	d.whole()
}

// A task is among those that people here have to decide as long as that is so.
func TestTasksElsewhereAreOpen(t *testing.T) {
	t.Parallel()
	for rule, c := range map[string]struct {
		play func(d *branch)
		open bool
	}{
		"held":            {func(d *branch) {}, true},
		"decided here":    {func(d *branch) { d.says("approve") }, false},
		"decided at home": {func(d *branch) { d.ends(state.Completed, "bob") }, false},
		"given to others": {func(d *branch) { d.revoked(journal.Verdict{OfferNo: 2}) }, false},
		"held anew":       {func(d *branch) { d.revoked(journal.Verdict{OfferNo: 2}); d.offered() }, true},
	} {
		d := setupBranch(t, false)
		d.offered()
		c.play(d)
		d.reopen()
		tasks, _, err := d.j.Tasks(journal.ID{}, 10, func(*journal.Intent) bool { return true })
		if err != nil || (len(tasks) == 1) != c.open {
			t.Errorf("%s: %d tasks are to be decided, %v", rule, len(tasks), err)
		}
		d.whole()
	}
}

// People who were asked hear that their task has run out of time, once; that somebody has
// decided it elsewhere its home tells.
func TestTaskElsewhereIsToldOf(t *testing.T) {
	t.Parallel()
	expired := func(d *branch) { d.ends(state.TimedOut, "pannier") }
	for rule, c := range map[string]struct {
		plain bool
		play  func(d *branch)
		want  []string
	}{
		"out of time":                          {false, expired, []string{"assigned", "expired"}},
		"out of time, said twice":              {false, func(d *branch) { expired(d); d.reopen(); expired(d) }, []string{"assigned", "expired"}},
		"out of time when it was decided here": {false, func(d *branch) { d.says("approve"); expired(d) }, []string{"assigned", "decided", "expired"}},
		"decided at home":                      {false, func(d *branch) { d.ends(state.Completed, "bob") }, []string{"assigned"}},
		"decided here, and confirmed":          {false, func(d *branch) { d.says("approve"); d.confirms(state.Completed) }, []string{"assigned", "decided"}},
		"given to others":                      {false, func(d *branch) { d.revoked(journal.Verdict{OfferNo: 2}) }, []string{"assigned"}},
		"no task":                              {true, expired, nil},
	} {
		d := setupBranch(t, c.plain)
		d.offered()
		c.play(d)
		var told []string
		for _, said := range d.toldAt("chat") {
			told = append(told, strings.Fields(said)[0])
		}
		if !slices.Equal(told, c.want) {
			t.Errorf("%s: told %q, want %q", rule, told, c.want)
		}
		d.whole()
	}
}
