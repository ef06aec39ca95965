package inbound

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"

	"pannier/journal"
	"pannier/journal/wire/peer"
)

// knocksAtOnce bounds the homes dialed at the same time.
const knocksAtOnce = 8

// knocking is how far we are with one home that should dial us.
type knocking struct {
	next  time.Time
	pause time.Duration
	told  bool // that it is gone for good, as far as we can see
}

// knockLoop asks homes to dial: those that have not acked all reports, those we
// still have open intents of (home may have ended them meanwhile, and can tell
// us only at a reconcile), and those somebody here asks. Home dials by itself
// after a start and whenever it has something for us; this is for a home that
// does not know that we need it.
func (s *Server) knockLoop(ctx context.Context) error {
	homes := map[journal.ID]*knocking{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-timer.C:
		}
		due, next, err := s.needed(homes, time.Now())
		if err != nil {
			return nil // the journal has stopped, and says so itself
		}
		s.knockAll(ctx, due)
		if !next.IsZero() {
			timer.Reset(max(time.Until(next), knockPause))
		}
	}
}

// knockPause is the least time between two looks at what is needed.
const knockPause = 50 * time.Millisecond

// rouse has the knock loop look at what is needed.
func (s *Server) rouse() { poke(s.wake) }

// needed returns the homes to knock at now, and when to look again.
func (s *Server) needed(homes map[journal.ID]*knocking, now time.Time) (due []journal.HomeInfo, next time.Time, err error) {
	all, err := s.j.Homes()
	if err != nil {
		return nil, time.Time{}, err
	}
	for _, h := range all {
		if !s.needs(h) {
			delete(homes, h.ID)
			continue
		}
		k := homes[h.ID]
		if k == nil {
			// Home may be dialing already: give it the first pause.
			k = &knocking{pause: s.o.KnockMin, next: now.Add(jitter(s.o.KnockMin))}
			homes[h.ID] = k
		}
		if !now.Before(k.next) {
			due = append(due, h)
			k.pause = min(2*k.pause, s.o.KnockMax)
			k.next = now.Add(jitter(k.pause))
			s.gone(k, h, now)
		}
		next = earliest(next, k.next)
	}
	return due, next, nil
}

// jitter is between half of d and d.
func jitter(d time.Duration) time.Duration {
	return d/2 + time.Duration(random()*float64(d/2))
}

func (s *Server) needs(h journal.HomeInfo) bool {
	s.mu.Lock()
	away := h.ID != s.self.Identity.Journal && h.Address != "" && s.mu.sessions[h.ID] == nil && !s.mu.draining
	asked := s.mu.asked[h.ID]
	s.mu.Unlock()
	return away && (h.Unacked || asked || s.j.HoldsFrom(h.ID))
}

// gone tells, once, of a home that has been away for so long that what we have
// of it are orphans. They are still handed over, and their outcomes kept.
func (s *Server) gone(k *knocking, h journal.HomeInfo, now time.Time) {
	if k.told || now.Sub(h.Seen) < s.o.OrphanAfter {
		return
	}
	k.told = true
	s.log.Warn("home has been out of reach too long; its intents here are orphans", "peer", h.ID.String(), "since", h.Seen)
}

func (s *Server) knockAll(ctx context.Context, due []journal.HomeInfo) {
	slots := make(chan struct{}, knocksAtOnce)
	var all sync.WaitGroup
	for _, h := range due {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if err := s.knock(ctx, h.Address); err != nil {
				s.log.Debug("knock", "peer", h.ID.String(), "err", err)
			}
		})
	}
	all.Wait()
}

func (s *Server) knock(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.AnswerTimeout)
	defer cancel()
	conn, err := grpc.NewClient(address, s.dial...)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = peer.NewPeerClient(conn).Knock(ctx, &peer.KnockRequest{
		Identity: &peer.Identity{Journal: s.self.Identity.Journal[:], Epoch: s.self.Identity.Epoch},
		Address:  s.self.Address,
	})
	return err
}
