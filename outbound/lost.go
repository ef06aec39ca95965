package outbound

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

// ErrUnknownPeer: no holder of that journal id is on record.
var ErrUnknownPeer = errors.New("no such peer")

// holder is a journal that has, or had, intents of ours. Guarded by the
// dispatcher's mu.
type holder struct {
	id        journal.ID
	epoch     uint64
	address   string
	ephemeral bool
	agents    []string  // some that its peer was proven to speak for
	seen      time.Time // when it was

	session  *session
	heir     *session  // waits for session to end, to take its place
	since    time.Time // without a stream
	deadline time.Time // then it is lost; zero while it has a stream
	lost     bool      // what it held has been made due again
	left     bool      // it said goodbye with nothing held

	held      int           // last count of what is on record there, without a stream
	owed      int           // offers whose answer it owes, without a stream
	recording int           // said held, not yet on record
	quiet     chan struct{} // closed when recording is zero
	losing    chan struct{} // closed when lose is done; nil when it is not at work
}

// landed notes that n of what it said held is on record.
func (h *holder) landed(n int) {
	if h.session == nil {
		h.held += n
	}
	if h.recording -= n; h.recording == 0 && h.quiet != nil {
		close(h.quiet)
		h.quiet = nil
	}
}

// away starts the clock after which a holder without a stream is lost. Absence
// from discovery does not: it only stops new offers. Called with mu held.
func (d *Dispatcher) away(h *holder, now time.Time) {
	h.since, h.lost = now, false
	after := d.opt.HolderLostAfter
	if h.ephemeral {
		after = d.opt.HolderLostAfterEphemeral
	}
	if h.left {
		after = 0
	}
	h.deadline = now.Add(after)
	d.watch(h)
}

// watch makes the loop look at the holder's deadline. Called with mu held.
func (d *Dispatcher) watch(h *holder) {
	if d.mu.lostAt.IsZero() || h.deadline.Before(d.mu.lostAt) {
		d.mu.lostAt = h.deadline
		d.poke()
	}
}

// overdue takes the holders whose deadline is past and marks them as being
// lost. Called with mu held.
func (d *Dispatcher) overdue(now time.Time) (lost []*holder) {
	if d.mu.lostAt.IsZero() || now.Before(d.mu.lostAt) {
		return nil
	}
	d.mu.lostAt = time.Time{}
	for _, h := range d.mu.holders {
		switch {
		case h.session != nil || h.lost || h.losing != nil || h.deadline.IsZero():
		case !now.Before(h.deadline):
			h.losing = make(chan struct{})
			lost = append(lost, h)
		default:
			d.watch(h)
		}
	}
	return lost
}

// lose makes due what a lost holder has, under the next number. h.losing is
// set: no session of it opens before this is done. A crash in between leaves
// the rest on record there, and the clock starts again with the process.
func (d *Dispatcher) lose(ctx context.Context, h *holder) {
	n, err := d.requeueAll(ctx, h, false)
	d.mu.Lock()
	defer d.mu.Unlock()
	close(h.losing)
	h.losing = nil
	if err != nil {
		if ctx.Err() == nil {
			d.log.Error("cannot take back what a lost peer holds", "peer", h.id.String(), "err", err)
		}
		h.deadline = time.Now().Add(pauseFault)
		d.watch(h)
		return
	}
	d.gone(h)
	if n > 0 && !h.left {
		d.log.Warn("peer lost: what it held is offered elsewhere", "peer", h.id.String(), "state", h.address, "intents", n)
	}
}

// gone forgets a holder that has nothing of ours any more: it is not dialed for
// its own sake, and counts for nothing until it says hello. Called with mu held.
func (d *Dispatcher) gone(h *holder) {
	h.lost, h.held = true, 0
	if h.recording == 0 && h.owed == 0 {
		delete(d.mu.holders, h.id)
	}
	d.wakeAllLocked()
}

