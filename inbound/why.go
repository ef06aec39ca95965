package inbound

import (
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

// DoorStatus is the state of one door.
type DoorStatus struct {
	Open      bool      `json:"open"`
	Reason    string    `json:"reason"` // of Shut
	Since     time.Time `json:"since"`
	NextProbe time.Time `json:"next_probe,omitzero"`
}

// Door describes the door of an agent.
func (m *Mailbox) Door(agent string) DoorStatus {
	m.mu.Lock()
	defer m.unlock()
	b := m.mu.boxes[agent]
	if b == nil {
		return DoorStatus{Reason: NoReader.String()}
	}
	s := DoorStatus{Open: b.door.shut == Open, Reason: b.door.shut.String(), Since: b.door.since}
	if m.mu.inboxes[agent] { // people have no door
		s = DoorStatus{Open: true, Reason: Open.String()}
	}
	if b.door.tripped() && !s.Open {
		s.NextProbe = b.door.nextProbe
	}
	return s
}

// Why says what delays an intent held here, the nearest cause first; nothing
// where it is not held here.
func (m *Mailbox) Why(id journal.ID) []state.Delay {
	i, err := m.get(id)
	if err != nil || i.Handover == nil {
		return nil
	}
	h := i.Handover
	due := journal.DueAt(h.DueMs)
	switch state.Phase(h.Phase) {
	case state.Leased:
		if m.probes(id) {
			return []state.Delay{{Cause: state.CauseProbing, Until: due}}
		}
		return []state.Delay{{Cause: state.CauseLeased, Until: due}}
	case state.Working:
		return []state.Delay{{Cause: state.CauseWorking, Until: due}}
	case state.Parked:
		return []state.Delay{{Cause: state.CauseParked}}
	case state.Spent:
		return []state.Delay{{Cause: state.CauseOutOfAttempts}}
	case state.Ready:
		if journal.OutOfTime(h, time.Now()) { // home is about to say so
			return []state.Delay{{Cause: state.CauseEnded}}
		}
		return m.whyReady(id, journal.Agent(h.Agent), due, time.Now())
	default:
		return []state.Delay{{Cause: state.CauseEnded}}
	}
}

var shutCauses = [...]state.Cause{
	NoReader: state.CauseNoReader, Failing: state.CauseDoorShut, Rejecting: state.CauseDoorShut,
	Unreachable: state.CauseAppUnreachable, Throttled: state.CauseAppThrottled, Gone: state.CauseAppGone,
}

func (m *Mailbox) probes(id journal.ID) bool {
	m.mu.Lock()
	defer m.unlock()
	b := m.mu.where[id]
	return b != nil && b.door.probing && b.door.probe == id
}

func (m *Mailbox) whyReady(id journal.ID, no journal.Agent, due, now time.Time) (out []state.Delay) {
	m.mu.Lock()
	defer m.unlock()
	if due.After(now) {
		out = append(out, state.Delay{Cause: state.CauseBackingOff, Until: due})
	}
	b := m.mu.numbers[no]
	if b != nil && b.flights[id].pushed {
		return []state.Delay{{Cause: state.CauseSending}}
	}
	switch {
	case b != nil && b.killed:
		return append(out, state.Delay{Cause: state.CauseKilled})
	case b == nil || b.door.shut == NoReader:
		return append(out, state.Delay{Cause: state.CauseNoReader})
	case b.door.tripped():
		return append(out, state.Delay{Cause: shutCauses[b.door.shut], Until: b.door.nextProbe})
	case b.door.suspected(id):
		return append(out, state.Delay{Cause: state.CauseSuspect})
	case b.room() > 0 && b.capacity(now) == 0:
		return append(out, state.Delay{Cause: state.CauseRecovering})
	case len(out) == 0:
		return append(out, state.Delay{Cause: state.CauseWaitingForApp})
	}
	return out
}
