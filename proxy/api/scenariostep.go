package api

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"pannier/journal"
	"pannier/journal/wire"
)

// stepAsked is a step of a workflow as it was asked for.
type stepAsked struct {
	o       *object
	part    *wire.Part
	onwards string // on_success
	instead string // on_failure

	title, about string
}

// What a step is by its tool or its runtime type.
const (
	toolAgent   = "tool.agent.task.v1"
	toolSignoff = "tool.approval.human_signoff"
)

var runtimeKinds = map[string]journal.StepKind{
	"human_approval": journal.StepPerson, "delay": journal.StepDelay, "timeout": journal.StepTimeout,
	"reminder": journal.StepReminder, "escalation": journal.StepEscalation, "notification": journal.StepNotification,
}

var toolKinds = map[string]journal.StepKind{
	toolSignoff: journal.StepPerson, "tool.internal.delay": journal.StepDelay, "tool.internal.escalation": journal.StepEscalation,
	"tool.internal.notification": journal.StepNotification, "tool.notification.notify_owner": journal.StepNotification,
}

// readWorkflow reads the steps, and puts them in order.
func (s *scenario) readWorkflow(a *API) (steps []*stepAsked) {
	raw, given := s.body.take("workflow")
	w := &object{at: "/workflow", faults: &s.faults}
	if given {
		var err error
		if w, err = parseObject(raw, "/workflow", &s.faults); err != nil || raw.Kind() != '{' {
			s.body.fault("workflow", codeSchemaInvalid, "must be a JSON object")
			return nil
		}
	}
	if w.has("macro_id") {
		w.take("macro_id")
		w.fault("macro_id", codeNotAvailable, "is not available: there are no macros at a sidecar; write the steps out")
	}
	w.object("parameters")
	entry := w.text("entry_step", maxStepID)
	n := s.each(w, "steps", maxSteps, func(o *object) { steps = append(steps, s.readStep(a, o)) })
	s.unknown(w)
	if n == 0 && w.at != "" && !w.has("macro_id") {
		steps = s.impliedStep(a, w)
	}
	if s.in.task != nil && n > 0 {
		s.warn("/intent/human_task", "means nothing here: what a person is asked is said by a step")
	}
	if s.reminders != nil && !slices.ContainsFunc(steps, func(p *stepAsked) bool { return p.kind() == journal.StepPerson }) {
		s.warn("/intent/remind_after_seconds", "reminds nobody: no step asks a person")
	}
	s.plan = &wire.Plan{Scenario: s.id}
	s.order(w, entry, steps)
	return steps
}

func (p *stepAsked) kind() journal.StepKind { return journal.StepKind(p.part.Step.Kind) }

// impliedStep is the one of a scenario without steps: its person is asked, or its one
// agent has the intent.
func (s *scenario) impliedStep(a *API, w *object) []*stepAsked {
	if len(*w.faults) > 0 {
		return nil // the rest would be guesses
	}
	var who []string
	for role, r := range s.roles {
		if r.human == (s.in.task != nil) {
			who = append(who, role)
		}
	}
	if len(who) != 1 {
		s.fault("/workflow/steps", codeSchemaInvalid, "is required: without steps there must be one agent, or an intent with a human_task and one human, and there are %d", len(who))
		return nil
	}
	d := &doc{}
	d.open('{').str("step_id", oneStep).str("assigned_to", who[0]).str("tool_id", toolAgent)
	if s.in.task != nil {
		d = &doc{}
		d.open('{').str("step_id", oneStep).str("assigned_to", who[0]).str("tool_id", toolSignoff).raw("human_task", s.in.task.raw)
	}
	o, err := parseObject(d.close('}').b, "/workflow/steps/0", &s.faults)
	if err != nil {
		return nil // it was written above
	}
	return []*stepAsked{s.readStep(a, o)}
}

