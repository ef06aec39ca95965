package outbound_test

import (
	"flag"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
	"pannier/journal/wire/peer"
	"pannier/outbound"
)

// FuzzFrame lets a holder say anything. The input is a list of frames, each
// behind two bytes of length; an id of one byte stands for one of the intents,
// and a report without a number gets the next one. Whatever is said:
//
//   - nothing panics or hangs, and the journal does not fail;
//   - every lifecycle is legal by the table, and its events agree with its head;
//   - intents that were never this holder's to have stay where they are, unless
//     it reports an app's final answer, which counts from anybody.
func FuzzFrame(f *testing.F) {
	fuzzing := flag.Lookup("test.fuzz").Value.String() != ""
	for i, frames := range fuzzSeeds() {
		if fuzzing && i%4 != 0 {
			continue // each takes a journal, and all of them more than the time there is
		}
		f.Add(pack(frames...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		frames := unpack(data)
		if len(frames) == 0 {
			return
		}
		synctest.Test(t, func(t *testing.T) { fuzzFrames(t, frames) })
	})
}

func fuzzFrames(t *testing.T, frames []*peer.Frame) {
	w := newWorld(t, outbound.DefaultOptions())
	a, b := w.holder(addrA), w.holder(addrB)
	a.set(func() { a.mu.credits[billing] = 2 })
	w.peers.set(billing, addrA)
	w.peers.set("other", addrB)
	ids := w.accept(billing, 3)
	a.hold(a.expect(2)[0])
	w.after(2 * time.Second)
	ids = append(ids, w.accept("other", 1)...)
	b.hold(b.expect(1)...)
	w.after(2 * time.Second)
	ids = append(ids, w.accept("nowhere", 1)...)
	// ids: held at a, sent to a, due for a, held at b, due for nobody

	answered := map[journal.ID]bool{}
	next := uint64(1)
	for _, frame := range frames {
		substitute(frame, ids, &next)
		for _, r := range frame.Reports {
			if state.Fact(r.Fact) == state.FactAnswered && len(r.Id) == 16 {
				answered[journal.ID(r.Id)] = true
			}
		}
		if a.connected() {
			_ = a.mustLine().stream.Send(frame) // an earlier one may have ended the stream
		}
		synctest.Wait()
	}
	w.after(3 * time.Second)

	for i, id := range ids {
		w.legal(id)
		if i < 3 || answered[id] {
			continue
		}
		place, holder, no := w.where(id)
		want, at := journal.PlaceHeld, b.identity().Journal
		if i == 4 {
			want, at = journal.PlaceDue, journal.ID{}
		}
		if place != want || holder != at || no != 1 || w.status(id) != state.Submitted {
			t.Errorf("intent %d, which the holder never had, is at place %d at %v under %d and %v", i, place, holder, no, w.status(id))
		}
	}
}

// legal replays the events of an intent through the table.
func (w *world) legal(id journal.ID) {
	w.t.Helper()
	i, err := w.j.Get(id)
	if err != nil {
		w.t.Fatalf("get: %v", err)
	}
	events, _, err := w.j.Events(id, 0)
	if err != nil {
		w.t.Fatalf("events: %v", err)
	}
	at := state.None
	for n, e := range events {
		if !reachable(at, state.Status(e.Status), state.EventType(e.Type)) {
			w.t.Errorf("event %d: %v from %v to %v has no row", n+1, state.EventType(e.Type), at, state.Status(e.Status))
		}
		at = state.Status(e.Status)
	}
	if at != i.Status() || int(i.Head.LastSeq) != len(events) {
		w.t.Errorf("the head says %v after %d events, the events %v after %d", i.Status(), i.Head.LastSeq, at, len(events))
	}
}

func reachable(from, to state.Status, e state.EventType) bool {
	for _, on := range state.Triggers() {
		if r, ok := state.Next(from, on); ok && r.To == to && r.Event == e {
			return true
		}
	}
	return false
}

// substitute makes what a frame says be about intents there are.
func substitute(f *peer.Frame, ids []journal.ID, next *uint64) {
	id := func(b []byte) []byte {
		if len(b) != 1 {
			return b
		}
		x := ids[int(b[0])%len(ids)]
		return x[:]
	}
	for _, x := range f.Held {
		x.Id = id(x.Id)
	}
	for _, x := range f.Releases {
		x.Id = id(x.Id)
	}
	for _, x := range f.Refused {
		x.Id = id(x.Id)
	}
	for _, x := range f.Holdings {
		x.Id = id(x.Id)
	}
	for _, x := range f.Asks {
		x.Id = id(x.Id)
	}
	for _, x := range f.Reports {
		x.Id = id(x.Id)
		if x.No == 0 {
			x.No = *next
			*next++
		}
	}
}

func pack(frames ...*peer.Frame) (out []byte) {
	for _, f := range frames {
		b, err := proto.Marshal(f)
		if err != nil {
			panic(err)
		}
		out = append(out, byte(len(b)>>8), byte(len(b)))
		out = append(out, b...)
	}
	return out
}

func unpack(data []byte) (frames []*peer.Frame) {
	for len(data) > 2 && len(frames) < 8 {
		n := min(int(data[0])<<8|int(data[1]), len(data)-2)
		f := &peer.Frame{}
		if err := proto.Unmarshal(data[2:2+n], f); err == nil {
			frames = append(frames, f)
		}
		data = data[2+n:]
	}
	return frames
}

func fuzzSeeds() [][]*peer.Frame {
	x := func(i byte) []byte { return []byte{i} }
	say := func(i byte, no uint64) []*peer.Verdict { return []*peer.Verdict{{Id: x(i), OfferNo: no}} }
	fact := func(i byte, f state.Fact, tr state.Trigger) *peer.Frame {
		return &peer.Frame{Reports: []*wire.Report{{Id: x(i), OfferNo: 1, Fact: uint32(f), Answer: uint32(tr), Attempt: 1, Attempts: 99}}}
	}
	var seeds [][]*peer.Frame
	for i := range byte(5) {
		seeds = append(seeds,
			[]*peer.Frame{{Held: say(i, 1)}, {Held: say(i, 1)}, {Releases: say(i, 1)}},
			[]*peer.Frame{{Releases: say(i, 1)}, {Releases: say(i, 2)}, {Held: say(i, 2)}},
			[]*peer.Frame{{Refused: []*peer.Refused{{Id: x(i), OfferNo: 1, Code: "busy"}}}, {Held: say(i, 1)}},
			[]*peer.Frame{{Refused: []*peer.Refused{{Id: x(i), OfferNo: 1, Code: "policy_denied"}}}},
			[]*peer.Frame{{Holdings: []*peer.Holding{{Id: x(i), OfferNo: 9, Phase: 200}}, HoldingDone: true}},
			[]*peer.Frame{{Asks: []*peer.Ask{{No: 1, What: peer.Ask_EVENTS, Id: x(i), Since: 1 << 30}, {What: 77}, {No: 2, What: peer.Ask_CHANGE, Id: x(i), Change: &wire.Change{Controls: []byte(`{"a":1}`), MaxAttempts: 2, TtlMs: 1}}}}, {Answers: []*peer.Answer{{No: 5}}}},
		)
		for _, f := range []state.Fact{state.FactDelivered, state.FactWorking, state.FactWaiting, state.FactAttemptFailed, state.FactExhausted, state.FactRejected, 77} {
			seeds = append(seeds, []*peer.Frame{fact(i, f, 0), fact(i, f, state.Start), {Releases: say(i, 1)}})
		}
		for _, tr := range state.Triggers() {
			seeds = append(seeds, []*peer.Frame{fact(i, state.FactAnswered, tr), fact(i, state.FactAnswered, state.Fail)})
		}
	}
	return append(seeds,
		[]*peer.Frame{{Credits: []*peer.Credit{{Agent: billing, Window: 1<<32 - 1}, {Agent: "\x00"}}}},
		[]*peer.Frame{{Hello: &peer.Hello{}}, {Goodbye: &peer.Goodbye{Empty: true}}, {Ping: 1<<64 - 1, Pong: 3}},
		[]*peer.Frame{{Offers: []*peer.Offer{{Envelope: []byte("x")}}, Revokes: []*peer.Revoke{{Id: x(1)}}, ReportAck: &peer.ReportAck{UpTo: 9}}},
		[]*peer.Frame{{Held: []*peer.Verdict{nil, {}}, Reports: []*wire.Report{{No: 5}}}},
	)
}
