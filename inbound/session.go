package inbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"

	"pannier/journal"
	"pannier/journal/wire/peer"
)

// session is one live stream of a home. What arrives is acted upon by run, in
// order; what is to be sent is gathered in the outbox and sent by write. Acks
// of reports, which wait for a commit, have a loop of their own. None of the
// three waits for another.
type session struct {
	s     *Server
	home  journal.Identity
	hello *peer.Hello // home's
	peer  Peer        // nil: its channel proves nothing
	end   context.CancelCauseFunc
	over  chan struct{} // closed when all it has read is committed or dropped

	wake  chan struct{} // the outbox has something
	acked chan struct{} // acks are waiting
	moved chan struct{} // something was sent, or acks were journaled

	mu struct {
		sync.Mutex
		out    outbox
		asks   map[uint64]chan<- *peer.Answer
		lastNo uint64
		acks   []journal.Acked // waiting to be journaled
		upTo   uint64
		holds  int           // calls of Hold whose done is owed
		freed  chan struct{} // closed when they have become fewer
	}
}

func newSession(s *Server, home journal.Identity, hello *peer.Hello, end context.CancelCauseFunc) *session {
	ss := &session{
		s: s, home: home, hello: hello, end: end, over: make(chan struct{}),
		wake: make(chan struct{}, 1), acked: make(chan struct{}, 1), moved: make(chan struct{}, 1),
	}
	ss.mu.asks = map[uint64]chan<- *peer.Answer{}
	ss.mu.freed = make(chan struct{})
	ss.mu.out.credits = map[string]bool{}
	return ss
}

// run is the life of the session, and its reader.
func (ss *session) run(ctx context.Context, stream grpc.BidiStreamingServer[peer.Frame, peer.Frame], in <-chan *peer.Frame) error {
	var acks sync.WaitGroup
	defer acks.Wait()
	defer ss.dropAsks()
	// Whatever ends this, the holds under way are waited for: only then is it
	// known what we hold.
	defer ss.waitHeld()
	defer ss.end(nil)
	err := ss.greet(ctx)
	ss.s.greeted(ss, err)
	if err != nil {
		return refusal(err)
	}
	if !ss.s.start(func() { ss.end(ss.write(ctx, stream)) }) {
		return errStopping
	}
	acks.Go(func() { ss.ackLoop(ctx) })
	for {
		select {
		case <-ctx.Done():
			return ended(context.Cause(ctx))
		case f := <-in:
			if err := ss.handle(ctx, f); err != nil {
				ss.s.log.Warn("peer frame refused", "peer", ss.home.Journal.String(), "err", err)
				return err
			}
		}
	}
}

// ended is what the stream ends with.
func ended(cause error) error {
	if errors.Is(cause, io.EOF) || errors.Is(cause, context.Canceled) || errors.Is(cause, errGoodbye) {
		return nil
	}
	return cause
}

// greet puts home on record and fills the outbox with what a connect begins
// with: who we are, all we hold from this home, and then the windows and what
// home has not acked.
//
// If we crash after SawHome has renumbered, the numbers are durable and so is
// the epoch they belong to; home counts anew for it too.
func (ss *session) greet(ctx context.Context) error {
	s := ss.s
	if _, err := s.j.SawHome(ctx, ss.home, ss.hello.Address, ss.applied()); err != nil {
		return fmt.Errorf("record home: %w", err)
	}
	if n, err := s.j.ForgetStrangers(ctx, func(id journal.ID) bool { return s.session(id) != nil }); err != nil {
		return fmt.Errorf("forget homes: %w", err)
	} else if n > 0 {
		s.log.Warn("many homes have said hello and nothing else: those longest gone are off the record", "count", n)
	}
	holding, err := s.j.Holding(ss.home.Journal)
	if err != nil {
		return fmt.Errorf("list what is held: %w", err)
	}
	last, acked, err := s.j.Told(ctx, ss.home.Journal)
	if err != nil {
		return fmt.Errorf("read what home was told: %w", err)
	}
	hello := s.hello()
	hello.Told = &peer.Told{Last: last, Acked: acked}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	o := &ss.mu.out
	o.hello = hello
	for _, h := range holding {
		o.holdings = append(o.holdings, &peer.Holding{Id: h.ID[:], OfferNo: h.OfferNo, Phase: uint32(h.Phase), HomeEpoch: h.HomeEpoch, Continued: h.Continued, Uncounted: h.Uncounted, PolicyGeneration: h.Policy})
	}
	o.holdingDone = true
	for _, agent := range s.mailbox.Served(maxInt) {
		o.credits[agent] = true
	}
	// From the first unacked report, which may be one home has applied: it
	// answers a repeat with the ack that was lost, and changes nothing.
	o.reports, o.sent = true, 0
	ss.notify()
	return nil
}

