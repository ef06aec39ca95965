package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire/peer"
)

const (
	version     = 1
	messageMost = 4 << 20 // of gRPC, both ways
	pairsMost   = 10_000
)

var (
	errSelf       = errors.New("the address is our own")
	errVersion    = errors.New("no common version")
	errNoAnswer   = errors.New("an offer was not answered in time")
	errSilent     = errors.New("the peer is silent")
	errDeaf       = errors.New("the peer does not read")
	errSuperseded = errors.New("the journal answered at another address")
	errReplaced   = errors.New("another journal answers at its address")
	errForgotten  = errors.New("an operator gave the peer up")
	errIdle       = errors.New("idle")
)

// session is one stream to a holder: a reader, a writer and a clock, none of
// which waits for another.
type session struct {
	d      *Dispatcher
	link   *link
	stream grpc.BidiStreamingClient[peer.Frame, peer.Frame]
	cancel context.CancelCauseFunc
	out    *outbox
	ended  chan struct{} // closed when everything of it is gone

	tick chan struct{} // for the clock: a frame has less time than it sleeps

	heard atomic.Int64 // when the last frame came, unix nanoseconds
	busy  atomic.Bool  // the reader is at work on one: not the peer's silence

	// Set by the hello, before others see the session.
	ahead     time.Duration // how far its clock is ahead of ours
	clocked   bool          // it has said so
	peer      journal.Identity
	ephemeral bool
	told      *peer.Told // by its hello; nil: an earlier program's
	agents    []string
	speaksFor func(agent string) error // nil: for every agent

	// Guarded by the dispatcher's mu.
	greeted     bool
	live        bool      // reconciled
	detached    bool      // taken out: nothing may be claimed for it any more
	sending     time.Time // since when the writer has been in Send
	leaving     bool      // it has said goodbye
	pausedUntil time.Time
	pausedBy    state.Cause
	pairs       map[string]*pair
	frames      []*sentFrame // with answers owed, oldest first
	answering   map[journal.ID]struct{}
	applying    int     // batches of reports not yet durable
	probe       *permit // of the dial, for the first frame of offers
	liveSince   time.Time
	lastWork    time.Time
	inFlight    int // flights claimed for it or sent
	queued      int // bytes of envelopes not yet written
	held        int // unsettled there

	writing chan struct{}  // one slot for each question under way that writes
	writes  sync.WaitGroup // joined when the session ends

	asks struct {
		sync.Mutex
		last    uint64
		pending map[uint64]chan *peer.Answer
	}
}

// pair is an agent at a holder. Its credit dies with the stream, and is one
// until the holder has named it.
type pair struct {
	session     *session
	agent       string
	window      int
	out         int         // offered or held, and unsettled
	shut        bool        // it gave some back: nothing more until its window is above the floor
	closed      state.Cause // the door of its app, as the holder says; NoCause: open
	pausedUntil time.Time
	pausedBy    state.Cause
	away        bool // it was refused as no endpoint of this agent: not merely busy
	refusals    int  // in a row
}

// connect makes one session and stays until it is over. The permit gets its
// outcome here, or by the first frame of offers.
func (l *link) connect(ctx context.Context, p *permit) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	opts := append([]grpc.DialOption{
		grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageMost), grpc.MaxCallSendMsgSize(messageMost)),
	}, l.d.dial...)
	// One connection per try: gRPC's own redialing would hide what the breaker
	// has to know. The dialer resolves names, at each try anew.
	conn, err := grpc.NewClient("passthrough:///"+l.address, opts...)
	if err != nil {
		p.done(err)
		return err
	}
	defer conn.Close()
	s := &session{d: l.d, link: l, cancel: cancel, out: newOutbox(), ended: make(chan struct{}), tick: make(chan struct{}, 1), probe: p, lastWork: time.Now()}
	s.pairs = map[string]*pair{}
	s.answering = map[journal.ID]struct{}{}
	s.asks.pending = map[uint64]chan *peer.Answer{}
	s.writing = make(chan struct{}, writesAtOnce)
	defer close(s.ended)

	s.heard.Store(time.Now().UnixNano())
	err = s.converse(ctx, peer.NewPeerClient(conn))
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	s.detach(err)
	switch refused, ok := status.FromError(err); {
	case errors.Is(err, errIdle) || errors.Is(err, io.EOF) || errors.Is(err, context.Canceled):
		return nil
	case ok:
		return refusal(refused)
	}
	return err
}

// converse runs reader, writer and clock until one of them ends the session.
func (s *session) converse(ctx context.Context, client peer.PeerClient) error {
	var loops sync.WaitGroup
	defer loops.Wait()
	defer s.writes.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	loops.Go(func() { s.clock(ctx) })
	stream, err := client.Session(ctx)
	if err != nil {
		return err
	}
	s.stream = stream
	first, err := s.greet(ctx)
	if err != nil {
		return err
	}
	loops.Go(func() {
		if err := s.write(ctx); err != nil {
			s.cancel(err)
		}
	})
	if err := s.reconcile(ctx, first); err != nil {
		return err
	}
	s.d.opened(s)
	for {
		f, err := s.receive()
		if err != nil {
			return err
		}
		if err := s.handle(ctx, f); err != nil {
			return err
		}
	}
}

