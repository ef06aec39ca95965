package api

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"

	"pannier/journal"
	"pannier/journal/wire"
	"pannier/proxy/trace"
)

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
	for _, g := range in.options.gates {
		if err := a.opt.MaySend(in.from, g.to, journal.GateType); err != nil {
			return journal.Accept{}, refuse(codePolicyDenied, "gates: %s: %s", g.to, err)
		}
	}
	if err := checkGated(in); err != nil {
		return journal.Accept{}, err
	}
	traceparent, tracestate := validTrace(in.traceparent), in.tracestate
	if traceparent == "" {
		traceparent, tracestate = validTrace(r.Header.Get("Traceparent")), strings.Join(r.Header["Tracestate"], ",")
	}
	e := &wire.Envelope{
		IntentType: in.intentType, FromAgent: in.from, ToAgent: in.to, CorrelationId: in.correlation,
		Payload: in.payload, Traceparent: traceparent, Tracestate: validState(traceparent, tracestate), IdempotencyKey: in.key,
		ClientTraceId: clientTraceID(r),
	}
	if in.task != nil {
		e.HumanTask, e.Reminders = in.task.raw, in.reminders
	}
	acc := journal.Accept{Envelope: e, Asked: in.task.asked()}
	in.options.apply(&acc, e, now)
	acc.Plan = planOf(in)
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
	d.close('}')
	if in.task != nil {
		d.raw("human_task", in.task.raw)
	}
	if r := in.reminders; r != nil {
		d.key("reminders").open('{').num("after", r.AfterMs).num("interval", r.IntervalMs).num("most", int64(r.Most)).opt("to", r.EscalateTo).close('}')
	}
	return d.close('}').b
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
	a.freeBody(w) // what comes may wait for others
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