// requeueAll raises and makes due everything on record at a holder, and every
// offer it owes an answer for. What waits for a person there stays on record, unless
// threads says that the holder is given up for good.
func (d *Dispatcher) requeueAll(ctx context.Context, h *holder, threads bool) (n int, err error) {
	if err := d.quiet(ctx, h); err != nil {
		return 0, err
	}
	var owing []*flight
	var list []journal.Requeue
	reason := state.ReasonHolderLost
	d.mu.Lock()
	if h.left {
		reason = state.NoReason
	}
	for _, f := range d.mu.flights {
		if f.stage == owed && f.holder.Journal == h.id {
			owing = append(owing, f)
			list = append(list, journal.Requeue{ID: f.id, OfferNo: f.offerNo, Raise: true, Reason: reason})
		}
	}
	d.mu.Unlock()
	if len(list) > 0 {
		if err := d.journal.Requeue(ctx, h.id, list); err != nil {
			return 0, err
		}
		n += len(list)
		d.giveBack(owing, false)
	}
	for after := (journal.ID{}); ; {
		ids, err := d.journal.HeldAt(h.id, after, page)
		if err != nil || len(ids) == 0 {
			return n, err
		}
		after = ids[len(ids)-1]
		list = list[:0]
		for _, id := range ids {
			list = append(list, journal.Requeue{ID: id, Raise: true, Reason: reason, Threads: threads})
		}
		if err := d.journal.Requeue(ctx, h.id, list); err != nil {
			return n, err
		}
		n += len(ids)
	}
}

// register makes s the session of the journal that answered the hello. A newer
// hello of one journal wins over an older stream: that one is ended first. A
// journal that comes back with a higher epoch was restored: what it had is lost.
func (d *Dispatcher) register(ctx context.Context, s *session) error {
	if s.peer.Journal == d.self.Identity.Journal {
		return errSelf
	}
	h, restored, err := d.claimHolder(ctx, s)
	if err != nil {
		return err
	}
	if restored {
		if _, err := d.requeueAll(ctx, h, true); err != nil {
			return fmt.Errorf("take back what a restored peer held: %w", err)
		}
	}
	if err := d.journal.SawHolder(ctx, s.peer, s.link.address, s.ephemeral, s.proven()); err != nil {
		return fmt.Errorf("record the peer: %w", err)
	}
	return nil
}

// checkCopy compares what a peer says it has told with what is applied here.
func (d *Dispatcher) checkCopy(s *session) error {
	if s.told == nil {
		return nil
	}
	return d.journal.CheckHolder(s.peer, s.told.Last, s.told.Acked)
}

// claimHolder waits until the journal has no other session and is not being
// lost, and takes it.
func (d *Dispatcher) claimHolder(ctx context.Context, s *session) (h *holder, restored bool, err error) {
	agents, seen, err := d.journal.ProvenBy(s.peer.Journal)
	if err != nil {
		return nil, false, fmt.Errorf("read who it was: %w", err)
	}
	for {
		// An older copy does not end the stream of the newer; nor does one that is older
		// once that stream has ended.
		if err := d.checkCopy(s); err != nil {
			d.mu.Lock()
			s.link.copyOf = s.peer // the next hello says what we know of it, which it may not know itself
			d.mu.Unlock()
			return nil, false, err // nothing is exchanged until somebody looks
		}
		var wait chan struct{}
		d.mu.Lock()
		h = d.mu.holders[s.peer.Journal]
		if h == nil {
			h = &holder{id: s.peer.Journal, epoch: s.peer.Epoch, agents: agents, seen: seen}
			d.mu.holders[h.id] = h
		}
		strange := s.strangeTo(h.agents)
		if strange != nil && (h.session != nil || time.Since(later(h.seen, h.since)) < provenFor) {
			d.mu.Unlock()
			return nil, false, fmt.Errorf("journal %s is another peer's: %w; give it its identity back, or the journal up with pannier peers forget", h.id, strange)
		}
		switch {
		case s.peer.Epoch < h.epoch && strange == nil:
			d.mu.Unlock()
			return nil, false, fmt.Errorf("journal %s answers with epoch %d and was at %d: an old copy of it runs", h.id, s.peer.Epoch, h.epoch)
		case h.losing != nil:
			wait = h.losing
		case h.session != nil:
			d.log.Warn("one journal answers at two addresses", "peer", s.link.address, "state", h.session.link.address)
			h.session.link.alias = h.id
			h.heir = s
			h.session.cancel(errSuperseded)
			wait = h.session.ended
		default:
			restored = s.peer.Epoch != h.epoch
			d.takeHolder(h, s)
			d.mu.Unlock()
			return h, restored, nil
		}
		d.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
	}
}

