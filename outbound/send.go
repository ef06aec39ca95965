package outbound

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"pannier/journal/failpoint"
	"pannier/journal/wire/peer"
)

// sentFrame is a frame of offers whose answers are owed: one outcome for the
// breaker. Its time runs from the end of the write: on a slow line a frame takes
// longer to send than a holder may take to answer.
type sentFrame struct {
	left     int
	answer   time.Duration
	deadline time.Time // zero while it is being written
	permit   *permit   // nil until then, unless it is the dial's
}

// write sends what the outbox has, most urgent first.
func (s *session) write(ctx context.Context) error {
	delay := time.NewTimer(time.Hour)
	defer delay.Stop()
	for {
		now := time.Now()
		frame, offers := s.out.next(s.d.opt.MaxFrame, now)
		if len(offers) > 0 && s.inject(offers, now) {
			if offers = nil; proto.Size(frame) == 0 {
				continue
			}
		}
		if len(offers) > 0 {
			frame.Offers = s.d.launch(s, offers, s.d.trace(s, offers))
		}
		if frame == nil { // nothing waits, or not yet
			if at, some := s.out.delayed(); some {
				delay.Reset(at.Sub(now))
			}
			select {
			case <-ctx.Done():
				return nil
			case <-s.out.wake:
			case <-delay.C:
			}
			continue
		}
		s.d.sends(s, time.Now())
		err := s.stream.Send(frame)
		if len(frame.Offers) > 0 {
			failpoint.Hit(failpoint.HomeOfferSent)
		}
		s.d.landed(s, offers)
		if err != nil {
			return nil // the reader hears why
		}
		if frame.Goodbye != nil {
			return s.stream.CloseSend() // the peer ends the stream, or the clock does
		}
	}
}

// launch marks offers as sent just before they are: from here on their answer
// is owed, whatever becomes of the stream. If we crash after the write, nothing
// here says so: the next start is an unclean one and asks.
func (d *Dispatcher) launch(s *session, offers []*flight, spans []Span) []*peer.Offer {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	frame := &sentFrame{permit: s.probe, answer: offers[0].answer}
	var out []*peer.Offer
	for i, f := range offers {
		if d.mu.flights[f.id] != f || f.stage != claimed || f.session != s {
			spans[i].End(spanUnwritten)
			continue // it ended meanwhile
		}
		f.span = spans[i]
		f.stage, f.frame, f.holder = sent, frame, s.peer
		frame.left++
		o := f.offer
		out = append(out, &peer.Offer{
			Envelope: o.Envelope, OfferNo: o.OfferNo, Attempts: o.Attempts, Redelivered: o.Redelivered, Taken: o.Taken, Continued: o.Continued,
			DeliveryAttempt: o.Handovers, DeliverByLeftMs: left(o.DeliverBy, now), DeadlineLeftMs: left(o.Policy.Deadline, now),
			PolicyGeneration: o.Policy.Generation, MaxDeliveryAttempts: o.Policy.MaxAttempts, WorkTimeoutMs: o.Policy.Work.Milliseconds(),
			Traceparent: f.span.Traceparent(), PreviousTraceparent: o.Previous, OfferedMs: now.UnixMilli(), Waited: s.link.waited(f.due, now),
		})
	}
	if len(out) == 0 {
		return nil
	}
	s.probe, s.lastWork = nil, now
	s.frames = append(s.frames, frame)
	return out
}

// left is the time to a limit as offers carry it; 0 says none.
func left(limit, now time.Time) int64 {
	if limit.IsZero() {
		return 0
	}
	return max(1, limit.Sub(now).Milliseconds())
}

func (d *Dispatcher) sends(s *session, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.sending = now
}

// landed frees the room of envelopes that are written, and starts the time of
// their frame.
func (d *Dispatcher) landed(s *session, offers []*flight) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.sending = time.Time{}
	for _, f := range offers {
		if d.mu.flights[f.id] == f {
			d.written(f)
		}
	}
	now := time.Now()
	for _, frame := range s.frames {
		if frame.deadline.IsZero() {
			frame.deadline = now.Add(frame.answer)
			frame.begin(s.link.breaker, now)
			signal(s.tick)
		}
	}
}

// begin asks for the frame's permit, where the dial's was not left for it.
// While a session is live its breaker is closed: what opens it ends the session.
func (f *sentFrame) begin(b *breaker, now time.Time) {
	if f.permit != nil {
		return
	}
	p, err := b.allow(now)
	if err != nil {
		p = &permit{b: b, report: func(error) {}} // this session is ending
	}
	f.permit = p
}
