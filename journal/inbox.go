package journal

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/dgraph-io/badger/v4"

	"pannier/journal/wire"
)

// inboxState says whether threads are kept for an address. Those of tasks, of
// completions and of what is delegated are kept in any case; of everything else that it
// sends or is sent, from the first look into its inbox on: it would be two writes
// more in the life of each intent, for agents whose inbox nobody reads.
type inboxState uint32

const (
	inboxKept   inboxState = iota + 1 // from here on
	inboxFilled                       // and what was here before has been looked through
)

const (
	fillMost  = 1000 // intents of before the first look that get threads: the newest
	fillScans = 3    // calls of List that look for them
)

func (t *tx) keepsInbox(address string) bool { return t.j.inboxOf(address) != 0 }

func (j *Journal) inboxOf(address string) inboxState {
	n := j.names
	n.mu.RLock()
	defer n.mu.RUnlock()
	if e := n.mu.byName[address]; e != nil {
		return e.inbox
	}
	return 0
}

// KeepInbox keeps threads of all that an address sends or is sent from now on, durably,
// and makes those of what is here already. If we crash in between, the next look
// makes the rest.
func (j *Journal) KeepInbox(ctx context.Context, address string) error {
	if j.inboxOf(address) == inboxFilled {
		return nil
	}
	if err := j.setInbox(ctx, address, inboxKept); err != nil {
		return err
	}
	ids, err := j.lettersOf(address)
	if err != nil {
		return err
	}
	ops := make([]*op, 0, len(ids))
	for i := len(ids) - 1; i >= 0; i-- { // the oldest first: the newest is then the last to change
		ops = append(ops, &op{run: func(t *tx) error {
			_, err := t.fill(ids[i], address)
			if errors.Is(err, ErrThreadFull) {
				return nil
			}
			return err
		}})
	}
	if err := j.do(ctx, first, ops...); err != nil {
		return err
	}
	return j.setInbox(ctx, address, inboxFilled)
}

func (j *Journal) setInbox(ctx context.Context, address string, to inboxState) error {
	return j.do(ctx, first, &op{run: func(t *tx) error {
		e, err := t.intern(address)
		if err != nil || e.inbox >= to {
			return err
		}
		t.after(func() {
			j.names.mu.Lock()
			e.inbox = to
			j.names.mu.Unlock()
		})
		return t.changeName(e, func(rec *wire.Name) { rec.Inbox = uint32(to) })
	}})
}

// lettersOf are the intents from or to an address, newest first.
func (j *Journal) lettersOf(address string) (ids []ID, err error) {
	before := ID{}
	for range fillScans {
		_, next, err := j.List(Filter{Before: before, Limit: 1, Keep: func(i *Intent) bool {
			if i.Envelope != nil && len(ids) < fillMost && isParty(i, address) {
				ids = append(ids, i.ID)
			}
			return false // so that no bodies are kept in memory
		}})
		if err != nil || next.IsZero() || len(ids) == fillMost {
			return ids, err
		}
		before = next
	}
	return ids, nil
}

// isParty reports whether the thread of an intent belongs into the inbox of an address.
func isParty(i *Intent, address string) bool {
	_, ok := roleOf(i, address)
	return ok
}

func roleOf(i *Intent, address string) (ThreadRole, bool) {
	e := i.Envelope
	ended := i.Head != nil && !i.Status().Open()
	switch {
	case toSelf(e):
		return 0, false
	case len(e.CompletionOf) > 0:
		return RoleReplyTo, e.ToAgent == address && i.Handover != nil && i.Handover.Thread
	case e.ToAgent == address:
		return RoleReceiver, true
	case e.FromAgent == address:
		return RoleSender, true
	case e.ReplyTo == address:
		return RoleReplyTo, ended
	case i.Head.GetEscalated() && e.Reminders.GetEscalateTo() == address:
		return RoleAsked, true
	}
	return 0, false
}

