package journal

import (
	"cmp"
	"slices"
	"time"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// Trace is what the journal keeps of the traces a hand-over belongs to, so that one
// can be followed over crashes and retries: traceparents as W3C Trace Context writes
// them. It reads nothing in them; each is empty where nothing is traced.
type Trace struct {
	Offer    string // of the offer it came with; empty also where home is here
	Foreign  bool   // that is of a peer of another trust domain: linked to, not gone on with
	Previous string // of the attempt before, wherever that was
	Own      string // of this hand-over
	Held     time.Time
}

// HandedOver tells of a hand-over on a stream whose span is over. One that was
// polled or pushed is the affair of whoever did that.
type HandedOver struct {
	ID         ID
	Agent      string
	Attempt    uint32
	Trace      Trace
	Began, End time.Time
	Move       state.Move
}

// traceOf is what the next hand-over is told of those before it.
func traceOf(rec *wire.Handover) Trace {
	return Trace{Offer: rec.OfferTraceparent, Foreign: rec.OfferForeign, Previous: cmp.Or(rec.Traceparent, rec.PreviousTraceparent), Held: at(rec.HeldMs)}
}

// traceparent is what an app is told: of the hand-over, where it has a span of its
// own, or else of the intent's creation.
func traceparent(own string, env *wire.Envelope) string { return cmp.Or(own, env.GetTraceparent()) }

// trace gives a lease its place in the traces. What is polled has it from the poll.
func (t *tx) trace(h *hand, handed *Handed, terms Terms) {
	handed.Trace = traceOf(&h.rec)
	own := terms.Trace
	if terms.Stream && t.j.trace != nil {
		own = t.j.trace(handed, t.now)
		handed.Traceparent = traceparent(own, handed.Envelope)
	} else {
		handed.Traceparent = traceparent("", handed.Envelope)
	}
	handed.Trace.Own = own
	h.attempted(own)
}

// attempted keeps the context of a hand-over for what comes after it. One that has none
// must not be taken for the one before.
func (h *hand) attempted(own string) {
	h.rec.PreviousTraceparent = cmp.Or(h.rec.Traceparent, h.rec.PreviousTraceparent)
	h.rec.Traceparent = own
}

// spanOver tells of a hand-over on a stream that the move ends.
func (t *tx) spanOver(h *hand, row state.HandoverRow, m state.Move) {
	f := t.j.hooks.HandedOver
	if f == nil || !h.rec.Streamed || len(h.rec.LeaseId) == 0 || h.rec.Traceparent == "" || row.To == state.Working || row.To == state.Parked {
		return
	}
	over := HandedOver{
		ID: h.id, Agent: t.j.AgentName(h.agent()), Attempt: h.rec.Handovers, Began: at(h.rec.LeasedAtMs), End: t.now, Move: m,
		Trace: Trace{Offer: h.rec.OfferTraceparent, Foreign: h.rec.OfferForeign, Previous: h.rec.PreviousTraceparent, Own: h.rec.Traceparent, Held: at(h.rec.HeldMs)},
	}
	t.after(func() { f(over) })
}

// timed adds to a report of an attempt when its parts were.
func (h *hand) timed(r *wire.Report) {
	if r.Attempt == 0 || h.rec.Thread {
		return
	}
	r.Traceparent, r.OfferedMs, r.HeldMs, r.Waited = h.rec.Traceparent, h.rec.OfferedMs, h.rec.HeldMs, h.rec.Waited
	if r.HandedMs = ms(h.began); h.began.IsZero() {
		r.HandedMs = h.rec.LeasedAtMs
	}
}

// timed takes over what a report says of the parts of its attempt.
func (l *life) timed(e *wire.Event, r *wire.Report) {
	e.Traceparent, e.OfferedMs, e.HeldMs, e.HandedMs = r.Traceparent, r.OfferedMs, r.HeldMs, r.HandedMs
	if r.Traceparent != "" {
		l.head.Traceparent = cut(r.Traceparent, maxTraceparent)
		e.Traceparent = l.head.Traceparent
	}
	told := func(before *wire.Event) bool { return before.Waited != nil && before.OfferNo == r.OfferNo }
	if r.Waited != nil && !slices.ContainsFunc(l.events.Events, told) {
		e.Waited = copied(r.Waited)
	}
}

// copied takes of what a peer has sent only what is known of it: the rest is as long as
// the peer likes.
func copied(w *wire.Wait) *wire.Wait {
	if w == nil {
		return nil
	}
	return &wire.Wait{Cause: w.Cause, FromMs: w.FromMs, UntilMs: w.UntilMs}
}

// maxTraceparent is what of a traceparent of a peer is kept: as long as version 00 is.
const maxTraceparent = 55
