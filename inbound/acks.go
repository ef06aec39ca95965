package inbound

import (
	"context"
	"fmt"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire/peer"
)

// acksMost bounds the acks gathered for one commit. Home acks only what it was
// sent, so a reader that has to wait for the commit waits for one.
const acksMost = 4096

// takeAck notes what home has applied; ackLoop journals it.
func (ss *session) takeAck(ctx context.Context, a *peer.ReportAck) error {
	in := make([]journal.Acked, len(a.Acked))
	for i, one := range a.Acked {
		id, err := journal.IDOf(one.Id)
		if err != nil {
			return fmt.Errorf("report ack: %w", err)
		}
		if one.Status > uint32(state.TimedOut) {
			return fmt.Errorf("report ack: status %d", one.Status)
		}
		in[i] = journal.Acked{ID: id, Status: state.Status(one.Status), Events: one.Events, Unknown: one.Unknown, Park: one.Park}
	}
	for {
		ss.mu.Lock()
		if len(ss.mu.acks) < acksMost {
			ss.mu.acks = append(ss.mu.acks, in...)
			ss.mu.upTo = max(ss.mu.upTo, a.UpTo)
			ss.mu.Unlock()
			poke(ss.acked)
			return nil
		}
		freed := ss.mu.freed
		ss.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return nil // the reports will be acked again
		}
	}
}

// ackTime is how long acks are gathered for one commit. Nothing waits for them but a
// goodbye: at 200 intents a second each cost the holder a commit of its own, its third.
const ackTime = 20 * time.Millisecond

// ackLoop journals acks, as many at once as have come since the last commit, and a
// moment more.
//
// If we crash before the commit the reports are sent again and acked again.
func (ss *session) ackLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-ss.acked:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(ackTime):
		}
		ss.mu.Lock()
		acks, upTo := ss.mu.acks, ss.mu.upTo
		ss.mu.acks, ss.mu.upTo = nil, 0
		close(ss.mu.freed)
		ss.mu.freed = make(chan struct{})
		ss.mu.Unlock()
		if err := ss.s.j.AckReports(ctx, ss.home.Journal, upTo, acks); err != nil {
			ss.end(err)
			return
		}
		poke(ss.moved)
	}
}
