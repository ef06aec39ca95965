package inbound

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"pannier/journal"
)

var (
	// ErrNotServed: the address is not configured here, and learning is off.
	ErrNotServed = errors.New("agent is not served here")
	// ErrBusy: the window of this home is full, or as many pulls wait as may.
	ErrBusy = errors.New("mailbox is full")
	// ErrPushed: the agent's intents are sent to its app, nobody can ask for them.
	ErrPushed = errors.New("agent receives by http")
	// ErrDraining: this sidecar is about to stop and takes nothing more.
	ErrDraining = errors.New("draining")
)

// turnsAtOnce bounds the journal reads under way for different agents.
const turnsAtOnce = 16

// Mailbox hands what the journal holds to the readers of each agent.
type Mailbox struct {
	o    Options
	j    *journal.Journal
	get  func(journal.ID) (*journal.Intent, error) // of j
	log  *slog.Logger
	self journal.ID

	ready   chan struct{} // closed once the counts are rebuilt
	stopped chan struct{} // closed when Run has ended
	wake    chan struct{} // runnable gained an entry

	mu struct {
		sync.Mutex
		boxes       map[string]*box
		numbers     map[journal.Agent]*box
		where       map[journal.ID]*box // boxes of the flights
		runnable    []*box
		configured  map[string]bool
		completions map[string]bool // agents that get completions as intents
		inboxes     map[string]bool // agents that are people
		own         map[string]bool // the sidecar's own addresses
		learn       string
		elsewhere   func(agent string) (elsewhere, known bool)
		onWindow    func(agent string)
		onLearned   func()
		server      *Server
		homes       int // sessions
		draining    bool
		running     bool
		rebuilding  map[journal.ID]bool // moved while the counts are rebuilt
		discovered  chan struct{}       // closed at the next change of the directory
		news        []news
	}
}

// news is what others are told once the mutex is free.
type news struct {
	agent   string
	local   bool // our own home may offer; else: the window of all homes changed
	learned bool // instead: an agent is served that was not
}

