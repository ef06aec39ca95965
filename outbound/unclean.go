package outbound

import (
	"context"
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

// openOld decides, after an unclean start, whether what was accepted before it
// and has no holder on record may be offered: an offer may have been on the way
// to a holder when we died. It may when every endpoint of the destination has
// said what it holds, or some time after the endpoints are known; in the second
// case under the next number. It returns when to look again. Called with mu
// held.
func (d *Dispatcher) openOld(dst *dest, options []option, known, local bool, now time.Time) time.Time {
	switch {
	case dst.oldOpen:
		return time.Time{}
	case len(options) == 0 && !local:
		return time.Time{} // nobody to offer it to: the clock has not started
	case len(options) == 0: // our own mailbox is in the same journal: it knows
		d.letOld(dst, false)
		return time.Time{}
	}
	asked := true
	for _, o := range options {
		asked = asked && (o.link.asked || o.session != nil && o.session.live)
	}
	if asked && known {
		d.letOld(dst, false)
		return time.Time{}
	}
	if dst.knownSince.IsZero() {
		dst.knownSince = now
	}
	until := dst.knownSince.Add(d.opt.UncleanWait)
	if !now.Before(until) {
		d.letOld(dst, true)
		return time.Time{}
	}
	return until
}

// letOld sets the cursor back to the first of them. Called with mu held.
func (d *Dispatcher) letOld(dst *dest, raise bool) {
	dst.oldOpen, dst.oldRaise, dst.more = true, raise, true
	d.journal.Rewind(dst.agent, time.UnixMilli(0))
}

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
	r.reason, r.text = why, text
	if len(dst.rejects) > maxRejects {
		r.final = true // no room to remember whom else to ask
	}
}

// refuseStale ends the intents that no endpoint is left to ask for. Called with
// mu held, by the loop.
func (d *Dispatcher) refuseStale(ctx context.Context, dst *dest, options []option) {
	for id, r := range dst.rejects {
		if r.refusing || !r.final && anyLeft(r, options) {
			continue
		}
		r.refusing = true
		d.tasks.Go(func() { d.refuse(ctx, dst, id, r) })
	}
}

// anyLeft reports whether a healthy endpoint has not yet been asked.
func anyLeft(r *rejection, options []option) bool {
	for _, o := range options {
		if _, asked := r.by[o.Address]; !asked && o.session != nil && o.session.live && !o.session.leaving {
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
