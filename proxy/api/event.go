package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
	"pannier/journal/wire/peer"
)

// page is a part of an intent's event log.
type page struct {
	events  []*wire.Event
	first   uint32         // number of events[0]; the next one's where there are none
	outcome *wire.Outcome  // where the last of them is the end
	about   *wire.Envelope // where one of them says that a person is asked
	remote  bool           // home has the log, not we: nothing here wakes its readers
}

// next is the number the event after this page will have.
func (p *page) next() uint32 { return p.first + uint32(len(p.events)) }

// ends reports whether the page has the end of the log.
func (p *page) ends() bool {
	n := len(p.events)
	return n > 0 && state.Status(p.events[n-1].Status).Terminal()
}

// asks reports whether an event of the page is about a person's task.
func (p *page) asks() bool { return slices.ContainsFunc(p.events, isOfTask) }

func isOfTask(ev *wire.Event) bool {
	switch state.EventType(ev.Type) {
	case state.EventHumanTaskAssigned, state.EventReminder, state.EventEscalated:
		return true
	}
	return false
}

// events serves GET /v1/intents/{id}/events.
func (a *API) events(w http.ResponseWriter, r *http.Request) error {
	id, err := a.seenID(r)
	if err != nil {
		return err
	}
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	since := q.since(r)
	if err := q.err(); err != nil {
		return err
	}
	if err := a.takeAnswerOf(w, r, id); err != nil {
		return err
	}
	p, err := a.readLog(r.Context(), id, since)
	if err != nil {
		return err
	}
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("events").open('[')
	for i, ev := range p.events {
		d.item()
		writeEvent(d, id, p.first+uint32(i), ev, p)
	}
	return answer(w, d.close(']').close('}'))
}

// readLog reads the events after since: from our journal, or from home where
// we only hold the intent and it is open. A since beyond the last event counts
// as the last.
func (a *API) readLog(ctx context.Context, id journal.ID, since uint32) (*page, error) {
	events, first, err := a.journal.Events(id, since)
	if err == nil {
		p := &page{events: events, first: first}
		if p.ends() || p.asks() {
			err = a.addRest(p, id)
		}
		return p, err
	}
	if !errors.Is(err, journal.ErrNotFound) {
		return nil, err
	}
	i, err := a.journal.Get(id)
	if err != nil {
		return nil, err
	}
	if i.Head != nil || i.Handover == nil {
		return nil, journal.ErrNotFound // its events have left the history
	}
	return a.askLog(ctx, i, since)
}

// addRest adds what is in other records. It is read after the events: where they have
// the end, the outcome is there.
func (a *API) addRest(p *page, id journal.ID) error {
	i, err := a.journal.Get(id)
	if err != nil {
		return err
	}
	p.about = i.Envelope
	if p.ends() {
		p.outcome = a.said(i)
	}
	return nil
}

// askLog reads the log through from home.
func (a *API) askLog(ctx context.Context, i *journal.Intent, since uint32) (*page, error) {
	ans, err := a.ask(ctx, i, &peer.Ask{What: peer.Ask_EVENTS, Id: i.ID[:], Since: since})
	if err != nil {
		return nil, err
	}
	if ans.Error != "" {
		return nil, journal.ErrNotFound
	}
	first := since + 1
	if ans.FirstSeq > 0 { // what was asked for may be beyond the last
		first = min(first, ans.FirstSeq)
	}
	return &page{events: ans.Events, first: first, outcome: ans.Outcome, about: i.Envelope, remote: true}, nil
}

var errHomeUnreachable = refuse(codeHomeUnreachable, "the sidecar that accepted this intent decides this, and cannot be reached just now")

func eventName(ev *wire.Event) string { return state.EventType(ev.Type).String() }

// writeEvent writes an event of an intent's log, with what its page knows beside it.
func writeEvent(d *doc, id journal.ID, seq uint32, ev *wire.Event, p *page) {
	status := state.Status(ev.Status)
	actor := ev.Actor
	if actor == "" {
		actor = "pannier"
	}
	d.open('{').str("intent_id", id.String()).num("seq", int64(seq))
	d.str("event_type", eventName(ev)).str("status", status.String())
	d.time("at", time.UnixMilli(ev.AtMs)).str("actor", clip(actor, 250)).null("handler")
	if status == state.Waiting {
		d.str("waiting_reason", waitingReason(state.Reason(ev.Reason)))
	} else {
		d.null("waiting_reason")
	}
	d.key("details").open('{')
	writeDetails(d, ev, p.outcome)
	if e := p.about; e != nil && isOfTask(ev) {
		writeAsked(d, e, state.EventType(ev.Type))
	} else if len(e.GetHumanTask()) > 0 && journal.DecidedBy(ev) {
		d.str("decided_by", clip(ev.Actor, 250)).ms("decided_at", ev.AtMs)
	}
	d.close('}').close('}')
}

func writeDetails(d *doc, ev *wire.Event, out *wire.Outcome) {
	status := state.Status(ev.Status)
	if status.Terminal() {
		writeOutcome(d, status, out)
		d.opt("ended_by", state.Reason(ev.Reason).String())
	} else {
		d.opt("reason", state.Reason(ev.Reason).String())
		d.opt("message", ev.Text)
	}
	if ev.Attempt > 0 {
		d.num("delivery_attempt", int64(ev.Attempt))
	}
	if ev.OfferNo > 0 {
		d.num("offer_no", int64(ev.OfferNo))
	}
	d.opt("holder", idText(ev.Peer)).ms("holder_at", ev.HolderAtMs).ms("next_try_at", ev.NextDueMs)
	if c := state.EventType(ev.Type).Begins(); c != state.NoCause && ev.NextDueMs != 0 {
		d.str("delay", c.String())
	}
	writeWaited(d, ev.Waited)
	writeGate(d, ev)
	writeStep(d, ev)
	d.ms("offered_at", ev.OfferedMs).ms("held_at", ev.HeldMs).ms("handed_at", ev.HandedMs).opt("traceparent", ev.Traceparent)
}

// writeWaited shows a delay that was over when a holder was offered the intent. A cause
// that another version has written is no reason to show none of the times.
func writeWaited(d *doc, w *wire.Wait) {
	if w == nil {
		return
	}
	d.key("delayed").open('{').str("code", state.Cause(min(w.Cause, 255)).String()).ms("from", w.FromMs).ms("until", w.UntilMs).close('}')
}
