// Package admin serves operators and supervisors: health, and what this
// sidecar knows of itself and of its peers.
//
//	GET  /healthz                      200 as long as the process answers
//	GET  /readyz                       200 when it takes and delivers intents; ?verbose lists the checks
//	GET  /startupz                     200 once it has been ready, and ever after
//	GET  /metrics                      figures, for Prometheus
//	GET  /v1/admin/status              journal, version, readiness, what waits where
//	GET  /v1/admin/destinations        whom something is due for, and why it waits
//	GET  /v1/admin/peers               the sidecars this one delivers to
//	POST /v1/admin/peers/{id}/forget   gives a sidecar up for lost
//	POST /v1/admin/breakers/open       leaves an endpoint alone, {"address": "HOST:PORT"}
//	POST /v1/admin/breakers/close      forgets its failures
//	GET  /v1/admin/agents              the agents served here, and how their apps receive
//	POST /v1/admin/agents/set          another way, at once
//	GET  /v1/admin/dead-letters        what ended for a reason of delivery, newest first
//	GET  /v1/admin/dead-letters/groups how many there are of each agent and cause
//	GET  /v1/admin/dead-letters/{id}   one of them
//	POST /v1/admin/dead-letters/{id}/redrive   a successor for one
//	POST /v1/admin/dead-letters/redrive        for many, at a rate; dry_run only counts
//	POST /v1/admin/dead-letters/purge          removes many; counts first
//	GET  /v1/admin/xds                 what control planes have told: servers, agents, resources
//	GET  /v1/admin/xds/dump            the same with the resources themselves
//	POST /envoy.service.status.v3.ClientStatusDiscoveryService/  the same for gRPC's tools (CSDS)
//	GET  /v1/admin/secrets             what requests to apps are signed with, by fingerprint
//	POST /v1/admin/secrets/rotate      the next one, with an overlap
//	GET  /, /intents, /dead-letters, /inbox, /tasks/{id}   pages for people (pannier/proxy/pages)
//	GET  /debug/pprof/                 profiles of this process, where Source.Pprof is set
//
// Health never reads the journal: a disk that hangs must not hang the
// supervisor's probe. It also never asks about peers, control plane or app;
// a sidecar is ready without any of them.
package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/outbound"
	"pannier/proxy/xds"
)

// Source is where the answers come from. Secrets are in files, Forget,
// Agents and DeadLetters use the journal, all else is read from memory.
type Source struct {
	Version string
	Health  func() Health
	Stats   func() journal.Stats
	Figures func() Figures // beside Stats
	Peers   func() []outbound.PeerStatus
	Due     func() (list []outbound.DestinationStatus, of int)
	Forget  func(context.Context, journal.ID) error
	Breaker Breaker
	Pushed  func() []string // agents that receive by http
	Secrets Secrets
	Agents  Agents

	DeadLetters DeadLetters
	Tally       *Tally // of dead letters

	Metrics http.Handler // nil: no such page

	// XDS says what control planes have told, with dump also the resources
	// themselves; nil where none is configured.
	XDS func(dump bool) xds.Status
	// ClientStatus says the same to gRPC's tools; nil: no such service.
	ClientStatus http.Handler

	Pprof bool // serve profiles

	// Pages makes the handler of what is no route here, from the routes themselves and
	// the refusal of what is no page either; nil: there are no pages.
	Pages func(routes, notFound http.Handler) http.Handler
}

// handler serves the admin listener.
type handler struct {
	Source
	log *slog.Logger
}

