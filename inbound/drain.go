package inbound

import (
	"context"
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

const releaseMost = 256 // in one commit

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// giveBack releases what waits unleased: all of it when we drain or the agent is
// killed; else what
// has waited for ReleaseAfter behind a shut door and was not asked to be
// durable here. It returns when the next will have waited that long.
//
// Released is durable before home is told. If we crash in between, the list of
// what we hold, sent at the next connect, tells it.
func (m *Mailbox) giveBack(ctx context.Context, b *box, no journal.Agent, now time.Time, all bool) (next time.Time, err error) {
	m.mu.Lock()
	shut, since := b.door.shut != Open, b.door.since
	all = all || b.killed
	pushed := b.pushed()
	m.unlock()
	if !shut && !all {
		return time.Time{}, nil
	}
	entries, err := m.j.MailAll(no, maxInt)
	if err != nil {
		return time.Time{}, err
	}
	var ids []journal.ID
	for _, e := range entries {
		if e.Phase != state.Ready || pushed[e.ID] || e.Receiver && !all {
			continue
		}
		from := later(e.Due, later(e.Held, since)) // what an app put off does not wait until it is due
		if over := from.Add(m.o.ReleaseAfter); !all && over.After(now) {
			next = earliest(next, over)
			continue
		}
		ids = append(ids, e.ID)
	}
	for len(ids) > 0 {
		n := min(len(ids), releaseMost)
		given, err := m.j.Release(ctx, ids[:n])
		if err != nil {
			return time.Time{}, err
		}
		m.given(given)
		ids = ids[n:]
	}
	return next, nil
}

func (m *Mailbox) given(given []journal.Given) {
	m.mu.Lock()
	server := m.mu.server
	m.unlock()
	if server != nil {
		server.released(given)
	}
}

// Drain takes nothing more: windows become 0, waiting pulls end, and what is
// unleased goes back to its homes. Settles go on. What cannot be released is
// found again at the next start.
func (m *Mailbox) Drain(ctx context.Context) {
	m.mu.Lock()
	m.mu.draining = true
	var boxes []*box
	for _, b := range m.mu.boxes {
		for _, p := range b.pulls {
			p.free, p.leaving = 0, true
		}
		b.finish()
		m.tellWindow(b)
		if b.numbered {
			boxes = append(boxes, b)
		}
	}
	m.rediscover()
	m.unlock()
	for _, b := range boxes {
		if _, err := m.giveBack(ctx, b, b.no, time.Now(), true); err != nil {
			m.log.Warn("release at drain", "agent", b.name, "err", err)
		}
	}
}
