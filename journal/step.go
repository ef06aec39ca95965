package journal

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// StepKind is what a step of a workflow is.
type StepKind uint32

const (
	StepAgent        StepKind = iota + 1 // an intent to an agent
	StepPerson                           // a person's task
	StepDelay                            // a time that passes
	StepTimeout                          // from here on, the whole is to end in time
	StepReminder                         // somebody is told of it
	StepEscalation                       // and it is that one's now
	StepNotification                     // a target of the configuration is told
)

const (
	// CoreAgent is whom an intent with a workflow is to, and what the sidecar itself
	// does for it: nobody is offered either.
	CoreAgent = "agent_core"
	// DelayType is the intent type of a step that is a time.
	DelayType = "intent.delay.v1"

	// stepSaid is the largest result or error of a step that its successor is given, and
	// its parent.
	stepSaid = 16 << 10
)

// isWorkflow tells a plan of steps from one of approvals.
func isWorkflow(p *wire.Plan) bool { return len(p.Parts) > 0 && p.Parts[0].Step != nil }

func kindOf(part *wire.Part) StepKind { return StepKind(part.Step.Kind) }

// stepID is the id of a step's intent: the first is a part's, and a retry has its own.
func stepID(parent ID, n int, try uint32) ID {
	if try == 1 {
		return PartID(parent, n)
	}
	return idAfter(parent, "part "+strconv.Itoa(n)+" again "+strconv.Itoa(int(try)))
}

// toStep begins a step, and with it those that follow while there is nothing to wait
// for. No step leads back to one before it, so there is an end to that.
func (t *tx) toStep(l *life, p *wire.Plan, n int) error {
	for {
		part := p.Parts[n]
		p.At, part.Step.BegunMs = uint32(n), ms(t.now)
		switch kindOf(part) {
		case StepAgent, StepPerson, StepDelay:
			return t.awaitStep(l, p, n)
		}
		if err := t.passStep(l, p, n); err != nil {
			return err
		}
		part.Status, part.Step.EndedMs = uint32(state.Completed), ms(t.now)
		if part.Step.OnSuccess == 0 {
			return t.endSteps(l, p)
		}
		n = int(part.Step.OnSuccess) - 1
	}
}

// waitsFor is why an intent waits for a step.
func waitsFor(part *wire.Part) state.Reason {
	switch kindOf(part) {
	case StepPerson:
		return state.ReasonWaitingHuman
	case StepDelay:
		return state.ReasonWaitingTime
	}
	return state.ReasonWaitingAgent
}

// stepEvent is what the log of an intent says of one of its steps.
func stepEvent(part *wire.Part, actor string, reason state.Reason, text string) *wire.Event {
	return &wire.Event{
		Actor: actor, Reason: uint32(reason), Text: text,
		Asked: part.Child.ToAgent, Part: part.Id, Step: part.Step.Id, Try: part.Step.Tries,
	}
}

func (t *tx) awaitStep(l *life, p *wire.Plan, n int) error {
	p.TurnMs = ms(t.now)
	part := p.Parts[n]
	if err := t.openStep(l, p, n, t.now); err != nil {
		return err
	}
	e := stepEvent(part, actorSelf, waitsFor(part), "")
	if kindOf(part) == StepDelay {
		e.NextDueMs = ms(t.now) + part.Step.WaitMs
	}
	return t.waitForStep(l, p, state.Wait, e)
}

func (t *tx) waitForStep(l *life, p *wire.Plan, on state.Trigger, e *wire.Event) error {
	if !t.move(l, on, e) {
		return fmt.Errorf("step %s of %s while %s: %w", e.Step, l.id, l.status(), ErrIllegal)
	}
	if err := t.savePlan(l.id, p); err != nil {
		return err
	}
	return t.saveLife(l)
}

// openStep accepts the intent of a step. Crashed before the commit, the one before it
// has not ended either.
func (t *tx) openStep(parent *life, p *wire.Plan, n int, due time.Time) error {
	of, err := t.envelope(parent.id)
	if err != nil {
		return err
	}
	part := p.Parts[n]
	s := part.Step
	s.Tries++
	id := stepID(parent.id, n, s.Tries)
	e := t.partEnvelope(id, parent, of, part)
	if e.Payload, err = stepPayload(of, p, s); err != nil {
		return err
	}
	if part.ExpiresMs > 0 { // over all retries
		e.DeadlineAtMs = s.BegunMs + part.ExpiresMs
	}
	if kindOf(part) == StepAgent {
		e.DeliverByMs = ms(due.Add(t.j.deliverBy))
		e.DeadlineAtMs = cmp.Or(e.DeadlineAtMs, ms(due.Add(t.j.deadline)))
	}
	dest, err := t.laneOf(e)
	if err != nil {
		return err
	}
	c := t.newLife(id, e, dest)
	c.head.Step = true
	if kindOf(part) == StepDelay {
		c.head.WakeMs = ms(t.now) + s.WaitMs
	}
	return t.beginPart(c, parent, p, n, e, due)
}