// NewMailbox returns a mailbox over the journal. It does nothing before Run.
func NewMailbox(o Options, j *journal.Journal, log *slog.Logger) *Mailbox {
	m := &Mailbox{
		o: o, j: j, get: j.Get, log: log, self: j.Identity().Journal,
		ready: make(chan struct{}), stopped: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	m.mu.boxes = map[string]*box{}
	m.mu.numbers = map[journal.Agent]*box{}
	m.mu.where = map[journal.ID]*box{}
	m.mu.configured = map[string]bool{}
	m.mu.own = map[string]bool{}
	m.mu.rebuilding = map[journal.ID]bool{}
	m.mu.elsewhere = func(string) (bool, bool) { return false, true }
	m.mu.onWindow = func(string) {}
	m.mu.onLearned = func() {}
	m.mu.discovered = make(chan struct{})
	m.mu.learn = "local"
	return m
}

// Run works the mailboxes until ctx ends, and joins all it started.
func (m *Mailbox) Run(ctx context.Context) error {
	defer close(m.stopped)
	if err := m.rebuild(); err != nil {
		return err
	}
	close(m.ready)
	var turns sync.WaitGroup
	defer turns.Wait()
	defer m.stopTimers()
	slots := make(chan struct{}, turnsAtOnce)
	for {
		b := m.nextRunnable()
		if b == nil {
			select {
			case <-ctx.Done():
				return nil
			case <-m.wake:
			}
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case slots <- struct{}{}:
		}
		turns.Go(func() {
			defer func() { <-slots }()
			m.turn(ctx, b)
		})
	}
}

// rebuild counts what the journal holds, so that windows are right from the
// first offer. What moves meanwhile is noted by Moved, which has counted it.
func (m *Mailbox) rebuild() error {
	for _, a := range m.j.Agents() {
		entries, err := m.j.MailAll(a.Agent)
		if err != nil {
			return err
		}
		if len(entries) == 0 && !a.Learned {
			continue
		}
		m.mu.Lock()
		b := m.box(a.Name)
		b.learned = a.Learned
		if a.Learned {
			m.mu.news = append(m.mu.news, news{agent: a.Name, learned: true})
		}
		m.number(b, a.Agent)
		for _, e := range entries {
			switch {
			case m.mu.rebuilding[e.ID]:
			case e.Counted:
				b.credit.count(e.Home, 1)
			case e.Phase.WithApp():
				b.credit.apart++
			}
			if !e.Lease.IsZero() { // else it was pushed: what is worked on has been answered
				m.fly(b, e.ID, flight{lease: e.Lease, until: e.Due, old: true, seq: e.Seq, streamed: e.Streamed})
			}
		}
		m.unlock()
	}
	m.mu.Lock()
	defer m.unlock()
	m.mu.rebuilding = nil
	m.mu.running = true
	for _, b := range m.mu.boxes {
		if b.killed {
			b.release = time.Now()
		}
		m.rouse(b)
	}
	return nil
}

// Leased is how many hand-overs no app has settled yet.
func (m *Mailbox) Leased() int {
	m.mu.Lock()
	defer m.unlock()
	return len(m.mu.where)
}

// Mail is the journal's hook: the mailbox of an agent gained an entry.
func (m *Mailbox) Mail(no journal.Agent) {
	m.mu.Lock()
	defer m.unlock()
	b := m.numbered(no)
	now := time.Now()
	if b.capacity(now) > 0 {
		m.rouse(b)
		return
	}
	// Nobody could have it. It may be a lease whose end we do not know (an
	// answer that continues): look, but not for each one.
	b.sweep = earliest(b.sweep, now.Add(5*time.Second))
	if b.door.shut != Open {
		b.release = earliest(b.release, now.Add(m.o.ReleaseAfter))
	}
	m.arm(b, now)
}

// Moved is the journal's hook: an intent has left, or counts otherwise than before.
func (m *Mailbox) Moved(v journal.Moved) {
	m.mu.Lock()
	defer m.unlock()
	if m.mu.rebuilding != nil {
		m.mu.rebuilding[v.ID] = true
	}
	b := m.numbered(v.Agent)
	b.credit.count(v.Home, v.Count)
	b.credit.apart = max(0, b.credit.apart+v.Apart)
	if f, flying := b.flights[v.ID]; v.Left && !f.pushed { // a push under way is answered
		if !flying || !f.settling {
			b.door.gone(v.ID)
		}
		m.land(b, v.ID)
		m.restart(b, f.stream, time.Now())
	}
	if (v.Count < 0 || v.Apart < 0) && v.Home == m.self {
		m.mu.news = append(m.mu.news, news{agent: b.name, local: true})
	}
	m.stir(b)
}

// Spoken is the journal's hook: a word without a lease on what the app has. It
// was understood, whoever spoke; and it moves the end of the lease.
func (m *Mailbox) Spoken(s journal.Spoken) {
	m.mu.Lock()
	defer m.unlock()
	b := m.mu.numbers[s.Agent]
	if b == nil {
		return
	}
	if f, flying := b.flights[s.ID]; flying && s.Until.After(f.until) {
		f.until = s.Until
		b.flights[s.ID] = f
	}
	m.hear(b, s.ID, b.flightOf(s.ID), succeeded, time.Now())
	m.stir(b)
}

// box returns the box of an agent, made if need be.
func (m *Mailbox) box(name string) *box {
	if b := m.mu.boxes[name]; b != nil {
		return b
	}
	b := newBox(name, m.o, time.Now())
	b.killed = m.j.Killed(name)
	m.mu.boxes[name] = b
	if no, known := m.j.AgentNo(name); known {
		m.number(b, no)
	}
	m.arm(b, time.Now())
	return b
}

// numbered returns the box of an agent that something in the journal names.
func (m *Mailbox) numbered(no journal.Agent) *box {
	b := m.mu.numbers[no]
	if b == nil {
		b = m.box(m.j.AgentName(no))
		m.number(b, no)
	}
	return b
}

func (m *Mailbox) number(b *box, no journal.Agent) {
	b.no, b.numbered = no, true
	m.mu.numbers[no] = b
}

func (m *Mailbox) fly(b *box, id journal.ID, f flight) {
	if was, known := b.flights[id]; known {
		b.untrack(id, was)
	}
	b.flights[id] = f
	b.track(id, f)
	m.mu.where[id] = b
	b.sweep = earliest(b.sweep, f.until)
}

func (m *Mailbox) land(b *box, id journal.ID) {
	if f, known := b.flights[id]; known {
		b.untrack(id, f)
	}
	delete(b.flights, id)
	delete(m.mu.where, id)
}
