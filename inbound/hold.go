package inbound

import (
	"context"
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

// place is the room kept for one intent that is offered: it counts against the
// window of its home, and a pull may already wait for it.
type place struct {
	box   *box // nil: of a thread, which takes none
	home  journal.ID
	slot  slot
	lease journal.Terms // For > 0: slot is reserved; held and lease are one commit
}

// admit keeps a place for an intent of home, or says why there is none. Every
// place is settled by taken, once.
//
// A completion is a thread that nobody waits to be handed, unless the agent asked
// for completions as intents: it needs no room.
//
// A task, and what is for an inbox, goes into that: people take any number, up to max_open.
//
// An intent that is here already is never refused for want of room: home has
// asked because it does not know, and would offer it elsewhere. The journal is asked
// without the lock: figures wait for that, and must not wait for a disk that hangs.
func (m *Mailbox) admit(home journal.ID, agent string, id journal.ID, completion, task bool) (place, error) {
	p, err := m.admitNew(home, agent, completion, task, false)
	if err != nil && m.here(home, id) {
		return m.admitNew(home, agent, completion, task, true)
	}
	return p, err
}

// admitNew is admit for one of which it is known whether it is here.
func (m *Mailbox) admitNew(home journal.ID, agent string, completion, task, here bool) (place, error) {
	m.mu.Lock()
	defer m.unlock()
	if m.mu.draining && !here {
		return place{}, ErrDraining
	}
	if !m.serves(agent) && !here {
		return place{}, ErrNotServed
	}
	if completion && !m.mu.completions[agent] {
		return place{lease: journal.Terms{Thread: true}}, nil
	}
	if task || m.mu.inboxes[agent] {
		if m.j.OpenMail(agent) >= m.o.MaxOpen && !here {
			return place{}, ErrBusy
		}
		return place{lease: journal.Terms{Inbox: true}}, nil
	}
	b := m.box(agent)
	if !b.credit.admit(home, m.window(b)) {
		if !here {
			return place{}, ErrBusy
		}
		b.credit.count(home, 1)
	}
	p := place{box: b, home: home}
	now := time.Now()
	if !m.mu.draining && b.push == nil && b.door.direct() && b.capacity(now) > 0 {
		if s, ok := b.reserve(); ok {
			p.slot, p.lease = s, s.pull.terms()
		}
	}
	return p, nil
}

// here reports whether home's intent is in our hands or settled by our app; one
// revoked or given back is not. It reads the journal, and is asked only where
// an offer would be refused.
func (m *Mailbox) here(home, id journal.ID) bool {
	i, err := m.get(id)
	if err != nil || i.Handover == nil || journal.ID(i.Handover.Home) != home {
		return false
	}
	p := state.Phase(i.Handover.Phase)
	return p.Open() || p.Settled()
}

// taken settles a place with what the journal said of the offer. It runs on
// the committer: what it hands out is durable, as held and as leased.
func (m *Mailbox) taken(p place, r journal.HoldResult, err error) {
	m.mu.Lock()
	defer m.unlock()
	if p.box == nil {
		return
	}
	m.settlePlace(p, r, err)
	p.box.finish()
	m.stir(p.box)
}

func (m *Mailbox) settlePlace(p place, r journal.HoldResult, err error) {
	b := p.box
	if err == nil {
		err = r.Err
	}
	if err != nil || !r.Fresh {
		b.credit.count(p.home, -1)
	}
	if p.lease.For == 0 {
		return
	}
	if err != nil || r.Handed == nil || r.Handed.Err != nil {
		b.giveBack(p.slot)
		return
	}
	m.fly(b, r.Handed.ID, b.carried(p.slot.pull, r.Handed))
	b.fill(p.slot, *r.Handed, m.o.MaxPullBytes)
}

// Take moves intents of our own home from its due index into the mailbox, in
// one batch. Results are in order; one with an error stays due. It waits for the
// mailbox to know what it holds: what came before would be counted twice.
func (m *Mailbox) Take(ctx context.Context, agent string, offers []journal.Offer) ([]journal.HoldResult, error) {
	select {
	case <-m.ready:
	case <-m.stopped:
		return nil, ErrDraining
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	results := make([]journal.HoldResult, len(offers))
	var in []journal.Offer
	var at []int
	var places []place
	var lease []journal.Terms
	for i, o := range offers {
		results[i] = journal.HoldResult{ID: o.ID, OfferNo: o.OfferNo}
		p, err := m.admit(m.self, agent, o.ID, o.Completion, o.Task)
		if err != nil {
			results[i].Err = err
			continue
		}
		in, at, places, lease = append(in, o), append(at, i), append(places, p), append(lease, p.lease)
	}
	if len(in) == 0 {
		return results, nil
	}
	held, err := m.j.HoldLocal(ctx, in, lease)
	for i, p := range places {
		var r journal.HoldResult
		if err == nil {
			r = held[i]
			results[at[i]] = r
		}
		m.taken(p, r, err)
	}
	return results, err
}