// rest lets an intent wait until it completes by itself.
func (t *tx) rest(l *life) error {
	e := &wire.Event{Actor: actorSelf, Reason: uint32(state.ReasonWaitingTime), NextDueMs: l.head.WakeMs}
	if !t.move(l, state.Wait, e) {
		return fmt.Errorf("let %s wait: %w", l.id, ErrIllegal)
	}
	l.head.Taken = true
	t.goTo(l, PlaceParked, time.Time{}, ID{})
	return nil
}

// stepPayload is the payload of a step: that of the parent, byte for byte, under the
// name by which agents look for it, with what the step before has said.
func stepPayload(of *wire.Envelope, p *wire.Plan, s *wire.Step) ([]byte, error) {
	about, err := json.Marshal(struct {
		IntentID string          `json:"intent_id"`
		Type     string          `json:"intent_type"`
		From     string          `json:"from_agent"`
		Scenario string          `json:"scenario_id"`
		Step     string          `json:"step_id"`
		Try      uint32          `json:"try"`
		Input    json.RawMessage `json:"input,omitempty"`
		Previous json.RawMessage `json:"previous_result,omitempty"`
	}{ID(of.Id).String(), of.IntentType, of.FromAgent, p.Scenario, s.Id, s.Tries, s.Input, p.Last})
	if err != nil {
		return nil, err
	}
	out := append([]byte(`{"parent_payload":`), of.Payload...)
	out = append(append(out, `,"parent":`...), about...)
	return append(out, '}'), nil
}

// passStep does what nobody is waited for.
func (t *tx) passStep(l *life, p *wire.Plan, n int) error {
	part := p.Parts[n]
	if l.status() == state.Submitted { // it is the first
		t.move(l, state.Start, &wire.Event{Actor: actorSelf})
	}
	e := stepEvent(part, actorSelf, state.ReasonStepDone, "")
	to := part.Child.ToAgent
	switch kindOf(part) {
	case StepReminder:
		t.move(l, state.Remind, e)
		return t.threadTold(l, to, EntryReminded, map[string]any{"step_id": part.Step.Id})
	case StepEscalation:
		t.move(l, state.Escalate, e)
		return t.threadTold(l, to, EntryEscalated, map[string]any{"step_id": part.Step.Id, "escalated_to": to})
	case StepTimeout:
		deadline := ms(t.now) + part.Step.WaitMs
		if was := l.head.DeadlineAtMs; was == 0 || deadline < was {
			l.head.DeadlineAtMs = deadline
			t.expireAt(l)
		}
		e.Text = "it is to end by " + at(l.head.DeadlineAtMs).UTC().Format(time.RFC3339)
		t.move(l, state.Transfer, e)
	case StepNotification:
		return t.tellStep(l, n, part, e)
	}
	return nil
}

// StepNews is what a step tells: the payload of its part.
type StepNews struct {
	Title string `json:"title"`
	Text  string `json:"text"`
	To    string `json:"to,omitempty"` // whom there; empty: whoever the target is for
}

// tellStep accepts the messages of a step in the batch that begins it. From here on they
// are on their own: with attempts, a door and a dead letter, and the intent goes on
// whatever becomes of them.
func (t *tx) tellStep(l *life, n int, part *wire.Part, e *wire.Event) error {
	of, err := t.envelope(l.id)
	if err != nil {
		return err
	}
	var news StepNews
	if err := json.Unmarshal(part.Child.Payload, &news); err != nil {
		return fmt.Errorf("step %s of %s: %w", part.Step.Id, l.id, err)
	}
	made, err := t.notified(&TaskNews{
		ID: l.id, Turn: StepTold, No: uint32(n) + 1, Envelope: of, Asked: news.To, Status: l.status(),
		Title: news.Title, Text: news.Text, Target: notifyTarget(part.Child.ToAgent),
	})
	if made == 0 { // the configuration has changed since the scenario was applied
		e.Text = "nobody was told: the configuration no longer says who that is"
	}
	t.move(l, state.Transfer, e)
	return err
}

// stepEnded moves an intent by the end of the step it waits for, which its plan has
// already: to a retry of it, to the next one, or to its own end.
func (t *tx) stepEnded(l *life, p *wire.Plan, n int, d *decided) error {
	part := p.Parts[n]
	s := part.Step
	well := state.Status(part.Status) == state.Completed
	if s.Why = ""; !well {
		s.Why = cut(d.failure(), maxText)
		if again := t.retryAt(part); !again.IsZero() {
			return t.tryAgain(l, p, n, again)
		}
	}
	s.EndedMs = ms(t.now)
	reason, next := state.ReasonStepDone, s.OnSuccess
	switch {
	case well:
		p.Last = d.result(part, p.Last)
	case d.reason == state.ReasonStepTimeout:
		reason, next = d.reason, s.OnFailure
	default:
		reason, next = state.ReasonStepFailed, s.OnFailure
	}
	e := stepEvent(part, d.by, reason, s.Why)
	e.Waited = waitedFor(state.CauseStep, p.TurnMs, t.now)
	if !well && next == 0 {
		return t.failSteps(l, p, part, e, d)
	}
	if !t.move(l, state.Start, e) {
		return fmt.Errorf("step %s of %s ends while %s: %w", s.Id, l.id, l.status(), ErrIllegal)
	}
	if next == 0 {
		return t.endSteps(l, p)
	}
	return t.toStep(l, p, int(next)-1)
}

