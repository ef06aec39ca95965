package journal

import (
	"fmt"
	"time"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// handToInbox hands an intent to the people who read the inbox of its agent: held, shown
// and told are one commit. Its thread is the hand-over, so no clock moves it, it counts
// against no credit, and it is taken. A person's word ends it or lets it go on.
//
// If we crash before, home offers it again; after, home hears of it by the report.
func (t *tx) handToInbox(h *hand, env *wire.Envelope) error {
	h.rec.Thread, h.rec.Freed, h.rec.Taken = true, true, true
	if _, err := t.step(h, state.Hold, never); err != nil {
		return err
	}
	return t.parkInInbox(h, env)
}

func (t *tx) parkInInbox(h *hand, env *wire.Envelope) error {
	if _, err := t.step(h, state.Park, never); err != nil { // what that tells is not so: it waits for nothing but people
		return err
	}
	h.rec.Handovers++
	h.see(state.Deliver)
	if h.home() == t.j.self.Journal {
		if err := t.showHere(h.id, env); err != nil {
			return err
		}
	}
	if err := t.saveHand(h); err != nil {
		return err
	}
	return t.tell(h, state.FactDelivered, &wire.Report{Attempt: h.rec.Handovers, Thread: true})
}

// showHere puts an intent of our own into the inbox of its agent.
func (t *tx) showHere(id ID, env *wire.Envelope) error {
	l, found, err := t.life(id)
	if err != nil || !found {
		return err
	}
	th, found, err := t.thread(id)
	if err != nil {
		return err
	}
	if !found {
		th = t.newThread(id, id, env)
	}
	if err := t.show(th, env.ToAgent, RoleReceiver); err != nil {
		return err
	}
	if len(th.fresh) > 0 {
		if err := t.saveThread(th); err != nil {
			return err
		}
	}
	l.head.Thread = true
	return t.saveLife(l)
}

// inInbox reports whether people have it.
func (h *hand) inInbox() bool { return h.rec.Thread && h.phase() == state.Parked }

// goOnInInbox takes the word that somebody is at it, or that it waits on: the thread
// stays what it is.
func (t *tx) goOnInInbox(h *hand, a Answer) error {
	if h.rec.HumanTask {
		return fmt.Errorf("%w: a person's task is decided, not gone on with", ErrIllegal)
	}
	fact := state.FactWorking
	if a.Trigger == state.Wait {
		fact = state.FactWaiting
		h.see(state.Wait)
	} else {
		h.seeWorking(true)
	}
	if err := t.saveHand(h); err != nil {
		return err
	}
	return t.tell(h, fact, &wire.Report{Actor: a.Actor, Text: a.Text, Reason: uint32(a.Reason), Answer: uint32(state.Start)})
}

// openMail is how many open hand-overs an agent has here. It reads memory only.
func (j *Journal) openMail(a Agent) int {
	j.ledger.mu.Lock()
	defer j.ledger.mu.Unlock()
	x := j.ledger.mu.agents[queue{classMail, a}]
	if x == nil {
		return 0
	}
	n, later, _ := x.count(ms(time.Now()))
	return n + later
}

// OpenMail is openMail of an address.
func (j *Journal) OpenMail(agent string) int {
	no, known := j.AgentNo(agent)
	if !known {
		return 0
	}
	return j.openMail(no)
}
