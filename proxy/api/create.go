package api

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
	oteltrace "go.opentelemetry.io/otel/trace"

	"pannier/journal"
	"pannier/journal/wire"
	"pannier/proxy/trace"
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
	for _, f := range laterFields {
		if _, given := body.take(name(f)); given {
			body.fault(name(f), codeNotAvailable, notAvailable)
		}
	}
	in.options = readOptions(body, name, header, body.faults)
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

// acceptable is accept for a payload that fits its schema. Under a key the journal
// decides whether one that does not is refused: it may have fitted the first time.
func (a *API) acceptable(r *http.Request, in *asked, now time.Time) (journal.Accept, error) {
	misfit := a.checkPayload(in)
	if misfit != nil && in.key == "" {
		return journal.Accept{}, misfit
	}
	acc, err := a.accept(r, in, now)
	acc.Refusal = misfit
	return acc, err
}

// accept is what the journal is asked for.
func (a *API) accept(r *http.Request, in *asked, now time.Time) (journal.Accept, error) {
	if c := callerOf(r); c != nil {
		var err error
		if in.named == "" && c.May(in.source) {
			in.named = in.source // else it is where the event is from, which need not be an agent
		}
		if in.from, err = c.sender(in.named); err != nil {
			return journal.Accept{}, err
		}
	}
	if err := a.opt.MaySend(in.from, in.to, in.intentType); err != nil {
		return journal.Accept{}, refuse(codePolicyDenied, "from_agent: %s", err)
	}
	traceparent, tracestate := validTrace(in.traceparent), in.tracestate
	if traceparent == "" {
		traceparent, tracestate = validTrace(r.Header.Get("Traceparent")), strings.Join(r.Header["Tracestate"], ",")
	}
	e := &wire.Envelope{
		IntentType: in.intentType, FromAgent: in.from, ToAgent: in.to, CorrelationId: in.correlation,
		Payload: in.payload, Traceparent: traceparent, Tracestate: validState(traceparent, tracestate), IdempotencyKey: in.key,
	}
	acc := journal.Accept{Envelope: e}
	in.options.apply(&acc, e, now)
	if in.key == "" {
		return acc, nil
	}
	var err error
	acc.Key, err = scopedKey(callerOf(r).identity(), in.path, in.key, in.fingerprinted())
	return acc, err
}

// fingerprinted is what makes two requests the same one: all that was asked
// for but the correlation id, which SDKs invent anew at each call.
func (in *asked) fingerprinted() []byte {
	d := &doc{b: make([]byte, 0, len(in.payload)+512)}
	d.open('{').str("intent_type", in.intentType).str("to_agent", in.to).str("from_agent", in.from)
	d.raw("payload", in.payload).key("options").open('{')
	for _, g := range in.options.given {
		if g.name != correlationOption {
			d.raw(g.name, g.value)
		}
	}
	return d.close('}').close('}').b
}

// acceptOne stores one intent and answers. Before the answer leaves, the
// intent is on disk: a crash before the commit is an error to the app, a crash
// after it is the same intent again under the same key.
func (a *API) acceptOne(w http.ResponseWriter, r *http.Request, in *asked) error {
	acc, err := a.acceptable(r, in, time.Now())
	if err != nil {
		return err
	}
	out, err := a.store(r.Context(), []journal.Accept{acc})
	if err != nil {
		return err
	}
	res := out[0]
	if res.Err != nil {
		return res.Err
	}
	h := w.Header()
	h.Set("Location", "/v1/intents/"+res.ID.String())
	markReplayed(w, res.Replayed)
	var waiting []journal.ID
	if in.options.receiver {
		waiting = []journal.ID{res.ID}
	}
	h.Set("Pannier-Durability", a.awaitHeld(r.Context(), waiting))
	d := newDoc()
	defer d.free()
	d.open('{')
	writeAccepted(d, res)
	if err := a.addOutcome(w, r, d, res.ID); err != nil {
		return err
	}
	return answer(w, d.close('}'))
}

// store has intents accepted, each with the context of its creation.
func (a *API) store(ctx context.Context, accepts []journal.Accept) ([]journal.Accepted, error) {
	created := make([]trace.Created, len(accepts))
	for i := range accepts {
		created[i] = a.opt.Tracer.Create(ctx, accepts[i].Envelope)
	}
	out, err := a.journal.Accept(ctx, accepts)
	for i := range created {
		var res journal.Accepted
		if err == nil {
			res = out[i]
		}
		created[i].End(res, spanCode(cmp.Or(err, res.Err)))
	}
	return out, err
}

