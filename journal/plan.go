package journal

import (
	"cmp"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// An intent that has parts is their parent. Each part is an intent of home's own, under
// an id made of the parent's and its number, so that it is made once whatever happens.
// The end of a part moves its parent, and the end of the parent ends its parts, in the
// batch of that end: there is no moment at which one has ended and the other waits.

// PartID is the id of the intent that is part n of another.
func PartID(of ID, n int) ID { return idAfter(of, "part "+strconv.Itoa(n)) }

const (
	// partPayload is the largest payload of a parent that goes along in an approval. A
	// larger one is read at the parent.
	partPayload = 48 << 10
	// turnPayloads are those of all approvals of a turn together: they are asked for in one
	// batch, with the decision that opens the turn.
	turnPayloads = 256 << 10
	// MaxPartDecision is the size of the largest decision of an approval, for that reason.
	MaxPartDecision = 256 << 10
)

func (t *tx) plan(id ID) (*wire.Plan, error) {
	p := &wire.Plan{}
	found, err := t.get(idKey(classPlan, id), p)
	if err == nil && !found {
		err = &CorruptError{Key: idKey(classPlan, id), Why: "the plan of an intent is missing"}
	}
	return p, err
}

func (t *tx) savePlan(id ID, p *wire.Plan) error { return t.put(idKey(classPlan, id), p) }

// openPlan begins the plan of an intent that has just begun.
func (t *tx) openPlan(l *life, p *wire.Plan, due time.Time) error {
	if l.head.Stepped {
		return t.toStep(l, p, int(p.Entry))
	}
	return t.openGates(l, p, due)
}

// internParts gives all who will be asked a number, while it can be refused: an end, which
// is when most of them are, cannot.
func (t *tx) internParts(p *wire.Plan) error {
	for _, part := range p.Parts {
		for _, address := range append([]string{part.Child.ToAgent}, part.Asked...) {
			if _, err := t.intern(address); err != nil {
				return err
			}
		}
	}
	return nil
}

// laneOf is where a part waits. Where there is no room for another lane its people are
// asked here alone: an end is not refused for it.
func (t *tx) laneOf(e *wire.Envelope) (*name, error) {
	lane, err := t.internName(&name{address: e.ToAgent, threads: t.isLetter(e)})
	if errors.Is(err, ErrTooManyAgents) {
		return t.intern(e.ToAgent)
	}
	return lane, err
}

// openPart accepts the intent of an approval.
func (t *tx) openPart(parent *life, of *wire.Envelope, p *wire.Plan, n int) error {
	part, id := p.Parts[n], PartID(parent.id, n)
	asked := 0
	for _, other := range p.Parts {
		if other.Turn == part.Turn {
			asked++
		}
	}
	payload, err := payloadOf(of, min(partPayload, turnPayloads/asked))
	if err != nil {
		return err
	}
	e := t.partEnvelope(id, parent, of, part)
	e.Payload = payload
	if part.ExpiresMs > 0 {
		e.DeadlineAtMs = e.CreatedAtMs + part.ExpiresMs
	}
	dest, err := t.laneOf(e)
	if err != nil {
		return err
	}
	return t.beginPart(t.newLife(id, e, dest), parent, p, n, e, t.now)
}

// partEnvelope is that of a part, without its payload and its times.
func (t *tx) partEnvelope(id ID, parent *life, of *wire.Envelope, part *wire.Part) *wire.Envelope {
	e := proto.CloneOf(part.Child)
	e.Id, e.Parent = id[:], parent.id[:]
	e.FromAgent, e.CorrelationId = of.FromAgent, of.CorrelationId
	e.Traceparent, e.Tracestate, e.ClientTraceId = of.Traceparent, of.Tracestate, of.ClientTraceId
	e.CreatedAtMs, e.MaxDeliveryAttempts = ms(t.now), cmp.Or(e.MaxDeliveryAttempts, defaultAttempts)
	return e
}

func (t *tx) beginPart(c, parent *life, p *wire.Plan, n int, e *wire.Envelope, due time.Time) error {
	blob, err := proto.Marshal(e)
	if err != nil {
		return err
	}
	c.head.Parent, c.head.Part = parent.id[:], uint32(n)
	if err := t.threadOf(c, e, p.Parts[n].Asked); err != nil {
		return err
	}
	p.Parts[n].Id = c.id[:]
	return t.begin(c, &wire.Event{Actor: actorSelf}, blob, due)
}

// parentage is what a part says of its parent, beside its payload.
type parentage struct {
	IntentID string `json:"intent_id"`
	Type     string `json:"intent_type"`
	From     string `json:"from_agent"`
	To       string `json:"to_agent"`
	Omitted  bool   `json:"payload_omitted,omitempty"` // it is too large to go along
}

// payloadOf is the payload of a part: that of the parent, byte for byte, under the name
// by which agents look for it, where it has not more than that many bytes.
func payloadOf(e *wire.Envelope, most int) ([]byte, error) {
	about := parentage{IntentID: ID(e.Id).String(), Type: e.IntentType, From: e.FromAgent, To: e.ToAgent}
	payload := e.Payload
	if len(payload) > most {
		payload, about.Omitted = []byte("{}"), true
	}
	said, err := json.Marshal(about)
	if err != nil {
		return nil, err
	}
	out := append([]byte(`{"parent_payload":`), payload...)
	out = append(append(out, `,"parent":`...), said...)
	return append(out, '}'), nil
}

// endFamily lets the end of an intent move those it belongs to. A crash before the
// commit of the end undoes all of it.
func (t *tx) endFamily(l *life, e *wire.Event, body []byte, text string) error {
	if l.head.Planned {
		if err := t.endParts(l.id); err != nil {
			return err
		}
	}
	if len(l.head.Parent) == 0 {
		return nil
	}
	parent, found, err := t.life(ID(l.head.Parent))
	if err != nil || !found || !parent.open() {
		return err
	}
	p, err := t.plan(parent.id)
	if err != nil {
		return err
	}
	n := int(l.head.Part)
	if n >= len(p.Parts) || p.Parts[n].Status != 0 || string(p.Parts[n].Id) != string(l.id[:]) {
		return nil // its turn is over
	}
	p.Parts[n].Status, p.Parts[n].By = l.head.Status, e.Actor
	d := &decided{by: e.Actor, body: body, text: text, reason: state.Reason(e.Reason)}
	if p.Parts[n].Step != nil {
		return t.stepEnded(parent, p, n, d)
	}
	return t.gateEnded(parent, p, n, d)
}

// endParts ends what is still open of an intent that has ended.
func (t *tx) endParts(id ID) error {
	p, err := t.plan(id)
	if err != nil {
		return err
	}
	return t.closeParts(id, p, func(*wire.Part) bool { return true })
}

// closeParts ends the open parts that are meant. They are marked first: what they say by
// ending is heard by nobody.
func (t *tx) closeParts(id ID, p *wire.Plan, meant func(*wire.Part) bool) error {
	var left []ID
	for _, part := range p.Parts {
		if len(part.Id) > 0 && part.Status == 0 && meant(part) {
			part.Status = uint32(state.Canceled)
			left = append(left, ID(part.Id))
		}
	}
	if len(left) == 0 {
		return nil
	}
	if err := t.savePlan(id, p); err != nil {
		return err
	}
	for _, child := range left {
		c, found, err := t.life(child)
		if err != nil {
			return err
		}
		if !found || !c.open() {
			continue
		}
		if _, err := t.end(c, state.Cancel, &wire.Event{Actor: actorSelf, Reason: uint32(state.ReasonCanceled)}, nil, notNeeded); err != nil {
			return err
		}
	}
	return nil
}

const notNeeded = "it is decided without this"

// asAsked is a plan of which nothing has happened.
func asAsked(p *wire.Plan) *wire.Plan {
	fresh := &wire.Plan{Scenario: p.Scenario, Entry: p.Entry}
	for _, part := range p.Parts {
		fresh.Parts = append(fresh.Parts, &wire.Part{Turn: part.Turn, Any: part.Any, Child: part.Child, Asked: part.Asked, ExpiresMs: part.ExpiresMs, Step: stepAsAsked(part.Step)})
	}
	return fresh
}

// asksForParent reports whether it is an approval that its parent waits for.
func (l *life) asksForParent() bool {
	return len(l.head.Parent) > 0 && l.head.HumanTask && !l.head.Step
}

// waitedFor is a wait that is over.
func waitedFor(cause state.Cause, fromMS int64, until time.Time) *wire.Wait {
	return &wire.Wait{Cause: uint32(cause), FromMs: fromMS, UntilMs: ms(until)}
}
