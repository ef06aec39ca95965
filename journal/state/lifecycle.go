package state

import "fmt"

// Status is the state of an intent's lifecycle. The names are AXP's.
type Status uint8

const (
	None Status = iota
	Created
	Submitted
	Delivered
	Acknowledged
	InProgress
	Waiting
	Completed
	Failed
	Canceled
	TimedOut
)

var statusNames = [...]string{"NONE", "CREATED", "SUBMITTED", "DELIVERED", "ACKNOWLEDGED", "IN_PROGRESS", "WAITING", "COMPLETED", "FAILED", "CANCELED", "TIMED_OUT"}

func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("STATUS_%d", s)
}

// ParseStatus reads AXP's name of a status; CANCELLED is read as CANCELED.
func ParseStatus(name string) (Status, bool) {
	if name == "CANCELLED" {
		name = "CANCELED"
	}
	for i, n := range statusNames {
		if n == name && i != int(None) {
			return Status(i), true
		}
	}
	return None, false
}

// Terminal reports whether the status is an end: nothing leaves it.
func (s Status) Terminal() bool { return s >= Completed && s <= TimedOut }

// Open reports whether an intent in this status has been accepted and not ended.
func (s Status) Open() bool { return s > None && s < Completed }

// Statuses lists every status an intent can be in.
func Statuses() []Status {
	return []Status{Created, Submitted, Delivered, Acknowledged, InProgress, Waiting, Completed, Failed, Canceled, TimedOut}
}

// Trigger is what may move a lifecycle.
type Trigger uint8

const (
	Accept         Trigger = iota + 1 // the accept commit
	Submit                            // the same commit: durable at home
	Deliver                           // handed to the app
	Acknowledge                       // the app has it and works
	Start                             // work is under way
	Wait                              // waits for somebody or something
	DeliveryFailed                    // one attempt failed
	Transfer                          // offered to another journal
	Complete
	Fail
	Cancel
	Expire
	Assign   // a person is asked: what it waits for, or for an approval before it is offered
	Remind   // of which that person is reminded, or of a scenario between two steps
	Escalate // and another is asked, or told
)

var triggerNames = [...]string{"none", "accept", "submit", "deliver", "acknowledge", "start", "wait", "delivery_failed", "transfer", "complete", "fail", "cancel", "expire", "assign", "remind", "escalate"}

func (t Trigger) String() string {
	if int(t) < len(triggerNames) {
		return triggerNames[t]
	}
	return fmt.Sprintf("trigger_%d", t)
}

// Triggers lists every trigger of the lifecycle.
func Triggers() []Trigger {
	return []Trigger{Accept, Submit, Deliver, Acknowledge, Start, Wait, DeliveryFailed, Transfer, Complete, Fail, Cancel, Expire, Assign, Remind, Escalate}
}

// EventType is the kind of an event in an intent's log. The names are AXP's.
type EventType uint8

const (
	EventCreated EventType = iota + 1
	EventSubmitted
	EventDelivered
	EventAcknowledged
	EventInProgress
	EventWaiting
	EventCompleted
	EventFailed
	EventCanceled
	EventTimedOut
	EventDeliveryFailed
	EventTransfer
	EventHumanTaskAssigned
	EventReminder
	EventEscalated
)

var eventNames = [...]string{"intent.none", "intent.created", "intent.submitted", "intent.delivered", "intent.acknowledged", "intent.in_progress", "intent.waiting", "intent.completed", "intent.failed", "intent.canceled", "intent.timed_out", "intent.delivery_failed", "intent.transfer", "intent.human_task_assigned", "intent.reminder", "intent.escalated"}

func (e EventType) String() string {
	if int(e) < len(eventNames) {
		return eventNames[e]
	}
	return fmt.Sprintf("intent.event_%d", e)
}

// Row is one line of the lifecycle table.
type Row struct {
	From  Status
	On    Trigger
	To    Status
	Event EventType
}

