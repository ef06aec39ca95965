package api

import (
	"errors"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"pannier/journal"
	"pannier/journal/state"
)

// AXP's deliveries are another face of intents, for tools that look for dead
// letters there. What such a tool calls organization and workspace are segments of
// the address here: their UUIDs are derived from the text, so that they can be
// filtered by, and mean nothing else. The principal is the address itself.

const (
	defaultDeliveries = 200
	maxDeliveries     = 1000
	// deliveryScans bounds how many pages of the journal one list reads.
	deliveryScans = 1000
	deadPage      = 4 // are read at once, however large they are
)

// Statuses of a delivery.
const (
	deliverySubmitted = "submitted"
	deliveryDelivered = "delivered"
	deliveryFailed    = "failed"
	deliveryPending   = "pending"
	deliveryDead      = "dead_lettered"
)

func deliveryStatus(i *journal.Intent) string {
	if i.DeadReason() != state.NoReason {
		return deliveryDead
	}
	switch i.Status() {
	case state.Created, state.Submitted:
		return deliverySubmitted
	case state.Waiting:
		return deliveryPending
	case state.Failed, state.TimedOut, state.Canceled:
		return deliveryFailed
	}
	return deliveryDelivered
}

// ownerIDs are those of the first two segments of an address, where it has three.
func ownerIDs(address string) (org, workspace string) {
	segments := strings.Split(strings.TrimPrefix(address, "agent://"), "/")
	if len(segments) < 3 {
		segments = []string{"", ""}
	}
	space := func(text string) string { return uuid.NewSHA1(uuid.NameSpaceURL, []byte("agent://"+text)).String() }
	return space(segments[0]), space(segments[0] + "/" + segments[1])
}

func (a *API) writeDelivery(d *doc, i *journal.Intent) {
	to, peer, updated := "", "", int64(0)
	if i.Head != nil {
		to, peer, updated = a.journal.AgentName(journal.Agent(i.Head.Dest)), idText(i.Head.Holder), i.Head.UpdatedMs
	} else {
		to, peer = a.journal.AgentName(journal.Agent(i.Handover.Agent)), a.journal.Identity().Journal.String()
		updated = max(i.Handover.HeldMs, i.Handover.LeasedAtMs, i.Handover.EndedMs)
	}
	if peer == "" {
		peer = "none"
	}
	e := i.Envelope
	org, workspace := ownerIDs(to)
	d.open('{').str("delivery_id", i.ID.String())
	orNull(d, "replay_of_delivery_id", idText(e.GetRedriveOf()), 3)
	d.str("org_id", org).str("workspace_id", workspace).str("principal_id", principal(to)).null("alias")
	// How the receiver gets it is for the receiver to know: here it waits in a queue.
	d.str("transport_type", "queue").str("route_id", peer).str("status", deliveryStatus(i))
	orNull(d, "correlation_id", e.GetCorrelationId(), 3)
	orNull(d, "idempotency_key", e.GetIdempotencyKey(), 4)
	payload := []byte("{}") // a body that has left the history
	if e != nil {
		payload = e.Payload
	}
	d.raw("payload", payload)
	orNull(d, "error_detail", errorDetail(i), 1)
	d.time("created_at", i.ID.Time()).ms("updated_at", max(updated, i.ID.Time().UnixMilli())).close('}')
}

// orNull writes a text, or null where it is shorter than AXP lets it be.
func orNull(d *doc, name, text string, least int) {
	if len(text) < least {
		d.null(name)
		return
	}
	d.str(name, text)
}

// principal is an address of at least three characters.
func principal(address string) string {
	if len(address) < 3 {
		return "agent://" + address
	}
	return address
}

func errorDetail(i *journal.Intent) string {
	why := ""
	if dead := i.DeadReason(); dead != state.NoReason {
		why = dead.String()
	}
	text := ""
	if i.Head == nil {
		text = i.Handover.LastError
	} else if i.Status().Terminal() && i.Outcome != nil {
		text = i.Outcome.Text
	}
	if why != "" && text != "" {
		return why + ": " + text
	}
	return why + text
}

// deliveryQuery is what a list of deliveries is filtered by.
type deliveryQuery struct {
	org, workspace, principal, status string
	limit                             int
}

func (q *deliveryQuery) matches(i *journal.Intent, to string) bool {
	org, workspace := ownerIDs(to)
	return (q.org == "" || q.org == org) && (q.workspace == "" || q.workspace == workspace) &&
		(q.status == "" || q.status == deliveryStatus(i))
}

// listDeliveries serves GET /v1/deliveries: intents homed or held here, newest
// first, and dead letters the last to have ended first.
func (a *API) listDeliveries(w http.ResponseWriter, r *http.Request) error {
	q, err := readDeliveryQuery(r)
	if err != nil {
		return err
	}
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("deliveries").open('[')
	next := a.intentPages(q)
	if q.status == deliveryDead {
		next = a.deadPages(q)
	}
	left := q.limit
	for range deliveryScans {
		page, more, err := next(min(left, listPage))
		if err != nil {
			return err
		}
		for _, i := range page {
			if q.matches(i, a.addressee(i)) && a.maySee(callerOf(r), i) {
				a.writeDelivery(d.item(), i)
				left--
			}
		}
		if err := a.takeList(w, r, d); err != nil {
			return err
		}
		if !more || left == 0 || len(d.b) >= listBytes || r.Context().Err() != nil {
			break
		}
	}
	return answer(w, d.close(']').close('}'))
}

