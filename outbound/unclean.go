package outbound

import "time"

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

// epoch is before everything that is due.
var epoch = time.UnixMilli(0)

// letOld sets the cursor back to the first of them. Called with mu held.
func (d *Dispatcher) letOld(dst *dest, raise bool) {
	dst.oldOpen, dst.oldRaise, dst.more = true, raise, everyPart
	d.journal.Rewind(dst.agent, epoch)
}
