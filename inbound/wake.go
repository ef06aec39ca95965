package inbound

import (
	"math/rand/v2"
	"time"
)

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

// tellWindow announces the window when it shrinks, has grown enough to be
// worth a message, or a pull waits for what the growth would bring; and why the door
// is shut when that changes.
func (m *Mailbox) tellWindow(b *box) {
	w, shut := m.window(b), m.shutBy(b)
	little := w > b.told && w < b.told+b.told/2 && w != m.o.HomeWindow
	if shut == b.toldShut && (w == b.told || little && !b.hungry) {
		return
	}
	grown := w > b.told
	b.told, b.toldShut = w, shut
	m.mu.news = append(m.mu.news, news{agent: b.name})
	if grown {
		m.mu.news = append(m.mu.news, news{agent: b.name, local: true})
	}
}

// unlock frees the mutex and then tells others what has changed: they have
// locks of their own.
func (m *Mailbox) unlock() {
	told, server, onWindow, onLearned := m.mu.news, m.mu.server, m.mu.onWindow, m.mu.onLearned
	m.mu.news = nil
	m.mu.Unlock()
	for _, n := range told {
		switch {
		case n.learned:
			onLearned()
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
