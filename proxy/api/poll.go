package api

import (
	"bytes"
	"math"
	"net/http"
	"strconv"
	"time"

	"pannier/inbound"
	"pannier/journal"
)

const (
	defaultPoll = 64
	maxPoll     = 1000
	maxPollWait = 60
	maxLease    = 3600
)

// poll serves GET /v1/agents/{agent}/intents. What it returns is leased to the
// caller, who acks, nacks or extends; nothing is lost if the answer does not
// arrive: the lease ends.
func (a *API) poll(w http.ResponseWriter, r *http.Request, agent, _ string) error {
	if err := callerOf(r).mayReceive(agent); err != nil {
		return err
	}
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	p := inbound.PullRequest{
		Agent: agent,
		Limit: int(q.integer("limit", defaultPoll, 1, maxPoll)),
		Lease: q.seconds("lease_seconds", 0, 1, maxLease),
		Wait:  q.seconds("wait_seconds", 0, 0, maxPollWait),
	}
	if err := q.err(); err != nil {
		return err
	}
	if wait, ok := preferWait(r, maxPollWait*time.Second); ok && q.text("wait_seconds") == "" {
		p.Wait = wait
		w.Header().Set("Preference-Applied", "wait="+seconds(wait))
	}
	ctx, cancel := a.whileAllowed(r.Context(), r, func(c *Caller) bool { return c.May(agent) })
	defer cancel()
	span := a.opt.Tracer.Receive(r.Context(), agent)
	p.Trace = span.Traceparent()
	got, err := a.pull(ctx, w, r, p)
	if err != nil {
		return err
	}
	span.End(got)
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("intents").open('[')
	for i := range got {
		d.item()
		d.open('{')
		writeItem(d, &got[i], math.MaxInt)
		d.close('}')
	}
	return answer(w, d.close(']').null("next_cursor").close('}'))
}

// writeItem writes the members of a hand-over: what a poll returns, and what
// stream and http send. The payload's bytes are the sender's; one that is larger
// than most is left out.
func writeItem(d *doc, h *journal.Handed, most int) {
	e := h.Envelope
	d.str("intent_id", h.ID.String())
	if h.Seq > 0 {
		d.num("seq", int64(h.Seq))
	}
	d.str("intent_type", e.IntentType)
	d.str("from_agent", e.FromAgent).str("to_agent", e.ToAgent).str("correlation_id", e.CorrelationId)
	if len(e.Payload) <= most {
		d.raw("payload", e.Payload)
	}
	d.str("status", h.Status.String())
	d.num("delivery_attempt", int64(h.Attempt)).boolean("redelivered", h.Redelivered)
	d.str("idempotency_key", firstID(h)).opt("traceparent", h.Traceparent)
	if !h.Lease.IsZero() { // what is pushed has no lease
		d.str("lease_id", h.Lease.String()).time("lease_until", h.Until)
	}
}

// PushBody is what an app that receives by http is sent: the members of a
// hand-over, but for its number in the log and its lease, which it has not.
func PushBody(h *journal.Handed) []byte {
	d := newDoc()
	defer d.free()
	d.open('{')
	writeItem(d, h, math.MaxInt)
	return bytes.Clone(d.close('}').b)
}

// firstID is what the app may dedupe by: the id of the intent, or of the one
// it repeats.
func firstID(h *journal.Handed) string {
	if first := idText(h.Envelope.FirstId); first != "" {
		return first
	}
	return h.ID.String()
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }
