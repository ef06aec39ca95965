package journal

import (
	"context"
	"errors"
	"slices"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// ThreadVerb is what somebody does with a thread.
type ThreadVerb uint8

const (
	ThreadReply ThreadVerb = iota + 1
	ThreadDelegate
	ThreadDecide
	ThreadDelete
	ThreadRead
)

// ThreadAct is one act on a thread.
type ThreadAct struct {
	Verb  ThreadVerb
	Owner string // whose view of it; "": the receiver's
	Actor string
	Key   *Key // nil: none

	Text       string // message, note or comment
	DelegateTo string // "": nobody in particular
	Decision   string // Approve or Reject
	// Word is what the act says to the intent, where that is open; nil: nothing.
	Word *Answer

	Both     bool // ThreadDelete: for all who have the thread, else for Owner
	Messages []ID // which; nil: the newest
	Limit    int  // of those, at most
}

// ThreadActed is what became of an act.
type ThreadActed struct {
	Thread   *Thread
	Owner    string // whose view it is
	Applied  bool   // the intent was changed by it
	Answered Answered
	Deleted  []ID
	Replayed bool // the key was known: this is the first answer again
}

// ActOnThread does something with a thread, and to its intent, in one commit.
func (j *Journal) ActOnThread(ctx context.Context, id ID, a ThreadAct) (res ThreadActed, err error) {
	err = j.do(ctx, first, &op{run: func(t *tx) error {
		res = ThreadActed{}
		return t.actOnThread(id, &a, &res)
	}})
	return res, err
}

func (t *tx) actOnThread(id ID, a *ThreadAct, res *ThreadActed) error {
	th, owner, err := t.viewedThread(id, a.Owner)
	if err != nil {
		return err
	}
	res.Owner = t.j.AgentName(Agent(owner))
	if a.Key != nil {
		d, err := t.known(a.Key)
		if err != nil {
			return err
		}
		if d != nil {
			if a.Verb == ThreadDecide {
				if err := t.overruled(th, a.Decision); err != nil {
					return err
				}
			}
			res.Replayed = true
			for _, m := range d.Chosen {
				res.Deleted = append(res.Deleted, ID(m))
			}
			res.Thread = t.j.snapshotOf(id, &th.rec)
			return nil
		}
	}
	if err := t.doToThread(th, owner, a, res); err != nil {
		return err
	}
	if th, _, err = t.thread(id); err != nil { // with what the end of its intent has added
		return err
	}
	res.Thread = t.j.snapshotOf(id, &th.rec)
	if a.Key == nil {
		return nil
	}
	d := &wire.Dedupe{CreatedMs: ms(t.now), Thing: id[:]}
	for _, m := range res.Deleted {
		d.Chosen = append(d.Chosen, m[:])
	}
	return t.remember(a.Key, d)
}

// overruled refuses to say again that a decision counts, where home has had another end
// before it.
func (t *tx) overruled(th *thread, decision string) error {
	switch kept := th.rec.Decision; {
	case kept != nil && kept.Decision != decision:
		return decidedAs(kept)
	case kept == nil && th.rec.Ruled:
		h, _, err := t.hand(th.id)
		return errors.Join(err, t.endedElsewhere(h))
	}
	return nil
}

// viewedThread is a thread as its owner has it.
func (t *tx) viewedThread(id ID, owner string) (*thread, uint32, error) {
	th, found, err := t.thread(id)
	if err != nil {
		return nil, 0, err
	}
	if !found {
		return nil, 0, ErrNoThread // whoever acts has looked first, which makes it
	}
	if owner == "" {
		owner = th.rec.ToAgent
		if no, ok := t.j.AgentNo(owner); !ok || th.view(uint32(no)) == nil {
			return th, th.rec.Views[0].Owner, nil
		}
	}
	no, ok := t.j.AgentNo(owner)
	if !ok || th.view(uint32(no)) == nil {
		return nil, 0, ErrNoThread
	}
	return th, uint32(no), nil
}

func (t *tx) doToThread(th *thread, owner uint32, a *ThreadAct, res *ThreadActed) error {
	switch a.Verb {
	case ThreadReply:
		return t.reply(th, owner, a, res)
	case ThreadDelegate:
		return t.delegate(th, a)
	case ThreadDecide:
		return t.decide(th, a, res)
	case ThreadDelete:
		return t.deleteMessages(th, owner, a, res)
	default:
		th.view(owner).ReadMs = ms(t.now)
		return t.put(idKey(classThread, th.id), &th.rec) // nobody else's business, and no change
	}
}

// stir makes a thread one that somebody is at.
func (th *thread) stir() {
	if ThreadStatus(th.rec.Status) == ThreadPending {
		th.rec.Status = uint32(ThreadActive)
	}
}

func (t *tx) reply(th *thread, owner uint32, a *ThreadAct, res *ThreadActed) error {
	if !th.hasRoom(len(a.Text)) {
		return ErrThreadFull
	}
	e := t.enter(th, EntryMessage, a.Actor, nil)
	e.Details = details("message_id", ID(e.Id).String(), "message", a.Text)
	e.By, th.repliedBy = owner, owner
	th.stir()
	if err := t.saveThread(th); err != nil {
		return err
	}
	return t.sayToIntent(th, a, res)
}

func (t *tx) delegate(th *thread, a *ThreadAct) error {
	if !th.hasRoom(len(a.Text)) {
		return ErrThreadFull
	}
	if err := t.show(th, a.DelegateTo, RoleDelegate); err != nil {
		return err
	}
	t.enter(th, EntryDelegated, a.Actor, nil).Details = details("delegate_to", a.DelegateTo, "note", a.Text)
	th.stir()
	return errors.Join(t.saveThread(th), t.delegated(th, a))
}

// decide takes a decision. The first counts: one that says the same again changes
// nothing, and one that contradicts it is refused. Where the intent has ended by other
// means, the decision is noted and changes nothing; of a person's task, where it would be
// believed to count, it is refused.
func (t *tx) decide(th *thread, a *ThreadAct, res *ThreadActed) error {
	if d := th.rec.Decision; d != nil {
		if d.Decision == a.Decision {
			return nil
		}
		return decidedAs(d)
	}
	open, err := t.decidable(ID(th.rec.Intent))
	if err != nil {
		return err
	}
	what := EntryApproved
	if a.Decision == Reject {
		what = EntryRejected
	}
	th.rec.Decision = &wire.Decision{Decision: a.Decision, Actor: a.Actor, AtMs: ms(t.now), Comment: cut(a.Text, maxText)}
	t.enter(th, what, a.Actor, nil).Details = details("comment", a.Text)
	if !open {
		th.rec.Status = uint32(ThreadDone)
	}
	if err := t.saveThread(th); err != nil {
		return err
	}
	return t.sayToIntent(th, a, res)
}

// decidable reports whether a decision ends an intent. It refuses one on a task that
// nobody is asked about any more.
func (t *tx) decidable(id ID) (bool, error) {
	l, homed, err := t.life(id)
	switch {
	case err != nil:
		return false, err
	case homed && l.head.HumanTask && !l.open():
		return false, l.endedBy()
	case homed:
		return l.open(), nil
	}
	h, held, err := t.hand(id)
	switch {
	case err != nil || !held || h.phase().Open():
		return held, err
	case h.withdrawn():
		return false, errWithdrawn
	case h.rec.HumanTask:
		return false, t.endedElsewhere(h)
	}
	return false, nil
}

func decidedAs(d *wire.Decision) error {
	return &DecidedError{Decision: d.Decision, By: d.Actor, At: at(d.AtMs)}
}

func (t *tx) intentOpen(id ID) (bool, error) {
	l, homed, err := t.life(id)
	if err != nil || homed {
		return homed && l.open(), err
	}
	h, held, err := t.hand(id)
	return held && h.phase().Open(), err
}

// sayToIntent is what an act means for the intent itself.
func (t *tx) sayToIntent(th *thread, a *ThreadAct, res *ThreadActed) error {
	if a.Word == nil {
		return nil
	}
	err := t.answer(ID(th.rec.Intent), *a.Word, &res.Answered)
	var ended *EndedError
	switch {
	case errors.As(err, &ended), errors.Is(err, ErrNotFound):
		return nil // it is a thread alone by now
	case err != nil && a.Word.Trigger == state.Start && errors.Is(err, ErrIllegal):
		return nil // a message is no less said
	}
	res.Applied = err == nil
	return err
}

// deleteMessages takes messages off a timeline: for the owner alone, or, of the owner's
// own, for all. Other entries stay, so that a timeline is never empty.
func (t *tx) deleteMessages(th *thread, owner uint32, a *ThreadAct, res *ThreadActed) error {
	var left []*wire.ThreadEntry
	for i := len(th.rec.Entries) - 1; i >= 0; i-- {
		e := th.rec.Entries[i]
		chosen := e.By != 0 && !slices.Contains(e.Hidden, owner) && (!a.Both || e.By == owner) &&
			(a.Limit == 0 || len(res.Deleted) < a.Limit) && (a.Messages == nil || slices.Contains(a.Messages, ID(e.Id)))
		switch {
		case !chosen:
		case a.Both:
			res.Deleted = append(res.Deleted, ID(e.Id))
			continue
		default:
			res.Deleted = append(res.Deleted, ID(e.Id))
			e.Hidden = append(e.Hidden, owner)
		}
		left = append(left, e)
	}
	if len(res.Deleted) == 0 {
		return nil
	}
	slices.Reverse(left)
	th.rec.Entries = left
	return t.saveThread(th)
}
