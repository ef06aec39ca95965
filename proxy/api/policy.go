package api

import (
	"context"
	"math"
	"net/http"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
	"pannier/journal/wire/peer"
)

// maxPolicyBody bounds the body of controls and policy.
const maxPolicyBody = 64 << 10

// limits of the options that controls and policy can change, in seconds.
const (
	maxTTL  = maxDelay
	maxWork = 30 * 24 * 3600
)

// controls serves POST /v1/intents/{id}/controls.
func (a *API) controls(w http.ResponseWriter, r *http.Request) error {
	return a.change(w, r, func(body *object, c *change) {
		c.patch("controls_patch", &c.Controls)
		if len(c.Controls) == 0 {
			c.patch("controls", &c.Controls) // as published READMEs write it
		}
		if len(c.Controls) == 0 {
			body.fault("controls_patch", codeSchemaInvalid, "is required: a JSON object")
		}
	})
}

// policy serves POST /v1/intents/{id}/policy.
func (a *API) policy(w http.ResponseWriter, r *http.Request) error {
	return a.change(w, r, func(body *object, c *change) {
		c.patch("grants_patch", &c.Grants)
		c.patch("envelope_patch", &c.Envelope)
		if len(c.Grants)+len(c.Envelope) == 0 {
			body.fault("envelope_patch", codeSchemaInvalid, "or grants_patch is required: a JSON object")
		}
	})
}

// change reads a call, brings it to home and answers. The options are home's: at a
// holder they are asked for over the peer stream. If the answer of home is lost, the
// change may have been made; under a key the repeat is answered like the first.
func (a *API) change(w http.ResponseWriter, r *http.Request, read func(*object, *change)) error {
	in, err := a.readWordOf(w, r, min(maxPolicyBody, a.opt.MaxBody))
	if err != nil {
		return err
	}
	c := &change{Change: &wire.Change{}, body: in.body}
	read(in.body, c)
	in.body.text("actor", maxActor)
	in.body.text("reason", maxReason)
	in.body.boolean("internal_scheduler")
	c.Expects, c.Expected = expectedGeneration(in.body)
	if err := faultsOf(*in.faults); err != nil {
		return err
	}
	if in.key != nil {
		c.KeyHash, c.Fingerprint = in.key.Hash[:], in.key.Fingerprint[:]
	}
	done, err := a.changeAtHome(r.Context(), in.id, c.Change)
	if err != nil {
		return err
	}
	markReplayed(w, done.Replayed)
	return answerChanged(w, done)
}

// answerChanged says whether a word that may expect a generation was taken.
func answerChanged(w http.ResponseWriter, done journal.Changed) error {
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).boolean("applied", !done.Stale).num("policy_generation", int64(done.Generation))
	if done.Stale {
		d.str("reason", "stale_policy_generation")
	}
	return answer(w, d.close('}'))
}

func (a *API) changeAtHome(ctx context.Context, id journal.ID, c *wire.Change) (journal.Changed, error) {
	i, err := a.journal.Get(id)
	if err != nil {
		return journal.Changed{}, err
	}
	if i.Head != nil {
		return a.journal.Change(ctx, id, c)
	}
	ans, err := a.ask(ctx, i, &peer.Ask{What: peer.Ask_CHANGE, Id: id[:], Change: c})
	if err != nil {
		return journal.Changed{}, err
	}
	switch code(ans.Error) {
	case "":
		return journal.Changed{Generation: ans.PolicyGeneration, Stale: ans.Stale, Replayed: ans.Replayed}, nil
	case codeIntentEnded:
		return journal.Changed{}, &journal.EndedError{Status: state.Status(ans.Status)}
	case codeIdempotencyConflict:
		return journal.Changed{}, journal.ErrKeyConflict
	case codePayloadTooLarge:
		return journal.Changed{}, journal.ErrPolicyTooLarge
	case "not_found":
		return journal.Changed{}, journal.ErrNotFound
	}
	return journal.Changed{}, errHomeUnreachable // its journal fails, or it knows no such question
}

// change is what controls and policy ask for, as it is read.
type change struct {
	*wire.Change
	body *object
}

// patch takes a merge patch, and what in it takes effect.
func (c *change) patch(name string, into *[]byte) {
	raw := c.body.object(name)
	if len(raw) == 0 {
		return
	}
	*into = raw
	p, err := parseObject(raw, c.body.pointer(name), c.body.faults)
	if err != nil {
		c.body.fault(name, codeSchemaInvalid, "must be a JSON object")
		return
	}
	c.MaxAttempts = uint32(c.either(p, 1, maxAttempts, int64(c.MaxAttempts), "max_delivery_attempts", "max_retry_count"))
	c.WorkTimeoutMs = 1000 * c.either(p, 1, maxWork, c.WorkTimeoutMs/1000, "execution_timeout_seconds")
	c.TtlMs = 1000 * c.either(p, 1, maxTTL, c.TtlMs/1000, "ttl_seconds")
	for _, key := range []string{"deadline_at", "expires_at"} {
		value, given := p.take(key)
		if !given || value.Kind() == 'n' {
			continue
		}
		when, why := readTime(value)
		switch {
		case why != "":
			p.fault(key, codeSchemaInvalid, "%s", why)
		case c.TtlMs > 0:
			p.fault(key, codeInvalidRequest, "and ttl_seconds are both given")
		case c.DeadlineAtMs > 0 && c.DeadlineAtMs != when.UnixMilli():
			p.fault(key, codeInvalidRequest, "differs from deadline_at")
		default:
			c.DeadlineAtMs = when.UnixMilli()
		}
	}
}

// either reads an integer that has two names; was is what has been read so far, 0
// for nothing. null takes the member away and changes no effect.
func (c *change) either(p *object, least, most, was int64, names ...string) int64 {
	for _, name := range names {
		value, given := p.take(name)
		if !given || value.Kind() == 'n' {
			continue
		}
		n, why := readInteger(value, least, most)
		switch {
		case why != "":
			p.fault(name, codeSchemaInvalid, "%s", why)
		case was > 0 && was != n:
			p.fault(name, codeInvalidRequest, "differs from %s", names[0])
		default:
			was = n
		}
	}
	return was
}

// expectedGeneration reads the generation a word is for, if it is for one only.
func expectedGeneration(body *object) (expects bool, generation uint64) {
	n, given := body.integer("expected_policy_generation", 0, math.MaxInt64>>10)
	return given, uint64(n)
}

// ask asks home of an intent that is held here.
func (a *API) ask(ctx context.Context, i *journal.Intent, q *peer.Ask) (*peer.Answer, error) {
	if a.opt.AskHome == nil {
		return nil, errHomeUnreachable
	}
	home, err := journal.IDOf(i.Handover.Home)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	ans, err := a.opt.AskHome(ctx, home, q)
	if err != nil {
		return nil, errHomeUnreachable // why it is out of reach is the peer layer's to log
	}
	return ans, nil
}

// writePolicy shows what controls and policy have said so far.
func writePolicy(d *doc, p *wire.Policy) {
	if p == nil {
		return
	}
	for _, part := range []struct {
		name string
		json []byte
	}{{"controls", p.Controls}, {"grants", p.Grants}, {"envelope_policy", p.Envelope}} {
		if len(part.json) > 0 {
			d.raw(part.name, jsontext.Value(part.json))
		}
	}
}

const askTime = 2 * time.Second