// applied is the last of our reports that home has applied; nil where it counts
// those of another life of this journal, or none.
func (ss *session) applied() *uint64 {
	pair, self := ss.hello.AppliedPair, ss.s.self.Identity
	if pair == nil || string(pair.Journal) != string(self.Journal[:]) || pair.Epoch != self.Epoch {
		return nil
	}
	return &ss.hello.Applied
}

// notify wakes the writer.
func (ss *session) notify() { poke(ss.wake) }

// poke makes one wake-up wait, whoever else has.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (ss *session) reports() {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.mu.out.reports = true
	ss.notify()
}

func (ss *session) credit(agent string) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.mu.out.credits[agent] = true
	ss.notify()
}

func (ss *session) release(g journal.Given) {
	v := &peer.Verdict{Id: g.ID[:], OfferNo: g.OfferNo}
	if !g.Due.IsZero() {
		v.NotBeforeLeftMs = max(1, time.Until(g.Due).Milliseconds())
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.mu.out.releases = append(ss.mu.out.releases, v)
	ss.notify()
}

// reserveHold waits until the offers on their way into the journal, of all homes, are few
// enough for n bytes more, and counts them. The journal's committer, not the writer of this
// session, is what it waits for.
func (ss *session) reserveHold(n int) {
	_ = ss.s.unheld.Acquire(context.Background(), ss.s.unheldOf(n)) // the journal calls every done, also when it fails
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.mu.holds++
}

func (ss *session) holdDone(n int) {
	ss.s.unheld.Release(ss.s.unheldOf(n))
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.mu.holds--
	close(ss.mu.freed)
	ss.mu.freed = make(chan struct{})
}

// unheldOf is the part of MaxUnheld that n bytes of offers take: one alone may be larger.
func (s *Server) unheldOf(n int) int64 { return int64(min(n, s.o.MaxUnheld)) }

// waitHeld returns when no offer of this session is on its way into the journal.
func (ss *session) waitHeld() {
	for {
		ss.mu.Lock()
		ok, freed := ss.mu.holds == 0, ss.mu.freed
		ss.mu.Unlock()
		if ok {
			return
		}
		<-freed // the journal calls every done, also when it fails
	}
}

// ask sends a question and waits for its answer.
func (ss *session) ask(ctx context.Context, a *peer.Ask) (*peer.Answer, error) {
	answer := make(chan *peer.Answer, 1)
	ss.mu.Lock()
	if ss.mu.asks == nil || len(ss.mu.asks) >= asksMax {
		ss.mu.Unlock()
		return nil, ErrHomeUnreachable
	}
	ss.mu.lastNo++
	no := ss.mu.lastNo
	ss.mu.asks[no] = answer
	ss.mu.out.asks = append(ss.mu.out.asks, &peer.Ask{No: no, What: a.What, Id: a.Id, Since: a.Since, Redrive: a.Redrive, Change: a.Change})
	ss.notify()
	ss.mu.Unlock()
	select {
	case got := <-answer:
		if got == nil {
			return nil, ErrHomeUnreachable
		}
		return got, nil
	case <-ctx.Done():
		ss.mu.Lock()
		defer ss.mu.Unlock()
		delete(ss.mu.asks, no)
		return nil, ErrHomeUnreachable
	}
}

// asksMax bounds the questions under way in one direction.
const asksMax = 1024

// dropAsks answers those who still wait that nobody will.
func (ss *session) dropAsks() {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, answer := range ss.mu.asks {
		answer <- nil
	}
	ss.mu.asks = nil
}

// byeTime is how long a goodbye may take to leave.
const byeTime = 200 * time.Millisecond

// farewell ends the session when home has acked all reports, or ctx ends.
//
// Killed in the middle of it we are like one killed at any other time: reports
// are kept until acked.
func (ss *session) farewell(ctx context.Context) {
	for ctx.Err() == nil && !ss.flushed() {
		select {
		case <-ss.moved:
		case <-ss.over:
			return
		case <-ctx.Done():
		}
	}
	holding, err := ss.s.j.Holding(ss.home.Journal)
	bye := &peer.Goodbye{Empty: err == nil && len(holding) == 0 && ss.flushed()}
	ss.mu.Lock()
	ss.mu.out.goodbye = bye
	ss.notify()
	ss.mu.Unlock()
	late := time.NewTimer(byeTime)
	defer late.Stop()
	select {
	case <-ss.over:
	case <-late.C:
		ss.end(errStopping)
	}
}

// flushed reports whether home has all we have to tell it.
func (ss *session) flushed() bool {
	ss.mu.Lock()
	empty := ss.mu.out.empty() && ss.mu.upTo == 0 && len(ss.mu.acks) == 0
	ss.mu.Unlock()
	if !empty {
		return false
	}
	left, err := ss.s.j.Reports(ss.home.Journal, 0, 1)
	return err != nil || len(left) == 0 // a journal that cannot be read has nothing more to tell
}
