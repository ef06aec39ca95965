package inbound

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

var (
	// ErrNotServed: the address is not configured here, and learning is off.
	ErrNotServed = errors.New("agent is not served here")
	// ErrBusy: the window of this home is full, or as many pulls wait as may.
	ErrBusy = errors.New("mailbox is full")
	// ErrDraining: this sidecar is about to stop and takes nothing more.
	ErrDraining = errors.New("draining")
)

// turnsAtOnce bounds the journal reads under way for different agents.
const turnsAtOnce = 16

// Mailbox hands what the journal holds to the readers of each agent.
type Mailbox struct {
	o    Options
	j    *journal.Journal
	log  *slog.Logger
	self journal.ID

	ready   chan struct{} // closed once the counts are rebuilt
	stopped chan struct{} // closed when Run has ended
	wake    chan struct{} // runnable gained an entry

	mu struct {
		sync.Mutex
		boxes      map[string]*box
		numbers    map[journal.Agent]*box
		where      map[journal.ID]*box // boxes of the flights
		runnable   []*box
		configured map[string]bool
		learn      string
		elsewhere  func(agent string) (elsewhere, known bool)
		onWindow   func(agent string)
		server     *Server
		homes      int // sessions
		draining   bool
		running    bool
		rebuilding map[journal.ID]bool // freed while the counts are rebuilt
		discovered chan struct{}       // closed at the next change of the directory
		news       []news
	}
}

// news is what others are told once the mutex is free.
type news struct {
	agent string
	local bool // our own home may offer; else: the window of all homes changed
}

