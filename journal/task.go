package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// assign makes a new intent a person's task: it waits, and counts as taken, since those
// who are asked can see it from here on. It is offered to nobody, or to the sidecar whose
// people are asked: they see it there, too, and whoever decides first has decided.
func (t *tx) assign(l *life, said *wire.Event) error {
	for _, on := range []state.Trigger{state.Wait, state.Assign} {
		if !t.move(l, on, &wire.Event{Actor: said.Actor, Reason: uint32(state.ReasonWaitingHuman)}) {
			return fmt.Errorf("assign %s: %w", l.id, ErrIllegal)
		}
	}
	l.head.Taken = true
	if err := t.turned(l, TaskAssigned, nil); err != nil {
		return err
	}
	if !t.j.ForThreads(l.agent()) {
		t.goTo(l, PlaceParked, time.Time{}, ID{})
		return nil
	}
	// In the lane of completions: it waits for no reader, and no app for it.
	t.goTo(l, PlaceDue, t.now, ID{})
	t.putIndex(idKey(classTask, l.id))
	return nil
}

// AskElsewhere lets tasks that wait here alone be offered to the sidecar of their people,
// where that is known by now. Discovery often is asked for an agent for the first time by
// its first task, and answers later. If we crash in between, the next call goes on.
func (j *Journal) AskElsewhere(ctx context.Context) error {
	if j.elsewhere == nil {
		return nil
	}
	for before := (ID{}); ; {
		ids, next, err := j.waitingHere(before)
		if err != nil {
			return err
		}
		ops := make([]*op, len(ids))
		for i, id := range ids {
			ops[i] = &op{about: id, run: func(t *tx) error { return t.askElsewhere(id) }}
		}
		if err := j.do(ctx, first, ops...); err != nil && j.running() != nil {
			return err
		}
		if before = next; next.IsZero() || ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// waitingHere are parked tasks of people elsewhere, among the next that are parked.
func (j *Journal) waitingHere(before ID) (ids []ID, next ID, err error) {
	err = j.view(func(txn *page) error {
		parked := newestFirst(txn, classParked, before)
		defer parked.Close()
		for scanned := 0; parked.Valid(); parked.Next() {
			if scanned++; scanned > taskScan {
				return nil
			}
			next = ID(parked.Item().Key()[1:])
			var head wire.Head
			found, err := readMessage(txn, idKey(classHead, next), &head)
			if isFault(err) {
				j.suspect(next, err)
				continue
			}
			if err != nil {
				return err
			}
			if found && head.HumanTask && j.elsewhere(j.AgentName(Agent(head.Dest))) {
				ids = append(ids, next)
			}
		}
		next = ID{}
		return nil
	})
	return ids, next, err
}

func (t *tx) askElsewhere(id ID) error {
	l, found, err := t.life(id)
	if err != nil || !found || !l.head.HumanTask || l.place() != PlaceParked || t.j.ForThreads(l.agent()) {
		return err
	}
	lane, err := t.internName(&name{address: t.j.AgentName(l.agent()), threads: true})
	if err != nil {
		return err
	}
	l.head.Dest = uint32(lane.no)
	t.goTo(l, PlaceDue, t.now, ID{})
	t.putIndex(idKey(classTask, l.id))
	return t.saveLife(l)
}

// taskOver takes a task that has ended out of the index of those that are not parked.
func (t *tx) taskOver(l *life) {
	if l.head.HumanTask && t.j.ForThreads(l.agent()) {
		t.delIndex(idKey(classTask, l.id))
	}
}

// remind writes that somebody is reminded of a task, or that it is another's now, where
// the time for that has come. What was missed while the process was down is one
// reminder: the next comes an interval from now.
func (t *tx) remind(l *life) error {
	if due := at(l.head.RemindMs); due.IsZero() || due.After(t.now) || l.status() != state.Waiting {
		return nil
	}
	env, err := t.envelope(l.id)
	if err != nil {
		return err
	}
	r := env.Reminders
	next := ms(t.now) + cmp.Or(r.GetIntervalMs(), r.GetAfterMs())
	if l.head.Reminded < r.GetMost() {
		t.move(l, state.Remind, &wire.Event{Actor: actorSelf})
		if l.head.Reminded++; l.head.Reminded == r.GetMost() && r.GetEscalateTo() == "" {
			next = 0
		}
		if err := t.turned(l, TaskReminded, nil); err != nil {
			return err
		}
	} else {
		if to := r.GetEscalateTo(); to != "" {
			t.move(l, state.Escalate, &wire.Event{Actor: actorSelf})
			l.head.Escalated = true
			if err := errors.Join(t.threadEscalated(l.id, to), t.turned(l, TaskEscalated, nil)); err != nil {
				return err
			}
		}
		next = 0
	}
	l.head.RemindMs = next
	return nil
}

// taskScan bounds how many waiting intents one Tasks reads.
const taskScan = 1000

// Tasks returns open tasks of people that are homed or held here, newest first, those that keep
// agrees to, up to max; and where the next page begins (its before), zero when there
// is nothing more. A keep that agrees to little returns what it has found among
// 1,000 waiting intents.
func (j *Journal) Tasks(before ID, max int, keep func(*Intent) bool) (out []*Intent, next ID, err error) {
	scanned := 0
	next = before
	err = j.views(func(txn *page) (more bool, err error) {
		parked, offered := newestFirst(txn, classParked, next), newestFirst(txn, classTask, next)
		defer parked.Close()
		defer offered.Close()
		for ; len(out) < max && scanned < taskScan; scanned++ {
			if txn.full() {
				return true, nil
			}
			id, ok := laterOf(parked, offered)
			if !ok {
				next = ID{}
				return false, nil
			}
			next = id
			i, err := readIntent(txn, id)
			if err != nil {
				return false, fmt.Errorf("tasks: %w", err)
			}
			if len(i.Envelope.GetHumanTask()) > 0 && i.Status() == state.Waiting && keep(i) {
				out = append(out, i)
			}
		}
		return false, nil
	})
	return out, next, err
}
