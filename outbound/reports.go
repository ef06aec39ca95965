package outbound

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// onRecord reports whether the journal has the intent at a holder under a number.
func (d *Dispatcher) onRecord(holder, id journal.ID, offerNo uint64) bool {
	i, err := d.journal.Get(id)
	return err == nil && i.Head != nil && journal.Place(i.Head.Place) == journal.PlaceHeld &&
		string(i.Head.Holder) == string(holder[:]) && i.Head.OfferNo == offerNo
}

// reports hands facts to the journal. They are acked when their events are
// durable; if we crash before, the holder sends them again.
//
// The journal takes a fact about an intent that is due as proof that the holder
// has it: its held rides along later. Only we know to whom it was offered, so a
// fact from anybody else is passed on under no offer number: acked, and of no
// effect. An app's final answer counts from anybody.
func (s *session) reports(list []*wire.Report) error {
	if len(list) == 0 {
		return nil
	}
	s.checkBodies(list)
	strange, err := s.disown(list)
	if err != nil {
		return err
	}
	d := s.d
	h, finals, proven, unsure := d.heard(s, list)
	var anew []journal.ID // ready once more, though they counted no more
	for _, r := range unsure {
		switch id := journal.ID(r.Id); {
		case !d.onRecord(s.peer.Journal, id, r.OfferNo):
			if f, ours := d.believe(s, r); f != nil {
				proven = append(proven, f)
			} else if !ours {
				r.OfferNo = 0
			}
		case state.Fact(r.Fact) == state.FactAttemptFailed && !r.Uncounted && !freedLater(list, r):
			anew = append(anew, id)
		}
	}
	if err := d.countAnew(s, anew); err != nil {
		return err
	}
	d.record(s.peer, h, proven)
	d.journal.Apply(s.peer, list, func(acked []journal.Acked, upTo uint64, err error) {
		mask(acked, strange)
		d.applied(s, finals, acked, upTo, err)
	})
	return nil
}

// heard counts what reports say of credit, and returns those that end a hand-over,
// the flights that they prove held, and the facts of which only the journal knows
// whether they are of this holder.
func (d *Dispatcher) heard(s *session, list []*wire.Report) (h *holder, finals []journal.ID, proven []*flight, unsure []*wire.Report) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h = d.mu.holders[s.peer.Journal]
	for _, r := range list {
		id, no, ok := idAndNo(r.Id, r.OfferNo)
		if !ok {
			continue // the journal refuses it, with the number
		}
		if f := d.owes(s, id, no); f != nil {
			if f := d.accepted(h, f); f != nil {
				proven = append(proven, f)
			}
		} else if state.Fact(r.Fact) != state.FactAnswered && !d.has(s, id) {
			unsure = append(unsure, r)
		}
		switch state.Fact(r.Fact) {
		case state.FactAnswered, state.FactRejected, state.FactExhausted:
			s.answering[id] = struct{}{}
			finals = append(finals, id)
			d.freeAt(s, id)
		case state.FactWaiting:
			d.freeAt(s, id)
		default:
			if r.Uncounted { // acknowledged: it is on the app's own list
				d.freeAt(s, id)
			}
		}
	}
	s.applying++
	return h, finals, proven, unsure
}

// checkBodies leaves out outcomes that are no JSON objects: one is shown inside our own
// JSON, and must not be able to say more than an outcome. How it ended counts all the same:
// refused, the report would be repeated for ever, and none after it heard.
func (s *session) checkBodies(list []*wire.Report) {
	for _, r := range list {
		if b := jsontext.Value(r.Body); len(b) > 0 && (b.Kind() != '{' || !b.IsValid()) {
			s.d.log.Warn("an outcome that is no JSON object is left out", "peer", s.link.address, "intent_id", fmt.Sprintf("%x", r.Id))
			r.Body = journal.OmittedBody(r)
		}
	}
}

// has reports whether this holder was offered the intent and has not said no.
// Called with mu held.
func (d *Dispatcher) has(s *session, id journal.ID) bool {
	if p := d.mu.unsettled[id]; p != nil && p.session == s {
		return true
	}
	f := d.mu.flights[id]
	return f != nil && f.holder.Journal == s.peer.Journal
}

// freeAt is free for what is unsettled at this session. Called with mu held.
func (d *Dispatcher) freeAt(s *session, id journal.ID) {
	if p := d.mu.unsettled[id]; p != nil && p.session == s {
		d.free(id)
	}
}

// freedLater reports whether a report that follows in the list says that the intent
// counts no more.
func freedLater(list []*wire.Report, r *wire.Report) bool {
	return slices.ContainsFunc(list, func(next *wire.Report) bool {
		if next.No <= r.No || string(next.Id) != string(r.Id) {
			return false
		}
		switch state.Fact(next.Fact) {
		case state.FactAnswered, state.FactRejected, state.FactExhausted, state.FactWaiting:
			return true
		}
		return next.Uncounted
	})
}

// countAnew counts what may be handed over again at this session against its credit.
func (d *Dispatcher) countAnew(s *session, ids []journal.ID) error {
	if len(ids) == 0 {
		return nil
	}
	agents, err := d.journal.Dests(ids)
	if err != nil {
		return fmt.Errorf("read where what failed goes: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, id := range ids {
		if agents[i] != 0 && d.mu.unsettled[id] == nil {
			d.count(id, s.pair(d.journal.AgentName(agents[i])))
		}
	}
	return nil
}

// applied acks what is durable. It runs on the committer and does not block.
func (d *Dispatcher) applied(s *session, finals []journal.ID, acked []journal.Acked, upTo uint64, err error) {
	d.mu.Lock()
	for _, id := range finals {
		delete(s.answering, id)
	}
	s.applying--
	s.lastWork = time.Now()
	d.mu.Unlock()
	if upTo > 0 {
		s.out.ack(upTo, acked)
	}
	switch {
	case err != nil:
		s.cancel(fmt.Errorf("apply reports: %w", err))
	case !s.out.room():
		s.cancel(errDeaf)
	}
}
