package journal

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// ThreadStatus is how far a thread has come.
type ThreadStatus uint32

const (
	ThreadPending ThreadStatus = iota + 1 // nobody has said anything
	ThreadActive
	ThreadDone
)

var threadStatuses = [...]string{ThreadPending: "pending", ThreadActive: "active", ThreadDone: "done"}

func (s ThreadStatus) String() string { return threadStatuses[s] }

// ParseThreadStatus reads the name of a status; zero: it is none.
func ParseThreadStatus(text string) ThreadStatus {
	return ThreadStatus(max(0, slices.Index(threadStatuses[1:], text)+1))
}

// ThreadRole is why a thread is in an inbox.
type ThreadRole uint32

const (
	RoleReceiver ThreadRole = iota + 1
	RoleSender
	RoleReplyTo  // hears of the end
	RoleAsked    // the task names it, or was escalated to it
	RoleDelegate // somebody who has the thread has passed it on
)

// What an entry of a timeline is.
const (
	EntryReceived   = "intent_received"
	EntryMessage    = "message.sent"
	EntryDelegated  = "thread.delegated"
	EntryApproved   = "thread.approved"
	EntryRejected   = "thread.rejected"
	EntryCompletion = "intent_completion_delivered"
	EntryEscalated  = "intent.escalated"
	EntryReminded   = "intent.reminder"
)

const (
	// maxViews is how many may have a thread before it is passed on to nobody more. Those who
	// have it by right, few, come beyond that: its sender and receiver, who hears of its end,
	// whom it is escalated to. An end is not refused because many look at it.
	maxViews = 64
	// maxTimeline bounds a thread's entries in bytes: the record is rewritten with each
	// one, and has to fit one operation together with the largest outcome.
	maxTimeline = 64 << 10
	maxEntries  = 200
	// changesShift leaves room for the changes of one batch below its number.
	changesShift = 16
)

// thread is a thread inside an operation.
type thread struct {
	id    ID
	rec   wire.Thread
	fresh []uint32 // owners who have it since the last save

	repliedBy uint32 // whose message is new; 0: nobody's
}

func (t *tx) thread(id ID) (*thread, bool, error) {
	th := &thread{id: id}
	found, err := t.get(idKey(classThread, id), &th.rec)
	return th, found, err
}

func inboxKey(owner uint32, change uint64, id ID) []byte {
	k := binary.BigEndian.AppendUint32(newKey(classInbox, 1+4+8+16), owner)
	return append(binary.BigEndian.AppendUint64(k, change), id[:]...)
}

// saveThread writes a thread under the next number of change. That is made of the
// batch's own number, which only grows and is durable with it: a reader of changes who
// has come to one has missed none before it, also over a restart.
func (t *tx) saveThread(th *thread) error {
	was := th.rec.Change
	t.told++
	th.rec.Change, th.rec.UpdatedMs = t.seq<<changesShift|t.told, ms(t.now)
	for _, owner := range th.owners() {
		if was != 0 && !slices.Contains(th.fresh, owner) {
			t.delIndex(inboxKey(owner, was, th.id))
		}
		t.putIndex(inboxKey(owner, th.rec.Change, th.id))
	}
	if err := t.put(idKey(classThread, th.id), &th.rec); err != nil {
		return err
	}
	err := t.raise(th)
	th.fresh, th.repliedBy = nil, 0
	return err
}

// owners are the numbers of all inboxes that have it; 0 is that of everybody.
func (th *thread) owners() []uint32 {
	out := []uint32{0}
	for _, v := range th.rec.Views {
		out = append(out, v.Owner)
	}
	return out
}

func (th *thread) view(owner uint32) *wire.ThreadView { return viewOf(&th.rec, owner) }

func viewOf(rec *wire.Thread, owner uint32) *wire.ThreadView {
	i := slices.IndexFunc(rec.Views, func(v *wire.ThreadView) bool { return v.Owner == owner })
	if i < 0 {
		return nil
	}
	return rec.Views[i]
}

// show puts a thread into the inbox of an address; one that is there stays as it is.
func (t *tx) show(th *thread, owner string, role ThreadRole) error {
	if owner == "" {
		return nil
	}
	e, err := t.intern(owner)
	if err != nil {
		return err
	}
	if th.view(uint32(e.no)) != nil {
		return nil
	}
	if role == RoleDelegate && len(th.rec.Views) >= maxViews {
		return ErrThreadFull
	}
	th.rec.Views = append(th.rec.Views, &wire.ThreadView{Owner: uint32(e.no), Role: uint32(role)})
	th.fresh = append(th.fresh, uint32(e.no))
	return nil
}

