package outbound

import (
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"pannier/journal"
	"pannier/journal/wire/peer"
)

// controlMost bounds what waits for a writer beside offers: beyond it whoever
// adds more waits, and in the end gives the stream up.
const controlMost = 8 << 20

// outbox is what waits to be written to one peer. Adding never blocks; a
// producer that can wait asks room first.
type outbox struct {
	wake chan struct{} // for the writer
	free chan struct{} // for whoever waits for room

	mu struct {
		sync.Mutex
		acks    []*peer.ReportAck
		revokes []*peer.Revoke
		updates []*peer.Update
		offers  []*flight
		later   []*flight // held back by an injected delay
		asks    []*peer.Ask
		answers []*peer.Answer
		bye     bool
		pings   uint64 // number of the last one
		ping    bool
		pong    uint64
		bytes   int // of all but offers, about
	}
}

func newOutbox() *outbox {
	return &outbox{wake: make(chan struct{}, 1), free: make(chan struct{}, 1)}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// add runs f under the lock, counts size bytes, and wakes the writer.
func (o *outbox) add(size int, f func()) {
	o.mu.Lock()
	f()
	o.mu.bytes += size
	o.mu.Unlock()
	signal(o.wake)
}

// room reports whether more may be added. Where not, free tells when to ask
// again.
func (o *outbox) room() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mu.bytes < controlMost
}

func (o *outbox) offer(flights []*flight) {
	o.add(0, func() { o.mu.offers = append(o.mu.offers, flights...) })
}

// postpone holds offers back until their time.
func (o *outbox) postpone(flights []*flight) {
	o.add(0, func() { o.mu.later = append(o.mu.later, flights...) })
}

// delayed returns when the next of these goes.
func (o *outbox) delayed() (at time.Time, some bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, f := range o.mu.later {
		if !some || f.until.Before(at) {
			at, some = f.until, true
		}
	}
	return at, some
}

// revoke takes an intent back. The events of a dead letter are what its holder's copy
// shows of the attempts; it can do without, so a full outbox leaves them out.
func (o *outbox) revoke(v journal.Verdict) {
	r := &peer.Revoke{Id: v.ID[:], OfferNo: v.OfferNo, Why: peer.Revoke_SUPERSEDED}
	if v.Ended {
		r.Why, r.Status, r.Reason = peer.Revoke_ENDED, uint32(v.Status), uint32(v.Reason)
		if o.room() {
			r.Events = v.Events
		}
	}
	o.add(revokeSize(r), func() { o.mu.revokes = append(o.mu.revokes, r) })
}

func revokeSize(r *peer.Revoke) int {
	if len(r.Events) == 0 {
		return 32
	}
	return proto.Size(r)
}

const updateSize = 80

func (o *outbox) update(c journal.Continued) {
	u := &peer.Update{Id: c.ID[:], OfferNo: c.OfferNo, Continued: c.No, ContinuedBy: uint32(c.Trigger), ContinuedOn: c.On}
	o.add(updateSize, func() { o.mu.updates = append(o.mu.updates, u) })
}

// change says which options of an intent have changed: all of them, as they are now.
func (o *outbox) change(p journal.Policy) {
	u := &peer.Update{
		Id: p.ID[:], OfferNo: p.OfferNo, PolicyGeneration: p.Generation, MaxDeliveryAttempts: p.MaxAttempts,
		DeadlineLeftMs: left(p.Deadline, time.Now()), WorkTimeoutMs: p.Work.Milliseconds(),
	}
	o.add(updateSize, func() { o.mu.updates = append(o.mu.updates, u) })
}

// ack says that all reports up to a number are durable here. The lines are cut
// into frames; the number goes with the last of them, or a holder that got only
// the first would forget reports whose lines it has not seen.
func (o *outbox) ack(upTo uint64, acked []journal.Acked) {
	full := &peer.ReportAck{Acked: make([]*peer.Acked, len(acked)), UpTo: upTo}
	for i, a := range acked {
		full.Acked[i] = &peer.Acked{Id: a.ID[:], Status: uint32(a.Status), Events: a.Events, Unknown: a.Unknown, Park: a.Park}
	}
	o.add(proto.Size(full), func() { o.mu.acks = append(o.mu.acks, full) })
}

func (o *outbox) ask(a *peer.Ask) {
	o.add(proto.Size(a), func() { o.mu.asks = append(o.mu.asks, a) })
}

