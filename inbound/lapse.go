package inbound

import (
	"context"
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

// overdue is what becomes of leases that have run out.
type overdue struct {
	count         []journal.ID // a failed attempt, unless the journal knows better
	spare, leases []journal.ID // taken back: no attempt
	renew         []journal.Renewal
}

// lapse ends the leases that have run out. While the door is shut that is no
// attempt: the app is known to be in trouble.
func (m *Mailbox) lapse(ctx context.Context, b *box, entries []journal.Mail) error {
	if len(entries) == 0 {
		return nil
	}
	o := m.overdue(b, entries)
	// A crash before either commit: the leases are of an earlier start then,
	// and their lapse is no attempt.
	if len(o.spare) > 0 {
		if err := m.j.Recover(ctx, o.spare, o.leases); err != nil {
			return err
		}
	}
	if len(o.renew) > 0 {
		// If we crash before, the leases lapse as those of an earlier start.
		if err := m.j.Renew(ctx, o.renew); err != nil {
			return err
		}
	}
	if len(o.count) == 0 {
		return nil
	}
	return m.j.Lapse(ctx, o.count)
}

func (m *Mailbox) overdue(b *box, entries []journal.Mail) (o overdue) {
	m.mu.Lock()
	defer m.unlock()
	now := time.Now()
	for _, e := range entries {
		f, known := b.flights[e.ID]
		longer := known && f.until.After(now)
		switch {
		case longer && f.until.After(e.Due):
			// Extended since it was read, or longer than the journal has it.
			o.renew = append(o.renew, journal.Renewal{ID: e.ID, Lease: f.lease, Until: f.until})
			continue
		case longer || f.settling:
			// Its last millisecond is not over, or its settle is on the way to the
			// journal and decides: it is looked at again.
			m.j.RewindMail(b.no, e.Due)
			b.sweep = earliest(b.sweep, now.Add(sweepPause))
			continue
		}
		from := b.flightOf(e.ID)
		if !known && e.Leased.Before(b.switched) {
			from.app-- // acknowledged by the app before this one
		}
		m.land(b, e.ID)
		silent := !known && e.Phase == state.Working && e.Lease.IsZero() // pushed and acknowledged
		if (!known || f.old) && !silent {
			// Settled meanwhile, or granted before this start: the journal
			// knows which, and neither says anything of the app.
			o.count = append(o.count, e.ID)
			continue
		}
		if b.spares(from) {
			o.spare, o.leases = append(o.spare, e.ID), append(o.leases, e.Lease)
		} else {
			o.count = append(o.count, e.ID)
		}
		m.hear(b, e.ID, from, failed, now)
	}
	return o
}

// exhaust leaves to home what a lowered limit has put out of attempts. If we crash
// before, it is read again.
func (m *Mailbox) exhaust(ctx context.Context, entries []journal.Mail) error {
	if len(entries) == 0 {
		return nil
	}
	ids := make([]journal.ID, len(entries))
	for i, e := range entries {
		ids[i] = e.ID
	}
	return m.j.Exhaust(ctx, ids)
}
