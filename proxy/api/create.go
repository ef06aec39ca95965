package api

import (
	"net/http"
	"strings"

	"pannier/journal/wire"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

const (
	maxType        = 255
	maxCorrelation = 255
	maxMembers     = 10_000 // of the top of a body
	createPath     = "POST /v1/intents"
)

// asked is one intent as the app asked for it.
type asked struct {
	intentType  string
	to, from    string
	named       string // from_agent as given; "": not at all
	source      string // of an event, where it is an address
	correlation string
	payload     jsontext.Value // the bytes of the request's value
	at          string         // JSON pointer to the payload in the body
	options     *options
	task        *humanTask // nil: no person is asked
	reminders   *wire.Reminders
	key         string // idempotency key; "": none
	traceparent string // of the event; "": the request's
	tracestate  string // beside it
	path        string // method and path, the scope of key
}

// create serves POST /v1/intents.
func (a *API) create(w http.ResponseWriter, r *http.Request) error {
	if a.isDraining() {
		return errDraining
	}
	key, err := headerKey(r.Header)
	if err != nil {
		return err
	}
	format := formatOf(r.Header)
	if format == batched {
		return a.createEvents(w, r)
	}
	raw, err := a.readRaw(w, r, a.opt.MaxBody)
	if err == nil && raw != nil && format != structured {
		err = checkContentType(r.Header)
	}
	if err != nil {
		return err
	}
	var in *asked
	switch format {
	case structured:
		in, err = a.readStructured(raw, r.Header)
	case binary:
		in, err = a.readBinary(raw, r.Header)
	default:
		in, err = a.readPlain(raw, r.Header, key)
	}
	if err != nil {
		return err
	}
	if key != "" {
		in.key = key
	}
	return a.acceptOne(w, r, in)
}

// readPlain reads AXP's body. A key may be in it, too.
func (a *API) readPlain(raw []byte, header http.Header, key string) (*asked, error) {
	var faults []fault
	body, err := parseBody(raw, &faults)
	if err != nil {
		return nil, err
	}
	in := a.readIntent(body, header)
	if key != "" && in.key != "" && key != in.key {
		body.fault("idempotency_key", codeInvalidRequest, "differs from the header Idempotency-Key")
	}
	return in, faultsOf(faults)
}

// createShort serves POST /v1/agents/{agent}/intents/{type}: any JSON object
// is the payload.
func (a *API) createShort(w http.ResponseWriter, r *http.Request, agent, intentType string) error {
	if a.isDraining() {
		return errDraining
	}
	key, err := headerKey(r.Header)
	if err != nil {
		return err
	}
	raw, err := a.readBody(w, r, a.opt.MaxBody)
	if err != nil {
		return err
	}
	payload, err := parsePayload(raw)
	if err != nil {
		return err
	}
	var faults []fault
	if !validType(intentType) {
		faults = append(faults, fault{"the path's intent type", typeForm, codeSchemaInvalid})
	}
	in := &asked{
		intentType: intentType, to: agent, from: a.opt.DefaultAgent,
		payload: payload, options: readOptions(nil, nil, r.Header, &faults),
		key: key, path: "POST " + agentPrefix + agent + "/intents/" + intentType,
	}
	in.correlate(&faults)
	if len(faults) > 0 {
		return refuseFaults(faults)
	}
	return a.acceptOne(w, r, in)
}

// readIntent reads AXP's body of one intent. Without a payload the body is
// read as published senders write it: camel-case names, and every field we do
// not know is the payload's.
func (a *API) readIntent(body *object, header http.Header) *asked {
	fold := !body.has("payload")
	name := func(n string) string {
		if !fold || body.has(n) { // first: to make up the other name allocates, for each of some thirty members
			return n
		}
		if c := camel(n); body.has(c) {
			return c
		}
		return n
	}
	in := &asked{path: createPath, payload: body.object("payload"), at: "/payload"}
	if !fold && in.payload == nil {
		if _, given := body.take("payload"); !given {
			body.fault("payload", codeSchemaInvalid, "must be a JSON object")
		}
	}
	in.intentType = body.required(name("intent_type"), maxType)
	if in.intentType != "" && !validType(in.intentType) {
		body.fault(name("intent_type"), codeSchemaInvalid, typeForm)
	}
	in.to = body.address(name("to_agent"), true)
	in.named = body.address(name("from_agent"), false)
	if in.from = in.named; in.from == "" {
		in.from = a.opt.DefaultAgent
	}
	in.correlation = body.label(name("correlation_id"), maxCorrelation)
	if text := body.text("idempotency_key", 2*maxKey+2); text != "" {
		key, why := parseKey(text)
		if why != "" {
			body.fault("idempotency_key", codeSchemaInvalid, "%s", why)
		}
		in.key = key
	}
	in.task = takeTask(body, name("human_task"))
	in.reminders = takeReminders(body, name, in.task != nil)
	in.options = readOptions(body, name, header, body.faults)
	if in.task != nil {
		in.options.refuseForTask(body.faults)
	}
	in.correlate(body.faults)
	if fold {
		in.payload, in.at = foldRest(body), ""
		return in
	}
	for _, o := range optionTable {
		if !o.top && o.name != correlationOption && body.has(o.name) {
			body.fault(o.name, codeSchemaInvalid, inDeliveryOnly)
		}
	}
	return in
}

// correlate settles the correlation id: given as a field or as an option, or made up.
func (in *asked) correlate(faults *[]fault) {
	switch as := in.options.correlation; {
	case in.correlation == "":
		in.correlation = as
	case as != "" && as != in.correlation:
		*faults = append(*faults, fault{in.options.pointer(correlationOption), "differs from the intent's correlation id", codeInvalidRequest})
	}
	if in.correlation == "" {
		in.correlation = uuid.NewString()
	}
}

// foldRest makes a payload of the members nobody has taken.
func foldRest(body *object) jsontext.Value {
	d := &doc{}
	d.open('{')
	for _, m := range body.rest() {
		d.raw(m.name, m.value)
	}
	return d.close('}').b
}

// address takes a member that must be an agent's address, in canonical form.
func (o *object) address(name string, required bool) string {
	take := o.text
	if required {
		take = o.required
	}
	text := take(name, maxAddress+len("agent://"))
	if text == "" {
		return ""
	}
	canonical, why := readAddress(text)
	if why != "" {
		o.fault(name, codeInvalidAddress, "%s", why)
	}
	return canonical
}

const typeForm = "must be lower-case words of letters, digits and _, joined by dots"

// validType reports whether s is ^[a-z0-9_]+(\.[a-z0-9_]+)*$, at most maxType long.
func validType(s string) bool {
	if len(s) > maxType {
		return false
	}
	for word := range strings.SplitSeq(s, ".") {
		if word == "" || strings.Trim(word, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return false
		}
	}
	return true
}

// camel turns to_agent into toAgent.
func camel(name string) string {
	var b strings.Builder
	for i, word := range strings.Split(name, "_") {
		if i > 0 && word != "" {
			word = strings.ToUpper(word[:1]) + word[1:]
		}
		b.WriteString(word)
	}
	return b.String()
}
