package identity

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc/credentials"
	grpcpeer "google.golang.org/grpc/peer"
)

// Peer is who a channel proves its other end to be. It stays true while the
// channel is open: what is taken from it meanwhile it has no more.
type Peer struct {
	policy Policy
	now    atomic.Pointer[standing]
}

// standing is what a peer has been found to be.
type standing struct {
	name   string
	names  names
	agents []string // grants
	key    bool     // of a keyring

	foreign bool // its SPIFFE ID is of another trust domain than ours
}

func newPeer(policy Policy, s *standing) *Peer {
	p := &Peer{policy: policy}
	p.now.Store(s)
	return p
}

// String is the name of the peer for people to read.
func (p *Peer) String() string { return p.now.Load().name }

// SpeaksFor returns nil where the peer may send as the agent and receive for it.
func (p *Peer) SpeaksFor(agent string) error {
	s := p.now.Load()
	if covered(s.agents, agent) {
		return nil
	}
	return fmt.Errorf("%s may not speak for %s, only for %s", s.name, agent, list(s.agents))
}

// Foreign reports whether the peer is of another trust domain: what it is let do is said
// above, but its word on how much to trace is not ours.
func (p *Peer) Foreign() bool { return p.now.Load().foreign }

// Grants are the addresses, and patterns of them, that the peer may act as.
func (p *Peer) Grants() []string { return p.now.Load().agents }

// MaySend returns nil where intents of this kind are taken from the peer.
func (p *Peer) MaySend(from, to, intentType string) error {
	if err := p.SpeaksFor(from); err != nil {
		return err
	}
	return p.policy.check(from, to, intentType)
}

// MayTell returns nil where the peer may tell an agent how an intent of its own
// has ended. The word is the home's, whoever the intent was to: what is asked is
// whether any agent of the home may send there.
func (p *Peer) MayTell(to string) error {
	s := p.now.Load()
	if p.policy.tells(s.agents, to) {
		return nil
	}
	return fmt.Errorf("%s may tell %s nothing: none of its agents may send there", s.name, to)
}

// listMost bounds how many agents an error names.
const listMost = 3

func list(agents []string) string {
	switch {
	case len(agents) == 0:
		return "no agent"
	case len(agents) > listMost:
		return fmt.Sprintf("%s and %d more", strings.Join(agents[:listMost], ", "), len(agents)-listMost)
	}
	return strings.Join(agents, ", ")
}

// AuthInfo is what a handshake leaves with its connection, for gRPC.
type AuthInfo struct {
	credentials.TLSInfo
	peer    *Peer
	refused error // why nothing of this channel is heard
}

var errNoPeer = errors.New("the channel proves nobody's identity")

// admitted returns the peer of a call or a stream, by its context.
func admitted(ctx context.Context) (*Peer, error) {
	p, ok := grpcpeer.FromContext(ctx)
	if !ok {
		return nil, errNoPeer
	}
	info, ok := p.AuthInfo.(AuthInfo)
	if !ok {
		return nil, errNoPeer
	}
	return info.peer, info.refused
}

// Of returns who is at the other end of a stream, by the stream's context, if
// it may speak for anybody.
func (t *Trust) Of(ctx context.Context) (*Peer, error) {
	p, err := admitted(ctx)
	if err != nil {
		return nil, err
	}
	if s := p.now.Load(); len(s.agents) == 0 {
		return nil, fmt.Errorf("no agent belongs to %s: name it under identities, or issue it as spiffe://TRUST-DOMAIN/agent/ORG/ENV/NAME", s.name)
	}
	return p, nil
}
