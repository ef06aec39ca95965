package outbound

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"pannier/journal"
	"pannier/journal/wire/peer"
)

// redrive makes the successor of a dead letter for the holder that has a copy of
// it. If we crash after the commit, or the answer is lost, the holder that asks again
// hears the id of the successor.
func (d *Dispatcher) redrive(ctx context.Context, holder journal.ID, a *peer.Ask) *peer.Answer {
	out := &peer.Answer{No: a.No, AtMs: time.Now().UnixMilli()}
	id, err := journal.IDOf(a.Id)
	payload := a.Redrive.GetPayload()
	if err != nil || len(payload) > 0 && (payload[0] != '{' || !json.Valid(payload)) {
		out.Error = answerUnsupported
		return out
	}
	// A successor is sent in the sender's name: only the holder on record may ask for
	// it, and only for the agent it was for.
	i, err := d.journal.Get(id)
	if err == nil && i.Head != nil && string(i.Head.Holder) != string(holder[:]) {
		out.Error = AnswerDenied
		return out
	}
	if err == nil && len(payload) > 0 && i.Envelope != nil {
		if misfit := d.fits(i.Envelope.IntentType, payload); misfit != nil {
			text := misfit.Error() // it names what is in the payload
			out.Error, out.Text = AnswerMisfit, strings.ToValidUTF8(text[:min(len(text), maxMisfit)], "")
			return out
		}
	}
	if err == nil {
		var got journal.Redriven
		r := wish(id, holder, a.Redrive)
		span := d.tracer.Redrive(&r, i.Envelope)
		got, err = d.journal.Redrive(ctx, r)
		span.End(refusedAs(err))
		out.RedrivenAs, out.CreatedMs, out.Replayed = got.ID[:], got.CreatedAt.UnixMilli(), got.Replayed
	}
	var before *journal.RedrivenError
	switch {
	case err == nil:
	case errors.As(err, &before):
		out.Error, out.RedrivenAs = AnswerRedriven, before.As[:]
	case errors.Is(err, journal.ErrNotFound), errors.Is(err, journal.ErrNotHome):
		out.Error = AnswerUnknown
	case errors.Is(err, journal.ErrNotDead):
		out.Error = AnswerNotDead
	case errors.Is(err, journal.ErrLost):
		out.Error = AnswerLost
	case errors.Is(err, journal.ErrKilled):
		out.Error = AnswerKilled
	case errors.Is(err, journal.ErrKeyConflict):
		out.Error = AnswerKeyConflict
	default:
		out.Error = answerFault
	}
	return out
}

// maxMisfit bounds what is said of a payload that does not fit.
const maxMisfit = 2000

// wish reads what a holder wants to be different.
func wish(id, holder journal.ID, asked *peer.Redrive) journal.Redrive {
	r := journal.Redrive{ID: id, Actor: "holder " + holder.String()}
	if asked.GetActor() != "" {
		r.Actor = asked.Actor
	}
	if len(asked.GetPayload()) > 0 {
		r.Payload = asked.Payload
	}
	if left := asked.GetDeliverByLeftMs(); left > 0 {
		r.DeliverBy = time.Now().Add(time.Duration(left) * time.Millisecond)
	}
	if len(asked.GetKeyHash()) == 32 && len(asked.GetKeyFingerprint()) == 32 {
		r.Key = &journal.Key{Hash: [32]byte(asked.KeyHash), Fingerprint: [32]byte(asked.KeyFingerprint)}
	}
	return r
}

// refusedAs is the code of a redrive that came to nothing.
func refusedAs(err error) string {
	if err != nil {
		return "refused"
	}
	return ""
}
