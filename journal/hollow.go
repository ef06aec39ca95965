package journal

import (
	"pannier/journal/wire"
)

// A dead letter of home's that has lost what was sent stays one, for as long as any other: that
// it is, to whom, and why it died is in its head. It gets the envelope of nothing, what is left of its
// own is set aside, and it cannot be redriven.

func (s *salvager) isHollow(id ID, h *wire.Head) bool { return h.DeadMs != 0 && !s.hasEnvelope(id) }

// keepHollow gives them those envelopes. Where it is cut short, the next start that accepts the
// loss finds the others.
func (j *Journal) keepHollow(hollow map[ID]bool) error {
	if len(hollow) == 0 {
		return nil
	}
	if err := viewAlone(j.db, j.names.load); err != nil {
		return err
	}
	var todo []func(*tx) error
	for id := range hollow {
		todo = append(todo, func(t *tx) error { return t.keepHollow(id) })
	}
	j.loss.addEntries("dead letters have lost what was sent: " + namesOf(hollow))
	if err := j.loss.note(j.dir); err != nil {
		return err
	}
	err := j.commitInTurn(todo)
	j.names = newNames() // read again, from where numbers go on
	return err
}

func (t *tx) keepHollow(id ID) error {
	l, found, err := t.life(id)
	if err != nil || !found {
		return err // it was forgotten for what else it lacks
	}
	if _, err := t.setAside(id); err != nil {
		return err
	}
	if err := t.mendEnvelope(l); err != nil {
		return err
	}
	return t.saveLife(l)
}
