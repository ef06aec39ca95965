package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// maxPolicy bounds each of the three objects that controls and policy merge.
const maxPolicy = 16 << 10

// ErrPolicyTooLarge: merged with what is there, the object is larger than kept.
var ErrPolicyTooLarge = fmt.Errorf("controls or policy of more than %d bytes", maxPolicy)

// Policy are the options of an intent that can change after its accept, as they are
// now: for the journal that has it. Generation never goes back.
type Policy struct {
	ID          ID
	Holder      ID // on record as holding it; zero: none on record
	OfferNo     uint64
	Generation  uint64
	MaxAttempts uint32
	Deadline    time.Time     // home's clock; zero: none
	Work        time.Duration // work_timeout; 0: the holder's
}

// Changed is what became of a Change. Stale: nothing was changed, the generation was
// not the one expected.
type Changed struct {
	Generation uint64
	Stale      bool
	Replayed   bool // the key was known: this is the first answer again
}

// Change merges what controls or policy say into an open intent of our own, and lets
// take effect what can. It is told to whoever has the intent when it is durable; if
// we crash before, or cannot reach it, the next reconcile finds an older generation
// there. ErrNotFound where the intent is not homed here.
func (j *Journal) Change(ctx context.Context, id ID, c *wire.Change) (Changed, error) {
	key, err := keyOf(c)
	if err != nil {
		return Changed{}, err
	}
	var res Changed
	err = j.do(ctx, first, &op{run: func(t *tx) error {
		res = Changed{}
		l, found, err := t.life(id)
		if err == nil && !found {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		if key != nil {
			d, err := t.known(key)
			if err != nil {
				return err
			}
			if d != nil {
				res = Changed{Generation: d.PolicyGeneration, Stale: d.Stale, Replayed: true}
				return nil
			}
		}
		if !l.open() {
			return &EndedError{Status: l.status()}
		}
		if res.Stale = c.Expects && c.Expected != l.head.PolicyGeneration; !res.Stale {
			if err := t.change(l, c); err != nil {
				return err
			}
		}
		res.Generation = l.head.PolicyGeneration
		if key == nil {
			return nil
		}
		return t.remember(key, &wire.Dedupe{Id: id[:], CreatedMs: ms(t.now), PolicyGeneration: res.Generation, Stale: res.Stale})
	}})
	return res, err
}

func keyOf(c *wire.Change) (*Key, error) {
	if len(c.KeyHash) == 0 && len(c.Fingerprint) == 0 {
		return nil, nil
	}
	if len(c.KeyHash) != len(Key{}.Hash) || len(c.Fingerprint) != len(Key{}.Fingerprint) {
		return nil, errors.New("a key and its fingerprint are hashes of 32 bytes")
	}
	return &Key{Hash: [32]byte(c.KeyHash), Fingerprint: [32]byte(c.Fingerprint)}, nil
}

func (t *tx) change(l *life, c *wire.Change) error {
	var rec wire.Policy
	if _, err := t.get(idKey(classPolicy, l.id), &rec); err != nil {
		return err
	}
	for _, part := range []struct {
		doc   *[]byte
		patch []byte
	}{{&rec.Controls, c.Controls}, {&rec.Grants, c.Grants}, {&rec.Envelope, c.Envelope}} {
		if len(part.patch) == 0 {
			continue
		}
		merged, err := mergePatch(*part.doc, part.patch)
		if err != nil {
			return err
		}
		if len(merged) > maxPolicy {
			return ErrPolicyTooLarge
		}
		*part.doc = merged
	}
	if err := t.put(idKey(classPolicy, l.id), &rec); err != nil {
		return err
	}
	l.head.PolicyGeneration++
	if c.MaxAttempts > 0 {
		l.head.MaxAttempts = c.MaxAttempts
	}
	if c.WorkTimeoutMs > 0 {
		l.head.WorkTimeoutMs = c.WorkTimeoutMs
	}
	deadline := c.DeadlineAtMs
	if c.TtlMs > 0 {
		deadline = ms(t.now.Add(time.Duration(c.TtlMs) * time.Millisecond))
	}
	if deadline > 0 {
		l.head.DeadlineAtMs = deadline
		t.expireAt(l)
	}
	if l.place() == PlaceDue && l.head.Attempts > 0 && l.head.Attempts >= l.head.MaxAttempts {
		return t.exhaust(l, &wire.Event{Text: limitLowered})
	}
	if err := t.saveLife(l); err != nil {
		return err
	}
	p := policyOf(l.id, &l.head)
	if l.place() == PlaceLocal {
		return t.policyHere(l.id, p, p.Deadline)
	}
	p.Deadline = t.j.clock.limit(p.Deadline)
	t.after(func() {
		if f := t.j.hooks.Changed; f != nil {
			f(p)
		}
	})
	return nil
}

func policyOf(id ID, h *wire.Head) Policy {
	return Policy{
		ID: id, Holder: pad(h.Holder), OfferNo: h.OfferNo, Generation: h.PolicyGeneration,
		MaxAttempts: h.MaxAttempts, Deadline: at(h.DeadlineAtMs), Work: time.Duration(h.WorkTimeoutMs) * time.Millisecond,
	}
}

// policyHere takes options over into a hand-over, which says how it stands to time
// by its own clock. One that is older than what is known here changes nothing.
func (t *tx) policyHere(id ID, p Policy, deadline time.Time) error {
	h, found, err := t.hand(id)
	if err != nil || !found || !h.takes(p, deadline) {
		return err
	}
	again := h.rec.DueMs == ms(never) && !t.outOfTime(h) // it was put away for being out of time
	if h.phase() == state.Ready && (again || outOfAttempts(&h.rec)) {
		t.delIndex(dueKey(classMail, h.agent(), h.rec.DueMs, h.id))
		t.mailAt(h, t.now)
	}
	return t.saveHand(h)
}

// limitLowered is why a hand-over that is with nobody is out of attempts.
const limitLowered = "the limit was lowered to the attempts it has had"

// outOfAttempts reports whether a hand-over that is ready must not be given to the
// app: what the app has is let finish, and the limit may have been lowered since.
func outOfAttempts(rec *wire.Handover) bool {
	return state.Phase(rec.Phase) == state.Ready && rec.Attempts > 0 && rec.Attempts >= rec.MaxAttempts
}

// Exhaust leaves to home what is out of attempts by a limit that was lowered. The
// caller has none of it on its way to an app: what is pushed is ready here.
func (j *Journal) Exhaust(ctx context.Context, ids []ID) error {
	return j.each(ctx, ids, func(t *tx, h *hand, _ int) error {
		if !outOfAttempts(&h.rec) {
			return nil
		}
		row, err := t.step(h, state.Exhaust, never)
		if err != nil {
			return err
		}
		if err := t.saveHand(h); err != nil {
			return err
		}
		return t.tell(h, row.Tells, &wire.Report{Attempt: h.rec.Handovers, Attempts: h.rec.Attempts, Text: limitLowered})
	})
}

// takes is policyHere on the record alone.
func (h *hand) takes(p Policy, deadline time.Time) bool {
	if p.Generation <= h.rec.PolicyGeneration {
		return false
	}
	h.rec.PolicyGeneration, h.rec.DeadlineAtMs = p.Generation, ms(deadline)
	h.rec.WorkTimeoutMs = p.Work.Milliseconds()
	if p.MaxAttempts > 0 {
		h.rec.MaxAttempts = p.MaxAttempts
	}
	return true
}

// Update is options of an intent as they reach its holder.
type Update struct {
	Policy
	Left time.Duration // to the deadline; 0: none
}

// Adopt takes in options that home has changed of intents that are here.
func (j *Journal) Adopt(ctx context.Context, home ID, updates []Update) error {
	ops := make([]*op, len(updates))
	for i, u := range updates {
		ops[i] = &op{about: u.ID, run: func(t *tx) error {
			h, found, err := t.hand(u.ID)
			if err != nil || !found || h.home() != home || !h.phase().Open() {
				return err
			}
			var deadline time.Time
			if u.Left != 0 {
				deadline = t.now.Add(u.Left)
			}
			return t.policyHere(u.ID, u.Policy, deadline)
		}}
	}
	return j.doApart(ctx, first, ops...)
}

// mergePatch applies a JSON merge patch (RFC 7396) to an object, nil for none:
// members are replaced, objects merged, and null takes a member away.
func mergePatch(doc, patch []byte) ([]byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(patch, &members); err != nil {
		return nil, fmt.Errorf("merge patch: %w", err)
	}
	merged := map[string]json.RawMessage{}
	if isObject(doc) {
		if err := json.Unmarshal(doc, &merged); err != nil {
			return nil, fmt.Errorf("merge patch: %w", err)
		}
	}
	for name, value := range members {
		switch {
		case string(value) == "null":
			delete(merged, name)
		case isObject(value):
			inner, err := mergePatch(merged[name], value)
			if err != nil {
				return nil, err
			}
			merged[name] = inner
		default:
			merged[name] = value
		}
	}
	return json.Marshal(merged)
}

func isObject(value []byte) bool { return len(value) > 0 && value[0] == '{' }