// retryAt is when a step that has failed is tried again; zero: it is not. What somebody
// has refused or canceled is decided, and no retry would be in time after the deadline.
func (t *tx) retryAt(part *wire.Part) time.Time {
	s := part.Step
	again := t.now.Add(time.Duration(s.RetryDelayMs) * time.Millisecond)
	switch {
	case kindOf(part) != StepAgent, s.Tries > s.Retries, state.Status(part.Status) == state.Canceled,
		part.ExpiresMs > 0 && ms(again) >= s.BegunMs+part.ExpiresMs:
		return time.Time{}
	}
	return again
}

func (t *tx) tryAgain(l *life, p *wire.Plan, n int, due time.Time) error {
	part := p.Parts[n]
	part.Status, part.By = 0, ""
	if err := t.openStep(l, p, n, due); err != nil {
		return err
	}
	e := stepEvent(part, actorSelf, waitsFor(part), "tried again, since it failed: "+part.Step.Why)
	e.NextDueMs = ms(due)
	return t.waitForStep(l, p, state.Transfer, e)
}

// endSteps completes an intent whose last step has ended: its result is what the last
// step said that has said something.
func (t *tx) endSteps(l *life, p *wire.Plan) error {
	if err := t.savePlan(l.id, p); err != nil {
		return err
	}
	body := p.Last
	if body == nil {
		body = []byte("{}")
	}
	_, err := t.end(l, state.Complete, &wire.Event{Actor: actorSelf}, body, "")
	return err
}

// failSteps ends an intent with a step that has failed.
func (t *tx) failSteps(l *life, p *wire.Plan, part *wire.Part, e *wire.Event, d *decided) error {
	if err := t.savePlan(l.id, p); err != nil {
		return err
	}
	text := "step " + part.Step.Id + " has failed: " + part.Step.Why
	body, err := json.Marshal(struct {
		Code     string          `json:"code"`
		Message  string          `json:"message"`
		Step     string          `json:"step_id"`
		IntentID string          `json:"intent_id"`
		Status   string          `json:"step_status"`
		Tries    uint32          `json:"tries"`
		Said     json.RawMessage `json:"step_outcome,omitempty"`
	}{state.Reason(e.Reason).String(), text, part.Step.Id, ID(part.Id).String(), state.Status(part.Status).String(), part.Step.Tries, d.short()})
	if err != nil {
		return err
	}
	_, err = t.end(l, state.Fail, e, body, text)
	return err
}

// short is what was said, where the parent can take it over.
func (d *decided) short() []byte {
	if len(d.body) > stepSaid || !isObject(d.body) || !json.Valid(d.body) { // an end is never refused for what it says
		return nil
	}
	return d.body
}

// result is what a step has said; before is what was said before it, and stays where it
// has said nothing.
func (d *decided) result(part *wire.Part, before []byte) []byte {
	said := d.short()
	switch {
	case len(d.body) == 0 || string(said) == "{}":
		return before
	case said == nil:
		return omitted(part)
	}
	return said
}

// omitted stands for what a step has said that is too large, or no object: its own intent
// has all of it.
func omitted(part *wire.Part) []byte {
	body, err := json.Marshal(struct {
		Omitted  bool   `json:"omitted"`
		Step     string `json:"step_id"`
		IntentID string `json:"intent_id"`
	}{true, part.Step.Id, ID(part.Id).String()})
	if err != nil {
		panic(err) // texts always encode
	}
	return body
}

// failure says in words why a part did not end well.
func (d *decided) failure() string {
	var said struct{ Outcome, Comment, Reason, Message string }
	_ = json.Unmarshal(d.short(), &said) // what is no text says nothing here
	switch {
	case said.Outcome != "" && said.Comment != "":
		return said.Outcome + ": " + said.Comment
	case d.text != "":
		return d.text
	}
	return cmp.Or(said.Outcome, said.Message, said.Reason, d.reason.String())
}

// stepAsAsked is a step of which nothing has happened.
func stepAsAsked(s *wire.Step) *wire.Step {
	if s == nil {
		return nil
	}
	return &wire.Step{
		Id: s.Id, Kind: s.Kind, OnSuccess: s.OnSuccess, OnFailure: s.OnFailure, Retries: s.Retries, RetryDelayMs: s.RetryDelayMs,
		WaitMs: s.WaitMs, Input: s.Input,
	}
}
