package outbound

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire/peer"
)

// handle acts on a frame of the holder. One that we cannot work on costs the stream, not the
// process: what is in it comes again, on the next.
func (s *session) handle(ctx context.Context, f *peer.Frame) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.d.log.Error("panic at a frame of a peer", "peer", s.link.address, "err", fmt.Sprintf("%v\n%s", r, debug.Stack()))
			err = errFrame
		}
	}()
	return s.act(ctx, f)
}

var errFrame = errors.New("this sidecar failed on a frame of the peer")

// act does what a frame of the holder says, in field order. What it names is
// checked against what we have offered it or know it holds; anything else is
// ignored, so that no frame can make home journal what is not so. An error ends
// the session.
func (s *session) act(ctx context.Context, f *peer.Frame) error {
	d := s.d
	d.credit(s, f.Credits)
	d.held(s, f.Held)
	gone := s.refused(f.Refused)
	if err := s.released(ctx, append(gone, f.Releases...)); err != nil {
		return err
	}
	if err := s.reports(f.Reports); err != nil {
		return err
	}
	if err := s.answerAsks(ctx, f.Asks); err != nil {
		return err
	}
	for _, a := range f.Answers {
		s.answered(a)
	}
	if f.Goodbye != nil {
		d.goodbye(s, f.Goodbye.Empty)
	}
	if f.Ping != 0 {
		s.out.pong(f.Ping)
	}
	return nil
}

// credit takes over windows. They are absolute.
func (d *Dispatcher) credit(s *session, credits []*peer.Credit) {
	if len(credits) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range credits {
		if s.pairs[c.Agent] == nil && len(s.pairs) >= pairsMost {
			continue
		}
		p := s.pair(c.Agent)
		p.window, p.closed = int(min(c.Window, 1<<20)), shutBy(c.Shut)
		if p.window > 1 {
			p.shut = false
			if lane := s.pairs[laneKey(c.Agent)]; lane != nil {
				lane.shut = false
				d.queueKey(lane.agent)
			}
		}
		d.queueKey(c.Agent)
	}
}

// shutCauses are what a holder may say of the door of an app.
var shutCauses = []state.Cause{
	state.CauseKilled, state.CauseNoReader, state.CauseDoorShut, state.CauseAppUnreachable, state.CauseAppThrottled, state.CauseAppGone,
}

// shutBy reads a code; a word of a later version says nothing.
func shutBy(code string) state.Cause {
	if c, known := state.ParseCause(code); known && slices.Contains(shutCauses, c) {
		return c
	}
	return state.NoCause
}

// idAndNo reads what most messages of a holder begin with.
func idAndNo(id []byte, no uint64) (journal.ID, uint64, bool) {
	x, err := journal.IDOf(id)
	return x, no, err == nil
}

// owes returns the flight of which this session owes the answer, if this is it.
// Called with mu held.
func (d *Dispatcher) owes(s *session, id journal.ID, offerNo uint64) *flight {
	if f := d.mu.flights[id]; f != nil && f.stage == sent && f.session == s && f.offerNo == offerNo {
		return f
	}
	return nil
}

// answer takes a sent flight off its session: the holder has said what becomes
// of it. It stays in flight, and so is not claimed, until the caller drops it.
// Called with mu held.
func (d *Dispatcher) answer(f *flight) *pair {
	s, p, frame := f.session, f.pair, f.frame
	d.written(f)
	f.stage, f.session, f.pair, f.frame = answered, nil, nil, nil
	p.out--
	f.dest.unanswered--
	if f.dest.policy.MaxRequests > 0 {
		d.queue(f.dest, false)
	}
	s.inFlight--
	s.lastWork = time.Now()
	signal(d.settled)
	if frame.left--; frame.left > 0 {
		return p
	}
	for i, x := range s.frames {
		if x == frame {
			s.frames = append(s.frames[:i], s.frames[i+1:]...)
			break
		}
	}
	frame.begin(s.link.breaker, s.lastWork) // it was answered before the write had returned
	if f := d.told.Answered; f != nil && !frame.deadline.IsZero() {
		f(s.lastWork.Sub(frame.deadline.Add(-frame.answer)))
	}
	frame.permit.done(nil)
	if frame.permit.halfOpen {
		d.wakeAllLocked()
	}
	return p
}

