package api

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Limits of a human task are those of AXP's schema, where it has one.
const (
	maxTask      = 64 << 10 // all of it: a form is a JSON Schema
	maxTitle     = 255      // characters
	maxTaskText  = 2000     // characters
	maxOutcomes  = 20
	maxOutcome   = 64
	maxAssignees = 20
	maxComment   = 2000 // characters
	maxMail      = 254  // RFC 5321, 4.5.3.1.3: a path of 256, with its brackets
)

// outcomesOf are the outcomes of a task that names none, by its type: AXP's eight, and
// those that its schema lists beside them.
var outcomesOf = map[string][]string{
	"approval":            {"approved", "rejected"},
	"confirmation":        {"confirmed", "denied"},
	"review":              {"approved", "changes_requested", "rejected"},
	"assignment":          {"assigned", "declined"},
	"form":                {"submitted"},
	"clarification":       {"provided", "declined"},
	"manual_action":       {"completed", "failed"},
	"override":            {"override_approved", "rejected"},
	"provide_data":        {"provided", "declined"},
	"attach_file":         {"provided", "declined"},
	"validate_real_world": {"approved", "rejected"},
	"validate_output":     {"approved", "rejected"},
	"delegation":          {"assigned", "declined"},
	"reroute":             {"assigned", "declined"},
	"escalate":            {"completed", "declined"},
}

const (
	defaultTask = "approval"
	formURL     = "pannier://form" // what a form calls itself
)

// refusals are the outcomes that end an intent CANCELED: whoever waits for it is not to
// go on. Every other outcome completes it.
var refusals = map[string]bool{"rejected": true, "denied": true, "declined": true, "failed": true, "changes_requested": true}

// Refuses reports whether an outcome of a task ends its intent CANCELED.
func Refuses(outcome string) bool { return refusals[outcome] }

// Accepts is the opposite of Refuses.
func Accepts(outcome string) bool { return !refusals[outcome] }

// humanTask is what a person is asked.
type humanTask struct {
	title, description, kind string
	outcomes                 []string // never empty
	assignees                []string
	comment, evidence        bool // are required
	form                     jsontext.Value
	raw                      jsontext.Value // as it was given
	gate                     bool           // another intent waits for it, and moves in the commit of the decision
}

// takeTask takes the human_task of an intent that is sent, nil where it has none or a
// wrong one.
func takeTask(body *object, name string) *humanTask {
	raw := body.object(name)
	switch {
	case raw == nil:
		return nil
	case len(raw) > maxTask:
		body.fault(name, codeSchemaInvalid, "has %d bytes; the limit is %d", len(raw), maxTask)
		return nil
	}
	before := len(*body.faults)
	o, err := parseObject(raw, body.pointer(name), body.faults)
	if err != nil {
		body.fault(name, codeSchemaInvalid, "must be a JSON object")
		return nil
	}
	t := readTask(o)
	if t.form != nil { // here alone: a task is read again each time it is shown
		if _, err := newContract(t.form, formURL); err != nil {
			o.fault("form_schema", codeSchemaInvalid, "is no JSON Schema that can be used alone: %s", clip(err.Error(), maxWhy))
		}
	}
	if len(*body.faults) > before {
		return nil
	}
	return t
}

// readTask reads a human_task. Members it does not know are kept and mean nothing.
func readTask(o *object) *humanTask {
	t := &humanTask{
		title: o.prose("title", maxTitle), description: o.prose("description", maxTaskText), kind: o.text("task_type", maxOutcome),
		outcomes: o.words("allowed_outcomes", maxOutcomes, maxOutcome), assignees: o.words("assignees", maxAssignees, maxAddress),
		form: o.object("form_schema"), raw: o.raw,
	}
	t.comment, _ = o.boolean("required_comment")
	t.evidence, _ = o.boolean("evidence_required")
	o.text("notify_email", maxMail)
	if t.kind == "" {
		t.kind = defaultTask
	}
	usual, known := outcomesOf[t.kind]
	if !known {
		o.fault("task_type", codeSchemaInvalid, "is none of %s", strings.Join(slices.Sorted(maps.Keys(outcomesOf)), ", "))
	}
	if len(t.outcomes) == 0 {
		t.outcomes = usual
	}
	return t
}

// asked are the addresses among those that a task names.
func (t *humanTask) asked() (addresses []string) {
	if t == nil {
		return nil
	}
	for _, name := range t.assignees {
		if address, err := Address(name); err == nil {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// taskOf is the task of an intent; nil: it is none.
func taskOf(raw []byte) (*humanTask, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var faults []fault
	o, err := parseObject(raw, "/human_task", &faults)
	if err != nil {
		return nil, err
	}
	return readTask(o), nil
}

// words takes a list of 1 to most strings of 1 to length bytes; nil where it is absent or wrong.
func (o *object) words(name string, most, length int) (words []string) {
	raw, ok := o.take(name)
	if !ok {
		return nil
	}
	if raw.Kind() != '[' {
		o.fault(name, codeSchemaInvalid, "must be a list of strings")
		return nil
	}
	dec := jsontext.NewDecoder(bytes.NewReader(raw))
	if _, err := dec.ReadToken(); err != nil {
		o.fault(name, codeSchemaInvalid, "must be a list of strings")
		return nil
	}
	for dec.PeekKind() != ']' {
		item, err := dec.ReadValue()
		if err != nil {
			o.fault(name, codeSchemaInvalid, "must be a list of strings")
			return nil
		}
		word, why := readText(item, length)
		if why == "" {
			why = labelFault(word)
		}
		if why != "" {
			*o.faults = append(*o.faults, fault{fmt.Sprintf("%s/%d", o.pointer(name), len(words)), why, codeSchemaInvalid})
			return nil
		}
		words = append(words, word)
	}
	if len(words) == 0 || len(words) > most {
		o.fault(name, codeSchemaInvalid, "has %d items; it must have 1 to %d", len(words), most)
		return nil
	}
	return words
}

// writeTask writes a task as AXP shows it: with a title, a type and its outcomes, and
// without what is for Pannier only.
func writeTask(d *doc, t *humanTask, otherwise string) {
	title := t.title
	if title == "" {
		title = clip(otherwise, maxTitle-len("…"))
	}
	d.key("human_task").open('{').str("title", title).opt("description", t.description).str("task_type", t.kind)
	d.words("allowed_outcomes", t.outcomes)
	if len(t.assignees) > 0 {
		d.words("assignees", t.assignees)
	}
	d.boolean("required_comment", t.comment).boolean("evidence_required", t.evidence)
	if t.form != nil {
		d.raw("form_schema", t.form)
	}
	d.close('}')
}

func (d *doc) words(name string, words []string) {
	d.key(name).open('[')
	for _, w := range words {
		d.element(w)
	}
	d.close(']')
}
