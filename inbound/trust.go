package inbound

import (
	"context"
	"fmt"
	"maps"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pannier/journal"
)

// Peer is who the channel of a stream proves a home to be. Each method returns
// nil, or who it is and why not; the answers may change while the stream is open.
type Peer interface {
	// SpeaksFor: it may act as the agent.
	SpeaksFor(agent string) error
	// Foreign: it is of another trust domain.
	Foreign() bool
	// Grants are the addresses, and patterns of them, that it may act as.
	Grants() []string
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
	if err := ss.s.usurps(ss.peer, ss.home.Journal); err != nil {
		return status.Errorf(codes.PermissionDenied, "journal %s is another peer's: %v; give its sidecar its identity back", ss.home.Journal, err)
	}
	return nil
}

const (
	// keptFor is how long after its stream a home is its peer's: longer than a
	// restart, and shorter than a change of names is waited for.
	keptFor = 10 * time.Minute
	// keptMost bounds those that are remembered.
	keptMost = 10_000
)

// kept is whose a home without a stream is.
type kept struct {
	grants []string
	until  time.Time
}

// usurps returns why a peer may not say a journal's id though nothing of that is
// here: it has no agent in common with who says it on a stream that lives, or did a
// moment ago, and would end that stream, or keep the next out by a higher epoch.
func (s *Server) usurps(p Peer, home journal.ID) (why error) {
	s.mu.Lock()
	var grants []string
	if ss := s.mu.sessions[home]; ss != nil && ss.peer != nil {
		grants = ss.peer.Grants()
	} else if k, ok := s.mu.kept[home]; ok && time.Now().Before(k.until) {
		grants = k.grants
	}
	s.mu.Unlock()
	for _, grant := range grants {
		if why = p.SpeaksFor(grant); why == nil {
			return nil
		}
	}
	return why
}

// keep remembers whose a home was, when its stream has ended. Called with s.mu
// held.
func (s *Server) keep(ss *session) {
	if ss.peer == nil {
		return
	}
	now := time.Now()
	if len(s.mu.kept) >= keptMost {
		maps.DeleteFunc(s.mu.kept, func(_ journal.ID, k kept) bool { return !now.Before(k.until) })
	}
	if _, again := s.mu.kept[ss.home.Journal]; again || len(s.mu.kept) < keptMost {
		s.mu.kept[ss.home.Journal] = kept{ss.peer.Grants(), now.Add(keptFor)}
	}
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
