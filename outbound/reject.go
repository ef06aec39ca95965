package outbound

import (
	"context"
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

// rejection is an intent that some endpoints will never take.
type rejection struct {
	by      map[string]struct{} // addresses
	offerNo uint64
	due     time.Time
	reason  state.Reason
	text    string

	refusing bool // it is being ended
}

// maxRejects is at how many a destination is offered nothing else: until the other
// endpoints have been asked for these, the next would be one more to remember. What
// is in flight then may add to them, and is bounded by credit.
const maxRejects = 256

// reject remembers that an endpoint will never take an intent, so that the
// others are asked. Called with mu held.
func (d *Dispatcher) reject(f *flight, address string, why state.Reason, text string) {
	dst := f.dest
	r := dst.rejects[f.id]
	if r == nil || r.offerNo != f.offerNo {
		r = &rejection{by: map[string]struct{}{}, offerNo: f.offerNo}
		if dst.rejects == nil {
			dst.rejects = map[journal.ID]*rejection{}
		}
		dst.rejects[f.id] = r
	}
	r.by[address] = struct{}{}
	r.reason, r.text, r.due = why, text, f.due
}

// crowded reports whether so many of its intents have been refused for good that
// whom else to ask comes first. Called with mu held.
func (dst *dest) crowded() bool { return len(dst.rejects) >= maxRejects }

// refuseStale ends the intents that no endpoint is left to ask for. Called with
// mu held, by the loop.
func (d *Dispatcher) refuseStale(ctx context.Context, dst *dest, options []option) {
	for id, r := range dst.rejects {
		if r.refusing || anyLeft(r, dst.allowed(id, options)) {
			continue
		}
		r.refusing = true
		d.tasks.Go(func() { d.refuse(ctx, dst, id, r) })
	}
}

// pickRejected chooses an endpoint for an intent that others have refused for
// good, and sets the journal's cursor back to it. Called with mu held, by the
// loop.
func (d *Dispatcher) pickRejected(dst *dest, options []option) (target, bool) {
	for id, r := range dst.rejects {
		if d.mu.flights[id] != nil || r.refusing {
			continue
		}
		for _, o := range options {
			if _, asked := r.by[o.Address]; !asked && o.room > 0 && mayGo(id, dst.policy.Split, o.Endpoint) {
				d.journal.Rewind(dst.agent, r.due)
				return target{opt: o, n: o.room, seeks: id, part: strayPart}, true
			}
		}
	}
	return target{}, false
}

// allowed leaves the options an intent may go to. Called with mu held.
func (dst *dest) allowed(id journal.ID, options []option) []option {
	if len(dst.policy.Split) == 0 {
		return options
	}
	return subset(options, dst.policy.Split[shareOf(id, dst.policy.Split)].Subset)
}

// anyLeft reports whether a healthy endpoint has not yet been asked. One that is
// not connected, or says goodbye, is healthy as long as discovery says so and its
// breaker has not opened: replicas that are exchanged one after another must not
// make the word of an old one the last.
func anyLeft(r *rejection, options []option) bool {
	for _, o := range options {
		if _, asked := r.by[o.Address]; !asked && o.Health == Healthy && (o.session != nil && o.session.live || o.cause != state.CauseBreakerOpen) && o.cause != state.CauseUntrusted {
			return true
		}
	}
	return false
}

// refuse makes a dead letter. If we crash before that is durable, the intent is
// due and asked for again.
func (d *Dispatcher) refuse(ctx context.Context, dst *dest, id journal.ID, r *rejection) {
	err := d.journal.Refuse(ctx, id, r.offerNo, r.reason, r.text)
	if err != nil && ctx.Err() == nil {
		d.log.Error("cannot end a refused intent", "intent_id", id.String(), "reason", r.text, "err", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(dst.rejects, id)
	d.queue(dst, false)
}
