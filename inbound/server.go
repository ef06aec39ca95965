package inbound

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pannier/journal"
	"pannier/journal/wire/peer"
)

// Versions of the peer protocol spoken here.
const versionMin, versionMax = 1, 1

// helloAgents is how many agents a hello names at most.
const helloAgents = 1000

var (
	// ErrHomeUnreachable: there is no stream to that home.
	ErrHomeUnreachable = errors.New("home is out of reach")

	errSuperseded = status.Error(codes.Aborted, "a newer stream of the same journal is open")
	errStopping   = status.Error(codes.Unavailable, "stopping")
	errRelist     = status.Error(codes.Unavailable, "what is held has to be listed anew")
	errHelloLate  = status.Error(codes.DeadlineExceeded, "no hello")
)

// Server is the holder's end of the peer protocol: one session per home.
type Server struct {
	peer.UnimplementedPeerServer

	o       Options
	j       *journal.Journal
	mailbox *Mailbox
	self    Self
	knocked func(journal.Identity, string)
	dial    []grpc.DialOption
	trust   Trust // nil: channels prove nothing
	log     *slog.Logger

	unheld *semaphore.Weighted // room for offers on their way into the journal, in bytes

	refused atomic.Uint64 // streams, for what their home has proved or has not

	wake  chan struct{}  // a home may have to be knocked at
	loops sync.WaitGroup // of all sessions

	mu struct {
		sync.Mutex
		sessions  map[journal.ID]*session
		changed   chan struct{} // closed when a session comes up
		asked     map[journal.ID]bool
		kept      map[journal.ID]kept    // at most keptMost
		oldCopies map[journal.ID]oldCopy // by home, at most oldCopiesMost
		running   bool
		draining  bool
	}
}

// NewServer returns the peer server over a mailbox. It does nothing before Run.
// knocked is told of a holder that asks us, as home, to dial it.
func NewServer(o Options, j *journal.Journal, m *Mailbox, self Self, knocked func(journal.Identity, string), dial []grpc.DialOption, log *slog.Logger) *Server {
	s := &Server{o: o, j: j, mailbox: m, self: self, knocked: knocked, dial: dial, log: log, wake: make(chan struct{}, 1), unheld: semaphore.NewWeighted(int64(o.MaxUnheld))}
	s.mu.sessions = map[journal.ID]*session{}
	s.mu.changed = make(chan struct{})
	s.mu.asked = map[journal.ID]bool{}
	s.mu.kept = map[journal.ID]kept{}
	s.mu.oldCopies = map[journal.ID]oldCopy{}
	s.mu.running = true
	m.mu.Lock()
	m.mu.server = s
	m.unlock()
	return s
}

// Run knocks at homes that are needed and do not dial. When ctx ends it closes
// all sessions and joins what they started.
func (s *Server) Run(ctx context.Context) error {
	err := s.knockLoop(ctx)
	s.mu.Lock()
	s.mu.running = false
	for _, ss := range s.mu.sessions {
		ss.end(errStopping)
	}
	s.mu.Unlock()
	s.loops.Wait()
	return err
}

// Session serves one stream of a home.
func (s *Server) Session(stream grpc.BidiStreamingServer[peer.Frame, peer.Frame]) error {
	ctx, end := context.WithCancelCause(stream.Context())
	defer end(nil)
	proven, err := s.prove(ctx)
	if err != nil {
		s.refused.Add(1)
		return err
	}
	in := make(chan *peer.Frame)
	if !s.start(func() { end(receive(ctx, stream, in)) }) {
		return errStopping
	}
	hello, err := s.hear(ctx, in)
	if err != nil {
		return err
	}
	home, err := s.check(hello)
	if err != nil {
		// Our hello lets the other side see for itself why; the status says it
		// as well, so a failure to send is no loss.
		f := &peer.Frame{Hello: s.hello()}
		if status.Code(err) == codes.FailedPrecondition {
			f.Refused = []*peer.Refused{{Code: "version"}}
		}
		_ = stream.Send(f)
		return err
	}
	ss := newSession(s, home, hello, end)
	ss.peer = proven
	if err := ss.checkHome(); err != nil {
		s.refused.Add(1)
		s.log.Warn("home refused", "peer", home.Journal.String(), "err", err)
		return err
	}
	if err := s.register(ctx, ss); err != nil {
		return err
	}
	defer s.dismiss(ss)
	return ss.run(ctx, stream, in)
}

// start runs f as a loop of a session, unless the server is stopping.
func (s *Server) start(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mu.running || s.mu.draining {
		return false
	}
	s.loops.Go(f)
	return true
}

