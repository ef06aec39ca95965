package inbound_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
	"pannier/journal/wire/peer"
)

// FuzzFrame sends arbitrary frames after a good hello. Whatever they say, the
// sidecar lives, answers the next home, and has journaled nothing that is not
// an intent for an agent it serves.
func FuzzFrame(f *testing.F) {
	id, env := envelope(1)
	for _, frame := range []*peer.Frame{
		{Ping: 7},
		{Offers: []*peer.Offer{{Envelope: env, OfferNo: 1, DeliverByLeftMs: 1000, DeadlineLeftMs: -1}}},
		{Offers: []*peer.Offer{{Envelope: env, OfferNo: 1}, {Envelope: env, OfferNo: 2, Taken: true, Attempts: 1 << 31}}},
		{Revokes: []*peer.Revoke{{Id: id[:], OfferNo: 1, Why: peer.Revoke_ENDED, Status: uint32(state.Canceled)}}},
		{ReportAck: &peer.ReportAck{UpTo: 1 << 63, Acked: []*peer.Acked{{Id: id[:], Status: 7, Events: []*wire.Event{{Type: 200}}}}}},
		{Asks: []*peer.Ask{{No: 1, What: peer.Ask_WHY, Id: id[:]}}, Answers: []*peer.Answer{{No: 1}}},
		{Hello: &peer.Hello{}, HoldingDone: true, Held: []*peer.Verdict{{}}, Goodbye: &peer.Goodbye{}, Credits: []*peer.Credit{{Agent: agent}}},
	} {
		b, err := proto.Marshal(frame)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	// One sidecar for all inputs of a worker: what one leaves behind the next
	// meets.
	var once sync.Once
	var w *world
	var conn *grpc.ClientConn
	f.Cleanup(func() {
		if w != nil {
			w.stop()
			os.RemoveAll(w.dir)
		}
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		var frame peer.Frame
		if proto.Unmarshal(b, &frame) != nil {
			return // gRPC refuses it before we see it
		}
		once.Do(func() {
			dir, err := os.MkdirTemp("", "pannier-fuzz-")
			if err != nil {
				t.Fatal(err)
			}
			w = &world{t: t, dir: dir, o: fast()}
			w.start()
			conn = w.listen()
		})
		key := journal.NewID()
		say(t, conn, key, &frame)
		if !say(t, conn, key, &peer.Frame{Ping: 1}) {
			t.Fatal("the next stream gets no answer")
		}
		checkMail(t, w, key)
	})
}

// say opens a session, says a frame, and reports whether a ping is answered
// before the stream ends.
func say(t *testing.T, conn *grpc.ClientConn, key journal.ID, frame *peer.Frame) (alive bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	stream, err := peer.NewPeerClient(conn).Session(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*peer.Frame{
		{Hello: &peer.Hello{Identity: &peer.Identity{Journal: key[:], Epoch: 1}, VersionMin: 1, VersionMax: 1}},
		frame, {Ping: 0xfffffff},
	} {
		if stream.Send(f) != nil {
			break // Recv says why
		}
	}
	for {
		f, err := stream.Recv()
		if err != nil {
			if ctx.Err() != nil {
				t.Fatal("the stream hangs")
			}
			return false
		}
		if f.Pong == 0xfffffff {
			return true
		}
	}
}

// checkMail reads what has been journaled of a home, and takes it out again so
// that the next input finds room.
func checkMail(t *testing.T, w *world, home journal.ID) {
	held, err := w.j.Holding(home)
	if err != nil {
		t.Fatal(err)
	}
	var done []journal.Verdict
	for _, h := range held {
		done = append(done, journal.Verdict{ID: h.ID, OfferNo: h.OfferNo, Ended: true, Status: state.Canceled})
		i, err := w.j.Get(h.ID)
		if err != nil {
			t.Fatalf("held %s cannot be read: %v", h.ID, err)
		}
		e := i.Envelope
		if e == nil || journal.ID(e.Id) != h.ID || e.ToAgent != agent || !utf8.ValidString(e.IntentType) || h.OfferNo == 0 {
			t.Fatalf("journaled %v under offer %d, which is no intent of ours", e, h.OfferNo)
		}
	}
	if err := w.j.Revoke(context.Background(), home, done); err != nil {
		t.Fatal(err)
	}
}
