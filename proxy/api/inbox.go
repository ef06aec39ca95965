package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"pannier/journal"
	"pannier/journal/wire"
)

const (
	// inboxBytes is how much one page of threads has about, whatever its limit.
	inboxBytes = 1 << 20
	// maxEntryActor is AXP's limit of who is named in a timeline, shorter than an address
	// may be.
	maxEntryActor = 120
)

// inbox serves GET /v1/inbox: threads of an owner, the one that was changed last first.
func (a *API) inbox(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	f, err := a.readInbox(r, q)
	if err != nil {
		return err
	}
	if text := q.text("status"); text != "" {
		if f.Status = journal.ParseThreadStatus(text); f.Status == 0 {
			q.fault("status", codeSchemaInvalid, "must be pending, active or done")
		}
	}
	before := readChange(q)
	if err := q.err(); err != nil {
		return err
	}
	page, next, err := a.journal.Threads(f, before)
	if err != nil {
		return err
	}
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("threads").open('[')
	for i, th := range page {
		if len(d.b) > inboxBytes {
			next = page[i-1].Change
			break
		}
		d.item()
		a.writeThread(d, th, ownerOf(callerOf(r), th, f.Owner), nil)
	}
	if next != 0 {
		w.Header().Set(nextCursor, changeText(next))
	}
	return answer(w, d.close(']').close('}'))
}

// inboxChanges serves GET /v1/inbox/changes: threads in the order in which they were
// changed, each once and as it is now.
func (a *API) inboxChanges(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	f, err := a.readInbox(r, q)
	if err != nil {
		return err
	}
	given := q.text("cursor")
	after := readChange(q)
	if err := q.err(); err != nil {
		return err
	}
	if after > a.journal.LastChange() {
		// The journal was put back to before that: what is repeated is seen twice, what
		// is left out never.
		after = 0
	}
	page, more, err := a.journal.ThreadChanges(f, after)
	if err != nil {
		return err
	}
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("changes").open('[')
	for i, th := range page {
		if len(d.b) > inboxBytes {
			page, more = page[:i], true
			break
		}
		d.item().open('{').str("cursor", changeText(th.Change)).key("thread")
		a.writeThread(d, th, ownerOf(callerOf(r), th, f.Owner), nil)
		d.close('}')
	}
	d.close(']')
	switch {
	case len(page) > 0:
		d.str("next_cursor", changeText(page[len(page)-1].Change))
	case given != "":
		d.str("next_cursor", given)
	default:
		d.null("next_cursor")
	}
	return answer(w, d.boolean("has_more", more).close('}'))
}

// readInbox reads whose inbox is asked for. It is kept from then on, and what is
// addressed to its owner is held here, as for whoever asks for intents.
func (a *API) readInbox(r *http.Request, q *query) (f journal.ThreadFilter, err error) {
	f.Limit = int(q.integer("limit", defaultList, 1, maxList))
	if f.Owner, err = inboxOwner(r); err != nil {
		return f, err
	}
	if c := callerOf(r); c != nil {
		f.Keep = func(th *journal.Thread) bool { return ownerOf(c, th, f.Owner) != "" }
	}
	if f.Owner == "" {
		return f, nil
	}
	return f, a.journal.KeepInbox(r.Context(), f.Owner)
}

func changeText(change uint64) string { return fmt.Sprintf("%016x", change) }

func readChange(q *query) uint64 {
	text := q.text("cursor")
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 16, 64)
	if err != nil || len(text) != 16 {
		q.fault("cursor", codeSchemaInvalid, "must be a cursor of an earlier page")
	}
	return n
}

// ownerOf is whose view of a thread a caller gets: the owner named, else the receiver's,
// else the first it may see; "": none.
func ownerOf(c *Caller, th *journal.Thread, named string) string {
	may := func(owner string) bool { return c.May(owner) }
	switch {
	case named != "":
		if !slices.Contains(th.Owners, named) {
			return ""
		}
		return named
	case slices.Contains(th.Owners, th.ToAgent) && may(th.ToAgent):
		return th.ToAgent
	}
	if i := slices.IndexFunc(th.Owners, may); i >= 0 {
		return th.Owners[i]
	}
	return ""
}

// inboxThread serves GET /v1/inbox/{id}.
func (a *API) inboxThread(w http.ResponseWriter, r *http.Request) error {
	th, owner, err := a.openThread(r)
	if err != nil {
		return err
	}
	i, err := a.intentOf(th)
	if err != nil {
		return err
	}
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("thread")
	a.writeThread(d, th, owner, i)
	return answer(w, d.close('}'))
}

// inboxOwner is ownerGiven for whoever calls its agent by the last segment of its address.
func inboxOwner(r *http.Request) (string, error) {
	named, err := ownerGiven(r)
	c := callerOf(r)
	if err != nil || named == "" || c.May(named) {
		return named, err
	}
	for _, granted := range c.Agents {
		if strings.HasSuffix(granted, "/"+named) {
			return granted, nil
		}
	}
	return named, nil
}

