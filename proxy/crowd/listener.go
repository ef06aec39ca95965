package crowd

import (
	"log/slog"
	"net"
)

// Listener holds what it accepts to the places of a room.
type Listener struct {
	net.Listener
	room   *Room
	prompt bool // connections make way until they are held or admitted
}

// Listen returns a listener of so many places, at which nobody makes way: one more is
// turned away.
func Listen(l net.Listener, name string, most int, log *slog.Logger) *Listener {
	return &Listener{Listener: l, room: NewRoom(name, most, log)}
}

// ListenForProof is Listen where whoever has proven nothing, and asks nothing, makes
// way. Its server calls [Admit], or is given to [Serve].
func ListenForProof(l net.Listener, name string, most int, log *slog.Logger) *Listener {
	return &Listener{Listener: l, room: NewRoom(name, most, log), prompt: true}
}

// Guarded has its room count with all files of the process, before it is used.
func (l *Listener) Guarded(g Guard) *Listener {
	l.room.Guarded(g)
	return l
}

// Use is how the listener's places are taken.
func (l *Listener) Use() Use { return l.room.use() }

// Accept returns the next connection there is room for.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if l.room.guard.out(err) {
			c, err = l.Listener.Accept() // to turn it away: left to wait it would not know
		}
		if err != nil {
			return nil, err
		}
		in, out := l.room.enter()
		if out != nil {
			out.Conn.Close() // whoever serves it reads the end of it
		}
		if in {
			in, out = l.room.spare()
			if out != nil {
				out.Conn.Close() // likewise
			}
		}
		if !in {
			c.Close() // nothing was said on it
			continue
		}
		held := &Conn{Conn: c, room: l.room}
		if l.prompt {
			l.room.mu.Lock()
			held.rest(true)
			l.room.mu.Unlock()
		}
		return held, nil
	}
}
