package journal

import (
	"crypto/sha256"
	"encoding/json"
	"time"

	"google.golang.org/protobuf/proto"

	"pannier/journal/state"
	"pannier/journal/wire"
)

const (
	// CompletionType tells a completion from what an app was sent by another.
	CompletionType = "intent.completion.v1"

	completionDeliverBy = 7 * 24 * time.Hour
	// completionBody is the largest result or error that goes along in a
	// completion: it and the outcome itself have to fit one operation. A larger one
	// is read at home.
	completionBody = 512 << 10
)

// CompletionID is the id of the completion of an intent: made of the intent's own,
// so that the same end always makes the same one, and beside it in the order of time.
func CompletionID(of ID) ID {
	return idAfter(of, "completion")
}

// idAfter is the id of what is made of an intent under that name.
func idAfter(of ID, what string) ID {
	sum := sha256.Sum256(append([]byte("pannier "+what+" of "), of[:]...))
	id := of
	copy(id[6:], sum[:])
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	return id
}

// Completion is what a completion says, as its reader gets it.
type Completion struct {
	Type     string          `json:"type"`
	IntentID string          `json:"intent_id"`
	Status   string          `json:"status"`
	Result   json.RawMessage `json:"result,omitempty"`
	Error    json.RawMessage `json:"error,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	Omitted  bool            `json:"omitted,omitempty"` // result or error is too large to go along: ask home
}

// CompletionOf is the completion of an intent that ended so, without its outcome.
func CompletionOf(id ID, end state.Status) Completion {
	on := triggerOf(end)
	if end == state.TimedOut {
		on = state.Expire
	}
	row, _ := state.Next(state.InProgress, on)
	return Completion{Type: row.Event.String(), IntentID: id.String(), Status: end.String()}
}

// complete accepts the completion of an intent in the batch that ends it: whoever
// reads the end may rely on it. It goes to nobody's mailbox here, and is offered
// like any other intent. Having no reply_to of its own, it has no completion.
func (t *tx) complete(l *life, body []byte, text string) error {
	lane := t.j.names.at(Agent(l.head.ReplyDest))
	if l.head.ReplyDest == 0 || lane == nil {
		return nil
	}
	if begun, err := t.has(idKey(classHead, CompletionID(l.id))); err != nil || begun {
		return err // it ended before, and what is left of it does not say so
	}
	was, err := t.envelope(l.id)
	if err != nil {
		return err
	}
	env, err := t.completion(l, was, lane.address, body, text)
	if err != nil {
		return err
	}
	if err := t.threadCompleted(l.id, ID(env.Id), env, was, lane.address); err != nil {
		return err
	}
	blob, err := proto.Marshal(env)
	if err != nil {
		return err
	}
	return t.begin(t.newLife(ID(env.Id), env, lane), &wire.Event{Actor: actorSelf}, blob, t.now)
}

func (t *tx) completion(l *life, was *wire.Envelope, to string, body []byte, text string) (*wire.Envelope, error) {
	said := CompletionOf(l.id, l.status())
	switch {
	case len(body) == 0:
	case len(body) > completionBody || !json.Valid(body): // an end is never refused for what it says
		said.Omitted = true
	case l.status() == state.Completed:
		said.Result = body
	case l.status() != state.Canceled:
		said.Error = body
	}
	said.Reason = cut(text, maxText)
	payload, err := json.Marshal(said)
	if err != nil {
		return nil, err
	}
	id, of := CompletionID(l.id), l.id
	return &wire.Envelope{
		Id: id[:], IntentType: CompletionType, FromAgent: was.ToAgent, ToAgent: to, CorrelationId: was.CorrelationId,
		Payload: payload, CreatedAtMs: ms(t.now), Traceparent: was.Traceparent, Tracestate: was.Tracestate, MaxDeliveryAttempts: defaultAttempts,
		DeliverByMs: ms(t.now.Add(completionDeliverBy)), DeadlineAtMs: ms(t.now.Add(t.j.deadline)), CompletionOf: of[:],
	}, nil
}

// envelope reads that of an open intent.
func (t *tx) envelope(id ID) (*wire.Envelope, error) {
	env, err := t.keptEnvelope(id)
	if err == nil && env == nil {
		return nil, &CorruptError{Key: chunkKey(classEnvelope, id, 0), Why: "the envelope of an open intent is missing"}
	}
	return env, err
}

// keptEnvelope is that of an intent, nil where there is none.
func (t *tx) keptEnvelope(id ID) (*wire.Envelope, error) {
	blob, found, err := t.getChunks(classEnvelope, id)
	if err != nil || !found {
		return nil, err
	}
	env := &wire.Envelope{}
	if err := proto.Unmarshal(blob, env); err != nil {
		return nil, &CorruptError{Key: chunkKey(classEnvelope, id, 0), Why: err.Error()}
	}
	return env, nil
}

// keepThread takes a completion in as a thread that is done: held and answered are
// one commit, so it is never in a mailbox that is read, counts against no credit,
// and is never offered again. Its home hears that it was taken.
func (t *tx) keepThread(h *hand, env *wire.Envelope) error {
	if of, err := IDOf(env.CompletionOf); err == nil && h.home() != t.j.self.Journal { // else it is in that inbox since the end
		if err := t.threadCompleted(of, h.id, env, nil, env.ToAgent); err != nil {
			return err
		}
	}
	h.rec.Thread, h.rec.Freed, h.rec.Taken = true, true, true
	if _, err := t.step(h, state.Hold, never); err != nil {
		return err
	}
	h.rec.Handovers++
	h.see(state.Deliver)
	return t.answerFinally(h, Answer{Trigger: state.Complete, Body: []byte("{}"), Actor: actorSelf}, h.rec.Handovers)
}
