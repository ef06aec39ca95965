package outbound

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire/peer"
)

const page = 500 // intents asked of the journal at once

// reconcile compares what the holder lists with what is on record. It comes
// before any offer of the stream:
//
//   - What it lists and home keeps is put on record as held there; what home does
//     not keep is revoked. What was said at home since it last heard goes along.
//   - What is on record as held there and not listed is due again, under the next
//     number: it may go to another journal now.
//   - An offer whose answer was owed when the last stream broke and that is not
//     listed never arrived: it is due for this holder again, under its number.
//
// All of it is decided by the journal and survives a crash at any line; a
// reconcile that was cut off is done again by the next stream.
func (s *session) reconcile(ctx context.Context, first *peer.Frame) error {
	var listed []journal.ID
	for f := first; ; {
		ids, err := s.listing(ctx, f.Holdings)
		if err != nil {
			return err
		}
		listed = append(listed, ids...)
		if err := s.handle(ctx, f); err != nil {
			return err
		}
		if f.HoldingDone {
			break
		}
		if f, err = s.receive(); err != nil {
			return err
		}
	}
	slices.SortFunc(listed, compare)
	return s.missing(ctx, listed)
}

func compare(a, b journal.ID) int { return bytes.Compare(a[:], b[:]) }

// listing compares one frame's lines and returns their ids.
func (s *session) listing(ctx context.Context, lines []*peer.Holding) ([]journal.ID, error) {
	if len(lines) == 0 {
		return nil, nil
	}
	lines, err := s.own(lines)
	if err != nil {
		return nil, err
	}
	list := make([]journal.Holding, 0, len(lines))
	for _, l := range lines {
		id, err := journal.IDOf(l.Id)
		if err != nil {
			return nil, fmt.Errorf("holding: %w", err)
		}
		list = append(list, journal.Holding{ID: id, OfferNo: l.OfferNo, Phase: state.Phase(l.Phase), HomeEpoch: l.HomeEpoch, Continued: l.Continued, Uncounted: l.Uncounted, Policy: l.PolicyGeneration})
	}
	verdicts, words, policies, err := s.d.journal.Reconcile(ctx, s.peer, list)
	if err != nil {
		return nil, fmt.Errorf("reconcile: %w", err)
	}
	if err := s.waitRoom(ctx); err != nil {
		return nil, err
	}
	gone := make(map[journal.ID]struct{}, len(verdicts))
	for _, v := range verdicts {
		gone[v.ID] = struct{}{}
		s.out.revoke(v)
	}
	for _, c := range words {
		s.out.update(c)
	}
	for _, p := range policies {
		s.out.change(p)
	}
	if err := s.d.keep(s, list, gone); err != nil {
		return nil, err
	}
	ids := make([]journal.ID, len(list))
	for i, h := range list {
		ids[i] = h.ID
	}
	return ids, nil
}

// keep counts what the holder keeps against its credit, and takes out of flight
// what was owed and has turned up.
func (d *Dispatcher) keep(s *session, list []journal.Holding, gone map[journal.ID]struct{}) error {
	var kept []journal.ID
	counts := map[journal.ID]bool{}
	for _, h := range list {
		if _, revoked := gone[h.ID]; !revoked {
			kept = append(kept, h.ID)
			counts[h.ID] = h.Phase.WithApp() && !h.Uncounted
		}
	}
	agents, err := d.journal.Dests(kept)
	if err != nil {
		return fmt.Errorf("read where the kept ones go: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, id := range kept {
		if f := d.mu.flights[id]; f != nil && f.stage == owed && f.holder.Journal == s.peer.Journal {
			d.drop(f)
		}
		// No destination: an orphan of an earlier life of ours.
		if agents[i] != 0 && counts[id] {
			d.count(id, s.pair(d.keyOf(agents[i])))
		}
	}
	return nil
}

// missing makes due what is on record at the holder and not in its list.
func (s *session) missing(ctx context.Context, listed []journal.ID) error {
	d := s.d
	d.mu.Lock()
	h := d.mu.holders[s.peer.Journal]
	d.mu.Unlock()
	// What it said held on the former stream may still be on its way into the
	// journal: it has to be on record before it can be missed.
	if err := d.quiet(ctx, h); err != nil {
		return err
	}
	var after journal.ID
	for {
		ids, err := d.journal.HeldAt(s.peer.Journal, after, page)
		if err != nil {
			return fmt.Errorf("list what is held: %w", err)
		}
		var again []journal.Requeue
		for _, id := range ids {
			if _, found := slices.BinarySearchFunc(listed, id, compare); !found {
				again = append(again, journal.Requeue{ID: id, Raise: true})
			}
		}
		if len(again) > 0 {
			if err := d.journal.Requeue(ctx, s.peer.Journal, again); err != nil {
				return fmt.Errorf("take back what is missing: %w", err)
			}
			d.uncount(s, again)
		}
		if len(ids) < page {
			return nil
		}
		after = ids[len(ids)-1]
	}
}

// uncount frees what a report in the frames of the list has counted anew: it was of
// before the holder gave the intent back, which we learn only by the list.
func (d *Dispatcher) uncount(s *session, again []journal.Requeue) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range again {
		d.freeAt(s, r.ID)
	}
}

// waitRoom waits until the writer has caught up. A peer that does not read for
// too long loses the stream.
func (s *session) waitRoom(ctx context.Context) error {
	if s.out.room() {
		return nil
	}
	timeout := time.NewTimer(s.d.opt.OfferTimeout)
	defer timeout.Stop()
	for !s.out.room() {
		select {
		case <-s.out.free:
		case <-timeout.C:
			return errDeaf
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// quiet waits until every held of a holder is on record.
func (d *Dispatcher) quiet(ctx context.Context, h *holder) error {
	d.mu.Lock()
	if h.recording == 0 {
		d.mu.Unlock()
		return nil
	}
	if h.quiet == nil {
		h.quiet = make(chan struct{})
	}
	done := h.quiet
	d.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.Join(errors.New("wait for what is held to be on record"), context.Cause(ctx))
	}
}

// opened lets offers flow.
func (d *Dispatcher) opened(s *session) {
	d.mu.Lock()
	s.live, s.liveSince = true, time.Now()
	s.link.phase, s.link.asked, s.link.lastError, s.link.oldCopy, s.link.failures = open, true, "", nil, 0
	s.link.outSince = time.Time{}
	d.wakeAllLocked()
	d.mu.Unlock()
	d.log.Info("stream to peer open", "peer", s.link.address)
}
