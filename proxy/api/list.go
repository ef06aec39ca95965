package api

import (
	"net/http"

	"pannier/journal"
	"pannier/journal/state"
)

const (
	defaultList = 50
	maxList     = 200
	// listPage is how many intents are read at once: their payloads are in
	// memory together.
	listPage = 16
	// listPageBytes is how large they may be, about, while the list has no room: one more
	// intent is read.
	listPageBytes = 128 << 10
)

// list serves GET /v1/intents: what is homed or held here, newest first.
func (a *API) list(w http.ResponseWriter, r *http.Request) error {
	filter, err := readFilter(r)
	if err != nil {
		return err
	}
	if c, ofTrace := callerOf(r), filter.Keep; c != nil {
		filter.Keep = func(i *journal.Intent) bool { return a.maySee(c, i) && (ofTrace == nil || ofTrace(i)) }
	}
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("intents").open('[')
	left := filter.Limit
	for left > 0 {
		filter.Limit, filter.Bytes = min(left, listPage), listPageBytes
		page, next, err := a.journal.List(filter)
		if err != nil {
			return err
		}
		bytes := 0
		for _, i := range page {
			d.item()
			a.writeIntent(d, i, listed)
			bytes += len(i.Envelope.GetPayload()) + len(i.Outcome.GetBody())
		}
		if err := a.takeList(w, r, d); err != nil {
			return err
		}
		left -= len(page)
		filter.Before = next
		if next.IsZero() || len(page) < filter.Limit && bytes < filter.Bytes || len(d.b) >= listBytes {
			break // all is read, or as much as one request may read
		}
	}
	d.close(']')
	if filter.Before.IsZero() {
		d.null("next_cursor")
	} else {
		d.str("next_cursor", filter.Before.String())
	}
	return answer(w, d.close('}'))
}

func readFilter(r *http.Request) (f journal.Filter, err error) {
	q, err := parseQuery(r)
	if err != nil {
		return f, err
	}
	f.Limit = int(q.integer("limit", defaultList, 1, maxList))
	switch text := q.text("status"); text {
	case "":
	case "pending":
		f.Pending = true
	default:
		var ok bool
		if f.Status, ok = state.ParseStatus(text); !ok {
			q.fault("status", codeSchemaInvalid, "must be a lifecycle status such as SUBMITTED, or pending")
		}
	}
	if text := q.text("to_agent"); text != "" {
		to, why := readAddress(text)
		if why != "" {
			q.fault("to_agent", codeInvalidAddress, "%s", why)
		}
		f.To = to
	}
	if id := q.text("trace_id"); id != "" {
		// There is no index of it: a key more for each post would cost every app what
		// few ask for, and one List reads no more than it reads.
		f.Keep = func(i *journal.Intent) bool { return isOfTrace(i.Envelope, id) }
	}
	if text := q.text("cursor"); text != "" {
		if f.Before, err = journal.ParseID(text); err != nil {
			q.fault("cursor", codeSchemaInvalid, "must be the next_cursor of an earlier page")
		}
	}
	return f, q.err()
}