// spanCode is the code of an error as a span names it; empty: there is none.
func spanCode(err error) string {
	if err == nil {
		return ""
	}
	return string(problemOf(err).code)
}

// writeAccepted writes the members of an answer to create.
func writeAccepted(d *doc, res journal.Accepted) {
	d.boolean("ok", true).str("intent_id", res.ID.String()).str("status", res.Status.String()).time("created_at", res.CreatedAt)
}

// validTrace is a trace context as it came, or nothing where it is malformed.
func validTrace(t string) string {
	if len(t) != 55 || t[2] != '-' || t[35] != '-' || t[52] != '-' || !strings.HasPrefix(t, "00") {
		return ""
	}
	if strings.Trim(t, "0123456789abcdef-") != "" || strings.Count(t, "-") != 3 {
		return ""
	}
	return t
}

// maxState is what of a tracestate must be passed on, at least.
const maxState = 512

// validState is the state of a trace as it came, or nothing where it is malformed, or
// there is no trace.
func validState(traceparent, s string) string {
	if traceparent == "" || len(s) > maxState {
		return ""
	}
	state, err := oteltrace.ParseTraceState(s)
	if err != nil {
		return ""
	}
	return state.String()
}

const (
	maxHeldWait = 5 * time.Second
	maxPrefer   = 60 * time.Second
)

// awaitHeld waits until all of the intents are in the journal of another
// sidecar, and returns the durability reached: "local" where there are none.
// An intent that home hands over itself is in one journal and stays "local".
func (a *API) awaitHeld(ctx context.Context, ids []journal.ID) string {
	if len(ids) == 0 {
		return "local"
	}
	ctx, cancel := context.WithTimeout(ctx, maxHeldWait)
	defer cancel()
	reached := "receiver"
	for _, id := range ids {
		err := a.await(ctx, id, func(i *journal.Intent) bool { return i.Head == nil || place(i) != journal.PlaceDue })
		i, getErr := a.journal.Get(id)
		if err != nil || getErr != nil || i.Head == nil || len(i.Head.Holder) == 0 || journal.ID(i.Head.Holder) == a.journal.Identity().Journal {
			reached = "local" // either way it is accepted, and what is known here decides
		}
	}
	return reached
}

func place(i *journal.Intent) journal.Place { return journal.Place(i.Head.Place) }

// await returns when enough says so, or with the error of ctx or of the
// journal, or when the API drains.
func (a *API) await(ctx context.Context, id journal.ID, enough func(*journal.Intent) bool) error {
	wake, stop := a.journal.Watch(id) // first watch, then read: no change is missed
	defer stop()
	for {
		i, err := a.journal.Get(id)
		if err != nil || enough(i) {
			return err
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		case <-a.drain:
			return errDraining
		}
	}
}

// awaitEnd returns when the intent has ended, or else with why the wait is over.
// One that the key of the request is no longer good for is refused like a new
// request.
func (a *API) awaitEnd(r *http.Request, id journal.ID, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	ctx, forbid := a.whileAllowed(ctx, r, func(c *Caller) bool { return a.see(withCaller(r, c), id) == nil })
	defer forbid()
	err := a.await(ctx, id, func(i *journal.Intent) bool { return i.Status().Terminal() })
	r, refused := a.authenticate(r)
	if refused != nil {
		return refused
	}
	return cmp.Or(a.see(r, id), err)
}

// addOutcome adds the intent to the answer where the caller prefers to wait
// for its end and it came in time.
func (a *API) addOutcome(w http.ResponseWriter, r *http.Request, d *doc, id journal.ID) error {
	wait, ok := preferWait(r, maxPrefer)
	if !ok {
		return nil
	}
	w.Header().Set("Preference-Applied", "wait="+seconds(wait))
	if err := a.awaitEnd(r, id, wait); err != nil {
		return nil // not in time: the intent is accepted, and that is the answer
	}
	i, err := a.journal.Get(id)
	if err != nil {
		return nil
	}
	d.key("intent")
	a.writeIntent(d, i, whole)
	return nil
}
