package inbound

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Peer is who the channel of a stream proves a home to be. Each method returns
// nil, or who it is and why not; the answers may change while the stream is open.
type Peer interface {
	// SpeaksFor: it may act as the agent.
	SpeaksFor(agent string) error
	// MaySend: intents of this type from and to these agents are taken from it.
	MaySend(from, to, intentType string) error
	// MayTell: completions to the agent are taken from it.
	MayTell(to string) error
}

// Trust tells who is at the other end of a stream or call, by its context. An
// error refuses it.
type Trust func(context.Context) (Peer, error)

// SetTrust makes the server ask who its homes are; without it every one is
// taken at its word. Called before Run.
func (s *Server) SetTrust(t Trust) { s.trust = t }

// prove returns who is at the other end; nil: nobody asks.
func (s *Server) prove(ctx context.Context) (Peer, error) {
	if s.trust == nil {
		return nil, nil
	}
	p, err := s.trust(ctx)
	if err != nil {
		return nil, status.Error(codes.PermissionDenied, err.Error())
	}
	return p, nil
}

// checkHome refuses a peer that says the id of a journal that others have sent
// from: it could end what they have sent, or take reports that are theirs.
func (ss *session) checkHome() error {
	if ss.peer == nil {
		return nil
	}
	senders, err := ss.s.j.Senders(ss.home.Journal)
	if err != nil {
		return status.Error(codes.Unavailable, fmt.Sprintf("list what is held: %v", err))
	}
	for _, agent := range senders {
		if err := ss.peer.SpeaksFor(agent); err != nil {
			return status.Errorf(codes.PermissionDenied, "journal %s has sent in the name of %s: %v; give its sidecar its identity back", ss.home.Journal, agent, err)
		}
	}
	return nil
}

// denied says why an offer is not taken from this home; empty: it is. What is
// here already was, and is not refused.
func (ss *session) denied(h *holding) string {
	if ss.peer == nil {
		return ""
	}
	var why error
	if h.completion {
		why = ss.peer.MayTell(h.agent)
	} else {
		why = ss.peer.MaySend(h.from, h.agent, h.intentType)
	}
	if why == nil || ss.s.mailbox.here(ss.home.Journal, h.id) {
		return ""
	}
	ss.s.log.Warn("offer denied", "intent_id", h.id.String(), "agent", h.agent, "peer", ss.home.Journal.String(), "err", why)
	return why.Error()
}
