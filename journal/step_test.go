package journal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// step is one of a workflow; then and otherwise are 1 + the one that follows.
func step(kind journal.StepKind, to string, then, otherwise int) *wire.Part {
	p := &wire.Part{
		Child: &wire.Envelope{IntentType: "order.process.v1", ToAgent: to},
		Step:  &wire.Step{Id: "step " + to, Kind: uint32(kind), OnSuccess: uint32(then), OnFailure: uint32(otherwise)},
	}
	switch kind {
	case journal.StepPerson:
		p.Child.HumanTask = []byte(`{"title":"?"}`)
	case journal.StepDelay:
		p.Child.ToAgent, p.Child.IntentType = journal.CoreAgent, journal.DelayType
		p.Step.WaitMs = time.Hour.Milliseconds()
	}
	return p
}

func (w *world) workflow(a journal.Accept, parts ...*wire.Part) journal.ID {
	w.Helper()
	a.Envelope, a.Plan = envelope(), &wire.Plan{Scenario: "s", Parts: parts}
	a.Envelope.ToAgent = journal.CoreAgent
	got, err := w.j.Accept(w.Context(), []journal.Accept{a})
	if err != nil || got[0].Err != nil {
		w.Fatalf("accept: %v, %+v", err, got)
	}
	return got[0].ID
}

// awaited is the intent of the step that another waits for.
func (w *world) awaited(id journal.ID) journal.ID {
	w.Helper()
	p := w.get(id).Plan
	part := p.Parts[p.At]
	if len(part.Id) == 0 {
		w.Fatalf("%s waits for step %d, which is not open", id, p.At)
	}
	return journal.ID(part.Id)
}

// said ends the intent that another waits for: y well, n as a failure, x canceled; g is a word that it goes on.
func (w *world) said(id journal.ID, how byte) error {
	a := journal.Answer{Trigger: state.Complete, Body: []byte(`{"n":1}`), Actor: "ann"}
	switch how {
	case 'n':
		a = journal.Answer{Trigger: state.Fail, Body: []byte(`{"reason":"no stock"}`), Actor: "ann"}
	case 'g': // go on
		a = journal.Answer{Trigger: state.Start, Actor: "ann"}
	case 'x':
		a = journal.Answer{Trigger: state.Cancel, Body: []byte(`{"outcome":"rejected","comment":"too far"}`), Text: "rejected", Actor: "ann"}
	}
	_, err := w.j.Answer(w.Context(), w.awaited(id), a)
	return err
}

const (
	agent  = journal.StepAgent
	person = journal.StepPerson
)

