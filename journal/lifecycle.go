package journal

import (
	"encoding/json"
	"time"

	"google.golang.org/protobuf/proto"

	"pannier/journal/failpoint"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// Limits of what an intent may collect in its head and its events.
const (
	maxEvents = 400  // informational events stop being written here; ends never do
	maxText   = 2000 // of one event
	// roomyTexts is how much all texts of a log have, before further ones are cut to
	// shortText: a log is rewritten whole with each event, the last time beside an outcome
	// of up to 1 MiB, and an end must not be refused for what was said before.
	roomyTexts     = 32 << 10
	shortText      = 64
	maxLateAnswers = 4
	maxLateBody    = 4 << 10
	lostLimit      = 5 // an intent that has lost so many holders waits for an operator
)

// life is home's view of one intent inside an operation: its head and events,
// written back by saveLife.
type life struct {
	id     ID
	head   wire.Head
	events wire.Events
}

func (l *life) status() state.Status { return state.Status(l.head.Status) }
func (l *life) open() bool           { return l.status().Open() }
func (l *life) place() Place         { return Place(l.head.Place) }
func (l *life) agent() Agent         { return Agent(l.head.Dest) }

func (l *life) holder() ID {
	if len(l.head.Holder) == 0 {
		return ID{}
	}
	return ID(l.head.Holder)
}

func (t *tx) life(id ID) (*life, bool, error) {
	l := &life{id: id}
	found, err := t.get(idKey(classHead, id), &l.head)
	if err != nil || !found {
		return nil, false, err
	}
	if _, err := t.get(idKey(classEvents, id), &l.events); err != nil {
		return nil, false, err
	}
	return l, true, nil
}

func (t *tx) saveLife(l *life) error {
	last := uint32(len(l.events.Events))
	said := last != l.head.LastSeq // events are only ever appended
	l.head.UpdatedMs, l.head.LastSeq = ms(t.now), last
	if err := t.put(idKey(classHead, l.id), &l.head); err != nil {
		return err
	}
	id := l.id
	t.after(func() { t.j.watches.wake(id) })
	if !said {
		return nil
	}
	return t.put(idKey(classEvents, l.id), &l.events)
}

// move is the one place where a lifecycle changes: it takes the rows of the
// table that lead over the trigger and appends their events. It reports false,
// and changes nothing, where the table has no such row.
func (t *tx) move(l *life, on state.Trigger, e *wire.Event) bool {
	rows := state.Path(l.status(), on)
	if len(rows) == 0 {
		return false
	}
	for i, row := range rows {
		l.head.Status = uint32(row.To)
		keepsStatus := row.From == row.To
		if keepsStatus && len(l.events.Events) >= maxEvents {
			continue
		}
		ev := &wire.Event{AtMs: ms(t.now), Actor: e.Actor, HolderAtMs: e.HolderAtMs}
		if i == len(rows)-1 {
			ev = proto.CloneOf(e)
			ev.AtMs = ms(t.now)
			ev.Text = cut(ev.Text, l.textRoom())
		}
		ev.Type, ev.Status = uint32(row.Event), uint32(row.To)
		l.events.Events = append(l.events.Events, ev)
	}
	if e.Reason != 0 {
		l.head.Reason = e.Reason
	}
	return true
}

// textRoom is how long the text of a further event may be.
func (l *life) textRoom() int {
	said := 0
	for _, e := range l.events.Events {
		said += len(e.Text)
	}
	if said > roomyTexts {
		return shortText
	}
	return maxText
}

// end moves the intent to a terminal status with its outcome, takes it out of every
// index, and accepts its completion where somebody is to be told. It reports false where it has ended already.
func (t *tx) end(l *life, on state.Trigger, e *wire.Event, body []byte, text string) (bool, error) {
	ended, local, ok, err := t.close(l, on, e, body, text)
	if err != nil || !ok {
		return false, err
	}
	if l.head.Thread {
		if err := t.threadEnded(l.id, l.status(), e.Actor, text, l.head.HumanTask && DecidedBy(l.events.Events[len(l.events.Events)-1])); err != nil {
			return false, err
		}
	}
	if l.head.HumanTask {
		if err := t.turned(l, endOf(l.events.Events[len(l.events.Events)-1]), body); err != nil {
			return false, err
		}
	}
	if err := t.complete(l, body, text); err != nil {
		return false, err
	}
	if err := t.endFamily(l, e, body, text); err != nil {
		return false, err
	}
	return true, t.leave(l, ended, local)
}

// close is the end of one intent by itself: its status, its outcome and its place. local says
// that it was in our own mailbox, ok that it was open.
func (t *tx) close(l *life, on state.Trigger, e *wire.Event, body []byte, text string) (ended Ended, local, ok bool, err error) {
	e.Outcome = true
	if !t.move(l, on, e) {
		return Ended{}, false, false, nil
	}
	out, err := proto.Marshal(&wire.Outcome{Status: l.head.Status, Body: body, Text: cut(text, maxText)})
	if err != nil {
		return Ended{}, false, false, err
	}
	t.putChunks(classOutcome, l.id, out)
	holder := l.holder()
	ended = Ended{ID: l.id, Agent: l.agent(), Holder: holder, OfferNo: l.head.OfferNo, Status: l.status(), Reason: state.Reason(e.Reason)}
	local = l.place() == PlaceLocal
	t.goTo(l, PlaceEnded, time.Time{}, holder)
	if l.head.ExpiryMs != 0 {
		t.delIndex(timeKey(classExpiry, l.head.ExpiryMs, l.id[:]))
		l.head.ExpiryMs = 0
	}
	l.head.RemindMs, l.head.WakeMs = 0, 0
	t.taskOver(l)
	t.lay(l, on, state.Reason(e.Reason))
	t.keepLife(l, len(out))
	ended.Events = l.toldEvents()
	t.ended(l)
	return ended, local, true, t.saveLife(l)
}

// leave tells whoever has an intent that has ended.
func (t *tx) leave(l *life, ended Ended, local bool) error {
	if local {
		return t.revokeLocal(l.id, l.status())
	}
	t.after(func() {
		failpoint.Hit(failpoint.HomeAfterEnd)
		if f := t.j.hooks.Ended; f != nil {
			f(ended)
		}
	})
	return nil
}

// goTo takes the intent out of the index it is in and puts it into the one of
// its new place. due counts for PlaceDue, holder for PlaceHeld (and is kept on
// record otherwise).
func (t *tx) goTo(l *life, to Place, due time.Time, holder ID) {
	switch l.place() {
	case PlaceDue:
		t.delIndex(dueKey(classDue, l.agent(), l.head.DueMs, l.id))
	case PlaceHeld:
		t.delIndex(heldKey(l.holder(), l.id))
	case PlaceParked:
		t.delIndex(idKey(classParked, l.id))
	}
	l.head.Place = uint32(to)
	if !holder.IsZero() {
		l.head.Holder = holder[:]
	}
	switch to {
	case PlaceDue:
		l.head.DueMs = ms(due)
		key := dueKey(classDue, l.agent(), l.head.DueMs, l.id)
		t.putIndex(key)
		agent := l.agent()
		t.inserted(agentPrefix(classDue, agent), key, func() {
			if f := t.j.hooks.Due; f != nil {
				f(agent)
			}
		})
	case PlaceHeld:
		t.putIndex(heldKey(holder, l.id))
	case PlaceParked:
		t.putIndex(idKey(classParked, l.id))
	}
}

// deliveryError is the outcome of an intent that ended for a delivery reason.
func deliveryError(code string, reason state.Reason, text string, attempts uint32) []byte {
	body, err := json.Marshal(map[string]any{
		"code": code, "reason": reason.String(), "message": text, "attempts": attempts,
	})
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return body
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}
