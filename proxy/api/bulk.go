package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

const (
	defaultBulk = 100
	maxBulk     = 1000
	maxHours    = 24 * 366
)

// bulk is what a bulk-cancel asks for.
type bulk struct {
	older    time.Duration
	dry      bool
	reason   string
	limit    int
	statuses map[state.Status]bool // empty: any that is open
	key      *journal.Key          // nil: none
}

// bulkCancel serves POST /v1/intents/bulk-cancel: intents of this home that are
// open and old enough, the newest of them first. One call cancels a bounded number
// of intents; it is repeated, under another key or none, until it cancels none.
func (a *API) bulkCancel(w http.ResponseWriter, r *http.Request) error {
	asked, err := a.readBulk(w, r)
	if err != nil {
		return err
	}
	ids, err := a.openBefore(r.Context(), callerOf(r), time.Now().Add(-asked.older), asked)
	if err != nil {
		return err
	}
	if asked.key != nil {
		var replayed bool
		if ids, replayed, err = a.journal.Choose(r.Context(), asked.key, ids); err != nil {
			return err
		}
		markReplayed(w, replayed)
	}
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true)
	if asked.dry {
		d.num("would_cancel", int64(len(ids))).key("intent_ids").open('[')
		for _, id := range ids {
			d.element(id.String())
		}
		return answer(w, d.close(']').close('}'))
	}
	canceled, err := a.cancelAll(r, ids, asked.reason)
	if err != nil {
		return err
	}
	return answer(w, d.num("canceled", int64(canceled)).close('}'))
}

// cancelAll returns how many of the intents are canceled then. Those that were before
// count too: they are what a first call under this key has done, and its repeat must
// say the same. A crash between two: those before it are canceled, and a repeat does
// the rest.
func (a *API) cancelAll(r *http.Request, ids []journal.ID, reason string) (canceled int, err error) {
	for _, id := range ids {
		_, err := a.journal.Answer(r.Context(), id, journal.Answer{
			Trigger: state.Cancel, Reason: state.ReasonCanceled, Text: reason, Actor: owner(r),
		})
		var ended *journal.EndedError
		switch {
		case err == nil, errors.As(err, &ended) && ended.Status == state.Canceled:
			canceled++
		case ended == nil && !errors.Is(err, journal.ErrNotFound): // it ended otherwise, and may be purged by now
			return 0, err
		}
	}
	return canceled, nil
}

func (a *API) readBulk(w http.ResponseWriter, r *http.Request) (b bulk, err error) {
	raw, key, err := a.readBodyAndKey(w, r)
	if err != nil {
		return b, err
	}
	var faults []fault
	body, err := parseBody(raw, &faults)
	if err != nil {
		return b, err
	}
	hours, given := body.integer("older_than_hours", 0, maxHours)
	if !given && len(faults) == 0 {
		body.fault("older_than_hours", codeSchemaInvalid, "is required; 0 means all")
	}
	b = bulk{older: time.Duration(hours) * time.Hour, reason: body.text("reason", maxReason), limit: defaultBulk, statuses: map[state.Status]bool{}, key: key}
	b.dry, _ = body.boolean("dry_run")
	if n, given := body.integer("limit", 1, maxBulk); given {
		b.limit = int(n)
	}
	if b.reason == "" {
		b.reason = "canceled"
	}
	if list, given := body.take("status_filter"); given {
		var names []string
		if json.Unmarshal(list, &names) != nil {
			body.fault("status_filter", codeSchemaInvalid, "must be a list of statuses")
		}
		for _, name := range names {
			s, ok := state.ParseStatus(name)
			if !ok || s.Terminal() {
				body.fault("status_filter", codeSchemaInvalid, "%.40q is no status of an open intent", name)
			}
			b.statuses[s] = true
		}
	}
	for _, m := range body.rest() {
		body.fault(m.name, codeSchemaInvalid, "is not a field of this request")
	}
	if len(faults) > 0 {
		return b, refuseFaults(faults)
	}
	return b, nil
}

// openBefore collects open intents of this home, at most what was asked for. It
// may have to read all that is in the journal.
func (a *API) openBefore(ctx context.Context, c *Caller, limit time.Time, b bulk) (ids []journal.ID, err error) {
	filter := journal.Filter{Before: journal.IDAt(limit), Open: true, Limit: listPage}
	if c != nil {
		filter.Keep = func(i *journal.Intent) bool { return a.maySee(c, i) }
	}
	for len(ids) < b.limit && ctx.Err() == nil {
		page, next, err := a.journal.List(filter)
		if err != nil {
			return nil, err
		}
		for _, i := range page {
			if (len(b.statuses) == 0 || b.statuses[i.Status()]) && len(ids) < b.limit {
				ids = append(ids, i.ID)
			}
		}
		if next.IsZero() {
			break
		}
		filter.Before = next
	}
	return ids, ctx.Err()
}
