package inbound

import (
	"context"
	"time"
)

// SetKilled kills an agent or lets it live again, durably. A killed one is
// handed nothing here: waiting pulls end, later ones wait and get nothing, the
// window is 0, and what is unleased goes back to its homes, where another
// sidecar may have it or it waits. What its app has under a lease, or was
// sent, may still be settled.
//
// The journal refuses leases from the commit on. If we crash after it, the mailbox
// reads it at the next start.
func (m *Mailbox) SetKilled(ctx context.Context, agent string, killed bool, actor string) error {
	if err := m.j.SetKilled(ctx, agent, killed, actor); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.unlock()
	b := m.box(agent)
	if no, known := m.j.AgentNo(agent); known {
		m.number(b, no)
	}
	// What is true now, not what was asked: two callers may come here in another
	// order than to the journal.
	b.killed = m.j.Killed(agent)
	if b.killed {
		for _, p := range b.pulls {
			p.free, p.leaving = 0, true
		}
		b.finish()
		b.release = time.Now()
	} else {
		// What the journal refused to lease was left behind.
		m.j.RewindMail(b.no, time.UnixMilli(0))
		m.rediscover()
	}
	m.rouse(b)
	m.tellWindow(b)
	return nil
}