// Each end of a step moves the intent it is of: to the next, to what is done instead, to
// another try, or to its end. A restart between any two changes nothing.
func TestSteps(t *testing.T) {
	t.Parallel()
	again := func(p *wire.Part, n uint32) *wire.Part { p.Step.Retries = n; return p }
	for _, c := range []struct {
		rule    string
		steps   []*wire.Part
		ends    string
		stand   string
		status  state.Status
		waiting state.Reason
	}{
		{"the first is begun", []*wire.Part{step(agent, "a", 2, 0), step(person, "b", 0, 0)}, "", "?.", state.Waiting, state.ReasonWaitingAgent},
		{"then the next", []*wire.Part{step(agent, "a", 2, 0), step(person, "b", 0, 0)}, "y", "y?", state.Waiting, state.ReasonWaitingHuman},
		{"all end well", []*wire.Part{step(agent, "a", 2, 0), step(person, "b", 0, 0)}, "yy", "yy", state.Completed, 0},
		{"the first fails", []*wire.Part{step(agent, "a", 2, 0), step(person, "b", 0, 0)}, "n", "n.", state.Failed, 0},
		{"a person refuses", []*wire.Part{step(person, "a", 2, 0), step(agent, "b", 0, 0)}, "x", "n.", state.Failed, 0},
		{"something is done instead", []*wire.Part{step(agent, "a", 0, 2), step(agent, "b", 0, 0)}, "n", "n?", state.Waiting, state.ReasonWaitingAgent},
		{"and ends well", []*wire.Part{step(agent, "a", 0, 2), step(agent, "b", 0, 0)}, "ny", "ny", state.Completed, 0},
		{"or not", []*wire.Part{step(agent, "a", 0, 2), step(agent, "b", 0, 0)}, "nn", "nn", state.Failed, 0},
		{"it is tried again", []*wire.Part{again(step(agent, "a", 2, 0), 2), step(agent, "b", 0, 0)}, "nn", "?.", state.Waiting, state.ReasonWaitingAgent},
		{"and then does it", []*wire.Part{again(step(agent, "a", 2, 0), 2), step(agent, "b", 0, 0)}, "nny", "y?", state.Waiting, state.ReasonWaitingAgent},
		{"until no try is left", []*wire.Part{again(step(agent, "a", 2, 0), 2), step(agent, "b", 0, 0)}, "nnn", "n.", state.Failed, 0},
		{"canceled, it is not tried again", []*wire.Part{again(step(agent, "a", 2, 0), 2), step(agent, "b", 0, 0)}, "x", "n.", state.Failed, 0},
		{"nor is a person asked again", []*wire.Part{again(step(person, "a", 2, 0), 2), step(agent, "b", 0, 0)}, "x", "n.", state.Failed, 0},
		{"time passes", []*wire.Part{step(journal.StepDelay, "", 2, 0), step(agent, "b", 0, 0)}, "", "?.", state.Waiting, state.ReasonWaitingTime},
		{"a word is enough for it", []*wire.Part{step(journal.StepDelay, "", 2, 0), step(agent, "b", 0, 0)}, "g", "y?", state.Waiting, state.ReasonWaitingAgent},
		{"nobody is waited for", []*wire.Part{step(journal.StepReminder, "a", 2, 0), step(journal.StepEscalation, "b", 3, 0), step(agent, "c", 0, 0)}, "", "yy?", state.Waiting, state.ReasonWaitingAgent},
		{"nor at the end", []*wire.Part{step(agent, "a", 2, 0), step(journal.StepEscalation, "b", 0, 0)}, "y", "yy", state.Completed, 0},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			id := w.workflow(journal.Accept{}, c.steps...)
			begun := map[journal.ID]bool{}
			for _, how := range []byte(c.ends) {
				w.reopen()
				if child := w.awaited(id); begun[child] {
					t.Errorf("%s is begun twice", child)
				} else {
					begun[child] = true
				}
				if err := w.said(id, how); err != nil {
					t.Fatalf("%c: %v", how, err)
				}
			}
			w.reopen()
			if got := w.stand(id); got != c.stand || w.status(id) != c.status {
				t.Errorf("its steps stand %s and it is %s, want %s and %s", got, w.status(id), c.stand, c.status)
			}
			if got := state.Reason(w.get(id).Head.Reason); c.waiting != 0 && got != c.waiting {
				t.Errorf("it waits for %s, want %s", got, c.waiting)
			}
			w.oneStep(id)
			w.whole()
		})
	}
}

// oneStep holds an intent to what must be true of it between any two batches: while it
// is open one step of it is, and none after its end.
func (w *world) oneStep(id journal.ID) {
	w.Helper()
	i, open := w.get(id), 0
	for n, p := range i.Plan.Parts {
		if len(p.Id) == 0 {
			continue
		}
		child := w.get(journal.ID(p.Id))
		if child.Status().Open() != (p.Status == 0) {
			w.Errorf("step %d is %s and said to be %s", n, child.Status(), state.Status(p.Status))
		}
		if child.Status().Open() {
			open++
		}
	}
	if want := map[bool]int{true: 1, false: 0}[i.Status().Open()]; open != want {
		w.Errorf("%s is %s with %d open steps", id, i.Status(), open)
	}
}

