package outbound

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pannier/journal"
)

// stalled is how many OfferTimeouts one write may last, or the silence of a
// peer that owes nothing.
const stalled = 6

// clock watches for what does not happen.
func (s *session) clock(ctx context.Context) {
	every := max(time.Millisecond, min(time.Second, s.d.opt.OfferTimeout/4))
	timer := time.NewTimer(every)
	defer timer.Stop()
	at := time.Now().Add(every)
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.tick: // a frame may be late before the next look
			if next := s.nextLate(every); next.Before(at) {
				at = next
				timer.Reset(time.Until(at))
			}
		case now := <-timer.C:
			err := s.check(now)
			if err == nil {
				err = s.closeIdle(now)
			}
			if err != nil {
				s.cancel(err)
				return
			}
			at = s.nextLate(every)
			timer.Reset(time.Until(at))
		}
	}
}

// nextLate is when to look again: when the next frame is late, but not at once,
// and not later than the peer's silence asks for.
func (s *session) nextLate(every time.Duration) time.Time {
	now := time.Now()
	next := now.Add(every)
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	for _, f := range s.frames {
		if late := f.deadline.Add(time.Millisecond); !f.deadline.IsZero() && late.Before(next) {
			next = late
		}
	}
	if soon := now.Add(time.Millisecond); next.Before(soon) {
		return soon
	}
	return next
}

// late reports whether an answer is overdue. Frames have different times.
func (s *session) late(now time.Time) bool {
	return slices.ContainsFunc(s.frames, func(f *sentFrame) bool { return !f.deadline.IsZero() && now.After(f.deadline) })
}

// check returns why the session must end, if it must.
func (s *session) check(now time.Time) error {
	d := s.d
	silence := now.Sub(time.Unix(0, s.heard.Load()))
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case s.busy.Load(): // what we have not yet read is not the peer's silence
	case !s.sending.IsZero():
		if now.Sub(s.sending) > stalled*d.opt.OfferTimeout {
			return errDeaf
		}
	case !s.greeted && silence > d.opt.OfferTimeout:
		return fmt.Errorf("%w: no hello", errSilent)
	case s.late(now):
		return errNoAnswer
	case silence > stalled*d.opt.OfferTimeout:
		return errSilent
	case silence > d.opt.OfferTimeout:
		s.out.ping()
	}
	if s.live && s.probe != nil && s.inFlight == 0 && now.Sub(s.liveSince) > d.opt.OfferTimeout/4 {
		p := s.probe // nothing to offer: the dial was the exchange
		s.probe = nil
		p.done(nil)
		d.wakeAllLocked()
	}
	return nil
}

// closeIdle says goodbye where nothing has been going on for a while, nothing
// of ours is held there and no report is unacked. The journal is asked without the lock:
// figures wait for that, and must not wait for a disk that hangs.
func (s *session) closeIdle(now time.Time) error {
	d := s.d
	d.mu.Lock()
	gone := s.leaving && now.Sub(s.lastWork) > d.opt.OfferTimeout && s.inFlight == 0
	idle := s.idle(now)
	if idle {
		s.lastWork = now // it is looked at again an IdleClose later
	}
	d.mu.Unlock()
	switch {
	case gone:
		return errIdle // goodbye was said, by either, and the stream is still there
	case !idle:
		return nil
	}
	ids, err := d.journal.HeldAt(s.peer.Journal, journal.ID{}, 1)
	d.mu.Lock()
	defer d.mu.Unlock()
	// What has come meanwhile has moved lastWork, or is counted.
	if err == nil && len(ids) == 0 && s.lastWork.Equal(now) && s.idle(now.Add(d.opt.IdleClose)) {
		s.leaving = true
		s.out.goodbye()
	}
	return nil
}

// idle reports whether nothing has been going on for an IdleClose. Called with mu held.
func (s *session) idle(now time.Time) bool {
	return !s.leaving && s.live && now.Sub(s.lastWork) >= s.d.opt.IdleClose && s.inFlight+s.held+s.applying+s.link.dests == 0
}
