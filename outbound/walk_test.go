package outbound_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
	"pannier/journal/wire/peer"
	"pannier/outbound"
)

// A random walk: holders that hold, refuse, forget to answer, give back, finish
// and break their streams at any moment, an operator who cancels, a home that
// is stopped and started. While no holder is away long enough to be lost:
//
//   - no intent is ever held by two holders at once;
//   - what a holder has finished it is not offered again after its report was
//     acked, and nothing is offered that has ended;
//
// and when the noise stops, every intent ends and nothing is left in flight.
func TestWalk(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { walk(t, seed) })
		})
	}
}

// rogue is a holder with a journal in memory: what it has said held survives
// its streams.
type rogue struct {
	*fake
	town *town
	rnd  *rand.Rand

	noise bool
	has   map[journal.ID]uint64 // held, by offer number
	tell  []*wire.Report        // unacked
	no    uint64
}

// town is what all holders share: who has what.
type town struct {
	sync.Mutex
	t     *testing.T
	at    map[journal.ID]*rogue
	ended map[journal.ID]bool // acked as ended
}

func (r *rogue) Session(stream grpc.BidiStreamingServer[peer.Frame, peer.Frame]) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	l := &line{f: r.fake, stream: stream, end: make(chan error, 1)}
	r.fake.mu.Lock()
	r.fake.mu.stream = l
	first := r.greeting()
	r.fake.mu.Unlock()
	r.town.Lock()
	for id, no := range r.has {
		first.Holdings = append(first.Holdings, holding(id, no))
	}
	for _, x := range r.tell { // settled, and home does not know
		id := journal.ID(x.Id)
		if _, open := r.has[id]; !open {
			first.Holdings = append(first.Holdings, &peer.Holding{Id: x.Id, OfferNo: x.OfferNo, Phase: uint32(state.Answered), HomeEpoch: 1})
		}
	}
	first.Reports = append(first.Reports, r.tell...)
	r.town.Unlock()
	if err := stream.Send(first); err != nil {
		return err
	}
	go func() {
		for {
			f, err := stream.Recv()
			if err != nil {
				l.hang(nil)
				return
			}
			if !r.hear(f, stream) {
				l.hang(status.Error(codes.Unavailable, "the walk cut it"))
				return
			}
		}
	}()
	err := <-l.end
	l.mu.Lock()
	l.mu.over = true
	l.mu.Unlock()
	return err
}

// hear acts on a frame and reports whether the stream goes on.
func (r *rogue) hear(f *peer.Frame, stream grpc.BidiStreamingServer[peer.Frame, peer.Frame]) bool {
	r.town.Lock()
	defer r.town.Unlock()
	out := &peer.Frame{Pong: f.Ping}
	if ack := f.ReportAck; ack != nil {
		for _, a := range ack.Acked {
			if state.Status(a.Status).Terminal() {
				r.town.ended[journal.ID(a.Id)] = true
			}
		}
		for len(r.tell) > 0 && r.tell[0].No <= ack.UpTo {
			r.tell = r.tell[1:]
		}
	}
	for _, v := range f.Revokes {
		r.drop(journal.ID(v.Id))
	}
	for _, o := range f.Offers {
		id := offerID(o)
		if r.town.ended[id] {
			r.town.t.Errorf("%s is offered %v, which has ended", r.address, id)
		}
		switch {
		case r.noise && r.rnd.IntN(8) == 0:
			return false // before the held commit
		case r.noise && r.rnd.IntN(6) == 0:
			out.Refused = append(out.Refused, &peer.Refused{Id: id[:], OfferNo: o.OfferNo, Code: "busy", RetryAfterMs: r.rnd.Uint32N(3000)})
			continue
		case r.noise && r.rnd.IntN(30) == 0:
			continue // never answered
		}
		if other := r.town.at[id]; other != nil && other != r {
			r.town.t.Errorf("%v is held at %s under %d and offered to %s under %d", id, other.address, other.has[id], r.address, o.OfferNo)
		}
		r.town.at[id] = r
		r.has[id] = o.OfferNo
		if r.noise && r.rnd.IntN(8) == 0 {
			return false // after it
		}
		out.Held = append(out.Held, verdict(o))
	}
	return stream.Send(out) == nil
}

