package api

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

const (
	minSource = 2
	maxSource = 100
	// maxNotice is the size of the largest payload of an event: each subscriber's
	// delivery has it whole, and all of them are one commit.
	maxNotice = 128 << 10
)

// publish serves POST /v1/webhooks/events. Each subscriber's delivery is an intent
// of this sidecar's own, with everything an intent has: attempts, a door, a dead
// letter. The answer waits for none of them.
func (a *API) publish(w http.ResponseWriter, r *http.Request) error {
	raw, key, err := a.readKeyed(w, r)
	if err != nil {
		return err
	}
	owner, err := ownerMeant(r)
	if err != nil {
		return err
	}
	if owner == "" {
		owner = a.opt.DefaultAgent
	}
	var faults []fault
	body, err := parseBody(raw, &faults)
	if err != nil {
		return err
	}
	n := readNotice(body, owner)
	if err := faultsOf(faults); err != nil {
		return err
	}
	id := journal.NewID()
	id, n, replayed, err := a.journal.Publish(r.Context(), id, n, a.deliveries(id, n, time.Now()), key)
	if err != nil {
		return err
	}
	markReplayed(w, replayed)
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).ms("accepted_at", n.AcceptedMs).str("event_type", n.EventType).str("source", n.Source)
	d.str("owner_agent", n.Owner).str("event_id", id.String())
	if err := a.writeCounters(d, n); err != nil {
		return err
	}
	return answer(w, d.close('}'))
}

func readNotice(body *object, owner string) *wire.Notice {
	n := &wire.Notice{
		EventType: body.required("event_type", maxType), Source: body.required("source", maxSource),
		Owner: owner, Payload: body.object("payload"),
	}
	body.oneOf("event_type", n.EventType, eventTypes)
	if n.Source != "" && len(n.Source) < minSource {
		body.fault("source", codeSchemaInvalid, "needs %d characters", minSource)
	}
	switch {
	case n.Payload == nil:
		if _, given := body.take("payload"); !given {
			body.fault("payload", codeSchemaInvalid, "is required")
		}
	case len(n.Payload) > maxNotice:
		body.fault("payload", codePayloadTooLarge, "has %d bytes; the limit is %d", len(n.Payload), maxNotice)
	}
	return n
}

// replay serves POST /v1/webhooks/events/{id}/replay: the event goes once more to
// each subscriber in force for whom no delivery of it is under way.
func (a *API) replay(w http.ResponseWriter, r *http.Request) error {
	_, key, err := a.readKeyed(w, r)
	if err != nil {
		return err
	}
	id, err := journal.ParseID(r.PathValue("id"))
	if err != nil {
		return refuse(codeEventNotFound, "%q is no event: an id is a UUID", clip(r.PathValue("id"), 64))
	}
	n, err := a.journal.Notice(id)
	if err == nil && !callerOf(r).May(n.Owner) {
		err = journal.ErrNotFound // whether there is one is nobody else's business
	}
	if err == nil {
		var replayed bool
		n, replayed, err = a.journal.Republish(r.Context(), id, a.again(id, n), key)
		markReplayed(w, replayed)
	}
	if errors.Is(err, journal.ErrNotFound) {
		return refuse(codeEventNotFound, "no event %s at this sidecar", id)
	}
	if err != nil {
		return err
	}
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).str("event_id", id.String()).str("owner_agent", n.Owner).str("event_type", n.EventType)
	if err := a.writeCounters(d, n); err != nil {
		return err
	}
	return answer(w, d.time("replayed_at", time.Now()).close('}'))
}

// again are the deliveries of a replay.
func (a *API) again(id journal.ID, n *wire.Notice) []journal.Accept {
	under := map[string]bool{} // addresses to which it is on its way
	for _, one := range n.Deliveries {
		if i, err := a.journal.Get(journal.ID(one)); err == nil && i.Status().Open() && i.Envelope != nil {
			under[i.Envelope.ToAgent] = true
		}
	}
	return slices.DeleteFunc(a.deliveries(id, n, time.Now()), func(d journal.Accept) bool { return under[d.Envelope.ToAgent] })
}

// deliveries makes one intent for each subscription in force that the event is
// for. One that is revoked between this and the commit gets its delivery too; it
// waits there, and ends by its own limit of time.
func (a *API) deliveries(id journal.ID, n *wire.Notice, now time.Time) (out []journal.Accept) {
	body := journal.NoticeBody(id, n, now)
	for _, s := range a.journal.Subscriptions() {
		if journal.Subscribes(s, n) {
			out = append(out, journal.Delivery(id, n, s, body))
		}
	}
	return out
}

// writeCounters counts what became of the deliveries of an event, replays too.
func (a *API) writeCounters(d *doc, n *wire.Notice) error {
	var delivered, dead, pending int64
	for _, one := range n.Deliveries {
		i, err := a.journal.Get(journal.ID(one))
		if errors.Is(err, journal.ErrNotFound) {
			dead++ // and purged since
			continue
		}
		if err != nil {
			return err
		}
		switch status := i.Status(); {
		case status == state.Completed:
			delivered++
		case status.Terminal():
			dead++
		default:
			pending++
		}
	}
	d.num("queued_deliveries", int64(len(n.Deliveries))).num("processed_deliveries", delivered+dead)
	d.num("delivered", delivered).num("pending", pending).num("dead_lettered", dead)
	return nil
}