// NewMailbox returns a mailbox over the journal. It does nothing before Run.
func NewMailbox(o Options, j *journal.Journal, log *slog.Logger) *Mailbox {
	m := &Mailbox{
		o: o, j: j, log: log, self: j.Identity().Journal,
		ready: make(chan struct{}), stopped: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	m.mu.boxes = map[string]*box{}
	m.mu.numbers = map[journal.Agent]*box{}
	m.mu.where = map[journal.ID]*box{}
	m.mu.configured = map[string]bool{}
	m.mu.rebuilding = map[journal.ID]bool{}
	m.mu.elsewhere = func(string) (bool, bool) { return false, true }
	m.mu.onWindow = func(string) {}
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
// first offer. What leaves a mailbox meanwhile is noted by Freed and taken off.
func (m *Mailbox) rebuild() error {
	for _, a := range m.j.Agents() {
		entries, err := m.j.MailAll(a.Agent, maxInt)
		if err != nil {
			return err
		}
		if len(entries) == 0 && !a.Learned {
			continue
		}
		m.mu.Lock()
		b := m.box(a.Name)
		b.learned = a.Learned
		m.number(b, a.Agent)
		for _, e := range entries {
			if e.Counted && !m.mu.rebuilding[e.ID] {
				b.credit.count(e.Home, 1)
			}
			if e.Phase == state.Leased || e.Phase == state.Working {
				m.fly(b, e.ID, flight{lease: e.Lease, until: e.Due, old: true})
			}
		}
		m.unlock()
	}
	m.mu.Lock()
	defer m.unlock()
	m.mu.rebuilding = nil
	m.mu.running = true
	for _, b := range m.mu.boxes {
		m.rouse(b)
	}
	return nil
}

// Configure sets which addresses are served by configuration, and whether a
// pull for another one is taken as a wish to serve it: off, local, advertise.
func (m *Mailbox) Configure(agents []string, learn string) {
	m.mu.Lock()
	defer m.unlock()
	clear(m.mu.configured)
	for _, a := range agents {
		m.mu.configured[a] = true
	}
	m.mu.learn = learn
	m.rediscover()
}

// SetElsewhere sets what discovery knows: whether the agent is served by other
// sidecars, and whether that is known yet.
func (m *Mailbox) SetElsewhere(f func(agent string) (elsewhere, known bool)) {
	m.mu.Lock()
	defer m.unlock()
	m.mu.elsewhere = f
	m.rediscover()
}

// Discovered wakes the pulls that wait for discovery: call it when the answer
// of the function given to SetElsewhere may have changed.
func (m *Mailbox) Discovered() {
	m.mu.Lock()
	defer m.unlock()
	m.rediscover()
}

func (m *Mailbox) rediscover() {
	close(m.mu.discovered)
	m.mu.discovered = make(chan struct{})
}

// OnWindow sets what is called when our own home may offer more to an agent
// here. It is called often, and must not block.
func (m *Mailbox) OnWindow(f func(agent string)) {
	m.mu.Lock()
	defer m.unlock()
	m.mu.onWindow = f
}

// Leased is how many hand-overs no app has settled yet.
func (m *Mailbox) Leased() int {
	m.mu.Lock()
	defer m.unlock()
	return len(m.mu.where)
}

// Serves reports whether intents for the agent are taken here: configured
// beats discovered beats learned.
func (m *Mailbox) Serves(agent string) bool {
	m.mu.Lock()
	defer m.unlock()
	return m.serves(agent)
}

func (m *Mailbox) serves(agent string) bool {
	if m.mu.configured[agent] {
		return true
	}
	b := m.mu.boxes[agent]
	if b == nil || !b.learned {
		return false
	}
	elsewhere, _ := m.mu.elsewhere(agent)
	return !elsewhere
}

// Served lists the agents served here, at most n.
func (m *Mailbox) Served(n int) []string {
	m.mu.Lock()
	defer m.unlock()
	var out []string
	for a := range m.mu.configured {
		if len(out) < n {
			out = append(out, a)
		}
	}
	for a, b := range m.mu.boxes {
		if b.learned && !m.mu.configured[a] && len(out) < n {
			out = append(out, a)
		}
	}
	return out
}

// Window is how many more intents for the agent Take would admit now. Behind a
// door that has been shut for a while it is nothing: what would come would
// only be released again.
func (m *Mailbox) Window(agent string) int {
	m.mu.Lock()
	defer m.unlock()
	if m.mu.draining || !m.serves(agent) {
		return 0
	}
	b := m.box(agent)
	w := m.window(b)
	if w <= 1 && b.door.shut != Open && !time.Now().Before(b.door.since.Add(m.o.ReleaseAfter)) {
		return 0
	}
	return max(0, min(w-b.credit.held[m.self], m.o.MaxOpen-b.credit.total))
}

// window is the credit of each home for the agent of b.
func (m *Mailbox) window(b *box) int {
	if m.mu.draining {
		return 0
	}
	return b.credit.window(&b.door, m.mu.homes)
}

// credits is the window to tell a home now; known is false for an agent that
// is not here.
func (m *Mailbox) credits(agent string) (window int, known bool) {
	m.mu.Lock()
	defer m.unlock()
	b := m.mu.boxes[agent]
	if b == nil {
		return 0, false
	}
	return m.window(b), true
}

// homes notes how many homes are connected: they share what is open at most.
func (m *Mailbox) homes(n int) {
	m.mu.Lock()
	defer m.unlock()
	m.mu.homes = n
	for _, b := range m.mu.boxes {
		m.tellWindow(b)
	}
}

// Mail is the journal's hook: the mailbox of an agent gained an entry.
func (m *Mailbox) Mail(no journal.Agent) {
	m.mu.Lock()
	defer m.unlock()
	b := m.mu.numbers[no]
	if b == nil {
		b = m.box(m.j.AgentName(no))
		m.number(b, no)
	}
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

// Freed is the journal's hook: an intent is no longer unsettled here.
func (m *Mailbox) Freed(f journal.Freed) {
	m.mu.Lock()
	defer m.unlock()
	if m.mu.rebuilding != nil {
		m.mu.rebuilding[f.ID] = true
	}
	b := m.mu.numbers[f.Agent]
	if b == nil {
		return
	}
	b.credit.count(f.Home, -1)
	if fl, flying := b.flights[f.ID]; !flying || !fl.settling {
		b.door.gone(f.ID)
	}
	m.land(b, f.ID)
	if f.Home == m.self {
		m.mu.news = append(m.mu.news, news{agent: b.name, local: true})
	}
	m.stir(b)
}

// box returns the box of an agent, made if need be.
func (m *Mailbox) box(name string) *box {
	if b := m.mu.boxes[name]; b != nil {
		return b
	}
	b := newBox(name, m.o, time.Now())
	m.mu.boxes[name] = b
	if no, known := m.j.AgentNo(name); known {
		m.number(b, no)
	}
	m.arm(b, time.Now())
	return b
}

func (m *Mailbox) number(b *box, no journal.Agent) {
	b.no, b.numbered = no, true
	m.mu.numbers[no] = b
}

func (m *Mailbox) fly(b *box, id journal.ID, f flight) {
	b.flights[id] = f
	m.mu.where[id] = b
	b.sweep = earliest(b.sweep, f.until)
}

func (m *Mailbox) land(b *box, id journal.ID) {
	delete(b.flights, id)
	delete(m.mu.where, id)
}

// rouse gives the box a turn.
func (m *Mailbox) rouse(b *box) {
	switch {
	case b.turning:
		b.again = true
	case m.mu.running:
		b.turning = true
		m.mu.runnable = append(m.mu.runnable, b)
		select {
		case m.wake <- struct{}{}:
		default:
		}
	}
}

// stir gives the box a turn if it can hand something over, and tells of a
// changed window.
func (m *Mailbox) stir(b *box) {
	if b.capacity(time.Now()) > 0 {
		m.rouse(b)
	}
	m.tellWindow(b)
}

// tellWindow announces the window when it shrinks, or has grown enough to be
// worth a message.
func (m *Mailbox) tellWindow(b *box) {
	w := m.window(b)
	if w == b.told || w > b.told && w < b.told+b.told/2 && w != m.o.HomeWindow {
		return
	}
	grown := w > b.told
	b.told = w
	m.mu.news = append(m.mu.news, news{agent: b.name})
	if grown {
		m.mu.news = append(m.mu.news, news{agent: b.name, local: true})
	}
}

// unlock frees the mutex and then tells others what has changed: they have
// locks of their own.
func (m *Mailbox) unlock() {
	told, server, onWindow := m.mu.news, m.mu.server, m.mu.onWindow
	m.mu.news = nil
	m.mu.Unlock()
	for _, n := range told {
		switch {
		case n.local:
			onWindow(n.agent)
		case server != nil:
			server.creditChanged(n.agent)
		}
	}
}

func (m *Mailbox) nextRunnable() *box {
	m.mu.Lock()
	defer m.unlock()
	if len(m.mu.runnable) == 0 {
		return nil
	}
	b := m.mu.runnable[0]
	m.mu.runnable = m.mu.runnable[1:]
	return b
}

// arm sets the box's timer to the next time something may happen by itself.
func (m *Mailbox) arm(b *box, now time.Time) {
	if b.turning || !m.mu.running {
		return // the end of the turn, or Run, arms it
	}
	at := earliest(b.sweep, b.release)
	if !at.IsZero() && at.Before(now.Add(sweepPause)) {
		at = now.Add(sweepPause)
	}
	if d := b.door.next(); d.After(now) {
		at = earliest(at, d)
	}
	switch {
	case at.IsZero():
		if b.timer != nil {
			b.timer.Stop()
		}
	case b.timer == nil:
		b.timer = time.AfterFunc(min(at.Sub(now), longest), func() {
			m.mu.Lock()
			defer m.unlock()
			m.rouse(b)
		})
	default:
		b.timer.Reset(min(at.Sub(now), longest))
	}
}

const (
	sweepPause = 50 * time.Millisecond // between two looks for what has run out
	longest    = time.Hour             // a timer never sleeps longer: the wall clock may jump
)

// stopTimers is the end: nothing is roused any more, waiting pulls go home
// empty.
func (m *Mailbox) stopTimers() {
	m.mu.Lock()
	defer m.unlock()
	m.mu.running = false
	for _, b := range m.mu.boxes {
		if b.timer != nil {
			b.timer.Stop()
		}
	}
}

// earliest is the earlier of two times, where zero means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func random() float64 { return rand.Float64() }