// openThread finds the thread a request names, in the inbox it names. That it is not
// there and that it is not the caller's is one answer.
func (a *API) openThread(r *http.Request) (*journal.Thread, string, error) {
	id, err := journal.ParseID(r.PathValue("id"))
	if err != nil {
		return nil, "", refuse(codeThreadNotFound, "%q is no thread: an id is a UUID", clip(r.PathValue("id"), 64))
	}
	named, err := inboxOwner(r)
	if err != nil {
		return nil, "", err
	}
	th, err := a.journal.Thread(id)
	if errors.Is(err, journal.ErrNoThread) || err == nil && named != "" && th.View(named) == nil {
		if named == "" && a.see(r, id) != nil {
			return nil, "", journal.ErrNoThread // none is made for whom it is none of their business
		}
		th, err = a.journal.OpenThread(r.Context(), id, named)
	}
	if err != nil {
		return nil, "", err
	}
	owner := ownerOf(callerOf(r), th, named)
	if owner == "" {
		return nil, "", journal.ErrNoThread
	}
	return th, owner, nil
}

// intentOf is the intent a thread is a view of; nil where only a word of it is here.
func (a *API) intentOf(th *journal.Thread) (*journal.Intent, error) {
	id, err := journal.IDOf(th.Intent)
	if err != nil || id != th.ID {
		return nil, nil //nolint:nilerr // a record of ours has an id
	}
	return a.journal.Get(id)
}

// writeThread writes a thread as its owner sees it, with what its intent asks and how it
// stands where that is given.
func (a *API) writeThread(d *doc, th *journal.Thread, owner string, i *journal.Intent) {
	d.open('{').str("thread_id", th.ID.String()).str("intent_id", th.ID.String())
	d.str("status", journal.ThreadStatus(th.Status).String()).str("owner_agent", owner)
	d.str("from_agent", th.FromAgent).str("to_agent", th.ToAgent).opt("intent_type", th.IntentType)
	d.ms("created_at", th.CreatedMs).ms("updated_at", th.UpdatedMs)
	no := uint32(0)
	if v := th.View(owner); v != nil {
		no = v.Owner
		d.ms("read_at", v.ReadMs)
	}
	if s := th.Decision; s != nil {
		d.key("decision").open('{').str("decision", s.Decision).str("decided_by", s.Actor).ms("decided_at", s.AtMs).opt("comment", s.Comment)
		if i != nil && i.Head == nil && isProvisional(th, i.Handover) {
			d.boolean("provisional", true)
		}
		d.close('}')
	}
	if i != nil {
		d.str("intent_status", i.Status().String())
		if t, err := taskOf(i.Envelope.GetHumanTask()); err == nil && t != nil {
			writeTask(d, t, i.Envelope.IntentType)
		}
	}
	d.key("timeline").open('[')
	for _, e := range th.Entries {
		if !slices.Contains(e.Hidden, no) || no == 0 {
			d.item()
			writeEntry(d, e)
		}
	}
	d.close(']').close('}')
}

// isProvisional reports whether home, which is elsewhere, has not said yet that the decision
// on a thread counts. The thread knows as of this very decision; the hand-over may have
// been read later, and what else than a task home says nothing of but that it has ended.
func isProvisional(th *journal.Thread, h *wire.Handover) bool {
	return h != nil && !th.Ruled && (h.HumanTask || !h.EndedAtHome)
}

func writeEntry(d *doc, e *wire.ThreadEntry) {
	actor := e.Actor
	if len(actor) > maxEntryActor {
		actor = clip(actor, maxEntryActor-len("…"))
	}
	if len(actor) < len("me") {
		actor = "app " + actor // AXP wants two characters
	}
	d.open('{').str("event_id", journal.ID(e.Id).String()).str("event_type", e.Type).str("actor", actor)
	d.time("at", time.UnixMilli(e.AtMs)).raw("details", e.Details).close('}')
}

// mayDecideThread is mayDecide, and also for whom a thread was delegated to.
func (a *API) mayDecideThread(c *Caller, i *journal.Intent) bool {
	return c == nil || mayDecide(c, i) || a.isDelegated(i, c.May)
}

// isDelegated reports whether what a person is asked was passed on to an agent of those.
func (a *API) isDelegated(i *journal.Intent, of func(agent string) bool) bool {
	if len(i.Envelope.GetHumanTask()) == 0 {
		return false
	}
	th, err := a.journal.Thread(i.ID)
	if err != nil {
		return false
	}
	for n, v := range th.Views {
		if journal.ThreadRole(v.Role) == journal.RoleDelegate && of(th.Owners[n]) {
			return true
		}
	}
	return false
}
