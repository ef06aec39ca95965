package inbound

import (
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pannier/journal"
	"pannier/journal/wire/peer"
)

// oldCopiesMost bounds the homes that are remembered: each of them has acked reports of ours.
const oldCopiesMost = 100

// greeted notes how the greeting of a home went: one that is exchanged with again has no older
// copy any more.
func (s *Server) greeted(ss *session, err error) {
	home := ss.home.Journal
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.mu.oldCopies[home]
	var old *journal.OldCopy
	switch {
	case err == nil:
		delete(s.mu.oldCopies, home)
	case errors.As(err, &old) && !known && len(s.mu.oldCopies) < oldCopiesMost: // home dials on, and is told each time
		s.mu.oldCopies[home] = oldCopy{ss.hello.Address, old}
		s.log.Error("nothing is exchanged with a home until somebody looks", "peer", home.String(), "err", err)
	}
}

// oldCopy is a journal, home's or ours, that a home's hello has proven to be put back.
type oldCopy struct {
	home string // its address
	*journal.OldCopy
}

// refusal is what a home is told whose greeting went wrong.
func refusal(err error) error {
	refused := status.New(codes.Unavailable, err.Error())
	var old *journal.OldCopy
	if errors.As(err, &old) {
		if with, err := refused.WithDetails(&peer.PutBack{Journal: old.Journal[:], Proof: old.Proof}); err == nil {
			refused = with // without it the message says the same to people
		}
	}
	return refused.Err()
}

// OldCopies are the journals, our own or a home's, that a home's last hello has proven to be put
// back, by the address of that home.
func (s *Server) OldCopies() map[string]*journal.OldCopy {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := make(map[string]*journal.OldCopy, len(s.mu.oldCopies))
	for _, old := range s.mu.oldCopies {
		found[old.home] = old.OldCopy
	}
	return found
}
