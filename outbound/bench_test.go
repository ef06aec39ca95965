package outbound_test

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
	"pannier/journal/wire/peer"
	"pannier/outbound"
)

// eager holds and completes whatever it is offered.
type eager struct {
	peer.UnimplementedPeerServer
	id    journal.ID
	agent string
	ended chan int
}

func (e *eager) Session(stream grpc.BidiStreamingServer[peer.Frame, peer.Frame]) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	no := uint64(0)
	err := stream.Send(&peer.Frame{
		Hello:       &peer.Hello{Identity: &peer.Identity{Journal: e.id[:], Epoch: 1}, VersionMin: 1, VersionMax: 1},
		HoldingDone: true, Credits: []*peer.Credit{{Agent: e.agent, Window: 2000}},
	})
	for err == nil {
		var f *peer.Frame
		if f, err = stream.Recv(); err != nil {
			break
		}
		out := &peer.Frame{}
		for _, o := range f.Offers {
			v := verdict(o)
			no++
			out.Held = append(out.Held, v)
			out.Reports = append(out.Reports, &wire.Report{No: no, Id: v.Id, OfferNo: o.OfferNo, Fact: uint32(state.FactDelivered), Attempt: 1})
			no++
			out.Reports = append(out.Reports, &wire.Report{No: no, Id: v.Id, OfferNo: o.OfferNo, Fact: uint32(state.FactAnswered), Answer: uint32(state.Complete), Body: []byte(`{}`)})
		}
		if len(out.Held) > 0 {
			err = stream.Send(out)
		}
		if f.ReportAck != nil {
			n := 0
			for _, a := range f.ReportAck.Acked {
				if len(a.Events) > 0 {
					n++
				}
			}
			e.ended <- n
		}
	}
	return err
}

// BenchmarkDispatch is home's side of a delivery to a holder that is always
// ready: claim, offer, held, two reports, ack. The intents are due beforehand.
func BenchmarkDispatch(b *testing.B) {
	var d *outbound.Dispatcher
	var mu sync.Mutex
	get := func() *outbound.Dispatcher { mu.Lock(); defer mu.Unlock(); return d }
	j, err := journal.Open(journal.Options{Dir: b.TempDir(), Hooks: journal.Hooks{
		Due: func(a journal.Agent) {
			if d := get(); d != nil {
				d.Due(a)
			}
		},
		Ended: func(e journal.Ended) {
			if d := get(); d != nil {
				d.Ended(e)
			}
		},
	}})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	l := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	e := &eager{id: journal.NewID(), agent: billing, ended: make(chan int, 1<<16)}
	peer.RegisterPeerServer(server, e)
	go server.Serve(l)
	defer server.Stop()

	body := make([]byte, 1000)
	for n := 0; n < b.N; n += 500 {
		in := make([]journal.Accept, min(500, b.N-n))
		for i := range in {
			in[i].Envelope = &wire.Envelope{IntentType: "t", FromAgent: "tester", ToAgent: billing, Payload: body}
		}
		if _, err := j.Accept(context.Background(), in); err != nil {
			b.Fatal(err)
		}
	}
	peers := &directory{agents: map[string][]outbound.Endpoint{billing: {{Address: addrA}}}, changed: make(chan struct{})}
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return l.Dial() }),
	}
	b.ResetTimer()
	ctx, cancel := context.WithCancel(context.Background())
	mu.Lock()
	d = outbound.New(outbound.DefaultOptions(), j, outbound.Self{Identity: j.Identity(), Address: home}, peers, &mailbox{j: j}, dial, slog.New(slog.DiscardHandler))
	mu.Unlock()
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	for left := b.N; left > 0; {
		select {
		case n := <-e.ended:
			left -= n
		case <-time.After(20 * time.Second):
			b.Fatalf("%d left", left)
		}
	}
	b.StopTimer()
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}
