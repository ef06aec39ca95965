package outbound_test

import (
	"context"
	"net"
	"sync"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
	"pannier/journal/wire/peer"
)

// fake is a holder as a transcript: it does what the test says, and remembers
// what it hears. What it greets with is set before home dials.
type fake struct {
	peer.UnimplementedPeerServer
	w       *world
	address string
	connect func() (net.Conn, error)

	mu struct {
		sync.Mutex
		id        journal.Identity
		ephemeral bool
		version   uint32
		mute      bool  // takes the stream and says nothing
		refuses   error // ends each stream with it
		holdings  []*peer.Holding
		reports   []*wire.Report
		agents    []string
		credits   map[string]uint32
		now       int64 // its clock, in ms; 0: it does not say
		told      *peer.Told
		stream    *line // the present one
		streams   int
	}
}

// line is one stream of a home.
type line struct {
	f      *fake
	stream grpc.BidiStreamingServer[peer.Frame, peer.Frame]
	end    chan error
	hello  *peer.Hello
	queued []*wire.Report

	mu struct {
		sync.Mutex
		offers  []*peer.Offer
		sizes   []int // offers per frame
		revokes []*peer.Revoke
		updates []*peer.Update
		acks    []*peer.ReportAck
		asks    []*peer.Ask
		answers []*peer.Answer
		goodbye bool
		over    bool
	}
}

// holder starts a holder with a journal of its own.
func (w *world) holder(address string) *fake {
	return w.serve(address, func(f *fake) peer.PeerServer { return f })
}

// receiver is the holder at address, where alone discovery has billing.
func (w *world) receiver(address string) *fake {
	f := w.holder(address)
	w.peers.set(billing, address)
	return f
}

// serve starts a holder that behaves as server says.
func (w *world) serve(address string, server func(*fake) peer.PeerServer) *fake {
	f := &fake{w: w, address: address}
	f.mu.id = journal.Identity{Journal: journal.NewID(), Epoch: 1}
	f.mu.version = 1
	f.mu.credits = map[string]uint32{}
	l := bufconn.Listen(1 << 20)
	listener := grpc.NewServer(grpc.MaxRecvMsgSize(4 << 20))
	peer.RegisterPeerServer(listener, server(f))
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = listener.Serve(l) // ends with Stop
	}()
	f.connect = func() (net.Conn, error) { return l.Dial() }
	w.plug(f)
	w.net.stops = append(w.net.stops, func() {
		f.cut()
		listener.Stop()
		<-served
	})
	return f
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) identity() journal.Identity {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.id
}

// Session takes a stream of home.
func (f *fake) Session(stream grpc.BidiStreamingServer[peer.Frame, peer.Frame]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	l := &line{f: f, stream: stream, end: make(chan error, 1), hello: first.Hello}
	f.mu.Lock()
	f.mu.stream = l
	f.mu.streams++
	greeting := f.greeting()
	mute, refuses := f.mu.mute, f.mu.refuses
	f.mu.Unlock()
	if refuses != nil {
		return refuses
	}
	if !mute {
		if err := stream.Send(greeting); err != nil {
			return err
		}
	}
	go l.read()
	err = <-l.end
	return err
}

// greeting is what a holder says first. Called with mu held.
func (f *fake) greeting() *peer.Frame {
	g := &peer.Frame{
		Hello: &peer.Hello{
			Identity:   &peer.Identity{Journal: f.mu.id.Journal[:], Epoch: f.mu.id.Epoch},
			VersionMin: f.mu.version, VersionMax: f.mu.version, Address: f.address, Ephemeral: f.mu.ephemeral, Agents: f.mu.agents,
			NowMs: f.mu.now, Told: f.mu.told,
		},
		Holdings: f.mu.holdings, HoldingDone: true, Reports: f.mu.reports,
	}
	for a, n := range f.mu.credits {
		g.Credits = append(g.Credits, &peer.Credit{Agent: a, Window: n})
	}
	return g
}

func (l *line) read() {
	for {
		f, err := l.stream.Recv()
		if err != nil {
			l.mu.Lock()
			l.mu.over = true
			l.mu.Unlock()
			l.hang(nil)
			return
		}
		l.mu.Lock()
		if len(f.Offers) > 0 {
			l.mu.sizes = append(l.mu.sizes, len(f.Offers))
		}
		l.mu.offers = append(l.mu.offers, f.Offers...)
		l.mu.revokes = append(l.mu.revokes, f.Revokes...)
		l.mu.updates = append(l.mu.updates, f.Updates...)
		l.mu.asks = append(l.mu.asks, f.Asks...)
		l.mu.answers = append(l.mu.answers, f.Answers...)
		if f.ReportAck != nil {
			l.mu.acks = append(l.mu.acks, f.ReportAck)
		}
		l.mu.goodbye = l.mu.goodbye || f.Goodbye != nil
		l.mu.Unlock()
		if f.Ping != 0 && !l.f.isMute() {
			_ = l.stream.Send(&peer.Frame{Pong: f.Ping}) // a broken stream ends the loop
		}
	}
}

func (f *fake) isMute() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.mute
}