// fill makes the thread of an intent that had none when it came, and puts it into the
// inbox of an address that is a party to it. It returns nil where there is none.
func (t *tx) fill(id ID, address string) (*thread, error) {
	t.mute = true
	i, err := t.intent(id)
	if err != nil || i == nil || i.Envelope == nil {
		return nil, err
	}
	role, ok := roleOf(i, address)
	if !ok {
		return nil, nil
	}
	if of, err := IDOf(i.Envelope.CompletionOf); err == nil && len(i.Envelope.CompletionOf) > 0 {
		return nil, t.threadCompleted(of, id, i.Envelope, nil, address)
	}
	th, found, err := t.thread(id)
	if err != nil {
		return nil, err
	}
	if !found {
		th = t.newThread(id, id, i.Envelope)
		th.rec.CreatedMs, th.rec.Entries[0].AtMs = i.Envelope.CreatedAtMs, i.Envelope.CreatedAtMs
	}
	if found && i.Envelope.ToAgent == address && th.rec.Views == nil {
		role = RoleReceiver
	}
	if err := t.show(th, address, role); err != nil {
		return nil, err
	}
	if len(th.fresh) == 0 {
		return th, nil
	}
	if err := t.saveThread(th); err != nil {
		return nil, err
	}
	if status := i.Status(); status.Terminal() {
		if err := t.threadEnded(id, status, "", "", false); err != nil {
			return nil, err
		}
		th, _, err = t.thread(id)
		return th, err
	}
	return th, t.markThreaded(i)
}

// markThreaded lets an open intent know that it has a thread, which is to hear of its
// end.
func (t *tx) markThreaded(i *Intent) error {
	if i.Head != nil {
		i.Head.Thread = true
		return t.put(idKey(classHead, i.ID), i.Head)
	}
	i.Handover.Threaded = true
	return t.put(idKey(classHandover, i.ID), i.Handover)
}

// intent is what this journal knows of an intent inside an operation; nil: nothing.
// Outcome and Policy are left out.
func (t *tx) intent(id ID) (*Intent, error) {
	i := &Intent{ID: id, Head: &wire.Head{}, Handover: &wire.Handover{}}
	homed, err := t.get(idKey(classHead, id), i.Head)
	if err != nil {
		return nil, err
	}
	held, err := t.get(idKey(classHandover, id), i.Handover)
	if err != nil || !homed && !held {
		return nil, err
	}
	if !homed {
		i.Head = nil
	}
	if !held {
		i.Handover = nil
	}
	i.Envelope, err = t.keptEnvelope(id)
	return i, err
}

// ThreadFilter chooses what Threads and ThreadChanges return.
type ThreadFilter struct {
	Owner  string // whose inbox; "": that of everybody
	Status ThreadStatus
	Limit  int
	Keep   func(*Thread) bool // nil: all
}

// Thread is a snapshot of a thread.
type Thread struct {
	ID ID
	*wire.Thread
	Owners []string // addresses of its views, in their order
}

// View is the one of an address, nil where it has none.
func (th *Thread) View(owner string) *wire.ThreadView {
	for i, o := range th.Owners {
		if o == owner {
			return th.Views[i]
		}
	}
	return nil
}

func (j *Journal) snapshotOf(id ID, rec *wire.Thread) *Thread {
	th := &Thread{ID: id, Thread: rec}
	for _, v := range rec.Views {
		th.Owners = append(th.Owners, j.AgentName(Agent(v.Owner)))
	}
	return th
}

// ownerNo is the number of an inbox; ok is false where nothing is in it.
func (j *Journal) ownerNo(owner string) (no uint32, ok bool) {
	if owner == "" {
		return 0, true
	}
	a, ok := j.AgentNo(owner)
	return uint32(a), ok
}

// threadScan bounds how many threads one call reads. It reads one page, and less of them
// where that is full: a thread that is changed meanwhile is not missed, and not told twice.
const threadScan = 2000

