package journal

import (
	"cmp"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"
	"google.golang.org/protobuf/proto"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// assign makes a new intent a person's task: it waits, is offered to nobody, and counts
// as taken, since those who are asked can see it from here on.
func (t *tx) assign(l *life, said *wire.Event) error {
	for _, on := range []state.Trigger{state.Wait, state.Assign} {
		if !t.move(l, on, &wire.Event{Actor: said.Actor, Reason: uint32(state.ReasonWaitingHuman)}) {
			return fmt.Errorf("assign %s: %w", l.id, ErrIllegal)
		}
	}
	l.head.Taken = true
	t.goTo(l, PlaceParked, time.Time{}, ID{})
	return nil
}

// remind writes that somebody is reminded of a task, or that it is another's now, where
// the time for that has come. What was missed while the process was down is one
// reminder: the next comes an interval from now.
func (t *tx) remind(l *life) error {
	if due := at(l.head.RemindMs); due.IsZero() || due.After(t.now) || l.status() != state.Waiting {
		return nil
	}
	blob, found, err := t.getChunks(classEnvelope, l.id)
	if err != nil {
		return err
	}
	var env wire.Envelope
	if err := proto.Unmarshal(blob, &env); err != nil || !found {
		return &CorruptError{Key: chunkKey(classEnvelope, l.id, 0), Why: "the envelope of a task is gone or wrong"}
	}
	r := env.Reminders
	next := ms(t.now) + cmp.Or(r.GetIntervalMs(), r.GetAfterMs())
	if l.head.Reminded < r.GetMost() {
		t.move(l, state.Remind, &wire.Event{Actor: actorSelf})
		if l.head.Reminded++; l.head.Reminded == r.GetMost() && r.GetEscalateTo() == "" {
			next = 0
		}
	} else {
		if to := r.GetEscalateTo(); to != "" {
			t.move(l, state.Escalate, &wire.Event{Actor: actorSelf})
			l.head.Escalated = true
			if err := t.threadEscalated(l.id, to); err != nil {
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

// Tasks returns open tasks of people that are homed here, newest first, those that keep
// agrees to, up to max; and where the next page begins (its before), zero when there
// is nothing more. A keep that agrees to little returns what it has found among
// 1,000 waiting intents.
func (j *Journal) Tasks(before ID, max int, keep func(*Intent) bool) (out []*Intent, next ID, err error) {
	err = j.view(func(txn *badger.Txn) error {
		it := newestFirst(txn, classParked, before)
		defer it.Close()
		for scanned := 0; it.Valid(); it.Next() {
			if len(out) == max || scanned == taskScan {
				return nil
			}
			scanned++
			next = ID(it.Item().Key()[1:17])
			i, err := readIntent(txn, next)
			if err != nil {
				return fmt.Errorf("tasks: %w", err)
			}
			if i.Head != nil && i.Head.HumanTask && keep(i) {
				out = append(out, i)
			}
		}
		next = ID{}
		return nil
	})
	return out, next, err
}