func (o *outbox) answer(a *peer.Answer) {
	o.add(proto.Size(a), func() { o.mu.answers = append(o.mu.answers, a) })
}

func (o *outbox) goodbye() { o.add(0, func() { o.mu.bye = true }) }

// ping asks for a sign of life, one at a time.
func (o *outbox) ping() {
	o.add(0, func() {
		if !o.mu.ping {
			o.mu.pings++
			o.mu.ping = true
		}
	})
}

func (o *outbox) pong(no uint64) { o.add(0, func() { o.mu.pong = no }) }

// next takes what fits one frame, in order of urgency. The offers are returned
// beside the frame: the caller decides which of them still go. It returns nil
// when nothing waits. The offers of a frame are handled alike.
func (o *outbox) next(most int, now time.Time) (*peer.Frame, []*flight) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := &peer.Frame{}
	b := budget{left: most}
	o.takeAcks(f, &b)
	control := b.used
	f.Revokes, o.mu.revokes = fit(&b, o.mu.revokes, revokeSize)
	for _, r := range f.Revokes {
		control += revokeSize(r)
	}
	f.Updates, o.mu.updates = fit(&b, o.mu.updates, func(*peer.Update) int { return updateSize })
	control += updateSize * len(f.Updates)
	if len(o.mu.later) > 0 {
		var over []*flight
		over, o.mu.later = overdue(o.mu.later, now)
		o.mu.offers = append(over, o.mu.offers...)
	}
	offers, _ := fit(&b, alike(o.mu.offers), func(x *flight) int { return len(x.offer.Envelope) + 64 })
	if o.mu.offers = o.mu.offers[len(offers):]; len(o.mu.offers) == 0 {
		o.mu.offers = nil
	}
	before := b.used
	f.Asks, o.mu.asks = fit(&b, o.mu.asks, func(x *peer.Ask) int { return proto.Size(x) })
	f.Answers, o.mu.answers = fit(&b, o.mu.answers, func(x *peer.Answer) int { return proto.Size(x) })
	control += b.used - before
	if o.mu.bye && b.left > 0 {
		f.Goodbye, o.mu.bye = &peer.Goodbye{Empty: true}, false
	}
	some := b.used > 0 || f.Goodbye != nil || o.mu.ping || o.mu.pong != 0
	if o.mu.ping {
		f.Ping, o.mu.ping = o.mu.pings, false
	}
	f.Pong, o.mu.pong = o.mu.pong, 0
	if !some {
		return nil, nil
	}
	o.mu.bytes = max(0, o.mu.bytes-control)
	signal(o.free)
	return f, offers
}

// overdue takes out those whose time has come.
func overdue(later []*flight, now time.Time) (over, rest []*flight) {
	for _, f := range later {
		if f.until.After(now) {
			rest = append(rest, f)
		} else {
			over = append(over, f)
		}
	}
	return over, rest
}

// alike returns the first offers that are handled in one way.
func alike(list []*flight) []*flight {
	for i, f := range list {
		if f.handling != list[0].handling || f.until != list[0].until {
			return list[:i:i]
		}
	}
	return list
}

// takeAcks merges acks while they fit. One that does not is cut: its first
// lines go without a number.
func (o *outbox) takeAcks(f *peer.Frame, b *budget) {
	for len(o.mu.acks) > 0 && b.left > 0 {
		a := o.mu.acks[0]
		if f.ReportAck == nil {
			f.ReportAck = &peer.ReportAck{}
		}
		lines, rest := fit(b, a.Acked, func(x *peer.Acked) int { return proto.Size(x) })
		f.ReportAck.Acked = append(f.ReportAck.Acked, lines...)
		if a.Acked = rest; len(rest) > 0 {
			return
		}
		f.ReportAck.UpTo = max(f.ReportAck.UpTo, a.UpTo)
		b.take(8)
		o.mu.acks = o.mu.acks[1:]
	}
}

// budget is what is left of a frame.
type budget struct{ left, used int }

func (b *budget) take(n int) {
	b.left -= n
	b.used += n
}

// fit takes from the front of list what the budget allows. The first message
// of a frame goes even if it is larger: it goes alone.
func fit[T any](b *budget, list []T, size func(T) int) (in, rest []T) {
	n := 0
	for _, x := range list {
		s := size(x) + 4
		if b.left <= 0 || s > b.left && b.used > 0 {
			break
		}
		b.take(s)
		n++
	}
	if n == len(list) {
		return list, nil
	}
	return list[:n:n], list[n:]
}
