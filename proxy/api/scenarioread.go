package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/go-json-experiment/json/jsontext"

	"pannier/journal"
	"pannier/journal/wire"
)

// Limits of AXP's schema, where it has one.
const (
	minScenarioID   = 3
	maxSteps        = 100
	maxScenarioWho  = 50 // agents
	maxHumans       = 20
	maxStepID       = 100
	maxRole         = 100
	maxContact      = 255
	maxAbout        = 1000
	maxRetries      = 10
	maxWarnings     = 100
	usualRetryDelay = 30 // seconds
	oneStep         = "main"
)

// scenario is one as it was asked for.
type scenario struct {
	id     string
	body   *object
	intent *object
	in     *asked // its intent; the options are those that a scenario has
	agents []*scenarioAgent
	roles  map[string]scenarioRole
	plan   *wire.Plan // nil where there are faults

	reminders *wire.Reminders // of steps that have none of their own
	faults    []fault
	warnings  []string
	telling   int // steps that tell somebody
}

// scenarioAgent is an agent that a scenario declares.
type scenarioAgent struct {
	role, address, display, at string
	create                     bool
	internal                   bool // it is said to be done by the sidecar
	account                    string
	created                    bool
}

// scenarioRole is whom a role stands for.
type scenarioRole struct {
	address string
	human   bool
}

func (s *scenario) fault(at string, c code, format string, args ...any) {
	s.faults = append(s.faults, fault{at, fmt.Sprintf(format, args...), c})
}

func (s *scenario) warn(at, format string, args ...any) {
	if len(s.warnings) < maxWarnings {
		s.warnings = append(s.warnings, at+" "+fmt.Sprintf(format, args...))
	}
}

// readScenario reads a scenario and names all that is wrong with it. An error is of what
// is no scenario at all.
func (a *API) readScenario(raw []byte, r *http.Request) (*scenario, error) {
	s := &scenario{roles: map[string]scenarioRole{}}
	body, err := parseBody(raw, &s.faults)
	if err != nil {
		return nil, err
	}
	s.body = body
	if s.id = body.required("scenario_id", maxType); s.id != "" && (!validType(s.id) || len(s.id) < minScenarioID) {
		body.fault("scenario_id", codeSchemaInvalid, "%s, at least %d characters", typeForm, minScenarioID)
	}
	for _, known := range []string{"title", "description"} {
		body.text(known, maxAbout)
	}
	s.readIntent(a, r)
	s.readAgents()
	s.readHumans()
	if body.has("workflow_steps") {
		body.take("workflow_steps")
		body.fault("workflow_steps", codeSchemaInvalid, `is an older form: put them into "workflow": {"steps": […]}`)
	}
	steps := s.readWorkflow(a)
	s.unknown(body)
	for i, p := range steps {
		if part := p.part; part.Child.ToAgent != "" && part.Child.ToAgent != journal.CoreAgent && p.kind() != journal.StepNotification {
			if err := a.opt.MaySend(s.in.from, part.Child.ToAgent, part.Child.IntentType); err != nil {
				s.fault(fmt.Sprintf("/workflow/steps/%d/assigned_to", i), codePolicyDenied, "%s", err)
			}
		}
	}
	if len(s.faults) > 0 {
		return s, nil
	}
	for _, p := range steps {
		s.plan.Parts = append(s.plan.Parts, p.part)
	}
	return s, nil
}

// unknown warns of members that nobody has taken: AXP's clients may send more than is
// known here, and whoever has misspelt one wants to hear of it.
func (s *scenario) unknown(o *object) {
	for _, m := range o.rest() {
		why := "means nothing here"
		if !slices.Contains(scenarioFields, m.name) {
			why = "is not known, and " + why + didYouMean(m.name, scenarioFields)
		}
		s.warn(o.pointer(clip(m.name, 64)), "%s", why)
	}
}

// scenarioFields are what members may have been meant to be.
var scenarioFields = []string{
	"scenario_id", "intent", "agents", "humans", "workflow", "steps", "entry_step", "step_id", "tool_id", "runtime_type", "runtime_config", "assigned_to",
	"requires_approval", "human_task", "step_deadline_seconds", "retry", "max_retries", "retry_delay_seconds", "remind_after_seconds",
	"remind_interval_seconds", "max_reminders", "escalate_to", "on_success", "on_failure", "input", "type", "payload", "deadline_at",
	"max_delivery_attempts", "target", "message", "role", "address", "contact", "display_name", "delivery_mode", "callback_url", "create_if_missing",
}

