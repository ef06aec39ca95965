package inbound_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
	"pannier/journal/wire/peer"
)

func insecureDial() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
}

// home is the other end of a session, as a transcript: it says what a test
// tells it to, and remembers what it hears.
type home struct {
	t      *testing.T
	id     journal.Identity
	stream grpc.BidiStreamingClient[peer.Frame, peer.Frame]
	close  func()

	mu struct {
		sync.Mutex
		hello      *peer.Hello
		helloAlone bool
		credits    map[string]uint32
		shut       string // as the last credit said
		holding    []*peer.Holding
		done       bool
		verdicts   map[journal.ID]string // held, released, or the code of a refusal
		reports    []*wire.Report
		texts      []string // of refusals
		asks       []*peer.Ask
		answers    []*peer.Answer
		goodbye    *peer.Goodbye
		pong       uint64
		err        error
		frames     []struct{ size, reports int }
	}
}

// listen serves the peers of the world.
func (w *world) listen() *grpc.ClientConn {
	w.t.Helper()
	l := bufconn.Listen(1 << 20)
	server := grpc.NewServer(grpc.MaxRecvMsgSize(4 << 20))
	peer.RegisterPeerServer(server, w.s)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l) // ends with Stop
	}()
	conn, err := grpc.NewClient("passthrough:///bufconn", append(insecureDial(), grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return l.Dial() }))...)
	if err != nil {
		w.t.Fatalf("dial: %v", err)
	}
	stop := w.stop
	w.stop = func() {
		conn.Close()
		server.Stop()
		<-served
		stop()
	}
	return conn
}

// dialHome connects as a home of that journal and waits until it is reconciled.
func (w *world) dialHome(id journal.ID, epoch uint64) *home {
	w.t.Helper()
	return w.dialOn(w.listen(), id, epoch)
}

func (w *world) dialOn(conn *grpc.ClientConn, id journal.ID, epoch uint64) *home {
	w.t.Helper()
	h := w.open(conn, id, epoch)
	h.hello(1, 1)
	until(w.t, "the list of what is held is complete", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.mu.done || h.mu.err != nil })
	return h
}

func (w *world) open(conn *grpc.ClientConn, id journal.ID, epoch uint64) *home {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := peer.NewPeerClient(conn).Session(ctx)
	if err != nil {
		w.t.Fatalf("session: %v", err)
	}
	h := &home{t: w.t, id: journal.Identity{Journal: id, Epoch: epoch}, stream: stream}
	h.mu.verdicts = map[journal.ID]string{}
	h.mu.credits = map[string]uint32{}
	read := make(chan struct{})
	go func() { defer close(read); h.read() }()
	h.close = func() { cancel(); <-read }
	w.t.Cleanup(h.close)
	return h
}

func (h *home) hello(versionMin, versionMax uint32) {
	h.t.Helper()
	h.send(&peer.Frame{Hello: &peer.Hello{
		Identity:   &peer.Identity{Journal: h.id.Journal[:], Epoch: h.id.Epoch},
		VersionMin: versionMin, VersionMax: versionMax, Address: "home:1",
	}})
}

func (h *home) send(f *peer.Frame) {
	h.t.Helper()
	if err := h.stream.Send(f); err != nil {
		h.t.Logf("send: %v", err)
	}
}

func (h *home) read() {
	for {
		f, err := h.stream.Recv()
		h.mu.Lock()
		if err != nil {
			h.mu.err = err
			h.mu.Unlock()
			return
		}
		h.take(f)
		h.mu.Unlock()
	}
}

