package admin

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/proxy/api"
)

var filterNames = map[string]bool{"agent": true, "type": true, "reason": true, "since": true, "until": true, "redriven": true}

// selection is which dead letters are meant: by id, or by filter.
type selection struct {
	IDs    []string          `json:"ids"`
	Filter map[string]string `json:"filter"`
}

// read returns the ids, or the filter where ids is nil. A filter without until ends
// at now: what dies meanwhile is not meant.
func (s *selection) read(now time.Time) (ids []journal.ID, f journal.DeadFilter, err error) {
	switch {
	case (s.IDs == nil) == (s.Filter == nil):
		return nil, f, errors.New("give ids, or a filter ({} for all of them)")
	case len(s.IDs) > maxMany:
		return nil, f, fmt.Errorf("ids: at most %d at once", maxMany)
	}
	for _, text := range s.IDs {
		id, err := journal.ParseID(text)
		if err != nil {
			return nil, f, fmt.Errorf("ids: %w", err)
		}
		ids = append(ids, id)
	}
	if s.IDs != nil {
		return ids, f, nil
	}
	for name := range s.Filter {
		if !filterNames[name] {
			return nil, f, fmt.Errorf("filter: %.40q is none of agent, type, reason, since, until, redriven", name)
		}
	}
	if f, err = readDeadFilter(func(name string) string { return s.Filter[name] }); err != nil {
		return nil, f, fmt.Errorf("filter: %w", err)
	}
	if f.Until.IsZero() || f.Until.After(now) {
		// One that ended in this very millisecond is meant.
		f.Until = now.Truncate(time.Millisecond).Add(time.Millisecond)
	}
	return nil, f, nil
}

// readDeadFilter reads a filter from the query, or from the object "filter" of a body.
func readDeadFilter(get func(name string) string) (f journal.DeadFilter, err error) {
	if agent := get("agent"); agent != "" {
		if f.To, err = api.Address(agent); err != nil {
			return f, fmt.Errorf("agent: %w", err)
		}
	}
	f.Type = get("type")
	if text := get("reason"); text != "" {
		why, ok := state.ParseReason(text)
		switch {
		case text == "exhausted" || text == "rejected" || text == "expired" || text == "sidecar_fault":
			f.Class = text
		case ok && why.DeadLetter() != "":
			f.Reason = why
		default:
			return f, fmt.Errorf("reason: %.40q is none of exhausted, rejected, expired, sidecar_fault, nor a cause that a dead letter shows", text)
		}
	}
	for _, t := range []struct {
		name string
		to   *time.Time
	}{{"since", &f.Since}, {"until", &f.Until}} {
		if text := get(t.name); text != "" {
			if *t.to, err = time.Parse(time.RFC3339Nano, text); err != nil {
				return f, fmt.Errorf("%s: must be a time such as 2026-01-31T12:00:00Z", t.name)
			}
		}
	}
	switch get("redriven") {
	case "":
	case "false":
		f.Unredriven = true
	default:
		return f, errors.New("redriven: may be false: only those without a successor")
	}
	if text := get("cursor"); text != "" {
		if f.After, err = journal.ParseDeadCursor(text); err != nil {
			return f, errors.New("cursor: must be the next_cursor of an earlier page")
		}
	}
	return f, nil
}

func number(q url.Values, name string, otherwise, least, most int) (int, error) {
	text := q.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%s: must be a whole number from %d to %d", name, least, most)
	}
	return n, nil
}

// collect returns the ids of up to most dead letters, and moves f.After to where
// the next ones begin; zero when there are none.
func (h *handler) collect(f *journal.DeadFilter, most int) (ids []journal.ID, err error) {
	for len(ids) < most {
		f.Limit = min(most-len(ids), deadPage)
		page, next, err := h.DeadLetters.DeadLetters(*f)
		if err != nil {
			return nil, err
		}
		for _, d := range page {
			ids = append(ids, d.ID)
		}
		if f.After = next; next.IsZero() {
			break
		}
	}
	return ids, nil
}
