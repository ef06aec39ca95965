package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"pannier/inbound"
	"pannier/journal"
)

// AgentStatus is one agent served here.
type AgentStatus struct {
	Agent   string             `json:"agent"`
	Served  string             `json:"served"`  // configured, learned
	Binding string             `json:"binding"` // open, poll, stream, http
	URL     string             `json:"url,omitempty"`
	Set     bool               `json:"set"` // while running, over what is configured
	Door    inbound.DoorStatus `json:"door"`
	Readers int                `json:"readers"`          // polls and streams that wait, and what sends to its app
	Working int                `json:"unsettled"`        // held here for it and not settled
	Oldest  *time.Time         `json:"oldest,omitempty"` // when the first of these was made
}

// Agents are the agents served here and how their apps receive.
type Agents interface {
	Agents() []AgentStatus
	// SetBinding changes how an app receives: stream, poll or http:URL; empty takes
	// a change back. Its errors are *BindingError, inbound.ErrNotServed, and the
	// journal's.
	SetBinding(ctx context.Context, agent, binding string) error
}

// BindingError says what is wrong with a binding.
type BindingError struct{ Why string }

func (e *BindingError) Error() string { return e.Why }

type agentsAnswer struct {
	OK     bool          `json:"ok"`
	Agents []AgentStatus `json:"agents"`
}

func (h *handler) agents(w http.ResponseWriter, _ *http.Request) {
	Write(w, http.StatusOK, agentsAnswer{OK: true, Agents: h.Agents.Agents()})
}

func (h *handler) setBinding(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Agent   string `json:"agent"`
		Binding string `json:"binding"`
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<10))
	d.DisallowUnknownFields()
	if err := d.Decode(&asked); err != nil {
		refuse(w, http.StatusBadRequest, "invalid_json", `the body is {"agent": ADDRESS, "binding": "poll"|"stream"|"http:URL"|""}: `+err.Error())
		return
	}
	err := h.Agents.SetBinding(r.Context(), asked.Agent, asked.Binding)
	var wrong *BindingError
	switch {
	case err == nil:
		h.log.Info("binding set", "agent", asked.Agent, "binding", asked.Binding)
		h.agents(w, r)
	case errors.As(err, &wrong):
		refuse(w, http.StatusUnprocessableEntity, "schema_invalid", wrong.Why)
	case errors.Is(err, inbound.ErrNotServed):
		refuse(w, http.StatusNotFound, "agent_not_found", "agent: no agent of this address is served here")
	case errors.Is(err, journal.ErrFailed), errors.Is(err, journal.ErrClosed):
		refuse(w, http.StatusServiceUnavailable, "journal_failed", err.Error())
	default:
		h.log.Error("binding not set", "agent", asked.Agent, "err", err)
		refuse(w, http.StatusInternalServerError, "internal_error", err.Error())
	}
}
