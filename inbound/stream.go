package inbound

import (
	"cmp"
	"context"
	"slices"
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

const (
	streamMost      = 64   // unsettled hand-overs of one response
	streamMostAgent = 1000 // and of all responses of an agent
)

// Conn stands for a connection of the app. A hand-over that went out on it as
// part of a stream is nobody else's while it is open.
type Conn struct {
	m      *Mailbox
	closed bool              // guarded by the mailbox's mutex, like
	boxes  map[*box]struct{} // those of which it carried something
}

// NewConn returns an open connection. Whoever makes it closes it.
func (m *Mailbox) NewConn() *Conn { return &Conn{m: m, boxes: map[*box]struct{}{}} }

// Close says that the connection is gone: what it carried and the app has not
// settled goes to the streams that ask from before it, under its number.
func (c *Conn) Close() {
	c.m.mu.Lock()
	defer c.m.unlock()
	c.closed = true
	for b := range c.boxes {
		for _, p := range slices.Clone(b.pulls) {
			b.adopt(p)
		}
		b.finish()
	}
}

// Stream is one response in which an app reads the log of hand-overs of an
// agent: each has the agent's next number, and a lease that is as long for all.
// A new stream first takes up what an earlier one has handed over and lost its
// connection before it was settled: with the number it had, and no new attempt.
type Stream struct {
	m     *Mailbox
	agent string
	since uint64
	conn  *Conn

	open map[journal.ID]struct{} // unsettled, of those it carried
	room chan struct{}           // open has lost one
}

// OpenStream begins a response on conn that asks for what comes after since.
func (m *Mailbox) OpenStream(agent string, since uint64, conn *Conn) *Stream {
	return &Stream{m: m, agent: agent, since: since, conn: conn, open: map[journal.ID]struct{}{}, room: make(chan struct{}, 1)}
}

// Next returns what the stream is to carry next, in the order of numbers: what
// there is, or the first that comes before the wait is over. Like Pull it
// returns nothing and no error when the wait is over or ctx ends; with nothing
// more to come it returns ErrDraining. What it returned belongs to the connection
// until that is closed.
func (s *Stream) Next(ctx context.Context, wait time.Duration) ([]journal.Handed, error) {
	over := time.NewTimer(wait)
	defer over.Stop()
	began := time.Now()
	for {
		n := s.free()
		if n > 0 {
			left := max(0, wait-time.Since(began))
			got, err := s.m.Pull(ctx, PullRequest{Agent: s.agent, Limit: n, Wait: left, Lease: s.m.o.StreamLease, stream: s})
			if len(got) == 0 && err == nil && s.m.isDraining() {
				err = ErrDraining
			}
			return got, err
		}
		leave := s.attend()
		select {
		case <-s.room:
		case <-time.After(time.Second): // other responses may have made room
		case <-over.C:
		case <-ctx.Done():
		case <-s.m.stopped:
			leave()
			return nil, nil
		}
		leave()
		if ctx.Err() != nil || time.Since(began) >= wait {
			return nil, nil
		}
	}
}

// attend is a reader at the door while the stream can carry no more.
func (s *Stream) attend() (leave func()) {
	s.m.mu.Lock()
	defer s.m.unlock()
	b := s.m.mu.boxes[s.agent]
	if b == nil {
		return func() {}
	}
	b.door.enter(time.Now())
	return func() {
		s.m.mu.Lock()
		defer s.m.unlock()
		b.door.leave(time.Now())
		s.m.arm(b, time.Now())
	}
}

func (m *Mailbox) isDraining() bool {
	m.mu.Lock()
	defer m.unlock()
	return m.mu.draining
}

// free is how many hand-overs more the stream may carry.
func (s *Stream) free() int {
	s.m.mu.Lock()
	defer s.m.unlock()
	n := streamMost - len(s.open)
	if b := s.m.mu.boxes[s.agent]; b != nil {
		n = min(n, streamMostAgent-b.streamed)
	}
	return n
}

// carried is the flight of what a pull was handed.
func (b *box) carried(p *pull, h *journal.Handed) flight {
	f := flight{lease: h.Lease, until: h.Until, seq: h.Seq, opening: b.door.opened, app: b.app}
	if p.stream != nil {
		f.stream, f.conn, f.streamed = p.stream, p.stream.conn, true
	}
	return f
}

// track and untrack keep the counts of streams up with the flights.
func (b *box) track(id journal.ID, f flight) {
	if !f.streamed {
		return
	}
	b.streamed++
	if f.stream != nil {
		f.stream.open[id] = struct{}{}
		f.conn.boxes[b] = struct{}{}
	}
}

func (b *box) untrack(id journal.ID, f flight) {
	if !f.streamed {
		return
	}
	b.streamed--
	if s := f.stream; s != nil {
		delete(s.open, id)
		poke(s.room)
	}
}

// adopt gives a waiting stream what others have left behind.
func (b *box) adopt(p *pull) {
	s := p.stream
	if s == nil || p.free == 0 || p.leaving || s.conn.closed {
		return
	}
	var left []journal.ID
	for id, f := range b.flights {
		if f.streamed && !f.settling && f.seq > s.since && (f.conn == nil || f.conn.closed) {
			left = append(left, id)
		}
	}
	if len(left) == 0 {
		return
	}
	slices.SortFunc(left, func(x, y journal.ID) int { return cmp.Compare(b.flights[x].seq, b.flights[y].seq) })
	for _, id := range left[:min(len(left), p.free)] {
		f := b.flights[id]
		b.untrack(id, f)
		f.stream, f.conn = s, s.conn
		b.flights[id] = f
		b.track(id, f)
		p.adopted = append(p.adopted, id)
	}
	p.free, p.leaving = 0, true
}

// takenUp reads what a pull has adopted, up to MaxPullBytes of it; rest are the
// others. What was settled meanwhile is left out.
func (m *Mailbox) takenUp(ids []journal.ID) (out []journal.Handed, rest []journal.ID, err error) {
	bytes := 0
	for n, id := range ids {
		if bytes >= m.o.MaxPullBytes {
			return out, ids[n:], nil
		}
		i, err := m.j.Get(id)
		if err != nil {
			return out, ids[n:], err
		}
		h := i.Handover
		if p := state.Phase(h.GetPhase()); p != state.Leased && p != state.Working {
			continue
		}
		lease, err := journal.IDOf(h.LeaseId)
		if err != nil {
			return out, ids[n:], err
		}
		bytes += len(i.Envelope.GetPayload())
		out = append(out, journal.Handed{
			ID: id, Envelope: i.Envelope, Seq: h.Seq, Status: state.Status(h.HomeStatus), Attempt: h.Handovers,
			Redelivered: true, Lease: lease, Until: time.UnixMilli(h.LeaseUntilMs), Traceparent: cmp.Or(h.Traceparent, i.Envelope.GetTraceparent()),
		})
	}
	return out, nil, nil
}

// drop leaves behind what a stream has adopted and not taken up: the next to ask
// gets it.
func (m *Mailbox) drop(b *box, ids []journal.ID) {
	if len(ids) == 0 {
		return
	}
	m.mu.Lock()
	defer m.unlock()
	for _, id := range ids {
		if f, flying := b.flights[id]; flying {
			b.untrack(id, f)
			f.stream, f.conn = nil, nil
			b.flights[id] = f
			b.track(id, f)
		}
	}
	for _, p := range slices.Clone(b.pulls) {
		b.adopt(p)
	}
	b.finish()
}

// restart gives the app anew as long for the rest of a response as it had for
// what it has just settled of it: apps work one by one.
func (m *Mailbox) restart(b *box, s *Stream, now time.Time) {
	if s == nil {
		return
	}
	until := now.Add(m.o.StreamLease).Truncate(time.Millisecond) // as the journal keeps it
	for id := range s.open {
		if f := b.flights[id]; until.After(f.until) {
			f.until = until
			b.flights[id] = f
		}
	}
}