// Threads returns those of an inbox, the one that was changed last first, that were
// changed before the change given (0: all), and where the next page begins (0: there is
// no more).
func (j *Journal) Threads(f ThreadFilter, before uint64) (out []*Thread, next uint64, err error) {
	return j.walkInbox(f, before, true)
}

// ThreadChanges returns those that were changed after a change, the oldest change
// first, and whether there are more.
func (j *Journal) ThreadChanges(f ThreadFilter, after uint64) (out []*Thread, more bool, err error) {
	out, next, err := j.walkInbox(f, after, false)
	return out, next != 0, err
}

func (j *Journal) walkInbox(f ThreadFilter, from uint64, back bool) (out []*Thread, next uint64, err error) {
	owner, ok := j.ownerNo(f.Owner)
	if !ok {
		return nil, 0, nil
	}
	err = j.view(func(txn *page) error {
		opts := badger.DefaultIteratorOptions
		opts.PrefetchValues, opts.Reverse = false, back
		prefix := binary.BigEndian.AppendUint32([]byte{classInbox}, owner)
		opts.Prefix = prefix
		it := txn.NewIterator(opts)
		defer it.Close()
		switch {
		case !back:
			it.Seek(inboxKey(owner, from+1, ID{}))
		case from == 0:
			it.Seek(append(prefix, 0xff))
		default:
			it.Seek(inboxKey(owner, from, ID{}))
		}
		last := uint64(0)
		for scanned := 0; it.Valid(); it.Next() {
			if len(out) == f.Limit || scanned == threadScan || txn.full() {
				next = last
				return nil
			}
			scanned++
			key := it.Item().Key()
			change, id := binary.BigEndian.Uint64(key[5:13]), ID(key[13:29])
			rec := &wire.Thread{}
			found, err := readMessage(txn, idKey(classThread, id), rec)
			if isFault(err) {
				j.suspect(id, err)
				found, err = false, nil // it hides no other
			}
			if err != nil {
				return err
			}
			last = change
			th := j.snapshotOf(id, rec)
			if found && rec.Change == change && (f.Status == 0 || ThreadStatus(rec.Status) == f.Status) && (f.Keep == nil || f.Keep(th)) {
				out = append(out, th)
			}
		}
		return nil
	})
	return out, next, err
}

// Thread returns the thread of an id, or ErrNoThread.
func (j *Journal) Thread(id ID) (*Thread, error) {
	rec := &wire.Thread{}
	err := j.view(func(txn *page) error {
		found, err := readMessage(txn, idKey(classThread, id), rec)
		if err == nil && !found {
			err = ErrNoThread
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return j.snapshotOf(id, rec), nil
}

// OpenThread is Thread for whoever looks at an intent that is here and had no thread, or
// was in no inbox of that owner's: it is made then.
func (j *Journal) OpenThread(ctx context.Context, id ID, owner string) (*Thread, error) {
	th, err := j.Thread(id)
	if err == nil && (owner == "" || th.View(owner) != nil) || err != nil && !errors.Is(err, ErrNoThread) {
		return th, err
	}
	i, err := j.Get(id)
	if errors.Is(err, ErrNotFound) || err == nil && i.Envelope == nil {
		return nil, ErrNoThread
	}
	if err != nil {
		return nil, err
	}
	if owner == "" {
		owner = i.Envelope.ToAgent
	}
	if !isParty(i, owner) {
		return nil, ErrNoThread
	}
	if err := j.do(ctx, first, &op{run: func(t *tx) error {
		_, err := t.fill(id, owner)
		return err
	}}); err != nil {
		return nil, err
	}
	return j.Thread(id)
}

// LastChange is the number below which all changes are that a reader may have seen.
func (j *Journal) LastChange() uint64 { return (j.figures.seq.Load()+1)<<changesShift - 1 }
