package inbound

import (
	"context"
	"time"

	"pannier/journal"
)

// Push hands the intents of one agent to whoever sends them to its app. While it
// is open nobody else can ask for them.
//
// No lease is journaled: what Next returns is ready as far as the journal knows
// until Answer has said what came of it. If we crash in between, it is sent again,
// marked as redelivered, and no attempt is counted.
type Push struct {
	m     *Mailbox
	agent string
	b     *box
}

// pushWait is how long one pull of a push waits; then it asks again.
const pushWait = time.Minute

// OpenPush makes the agent one whose intents are sent. Calls that wait for them
// end with ErrPushed. What they have leased stays theirs.
func (m *Mailbox) OpenPush(agent string) *Push {
	m.mu.Lock()
	defer m.unlock()
	b := m.box(agent)
	p := &Push{m: m, agent: agent, b: b}
	b.push = p
	b.door.enter(time.Now())
	m.renewDoor(b)
	for _, w := range b.pulls {
		w.free, w.leaving, w.err = 0, true, ErrPushed
	}
	b.finish()
	m.stir(b)
	return p
}

// renewDoor is for a binding that was switched: the door says nothing of another
// app, or another way to it.
func (m *Mailbox) renewDoor(b *box) {
	was := b.door.shut
	b.renew(time.Now())
	if was != b.door.shut {
		b.release = time.Time{}
		m.log.Info("door open", "agent", b.name, "reason", "another binding")
	}
	m.stir(b)
}

// LookAgain opens the door of an agent on the word of somebody who has looked at
// its app.
func (m *Mailbox) LookAgain(agent string) {
	m.mu.Lock()
	defer m.unlock()
	if b := m.mu.boxes[agent]; b != nil && b.door.tripped() {
		b.door.renew(time.Now())
		b.release = time.Time{}
		m.log.Info("door open", "agent", agent, "reason", "an operator's word")
		m.stir(b)
		m.arm(b, time.Now())
	}
}

// Close lets the app ask for its intents again, or another Push send them. What
// Next has returned is still answered.
func (p *Push) Close() {
	p.m.mu.Lock()
	defer p.m.unlock()
	if p.b.push == p {
		p.b.push = nil
		p.m.renewDoor(p.b)
	}
	p.b.door.leave(time.Now())
	p.m.arm(p.b, time.Now())
}

// Next returns what is to be sent now, at most limit; it waits for the first.
// Each one is given, once, to Answer, TurnedAway or Unsent: until then nobody
// else gets it, whatever becomes of it. It returns ErrDraining when nothing
// more comes, and nothing when ctx ends.
func (p *Push) Next(ctx context.Context, limit int) ([]journal.Handed, error) {
	for ctx.Err() == nil {
		got, err := p.m.Pull(ctx, PullRequest{Agent: p.agent, Limit: limit, Wait: pushWait, push: p})
		switch {
		case len(got) > 0 || err != nil:
			return got, err
		case p.m.isDraining():
			return nil, ErrDraining
		}
	}
	return nil, nil
}

// Answer journals what came of pushes and lets the door hear of it.
func (p *Push) Answer(ctx context.Context, list ...journal.Pushed) ([]journal.Settled, error) {
	m, b := p.m, p.b
	in := make([]journal.Pushed, len(list))
	m.mu.Lock()
	for i, one := range list {
		f := b.flights[one.ID]
		one.Spare = one.Came == journal.Failed && b.spares(f)
		in[i] = one
		f.settling = true
		b.flights[one.ID] = f
	}
	m.unlock()

	// A crash before the commit: the app has answered, and is sent the intent
	// again, marked as redelivered.
	out, err := m.j.Push(ctx, in)

	m.mu.Lock()
	defer m.unlock()
	now := time.Now()
	for i, one := range list {
		from, what := b.flightOf(one.ID), heardOf(one.Came)
		m.land(b, one.ID)
		// It may have ended meanwhile, or have been taken back by home. That the app
		// took it well says how the app is all the same: it may have resolved it
		// before it answered.
		over := err != nil || out[i].Err != nil
		switch {
		case one.Came == journal.Cut:
			b.door.returned(one.ID)
		case err != nil || over && what != succeeded:
			b.door.gone(one.ID)
		default:
			m.hear(b, one.ID, from, what, now)
		}
	}
	m.stir(b)
	return out, err
}

func heardOf(c journal.Came) heard {
	switch c {
	case journal.Done, journal.Taken:
		return succeeded
	case journal.Refused:
		return rejected
	}
	return failed
}

// TurnedAway takes back what the app did not take: it could not be reached, or
// asked for a pause of at least that long. Nothing is journaled; the door shuts.
func (p *Push) TurnedAway(id journal.ID, why Shut, least time.Duration) {
	m, b := p.m, p.b
	m.mu.Lock()
	defer m.unlock()
	f, flying := b.flights[id]
	if !flying || !f.pushed {
		return
	}
	now := time.Now()
	m.land(b, id)
	b.skipped = earliest(b.skipped, f.due)
	if f.app != b.app {
		m.stir(b) // it is for another app now
		return
	}
	was := b.door.tripped()
	b.door.turnAway(now, id, why, least, random())
	if !was {
		m.doorShut(b, now)
	}
	m.stir(b)
	m.arm(b, now)
}

// Unsent takes back what was never sent.
func (p *Push) Unsent(id journal.ID) { p.m.unsent(p.b, id) }

func (m *Mailbox) unsent(b *box, id journal.ID) {
	m.mu.Lock()
	defer m.unlock()
	if f, flying := b.flights[id]; flying && f.pushed {
		m.land(b, id)
		if f.app == b.app {
			b.door.returned(id)
		}
		b.skipped = earliest(b.skipped, f.due)
		m.stir(b)
	}
}
