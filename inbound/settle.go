package inbound

import (
	"context"
	"errors"
	"time"

	"pannier/journal"
)

// Settle journals the app's answers and lets the door hear how they went.
// Results are in order. An answer is durable, with its report to home, when
// Settle returns.
func (m *Mailbox) Settle(ctx context.Context, items []journal.Settle) ([]journal.Settled, error) {
	from := make([]sayer, len(items))
	in := make([]journal.Settle, len(items))
	m.mu.Lock()
	for i, s := range items {
		from[i] = m.settling(s)
		if b := from[i].box; b != nil && s.Action == journal.Nack && b.spares(from[i].flight) {
			// The app is in trouble, not the intent. When it is tried again is
			// up to the door.
			s.Spare = true
		}
		if s.Action == journal.Extend {
			s.For = m.workTime(s.For)
		}
		in[i] = s
	}
	m.unlock()

	// A crash before the commit: the app has no answer and repeats it, or the
	// lease ends. After it: the repeat is answered like the first.
	out, err := m.j.Settle(ctx, in)
	m.heardAll(items, from, out, err)
	return out, err
}

// sayer is who an answer is of; no box where the lease is not one in force.
type sayer struct {
	box    *box
	flight flight
}

// settling marks the flight that an answer is for.
func (m *Mailbox) settling(s journal.Settle) sayer {
	b := m.mu.where[s.ID]
	if b == nil {
		return sayer{}
	}
	f := b.flights[s.ID]
	if f.lease != s.Lease {
		return sayer{}
	}
	f.settling = true
	b.flights[s.ID] = f
	return sayer{b, f}
}

// workTime is how long an extend asks for; 0: what the journal gives the intent.
func (m *Mailbox) workTime(d time.Duration) time.Duration {
	return min(d, m.o.WorkMax)
}

// heardAll tells the doors what the app has said, as far as it was under the
// lease in force.
func (m *Mailbox) heardAll(items []journal.Settle, from []sayer, out []journal.Settled, failure error) {
	m.mu.Lock()
	defer m.unlock()
	now := time.Now()
	for i, s := range items {
		b, by := from[i].box, from[i].flight
		if b == nil {
			continue
		}
		f, flying := b.flights[s.ID]
		if failure != nil || out[i].Err != nil {
			var why error
			if failure == nil {
				why = out[i].Err
			}
			m.unsettled(b, s, f, flying, why)
			continue
		}
		m.restart(b, f.stream, now)
		switch s.Action {
		case journal.Extend:
			if flying {
				f.settling, f.until = false, out[i].Until
				m.fly(b, s.ID, f)
			}
			m.hear(b, s.ID, by, succeeded, now)
		case journal.Ack:
			m.land(b, s.ID)
			m.hear(b, s.ID, by, succeeded, now)
		default:
			m.land(b, s.ID)
			m.hear(b, s.ID, by, verdict(s), now)
		}
	}
	for _, f := range from {
		if f.box != nil {
			m.stir(f.box)
		}
	}
}

func verdict(s journal.Settle) heard {
	if s.Reject {
		return rejected
	}
	return failed
}

// unsettled is for an answer that changed nothing.
func (m *Mailbox) unsettled(b *box, s journal.Settle, f flight, flying bool, err error) {
	var ended *journal.EndedError
	switch {
	case !flying: // left the mailbox meanwhile; nobody has told the door
		b.door.gone(s.ID)
	case errors.Is(err, journal.ErrLeaseLost) || errors.Is(err, journal.ErrNotFound) || errors.As(err, &ended):
		b.door.gone(s.ID)
		m.land(b, s.ID)
	default:
		f.settling = false
		b.flights[s.ID] = f
	}
}

// hear passes one outcome to the door and acts on what it makes of it. What an app
// says that another has taken over from is no word of that one's.
func (m *Mailbox) hear(b *box, id journal.ID, from flight, what heard, now time.Time) {
	if from.app != b.app {
		m.arm(b, now)
		return
	}
	was := b.door.shut
	b.door.hear(now, id, what, b.flightIDs, random())
	if what == succeeded {
		b.credit.earn()
	}
	switch {
	case was == Open && b.door.shut != Open:
		m.doorShut(b, now)
	case was != Open && b.door.shut == Open:
		b.release = time.Time{}
		m.log.Info("door open", "agent", b.name)
		m.tellWindow(b)
	}
	m.arm(b, now)
}
