package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"pannier/inbound"
	"pannier/journal"
	"pannier/proxy/crowd"
)

const (
	// batchLinger is how long after a batch a response with wait_seconds ends:
	// what was due a moment later still goes with it.
	batchLinger = 20 * time.Millisecond
	// maxStreamPayload is the largest payload of a frame: readers by line stop
	// at 64 KiB. The app gets a larger one by the intent's id.
	maxStreamPayload = 48 << 10
	// flushAt keeps small what is in memory of a batch for a reader that does not
	// read it, and gives one that reads slowly its time for each part.
	flushAt = 128 << 10
)

// agentStream serves GET /v1/agents/{agent}/intents/stream: the agent's log of
// hand-overs. Each frame is leased to the connection it goes out on.
//
// status is taken and not used: a filter could only hide what the app has been
// given and must answer.
func (a *API) agentStream(w http.ResponseWriter, r *http.Request, agent, _ string) error {
	if err := callerOf(r).mayReceive(agent); err != nil {
		return err
	}
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	since := uint64(q.cursor(r))
	wait := q.seconds("wait_seconds", endless, 1, 60)
	if err := q.err(); err != nil {
		return err
	}
	allowed, forbid := a.whileAllowed(r.Context(), r, func(c *Caller) bool { return c.May(agent) })
	defer forbid()
	ctx, cancel := a.untilDrain(allowed)
	defer cancel()
	conn, done := a.connOf(r)
	defer done()
	s := &agentReader{api: a, agent: agent, since: since, toEnd: wait < endless, until: time.Now().Add(wait)}
	s.stream = a.mailbox.OpenStream(agent, since, conn)
	// Before anything is written: what is wrong now is an answer of its own.
	got, err := s.stream.Next(ctx, 0)
	if err != nil && !errors.Is(err, inbound.ErrDraining) {
		return err
	}
	s.frames = newFrames(w)
	defer s.frames.end()
	a.figures.streams.Add(1)
	defer a.figures.streams.Add(-1)
	s.frames.comment("ok")
	if s.write(got) != nil {
		return nil // the reader is gone, and with it the connection
	}
	return s.follow(ctx)
}

// agentReader is one response of an agent's stream.
type agentReader struct {
	api    *API
	agent  string
	since  uint64
	toEnd  bool // the response ends after a batch
	ending bool // it has had one
	until  time.Time
	stream *inbound.Stream
	frames *frames
}

// write sends hand-overs. An error means that the reader is gone: what it has
// not seen is taken up by the next one.
func (s *agentReader) write(got []journal.Handed) error {
	for i := range got {
		d := newDoc()
		d.open('{')
		writeItem(d, &got[i], maxStreamPayload)
		d.str("event_type", "intent.delivered").time("at", time.Now()).close('}')
		s.frames.event(got[i].Seq, "intent.delivered", d)
		d.free()
		s.since = max(s.since, got[i].Seq)
		if s.frames.buf.Len() >= flushAt {
			if err := s.frames.flush(); err != nil {
				return err
			}
		}
	}
	if len(got) > 0 && s.toEnd {
		s.ending = true
		s.until = time.Now().Add(batchLinger)
	}
	return s.frames.flush()
}

func (s *agentReader) follow(ctx context.Context) error {
	for {
		left := time.Until(s.until)
		if left <= 0 || ctx.Err() != nil {
			return s.over(ctx)
		}
		got, err := s.stream.Next(ctx, min(left, keepAlive))
		if errors.Is(err, inbound.ErrDraining) || errors.Is(err, inbound.ErrPushed) {
			s.ending = false
			return s.over(ctx)
		}
		if err != nil {
			s.api.log.Warn("stream of an agent ended", "agent", s.agent, "err", err)
			return nil // the response is cut: 200 has been sent, the reader comes again
		}
		if len(got) == 0 && ctx.Err() == nil && time.Now().Before(s.until) {
			s.frames.comment("ka")
		}
		if s.write(got) != nil {
			return nil
		}
	}
}

// over ends the response: quietly after a batch, else with a word that nothing
// came.
func (s *agentReader) over(ctx context.Context) error {
	if s.ending && ctx.Err() == nil {
		return nil
	}
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).num("next_seq", int64(s.next())).close('}')
	s.frames.event(0, "stream.timeout", d)
	_ = s.frames.flush() // the response ends here either way
	return nil
}

// next is the number after what the reader has seen. One beyond the last
// hand-over counts as the last.
func (s *agentReader) next() uint64 {
	if no, known := s.api.journal.AgentNo(s.agent); known {
		return min(s.since, s.api.journal.LastSeq(no)) + 1
	}
	return 1
}

// untilDrain ends with ctx, or when we drain.
func (a *API) untilDrain(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-a.drain:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// connKey is where the context of a request has its connection.
type connKey struct{}

// connection makes the mailbox's idea of a connection when a stream first
// needs it.
type connection struct {
	raw net.Conn
	sync.Mutex
	conn   *inbound.Conn
	closed bool
}

// Track tells the API when connections of a server close: what a stream has
// handed over on one is free for others then.
func (a *API) Track(s *http.Server) {
	var all sync.Map // net.Conn → *connection
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		own := &connection{raw: c}
		all.Store(c, own)
		return context.WithValue(ctx, connKey{}, own)
	}
	s.ConnState = func(c net.Conn, state http.ConnState) {
		if state != http.StateClosed && state != http.StateHijacked {
			return
		}
		if own, ok := all.LoadAndDelete(c); ok {
			own.(*connection).close()
		}
	}
}

func (c *connection) close() {
	c.Lock()
	defer c.Unlock()
	c.closed = true
	if c.conn != nil {
		c.conn.Close()
	}
}

// connOf returns what carries a response: its TCP connection, or with HTTP/2,
// where one connection has many readers, the response itself.
func (a *API) connOf(r *http.Request) (conn *inbound.Conn, done func()) {
	own, ok := r.Context().Value(connKey{}).(*connection)
	if r.ProtoMajor > 1 || !ok {
		c := a.mailbox.NewConn()
		return c, c.Close
	}
	own.Lock()
	defer own.Unlock()
	if own.conn == nil {
		// Between two reads it rests, and with it would go what its app works on.
		crowd.Admit(own.raw)
		own.conn = a.mailbox.NewConn()
		if own.closed {
			own.conn.Close()
		}
	}
	return own.conn, func() {}
}
