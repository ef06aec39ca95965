package webhook

import (
	"context"

	"pannier/inbound"
	"pannier/journal"
)

// Courier takes intents to an address of the sidecar's own by other means than a
// Pusher's requests, a few at once. What it says came of one is what Judge would; nothing
// settled means that nothing was taken, and shuts the door.
type Courier func(context.Context, *journal.Handed) Forwarded

// courierWidth is how many intents one Courier has under way: servers of mail turn away
// who opens more than a handful of connections.
const courierWidth = 4

// SetCouriers sets the couriers, by address, before Run.
func (p *Pusher) SetCouriers(all map[string]Courier) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.couriers = all
	p.change()
}

// carry lets the courier take one intent. sent says that it may be where it was to go:
// a courier that is cut off does not know.
func (p *pump) carry(ctx context.Context, h *journal.Handed) (v verdict, sent bool, err error) {
	bounded, cancel := context.WithTimeout(ctx, p.o.HTTPTimeout)
	defer cancel()
	f := p.courier(bounded, h)
	switch {
	case f.Settle == "ack":
		return verdict{came: journal.Pushed{Came: journal.Done, Result: f.Result}}, true, nil
	case f.Settle == "nack" && f.Reject:
		return verdict{came: journal.Pushed{Came: journal.Refused, Reason: f.Reason}}, true, nil
	case f.Settle == "nack":
		return failure(f.Reason), true, ctx.Err() // cut off by a stop it is no attempt
	case f.shut != inbound.Open:
	case f.Pause > 0:
		f.shut = inbound.Throttled
	default:
		f.shut = inbound.Unreachable
	}
	return verdict{shut: f.shut, least: f.Pause, reason: f.Reason}, false, ctx.Err()
}
