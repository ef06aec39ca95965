package journal

import (
	"encoding/json"
	"fmt"
	"time"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// GateType is the intent type of an approval that another intent waits for.
const GateType = "intent.gate.v1"

// gateBody is the largest decision that the parent takes over from a refusal.
const gateBody = 64 << 10

// decided is how a part ended.
type decided struct {
	by   string // who said it
	body []byte // a person's decision; empty: none
	text string // why it was canceled, where it was

	reason state.Reason
}

// words are what was decided, for the log of the parent.
func (d *decided) words() string {
	var said struct{ Outcome, Comment string }
	if err := json.Unmarshal(d.body, &said); err != nil || said.Outcome == "" {
		return d.text // an end that is nobody's decision
	}
	if said.Comment == "" {
		return said.Outcome
	}
	return said.Outcome + ": " + said.Comment
}

// openGates asks for the first approvals of an intent that has just begun.
func (t *tx) openGates(l *life, p *wire.Plan, due time.Time) error {
	if due.After(t.now) {
		p.DueMs = ms(due)
	}
	return t.openTurn(l, p, 0)
}

// openTurn asks all of a turn, whose first part is given.
func (t *tx) openTurn(l *life, p *wire.Plan, first int) error {
	of, err := t.envelope(l.id)
	if err != nil {
		return err
	}
	p.TurnMs = ms(t.now)
	for n := first; n < len(p.Parts) && p.Parts[n].Turn == p.Parts[first].Turn; n++ {
		if err := t.openPart(l, of, p, n); err != nil {
			return err
		}
		part := p.Parts[n]
		e := &wire.Event{Actor: actorSelf, Reason: uint32(state.ReasonWaitingHuman), Asked: part.Child.ToAgent, Part: part.Id}
		if !t.move(l, state.Assign, e) {
			return fmt.Errorf("ask %s about %s: %w", part.Child.ToAgent, l.id, ErrIllegal)
		}
	}
	if err := t.savePlan(l.id, p); err != nil {
		return err
	}
	return t.saveLife(l)
}

// gateEnded moves an intent by the end of an approval, which its plan has already. Of a
// turn where one is enough, a refusal counts when nobody is left who could approve.
func (t *tx) gateEnded(l *life, p *wire.Plan, n int, d *decided) error {
	part := p.Parts[n]
	given, waiting, next := 0, 0, len(p.Parts)
	for i, other := range p.Parts {
		switch {
		case other.Turn > part.Turn:
			next = min(next, i)
		case other.Turn < part.Turn:
		case other.Status == 0:
			waiting++
		case state.Status(other.Status) == state.Completed:
			given++
		}
	}
	passed := state.Status(part.Status) == state.Completed
	over := given > 0 && part.Any || waiting == 0
	if !passed && (!part.Any || over) {
		return t.refuse(l, p, n, d)
	}
	e := &wire.Event{Actor: d.by, Reason: uint32(state.ReasonApproved), Asked: part.Child.ToAgent, Part: part.Id, Text: d.words()}
	if !passed {
		e.Reason = uint32(state.ReasonRefused)
	}
	if over {
		e.Waited = waitedFor(state.CauseGate, p.TurnMs, t.now)
	}
	t.move(l, state.Transfer, e)
	if !over {
		if err := t.savePlan(l.id, p); err != nil {
			return err
		}
		return t.saveLife(l)
	}
	if err := t.closeParts(l.id, p, func(o *wire.Part) bool { return o.Turn == part.Turn }); err != nil {
		return err
	}
	if next < len(p.Parts) {
		return t.openTurn(l, p, next)
	}
	return t.pass(l, p)
}

// refuse ends an intent that was not approved. What else is asked of others ends with it.
func (t *tx) refuse(l *life, p *wire.Plan, n int, d *decided) error {
	part := p.Parts[n]
	if err := t.savePlan(l.id, p); err != nil {
		return err
	}
	asked := part.Child.ToAgent
	e := &wire.Event{
		Actor: d.by, Reason: uint32(state.ReasonRefused), Asked: asked, Part: part.Id,
		Waited: waitedFor(state.CauseGate, p.TurnMs, t.now),
	}
	if state.Status(part.Status) == state.TimedOut {
		e.Reason = uint32(state.ReasonGateExpired)
		text := asked + " has not decided in time"
		_, err := t.end(l, state.Expire, e, deliveryError("gate_expired", state.ReasonGateExpired, text, 0), text)
		return err
	}
	body := d.body
	if len(body) > gateBody || !json.Valid(body) { // the approval has all of it
		body = nil
	}
	_, err := t.end(l, state.Cancel, e, body, fmt.Sprintf("not approved by %s: %s", asked, d.words()))
	return err
}

// pass lets an intent be offered that all have approved. It has never been, so no
// journal has to be asked for it after an unclean stop before this.
func (t *tx) pass(l *life, p *wire.Plan) error {
	due := t.now
	if at(p.DueMs).After(due) {
		due = at(p.DueMs)
	}
	l.head.Gated, l.head.Boot = false, t.j.birth.Boot
	if l.head.DeliverByMs == 0 {
		l.head.DeliverByMs = ms(due.Add(t.j.deliverBy))
	}
	if l.head.DeadlineAtMs == 0 {
		l.head.DeadlineAtMs = ms(t.now.Add(t.j.deadline))
	}
	t.goTo(l, PlaceDue, due, ID{})
	t.expireAt(l)
	if err := t.savePlan(l.id, p); err != nil {
		return err
	}
	return t.saveLife(l)
}
