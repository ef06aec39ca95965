package inbound

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"pannier/journal/failpoint"
	"pannier/journal/state"
	"pannier/journal/wire"
	"pannier/journal/wire/peer"
)

// outbox is what is to be said to one home: a set of facts that coalesce, not
// a queue of frames. Credits and reports are only marked and read when they are
// sent, so a home that reads slowly costs no memory for them; the rest is
// bounded by what home itself has sent and by what we hold.
type outbox struct {
	hello       *peer.Hello
	credits     map[string]bool // agents whose window is to be told
	holdings    []*peer.Holding
	holdingDone bool
	held        []*peer.Verdict
	refused     []*peer.Refused
	releases    []*peer.Verdict
	reports     bool   // the journal may have more
	sent        uint64 // last report sent on this stream
	asks        []*peer.Ask
	answers     []*peer.Answer
	goodbye     *peer.Goodbye
	ping, pong  uint64
}

func (o *outbox) empty() bool {
	return o.hello == nil && len(o.credits) == 0 && len(o.holdings) == 0 && !o.holdingDone && len(o.held) == 0 &&
		len(o.refused) == 0 && len(o.releases) == 0 && !o.reports && len(o.asks) == 0 && len(o.answers) == 0
}

// fieldOverhead is more than the tag and length of a repeated field take.
const fieldOverhead = 8

// room is the part of a frame that is still free.
type room struct{ left, filled int }

// put reports whether m still fits, or goes alone because nothing else is in
// the frame yet, and counts it.
func (r *room) put(m proto.Message) bool {
	n := proto.Size(m) + fieldOverhead
	if n > r.left && r.filled > 0 {
		return false
	}
	r.left -= n
	r.filled++
	return true
}

// move takes as many messages from the queue as fit.
func move[M proto.Message](r *room, from *[]M) (out []M) {
	n := 0
	for n < len(*from) && r.put((*from)[n]) {
		n++
	}
	out = (*from)[:n:n]
	*from = (*from)[n:]
	if len(*from) == 0 {
		*from = nil
	}
	return out
}

// pack fills a frame in the order of urgency: a later field is begun only when
// all before it are out. window tells an agent's credit now.
func (o *outbox) pack(limit int, window func(agent string) (int, state.Cause, bool)) (*peer.Frame, *room) {
	f, r := &peer.Frame{}, &room{left: limit}
	if o.hello != nil && r.put(o.hello) {
		f.Hello, o.hello = o.hello, nil
		return f, r // alone: home has to know who speaks before it acts on more
	}
	for agent := range o.credits {
		w, shut, known := window(agent)
		c := &peer.Credit{Agent: agent, Window: uint32(max(0, w)), Shut: shut.String()}
		if known && !r.put(c) {
			break
		}
		delete(o.credits, agent)
		if known {
			f.Credits = append(f.Credits, c)
		}
	}
	f.Holdings = move(r, &o.holdings)
	if o.holdingDone && len(o.holdings) == 0 {
		f.HoldingDone, o.holdingDone = true, false
		r.filled++
	}
	f.Held = move(r, &o.held)
	f.Refused = move(r, &o.refused)
	f.Releases = move(r, &o.releases)
	f.Asks = move(r, &o.asks)
	f.Answers = move(r, &o.answers)
	if o.ping != 0 || o.pong != 0 {
		f.Ping, f.Pong, o.ping, o.pong = o.ping, o.pong, 0, 0
		r.filled++
	}
	return f, r
}

var errGoodbye = errors.New("goodbye")

// write sends what the outbox has, until the session ends or goodbye is said.
func (ss *session) write(ctx context.Context, stream grpc.BidiStreamingServer[peer.Frame, peer.Frame]) error {
	for {
		f, err := ss.nextFrame()
		if err != nil {
			return err
		}
		if f == nil {
			select {
			case <-ss.wake:
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if len(f.Reports) > 0 {
			// What they tell is durable. If we crash here they are sent after
			// the next connect; if only their ack is lost, they are repeated.
			failpoint.Hit(failpoint.HolderBeforeReport)
		}
		if err := stream.Send(f); err != nil {
			return err
		}
		poke(ss.moved)
		if f.Goodbye != nil {
			return errGoodbye
		}
	}
}

// nextFrame is what can be said now, or nil.
func (ss *session) nextFrame() (*peer.Frame, error) {
	ss.mu.Lock()
	f, r := ss.mu.out.pack(ss.s.o.MaxFrame, ss.s.mailbox.credits)
	wanted, sent := ss.mu.out.reports && f.Hello == nil, ss.mu.out.sent
	ss.mu.out.reports = ss.mu.out.reports && f.Hello != nil
	ss.mu.Unlock()
	if wanted {
		if err := ss.addReports(f, r, sent); err != nil {
			return nil, err
		}
	}
	if r.filled > 0 {
		return f, nil
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if bye := ss.mu.out.goodbye; bye != nil && ss.mu.out.empty() {
		return &peer.Frame{Goodbye: bye}, nil
	}
	return nil, nil
}

// reportPage is how many reports are read for one frame.
const reportPage = 512

// addReports adds what home has not been told on this stream yet, as far as it
// fits. Only the writer moves sent.
func (ss *session) addReports(f *peer.Frame, r *room, sent uint64) error {
	unacked, err := ss.s.j.Reports(ss.home.Journal, sent, reportPage)
	if err != nil {
		return err
	}
	queue := append([]*wire.Report(nil), unacked...)
	f.Reports = move(r, &queue)
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if n := len(f.Reports); n > 0 {
		ss.mu.out.sent = f.Reports[n-1].No
	}
	if len(queue) > 0 || len(unacked) == reportPage || len(f.Reports) > 0 {
		ss.mu.out.reports = true // Reports may have stopped early: look again
	}
	return nil
}