// readIntent reads what is sent, and by whom.
func (s *scenario) readIntent(a *API, r *http.Request) {
	s.in = &asked{at: "/intent/payload", payload: jsontext.Value("{}"), options: &options{}, from: a.opt.DefaultAgent}
	in := s.in
	if in.named = s.body.address("from_agent", false); in.named != "" {
		in.from = in.named
	}
	if c := callerOf(r); c != nil {
		from, err := c.sender(in.named)
		if err != nil {
			p := problemOf(err)
			s.fault("/from_agent", p.code, "%s", strings.TrimPrefix(strings.TrimPrefix(p.detail, "/from_agent "), "from_agent: "))
		}
		in.from = from
	}
	if text := s.body.text("idempotency_key", 2*maxKey+2); text != "" {
		key, why := parseKey(text)
		if why != "" {
			s.body.fault("idempotency_key", codeSchemaInvalid, "%s", why)
		}
		in.key = key
	}
	raw := s.body.object("intent")
	if raw == nil {
		if _, given := s.body.take("intent"); !given {
			s.body.fault("intent", codeSchemaInvalid, "is required: a JSON object with a type")
		}
		raw = jsontext.Value(`{}`)
	}
	o, err := parseObject(raw, "/intent", &s.faults)
	if err != nil {
		s.body.fault("intent", codeSchemaInvalid, "must be a JSON object")
		o = &object{at: "/intent", faults: &s.faults}
	}
	s.intent = o
	if len(o.members) > 0 {
		in.intentType = o.required("type", maxType)
	}
	if in.intentType != "" && !validType(in.intentType) {
		o.fault("type", codeSchemaInvalid, "%s", typeForm)
	}
	if payload := o.object("payload"); payload != nil {
		in.payload = payload
	}
	if v, ok := o.take("deadline_at"); ok {
		var why string
		if in.options.deadline, why = readTime(v); why == "" {
			why = deadlineFault(in.options.deadline, time.Now())
		}
		if why != "" {
			o.fault("deadline_at", codeSchemaInvalid, "%s", why)
		}
	}
	n, _ := o.integer("max_delivery_attempts", 1, maxAttempts)
	in.options.attempts = uint32(n)
	in.options.replyTo = o.address("reply_to", false)
	if in.correlation = o.label(correlationOption, maxCorrelation); in.correlation == "" {
		in.correlation = uuid.NewString()
	}
	in.task = takeTask(o, "human_task")
	s.reminders = takeReminders(o, func(name string) string { return name }, true)
	s.unknown(o)
}

// each calls f for each object of a list.
func (s *scenario) each(o *object, name string, most int, f func(*object)) (n int) {
	raw, ok := o.take(name)
	if !ok {
		return 0
	}
	if raw.Kind() != '[' {
		o.fault(name, codeSchemaInvalid, "must be a list of objects")
		return 0
	}
	items, more := splitArray(raw)
	if more || len(items) > most {
		o.fault(name, codeSchemaInvalid, "has more than %d items", most)
		return 0
	}
	for i, item := range items {
		at := fmt.Sprintf("%s/%d", o.pointer(name), i)
		one, err := parseObject(item, at, &s.faults)
		if err != nil || item.Kind() != '{' {
			s.fault(at, codeSchemaInvalid, "must be a JSON object")
			continue
		}
		f(one)
	}
	return len(items)
}

// delivery modes, as AXP names them. How an agent receives is configured where it is
// served: what is said here changes nothing.
var deliveryModes = []string{"stream", "poll", "http", "inbox", "internal"}

func (s *scenario) readAgents() {
	s.each(s.body, "agents", maxScenarioWho, func(o *object) {
		agent := &scenarioAgent{role: o.label("role", maxRole), address: o.address("address", true), display: o.text("display_name", maxActor), at: o.at}
		if !o.has("role") {
			o.fault("role", codeSchemaInvalid, "is required")
		}
		agent.create, _ = o.boolean("create_if_missing")
		mode := o.text("delivery_mode", maxRole)
		o.oneOf("delivery_mode", mode, deliveryModes)
		agent.internal = mode == "internal"
		if url := o.text("callback_url", maxCallback); url != "" || mode == "http" {
			s.warn(o.pointer("delivery_mode"), "changes nothing: how %s receives is said where it is served, as in pannier run --agent %[1]s=http:URL", clip(agent.address, 64))
		}
		for _, quiet := range []string{"description", "handler"} {
			o.take(quiet)
		}
		s.addRole(o, agent.role, scenarioRole{address: agent.address})
		s.agents = append(s.agents, agent)
		s.unknown(o)
	})
}

func (s *scenario) addRole(o *object, name string, r scenarioRole) {
	if name == "" {
		return
	}
	if _, twice := s.roles[name]; twice {
		o.fault("role", codeSchemaInvalid, "%s is the role of two", clip(name, 64))
	}
	s.roles[name] = r
}

// readHumans reads the people. One's inbox is that of the contact, else of the role.
func (s *scenario) readHumans() {
	s.each(s.body, "humans", maxHumans, func(o *object) {
		role, contact := o.label("role", maxRole), o.text("contact", maxContact)
		o.text("display_name", maxActor)
		for _, quiet := range []string{"description", "handler"} {
			o.take(quiet)
		}
		if !o.has("role") {
			o.fault("role", codeSchemaInvalid, "is required")
			return
		}
		from, text := "contact", contact
		if contact == "" {
			from, text = "role", role
		}
		address, why := readAddress(text)
		if why != "" && text != "" {
			o.fault(from, codeInvalidAddress, "%s; it is whose inbox is meant", why)
		}
		s.addRole(o, role, scenarioRole{address: address, human: true})
		s.unknown(o)
	})
}

// resolve is whom a member names: a role of the scenario, or an address.
func (s *scenario) resolve(o *object, name string) (r scenarioRole, known bool) {
	text := o.text(name, maxAddress+len("agent://"))
	if text == "" {
		return r, false
	}
	if r, known = s.roles[text]; known {
		return r, true
	}
	address, why := readAddress(text)
	if why != "" {
		o.fault(name, codeInvalidAddress, "is no role of this scenario, and as an address %s", why)
		return r, false
	}
	for _, role := range s.roles {
		if role.address == address {
			return role, true
		}
	}
	if !strings.Contains(address, "://") {
		roles := make([]string, 0, len(s.roles))
		for role := range s.roles {
			roles = append(roles, role)
		}
		slices.Sort(roles)
		s.warn(o.pointer(name), "is no role of agents or humans: it is taken as an address%s", didYouMean(text, roles))
	}
	return scenarioRole{address: address}, false
}
