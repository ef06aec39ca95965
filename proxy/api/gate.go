package api

import (
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

const (
	maxGates   = 16                   // approvals of one intent, over all its turns
	maxExpires = 10 * 365 * 24 * 3600 // seconds

	// maxGateTasks bounds the human_task of all gates together, and with the payload twice
	// beside them maxGated what is one commit: an intent with its plan and its first turn.
	maxGateTasks = 64 << 10
	maxGated     = 1_100_000
)

// gate is one approval that is needed before an intent is offered.
type gate struct {
	at        string // where it stands in the request
	turn      uint32 // gates of one turn are asked at once; turns follow each other
	any       bool   // of its turn, one approval is enough
	to, title string
	task      *humanTask // nil: an approval with that title
	reminders *wire.Reminders
	expires   time.Duration // 0: it does not
}

// size is that of what a person is asked.
func (g *gate) size() int {
	if g.task == nil {
		return 0
	}
	return len(g.task.raw)
}

// checkGated refuses an intent that would not be one commit with those who are asked.
func checkGated(in *asked) error {
	size := len(in.payload)
	for _, g := range in.options.gates {
		size += 3 * g.size() // in the plan, in the approval, and the names in it by themselves
	}
	if len(in.options.gates) > 0 && size > maxGated {
		return refuse(codePayloadTooLarge, "gates: what their human_task say and a payload of %d bytes are too much for one commit: make either shorter, or have the payload fetched", len(in.payload))
	}
	return nil
}

// gateReader reads the gates of one intent.
type gateReader struct {
	faults *[]fault
	gates  []*gate
}

// readGates reads the option: a list whose items are asked one after the other. An item
// is an address, an approval {"to": …}, or several that are asked at once: {"all_of": […]}
// or {"any_of": […]}. As a header it is addresses with commas between.
func readGates(g given, faults *[]fault) []*gate {
	if g.value.Kind() == '"' {
		g.value = listOf(g.value)
	}
	r := &gateReader{faults: faults}
	for i, item := range r.items(g.value, g.pointer) {
		r.turn(item, fmt.Sprintf("%s/%d", g.pointer, i), uint32(i))
	}
	if len(r.gates) > maxGates {
		r.fault(g.pointer, "asks for %d approvals; the limit is %d", len(r.gates), maxGates)
	}
	total := 0
	for _, one := range r.gates {
		if total += one.size(); total > maxGateTasks {
			r.fault(one.at, "brings the human_task of all gates to %d bytes; the limit is %d together: make descriptions and form_schema shorter", total, maxGateTasks)
			break
		}
	}
	return r.gates
}

// listOf is a JSON list of the words of a text.
func listOf(text jsontext.Value) jsontext.Value {
	d := &doc{}
	d.open('[')
	all, _ := jsontext.AppendUnquote(nil, text)
	for word := range strings.SplitSeq(string(all), ",") {
		d.element(strings.TrimSpace(word))
	}
	return d.close(']').b
}

func (r *gateReader) fault(at, format string, args ...any) {
	*r.faults = append(*r.faults, fault{at, fmt.Sprintf(format, args...), codeSchemaInvalid})
}

// items are those of a list that must not be empty.
func (r *gateReader) items(list jsontext.Value, at string) []jsontext.Value {
	if list.Kind() != '[' {
		r.fault(at, "must be a list of those who are to approve")
		return nil
	}
	items, more := splitArray(list)
	switch {
	case len(items) == 0:
		r.fault(at, "is empty: leave it out, or name who is to approve")
	case more || len(items) > maxGates:
		r.fault(at, "has more than %d items", maxGates)
		return nil
	}
	return items
}

func (r *gateReader) turn(item jsontext.Value, at string, turn uint32) {
	if item.Kind() != '{' {
		r.one(item, at, turn, false)
		return
	}
	o, err := parseObject(item, at, r.faults)
	if err != nil {
		r.fault(at, "must be an address or a JSON object")
		return
	}
	several := 0
	for _, name := range []string{"all_of", "any_of"} {
		list, ok := o.take(name)
		if !ok {
			continue
		}
		several++
		for i, part := range r.items(list, o.pointer(name)) {
			r.one(part, fmt.Sprintf("%s/%d", o.pointer(name), i), turn, name == "any_of")
		}
	}
	switch {
	case several == 0:
		r.one(item, at, turn, false)
	case several == 2:
		r.fault(at, "has both all_of and any_of")
	default:
		o.refuseRest([]string{"all_of", "any_of"})
	}
}

// one reads one approval.
func (r *gateReader) one(item jsontext.Value, at string, turn uint32, any bool) {
	g := &gate{at: at, turn: turn, any: any}
	r.gates = append(r.gates, g)
	if item.Kind() != '{' {
		text, why := readText(item, maxAddress+len("agent://"))
		if why == "" {
			g.to, why = readAddress(text)
		}
		if why != "" {
			*r.faults = append(*r.faults, fault{at, why, codeInvalidAddress})
		}
		return
	}
	o, err := parseObject(item, at, r.faults)
	if err != nil {
		r.fault(at, "must be an address or a JSON object")
		return
	}
	g.to = o.address("to", true)
	g.title = o.prose("title", maxTitle)
	if g.task = takeTask(o, "human_task"); g.task != nil && g.title != "" {
		o.fault("title", codeSchemaInvalid, "belongs into human_task, where there is one")
	}
	g.reminders = takeReminders(o, func(name string) string { return name }, true)
	if s, ok := o.integer("expires_seconds", 1, maxExpires); ok {
		g.expires = time.Duration(s) * time.Second
	}
	o.refuseRest([]string{"to", "title", "human_task", "expires_seconds", "remind_after_seconds", "remind_interval_seconds", "max_reminders", "escalate_to"})
}

// planOf is what the journal is asked for: nil where nobody has to approve.
func planOf(in *asked) *wire.Plan {
	if len(in.options.gates) == 0 {
		return nil
	}
	p := &wire.Plan{}
	for _, g := range in.options.gates {
		title := g.title
		if title == "" {
			title = clip("Approve "+in.intentType+" for "+in.to, maxTitle-len("…"))
		}
		task := (&doc{}).open('{').str("title", title).close('}').b
		if g.task != nil {
			task = g.task.raw
		}
		p.Parts = append(p.Parts, &wire.Part{
			Turn: g.turn, Any: g.any, ExpiresMs: g.expires.Milliseconds(), Asked: g.task.asked(),
			Child: &wire.Envelope{IntentType: journal.GateType, ToAgent: g.to, HumanTask: task, Reminders: g.reminders},
		})
	}
	return p
}

// asking are the parts that somebody is asked for just now.
func asking(p *wire.Plan) (open []*wire.Part) {
	for _, part := range p.GetParts() {
		if len(part.Id) > 0 && part.Status == 0 {
			open = append(open, part)
		}
	}
	return open
}

// whyGated names all who are asked just now.
func whyGated(i *journal.Intent, acc *account) {
	for _, part := range asking(i.Plan) {
		acc.add(state.Delay{Cause: state.CauseGate, Who: part.Child.GetToAgent(), Task: idText(part.Id)})
	}
}

// writeAwaited writes the first of those who are asked.
func writeAwaited(d *doc, p *wire.Plan) {
	for _, part := range asking(p) {
		d.key("pending_with").open('{').str("type", "human").str("ref", idText(part.Id)).str("name", part.Child.GetToAgent()).close('}')
		return
	}
}

// gateStatus is how an approval stands, in the words of a task.
func gateStatus(part *wire.Part) string {
	switch state.Status(part.Status) {
	case state.Completed:
		return "approved"
	case state.TimedOut:
		return "expired"
	case state.None:
		if len(part.Id) == 0 {
			return "not_asked"
		}
		return "asked"
	}
	if part.By == "" { // it was ended with the others
		return "not_needed"
	}
	return "refused"
}

// writeGates writes the approvals an intent needs, in the order they are asked for.
func writeGates(d *doc, p *wire.Plan) {
	if len(p.GetParts()) == 0 {
		return
	}
	d.key("gates").open('[')
	for _, part := range p.Parts {
		d.item().open('{').num("turn", int64(part.Turn)+1).str("to", part.Child.GetToAgent()).str("status", gateStatus(part))
		d.opt("intent_id", idText(part.Id)).opt("decided_by", part.By).close('}')
	}
	d.close(']')
}

// writeGate writes which approval an event is about.
func writeGate(d *doc, ev *wire.Event) {
	if ev.Asked == "" || ev.Step != "" {
		return
	}
	d.key("gate").open('{').str("to", ev.Asked).opt("intent_id", idText(ev.Part)).close('}')
	if state.EventType(ev.Type) == state.EventHumanTaskAssigned {
		d.key("pending_with").open('{').str("type", "human").str("ref", idText(ev.Part)).str("name", ev.Asked).close('}')
	}
}
