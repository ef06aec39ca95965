package api

import (
	"context"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// awaitedStep is the step that an intent waits for; nil: none.
func awaitedStep(p *wire.Plan) *wire.Part {
	if p == nil || int(p.At) >= len(p.Parts) {
		return nil
	}
	if part := p.Parts[p.At]; part.Step != nil && part.Status == 0 && len(part.Id) > 0 {
		return part
	}
	return nil
}

// stepTypes are the kinds of steps in AXP's words.
var stepTypes = map[journal.StepKind]string{
	journal.StepAgent: "agent", journal.StepPerson: "human", journal.StepDelay: "delay",
	journal.StepTimeout: "timeout", journal.StepReminder: "reminder", journal.StepEscalation: "escalation",
	journal.StepNotification: "notification",
}

// pendingTypes are who a step is with, of AXP's three.
func pendingType(part *wire.Part) string {
	switch kind := journal.StepKind(part.Step.Kind); kind {
	case journal.StepAgent, journal.StepPerson:
		return stepTypes[kind]
	}
	return "internal"
}

func writePendingStep(d *doc, kind, intent, name string) {
	d.key("pending_with").open('{').str("type", kind).str("ref", intent).str("name", name).close('}')
}

// writeStepAwaited writes with whom an intent is that waits for a step.
func writeStepAwaited(d *doc, p *wire.Plan) {
	if part := awaitedStep(p); part != nil {
		writePendingStep(d, pendingType(part), idText(part.Id), part.Child.ToAgent)
	}
}

// stepStatus is how a step stands.
func stepStatus(part *wire.Part) string {
	switch {
	case part.Status != 0:
		return state.Status(part.Status).String()
	case len(part.Id) > 0:
		return state.InProgress.String()
	}
	return "not_begun"
}

// writeSteps writes the steps of an intent, as they were listed.
func writeSteps(d *doc, p *wire.Plan) {
	if p == nil {
		return
	}
	d.str("scenario_id", p.Scenario).key("steps").open('[')
	for _, part := range p.Parts {
		s := part.Step
		d.item().open('{').str("step_id", s.Id).str("type", stepTypes[journal.StepKind(s.Kind)]).str("status", stepStatus(part))
		d.str("to", part.Child.ToAgent).opt("intent_id", idText(part.Id)).opt("ended_by", part.By).opt("error", s.Why)
		if s.Tries > 0 {
			d.num("tries", int64(s.Tries))
		}
		d.ms("begun_at", s.BegunMs).ms("ended_at", s.EndedMs).close('}')
	}
	d.close(']')
}

// writeStep writes which step an event is about.
func writeStep(d *doc, ev *wire.Event) {
	if ev.Step == "" {
		return
	}
	d.key("step").open('{').str("step_id", ev.Step).str("to", ev.Asked).opt("intent_id", idText(ev.Part))
	if ev.Try > 0 {
		d.num("try", int64(ev.Try))
	}
	d.close('}')
	if e := state.EventType(ev.Type); e == state.EventReminder || e == state.EventEscalated {
		if e == state.EventEscalated {
			d.str("escalated_to", ev.Asked)
		}
		d.key("pending_with").open('{').str("type", "human").str("name", ev.Asked).close('}')
		return
	}
	if state.Status(ev.Status) != state.Waiting {
		return
	}
	kind := "agent"
	switch state.Reason(ev.Reason) {
	case state.ReasonWaitingHuman:
		kind = "human"
	case state.ReasonWaitingTime:
		kind = "internal"
	}
	writePendingStep(d, kind, idText(ev.Part), ev.Asked)
}

// whyStepped says which step an intent waits for, and what that one waits for.
func (a *API) whyStepped(ctx context.Context, i *journal.Intent, acc *account) {
	part := awaitedStep(i.Plan)
	if part == nil {
		acc.add(state.Delay{Cause: state.CauseParked})
		return
	}
	acc.add(state.Delay{Cause: state.CauseStep, Who: part.Child.ToAgent, Task: idText(part.Id), Step: part.Step.Id})
	child, err := a.journal.Get(journal.ID(part.Id))
	if err != nil {
		return // it has just ended
	}
	of := a.accountFor(ctx, child)
	acc.causes = append(acc.causes, of.causes...)
	acc.next, acc.heldBy = of.next, of.heldBy
}
