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
	if b.door.tripped() {
		s.NextProbe = b.door.nextProbe
	}
	return s
}

// Cause is one thing an intent held here waits for.
type Cause struct {
	Code   string // of state.Cause
	Detail string
	Until  time.Time // zero: not known, or no time ends it
	Peer   string
}

// Why says what delays an intent held here, the nearest cause first; nothing
// where it is not held here.
func (m *Mailbox) Why(id journal.ID) []Cause {
	i, err := m.j.Get(id)
	if err != nil || i.Handover == nil {
		return nil
	}
	h := i.Handover
	cause := func(c state.Cause, until time.Time) Cause {
		return Cause{Code: c.String(), Detail: c.Sentence(), Until: until}
	}
	due := journal.DueAt(h.DueMs)
	switch state.Phase(h.Phase) {
	case state.Leased:
		if m.probes(id) {
			return []Cause{cause(state.CauseProbing, due)}
		}
		return []Cause{cause(state.CauseLeased, due)}
	case state.Working:
		return []Cause{cause(state.CauseWorking, due)}
	case state.Parked:
		return []Cause{cause(state.CauseParked, time.Time{})}
	case state.Spent:
		return []Cause{cause(state.CauseOutOfAttempts, time.Time{})}
	case state.Ready:
		return m.whyReady(journal.Agent(h.Agent), due, cause)
	default:
		return []Cause{cause(state.CauseEnded, time.Time{})}
	}
}

func (m *Mailbox) probes(id journal.ID) bool {
	m.mu.Lock()
	defer m.unlock()
	b := m.mu.where[id]
	return b != nil && b.door.probing && b.door.probe == id
}

func (m *Mailbox) whyReady(no journal.Agent, due time.Time, cause func(state.Cause, time.Time) Cause) (out []Cause) {
	m.mu.Lock()
	defer m.unlock()
	now := time.Now()
	switch limit := now.AddDate(1, 0, 0); {
	case due.After(limit): // out of time: home is about to say so
		return []Cause{cause(state.CauseEnded, time.Time{})}
	case due.After(now):
		out = append(out, cause(state.CauseBackingOff, due))
	}
	b := m.mu.numbers[no]
	switch {
	case b == nil || b.door.shut == NoReader:
		return append(out, cause(state.CauseNoReader, time.Time{}))
	case b.door.tripped():
		return append(out, cause(state.CauseDoorShut, b.door.nextProbe))
	case len(out) == 0:
		return append(out, cause(state.CauseWaitingForApp, time.Time{}))
	}
	return out
}