func (h *home) take(f *peer.Frame) {
	h.mu.frames = append(h.mu.frames, struct{ size, reports int }{proto.Size(f), len(f.Reports)})
	if f.Hello != nil {
		h.mu.hello, h.mu.helloAlone = f.Hello, proto.Equal(f, &peer.Frame{Hello: f.Hello})
	}
	for _, c := range f.Credits {
		h.mu.credits[c.Agent], h.mu.shut = c.Window, c.Shut
	}
	h.mu.holding = append(h.mu.holding, f.Holdings...)
	h.mu.done = h.mu.done || f.HoldingDone
	for _, v := range f.Held {
		h.mu.verdicts[journal.ID(v.Id)] = "held"
	}
	for _, r := range f.Refused {
		if r.Text != "" {
			h.mu.texts = append(h.mu.texts, r.Text)
		}
		if len(r.Id) == 16 {
			h.mu.verdicts[journal.ID(r.Id)] = r.Code
		} else {
			h.mu.verdicts[journal.ID{}] = r.Code
		}
	}
	for _, v := range f.Releases {
		h.mu.verdicts[journal.ID(v.Id)] = "released"
	}
	h.mu.reports = append(h.mu.reports, f.Reports...)
	h.mu.asks = append(h.mu.asks, f.Asks...)
	h.mu.answers = append(h.mu.answers, f.Answers...)
	if f.Goodbye != nil {
		h.mu.goodbye = f.Goodbye
	}
	if f.Pong != 0 {
		h.mu.pong = f.Pong
	}
}

func (h *home) offer(env []byte, no uint64) { h.send(offer(env, no)) }

// holds has the n-th intent held here, as far as there is room, under that number.
func (h *home) holds(n int, offerNo uint64) journal.ID {
	h.t.Helper()
	id, env := envelope(n)
	h.offer(env, offerNo)
	h.verdict(id)
	return id
}

type offerFields = peer.Offer

func offer(env []byte, no uint64, set ...func(*offerFields)) *peer.Frame {
	o := &peer.Offer{Envelope: env, OfferNo: no}
	for _, f := range set {
		f(o)
	}
	return &peer.Frame{Offers: []*peer.Offer{o}}
}

// verdict waits for the answer to an offer.
func (h *home) verdict(id journal.ID) string {
	h.t.Helper()
	var got string
	until(h.t, fmt.Sprintf("an answer to the offer of %s", id), func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		got = h.mu.verdicts[id]
		if h.mu.err != nil && got == "" {
			h.t.Fatalf("stream ended before the answer: %v", h.mu.err)
		}
		return got != ""
	})
	return got
}

// forget makes verdict wait for the next answer.
func (h *home) forget(id journal.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.mu.verdicts, id)
}

// window waits until the last credit for the agent is n.
func (h *home) window(n uint32) {
	h.t.Helper()
	until(h.t, fmt.Sprintf("credit of %d", n), func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.mu.credits[agent] == n
	})
}

// shut waits until the last credit gives this cause.
func (h *home) shut(cause state.Cause) {
	h.t.Helper()
	until(h.t, fmt.Sprintf("credit with the cause %q", cause), func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.mu.shut == cause.String()
	})
}

// facts waits for n reports and returns what they say.
func (h *home) facts(n int) []state.Fact {
	h.t.Helper()
	var out []state.Fact
	until(h.t, fmt.Sprintf("%d reports", n), func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		out = out[:0]
		for _, r := range h.mu.reports {
			out = append(out, state.Fact(r.Fact))
		}
		return len(out) >= n
	})
	return out
}

// numbers are those of the reports heard.
func (h *home) numbers() (out []uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.mu.reports {
		out = append(out, r.No)
	}
	return out
}

// ended waits for the end of the stream and returns how it ended.
func (h *home) ended() error {
	h.t.Helper()
	var err error
	until(h.t, "the end of the stream", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		err = h.mu.err
		return err != nil
	})
	return err
}

func receiverEnvelope(n int) (journal.ID, []byte) {
	id, b := envelope(n)
	var env wire.Envelope
	if err := errors.Join(proto.Unmarshal(b, &env)); err != nil {
		panic(err)
	}
	env.ReceiverDurability = true
	b, err := proto.Marshal(&env)
	if err != nil {
		panic(err)
	}
	return id, b
}
