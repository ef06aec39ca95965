// Package admin serves operators and supervisors: health, and what this
// sidecar knows of itself and of its peers.
//
//	GET  /healthz                      200 as long as the process answers
//	GET  /readyz                       200 when it takes and delivers intents; ?verbose lists the checks
//	GET  /startupz                     200 once it has been ready, and ever after
//	GET  /v1/admin/status              journal, version, readiness
//	GET  /v1/admin/peers               the sidecars this one delivers to
//	POST /v1/admin/peers/{id}/forget   gives a sidecar up for lost
//	POST /v1/admin/breakers/open       leaves an endpoint alone, {"address": "HOST:PORT"}
//	POST /v1/admin/breakers/close      forgets its failures
//	GET  /v1/admin/agents              the agents served here, and how their apps receive
//	POST /v1/admin/agents/set          another way, at once
//	GET  /v1/admin/dead-letters        what ended for a reason of delivery, newest first
//	GET  /v1/admin/dead-letters/{id}   one of them
//	POST /v1/admin/dead-letters/{id}/redrive   a successor for one
//	POST /v1/admin/dead-letters/redrive        for many, at a rate
//	POST /v1/admin/dead-letters/purge          removes many; counts first
//	GET  /v1/admin/xds                 what control planes have told: servers, agents, resources
//	GET  /v1/admin/xds/dump            the same with the resources themselves
//	GET  /v1/admin/secrets             what requests to apps are signed with, by fingerprint
//	POST /v1/admin/secrets/rotate      the next one, with an overlap
//
// Health never reads the journal: a disk that hangs must not hang the
// supervisor's probe. It also never asks about peers, control plane or app;
// a sidecar is ready without any of them.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/outbound"
	"pannier/proxy/xds"
)

// A Check is one condition of readiness.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
	// Advice is something to know that does not make the sidecar unready.
	Advice bool `json:"advice,omitempty"`
}

// Health is what the sidecar says about itself at one moment.
type Health struct {
	Started bool // it has been ready
	Checks  []Check
}

// Ready reports whether every condition is met.
func (h Health) Ready() bool {
	return !slices.ContainsFunc(h.Checks, func(c Check) bool { return !c.OK && !c.Advice })
}

// Source is where the answers come from. Secrets are in files, Forget,
// Agents and DeadLetters use the journal, all else is read from memory.
type Source struct {
	Version string
	Health  func() Health
	Stats   func() journal.Stats
	Peers   func() []outbound.PeerStatus
	Forget  func(context.Context, journal.ID) error
	Breaker Breaker
	Pushed  func() []string // agents that receive by http
	Secrets Secrets
	Agents  Agents

	DeadLetters DeadLetters

	// XDS says what control planes have told, with dump also the resources
	// themselves; nil where none is configured.
	XDS func(dump bool) xds.Status
}

// handler serves the admin listener.
type handler struct {
	Source
	hosts []string
	log   *slog.Logger
}

// New returns the handler of the admin listener. hosts are the names, beside
// loopback's and literal addresses, under which it may be asked.
func New(s Source, hosts []string, log *slog.Logger) http.Handler {
	h := &handler{Source: s, hosts: hosts, log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", h.healthz)
	mux.HandleFunc("GET /readyz", h.readyz)
	mux.HandleFunc("GET /startupz", h.startupz)
	mux.HandleFunc("GET /v1/admin/status", h.status)
	mux.HandleFunc("GET /v1/admin/peers", h.peers)
	mux.HandleFunc("POST /v1/admin/peers/{id}/forget", h.forget)
	mux.HandleFunc("POST /v1/admin/breakers/open", h.openBreaker)
	mux.HandleFunc("POST /v1/admin/breakers/close", h.closeBreaker)
	mux.HandleFunc("GET /v1/admin/agents", h.agents)
	mux.HandleFunc("POST /v1/admin/agents/set", h.setBinding)
	mux.HandleFunc("GET /v1/admin/dead-letters", h.listDead)
	mux.HandleFunc("GET /v1/admin/dead-letters/{id}", h.showDead)
	mux.HandleFunc("POST /v1/admin/dead-letters/{id}/redrive", h.redriveOne)
	mux.HandleFunc("POST /v1/admin/dead-letters/redrive", h.redriveMany)
	mux.HandleFunc("POST /v1/admin/dead-letters/purge", h.purge)
	mux.HandleFunc("GET /v1/admin/xds", h.xds)
	mux.HandleFunc("GET /v1/admin/xds/dump", h.xdsDump)
	mux.HandleFunc("GET /v1/admin/secrets", h.listSecrets)
	mux.HandleFunc("POST /v1/admin/secrets/rotate", h.rotateSecret)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "not_found", "no such page: see /healthz, /readyz, /startupz, /v1/admin/status, /v1/admin/peers, /v1/admin/agents, /v1/admin/dead-letters, /v1/admin/xds, /v1/admin/secrets")
	})
	sameOrigin := http.NewCrossOriginProtection()
	sameOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusForbidden, "cross_site_request", "a page of another origin sent this")
	}))
	return h.guard(sameOrigin.Handler(mux))
}