// New returns the handler of the admin listener. hosts are the names, beside
// loopback's and literal addresses, under which it may be asked.
func New(s Source, hosts []string, log *slog.Logger) http.Handler {
	h := &handler{Source: s, log: log}
	mux := http.NewServeMux()
	if s.Metrics != nil {
		mux.Handle("GET /metrics", s.Metrics)
	}
	mux.HandleFunc("GET /v1/admin/status", h.status)
	mux.HandleFunc("GET /v1/admin/peers", h.peers)
	mux.HandleFunc("GET /v1/admin/destinations", h.destinations)
	mux.HandleFunc("POST /v1/admin/peers/{id}/forget", h.forget)
	mux.HandleFunc("POST /v1/admin/breakers/open", h.openBreaker)
	mux.HandleFunc("POST /v1/admin/breakers/close", h.closeBreaker)
	mux.HandleFunc("GET /v1/admin/agents", h.agents)
	mux.HandleFunc("POST /v1/admin/agents/set", h.setBinding)
	mux.HandleFunc("GET /v1/admin/dead-letters", h.listDead)
	mux.HandleFunc("GET /v1/admin/dead-letters/groups", h.groupDead)
	mux.HandleFunc("GET /v1/admin/dead-letters/{id}", h.showDead)
	mux.HandleFunc("POST /v1/admin/dead-letters/{id}/redrive", h.redriveOne)
	mux.HandleFunc("POST /v1/admin/dead-letters/redrive", h.redriveMany)
	mux.HandleFunc("POST /v1/admin/dead-letters/purge", h.purge)
	mux.HandleFunc("GET /v1/admin/xds", h.xds)
	mux.HandleFunc("GET /v1/admin/xds/dump", h.xdsDump)
	if s.ClientStatus != nil {
		mux.HandleFunc("POST "+xds.ClientStatusService, h.clientStatus)
	}
	mux.HandleFunc("GET /v1/admin/secrets", h.listSecrets)
	mux.HandleFunc("POST /v1/admin/secrets/rotate", h.rotateSecret)
	if s.Pprof {
		profiles(mux)
	}
	missing := NotFound("no such page: see /healthz, /readyz, /startupz, /metrics, /v1/admin/status, /v1/admin/peers, /v1/admin/destinations, /v1/admin/agents, /v1/admin/dead-letters, /v1/admin/xds, /v1/admin/secrets")
	if s.Pages != nil {
		mux.Handle("/", s.Pages(mux, missing))
	} else {
		mux.HandleFunc("/", missing)
	}
	return Operators(mux, s.Version, s.Health, hosts)
}

type peersAnswer struct {
	OK    bool                  `json:"ok"`
	Peers []outbound.PeerStatus `json:"peers"`
}

func (h *handler) peers(w http.ResponseWriter, _ *http.Request) {
	Write(w, http.StatusOK, peersAnswer{OK: true, Peers: append([]outbound.PeerStatus{}, h.Peers()...)})
}

type destinationsAnswer struct {
	OK           bool                         `json:"ok"`
	Total        int                          `json:"total"`
	Destinations []outbound.DestinationStatus `json:"destinations"`
}

func (h *handler) destinations(w http.ResponseWriter, _ *http.Request) {
	list, of := h.Due()
	Write(w, http.StatusOK, destinationsAnswer{OK: true, Total: of, Destinations: append([]outbound.DestinationStatus{}, list...)})
}

func (h *handler) forget(w http.ResponseWriter, r *http.Request) {
	id, err := journal.ParseID(r.PathValue("id"))
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, "invalid_journal_id", "the id of a peer is the UUID that /v1/admin/peers shows as journal_id")
		return
	}
	switch err := h.Forget(r.Context(), id); {
	case err == nil:
		h.log.Warn("peer forgotten", "peer", id.String(), "reason", state.ReasonOperator.String())
		Write(w, http.StatusOK, struct {
			OK        bool   `json:"ok"`
			JournalID string `json:"journal_id"`
		}{true, id.String()})
	case errors.Is(err, outbound.ErrUnknownPeer):
		refuse(w, http.StatusNotFound, "peer_not_found", "no peer with this journal id is on record")
	case errors.Is(err, journal.ErrFailed), errors.Is(err, journal.ErrClosed):
		refuse(w, http.StatusServiceUnavailable, "journal_failed", err.Error())
	default:
		h.log.Error("peer not forgotten", "peer", id.String(), "err", err)
		refuse(w, http.StatusInternalServerError, "internal_error", err.Error())
	}
}
