package inbound

import (
	"context"
	"errors"
	"slices"
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

const (
	mailPage  = 256
	leaseMost = 256             // leased in one commit
	errPause  = 1 * time.Second // before a turn that failed is tried again
)

// plan is what one look at a mailbox is to do.
type plan struct {
	no      journal.Agent
	now     time.Time
	want    int
	probe   time.Time // of the door: it has shut, or was heard of, since, where that is another one by now
	keep    int       // ready entries worth remembering
	rewind  time.Time // read again from here
	sweep   bool      // something may have run out: read to the end
	release bool
	pushed  map[journal.ID]bool // on their way to the app, and ready as far as the journal knows
}

// turn works one mailbox until there is nothing more to do. There is one turn
// per box at a time: only it reads the index, so an entry is never given twice.
func (m *Mailbox) turn(ctx context.Context, b *box) {
	for {
		p := m.plan(b)
		found, err := m.look(ctx, b, p)
		if m.conclude(ctx, b, p, found, err) {
			return
		}
	}
}

func (m *Mailbox) plan(b *box) plan {
	m.mu.Lock()
	defer m.unlock()
	now := time.Now()
	b.again = false
	b.round++
	if b.door.tick(now) {
		m.doorShut(b, now)
	}
	p := plan{no: b.no, now: now}
	if !b.numbered {
		return p
	}
	p.want, p.probe = b.capacity(now), b.door.nextProbe
	p.sweep = !b.sweep.IsZero() && !now.Before(b.sweep)
	p.release = !b.release.IsZero() && !now.Before(b.release)
	if p.want > 0 {
		p.rewind, b.skipped = b.skipped, time.Time{}
		p.keep = min(p.want, leaseMost) + len(b.door.suspects) + 1
	}
	if p.want > 0 || p.sweep {
		p.pushed = b.pushed()
	}
	return p
}

// doorShut is what follows when a door shuts.
func (m *Mailbox) doorShut(b *box, now time.Time) {
	b.credit.reset()
	b.release = earliest(b.release, now.Add(m.o.ReleaseAfter))
	m.tellWindow(b)
	m.log.Info("door shut", "agent", b.name, "reason", b.door.shut.String())
}

// view is what a look has found.
type view struct {
	read    bool // the index was read
	end     bool // to its end
	next    time.Time
	skipped time.Time
	ready   []journal.Mail
	pushed  []sent // of plan.pushed
	lapsed  []journal.Mail
	spent   []journal.Mail // ready, and out of attempts
	tried   bool           // something was to be leased
	release time.Time
}

// sent is an entry of something that is on its way to the app: all of it that is read.
type sent struct {
	id  journal.ID
	due time.Time
}

func (m *Mailbox) look(ctx context.Context, b *box, p plan) (view, error) {
	var v view
	if p.release {
		next, err := m.giveBack(ctx, b, p.no, p.now, false, everyHome)
		if err != nil {
			return v, err
		}
		v.release = next
	}
	if p.want == 0 && !p.sweep {
		return v, nil
	}
	if !p.rewind.IsZero() {
		m.j.RewindMail(p.no, p.rewind)
	}
	if err := m.read(p, &v); err != nil {
		return v, err
	}
	if err := m.lapse(ctx, b, v.lapsed); err != nil {
		return v, err
	}
	if err := m.exhaust(ctx, v.spent); err != nil {
		return v, err
	}
	return v, m.handOver(ctx, b, p, &v)
}

// page is how many entries to read at once: a record is read for each, and what is
// not wanted now is read again at the next look. A pusher asks for one or two at a
// time; with a full page for each look, reading was a fifth of the holder's profile.
func (p *plan) page() int {
	if p.sweep {
		return mailPage
	}
	return min(mailPage, p.keep)
}

// read collects what is due: all that has run out, and as many ready entries
// as are wanted.
func (m *Mailbox) read(p plan, v *view) error {
	v.read = true
	size := p.page()
	// What is on its way to the app stays in the index until its answer is journaled,
	// and is come across at nearly every look: its records are not read for that. Only
	// a sweep does, for it must tell what has run out.
	pass := func(id journal.ID, due time.Time) bool {
		if p.sweep || !p.pushed[id] {
			return false
		}
		v.pushed = append(v.pushed, sent{id, due})
		return true
	}
	for {
		page, next, err := m.j.Mail(p.no, p.now, size, pass)
		if err != nil {
			return err
		}
		for _, e := range page {
			switch {
			case e.Phase == state.Leased || e.Phase == state.Working:
				v.lapsed = append(v.lapsed, e)
			case e.Phase != state.Ready:
			case p.pushed[e.ID]:
				v.pushed = append(v.pushed, sent{e.ID, e.Due})
			case e.OutOfAttempts:
				v.spent = append(v.spent, e)
			case len(v.ready) < p.keep:
				v.ready = append(v.ready, e)
			default:
				v.skipped = earliest(v.skipped, e.Due)
			}
		}
		v.end, v.next = next.IsZero() || next.After(p.now), next
		if v.end || len(page) == 0 || !p.sweep && len(v.ready) >= p.keep {
			return nil
		}
	}
}

// handOver leases what the door chooses to the pulls that wait, in turn.
func (m *Mailbox) handOver(ctx context.Context, b *box, p plan, v *view) error {
	ids, slots := m.take(b, p, v)
	if len(ids) == 0 {
		return nil
	}
	v.tried = true
	handed, err := m.grant(ctx, ids, slots)

	m.mu.Lock()
	defer m.unlock()
	// The leases are durable: from here on the intents count as handed over,
	// whether or not the pulls still wait for them.
	for i, s := range slots {
		if err != nil || handed[i].Err != nil {
			// Settled, ended or out of time since it was read. It stays unread
			// until the journal changes it.
			b.door.returned(ids[i])
			if err == nil && errors.Is(handed[i].Err, journal.ErrPullFull) {
				v.skipped = earliest(v.skipped, s.due) // for the next
				b.full(s)
			} else {
				b.giveBack(s)
			}
			if s.pull.push {
				m.land(b, ids[i])
			}
			continue
		}
		if !s.pull.push {
			m.fly(b, handed[i].ID, b.carried(s.pull, &handed[i]))
		}
		b.fill(s, handed[i], m.o.MaxPullBytes)
	}
	return err
}

// grant makes the hand-overs: leases of what is asked for are journaled, what is
// pushed is only read. The slots of one turn are of one kind.
func (m *Mailbox) grant(ctx context.Context, ids []journal.ID, slots []slot) ([]journal.Handed, error) {
	if slots[0].pull.push {
		return m.j.Peek(ctx, ids, slots[0].pull.room)
	}
	terms := make([]journal.Terms, len(slots))
	for i, s := range slots {
		terms[i] = s.pull.terms()
	}
	return m.j.Lease(ctx, ids, terms)
}

// take reserves a slot for each intent that the door lets pass, and notes what
// is left for later.
func (m *Mailbox) take(b *box, p plan, v *view) (ids []journal.ID, slots []slot) {
	m.mu.Lock()
	defer m.unlock()
	c := choice{
		all: v.end && v.skipped.IsZero(), inFlight: b.inFlight(), suspectOut: b.suspectOut(),
		want: min(b.capacity(p.now), leaseMost, max(1, m.o.MaxPullBytes/b.size)),
	}
	due := map[journal.ID]time.Time{}
	for _, e := range v.pushed {
		// If its answer is journaled just now, this may be the entry that comes of it.
		if f := b.flights[e.id]; !f.pushed || f.settling {
			v.skipped = earliest(v.skipped, e.due)
		}
	}
	for _, e := range v.ready {
		c.ready = append(c.ready, e.ID)
		due[e.ID] = e.Due
	}
	for _, id := range b.door.choose(p.now, c) {
		s, ok := b.reserve()
		if !ok {
			break
		}
		b.door.handed(id)
		s.due = due[id]
		ids, slots = append(ids, id), append(slots, s)
		if s.pull.push {
			// From here on nobody may give it back to its home.
			m.fly(b, id, flight{pushed: true, due: due[id], opening: b.door.opened, app: b.app})
		}
		delete(due, id)
	}
	for _, left := range due {
		v.skipped = earliest(v.skipped, left)
	}
	return ids, slots
}

// conclude takes in what a look has found and reports whether the turn is over.
func (m *Mailbox) conclude(ctx context.Context, b *box, p plan, v view, err error) (over bool) {
	m.mu.Lock()
	defer m.unlock()
	now := time.Now()
	b.skipped = earliest(b.skipped, v.skipped)
	if v.read && v.end && !b.sweep.IsZero() && !b.sweep.After(p.now) {
		b.sweep = time.Time{}
	}
	if v.read && v.end {
		b.sweep = earliest(b.sweep, v.next)
	}
	if p.release {
		b.release = v.release
	}
	if b.hungry = v.read && v.end && b.skipped.IsZero() && b.capacity(now) > 0; b.hungry {
		b.credit.starve(now)
	}
	if err != nil {
		m.fail(ctx, b, p, v, err)
	}
	// More may be there than fitted one commit.
	// Or the time of a probe has come since it looked, perhaps behind a door that was open
	// then: no timer is set for what is past.
	probe := p.want == 0 || !b.door.nextProbe.Equal(p.probe)
	more := err == nil && b.capacity(now) > 0 && (v.tried && !b.skipped.IsZero() || p.no != 0 && probe)
	if more {
		return false
	}
	b.finish()
	if b.again {
		return false
	}
	b.turning = false
	m.tellWindow(b)
	m.arm(b, now)
	return true
}

// fail ends the waiting pulls with the error of a turn, and has what it read
// read again after a pause. A journal that has failed ends the process.
func (m *Mailbox) fail(ctx context.Context, b *box, p plan, v view, err error) {
	now := time.Now()
	if ctx.Err() == nil {
		m.log.Error("mailbox", "agent", b.name, "err", err)
		for _, w := range b.pulls {
			w.err = err
		}
	}
	b.skipped = earliest(b.skipped, p.rewind)
	for _, e := range slices.Concat(v.ready, v.lapsed, v.spent) {
		m.j.RewindMail(p.no, e.Due)
	}
	b.sweep = now.Add(errPause)
	if p.release {
		b.release = now.Add(errPause)
	}
}
