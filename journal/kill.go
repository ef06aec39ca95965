package journal

import (
	"context"

	"pannier/journal/wire"
)

// AgentEventType says what an operator did to an agent.
type AgentEventType uint32

const (
	AgentKilled AgentEventType = iota + 1
	AgentResumed
)

// maxAgentEvents bounds the record of what operators did to agents.
const maxAgentEvents = 200

// SetKilled says durably whether an agent is killed: nothing from it is
// accepted and nothing is handed to it. What is addressed to it stays where it
// is. Its event is in the same commit; a repeat changes nothing and has none.
func (j *Journal) SetKilled(ctx context.Context, address string, killed bool, actor string) error {
	return j.do(ctx, first, &op{run: func(t *tx) error {
		e, err := t.intern(address)
		if err != nil || e.killed == killed {
			return err
		}
		kind := AgentResumed
		if killed {
			kind = AgentKilled
		}
		if err := t.addAgentEvent(address, kind, actor); err != nil {
			return err
		}
		t.after(func() {
			j.names.mu.Lock()
			e.killed = killed
			j.names.mu.Unlock()
		})
		return t.changeName(e, func(rec *wire.Name) { rec.Killed = killed })
	}})
}

func (t *tx) addAgentEvent(address string, kind AgentEventType, actor string) error {
	var log wire.AgentEvents
	if _, err := t.get(agentEventsKey, &log); err != nil {
		return err
	}
	id := NewID()
	log.Events = append(log.Events, &wire.AgentEvent{Id: id[:], Agent: address, Type: uint32(kind), Actor: actor})
	log.Events = log.Events[max(0, len(log.Events)-maxAgentEvents):]
	return t.put(agentEventsKey, &log)
}

// killed is Killed on the committer. A kill in the same batch is not seen: the
// two come at once, and either order is true.
func (t *tx) killed(address string) bool {
	e := t.j.names.find(address)
	return e != nil && e.killed
}

// Killed reports whether an agent is killed.
func (j *Journal) Killed(address string) bool {
	n := j.names
	n.mu.RLock()
	defer n.mu.RUnlock()
	e := n.mu.byName[address]
	return e != nil && e.killed
}

// AgentEvents returns what operators did to agents lately, newest first.
func (j *Journal) AgentEvents() ([]*wire.AgentEvent, error) {
	var log wire.AgentEvents
	err := j.view(func(txn *page) error {
		_, err := readMessage(txn, agentEventsKey, &log)
		return err
	})
	for i, k := 0, len(log.Events)-1; i < k; i, k = i+1, k-1 {
		log.Events[i], log.Events[k] = log.Events[k], log.Events[i]
	}
	return log.Events, err
}