// guard refuses what a browser was talked into sending: a page may point its
// own host name at our address, but cannot make that name a literal address.
func (h *handler) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !h.hostAllowed(r.Host) {
			refuse(w, http.StatusForbidden, "host_not_allowed", "ask for localhost or for the listener's address: the Host header names something else")
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

func (h *handler) hostAllowed(hostport string) bool {
	host := hostport
	if name, _, err := net.SplitHostPort(hostport); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(strings.ToLower(host), "["), "]")
	return host == "localhost" || net.ParseIP(host) != nil || slices.Contains(h.hosts, host)
}

type healthAnswer struct {
	Status  string  `json:"status"`
	Version string  `json:"version,omitempty"`
	Checks  []Check `json:"checks,omitempty"`
}

func (h *handler) healthz(w http.ResponseWriter, _ *http.Request) {
	write(w, http.StatusOK, healthAnswer{Status: "ok", Version: h.Version})
}

func (h *handler) readyz(w http.ResponseWriter, r *http.Request) {
	now := h.Health()
	answer := healthAnswer{Status: "ready", Version: h.Version}
	status := http.StatusOK
	if !now.Ready() {
		answer.Status, status = "not ready", http.StatusServiceUnavailable
	}
	for _, c := range now.Checks {
		// Unasked, only what is wrong: it is the first thing anybody wants to know.
		if r.URL.Query().Has("verbose") || !c.OK && !c.Advice {
			answer.Checks = append(answer.Checks, c)
		}
	}
	write(w, status, answer)
}

func (h *handler) startupz(w http.ResponseWriter, _ *http.Request) {
	if !h.Health().Started {
		write(w, http.StatusServiceUnavailable, healthAnswer{Status: "starting", Version: h.Version})
		return
	}
	write(w, http.StatusOK, healthAnswer{Status: "started", Version: h.Version})
}

type statusAnswer struct {
	OK      bool          `json:"ok"`
	Ready   bool          `json:"ready"`
	Version string        `json:"version,omitempty"`
	Checks  []Check       `json:"checks"`
	Journal journalAnswer `json:"journal"`
}

type journalAnswer struct {
	ID      string            `json:"id"`
	Epoch   uint64            `json:"epoch"`
	Seq     uint64            `json:"seq"`
	Boot    uint32            `json:"boot"`
	Unclean bool              `json:"unclean"`
	Durable bool              `json:"durable"`
	Live    map[string]uint64 `json:"live"`
}

func (h *handler) status(w http.ResponseWriter, _ *http.Request) {
	s, now := h.Stats(), h.Health()
	write(w, http.StatusOK, statusAnswer{
		OK: true, Ready: now.Ready(), Version: h.Version, Checks: now.Checks,
		Journal: journalAnswer{
			ID: s.Identity.Journal.String(), Epoch: s.Identity.Epoch, Seq: s.Seq, Boot: s.Boot,
			Unclean: s.Unclean, Durable: s.Durable, Live: s.Live,
		},
	})
}

type peersAnswer struct {
	OK    bool                  `json:"ok"`
	Peers []outbound.PeerStatus `json:"peers"`
}

func (h *handler) peers(w http.ResponseWriter, _ *http.Request) {
	write(w, http.StatusOK, peersAnswer{OK: true, Peers: append([]outbound.PeerStatus{}, h.Peers()...)})
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
		write(w, http.StatusOK, struct {
			OK        bool   `json:"ok"`
			JournalID string `json:"journal_id"`
		}{true, id.String()})
	case errors.Is(err, outbound.ErrUnknownPeer):
		refuse(w, http.StatusNotFound, "peer_not_found", "no peer with this journal id is on record")
	case errors.Is(err, journal.ErrFailed), errors.Is(err, journal.ErrClosed):
		refuse(w, http.StatusServiceUnavailable, "journal_failed", err.Error())
	default:
		h.log.Error("peer not forgotten", "peer", id.String(), "err", err)
		refuse(w, http.StatusInternalServerError, "internal", err.Error())
	}
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // an error here is a reader that hung up
}