// What each step is given, what the log says of it, and what comes of the whole.
func TestStepsSayWhatTheyDid(t *testing.T) {
	t.Parallel()
	w := setup(t)
	first, last := step(agent, "a", 2, 0), step(person, "b", 0, 0)
	last.Step.Input = []byte(`{"limit":1.50}`)
	id := w.workflow(journal.Accept{}, first, last)
	child := w.get(w.awaited(id)).Envelope
	if want := `{"parent_payload":{"order_id":"ORD-1"},"parent":{"intent_id":"` + id.String() + `"`; !strings.HasPrefix(string(child.Payload), want) || child.FromAgent != "orders" {
		t.Errorf("the first was sent by %s with %s", child.FromAgent, child.Payload)
	}
	if err := w.said(id, 'y'); err != nil {
		t.Fatal(err)
	}
	child = w.get(w.awaited(id)).Envelope
	if got := string(child.Payload); !strings.Contains(got, `"input":{"limit":1.50},"previous_result":{"n":1}`) {
		t.Errorf("the second was given %s", got)
	}
	if err := w.said(id, 'x'); err != nil {
		t.Fatal(err)
	}
	w.wantEvents(id, "created", "submitted", "waiting", "in_progress", "waiting", "failed")
	evs, _, _ := w.j.Events(id, 0)
	if e := evs[2]; e.Step != "step a" || e.Asked != "a" || journal.ID(e.Part) != journal.PartID(id, 0) || e.Try != 1 {
		t.Errorf("the wait for the first is told as %v", e)
	}
	if e := evs[3]; state.Reason(e.Reason) != state.ReasonStepDone || e.Actor != "ann" || e.Waited == nil {
		t.Errorf("the end of the first is told as %v", e)
	}
	if e := evs[5]; state.Reason(e.Reason) != state.ReasonStepFailed || e.Step != "step b" {
		t.Errorf("the end of the second is told as %v", e)
	}
	out := w.get(id).Outcome
	if out.Text != "step step b has failed: rejected: too far" || !strings.Contains(string(out.Body), `"code":"step_failed"`) || !strings.Contains(string(out.Body), `"step_outcome":{"outcome":"rejected"`) {
		t.Errorf("its outcome is %v", out)
	}
	w.wantDead(journal.DeadFilter{})
}