// takeHolder binds journal, session and address. Called with mu held.
func (d *Dispatcher) takeHolder(h *holder, s *session) {
	if agents := s.proven(); len(agents) > 0 {
		h.agents, h.seen = agents, time.Now()
	}
	h.session, h.epoch, h.ephemeral, h.address = s, s.peer.Epoch, s.ephemeral, s.link.address
	h.heir, h.deadline, h.lost, h.left = nil, time.Time{}, false, false
	s.greeted = true
	s.link.session, s.link.phase, s.link.alias = s, reconciling, journal.ID{}
	// Whoever was at this address before may have moved; it is not given much
	// longer.
	soon := time.Now().Add(d.opt.HolderMovedAfter)
	for _, other := range d.mu.holders {
		if other != h && other.address == h.address && other.session == nil && !other.lost && other.deadline.After(soon) {
			other.deadline = soon
			d.watch(other)
		}
	}
}

// Forget gives a holder up at an operator's word: what it holds is offered
// elsewhere, and what it still finishes may run twice. If it has a stream, that
// is ended, so that it hears what it must let go when it returns.
func (d *Dispatcher) Forget(ctx context.Context, id journal.ID) error {
	for {
		d.mu.Lock()
		h := d.mu.holders[id]
		if h == nil {
			d.mu.Unlock()
			known, err := d.journal.Disown(ctx, id) // it has nothing of ours, and may be refused
			if err == nil && !known {
				err = ErrUnknownPeer
			}
			return err
		}
		var wait chan struct{}
		switch {
		case h.losing != nil:
			wait = h.losing
		case h.session != nil:
			h.session.cancel(errForgotten)
			wait = h.session.ended
		default:
			h.losing = make(chan struct{})
			d.mu.Unlock()
			return d.forget(ctx, h)
		}
		d.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *Dispatcher) forget(ctx context.Context, h *holder) error {
	_, err := d.requeueAll(ctx, h, true)
	if err == nil {
		_, err = d.journal.Disown(ctx, h.id)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	close(h.losing)
	h.losing = nil
	if err != nil {
		return fmt.Errorf("forget peer %s: %w", h.id, err)
	}
	d.gone(h)
	return nil
}

// lastAt returns the journal last seen at an address.
func (d *Dispatcher) lastAt(address string) (journal.Identity, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if h := d.lastHolder(address); h != nil {
		return journal.Identity{Journal: h.id, Epoch: h.epoch}, true
	}
	if l := d.mu.links[address]; l != nil && l.oldCopy != nil {
		return l.copyOf, !l.copyOf.Journal.IsZero()
	}
	return journal.Identity{}, false
}

// lastHolder is the holder last seen at an address. Called with mu held.
func (d *Dispatcher) lastHolder(address string) (last *holder) {
	for _, h := range d.mu.holders {
		if h.address == address && (last == nil || h.since.After(last.since)) {
			last = h
		}
	}
	return last
}

// countHeld counts what is on record at a holder.
func (d *Dispatcher) countHeld(id journal.ID) (n int, err error) {
	var after journal.ID
	for {
		ids, err := d.journal.HeldAt(id, after, page)
		if n += len(ids); err != nil || len(ids) < page {
			return n, err
		}
		after = ids[len(ids)-1]
	}
}
