package api

import (
	"net/http"
	"slices"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// nextCursor is the header of a page that is not the last, where AXP's body has no place for it.
const nextCursor = "Pannier-Next-Cursor"

// tasks serves GET /v1/me/tasks: what people are asked by intents homed or held here and have
// not decided, newest first; for whom a task was delegated to, too.
func (a *API) tasks(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	owner, err := ownerGiven(r)
	if err != nil {
		return err
	}
	limit := int(q.integer("limit", defaultList, 1, maxList))
	var before journal.ID
	if text := q.text("cursor"); text != "" {
		if before, err = journal.ParseID(text); err != nil {
			q.fault("cursor", codeSchemaInvalid, "must be the "+nextCursor+" of an earlier page")
		}
	}
	if err := q.err(); err != nil {
		return err
	}
	c := callerOf(r)
	page, next, err := a.findTasks(r, before, limit, func(i *journal.Intent) bool {
		e := i.Envelope
		if e == nil {
			return false
		}
		to := e.ToAgent
		if i.Head.GetEscalated() { // those who did not decide may still
			to = e.Reminders.GetEscalateTo()
		}
		switch {
		case mayDecide(c, i):
			return owner == "" || owner == e.ToAgent || owner == to || isAssigned(e, owner) || a.isDelegated(i, func(agent string) bool { return agent == owner })
		case owner == "":
			return a.isDelegated(i, c.May)
		}
		return c.May(owner) && a.isDelegated(i, func(agent string) bool { return agent == owner })
	})
	if err != nil {
		return err
	}
	if !next.IsZero() {
		w.Header().Set(nextCursor, next.String())
	}
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("tasks").open('[')
	for _, i := range page {
		t, err := taskOf(i.Envelope.HumanTask)
		if err != nil {
			return err
		}
		d.item().open('{').str("intent_id", i.ID.String()).str("intent_type", i.Envelope.IntentType).str("status", state.Waiting.String())
		d.opt("from_agent", i.Envelope.FromAgent).time("assigned_at", time.UnixMilli(i.Envelope.CreatedAtMs)).ms("due_at", taskDue(i))
		writeTask(d, t, i.Envelope.IntentType)
		d.close('}')
	}
	return answer(w, d.close(']').close('}'))
}

// taskLooks is how often the journal is asked for one page. Each time it looks at so many
// that wait, whoever they wait for: one look could find none of a person's, and whoever does
// not go on with the cursor would take that for all.
const taskLooks = 20

func (a *API) findTasks(r *http.Request, before journal.ID, limit int, keep func(*journal.Intent) bool) (page []*journal.Intent, next journal.ID, err error) {
	next = before
	for range taskLooks {
		var some []*journal.Intent
		if some, next, err = a.journal.Tasks(next, limit-len(page), keep); err != nil {
			return nil, next, err
		}
		page = append(page, some...)
		if len(page) == limit || next.IsZero() || r.Context().Err() != nil {
			break
		}
	}
	return page, next, nil
}

// taskDue is when a task ends undecided, 0: never; of one that is held here, by our clock.
func taskDue(i *journal.Intent) int64 {
	if i.Head != nil {
		return i.Head.DeadlineAtMs
	}
	return i.Handover.GetDeadlineAtMs()
}

var errNotAsked = refuse(codePolicyDenied, "the key does not speak for anybody whom the task asks; its sender may only cancel it")

// mayEnd refuses an end by whom a task does not ask: its sender may cancel it, and no more.
func (a *API) mayEnd(r *http.Request, id journal.ID, on state.Trigger) error {
	c := callerOf(r)
	if c == nil || on == state.Cancel {
		return nil
	}
	i, err := a.journal.Get(id)
	if err != nil {
		return err
	}
	if len(i.Envelope.GetHumanTask()) > 0 && !a.mayDecideThread(c, i) {
		return errNotAsked
	}
	return nil
}

// mayDecide reports whether the caller speaks for one of those whom a task asks: the
// agent it was sent to, one that it names, or the one it was escalated to.
func mayDecide(c *Caller, i *journal.Intent) bool { return c.May(i.Envelope.ToAgent) || isAsked(c, i) }

// isAsked is mayDecide without the agent that the task was sent to.
func isAsked(c *Caller, i *journal.Intent) bool {
	t, err := taskOf(i.Envelope.GetHumanTask())
	if err != nil || t == nil {
		return false
	}
	return i.Head.GetEscalated() && c.May(i.Envelope.Reminders.GetEscalateTo()) ||
		slices.ContainsFunc(t.assignees, func(a string) bool {
			address, err := Address(a)
			return err == nil && c.May(address)
		})
}

// isAssigned reports whether the task names that address.
func isAssigned(e *wire.Envelope, owner string) bool {
	t, err := taskOf(e.HumanTask)
	return err == nil && slices.ContainsFunc(t.assignees, func(a string) bool {
		address, err := Address(a)
		return a == owner || err == nil && address == owner
	})
}

// writeAsked writes what an event of a task says: what is asked, and of whom then.
func writeAsked(d *doc, e *wire.Envelope, of state.EventType) {
	t, err := taskOf(e.HumanTask)
	if err != nil || t == nil {
		return // no intent was accepted with such a task
	}
	switch of {
	case state.EventHumanTaskAssigned:
		writeTask(d, t, e.IntentType)
	case state.EventEscalated:
		d.opt("escalated_to", e.Reminders.GetEscalateTo())
	}
	writePending(d, t, e, of == state.EventEscalated)
}

// writePending writes who a task waits for: the one it was escalated to, the one it
// names, or the agent it was sent to.
func writePending(d *doc, t *humanTask, e *wire.Envelope, escalated bool) {
	name := e.ToAgent
	switch {
	case escalated:
		name = e.Reminders.GetEscalateTo()
	case len(t.assignees) == 1:
		name = t.assignees[0]
	}
	d.key("pending_with").open('{').str("type", "human").str("name", name).close('}')
}