func (s *scenario) readStep(a *API, o *object) *stepAsked {
	p := &stepAsked{o: o, part: &wire.Part{Child: &wire.Envelope{IntentType: s.in.intentType}, Step: &wire.Step{}}}
	step := p.part.Step
	if step.Id = o.label("step_id", maxStepID); !o.has("step_id") {
		o.fault("step_id", codeSchemaInvalid, "is required")
	}
	p.title, p.about = o.prose("title", maxTitle), o.prose("description", maxTaskText)
	p.onwards, p.instead = o.text("on_success", maxStepID), o.text("on_failure", maxStepID)
	if seconds, ok := o.integer("step_deadline_seconds", 1, maxExpires); ok {
		p.part.ExpiresMs = seconds * time.Second.Milliseconds()
	}
	step.Input = o.object("input")
	to, _ := s.resolve(o, "assigned_to")
	config := s.configOf(o)
	kind := s.readKind(o, to)
	step.Kind = uint32(kind)
	s.readRetry(p)
	switch kind {
	case journal.StepAgent:
		p.part.Child.ToAgent, p.part.Child.MaxDeliveryAttempts = to.address, s.in.options.attempts
		takeReminders(o, func(name string) string { return name }, false)
		if to.address == "" && !o.has("assigned_to") {
			o.fault("assigned_to", codeSchemaInvalid, "is required: the role or the address of the agent that does it")
		}
		for _, agent := range s.agents {
			if agent.internal && agent.address == to.address {
				o.fault("assigned_to", codeNotAvailable, "names an agent with delivery_mode internal: what the sidecar does itself is a runtime_type or a tool.internal.…")
			}
		}
	case journal.StepPerson:
		s.readPerson(a, p, to)
	case journal.StepDelay:
		p.part.Child.ToAgent, p.part.Child.IntentType = journal.CoreAgent, journal.DelayType
		s.readWait(p, config, "seconds", "delay_seconds", "duration_seconds")
		if p.part.ExpiresMs > 0 && p.part.ExpiresMs <= step.WaitMs {
			o.fault("step_deadline_seconds", codeInvalidRequest, "is over before the delay")
		}
	case journal.StepTimeout:
		p.part.Child.ToAgent = journal.CoreAgent
		s.readWait(p, config, "seconds", "timeout_seconds")
	case journal.StepReminder, journal.StepEscalation:
		s.readTold(p, config, to)
	case journal.StepNotification:
		s.readNotification(a, p, config, to)
	}
	s.unknown(o)
	s.unknown(config)
	return p
}

// configOf is the runtime_config of a step, or what older files call config; empty where
// there is none.
func (s *scenario) configOf(o *object) *object {
	name := "runtime_config"
	if !o.has(name) && o.has("config") {
		name = "config"
	}
	none := &object{at: o.pointer(name), faults: &s.faults}
	raw := o.object(name)
	if raw == nil {
		return none
	}
	config, err := parseObject(raw, o.pointer(name), &s.faults)
	if err != nil {
		return none
	}
	for _, quiet := range []string{"reason", "message", "note"} {
		config.take(quiet)
	}
	return config
}

// readKind is what a step is; zero where that cannot be said.
func (s *scenario) readKind(o *object, to scenarioRole) journal.StepKind {
	tool, runtime := o.text("tool_id", maxType), o.text("runtime_type", maxRole)
	approval, _ := o.boolean("requires_approval")
	asks := approval || o.has("human_task")
	at, kind, known := "tool_id", journal.StepAgent, true
	switch {
	case runtime != "":
		at = "runtime_type"
		if kind, known = runtimeKinds[runtime]; !known {
			o.oneOf(at, runtime, []string{"human_approval", "timeout", "reminder", "delay", "escalation", "notification"})
			return 0
		}
	case toolKinds[tool] != 0:
		kind = toolKinds[tool]
	case to.human || asks && tool != toolAgent:
		kind = journal.StepPerson
	case tool == "" && to.address == "":
		o.fault("tool_id", codeSchemaInvalid, "or runtime_type is required")
		return 0
	}
	switch {
	case kind == journal.StepNotification && asks: // it is answered, as a task is
		return journal.StepPerson
	case kind != journal.StepPerson && asks:
		o.fault("requires_approval", codeNotAvailable, "and human_task are for people: put the approval into a step of its own, assigned to one of humans")
	}
	return kind
}