var lifecycle = []Row{
	{None, Accept, Created, EventCreated},
	{Created, Submit, Submitted, EventSubmitted},

	{Submitted, Deliver, Delivered, EventDelivered},
	{Delivered, Deliver, Delivered, EventDelivered},
	{Acknowledged, Deliver, Acknowledged, EventDelivered},
	{InProgress, Deliver, InProgress, EventDelivered},

	{Delivered, Acknowledge, Acknowledged, EventAcknowledged},

	{Submitted, Start, InProgress, EventInProgress},
	{Delivered, Start, InProgress, EventInProgress},
	{Acknowledged, Start, InProgress, EventInProgress},
	{Waiting, Start, InProgress, EventInProgress},

	{Submitted, Wait, Waiting, EventWaiting},
	{Delivered, Wait, Waiting, EventWaiting},
	{Acknowledged, Wait, Waiting, EventWaiting},
	{InProgress, Wait, Waiting, EventWaiting},

	{Submitted, Assign, Submitted, EventHumanTaskAssigned},
	{Waiting, Assign, Waiting, EventHumanTaskAssigned},
	{Waiting, Remind, Waiting, EventReminder},
	{Waiting, Escalate, Waiting, EventEscalated},
	{InProgress, Remind, InProgress, EventReminder},
	{InProgress, Escalate, InProgress, EventEscalated},

	{Submitted, DeliveryFailed, Submitted, EventDeliveryFailed},
	{Delivered, DeliveryFailed, Delivered, EventDeliveryFailed},
	{Acknowledged, DeliveryFailed, Acknowledged, EventDeliveryFailed},
	{InProgress, DeliveryFailed, InProgress, EventDeliveryFailed},

	{Submitted, Transfer, Submitted, EventTransfer},
	{Delivered, Transfer, Delivered, EventTransfer},
	{Acknowledged, Transfer, Acknowledged, EventTransfer},
	{InProgress, Transfer, InProgress, EventTransfer},
	{Waiting, Transfer, Waiting, EventTransfer},

	{InProgress, Complete, Completed, EventCompleted},

	{Created, Fail, Failed, EventFailed},
	{Submitted, Fail, Failed, EventFailed},
	{Delivered, Fail, Failed, EventFailed},
	{Acknowledged, Fail, Failed, EventFailed},
	{InProgress, Fail, Failed, EventFailed},
	{Waiting, Fail, Failed, EventFailed},

	{Created, Cancel, Canceled, EventCanceled},
	{Submitted, Cancel, Canceled, EventCanceled},
	{Delivered, Cancel, Canceled, EventCanceled},
	{Acknowledged, Cancel, Canceled, EventCanceled},
	{InProgress, Cancel, Canceled, EventCanceled},
	{Waiting, Cancel, Canceled, EventCanceled},

	{Created, Expire, TimedOut, EventTimedOut},
	{Submitted, Expire, TimedOut, EventTimedOut},
	{Delivered, Expire, TimedOut, EventTimedOut},
	{Acknowledged, Expire, TimedOut, EventTimedOut},
	{InProgress, Expire, TimedOut, EventTimedOut},
	{Waiting, Expire, TimedOut, EventTimedOut},
}

var lifecycleIndex = func() map[[2]uint8]Row {
	index := make(map[[2]uint8]Row, len(lifecycle))
	for _, r := range lifecycle {
		index[[2]uint8{uint8(r.From), uint8(r.On)}] = r
	}
	return index
}()

// Next returns the row for a status and a trigger, and whether there is one.
func Next(s Status, t Trigger) (Row, bool) {
	r, ok := lifecycleIndex[[2]uint8{uint8(s), uint8(t)}]
	return r, ok
}

// Path returns the rows that lead from s over t: the row itself, or the start
// row and then the row where the table asks an answer to pass IN_PROGRESS, or
// nothing where t cannot happen.
func Path(s Status, t Trigger) []Row {
	if r, ok := Next(s, t); ok {
		return []Row{r}
	}
	start, ok := Next(s, Start)
	if !ok || t != Complete {
		return nil
	}
	end, ok := Next(start.To, t)
	if !ok {
		return nil
	}
	return []Row{start, end}
}
