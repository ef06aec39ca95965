package inbound

import (
	"cmp"
	"context"
	"slices"
	"time"

	"pannier/journal"
)

// PullRequest is one call of a reader. Nothing in it is trusted to be in
// bounds but Agent, which is canonical.
type PullRequest struct {
	Agent string
	Limit int           // at least 1
	Wait  time.Duration // 0: what is ready now
	Lease time.Duration // 0: the usual one
	Trace string        // traceparent of the poll; empty: it is not traced
	Room  Room          // that what it is handed is to have; nil: enough
	Bytes int           // of payload at most, or one intent; 0, and what is more: MaxPullBytes

	stream *Stream
	push   *Push // hands over by sending: no lease is journaled
}

// Room is in memory, for what a pull is handed. Its methods are not to block.
type Room interface {
	// Claim is called before something is leased for the pull, with how many bytes it will be
	// given by what others were, and reports whether there is room for that. Without, the
	// pull is handed one intent.
	Claim(bytes int) bool
	// Waive is called when nothing came of it, and the pull waits on.
	Waive()
}

// drainedWait is how long a pull waits at most while we drain: it gets
// nothing, and must not come back at once.
const drainedWait = time.Second

// Pull hands over what is ready, or waits for the first that becomes so. It
// returns nothing and no error when the wait is over, when ctx ends, when the
// agent is served elsewhere, or when we drain.
//
// What it returns is leased, durably. A caller that could not pass it on gives
// it to TakeBack; a Pull whose ctx has ended does that itself.
func (m *Mailbox) Pull(ctx context.Context, r PullRequest) ([]journal.Handed, error) {
	wait := time.NewTimer(r.Wait)
	defer wait.Stop()
	select {
	case <-m.ready:
	case <-m.stopped:
		return nil, nil
	case <-ctx.Done():
		return nil, nil
	}
	b, err := m.reader(ctx, r.Agent, wait.C)
	if b == nil || err != nil {
		return nil, err
	}
	p, err := m.enter(b, r)
	if err != nil {
		return nil, err
	}
	if !p.once {
		select {
		case <-p.done:
		case <-wait.C:
		case <-ctx.Done():
		case <-m.stopped:
		}
	}
	return m.leave(ctx, b, p)
}

// reader returns the box a pull may read. An address that nobody serves is
// learned; while discovery has not answered, or says that it lives elsewhere, or
// the agent is killed, the pull waits and then gets nothing (nil).
func (m *Mailbox) reader(ctx context.Context, agent string, over <-chan time.Time) (*box, error) {
	for {
		m.mu.Lock()
		killed := m.j.Killed(agent)
		if m.serves(agent) && !m.mu.draining && !killed {
			b := m.box(agent)
			m.unlock()
			return b, nil
		}
		learn, draining, changed := m.mu.learn, m.mu.draining, m.mu.discovered
		elsewhere, known := m.mu.elsewhere(agent)
		m.unlock()
		switch {
		case draining:
			m.pause(ctx, over)
			return nil, nil
		case !known || elsewhere || killed:
			select {
			case <-changed:
				continue
			case <-over:
				return nil, nil
			case <-ctx.Done():
				return nil, nil
			case <-m.stopped:
				return nil, nil
			}
		case learn == "off":
			return nil, ErrNotServed
		}
		// Learned is durable before the first answer: what home offers because
		// of it finds the address served after a crash as well.
		no, err := m.j.Learn(ctx, agent)
		if err != nil {
			return nil, err
		}
		m.mu.Lock()
		b := m.box(agent)
		b.learned = true
		m.number(b, no)
		m.mu.news = append(m.mu.news, news{agent: agent, local: true}, news{agent: agent, learned: true})
		m.unlock()
	}
}

// pause keeps a client that polls in a loop from spinning while we drain.
func (m *Mailbox) pause(ctx context.Context, over <-chan time.Time) {
	select {
	case <-time.After(drainedWait):
	case <-over:
	case <-ctx.Done():
	case <-m.stopped:
	}
}

func (m *Mailbox) enter(b *box, r PullRequest) (*pull, error) {
	m.mu.Lock()
	defer m.unlock()
	if b.push != r.push {
		return nil, ErrPushed
	}
	if len(b.pulls) >= m.o.MaxPulls {
		return nil, ErrBusy
	}
	most := m.o.MaxPullBytes
	if r.Bytes > 0 {
		most = min(most, r.Bytes)
	}
	p := &pull{
		limit: max(1, r.Limit), lease: r.Lease, once: r.Wait <= 0,
		round: b.round + 1, done: make(chan struct{}), stream: r.stream, push: r.push != nil, trace: r.Trace,
		room: journal.NewPull(most), memory: r.Room,
	}
	if p.lease <= 0 {
		p.lease = m.o.PollLease
	}
	p.free = p.limit
	b.wanted += p.limit
	now := time.Now()
	b.door.enter(now)
	b.credit.ask(now, b.wanted)
	b.pulls = append(b.pulls, p)
	b.adopt(p)
	b.finish()
	m.rouse(b)
	m.tellWindow(b)
	return p, nil
}

// leave takes the pull out of the queue with what it has got. Leases on their
// way to the disk for it are waited for: they are a commit away.
func (m *Mailbox) leave(ctx context.Context, b *box, p *pull) ([]journal.Handed, error) {
	m.mu.Lock()
	if p.once && !p.closed {
		// Its turn is under way or queued; that ends it, found or not.
		m.unlock()
		select {
		case <-p.done:
		case <-ctx.Done():
		case <-m.stopped:
		}
		m.mu.Lock()
	}
	p.free, p.leaving = 0, true
	if !p.closed && p.reserved == 0 {
		b.end(p)
	}
	m.unlock()
	<-p.done

	m.mu.Lock()
	b.wanted -= p.limit
	b.door.leave(time.Now())
	m.arm(b, time.Now())
	got, adopted, err := p.got, p.adopted, p.err
	m.unlock()
	if ctx.Err() != nil && len(got) > 0 {
		// The client hung up: nothing of this was seen by anybody.
		if p.push {
			for _, h := range got {
				m.unsent(b, h.ID)
			}
			return nil, nil
		}
		return nil, m.TakeBack(context.WithoutCancel(ctx), got)
	}
	if len(adopted) > 0 {
		// Whatever becomes of these they are the connection's, also unread.
		again, rest, rerr := m.takenUp(adopted)
		m.drop(b, rest)
		if got = append(got, again...); err == nil {
			err = rerr
		}
	}
	if len(got) > 0 {
		slices.SortFunc(got, func(x, y journal.Handed) int { return cmp.Compare(x.Seq, y.Seq) })
		return got, nil
	}
	return nil, err
}

// TakeBack undoes hand-overs that never reached the app: they are ready again
// and no attempt is counted.
//
// If we crash before it is journaled, the lease lapses while we are down or
// is of an earlier start, which is no attempt either.
func (m *Mailbox) TakeBack(ctx context.Context, got []journal.Handed) error {
	ids, leases := make([]journal.ID, len(got)), make([]journal.ID, len(got))
	m.mu.Lock()
	for i, h := range got {
		ids[i], leases[i] = h.ID, h.Lease
		if b := m.mu.where[h.ID]; b != nil && b.flights[h.ID].lease == h.Lease {
			b.door.returned(h.ID)
			m.land(b, h.ID)
		}
	}
	m.unlock()
	return m.j.Recover(ctx, ids, leases)
}
