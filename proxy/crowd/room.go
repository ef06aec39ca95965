package crowd

import (
	"container/list"
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Room counts connections up to a bound.
type Room struct {
	name string
	most int
	log  *slog.Logger

	mu struct {
		sync.Mutex
		n    int
		idle *list.List // of *Conn, that make way; the one that has been idle for longest first
		told time.Time
	}
}

// NewRoom returns a room of so many places. Its name is for the log.
func NewRoom(name string, most int, log *slog.Logger) *Room {
	r := &Room{name: name, most: most, log: log}
	r.mu.idle = list.New()
	return r
}

// toldEvery is how far apart a full room is worth a line in the log.
const toldEvery = time.Minute

// enter takes a place. Where there is none, a connection that is idle makes way, and
// is the caller's to close.
func (r *Room) enter() (in bool, out *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.n < r.most {
		r.mu.n++
		return true, nil
	}
	now := time.Now()
	worth := now.Sub(r.mu.told) >= toldEvery
	if worth {
		r.mu.told = now
	}
	if first := r.mu.idle.Front(); first != nil {
		out = first.Value.(*Conn)
		r.mu.idle.Remove(first)
		out.place, out.left = nil, true // its place has been taken over
		if worth {
			r.log.Warn("connections that are idle make way: too many are open", "listener", r.name, "connections", r.most)
		}
		return true, out
	}
	if worth {
		r.log.Error("connections are turned away: too many are open", "listener", r.name, "connections", r.most)
	}
	return false, nil
}

func (r *Room) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.n--
}

// Dial dials if there is room. What is turned away is tried again like what is out
// of reach.
func (r *Room) Dial(ctx context.Context, d *net.Dialer, address string) (net.Conn, error) {
	if in, _ := r.enter(); !in { // nothing that is dialed is ever idle
		return nil, fmt.Errorf("%d connections to other sidecars are open, or being opened: raise the limit of open files", r.most)
	}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		r.leave()
		return nil, err
	}
	return &Conn{Conn: c, room: r}, nil
}
