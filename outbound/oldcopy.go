package outbound

import (
	"errors"

	"google.golang.org/grpc/status"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire/peer"
)

// refusal is what a holder ended the stream with, without gRPC's prefix.
func refusal(refused *status.Status) error {
	for _, detail := range refused.Details() {
		if p, ok := detail.(*peer.PutBack); ok {
			if id, err := journal.IDOf(p.Journal); err == nil {
				return &journal.OldCopy{Journal: id, Proof: p.Proof}
			}
		}
	}
	return errors.New(refused.Message())
}

// oldCopyIn returns the proof that a journal was put back, where the try ended with one; nil: it
// did not.
func oldCopyIn(err error) *journal.OldCopy {
	var old *journal.OldCopy
	errors.As(err, &old)
	return old
}

// putBack is the cause for what waits because of an older copy of a journal.
func (l *link) putBack() state.Cause {
	if l.oldCopy.Journal == l.d.self.Identity.Journal {
		return state.CausePutBack
	}
	return state.CausePeerPutBack
}

// OldCopies are the journals, our own or that of a peer, that the last try to reach a peer has
// proven to be put back, by the address of that peer.
func (d *Dispatcher) OldCopies() map[string]*journal.OldCopy {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := map[string]*journal.OldCopy{}
	for address, l := range d.mu.links {
		if l.oldCopy != nil {
			found[address] = l.oldCopy
		}
	}
	return found
}