// newThread makes the thread of an intent, with the entry that says so and no view yet.
func (t *tx) newThread(id, intent ID, env *wire.Envelope) *thread {
	th := &thread{id: id, rec: wire.Thread{
		Intent: intent[:], Status: uint32(ThreadPending), CreatedMs: ms(t.now),
		IntentType: env.IntentType, FromAgent: env.FromAgent, ToAgent: env.ToAgent,
	}}
	if len(env.CompletionOf) == 0 {
		t.enter(th, EntryReceived, env.FromAgent, map[string]any{"intent_type": env.IntentType})
	}
	return th
}

// enter appends what Pannier itself has to say to a timeline: it is never refused.
func (t *tx) enter(th *thread, what, actor string, details any) *wire.ThreadEntry {
	body, err := json.Marshal(details)
	if err != nil {
		panic(err) // texts and numbers always encode
	}
	id := entryID(th.id, t.seq, t.told, len(th.rec.Entries))
	e := &wire.ThreadEntry{Id: id[:], Type: what, Actor: actor, AtMs: ms(t.now), Details: body}
	th.rec.Entries = append(th.rec.Entries, e)
	return e
}

// entryID is made of where the entry stands: an operation that is run again in the next
// batch is another one.
func entryID(thread ID, seq, told uint64, place int) ID {
	var at [20]byte
	binary.BigEndian.PutUint64(at[:], seq)
	binary.BigEndian.PutUint64(at[8:], told)
	binary.BigEndian.PutUint32(at[16:], uint32(place))
	sum := sha256.Sum256(append(append([]byte("pannier thread entry of "), thread[:]...), at[:]...))
	id := ID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return id
}

// hasRoom reports whether somebody may add an entry of that size.
func (th *thread) hasRoom(size int) bool {
	return len(th.rec.Entries) < maxEntries && proto.Size(&th.rec)+size <= maxTimeline
}

// threadOf makes the thread of an intent that is accepted, where somebody is to have
// one: who is asked, and those whose inboxes are kept.
func (t *tx) threadOf(l *life, env *wire.Envelope, asked []string) error {
	if len(env.CompletionOf) > 0 || toSelf(env) {
		return nil // the thread of a completion is that of the intent it tells of
	}
	receiver := l.head.HumanTask || t.keepsInbox(env.ToAgent)
	sender := t.keepsInbox(env.FromAgent)
	if !receiver && !sender {
		return nil
	}
	th := t.newThread(l.id, l.id, env)
	if receiver {
		if err := t.show(th, env.ToAgent, RoleReceiver); err != nil {
			return err
		}
	}
	for _, address := range asked {
		if err := t.show(th, address, RoleAsked); err != nil {
			return err
		}
	}
	if sender {
		if err := t.show(th, env.FromAgent, RoleSender); err != nil {
			return err
		}
	}
	l.head.Thread = true
	return t.saveThread(th)
}

// threadHeld makes the thread of an intent that is held here for another home.
func (t *tx) threadHeld(h *hand, env *wire.Envelope, inbox bool) error {
	if len(env.CompletionOf) > 0 || !inbox && len(env.HumanTask) == 0 && !t.keepsInbox(env.ToAgent) {
		return nil
	}
	h.rec.Threaded = true
	th, found, err := t.thread(h.id)
	if err != nil {
		return err
	}
	if !found {
		th = t.newThread(h.id, h.id, env)
	}
	th.reopen() // it may have been here before
	if err := t.show(th, env.ToAgent, RoleReceiver); err != nil {
		return err
	}
	return errors.Join(t.saveThread(th), t.handTurned(h, TaskAssigned, "", ""))
}

// threadEnded says on a timeline how its intent has ended, and by whom.
func (t *tx) threadEnded(id ID, end state.Status, actor, text string, decided bool) error {
	th, found, err := t.thread(id)
	if err != nil || !found || ThreadStatus(th.rec.Status) == ThreadDone {
		return err
	}
	th.rec.Status = uint32(ThreadDone)
	details := map[string]any{"status": end.String()}
	if text != "" {
		details["reason"] = cut(text, maxText)
	}
	if decided && th.rec.Decision == nil {
		th.rec.Decision = &wire.Decision{Decision: decisionOf(end), Actor: actor, AtMs: ms(t.now)}
	}
	if d := th.rec.Decision; d != nil {
		details["decided_by"], details["decided_at"] = d.Actor, at(d.AtMs).UTC().Format(time.RFC3339Nano)
	}
	t.enter(th, CompletionOf(id, end).Type, cmp.Or(actor, actorSelf), details)
	return t.saveThread(th)
}