// receive waits for a frame. What the caller does with it until the next call
// is not the peer's silence.
func (s *session) receive() (*peer.Frame, error) {
	s.heard.Store(time.Now().UnixNano())
	s.busy.Store(false)
	f, err := s.stream.Recv()
	s.heard.Store(time.Now().UnixNano())
	s.busy.Store(true)
	return f, err
}

// greet exchanges hellos and registers the session under the journal that
// answered: discovery only hints at who that is, the hello decides. It returns
// the frame the hello came in.
func (s *session) greet(ctx context.Context) (*peer.Frame, error) {
	d := s.d
	hello := &peer.Hello{
		Identity:   &peer.Identity{Journal: d.self.Identity.Journal[:], Epoch: d.self.Identity.Epoch},
		VersionMin: version, VersionMax: version,
		Address: d.self.Address, Ephemeral: d.self.Ephemeral,
	}
	if last, ok := d.lastAt(s.link.address); ok {
		hello.Applied = d.journal.Applied(last)
		hello.AppliedPair = &peer.Identity{Journal: last.Journal[:], Epoch: last.Epoch}
	}
	sent := time.Now()
	if err := s.stream.Send(&peer.Frame{Hello: hello}); err != nil {
		if _, err := s.stream.Recv(); err != nil {
			return nil, err // Send only says that the stream is over; Recv says why
		}
		return nil, err
	}
	f, err := s.receive()
	if err != nil {
		return nil, err
	}
	h := f.GetHello()
	id, err := journal.IDOf(h.GetIdentity().GetJournal())
	if err != nil {
		return nil, fmt.Errorf("hello: %w", err)
	}
	if h.VersionMin > version || h.VersionMax < version {
		return nil, fmt.Errorf("%w: it speaks %d to %d, this sidecar %d", errVersion, h.VersionMin, h.VersionMax, version)
	}
	s.peer = journal.Identity{Journal: id, Epoch: h.Identity.Epoch}
	s.ephemeral, s.told = h.Ephemeral, h.Told
	if h.NowMs != 0 {
		// It was said at some time between; the middle is wrong by half of that at most.
		s.ahead, s.clocked = time.UnixMilli(h.NowMs).Sub(sent.Add(time.Since(sent)/2)), true
	}
	s.agents = h.Agents[:min(len(h.Agents), 1000)]
	if err := s.prove(); err != nil {
		return nil, err
	}
	return f, d.register(ctx, s)
}

// testing reports whether the breaker waits for the outcome of a probe.
// Called with mu held.
func (s *session) testing() bool {
	name, _ := s.link.breaker.status(time.Now())
	return name != breakerClosed
}

// pair returns the record of an agent at this holder. Called with mu held.
func (s *session) pair(agent string) *pair {
	p := s.pairs[agent]
	if p == nil {
		p = &pair{session: s, agent: agent, window: 1}
		s.pairs[agent] = p
	}
	return p
}

// detach takes a session out when its loops have ended. What was claimed for it
// and not written is due again; an offer whose answer is owed stays in flight
// for this holder: it may be in its journal, and nobody else gets it before
// that holder has said no, or is lost.
func (s *session) detach(err error) {
	d := s.d
	// While anything is on record there the link is needed: without a stream
	// the holder would be taken for lost. Where that cannot be read, it is.
	held := 1
	if n, err := d.countHeld(s.peer.Journal); err == nil {
		held = n
	}
	var unsent []*flight
	d.mu.Lock()
	s.detached = true
	for _, f := range d.mu.flights {
		if f.session != s {
			continue
		}
		switch {
		case f.stage == claimed || f.ended && f.stage == sent:
			unsent = append(unsent, f)
			d.drop(f)
		case f.stage == sent:
			f.dest.unanswered--
			d.owe(f)
		}
	}
	for id, p := range d.mu.unsettled {
		if p.session == s {
			delete(d.mu.unsettled, id)
		}
	}
	frames, probe := s.frames, s.probe
	s.frames, s.probe = nil, nil
	s.link.session = nil
	if h := d.mu.holders[s.peer.Journal]; h != nil {
		if h.session == s {
			h.session, h.held = nil, held
			d.away(h, time.Now())
		}
		if h.heir == s {
			h.heir = nil
		}
		if h.heir == nil && h.session == nil {
			d.unalias(h.id)
		}
	}
	d.wakeAllLocked()
	d.mu.Unlock()
	signal(d.settled)
	d.rewind(unsent, false)
	s.outcome(err, frames, probe)
	s.failAsks()
}

// outcome tells the breaker how the session ended: a stream that broke is one
// failure, however many frames were owed on it.
func (s *session) outcome(err error, frames []*sentFrame, probe *permit) {
	blame := err
	if errors.Is(err, context.Canceled) || errors.Is(err, errIdle) || errors.Is(err, errSuperseded) || errors.Is(err, errForgotten) || errors.Is(err, errSelf) || errors.Is(err, errOperator) || errors.Is(err, errAborted) {
		blame = errExcluded
	}
	for _, f := range frames {
		f.begin(s.link.breaker, time.Now())
		f.permit.done(blame)
		blame = errExcluded
	}
	if probe == nil {
		return
	}
	if s.live {
		blame = nil // the dial and the reconciliation went well, and nothing was owed
	}
	probe.done(blame)
}
