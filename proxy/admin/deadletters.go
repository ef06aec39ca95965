package admin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"pannier/inbound"
	"pannier/journal"
	"pannier/journal/wire"
	"pannier/proxy/api"
)

// DeadLetters are the intents homed or held here that ended for a reason of delivery.
type DeadLetters interface {
	DeadLetters(journal.DeadFilter) ([]*journal.DeadLetter, journal.DeadCursor, error)
	DeadLetter(journal.ID) (*journal.DeadLetter, error)
	// List is for those that wait for an operator instead of having ended.
	List(journal.Filter) ([]*journal.Intent, journal.ID, error)
	Events(id journal.ID, since uint32) ([]*wire.Event, uint32, error)
	AgentName(journal.Agent) string
	Redrive(context.Context, journal.Redrive) (journal.Redriven, error)
	Purge(ctx context.Context, ids []journal.ID, actor string) ([]error, error)
}

const (
	defaultDead = 50
	maxDead     = 200
	// deadPage is how many are read at once: their payloads are in memory together.
	deadPage = 16
	// smallBody is the largest payload shown in a list.
	smallBody = 48 << 10
	// operator is the actor of what is done here, where the request names no other.
	operator = "operator"
)

type deadAnswer struct {
	OK   bool         `json:"ok"`
	List []deadLetter `json:"dead_letters"`
	Next *string      `json:"next_cursor"`
}

// listDead serves GET /v1/admin/dead-letters, the last to have ended first.
func (h *handler) listDead(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit, err := number(q, "limit", defaultDead, 1, maxDead)
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, "schema_invalid", err.Error())
		return
	}
	if q.Get("waiting") == "true" {
		h.listWaiting(w, q, limit)
		return
	}
	f, err := readDeadFilter(func(name string) string { return q.Get(name) })
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, "schema_invalid", err.Error())
		return
	}
	out := deadAnswer{OK: true, List: []deadLetter{}}
	for len(out.List) < limit {
		f.Limit = min(limit-len(out.List), deadPage)
		page, next, err := h.DeadLetters.DeadLetters(f)
		if err != nil {
			h.refuseDead(w, err)
			return
		}
		for _, d := range page {
			out.List = append(out.List, h.view(d.Intent, d.Events, d.At, smallBody))
		}
		if f.After = next; next.IsZero() || len(page) < f.Limit {
			break // all is read, or as much as one request may read
		}
	}
	if !f.After.IsZero() {
		next := f.After.String()
		out.Next = &next
	}
	Write(w, http.StatusOK, out)
}

// listWaiting lists what has not ended, and waits for an operator: it is no dead
// letter yet. To resume it lets it go on as itself.
func (h *handler) listWaiting(w http.ResponseWriter, q url.Values, limit int) {
	f := journal.Filter{Parked: true}
	if agent := q.Get("agent"); agent != "" {
		var err error
		if f.To, err = api.Address(agent); err != nil {
			refuse(w, http.StatusUnprocessableEntity, "invalid_agent_address", "agent: "+err.Error())
			return
		}
	}
	if text := q.Get("cursor"); text != "" {
		var err error
		if f.Before, err = journal.ParseID(text); err != nil {
			refuse(w, http.StatusUnprocessableEntity, "schema_invalid", "cursor: must be the next_cursor of an earlier page")
			return
		}
	}
	out := deadAnswer{OK: true, List: []deadLetter{}}
	for len(out.List) < limit {
		f.Limit = min(limit-len(out.List), deadPage)
		page, next, err := h.DeadLetters.List(f)
		if err != nil {
			h.refuseDead(w, err)
			return
		}
		for _, i := range page {
			events, _, err := h.DeadLetters.Events(i.ID, 0)
			if err != nil && !errors.Is(err, journal.ErrNotFound) { // a holder has no events yet
				h.refuseDead(w, err)
				return
			}
			out.List = append(out.List, h.view(i, events, time.Time{}, smallBody))
		}
		if f.Before = next; next.IsZero() || len(page) < f.Limit {
			break
		}
	}
	if !f.Before.IsZero() {
		next := f.Before.String()
		out.Next = &next
	}
	Write(w, http.StatusOK, out)
}

// showDead serves GET /v1/admin/dead-letters/{id}.
func (h *handler) showDead(w http.ResponseWriter, r *http.Request) {
	id, err := journal.ParseID(r.PathValue("id"))
	if err != nil {
		h.refuseDead(w, journal.ErrNotFound)
		return
	}
	d, err := h.DeadLetters.DeadLetter(id)
	if err != nil {
		h.refuseDead(w, err)
		return
	}
	Write(w, http.StatusOK, struct {
		OK         bool       `json:"ok"`
		DeadLetter deadLetter `json:"dead_letter"`
	}{true, h.view(d.Intent, d.Events, d.At, int(^uint(0)>>1))})
}

// deadProblem is what is said of an error about dead letters: where it is refused,
// and in the list of those that failed of many.
func deadProblem(err error) (status int, code, text string) {
	var before *journal.RedrivenError
	var misfit *PayloadError
	switch {
	case errors.As(err, &misfit):
		return http.StatusUnprocessableEntity, "schema_invalid", "payload: " + misfit.Why
	case errors.Is(err, journal.ErrKilled):
		return http.StatusForbidden, "policy_denied", "its sender has been killed: nothing from it is sent before it is resumed"
	case errors.As(err, &before):
		return http.StatusConflict, "already_redriven", "it was redriven as " + before.As.String() + "; if that one is a dead letter too, redrive that one"
	case errors.Is(err, journal.ErrNotFound):
		return http.StatusNotFound, "intent_not_found", "no such intent at this sidecar"
	case errors.Is(err, journal.ErrNotDead):
		return http.StatusConflict, "not_dead_letter", "it is no dead letter: it is open, or ended for a reason that is none of delivery"
	case errors.Is(err, journal.ErrLost):
		return http.StatusConflict, "content_lost", "what it was is not here any more: send it anew from where it came from, and purge this one"
	case errors.Is(err, journal.ErrNotHome):
		return http.StatusConflict, "not_home", err.Error() + "; ask the sidecar that accepted it"
	case errors.Is(err, journal.ErrKeyConflict):
		return http.StatusConflict, "idempotency_conflict", "the Idempotency-Key was used before with another body"
	case errors.Is(err, journal.ErrTooManyAgents):
		return http.StatusTooManyRequests, "too_many_agents", "to_agent: too many distinct unknown destinations"
	case errors.Is(err, journal.ErrTooLarge):
		return http.StatusRequestEntityTooLarge, "payload_too_large", "payload: it does not fit one journal batch"
	case errors.Is(err, inbound.ErrHomeUnreachable):
		return http.StatusServiceUnavailable, "home_unreachable", "the sidecar that accepted it cannot be reached just now; whether it was redriven is unknown, asking again tells"
	case errors.Is(err, journal.ErrFailed), errors.Is(err, journal.ErrClosed):
		return http.StatusServiceUnavailable, "journal_failed", err.Error()
	}
	return http.StatusInternalServerError, "internal_error", err.Error()
}

func (h *handler) refuseDead(w http.ResponseWriter, err error) {
	status, code, text := deadProblem(err)
	if status == http.StatusInternalServerError {
		h.log.Error("dead letters", "err", err)
	}
	refuse(w, status, code, text)
}