// Decisions.
const (
	Approve = "approve"
	Reject  = "reject"
)

func decisionOf(end state.Status) string {
	if end == state.Completed {
		return Approve
	}
	return Reject
}

// threadEscalated puts a task into the inbox of whom it was escalated to.
func (t *tx) threadEscalated(id ID, to string) error {
	th, found, err := t.thread(id)
	if err != nil || !found {
		return err
	}
	if err := t.show(th, to, RoleAsked); err != nil && !errors.Is(err, ErrTooManyAgents) {
		return err
	}
	t.enter(th, EntryEscalated, actorSelf, map[string]any{"escalated_to": to})
	return t.saveThread(th)
}

// threadTold puts an intent of our own into the inbox of somebody who is told of it, and
// is not asked to decide.
func (t *tx) threadTold(l *life, to, what string, details any) error {
	th, found, err := t.thread(l.id)
	if err != nil {
		return err
	}
	if !found {
		of, err := t.envelope(l.id)
		if err != nil {
			return err
		}
		th = t.newThread(l.id, l.id, of)
	}
	if err := t.show(th, to, RoleReplyTo); err != nil && !errors.Is(err, ErrThreadFull) {
		return err
	}
	t.enter(th, what, actorSelf, details)
	l.head.Thread = true
	return t.saveThread(th)
}

// threadCompleted puts a completion into the inbox of whoever is to hear of the end.
// was is the envelope of the intent that has ended, where that is known here.
func (t *tx) threadCompleted(of, completion ID, env, was *wire.Envelope, replyTo string) error {
	th, found, err := t.thread(of)
	if err != nil {
		return err
	}
	switch {
	case found:
	case was != nil:
		th = t.newThread(of, of, was)
	default:
		th = t.newThread(of, completion, env)
	}
	id := completion.String()
	if slices.ContainsFunc(th.rec.Entries, func(e *wire.ThreadEntry) bool { return string(e.Id) == string(completion[:]) }) {
		return nil // a completion that is redriven
	}
	th.rec.Status = uint32(ThreadDone)
	if err := t.show(th, replyTo, RoleReplyTo); err != nil {
		return err
	}
	var said Completion
	details := map[string]any{"message_id": id}
	if json.Unmarshal(env.Payload, &said) == nil && said.Type != "" {
		details["type"], details["intent_id"], details["status"] = said.Type, said.IntentID, said.Status
		for name, body := range map[string]json.RawMessage{"result": said.Result, "error": said.Error} {
			if len(body) > 0 && len(body) <= completionShown {
				details[name] = body
			}
		}
		if said.Reason != "" {
			details["reason"] = said.Reason
		}
	}
	t.enter(th, EntryCompletion, env.FromAgent, details).Id = completion[:]
	return t.saveThread(th)
}

// completionShown is the largest result or error that a timeline shows.
const completionShown = 16 << 10

// endedBy is the refusal of an answer to what has ended; where a person was asked it
// says who decided.
func (l *life) endedBy() *EndedError {
	if n := len(l.events.Events); n > 0 && (l.head.HumanTask || l.head.Thread) {
		return EndedAs(l.events.Events[n-1])
	}
	return &EndedError{Status: l.status()}
}

func (t *tx) endedElsewhere(h *hand) error {
	var log wire.Events
	if h.rec.Threaded {
		if _, err := t.get(idKey(classEvents, h.id), &log); err != nil {
			return err
		}
	}
	if n := len(log.Events); n > 0 {
		return EndedAs(log.Events[n-1])
	}
	return &EndedError{Status: state.Status(h.rec.HomeStatus)}
}

// EndedAs is the refusal of an answer to what has ended by that event: with who decided,
// where that was no rule of Pannier's.
func EndedAs(last *wire.Event) *EndedError {
	e := &EndedError{Status: state.Status(last.Status)}
	if DecidedBy(last) {
		e.By, e.At = last.Actor, at(last.AtMs)
	}
	return e
}

// DecidedBy reports whether an event is an end that somebody has decided.
func DecidedBy(last *wire.Event) bool {
	r := state.Reason(last.Reason)
	return state.Status(last.Status).Terminal() && last.Actor != "" && last.Actor != actorSelf && (r == state.ReasonApp || r == state.ReasonCanceled)
}