// count notes that the holder has an unsettled intent. Called with mu held.
func (d *Dispatcher) count(id journal.ID, p *pair) {
	d.free(id)
	d.mu.unsettled[id] = p
	p.out++
	p.session.held++
}

// free gives back the credit of an intent that is no longer unsettled at its
// holder. Called with mu held.
func (d *Dispatcher) free(id journal.ID) {
	p := d.mu.unsettled[id]
	if p == nil {
		return
	}
	delete(d.mu.unsettled, id)
	p.out--
	p.session.held--
	p.session.lastWork = time.Now()
	d.queueKey(p.agent)
}

// held: the intents are durable at the holder. Who holds them goes into the
// journal with whatever is written next; until that is durable they stay in
// flight. If we crash before, the holder lists them at the next reconcile.
func (d *Dispatcher) held(s *session, list []*peer.Verdict) {
	if len(list) == 0 {
		return
	}
	d.mu.Lock()
	h := d.mu.holders[s.peer.Journal]
	var flights []*flight
	for _, v := range list {
		id, no, ok := idAndNo(v.Id, v.OfferNo)
		if !ok {
			continue
		}
		if f := d.owes(s, id, no); f != nil {
			if f := d.accepted(h, f); f != nil {
				flights = append(flights, f)
			}
		}
	}
	d.mu.Unlock()
	d.tellOffers(s, OutcomeHeld, len(flights))
	d.record(s.peer, h, flights)
}

// accepted counts a sent flight as held; nil where it has ended, and there is
// nothing to record. Called with mu held.
func (d *Dispatcher) accepted(h *holder, f *flight) *flight {
	p := d.answer(f)
	f.endSpan("")
	p.refusals = 0
	delete(f.dest.rejects, f.id)
	if f.ended {
		d.drop(f)
		return nil
	}
	d.count(f.id, p)
	h.recording++
	return f
}

// record writes who holds the intents, in pieces: a frame may tell of more than
// one batch of the journal has room for.
func (d *Dispatcher) record(holder journal.Identity, h *holder, flights []*flight) {
	for some := range slices.Chunk(flights, page) {
		d.recordSome(holder, h, some)
	}
}

func (d *Dispatcher) recordSome(holder journal.Identity, h *holder, flights []*flight) {
	ids, nos := make([]journal.ID, len(flights)), make([]uint64, len(flights))
	awaited := false
	for i, f := range flights {
		ids[i], nos[i] = f.id, f.offerNo
		awaited = awaited || f.offer.Receiver
	}
	d.journal.RecordHeld(holder, ids, nos, awaited, func() { d.recorded(h, flights) })
}

// recorded runs when it is durable who holds the intents: no claim will find
// them any more, so they need not be skipped. A claim that is being read now may
// still: for it they stay until it is over.
func (d *Dispatcher) recorded(h *holder, flights []*flight) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h.landed(len(flights))
	if d.mu.claiming {
		d.mu.recorded = append(d.mu.recorded, flights...)
		return
	}
	for _, f := range flights {
		d.drop(f)
	}
}

// refused: the holder does not have the intents. For now: they are due again,
// elsewhere or later, and nothing is journaled. For good: another endpoint may
// take them, and when there is none they are dead letters.
//
// It returns those whose answer we took for given: a report that was kept over our
// crash, of what the holder has given back since, proves it as well as a new one
// would. On record there they would stay for as long as the stream does.
func (s *session) refused(list []*peer.Refused) (gone []*peer.Verdict) {
	if len(list) == 0 {
		return nil
	}
	d := s.d
	var back []*flight
	d.mu.Lock()
	for _, r := range list {
		id, no, ok := idAndNo(r.Id, r.OfferNo)
		if !ok {
			continue
		}
		if f := d.owes(s, id, no); f != nil {
			d.refusal(s, f, r)
			back = append(back, f)
			continue
		}
		gone = append(gone, &peer.Verdict{Id: r.Id, OfferNo: r.OfferNo})
	}
	d.mu.Unlock()
	d.tellOffers(s, OutcomeRefused, len(back))
	d.giveBack(back, false)
	return gone
}

