package journal

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pannier/journal/wire"
)

const (
	// maxAgents bounds the dictionary: it is kept in memory, and anybody who
	// may send may name a destination.
	maxAgents = 20_000
	// seqBlock is how many hand-over numbers are taken at once: a crash skips
	// at most that many, and most hand-overs need no write for their number.
	seqBlock = 1000
)

// names is the dictionary of addresses. Entries are never deleted: their
// numbers are in keys.
type names struct {
	mu struct {
		sync.RWMutex
		byName map[string]*name
		byNo   []*name // index: number
	}
}

// name is one address, or the lane of completions to it: what is only a thread
// there waits for no reader, and so must not queue behind what does. Its fields
// past threads belong to the committer, but for learned, binding, killed, inbox, pushed
// and first, which are guarded by the dictionary's mutex.
type name struct {
	no      Agent
	address string
	threads bool
	learned bool
	binding string
	killed  bool
	inbox   inboxState
	pushed  uint32    // last start in which its app was sent intents
	first   time.Time // when it was first seen; zero: not known

	stored bool          // its record is durable
	seq    atomic.Uint64 // last hand-over number given; others may read it
	limit  uint64        // the record allows numbers up to this one
}

// laneMark follows the address in the key of its lane; no address has such a byte.
const laneMark = "\x00"

func (e *name) key() string {
	if e.threads {
		return e.address + laneMark
	}
	return e.address
}

func newNames() *names {
	n := &names{}
	n.mu.byName = map[string]*name{}
	n.mu.byNo = []*name{nil}
	return n
}

func (n *names) load(txn *page) error {
	var found []*name
	err := eachRecord(txn, []byte{className}, func() *wire.Name { return &wire.Name{} }, func(key []byte, m *wire.Name) {
		e := &name{no: Agent(m.No), address: strings.TrimSuffix(string(key[1:]), laneMark), threads: m.Threads, learned: m.Learned, binding: m.Binding, killed: m.Killed, inbox: inboxState(m.Inbox), pushed: m.PushedBoot, first: at(m.FirstMs), stored: true, limit: m.Seq}
		e.seq.Store(m.Seq)
		found = append(found, e)
	})
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range found {
		for int(e.no) >= len(n.mu.byNo) {
			n.mu.byNo = append(n.mu.byNo, nil)
		}
		n.mu.byNo[e.no], n.mu.byName[e.key()] = e, e
	}
	return nil
}

func (n *names) find(address string) *name {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.mu.byName[address]
}

func (n *names) at(no Agent) *name {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if int(no) >= len(n.mu.byNo) {
		return nil
	}
	return n.mu.byNo[no]
}

// count is how many numbers have been given, 0 included, which is none's.
func (n *names) count() int {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return len(n.mu.byNo)
}

// intern returns the entry of an address, made if need be. A new one is
// written by the operation in hand; if that is dropped, by the next to use it.
func (t *tx) intern(address string) (*name, error) {
	return t.internName(&name{address: address})
}

func (t *tx) internName(want *name) (*name, error) {
	n := t.j.names
	e := n.find(want.key())
	if e == nil {
		n.mu.Lock()
		if len(n.mu.byNo) > maxAgents {
			n.mu.Unlock()
			return nil, ErrTooManyAgents
		}
		e = want
		e.no = Agent(len(n.mu.byNo))
		e.first = t.now
		n.mu.byNo = append(n.mu.byNo, e)
		n.mu.byName[e.key()] = e
		n.mu.Unlock()
	}
	if e.stored {
		return e, nil
	}
	return e, t.storeName(e)
}

func (t *tx) storeName(e *name) error {
	return t.changeName(e, func(*wire.Name) {})
}

// changeName is the one place where a record of the dictionary is written. It
// changes what the batch has made of it so far.
func (t *tx) changeName(e *name, change func(*wire.Name)) error {
	rec := wire.Name{}
	if _, err := t.get(nameKey(e.key()), &rec); err != nil {
		return err
	}
	rec.No, rec.Threads, rec.FirstMs = uint32(e.no), e.threads, ms(e.first)
	change(&rec)
	t.after(func() { e.stored = true })
	return t.put(nameKey(e.key()), &rec)
}

// nextSeq gives the agent's next hand-over number. Whatever becomes of the
// operation, a number is not given twice: the record is ahead of it first.
func (t *tx) nextSeq(a Agent) (uint64, error) {
	e := t.j.names.at(a)
	seq := e.seq.Add(1)
	if seq <= e.limit {
		return seq, nil
	}
	limit := seq + seqBlock
	t.after(func() { e.limit = limit })
	return seq, t.changeName(e, func(rec *wire.Name) { rec.Seq = limit })
}

// AgentNo returns the number of an address that is in the dictionary.
func (j *Journal) AgentNo(address string) (Agent, bool) {
	if e := j.names.find(address); e != nil {
		return e.no, true
	}
	return 0, false
}

// LastSeq returns the number of the last hand-over to an agent, or a higher one
// that was skipped by a restart.
func (j *Journal) LastSeq(a Agent) uint64 {
	if e := j.names.at(a); e != nil {
		return e.seq.Load()
	}
	return 0
}

// ForThreads reports whether a number is the lane of completions to its address.
func (j *Journal) ForThreads(a Agent) bool {
	e := j.names.at(a)
	return e != nil && e.threads
}

// AgentName returns the address of a number, or "".
func (j *Journal) AgentName(a Agent) string {
	if e := j.names.at(a); e != nil {
		return e.address
	}
	return ""
}

// Agents lists the addresses of the dictionary in the order they were first seen.
func (j *Journal) Agents() []AgentInfo {
	n := j.names
	n.mu.RLock()
	defer n.mu.RUnlock()
	out := make([]AgentInfo, 0, len(n.mu.byNo))
	for _, e := range n.mu.byNo {
		if e != nil && !e.threads {
			out = append(out, AgentInfo{Agent: e.no, Name: e.address, Learned: e.learned, Binding: e.binding, Killed: e.killed, First: e.first})
		}
	}
	return out
}

// Learn makes the address one that is served here, durably.
func (j *Journal) Learn(ctx context.Context, address string) (Agent, error) {
	return j.rename(ctx, address, func(rec *wire.Name) { rec.Learned = true })
}

// SetBinding says durably how the app of an address receives, whatever the
// configuration says; empty: as it says.
func (j *Journal) SetBinding(ctx context.Context, address, binding string) error {
	_, err := j.rename(ctx, address, func(rec *wire.Name) { rec.Binding = binding })
	return err
}

// rename changes the entry of an address, made if need be.
func (j *Journal) rename(ctx context.Context, address string, change func(*wire.Name)) (Agent, error) {
	var no Agent
	err := j.do(ctx, first, &op{run: func(t *tx) error {
		e, err := t.intern(address)
		if err != nil {
			return err
		}
		no = e.no
		was := wire.Name{Learned: e.learned, Binding: e.binding}
		now := wire.Name{Learned: e.learned, Binding: e.binding}
		if change(&now); now.Learned == was.Learned && now.Binding == was.Binding {
			return nil
		}
		return t.changeName(e, func(rec *wire.Name) {
			change(rec)
			learned, binding := rec.Learned, rec.Binding
			t.after(func() {
				j.names.mu.Lock()
				e.learned, e.binding = learned, binding
				j.names.mu.Unlock()
			})
		})
	}})
	return no, err
}