// receive passes on what arrives, frame by frame: the next is read while one
// is acted upon.
func receive(ctx context.Context, stream grpc.BidiStreamingServer[peer.Frame, peer.Frame], in chan<- *peer.Frame) error {
	for {
		f, err := stream.Recv()
		if err != nil {
			return err
		}
		select {
		case in <- f:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// hear waits for the first frame, and for the mailbox to know what it holds.
func (s *Server) hear(ctx context.Context, in <-chan *peer.Frame) (*peer.Hello, error) {
	late := time.NewTimer(s.o.HelloTimeout)
	defer late.Stop()
	select {
	case <-s.mailbox.ready:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	select {
	case f := <-in:
		if f.Hello == nil {
			return nil, status.Error(codes.InvalidArgument, "the first frame has no hello")
		}
		return f.Hello, nil
	case <-late.C:
		return nil, errHelloLate
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (s *Server) hello() *peer.Hello {
	return &peer.Hello{
		Identity:   &peer.Identity{Journal: s.self.Identity.Journal[:], Epoch: s.self.Identity.Epoch},
		VersionMin: versionMin, VersionMax: versionMax,
		Address: s.self.Address, Ephemeral: s.self.Ephemeral, Agents: s.mailbox.Served(helloAgents),
		NowMs: time.Now().UnixMilli(),
	}
}

func (s *Server) check(h *peer.Hello) (journal.Identity, error) {
	home, err := identity(h.Identity)
	if err != nil {
		return home, status.Error(codes.InvalidArgument, err.Error())
	}
	if home.Journal == s.self.Identity.Journal {
		return home, status.Error(codes.InvalidArgument, "that is my own journal")
	}
	if h.VersionMin > versionMax || h.VersionMax < versionMin {
		s.log.Error("peer speaks no version of ours", "peer", h.Address, "min", h.VersionMin, "max", h.VersionMax)
		return home, status.Errorf(codes.FailedPrecondition, "versions %d to %d are spoken here", versionMin, versionMax)
	}
	return home, nil
}

func identity(i *peer.Identity) (journal.Identity, error) {
	id, err := journal.IDOf(i.GetJournal())
	if err == nil && id.IsZero() {
		err = errors.New("an identity has a journal id")
	}
	return journal.Identity{Journal: id, Epoch: i.GetEpoch()}, err
}

// register makes ss the session of its home. A newer hello of the same journal
// wins; what the old stream had brought is committed or dropped first, so that
// the list of what we hold, sent next, is complete.
func (s *Server) register(ctx context.Context, ss *session) error {
	for {
		s.mu.Lock()
		old := s.mu.sessions[ss.home.Journal]
		switch {
		case !s.mu.running || s.mu.draining:
			s.mu.Unlock()
			return errStopping
		case old == nil:
			s.mu.sessions[ss.home.Journal] = ss
			delete(s.mu.asked, ss.home.Journal)
			close(s.mu.changed)
			s.mu.changed = make(chan struct{})
			n := len(s.mu.sessions)
			s.mu.Unlock()
			s.mailbox.homes(n)
			return nil
		case old.home.Epoch > ss.home.Epoch:
			s.mu.Unlock()
			return status.Error(codes.FailedPrecondition, "a later epoch of this journal is connected")
		}
		s.mu.Unlock()
		s.log.Warn("a newer stream takes over", "peer", ss.home.Journal.String())
		old.end(errSuperseded)
		select {
		case <-old.over:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *Server) dismiss(ss *session) {
	s.mu.Lock()
	delete(s.mu.sessions, ss.home.Journal)
	s.keep(ss)
	n := len(s.mu.sessions)
	s.mu.Unlock()
	close(ss.over)
	s.mailbox.homes(n)
	s.rouse()
}

func (s *Server) session(home journal.ID) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.sessions[home]
}

func (s *Server) all() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*session, 0, len(s.mu.sessions))
	for _, ss := range s.mu.sessions {
		out = append(out, ss)
	}
	return out
}

// Reports is the journal's hook: a report for home is durable.
func (s *Server) Reports(home journal.ID) {
	if ss := s.session(home); ss != nil {
		ss.reports()
		return
	}
	s.rouse()
}

// Relist has every home ask again what we hold: of something that we had, or had to tell,
// we know no more than that it was there. It does not block.
func (s *Server) Relist() {
	for _, ss := range s.all() {
		ss.end(errRelist)
	}
}

// creditChanged has every home told the window of an agent.
func (s *Server) creditChanged(agent string) {
	for _, ss := range s.all() {
		ss.credit(agent)
	}
}

// released tells homes what they have back. A home without a stream reads it
// off the next list of what we hold.
func (s *Server) released(given []journal.Given) {
	for _, g := range given {
		if ss := s.session(g.Home); ss != nil {
			ss.release(g)
		}
	}
}

// Ask asks a home and waits for its answer. Without a stream it knocks, and
// waits for home to dial until ctx ends.
func (s *Server) Ask(ctx context.Context, home journal.ID, ask *peer.Ask) (*peer.Answer, error) {
	for {
		s.mu.Lock()
		ss, changed := s.mu.sessions[home], s.mu.changed
		if ss == nil && len(s.mu.asked) < askedMax {
			s.mu.asked[home] = true
		}
		s.mu.Unlock()
		if ss != nil {
			return ss.ask(ctx, ask)
		}
		s.rouse()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ErrHomeUnreachable
		}
	}
}

// askedMax bounds the homes remembered as asked for.
const askedMax = 1000

// Knock is called by a holder that needs us, its home.
func (s *Server) Knock(ctx context.Context, r *peer.KnockRequest) (*peer.KnockResponse, error) {
	if _, err := s.prove(ctx); err != nil {
		return nil, err
	}
	holder, err := identity(r.Identity)
	if err != nil || r.Address == "" {
		return nil, status.Error(codes.InvalidArgument, "a knock says who and where")
	}
	s.knocked(holder, r.Address)
	return &peer.KnockResponse{}, nil
}

// Connected reports whether a home has a session here.
func (s *Server) Connected(home journal.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.sessions[home] != nil
}

// Drain says goodbye on every session once its reports are acked, or when ctx
// ends. New sessions are refused from now on.
func (s *Server) Drain(ctx context.Context) {
	s.mu.Lock()
	s.mu.draining = true
	s.mu.Unlock()
	var all sync.WaitGroup
	for _, ss := range s.all() {
		all.Go(func() { ss.farewell(ctx) })
	}
	all.Wait()
}