// refusal notes what one refusal asks for. Called with mu held.
func (d *Dispatcher) refusal(s *session, f *flight, r *peer.Refused) {
	v, p := judge(r.Code), d.answer(f)
	f.endSpan(r.Code)
	if v.alarm {
		d.log.Error("peer refuses offers until somebody looks", "peer", s.link.address, "agent", p.agent, "reason", r.Code)
	}
	p.refusals++
	asked := max(v.least, time.Duration(r.RetryAfterMs)*time.Millisecond)
	until := time.Now().Add(d.holdOff(f.dest.policy.Backoff, asked, p.refusals))
	switch {
	case v.scope == ofIntent && !f.ended:
		d.reject(f, s.link.address, v.reason, refusalText(r))
	case v.scope == ofEndpoint:
		s.pausedUntil, s.pausedBy = until, cmp.Or(v.cause, state.CauseRefused)
	case v.scope == ofAgent:
		p.pausedUntil, p.pausedBy, p.away = until, state.CauseRefused, v.least > 0
	}
}

// holdOff is the pause after the n-th refusal in a row.
func (d *Dispatcher) holdOff(said Backoff, asked time.Duration, n int) time.Duration {
	if b, ok := said.said(d.opt); ok && asked <= 0 {
		return jittered(n, b, rand.Float64())
	}
	return holdOff(asked, n, retryMin, d.opt.RedialMax, rand.Float64())
}

// putOffMost is how long an app can have an intent put off.
const putOffMost = 24 * time.Hour

// released: the holder gives intents back that its app never had. They become
// due under the next number, since another journal may get them now; a crash
// before that is durable leaves them on record there, and reconcile finds them
// missing.
func (s *session) released(ctx context.Context, list []*peer.Verdict) error {
	if len(list) == 0 {
		return nil
	}
	d := s.d
	var again []journal.Requeue
	var gone []*flight
	var unsure []journal.Requeue
	d.mu.Lock()
	for _, v := range list {
		id, no, ok := idAndNo(v.Id, v.OfferNo)
		if !ok {
			continue
		}
		r := journal.Requeue{ID: id, OfferNo: no, Raise: true, Reason: state.ReasonHolderReleased}
		if left := min(v.NotBeforeLeftMs, putOffMost.Milliseconds()); left > 0 {
			r.NotBefore = time.Now().Add(time.Duration(left) * time.Millisecond)
		}
		f, p := d.mu.flights[id], d.mu.unsettled[id]
		switch {
		case d.owes(s, id, no) != nil: // its held was never said
			pr := d.answer(f)
			f.endSpan(spanReleased)
			pr.shut = pr.window <= 1
			gone = append(gone, f)
		case p == nil || p.session != s:
			unsure = append(unsure, r)
			continue
		case f != nil && f.stage == answered && f.offerNo == no:
			gone = append(gone, f)
		}
		if p != nil && p.session == s {
			p.shut = p.window <= 1
			d.free(id)
		}
		again = append(again, r)
	}
	d.mu.Unlock()
	for _, r := range unsure {
		if d.onRecord(s.peer.Journal, r.ID, r.OfferNo) {
			again = append(again, r)
		}
	}
	if len(again) == 0 {
		return nil
	}
	if err := d.journal.Requeue(ctx, s.peer.Journal, again); err != nil {
		return fmt.Errorf("take back what was released: %w", err)
	}
	d.tellOffers(s, OutcomeReleased, len(again))
	// It is due under its next number: a record of the old one changes nothing.
	d.giveBack(gone, false)
	return nil
}

// goodbye: the holder leaves. One that leaves with nothing held needs no
// waiting: what it still owes an answer for it does not have.
func (d *Dispatcher) goodbye(s *session, empty bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.leaving, s.lastWork = true, time.Now()
	if h := d.mu.holders[s.peer.Journal]; h != nil {
		h.left = empty
	}
}