// readPerson reads whom a step asks, and what.
func (s *scenario) readPerson(a *API, p *stepAsked, to scenarioRole) {
	o, child := p.o, p.part.Child
	if to.address == "" && !o.has("assigned_to") {
		o.fault("assigned_to", codeSchemaInvalid, "is required: the role or the address of whoever is asked")
	}
	child.ToAgent = to.address
	task := takeTask(o, "human_task")
	if task == nil {
		title := clip("Approve "+cmp.Or(p.part.Step.Id, "a step")+" of "+s.id, maxTitle-len("…"))
		child.HumanTask = (&doc{}).open('{').str("title", title).close('}').b
	} else {
		child.HumanTask, p.part.Asked = s.named(task)
	}
	child.Reminders = takeReminders(o, func(name string) string { return name }, true)
	if child.Reminders == nil && s.reminders != nil {
		child.Reminders = &wire.Reminders{AfterMs: s.reminders.AfterMs, IntervalMs: s.reminders.IntervalMs, Most: s.reminders.Most, EscalateTo: s.reminders.EscalateTo}
	}
	if r := child.Reminders; r != nil {
		if role, ok := s.roles[r.EscalateTo]; ok {
			r.EscalateTo = role.address
		}
	}
}

// named is a task whose assignees are addresses, where it names roles, and those.
func (s *scenario) named(t *humanTask) (raw jsontext.Value, asked []string) {
	if len(t.assignees) == 0 {
		return t.raw, nil
	}
	names := make([]string, len(t.assignees))
	for i, name := range t.assignees {
		if names[i] = name; s.roles[name].address != "" {
			names[i] = s.roles[name].address
		}
	}
	o, err := parseObject(t.raw, "", new([]fault))
	if err != nil {
		return t.raw, nil // it was read before
	}
	d := &doc{}
	d.open('{')
	for _, m := range o.members {
		if m.name == "assignees" {
			d.words(m.name, names)
			continue
		}
		d.raw(m.name, m.value)
	}
	return d.close('}').b, (&humanTask{assignees: names}).asked()
}

func (s *scenario) readRetry(p *stepAsked) {
	raw := p.o.object("retry")
	if raw == nil {
		return
	}
	o, err := parseObject(raw, p.o.pointer("retry"), &s.faults)
	if err != nil {
		return // it is an object of a body that was read
	}
	times, _ := o.integer("max_retries", 0, maxRetries)
	delay, given := o.integer("retry_delay_seconds", 1, maxDelay)
	if !given {
		delay = usualRetryDelay
	}
	s.unknown(o)
	if p.kind() != journal.StepAgent {
		if times > 0 {
			s.warn(p.o.pointer("retry"), "means nothing: only what an agent does is tried again")
		}
		return
	}
	p.part.Step.Retries, p.part.Step.RetryDelayMs = uint32(times), delay*time.Second.Milliseconds()
}

// readWait reads how long, under any of the names that are in use.
func (s *scenario) readWait(p *stepAsked, config *object, names ...string) {
	for _, name := range names {
		if seconds, ok := config.integer(name, 1, maxDelay); ok {
			p.part.Step.WaitMs = seconds * time.Second.Milliseconds()
			return
		} else if config.has(name) {
			return // said to be wrong
		}
	}
	config.fault(names[0], codeSchemaInvalid, "is required: how long, as a whole number")
}

// readTold reads who is told of the intent without being asked.
func (s *scenario) readTold(p *stepAsked, config *object, to scenarioRole) {
	if to.address == "" {
		for _, name := range []string{"to", "escalate_to"} {
			if role, _ := s.resolve(config, name); role.address != "" {
				to = role
			}
		}
	}
	if to.address == "" {
		to, _ = s.resolve(p.o, "escalate_to")
	}
	if to.address == "" {
		p.o.fault("assigned_to", codeSchemaInvalid, "is required: the role or the address of whoever is told")
	}
	p.part.Child.ToAgent = to.address
}

// maxTellingSteps bounds the steps that tell somebody: where nothing is waited for
// between them, they are one commit.
const maxTellingSteps = 16