func (r *rogue) drop(id journal.ID) {
	if r.town.at[id] == r {
		delete(r.town.at, id)
	}
	delete(r.has, id)
}

// act finishes or gives back something it has.
func (r *rogue) act(all bool) {
	synctest.Wait()
	r.town.Lock()
	frame := &peer.Frame{Credits: []*peer.Credit{{Agent: billing, Window: 1 + r.rnd.Uint32N(20)}}}
	for id, no := range r.has {
		switch {
		case !all && r.rnd.IntN(3) > 0:
		case !all && r.rnd.IntN(4) == 0:
			frame.Releases = append(frame.Releases, &peer.Verdict{Id: id[:], OfferNo: no})
			r.drop(id)
		default:
			r.no++
			x := &wire.Report{No: r.no, Id: id[:], OfferNo: no, Fact: uint32(state.FactAnswered), Answer: uint32(state.Complete), Body: []byte(`{}`)}
			r.tell = append(r.tell, x)
			frame.Reports = append(frame.Reports, x)
			r.drop(id)
		}
	}
	r.town.Unlock()
	if r.connected() {
		_ = r.mustLine().stream.Send(frame) // a broken stream repeats it at the next
	}
	synctest.Wait()
}

func walk(t *testing.T, seed uint64) {
	w := newWorld(t, outbound.DefaultOptions())
	rnd := rand.New(rand.NewPCG(seed, 1))
	tw := &town{t: t, at: map[journal.ID]*rogue{}, ended: map[journal.ID]bool{}}
	var holders []*rogue
	for i, address := range []string{addrA, addrB, "c.test:7401"} {
		r := &rogue{town: tw, rnd: rand.New(rand.NewPCG(seed, uint64(i))), noise: true, has: map[journal.ID]uint64{}}
		r.fake = w.serve(address, func(f *fake) peer.PeerServer { r.fake = f; return r })
		holders = append(holders, r)
	}
	w.peers.set(billing, addrA, addrB, "c.test:7401")

	var ids []journal.ID
	for range 120 {
		switch rnd.IntN(12) {
		case 0, 1, 2:
			ids = append(ids, w.accept(billing, 1+rnd.IntN(12))...)
		case 3:
			if len(ids) > 0 {
				w.cancelQuietly(ids[rnd.IntN(len(ids))])
			}
		case 4:
			holders[rnd.IntN(3)].cut()
		case 5:
			r := holders[rnd.IntN(3)]
			w.net.unplug(r.address)
			r.cut()
			w.after(time.Duration(rnd.IntN(20)) * time.Second)
			w.plug(r.fake)
		case 6:
			if rnd.IntN(4) == 0 {
				w.restart()
			}
		default:
			holders[rnd.IntN(3)].act(false)
		}
		w.after(time.Duration(rnd.IntN(1500)) * time.Millisecond)
	}
	tw.Lock()
	for _, r := range holders {
		r.noise = false
	}
	tw.Unlock()
	open := len(ids)
	for range 400 {
		w.after(2 * time.Second)
		for _, r := range holders {
			r.act(true)
		}
		open = 0
		for _, id := range ids {
			if !w.status(id).Terminal() {
				open++
			}
		}
		if open == 0 {
			break
		}
	}
	for _, id := range ids {
		if s := w.status(id); !s.Terminal() {
			place, holder, no := w.where(id)
			t.Errorf("%v is still %v, at place %d at %v under %d", id, s, place, holder, no)
		}
		w.legal(id)
	}
	w.after(15 * time.Second)
	if f, u, _, b := w.d.InFlight(); f+u+b != 0 {
		t.Errorf("left: %d flights, %d unsettled, %d bytes", f, u, b)
	}
	if open > 0 {
		t.Logf("%+v", w.d.Peers())
	}
}

// cancelQuietly cancels what has perhaps ended already.
func (w *world) cancelQuietly(id journal.ID) {
	_, _ = w.j.Answer(w.t.Context(), id, journal.Answer{Trigger: state.Cancel, Reason: state.ReasonCanceled}) // ended: the holder was first
	synctest.Wait()
}
