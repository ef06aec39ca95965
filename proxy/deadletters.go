package proxy

import (
	"context"
	"fmt"
	"time"

	"pannier/inbound"
	"pannier/journal"
	"pannier/journal/wire/peer"
	"pannier/outbound"
	"pannier/proxy/admin"
	"pannier/proxy/trace"
)

// deadLetters are those of both roles: what is done to one that is homed here is
// done here, and what is to be redriven of another's is asked of its home.
type deadLetters struct {
	*journal.Journal
	ask  func(context.Context, journal.ID, *peer.Ask) (*peer.Answer, error)
	fits func(intentType string, payload []byte) error // the schemas of this sidecar, for what is homed here

	tracer *trace.Tracer
}

// redriveTime is how long home may take to answer, or to dial us first.
const redriveTime = 5 * time.Second

// Redrive makes the successor of a dead letter, wherever it is homed. Beside the
// journal's errors it returns inbound.ErrHomeUnreachable: whether home has done it
// is then unknown, and asking again tells.
func (d *deadLetters) Redrive(ctx context.Context, r journal.Redrive) (journal.Redriven, error) {
	i, err := d.Get(r.ID)
	if err != nil {
		return journal.Redriven{}, err
	}
	if i.Head != nil {
		if r.Payload != nil && i.Envelope != nil {
			if err := d.fits(i.Envelope.IntentType, r.Payload); err != nil {
				return journal.Redriven{}, &admin.PayloadError{Why: err.Error()}
			}
		}
		return d.redriven(ctx, r, i.Envelope)
	}
	if r.ToAgent != "" {
		return journal.Redriven{}, fmt.Errorf("%w: another to_agent is its home's to choose", journal.ErrNotHome)
	}
	home, err := journal.IDOf(i.Handover.Home)
	if err != nil {
		return journal.Redriven{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, redriveTime)
	defer cancel()
	answer, err := d.ask(ctx, home, question(&r))
	if err != nil {
		return journal.Redriven{}, inbound.ErrHomeUnreachable
	}
	as, _ := journal.IDOf(answer.RedrivenAs) // zero where there is none
	if !as.IsZero() {
		// If we crash before this, the copy shows its successor once that is held here.
		if err := d.NoteRedriven(ctx, home, r.ID, as); err != nil {
			return journal.Redriven{}, err
		}
	}
	if answer.Error == outbound.AnswerMisfit {
		return journal.Redriven{}, &admin.PayloadError{Why: answer.Text}
	}
	if answer.Error != "" {
		return journal.Redriven{}, refusal(answer.Error, as)
	}
	return journal.Redriven{ID: as, CreatedAt: time.UnixMilli(answer.CreatedMs), Replayed: answer.Replayed}, nil
}

func question(r *journal.Redrive) *peer.Ask {
	wish := &peer.Redrive{Payload: r.Payload, Actor: r.Actor}
	if !r.DeliverBy.IsZero() {
		wish.DeliverByLeftMs = max(1, time.Until(r.DeliverBy).Milliseconds())
	}
	if r.Key != nil {
		wish.KeyHash, wish.KeyFingerprint = r.Key.Hash[:], r.Key.Fingerprint[:]
	}
	return &peer.Ask{What: peer.Ask_REDRIVE, Id: r.ID[:], Redrive: wish}
}

// refusal is the error behind a code of home's answer.
func refusal(code string, as journal.ID) error {
	switch code {
	case outbound.AnswerRedriven:
		return &journal.RedrivenError{As: as}
	case outbound.AnswerNotDead:
		return journal.ErrNotDead
	case outbound.AnswerLost:
		return journal.ErrLost
	case outbound.AnswerUnknown:
		return fmt.Errorf("home has purged it: %w", journal.ErrNotFound)
	case outbound.AnswerKilled:
		return journal.ErrKilled
	case outbound.AnswerKeyConflict:
		return journal.ErrKeyConflict
	case outbound.AnswerDenied:
		return fmt.Errorf("%w, and this one was not the last to hold it", journal.ErrNotHome)
	}
	return inbound.ErrHomeUnreachable // busy, failing, or of an older version: later
}