// hang ends the stream from the holder's side.
func (l *line) hang(err error) {
	select {
	case l.end <- err:
	default:
	}
}

// line returns the present stream.
func (f *fake) line() *line {
	f.w.t.Helper()
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.stream == nil {
		f.w.t.Fatalf("home has not dialed %s", f.address)
	}
	return f.mu.stream
}

// cut breaks the present stream, if there is one.
func (f *fake) cut() {
	f.mu.Lock()
	l := f.mu.stream
	f.mu.Unlock()
	if l != nil {
		l.hang(status.Error(codes.Unavailable, "cut"))
	}
	synctest.Wait()
}

func (f *fake) send(frame *peer.Frame) {
	f.w.t.Helper()
	if err := f.line().stream.Send(frame); err != nil {
		f.w.t.Fatalf("%s sends: %v", f.address, err)
	}
	synctest.Wait()
}

// offers takes the offers heard since the last call.
func (f *fake) offers() []*peer.Offer {
	f.w.t.Helper()
	synctest.Wait()
	f.mu.Lock()
	l := f.mu.stream
	f.mu.Unlock()
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	got := l.mu.offers
	l.mu.offers = nil
	return got
}

// expect takes the offers heard and fails unless there are n.
func (f *fake) expect(n int) []*peer.Offer {
	f.w.t.Helper()
	got := f.offers()
	if len(got) != n {
		f.w.t.Fatalf("%s was offered %d, want %d", f.address, len(got), n)
	}
	return got
}

func (f *fake) revokes() []*peer.Revoke {
	l := f.line()
	l.mu.Lock()
	defer l.mu.Unlock()
	got := l.mu.revokes
	l.mu.revokes = nil
	return got
}

func (f *fake) updates() []*peer.Update {
	l := f.line()
	l.mu.Lock()
	defer l.mu.Unlock()
	got := l.mu.updates
	l.mu.updates = nil
	return got
}

func (f *fake) acks() []*peer.ReportAck {
	l := f.line()
	l.mu.Lock()
	defer l.mu.Unlock()
	got := l.mu.acks
	l.mu.acks = nil
	return got
}

func (f *fake) connected() bool {
	synctest.Wait()
	f.mu.Lock()
	l := f.mu.stream
	f.mu.Unlock()
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.mu.over
}

func offerID(o *peer.Offer) journal.ID {
	var e wire.Envelope
	if err := proto.Unmarshal(o.Envelope, &e); err != nil {
		panic(err)
	}
	return journal.ID(e.Id)
}

func verdict(o *peer.Offer) *peer.Verdict {
	id := offerID(o)
	return &peer.Verdict{Id: id[:], OfferNo: o.OfferNo}
}

// hold says held.
func (f *fake) hold(offers ...*peer.Offer) {
	f.w.t.Helper()
	frame := &peer.Frame{}
	for _, o := range offers {
		frame.Held = append(frame.Held, verdict(o))
	}
	f.send(frame)
}

func (f *fake) refuse(o *peer.Offer, code string, retryMS uint32) {
	f.w.t.Helper()
	id := offerID(o)
	f.send(&peer.Frame{Refused: []*peer.Refused{{Id: id[:], OfferNo: o.OfferNo, Code: code, RetryAfterMs: retryMS}}})
}

func (f *fake) release(offers ...*peer.Offer) {
	f.w.t.Helper()
	frame := &peer.Frame{}
	for _, o := range offers {
		frame.Releases = append(frame.Releases, verdict(o))
	}
	f.send(frame)
}

func (f *fake) credit(agent string, n uint32) {
	f.w.t.Helper()
	f.send(&peer.Frame{Credits: []*peer.Credit{{Agent: agent, Window: n}}})
}

func report(no uint64, o *peer.Offer, fact state.Fact) *wire.Report {
	id := offerID(o)
	r := &wire.Report{No: no, Id: id[:], OfferNo: o.OfferNo, Fact: uint32(fact), Attempt: 1}
	if fact == state.FactAnswered {
		r.Answer, r.Body = uint32(state.Complete), []byte(`{}`)
	}
	return r
}

func (f *fake) report(reports ...*wire.Report) {
	f.w.t.Helper()
	f.send(&peer.Frame{Reports: reports})
}

func holding(id journal.ID, offerNo uint64) *peer.Holding {
	return &peer.Holding{Id: id[:], OfferNo: offerNo, Phase: uint32(state.Ready), HomeEpoch: 1}
}

func (f *fake) Knock(context.Context, *peer.KnockRequest) (*peer.KnockResponse, error) {
	return &peer.KnockResponse{}, nil
}

// mustLine is the present stream, for reading its counts when nothing moves.
func (f *fake) mustLine() *line { return f.line() }

// queue and flush send many reports in frames of bounded size.
func (l *line) queue(r *wire.Report) { l.queued = append(l.queued, r) }

func (l *line) flush() {
	l.f.w.t.Helper()
	for len(l.queued) > 0 {
		n := min(len(l.queued), 300)
		l.f.report(l.queued[:n]...)
		l.queued = l.queued[n:]
	}
}
