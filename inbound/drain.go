package inbound

import (
	"context"
	"errors"
	"fmt"
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
// durable here. It returns when the next will have waited that long. Of a home that
// is not wanted it releases nothing.
//
// Released is durable before home is told. If we crash in between, the list of
// what we hold, sent at the next connect, tells it.
func (m *Mailbox) giveBack(ctx context.Context, b *box, no journal.Agent, now time.Time, all bool, wanted func(home journal.ID) bool) (next time.Time, err error) {
	m.mu.Lock()
	shut, since := b.door.shut != Open, b.door.since
	all = all || b.killed
	pushed := b.pushed()
	m.unlock()
	if !shut && !all {
		return time.Time{}, nil
	}
	entries, err := m.j.MailAll(no)
	if err != nil {
		return time.Time{}, err
	}
	var ids []journal.ID
	for _, e := range entries {
		if e.Phase != state.Ready || pushed[e.ID] || e.Receiver && !all || !wanted(e.Home) {
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

func everyHome(journal.ID) bool { return true }

// Drain takes nothing more: windows become 0, waiting pulls end, and what is
// unleased goes back to its homes. Settles go on. What cannot be released is
// found again at the next start.
func (m *Mailbox) Drain(ctx context.Context) {
	m.Retire()
	if err := m.GiveBack(ctx, everyHome); err != nil {
		m.log.Warn("release at drain", "err", err)
	}
}

// Retire takes nothing more, as Drain does, and keeps what is here. Before Run, a
// mailbox never takes anything.
func (m *Mailbox) Retire() {
	m.mu.Lock()
	defer m.unlock()
	m.mu.draining = true
	for _, b := range m.mu.boxes {
		for _, p := range b.pulls {
			p.free, p.leaving = 0, true
		}
		b.finish()
		m.tellWindow(b)
	}
	m.rediscover()
}

// GiveBack releases what is unleased of the homes that are wanted.
func (m *Mailbox) GiveBack(ctx context.Context, wanted func(home journal.ID) bool) error {
	m.mu.Lock()
	var boxes []*box
	for _, b := range m.mu.boxes {
		if b.numbered {
			boxes = append(boxes, b)
		}
	}
	m.unlock()
	var errs []error
	for _, b := range boxes {
		if _, err := m.giveBack(ctx, b, b.no, time.Now(), true, wanted); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", b.name, err))
		}
	}
	return errors.Join(errs...)
}
