package journal

import (
	"fmt"
	"time"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// hand is the holder's view of one intent inside an operation.
type hand struct {
	id    ID
	rec   wire.Handover
	began time.Time // of a push: when it was sent

	pushed bool         // the operation says what came of a push
	why    state.Reason // of a failed attempt
}

func (h *hand) phase() state.Phase { return state.Phase(h.rec.Phase) }
func (h *hand) agent() Agent       { return Agent(h.rec.Agent) }
func (h *hand) home() ID           { return ID(h.rec.Home) }

func (t *tx) hand(id ID) (*hand, bool, error) {
	h := &hand{id: id}
	found, err := t.get(idKey(classHandover, id), &h.rec)
	return h, found, err
}

func (t *tx) saveHand(h *hand) error {
	t.after(func() { t.j.watches.wake(h.id) })
	return t.put(idKey(classHandover, h.id), &h.rec)
}

// step is the one place where a hand-over changes phase. due is when it next
// matters; an open hand-over is always in the mailbox index. The caller saves.
func (t *tx) step(h *hand, m state.Move, due time.Time) (state.HandoverRow, error) {
	row, ok := state.Step(h.phase(), m)
	if !ok {
		return row, fmt.Errorf("%w: %s while %s", ErrIllegal, m, h.phase())
	}
	if row.From.Open() {
		t.delIndex(dueKey(classMail, h.agent(), h.rec.DueMs, h.id))
	}
	t.spanOver(h, row, m)
	t.tried(h, row)
	was := h.standing()
	h.rec.Phase = uint32(row.To)
	switch {
	case !row.To.WithApp():
		h.rec.Freed = true
	case row.To == state.Ready && row.From != state.Absent:
		h.rec.Freed = false
	}
	if row.From != state.Absent { // the offer has kept a place for it
		t.moved(h, was)
	}
	if row.To.Open() {
		t.mailAt(h, due)
		return row, nil
	}
	if h.rec.HumanTask && row.From.Open() { // nobody here decides it any more
		t.delIndex(idKey(classTask, h.id))
	}
	h.rec.EndedMs = ms(t.now)
	h.rec.LeaseId, h.rec.LeaseUntilMs = nil, 0
	if h.home() != t.j.self.Journal {
		t.keepHand(h)
	}
	return row, nil
}

func (t *tx) mailAt(h *hand, due time.Time) {
	h.rec.DueMs, h.rec.DueSetMs = ms(due), ms(t.now)
	key := dueKey(classMail, h.agent(), h.rec.DueMs, h.id)
	t.putIndex(key)
	agent := h.agent()
	t.inserted(agentPrefix(classMail, agent), key, func() {
		if f := t.j.hooks.Mail; f != nil {
			f(agent)
		}
	})
}

// standing is how a hand-over counts: against credit, or apart from it, or not at
// all.
type standing struct{ counted, apart int }

func (h *hand) standing() (s standing) {
	switch {
	case !h.phase().WithApp() || h.rec.Thread:
	case h.rec.Freed:
		s.apart = 1
	default:
		s.counted = 1
	}
	return s
}

// moved tells the mailbox of a hand-over that counts otherwise than it did, or has
// left.
func (t *tx) moved(h *hand, was standing) {
	is := h.standing()
	m := Moved{
		ID: h.id, Agent: h.agent(), Home: h.home(),
		Count: is.counted - was.counted, Apart: is.apart - was.apart, Left: !h.phase().WithApp(),
	}
	if is == was && !m.Left {
		return
	}
	t.after(func() {
		if f := t.j.hooks.Moved; f != nil {
			f(m)
		}
	})
}

// stepQuietly is a step that home has caused, or knows of already.
func (t *tx) stepQuietly(h *hand, m state.Move, due time.Time) error {
	if _, ok := state.Step(h.phase(), m); !ok {
		return nil
	}
	if _, err := t.step(h, m, due); err != nil {
		return err
	}
	return t.saveHand(h)
}

// revokeLocal ends the hand-over of an intent of our own that has ended.
func (t *tx) revokeLocal(id ID, status state.Status) error {
	h, found, err := t.hand(id)
	if err != nil || !found {
		return err
	}
	h.rec.HomeStatus, h.rec.EndedAtHome = uint32(status), true
	if h.phase().Open() {
		if _, err := t.step(h, state.Revoke, time.Time{}); err != nil {
			return err
		}
	}
	return t.saveHand(h)
}