// The result of the whole is that of the last step that had one, or says where it is.
func TestResultOfSteps(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ first, last, want string }{
		"of the last":            {`{"n":1}`, `{"n": 2.50}`, `{"n": 2.50}`},
		"of the one before":      {`{"n":1}`, `{}`, `{"n":1}`},
		"of none":                {`{}`, `{}`, `{}`},
		"no JSON":                {`{"n":1}`, `{"n":`, `{"omitted":true`},
		"too large to go along":  {`{"n":1}`, `{"n":"` + strings.Repeat("x", 20<<10) + `"}`, `{"omitted":true`},
		"the first is too large": {`{"n":"` + strings.Repeat("x", 900<<10) + `"}`, `{"n":2}`, `{"n":2}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			id := w.workflow(journal.Accept{}, step(agent, "a", 2, 0), step(agent, "b", 0, 0))
			for _, body := range []string{c.first, c.last} {
				if _, err := w.j.Answer(t.Context(), w.awaited(id), journal.Answer{Trigger: state.Complete, Body: []byte(body)}); err != nil {
					t.Fatal(err)
				}
			}
			if got := string(w.get(id).Outcome.Body); !strings.HasPrefix(got, c.want) {
				t.Errorf("its result is %.200s, want %s", got, c.want)
			}
			w.whole()
		})
	}
}

// Whatever a step is called, what stands for its result is JSON: else no end of it could
// be taken, and the intent would wait for ever.
func TestResultOfStepOfAnyName(t *testing.T) {
	t.Parallel()
	w := setup(t)
	first := step(agent, "a", 2, 0)
	first.Step.Id = "tag \U000E0001 \" \\"
	id := w.workflow(journal.Accept{}, first, step(agent, "b", 0, 0))
	body := []byte(`{"n":"` + strings.Repeat("x", 20<<10) + `"}`)
	if _, err := w.j.Answer(t.Context(), w.awaited(id), journal.Answer{Trigger: state.Complete, Body: body}); err != nil {
		t.Fatal(err)
	}
	var next struct {
		Parent struct {
			Previous struct {
				Omitted bool
				Step    string `json:"step_id"`
			} `json:"previous_result"`
		}
	}
	payload := w.get(w.awaited(id)).Envelope.Payload
	if err := json.Unmarshal(payload, &next); err != nil || !next.Parent.Previous.Omitted || next.Parent.Previous.Step != first.Step.Id {
		t.Errorf("the next step is told %s, %v", payload, err)
	}
	w.whole()
}

// However many are told in a row, the step before them can end.
func TestManyAreToldInARow(t *testing.T) {
	t.Parallel()
	w := setup(t)
	steps := []*wire.Part{step(agent, "a", 2, 0)}
	for n := range 99 {
		steps = append(steps, step(journal.StepReminder, fmt.Sprint("p", n), (n+3)%101, 0))
	}
	id := w.workflow(journal.Accept{}, steps...)
	if err := w.said(id, 'y'); err != nil {
		t.Fatal(err)
	}
	if got := w.status(id); got != state.Completed {
		t.Errorf("it is %s", got)
	}
	if th, err := w.j.Thread(id); err != nil || len(th.Entries) != 101 { // with the first and the last
		t.Errorf("its thread is %v, %v", th, err)
	}
	w.whole()
}

// Much that was said of steps that failed leaves room for the end of one that did it.
func TestLargeResultAfterMuchTalk(t *testing.T) {
	t.Parallel()
	w := setup(t)
	var steps []*wire.Part
	for n := range 10 {
		p := step(agent, "a", 0, n+2)
		p.Step.Retries = 10
		steps = append(steps, p)
	}
	last := step(agent, "b", 12, 0)
	id := w.workflow(journal.Accept{}, append(steps, last, step(agent, "c", 0, 0))...)
	why := []byte(`{"message":"` + strings.Repeat("no ", 1000) + `"}`)
	for range 10 * 11 {
		if _, err := w.j.Answer(t.Context(), w.awaited(id), journal.Answer{Trigger: state.Fail, Body: why}); err != nil {
			t.Fatal(err)
		}
	}
	body := []byte(`{"n":"` + strings.Repeat("x", 1<<20-10) + `"}`)
	child := w.awaited(id)
	if _, err := w.j.Answer(t.Context(), child, journal.Answer{Trigger: state.Complete, Body: body}); err != nil {
		t.Fatalf("a result of %d bytes after 110 tries: %v", len(body), err)
	}
	if got := w.get(child).Outcome.Body; len(got) != len(body) {
		t.Errorf("%d bytes of the result are kept", len(got))
	}
	evs, _, _ := w.j.Events(id, 0)
	if first, late := evs[3].Text, evs[len(evs)-4].Text; len(first) < 1000 || late == "" || len(late) > 64 {
		t.Errorf("the first try is told in %d bytes, a late one in %d", len(first), len(late))
	}
	w.whole()
}

// Whatever ends the intent ends the step it waits for, in the same batch; what that step
// says then is heard by nobody.
func TestEndOfTheParentEndsItsStep(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.workflow(journal.Accept{}, step(agent, "a", 2, 2), step(agent, "b", 0, 0))
	if _, err := w.j.Answer(t.Context(), id, journal.Answer{Trigger: state.Start}); !errors.Is(err, journal.ErrIllegal) {
		t.Errorf("a word lets it go on past its step: %v", err)
	}
	if _, err := w.j.Answer(t.Context(), id, journal.Answer{Trigger: state.Cancel, Actor: "orders"}); err != nil {
		t.Fatal(err)
	}
	if s := w.status(journal.PartID(id, 0)); s != state.Canceled {
		t.Errorf("its step is %s, want CANCELED", s)
	}
	var ended *journal.EndedError
	if err := w.said(id, 'y'); !errors.As(err, &ended) {
		t.Errorf("the step is ended again: %v", err)
	}
	w.wantEvents(id, "created", "submitted", "waiting", "canceled")
	if got := w.stand(id); got != "n." {
		t.Errorf("its steps stand %s, want n.", got)
	}
	w.whole()
}

// Deadlines of steps, delays and what a timeout leaves, also while the process was down.
func TestStepsAndTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		slow := func(then, otherwise int) *wire.Part {
			p := step(agent, "a", then, otherwise)
			p.ExpiresMs, p.Step.Retries, p.Step.RetryDelayMs = time.Hour.Milliseconds(), 5, (20 * time.Minute).Milliseconds()
			return p
		}
		fails := w.workflow(journal.Accept{}, slow(2, 0), step(agent, "b", 0, 0))
		instead := w.workflow(journal.Accept{}, slow(0, 2), step(person, "b", 0, 0))
		retried := w.workflow(journal.Accept{}, slow(2, 0), step(agent, "b", 0, 0))
		delayed := w.workflow(journal.Accept{}, step(journal.StepDelay, "", 2, 0), step(agent, "b", 0, 0))
		limit := step(journal.StepTimeout, journal.CoreAgent, 2, 0)
		limit.Step.WaitMs = time.Hour.Milliseconds()
		limited := w.workflow(journal.Accept{}, limit, step(person, "b", 0, 0))
		for range 2 { // after 20 and 40 minutes; a third retry would be too late
			if err := w.said(retried, 'n'); err != nil {
				t.Fatal(err)
			}
			if due := time.UnixMilli(w.get(w.awaited(retried)).Head.DueMs); time.Until(due).Round(time.Second) != 20*time.Minute {
				t.Errorf("it is tried again in %v", time.Until(due))
			}
			time.Sleep(20 * time.Minute)
		}
		if err := w.said(retried, 'n'); err != nil {
			t.Fatal(err)
		}
		if s := w.status(retried); s != state.Failed {
			t.Errorf("with no time left to try again it is %s, want FAILED", s)
		}
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Minute)
		w.open(journal.Options{})
		time.Sleep(time.Second)
		synctest.Wait()
		for what, want := range map[journal.ID]state.Status{fails: state.Failed, instead: state.Waiting, delayed: state.Waiting, limited: state.TimedOut} {
			if s := w.status(what); s != want {
				t.Errorf("%s is %s, want %s", w.stand(what), s, want)
			}
			w.oneStep(what)
		}
		if got := w.stand(delayed); got != "y?" {
			t.Errorf("after the delay its steps stand %s, want y?", got)
		}
		if out := w.get(fails).Outcome; !strings.Contains(string(out.Body), `"code":"step_timeout"`) {
			t.Errorf("its outcome is %s", out.Body)
		}
		if s := w.status(journal.PartID(fails, 0)); s != state.TimedOut {
			t.Errorf("the step itself is %s, want TIMED_OUT", s)
		}
		w.wantDead(journal.DeadFilter{}, limited) // the others' ends were decided by their workflows
		again := w.redrive(journal.Redrive{ID: limited})
		if got := w.stand(again); got != "y?" {
			t.Errorf("redriven its steps stand %s, want y?", got)
		}
		w.whole()
	})
}

// Random workflows, ends and restarts: one step is open while the whole is, none is run
// twice, and none is begun before the one that leads to it.
func TestStepsWalk(t *testing.T) {
	t.Parallel()
	w := setup(t)
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	kinds := []journal.StepKind{agent, agent, person, journal.StepDelay, journal.StepReminder, journal.StepEscalation, journal.StepTimeout}
	for range 12 {
		var parts []*wire.Part
		n := 1 + r.IntN(6)
		later := func(i int) int { // or nothing
			if i+1 >= n || r.IntN(4) == 0 {
				return 0
			}
			return i + 2 + r.IntN(n-i-1)
		}
		for i := range n {
			p := step(kinds[r.IntN(len(kinds))], fmt.Sprint("p", i), later(i), later(i))
			p.Step.Retries = uint32(r.IntN(3))
			if journal.StepKind(p.Step.Kind) == journal.StepTimeout {
				p.Step.WaitMs = time.Hour.Milliseconds()
			}
			parts = append(parts, p)
		}
		id := w.workflow(journal.Accept{}, parts...)
		begun := map[journal.ID]bool{}
		for w.status(id).Open() {
			child := w.awaited(id)
			if begun[child] {
				t.Fatalf("%s is run twice: %v", child, w.get(id).Plan)
			}
			begun[child] = true
			w.oneStep(id)
			if r.IntN(4) == 0 {
				w.reopen()
			}
			if err := w.said(id, "yyynnx"[r.IntN(6)]); err != nil {
				t.Fatal(err)
			}
		}
		w.oneStep(id)
	}
	w.whole()
}

// stepsScript is everything that is written for a workflow with a retry, a person and
// what is done after a failure. Run again, it goes on where it was.
func (p *pair) stepsScript() error {
	ctx := context.Background()
	again := step(agent, billing, 2, 0)
	again.Step.Retries = 1
	e := envelope()
	e.ToAgent, e.ReplyTo = journal.CoreAgent, desk
	plan := &wire.Plan{Scenario: "s", Parts: []*wire.Part{again, step(person, "b", 0, 3), step(agent, billing, 0, 0)}}
	got, err := p.home.j.Accept(ctx, []journal.Accept{{Envelope: e, Plan: plan, Key: &journal.Key{Hash: [32]byte{9}, Fingerprint: [32]byte{9}}}})
	if err != nil {
		return err
	}
	if got[0].Err != nil {
		return got[0].Err
	}
	for {
		i, err := p.home.j.Get(got[0].ID)
		if err != nil {
			return err
		}
		if i.Status() == state.Completed {
			return nil
		}
		part := i.Plan.Parts[i.Plan.At]
		if i.Status() != state.Waiting || part.Step.Tries > 2 {
			return fmt.Errorf("%s, with step %v", i.Status(), part)
		}
		if err := p.stepScript(part); err != nil {
			return err
		}
	}
}

// stepScript ends one try of a step: the first of the first fails, and the person refuses.
func (p *pair) stepScript(part *wire.Part) error {
	ctx, id := context.Background(), journal.ID(part.Id)
	a, at := journal.Answer{Trigger: state.Complete, Body: []byte(`{"n":1}`)}, p.holder
	switch {
	case part.Child.ToAgent != billing:
		a, at = journal.Answer{Trigger: state.Cancel, Text: "rejected"}, p.home
	case part.Step.Retries == part.Step.Tries:
		a = journal.Answer{Trigger: state.Fail, Body: []byte(`{"reason":"no"}`)}
	}
	if at == p.holder {
		if _, err := p.offer(0); err != nil {
			return err
		}
		if _, err := p.holder.j.Get(id); errors.Is(err, journal.ErrNotFound) { // it was offered, and the holder has forgotten it
			again := []journal.Requeue{{ID: id, OfferNo: 1}}
			if err := p.home.j.Requeue(ctx, p.holder.j.Identity().Journal, again); err != nil {
				return err
			}
			if _, err := p.offer(0); err != nil {
				return err
			}
		}
	}
	var ended *journal.EndedError
	if _, err := at.j.Answer(ctx, id, a); err != nil && !errors.As(err, &ended) {
		return err
	}
	if at == p.holder {
		return p.report()
	}
	return nil
}

// telling is a step that tells a target.
func telling(target string, then int) *wire.Part {
	p := step(journal.StepNotification, journal.NotifyAddress(target), then, 0)
	p.Child.Payload = []byte(`{"title":"done","text":"all","to":"ann"}`)
	return p
}

// What a step tells is one commit with its begin: told once, however we stop, and the
// workflow goes on whatever becomes of it.
func TestStepsTell(t *testing.T) {
	t.Parallel()
	w := setupTold(t)
	id := w.workflow(journal.Accept{}, telling("chat", 2), step(journal.StepAgent, "a", 3, 0), telling("chat", 4), telling("mail", 0))
	if got := w.toldAt("chat"); fmt.Sprint(got) != "[step 1 ann IN_PROGRESS ]" {
		t.Errorf("the first has told %q", got)
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.open(journal.Options{Tell: tellAll})
	if err := w.said(id, 'y'); err != nil {
		t.Fatal(err)
	}
	if got := w.toldAt("chat"); fmt.Sprint(got) != "[step 1 ann IN_PROGRESS  step 3 ann IN_PROGRESS  step 4 ann IN_PROGRESS ]" || w.status(id) != state.Completed {
		t.Errorf("told are %q, and it is %s", got, w.status(id))
	}

	// Whoever was to be told is in no configuration any more.
	w.reopen()
	id = w.workflow(journal.Accept{}, telling("chat", 0))
	events, _, err := w.j.Events(id, 0)
	if err != nil || w.status(id) != state.Completed {
		t.Fatal(w.status(id), err)
	}
	if !slices.ContainsFunc(events, func(e *wire.Event) bool { return strings.HasPrefix(e.Text, "nobody was told") }) {
		t.Errorf("no event says that nobody was told: %v", events)
	}
	w.whole()
}
