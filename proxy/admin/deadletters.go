package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"pannier/inbound"
	"pannier/journal"
	"pannier/journal/state"
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

// deadLetter is one as operators read it. Reason is one of exhausted, rejected,
// expired, sidecar_fault; waiting for one that has not ended, and waits for an
// operator. Code is that of the intent's error.
type deadLetter struct {
	ID          string          `json:"intent_id"`
	Status      string          `json:"status"`
	Reason      string          `json:"reason"`
	Code        string          `json:"code"`
	Cause       string          `json:"cause"` // state.Reason
	LastAnswer  string          `json:"last_answer"`
	Attempts    deadAttempts    `json:"attempts"`
	Type        string          `json:"intent_type"`
	From        string          `json:"from_agent"`
	To          string          `json:"to_agent"`
	Correlation string          `json:"correlation_id,omitempty"`
	Traceparent string          `json:"traceparent,omitempty"`
	TraceID     string          `json:"trace_id,omitempty"`
	Role        string          `json:"role"`
	Peer        string          `json:"peer,omitempty"` // the other journal: home's or the last holder's
	CreatedAt   time.Time       `json:"created_at"`
	EndedAt     time.Time       `json:"ended_at,omitzero"`
	RedriveOf   string          `json:"redrive_of,omitempty"`
	FirstID     string          `json:"first_id,omitempty"`
	RedrivenAs  string          `json:"redriven_as,omitempty"`
	Error       json.RawMessage `json:"error,omitempty"`
	Payload     json.RawMessage `json:"payload,omitempty"`
}

// deadAttempts: N counts those that count against max; Failed has every hand-over
// that failed, as far as this sidecar has the events.
type deadAttempts struct {
	N      uint32          `json:"n"`
	Max    uint32          `json:"max"`
	Failed []failedAttempt `json:"failed"`
}

type failedAttempt struct {
	Attempt uint32    `json:"attempt"` // delivery_attempt
	At      time.Time `json:"at"`
	Reason  string    `json:"reason"`
	Message string    `json:"message,omitempty"`
	Holder  string    `json:"holder,omitempty"`
}

func (h *handler) view(i *journal.Intent, events []*wire.Event, ended time.Time, most int) deadLetter {
	why := i.DeadReason()
	d := deadLetter{
		ID: i.ID.String(), Status: i.Status().String(), Reason: why.DeadLetter(), Cause: why.String(), Code: errorCode(why),
		CreatedAt: i.ID.Time().UTC(), EndedAt: utc(ended), Attempts: deadAttempts{Failed: failures(events)},
	}
	if i.WaitsForOperator() {
		d.Reason, d.Cause = "waiting", state.ReasonOperator.String()
		if i.Head != nil {
			d.Cause = state.Reason(i.Head.Reason).String()
		}
	}
	if as, ok := i.RedrivenAs(); ok {
		d.RedrivenAs = as.String()
	}
	if n := len(d.Attempts.Failed); n > 0 {
		d.LastAnswer = d.Attempts.Failed[n-1].Message
	}
	if i.Head != nil {
		d.Role, d.Peer, d.To = "home", idText(i.Head.Holder), h.DeadLetters.AgentName(journal.Agent(i.Head.Dest))
		d.Attempts.N, d.Attempts.Max = i.Head.Attempts, i.Head.MaxAttempts
	} else {
		d.Role, d.Peer, d.To = "holder", idText(i.Handover.Home), h.DeadLetters.AgentName(journal.Agent(i.Handover.Agent))
		d.Attempts.N, d.Attempts.Max = i.Handover.Attempts, i.Handover.MaxAttempts
		if i.Handover.LastError != "" {
			d.LastAnswer = i.Handover.LastError
		}
	}
	if e := i.Envelope; e != nil {
		d.Type, d.From, d.To, d.Correlation = e.IntentType, e.FromAgent, e.ToAgent, e.CorrelationId
		d.Traceparent, d.TraceID = e.Traceparent, traceID(e.Traceparent)
		d.RedriveOf, d.FirstID = idText(e.RedriveOf), idText(e.FirstId)
		if len(e.Payload) <= most {
			d.Payload = e.Payload
		}
	}
	if i.Outcome != nil && len(i.Outcome.Body) <= most {
		d.Error = i.Outcome.Body
	}
	return d
}

// failures are the events of hand-overs that failed; a rejection ends the intent.
func failures(events []*wire.Event) []failedAttempt {
	out := []failedAttempt{}
	for _, e := range events {
		if state.EventType(e.Type) == state.EventDeliveryFailed || state.Reason(e.Reason) == state.ReasonRejected {
			out = append(out, failedAttempt{
				Attempt: e.Attempt, At: time.UnixMilli(e.AtMs).UTC(), Reason: state.Reason(e.Reason).String(), Message: e.Text, Holder: idText(e.Peer),
			})
		}
	}
	return out
}

// errorCode is the code of the error of an intent that ended for this reason.
func errorCode(why state.Reason) string {
	switch why.DeadLetter() {
	case "exhausted":
		return "delivery_failed"
	case "expired":
		return "intent_timeout"
	}
	return why.String()
}

// traceID is the second field of a traceparent.
func traceID(traceparent string) string {
	if fields := strings.Split(traceparent, "-"); len(fields) >= 4 {
		return fields[1]
	}
	return ""
}

func idText(b []byte) string {
	id, err := journal.IDOf(b)
	if err != nil {
		return ""
	}
	return id.String()
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

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
