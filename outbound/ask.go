package outbound

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pannier/journal"
	"pannier/journal/wire/peer"
)

// ErrNoStream: the holder cannot be asked now.
var ErrNoStream = errors.New("no stream to the holder")

const asksMost = 1000 // questions open at once on one stream

// Ask asks the holder of an intent, and waits for its answer or for ctx.
func (d *Dispatcher) Ask(ctx context.Context, id, holder journal.ID, what peer.Ask_What) (*peer.Answer, error) {
	d.mu.Lock()
	var s *session
	if h := d.mu.holders[holder]; h != nil && h.session != nil && h.session.live {
		s = h.session
	}
	d.mu.Unlock()
	if s == nil {
		return nil, ErrNoStream
	}
	no, answer, err := s.question()
	if err != nil {
		return nil, err
	}
	defer s.unquestion(no)
	s.out.ask(&peer.Ask{No: no, What: what, Id: id[:]})
	select {
	case a, ok := <-answer:
		if !ok {
			return nil, ErrNoStream
		}
		return a, nil
	case <-s.ended:
		return nil, ErrNoStream
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *session) question() (uint64, chan *peer.Answer, error) {
	s.asks.Lock()
	defer s.asks.Unlock()
	if len(s.asks.pending) >= asksMost || !s.out.room() {
		return 0, nil, fmt.Errorf("%w: too many questions are open", ErrNoStream)
	}
	s.asks.last++
	c := make(chan *peer.Answer, 1)
	s.asks.pending[s.asks.last] = c
	return s.asks.last, c, nil
}

func (s *session) unquestion(no uint64) {
	s.asks.Lock()
	defer s.asks.Unlock()
	delete(s.asks.pending, no)
}

// answered hands an answer to whoever asked, if anybody still waits.
func (s *session) answered(a *peer.Answer) {
	s.asks.Lock()
	defer s.asks.Unlock()
	if c := s.asks.pending[a.No]; c != nil {
		delete(s.asks.pending, a.No)
		c <- a
	}
}

// failAsks ends every open question with the session.
func (s *session) failAsks() {
	s.asks.Lock()
	defer s.asks.Unlock()
	for no, c := range s.asks.pending {
		delete(s.asks.pending, no)
		close(c)
	}
}

// answerAsks answers the holder's questions from the journal.
func (s *session) answerAsks(ctx context.Context, asks []*peer.Ask) error {
	for _, a := range asks {
		if err := s.waitRoom(ctx); err != nil {
			return err
		}
		if refused := s.mayAsk(a); refused != nil {
			s.out.answer(refused)
			continue
		}
		switch a.What {
		case peer.Ask_REDRIVE:
			s.beside(a, func() *peer.Answer { return s.d.redrive(ctx, s.peer.Journal, a) })
		case peer.Ask_CHANGE:
			s.beside(a, func() *peer.Answer { return s.change(ctx, a) })
		default:
			s.out.answer(s.d.reply(a))
		}
	}
	return nil
}

// writesAtOnce bounds the questions of one holder that wait for a commit at the same
// time. They share commits, so many wait no longer than few; one more is told to ask
// again, which its app hears as home out of reach.
const writesAtOnce = 64

// beside answers a question that writes beside the loop that reads: a commit may
// take its time.
func (s *session) beside(a *peer.Ask, answer func() *peer.Answer) {
	select {
	case s.writing <- struct{}{}:
	default:
		s.out.answer(&peer.Answer{No: a.No, Error: answerBusy, AtMs: time.Now().UnixMilli()})
		return
	}
	s.writes.Go(func() {
		defer func() { <-s.writing }()
		s.out.answer(answer())
	})
}

// Codes of Answer.Error.
const (
	AnswerUnknown     = "not_found"
	answerUnsupported = "unsupported"
	answerFault       = "journal_failed"
	answerBusy        = "busy"
	AnswerNotDead     = "not_dead_letter"
	AnswerLost        = "content_lost"
	AnswerRedriven    = "already_redriven"
	AnswerKeyConflict = "idempotency_conflict"
	AnswerDenied      = "policy_denied"
	AnswerKilled      = "agent_killed"
	AnswerMisfit      = "schema_invalid"
	answerEnded       = "intent_ended"
	answerTooLarge    = "payload_too_large"
)

// change lets controls or policy that were given at the holder take effect here. The
// answer leaves when that is durable; the holder hears of the options themselves by
// an update, like of any change.
func (s *session) change(ctx context.Context, a *peer.Ask) *peer.Answer {
	out := &peer.Answer{No: a.No, AtMs: time.Now().UnixMilli()}
	id, err := journal.IDOf(a.Id)
	if err != nil || a.Change == nil {
		out.Error = answerUnsupported
		return out
	}
	if !s.may(id) {
		out.Error = AnswerUnknown
		return out
	}
	res, err := s.d.journal.Change(ctx, id, a.Change)
	var ended *journal.EndedError
	switch {
	case errors.As(err, &ended):
		out.Error, out.Status = answerEnded, uint32(ended.Status)
	case errors.Is(err, journal.ErrNotFound):
		out.Error = AnswerUnknown
	case errors.Is(err, journal.ErrKeyConflict):
		out.Error = AnswerKeyConflict
	case errors.Is(err, journal.ErrPolicyTooLarge):
		out.Error = answerTooLarge
	case err != nil:
		out.Error = answerFault
	default:
		out.Stale, out.PolicyGeneration, out.Replayed = res.Stale, res.Generation, res.Replayed
	}
	return out
}

// may reports whether this holder has, or had, the intent: nobody else has a say in it.
func (s *session) may(id journal.ID) bool {
	s.d.mu.Lock()
	has := s.d.has(s, id)
	s.d.mu.Unlock()
	if has {
		return true
	}
	i, err := s.d.journal.Get(id)
	return err == nil && i.Head != nil && string(i.Head.Holder) == string(s.peer.Journal[:])
}

func (d *Dispatcher) reply(a *peer.Ask) *peer.Answer {
	out := &peer.Answer{No: a.No, AtMs: time.Now().UnixMilli()}
	id, err := journal.IDOf(a.Id)
	if err != nil || a.What != peer.Ask_STATUS && a.What != peer.Ask_EVENTS {
		out.Error = answerUnsupported
		return out
	}
	i, err := d.journal.Get(id)
	if err == nil && i.Head == nil {
		err = journal.ErrNotFound // held here, not ours
	}
	if err == nil && a.What == peer.Ask_EVENTS {
		out.Events, out.FirstSeq, err = d.journal.Events(id, a.Since)
	}
	switch {
	case errors.Is(err, journal.ErrNotFound):
		out.Error = AnswerUnknown
	case err != nil:
		out.Error = answerFault
	default:
		out.Status, out.Attempts, out.Outcome = i.Head.Status, i.Head.Attempts, i.Outcome
	}
	return out
}