// readNotification reads which target of the configuration is told what. Nobody is waited
// for: what does not come through is a dead letter of its own.
func (s *scenario) readNotification(a *API, p *stepAsked, config *object, to scenarioRole) {
	target := config.text("target", maxRole)
	if role, _ := s.resolve(config, "to"); role.address != "" {
		to = role
	}
	name, err := a.opt.Notifies(target, to.address)
	if err != nil {
		config.fault("target", codeNotAvailable, "%s", err)
	}
	if s.telling++; s.telling == maxTellingSteps+1 {
		p.o.fault("step_id", codeSchemaInvalid, "is one step too many that tells somebody; the limit is %d", maxTellingSteps)
	}
	if p.instead != "" {
		s.warn(p.o.pointer("on_failure"), "is never taken: a message that does not come through is a dead letter, and the workflow goes on")
	}
	child := p.part.Child
	child.ToAgent, child.IntentType = journal.NotifyAddress(name), journal.NotificationType
	title := cmp.Or(p.title, clip(cmp.Or(p.part.Step.Id, "A step")+" of "+s.id, maxTitle-len("…")))
	about := cmp.Or(config.text("message", maxTaskText), config.text("text", maxTaskText), p.about)
	d := (&doc{}).open('{').str("title", title).str("text", about)
	if to.address != "" {
		d.str("to", to.address)
	}
	child.Payload = d.close('}').b
}

// order finds what follows on each step. Where no step names what it leads to, they are
// done as they are listed, but for those that are done after a failure only.
func (s *scenario) order(w *object, entry string, steps []*stepAsked) {
	at := map[string]int{} // 1 + place
	for i, p := range steps {
		if id := p.part.Step.Id; at[id] == 0 {
			at[id] = i + 1
		} else if id != "" {
			p.o.fault("step_id", codeSchemaInvalid, "%s is the name of two steps", clip(id, 64))
		}
	}
	find := func(o *object, name, id string) uint32 {
		if id != "" && at[id] == 0 {
			ids := make([]string, 0, len(at))
			for known := range at {
				ids = append(ids, known)
			}
			slices.Sort(ids)
			o.fault(name, codeSchemaInvalid, "names no step of this workflow%s", didYouMean(id, ids))
		}
		return uint32(at[id])
	}
	listed := !slices.ContainsFunc(steps, func(p *stepAsked) bool { return p.onwards != "" })
	instead := map[string]bool{}
	for _, p := range steps {
		p.part.Step.OnSuccess = find(p.o, "on_success", p.onwards)
		p.part.Step.OnFailure = find(p.o, "on_failure", p.instead)
		instead[p.instead] = true
	}
	first := max(1, find(w, "entry_step", entry))
	if listed {
		s.asListed(steps, instead)
	}
	if len(steps) == 0 || len(s.faults) > 0 {
		return
	}
	s.plan.Entry = first - 1
	s.follow(steps, int(s.plan.Entry))
}

// asListed lets each step of the list lead to the next.
func (s *scenario) asListed(steps []*stepAsked, instead map[string]bool) {
	var line, aside []string
	var last *stepAsked
	for i, p := range steps {
		id := p.part.Step.Id
		if instead[id] {
			aside = append(aside, id)
			continue
		}
		if last != nil {
			last.part.Step.OnSuccess = uint32(i) + 1
		}
		last = p
		line = append(line, id)
	}
	if len(aside) > 0 {
		s.warn("/workflow/steps", "name no on_success, so they are done as they are listed: %s; and only after a failure: %s", clip(strings.Join(line, ", "), 255), clip(strings.Join(aside, ", "), 255))
	}
}

// follow goes all ways through the workflow: none may lead back, or it would have no end.
func (s *scenario) follow(steps []*stepAsked, entry int) {
	const (
		under = 1
		done  = 2
	)
	seen := make([]int, len(steps))
	var visit func(int)
	visit = func(n int) {
		seen[n] = under
		p := steps[n]
		for _, way := range []struct {
			name string
			to   uint32
		}{{"on_success", p.part.Step.OnSuccess}, {"on_failure", p.part.Step.OnFailure}} {
			switch next := int(way.to) - 1; {
			case next < 0 || seen[next] == done:
			case seen[next] == under:
				p.o.fault(way.name, codeNotAvailable, "leads back to %s: a step is done once; for trying it again there is retry", clip(steps[next].part.Step.Id, 64))
			default:
				visit(next)
			}
		}
		seen[n] = done
	}
	visit(entry)
	for i, p := range steps {
		if seen[i] == 0 {
			s.warn(fmt.Sprintf("/workflow/steps/%d", i), "is never done: no way leads to %s", clip(p.part.Step.Id, 64))
		}
	}
}
