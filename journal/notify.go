package journal

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"pannier/journal/state"
	"pannier/journal/wire"
)

const (
	// NotificationType is the intent type of a message about a person's task.
	NotificationType = "task.notification.v1"

	notifyScheme = "notify:"
	// mostNotifications is how many messages one turn of a task makes: they are one
	// commit with it, which must fit beside the largest outcome.
	mostNotifications = 32
	// notificationBody bounds one of them, for the same reason.
	notificationBody = 16 << 10
	// notificationAttempts let a mail server that puts off those it does not know yet
	// (greylisting) have its quarter of an hour.
	notificationAttempts = 20
)

// NotifyAddress is where messages to a target of that name go: as that of a
// subscription, none that an app can name.
func NotifyAddress(target string) string { return notifyScheme + target }

// IsOutside reports whether an address is of no agent, but of a subscriber or of a target
// of notifications.
func IsOutside(address string) bool {
	return strings.HasPrefix(address, subscriberScheme) || strings.HasPrefix(address, notifyScheme)
}

func notifyTarget(address string) string { return strings.TrimPrefix(address, notifyScheme) }

// toSelf reports whether an intent is a delivery of the sidecar's own, by which nobody
// is asked and of which nobody has a thread.
func toSelf(env *wire.Envelope) bool {
	return IsOutside(env.ToAgent)
}

// Turn is what has happened to a person's task.
type Turn uint8

const (
	TaskAssigned  Turn = iota + 1
	TaskDelegated      // somebody who has it has passed it on
	TaskReminded
	TaskEscalated
	TaskDecided
	TaskExpired

	StepTold // no turn of a task: a step of a workflow that tells somebody
)

var turns = [...]string{
	TaskAssigned: "assigned", TaskDelegated: "delegated", TaskReminded: "reminded",
	TaskEscalated: "escalated", TaskDecided: "decided", TaskExpired: "expired",
	StepTold: "step",
}

func (t Turn) String() string { return turns[t] }

// ParseTurn reads the name of a turn of tasks; zero: it is none.
func ParseTurn(text string) Turn {
	for t, name := range turns[:StepTold] {
		if name == text && t > 0 {
			return Turn(t)
		}
	}
	return 0
}

// TaskNews is one turn of a task, for whoever knows who is to be told.
type TaskNews struct {
	ID       ID
	Turn     Turn
	No       uint32         // which of its kind: of reminders and of delegations there are several
	Envelope *wire.Envelope // of the task; not to be changed
	Asked    string         // whose it is from now on, or was at its end
	Status   state.Status
	Deadline time.Time // zero: it has all the time there is
	At       time.Time
	By       string // who decided, or passed it on
	Text     string // why it ended so, or what was said beside
	Title    string // of what a step tells
	Target   string // the one that a step tells; empty: all that hear of such a turn
	Body     []byte // a decision; nil: none
}

// Notification is a message to be sent about a task.
type Notification struct {
	Target  string // its name
	To      string // whom there; empty: the target is one
	Payload []byte
}

// NotificationID is the id of a message: made of all that makes it, so that the same
// turn makes it once.
func NotificationID(n *TaskNews, target, to string) ID {
	return idAfter(n.ID, fmt.Sprintf("notification %s %d to %s at %s", n.Turn, n.No, to, target))
}

// notify accepts the messages about a turn of a task in the batch of the turn. Each is an
// intent to an address of the sidecar's own, with attempts, a door and a dead letter as
// any other.
//
// A crash before the commit undoes the turn and its messages; after it there are both.
func (t *tx) notify(n *TaskNews) error {
	_, err := t.notified(n)
	return err
}

// notified is notify, and says how many messages there are.
func (t *tx) notified(n *TaskNews) (made int, err error) {
	if t.j.tell == nil || t.mute {
		return 0, nil
	}
	n.At = t.now
	for _, m := range t.j.tell(n) {
		if made == mostNotifications {
			break // the config allows no more; this is for the batch's sake
		}
		if err := t.announce("a task at "+m.Target, func() error { return t.send(n, &m) }); err != nil {
			return made, err
		}
		made++
	}
	return made, nil
}

