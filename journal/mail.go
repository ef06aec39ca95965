package journal

import (
	"cmp"
	"time"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// Mail returns up to max entries of the agent's mailbox whose time has come:
// ready ones may be leased, leased and working ones have lapsed, and not by a clock that
// has jumped ahead. Like Due, it
// starts from a remembered place and may return an entry again. Those that pass says
// yes to are passed over, and their records not read.
func (j *Journal) Mail(a Agent, now time.Time, max int, pass func(ID, time.Time) bool) (mail []Mail, next time.Time, err error) {
	if err := j.running(); err != nil {
		return nil, time.Time{}, err
	}
	c := j.indexes.cursor(agentPrefix(classMail, a))
	var kept, later time.Time // leases that a clock ahead would end: where they are, and when the first of them ends
	next, stopped := c.scan(j, now, func(txn *page, due time.Time, id ID) bool {
		if len(mail) >= max {
			return false
		}
		if pass(id, due) {
			return true
		}
		var m Mail
		var ok bool
		rerr := j.guard(func() (err error) { m, ok, err = j.readMail(txn, id); return err })
		if rerr != nil {
			return j.passOver(id, rerr, &err)
		}
		switch {
		case !ok || !m.Due.Equal(due): // the record decides
		case (m.Phase == state.Leased || m.Phase == state.Working) && m.ends.After(now):
			if kept.IsZero() {
				kept = m.Due
			}
			if later.IsZero() || m.ends.Before(later) {
				later = m.ends
			}
		default:
			mail = append(mail, m)
		}
		return true
	})
	if !kept.IsZero() {
		j.RewindMail(a, kept) // it is read again when its time has passed
		if next.IsZero() || later.Before(next) {
			next = later
		}
	}
	return mail, next, cmp.Or(err, stopped)
}

func (j *Journal) readMail(txn *page, id ID) (Mail, bool, error) {
	var rec wire.Handover
	found, err := readMessage(txn, idKey(classHandover, id), &rec)
	if err != nil || !found || !state.Phase(rec.Phase).Open() {
		return Mail{}, false, err
	}
	m := mailOf(id, &rec)
	m.ends = j.clock.keeps(dueOf(&rec))
	return m, true, nil
}

// dueOf is when a hand-over is due, and when that was said.
func dueOf(rec *wire.Handover) (due, set time.Time) {
	return time.UnixMilli(rec.DueMs), at(cmp.Or(rec.DueSetMs, rec.LeasedAtMs, rec.HeldMs))
}

func mailOf(id ID, rec *wire.Handover) Mail {
	return Mail{
		ID: id, Home: ID(rec.Home), OfferNo: rec.OfferNo, Phase: state.Phase(rec.Phase), Due: time.UnixMilli(rec.DueMs),
		Held: at(rec.HeldMs), Attempts: rec.Attempts, Receiver: rec.ReceiverDurability, Lease: leaseOf(rec), Seq: rec.Seq, Streamed: rec.Streamed, Counted: !rec.Freed, Leased: at(rec.LeasedAtMs),
		OutOfAttempts: outOfAttempts(rec),
	}
}

// HoldsFrom reports whether an open intent of home is held here.
func (j *Journal) HoldsFrom(home ID) (holds bool) {
	_ = j.eachMail([]byte{classMail}, func(m Mail, _ *wire.Handover) bool {
		holds = m.Home == home
		return !holds
	}) // unreadable: whoever reads the mailbox next hears of it
	return holds
}

// Holding lists what we have from a home: what is open, and what is settled
// here but not yet acked there, so that home offers neither to anybody else. Nothing is
// left out for being moved or settled while it reads: a report is there from the commit
// on that settles, and reports are read last. Of what is taken on meanwhile home hears
// anyway.
func (j *Journal) Holding(home ID) (out []Holding, err error) {
	place := map[ID]int{}
	add := func(h Holding) {
		if i, again := place[h.ID]; again {
			out[i] = h
			return
		}
		place[h.ID] = len(out)
		out = append(out, h)
	}
	err = j.eachMail([]byte{classMail}, func(m Mail, rec *wire.Handover) bool {
		if m.Home == home {
			add(Holding{ID: m.ID, OfferNo: m.OfferNo, Phase: m.Phase, HomeEpoch: rec.HomeEpoch, Continued: rec.Continued, Uncounted: rec.Freed, Policy: rec.PolicyGeneration})
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	err = eachOf(j, idKey(classReport, home), func() *wire.Report { return &wire.Report{} }, func(txn *page, _ []byte, r *wire.Report, bad error) error {
		id, err := IDOf(r.Id)
		if f := state.Fact(r.Fact); bad != nil || err != nil || f != state.FactAnswered && f != state.FactRejected {
			return nil // what one cannot say, home asks for: it finds the intent missing
		}
		var rec wire.Handover
		found, err := readMessage(txn, idKey(classHandover, id), &rec)
		if err != nil && !isFault(err) {
			return err
		}
		if err == nil && found && state.Phase(rec.Phase).Settled() {
			add(Holding{ID: id, OfferNo: rec.OfferNo, Phase: state.Phase(rec.Phase), HomeEpoch: rec.HomeEpoch, Continued: rec.Continued, Policy: rec.PolicyGeneration})
		}
		return nil
	})
	return out, err
}
