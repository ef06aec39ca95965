package api

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"pannier/journal"
)

// query reads the parameters of a URL. Unknown ones are ignored, as unknown
// fields of AXP bodies are; a parameter given twice contradicts itself.
type query struct {
	values url.Values
	faults []fault
}

func parseQuery(r *http.Request) (*query, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse(codeInvalidRequest, "the query string is not well-formed: %s", err)
	}
	for name, v := range values {
		if len(v) > 1 {
			return nil, refuse(codeInvalidRequest, "the query parameter %s is given %d times", clip(name, 64), len(v))
		}
	}
	return &query{values: values}, nil
}

func (q *query) text(name string) string { return q.values.Get(name) }

func (q *query) fault(name string, c code, format string, args ...any) {
	q.faults = append(q.faults, fault{"?" + name, fmt.Sprintf(format, args...), c})
}

// integer returns a whole number in [least, most], or otherwise where the
// parameter is absent.
func (q *query) integer(name string, otherwise, least, most int64) int64 {
	text := q.values.Get(name)
	if text == "" {
		return otherwise
	}
	n, why := readInteger([]byte(text), least, most)
	if why != "" {
		q.fault(name, codeSchemaInvalid, "%s", why)
		return otherwise
	}
	return n
}

// seconds is integer as a duration.
func (q *query) seconds(name string, otherwise time.Duration, least, most int64) time.Duration {
	return time.Duration(q.integer(name, int64(otherwise/time.Second), least, most)) * time.Second
}

// cursor is how far the reader of a log has come: the parameter, or what a
// browser sends on its own when it reconnects, whichever is further.
func (q *query) cursor(r *http.Request) int64 {
	since := q.integer("since", 0, 0, math.MaxInt64)
	if last, err := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64); err == nil {
		since = max(since, last)
	}
	return since
}

// since is the cursor of an event log.
func (q *query) since(r *http.Request) uint32 { return uint32(min(q.cursor(r), math.MaxUint32)) }

// err is the refusal for all that is wrong, or nil.
func (q *query) err() error {
	if len(q.faults) == 0 {
		return nil
	}
	return refuseFaults(q.faults)
}

// pathID reads the id of an intent from the path. What cannot be an id is the
// id of no intent.
func pathID(r *http.Request) (journal.ID, error) {
	text := r.PathValue("id")
	id, err := journal.ParseID(text)
	if err != nil {
		return journal.ID{}, refuse(codeIntentNotFound, "%q is no intent: an id is a UUID", clip(text, 64))
	}
	return id, nil
}

// seenID is pathID of an intent that the caller may see.
func (a *API) seenID(r *http.Request) (journal.ID, error) {
	id, err := pathID(r)
	if err == nil {
		err = a.see(r, id)
	}
	return id, err
}

// preferWait reads "Prefer: wait=N" (RFC 7240), in seconds up to most.
func preferWait(r *http.Request, most time.Duration) (time.Duration, bool) {
	for _, line := range r.Header.Values("Prefer") {
		for preference := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(preference), "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			n, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
			if err != nil {
				return 0, false // a preference we cannot read is one we do not apply
			}
			return min(time.Duration(n)*time.Second, most), true
		}
	}
	return 0, false
}