func (t *tx) send(n *TaskNews, m *Notification) error {
	id := NotificationID(n, m.Target, m.To)
	if made, err := t.has(idKey(classHead, id)); err != nil || made || len(m.Payload) > notificationBody {
		return err
	}
	lane, err := t.intern(NotifyAddress(m.Target))
	if errors.Is(err, ErrTooManyAgents) {
		return nil // a task that cannot be told of goes on all the same
	}
	if err != nil {
		return err
	}
	env := &wire.Envelope{
		Id: id[:], IntentType: NotificationType, FromAgent: n.Envelope.ToAgent, ToAgent: lane.address, CorrelationId: n.Envelope.CorrelationId,
		Payload: m.Payload, CreatedAtMs: ms(t.now), MaxDeliveryAttempts: notificationAttempts,
		DeliverByMs: ms(t.now.Add(t.j.deliverBy)), DeadlineAtMs: ms(t.now.Add(t.j.deadline)),
	}
	blob, err := proto.Marshal(env)
	if err != nil {
		return err
	}
	return t.begin(t.newLife(id, env, lane), &wire.Event{Actor: actorSelf}, blob, t.now)
}

// turned tells of a turn of a task at its home. A body is the decision that ended it.
func (t *tx) turned(l *life, turn Turn, body []byte) error {
	if t.j.tell == nil || turn == 0 {
		return nil
	}
	env, err := t.envelope(l.id)
	if err != nil {
		return err
	}
	last := l.events.Events[len(l.events.Events)-1]
	n := &TaskNews{
		ID: l.id, Turn: turn, Envelope: env, Asked: env.ToAgent, Status: l.status(), Deadline: at(l.head.DeadlineAtMs), By: last.Actor, Text: last.Text, Body: body,
	}
	if l.head.Escalated {
		n.Asked = env.Reminders.GetEscalateTo()
	}
	if turn == TaskReminded {
		n.No = l.head.Reminded
	}
	return t.notify(n)
}

// endOf is the turn that an end is. One that Pannier took back, since another decided,
// is none: nobody has to do anything about it.
func endOf(last *wire.Event) Turn {
	switch {
	case state.Status(last.Status) == state.TimedOut:
		return TaskExpired
	case DecidedBy(last):
		return TaskDecided
	}
	return 0
}

// handTurned tells of a turn of a task that another home has sent to people here. Its
// reminders are that home's.
func (t *tx) handTurned(h *hand, turn Turn, by, text string) error {
	if t.j.tell == nil || turn == 0 {
		return nil
	}
	env, err := t.keptEnvelope(h.id)
	if err != nil || len(env.GetHumanTask()) == 0 {
		return err
	}
	return t.notify(&TaskNews{
		ID: h.id, Turn: turn, Envelope: env, Asked: env.ToAgent, Status: state.Status(h.rec.HomeStatus), Deadline: at(h.rec.DeadlineAtMs), By: by, Text: text,
	})
}

// delegated tells whom a task was passed on to.
func (t *tx) delegated(th *thread, a *ThreadAct) error {
	id := ID(th.rec.Intent)
	if open, err := t.intentOpen(id); t.j.tell == nil || a.DelegateTo == "" || err != nil || !open {
		return err
	}
	env, err := t.keptEnvelope(id)
	if err != nil || len(env.GetHumanTask()) == 0 {
		return err
	}
	return t.notify(&TaskNews{
		ID: id, Turn: TaskDelegated, No: uint32(len(th.rec.Entries)), Envelope: env, Asked: a.DelegateTo, Status: state.Waiting, Deadline: at(env.DeadlineAtMs), By: a.Actor, Text: a.Text,
	})
}
