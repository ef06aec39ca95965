package inbound

import (
	"time"

	"pannier/journal/state"
)

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

// Completions sets the agents that are handed completions like any other intent; at
// the others they are threads.
func (m *Mailbox) Completions(agents []string) {
	m.mu.Lock()
	defer m.unlock()
	m.mu.completions = map[string]bool{}
	for _, a := range agents {
		m.mu.completions[a] = true
	}
}

// Inboxes sets the agents whose intents people read in an inbox: what is held for them
// is a thread at once, and handed to no app.
func (m *Mailbox) Inboxes(agents []string) {
	m.mu.Lock()
	defer m.unlock()
	was := m.mu.inboxes
	m.mu.inboxes = map[string]bool{}
	for _, a := range agents {
		m.mu.inboxes[a] = true
		if b := m.box(a); !was[a] {
			m.tellWindow(b)
			m.mu.news = append(m.mu.news, news{agent: a, local: true})
			m.rouse(b)
		}
	}
}

// Own sets the addresses that are the sidecar's own: served here, and told to
// nobody.
func (m *Mailbox) Own(addresses []string) {
	m.mu.Lock()
	defer m.unlock()
	clear(m.mu.own)
	for _, a := range addresses {
		m.mu.own[a] = true
	}
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

// OnLearned sets what is called when Served has more to list: an agent was
// learned, or one that was learned before the start is known. It must not block.
func (m *Mailbox) OnLearned(f func()) {
	m.mu.Lock()
	defer m.unlock()
	m.mu.onLearned = f
}

// Serves reports whether intents for the agent are taken here: configured
// beats discovered beats learned.
func (m *Mailbox) Serves(agent string) bool {
	m.mu.Lock()
	defer m.unlock()
	return m.serves(agent)
}

func (m *Mailbox) serves(agent string) bool {
	if m.mu.configured[agent] || m.mu.own[agent] {
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
	if m.mu.inboxes[agent] {
		return w
	}
	if w <= 1 && b.door.shut != Open && !time.Now().Before(b.door.since.Add(m.o.ReleaseAfter)) {
		return 0
	}
	return max(0, min(w-b.credit.held[m.self], m.o.MaxOpen-b.credit.total-b.credit.apart))
}

// window is the credit of each home for the agent of b.
func (m *Mailbox) window(b *box) int {
	if m.mu.draining || b.killed {
		return 0
	}
	if m.mu.inboxes[b.name] {
		return max(0, min(m.o.HomeWindow, m.o.MaxOpen-m.j.OpenMail(b.name)))
	}
	return b.credit.window(&b.door, m.mu.homes)
}

// credits is the window to tell a home now, and why its app is handed nothing, or one
// at a time; known is false for an agent that is not here.
func (m *Mailbox) credits(agent string) (window int, shut state.Cause, known bool) {
	m.mu.Lock()
	defer m.unlock()
	b := m.mu.boxes[agent]
	if b == nil {
		return 0, state.NoCause, false
	}
	return m.window(b), m.shutBy(b), true
}

// Shut is why the app of an agent is handed nothing, or one at a time; NoCause while
// its door is open.
func (m *Mailbox) Shut(agent string) state.Cause {
	m.mu.Lock()
	defer m.unlock()
	if b := m.mu.boxes[agent]; b != nil {
		return m.shutBy(b)
	}
	return state.CauseNoReader
}

// shutBy is that of the box; an inbox has no door.
func (m *Mailbox) shutBy(b *box) state.Cause {
	if m.mu.inboxes[b.name] && !b.killed {
		return state.NoCause
	}
	return b.shutBy()
}

func (b *box) shutBy() state.Cause {
	if b.killed {
		return state.CauseKilled
	}
	return shutCauses[b.door.shut]
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