func (a *API) addressee(i *journal.Intent) string {
	if i.Head != nil {
		return a.journal.AgentName(journal.Agent(i.Head.Dest))
	}
	return a.journal.AgentName(journal.Agent(i.Handover.Agent))
}

// pages returns up to n more intents, and whether there may be more still.
type pages func(n int) (page []*journal.Intent, more bool, err error)

func (a *API) intentPages(q *deliveryQuery) pages {
	f := journal.Filter{To: q.principal, Bytes: listPageBytes}
	return func(n int) ([]*journal.Intent, bool, error) {
		f.Limit = n
		page, next, err := a.journal.List(f)
		f.Before = next
		return page, !next.IsZero(), err
	}
}

func (a *API) deadPages(q *deliveryQuery) pages {
	f := journal.DeadFilter{To: q.principal}
	return func(n int) (page []*journal.Intent, more bool, err error) {
		f.Limit = min(n, deadPage)
		list, next, err := a.journal.DeadLetters(f)
		for _, x := range list {
			page = append(page, x.Intent)
		}
		f.After = next
		return page, !next.IsZero(), err
	}
}

func readDeliveryQuery(r *http.Request) (*deliveryQuery, error) {
	q, err := parseQuery(r)
	if err != nil {
		return nil, err
	}
	out := &deliveryQuery{
		org: q.text("org_id"), workspace: q.text("workspace_id"), status: q.text("status"),
		limit: int(q.integer("limit", defaultDeliveries, 1, maxDeliveries)),
	}
	for _, name := range []string{"org_id", "workspace_id"} {
		if text := q.text(name); text != "" {
			if _, err := journal.ParseID(text); err != nil {
				q.fault(name, codeSchemaInvalid, "must be a UUID, as a delivery shows it")
			}
		}
	}
	switch out.status {
	case "", deliverySubmitted, deliveryDelivered, deliveryFailed, deliveryPending, deliveryDead:
	default:
		q.fault("status", codeSchemaInvalid, "must be submitted, delivered, failed, pending or dead_lettered")
	}
	if text := q.text("principal_id"); text != "" {
		var why string
		if out.principal, why = readAddress(text); why != "" {
			q.fault("principal_id", codeInvalidAddress, "%s", why)
		}
	}
	return out, q.err()
}

func (a *API) getDelivery(w http.ResponseWriter, r *http.Request) error {
	id, err := a.seenID(r)
	if err != nil {
		return err
	}
	if err := a.takeAnswerOf(w, r, id); err != nil {
		return err
	}
	i, err := a.journal.Get(id)
	if err != nil {
		return err
	}
	return a.answerDelivery(w, i)
}

func (a *API) answerDelivery(w http.ResponseWriter, i *journal.Intent) error {
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("delivery")
	a.writeDelivery(d, i)
	return answer(w, d.close('}'))
}

// replayDelivery serves POST /v1/deliveries/{id}/replay: a dead letter gets its
// successor, at whichever sidecar it is homed.
func (a *API) replayDelivery(w http.ResponseWriter, r *http.Request) error {
	id, err := a.seenID(r)
	if err != nil {
		return err
	}
	if a.isDraining() {
		return errDraining
	}
	ask := journal.Redrive{ID: id, Actor: owner(r)}
	key, err := headerKey(r.Header)
	if err == nil && key != "" {
		ask.Key, err = scopedKey(callerOf(r).identity(), r.Method+" "+r.URL.Path, key, []byte("{}"))
	}
	if err != nil {
		return err
	}
	got, err := a.opt.Redrive(r.Context(), ask)
	if err != nil {
		return err
	}
	markReplayed(w, got.Replayed)
	i, err := a.successor(id, got)
	if err != nil {
		return err
	}
	return a.answerDelivery(w, i)
}

// successor is the intent a redrive has made. Where its home is another sidecar
// it may not be here yet: it is then what the original was, submitted.
func (a *API) successor(of journal.ID, got journal.Redriven) (*journal.Intent, error) {
	i, err := a.journal.Get(got.ID)
	if !errors.Is(err, journal.ErrNotFound) {
		return i, err
	}
	if i, err = a.journal.Get(of); err != nil {
		return nil, err
	}
	return submitted(i, of, got), nil
}

// submitted is a copy of an intent as its successor will be.
func submitted(was *journal.Intent, of journal.ID, got journal.Redriven) *journal.Intent {
	i := &journal.Intent{ID: got.ID, Envelope: was.Envelope}
	if i.Envelope != nil {
		i.Envelope.RedriveOf = of[:]
	}
	i.Handover = was.Handover
	i.Handover.HomeStatus, i.Handover.DeadReason, i.Handover.LastError = uint32(state.Submitted), 0, ""
	i.Handover.HeldMs, i.Handover.LeasedAtMs, i.Handover.EndedMs = got.CreatedAt.UnixMilli(), 0, 0
	return i
}

// noDelivery answers AXP's own way to send through a route.
func (a *API) noDelivery(_ http.ResponseWriter, r *http.Request) error {
	return refuse(codeRouteNotFound, "%s %s is not served by this sidecar: intents are sent with POST /v1/intents, and delivered unasked", r.Method, r.URL.Path)
}
