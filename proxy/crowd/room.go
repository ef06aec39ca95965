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
	name  string
	most  int
	log   *slog.Logger
	guard Guard

	mu struct {
		sync.Mutex
		n    int
		idle *list.List // of *Conn, that make way; the one that has been idle for longest first
		away Away

		// When the log last heard of one that made way, and of one that was turned away.
		toldIdle, toldAway time.Time
	}
}

// Use is how the places of a room are taken.
type Use struct {
	Name             string
	Open, Idle, Most int // Idle: of the open ones, those that make way
	Away             Away
}

// Away are the connections that a room has turned away.
type Away struct {
	Count uint64
	Last  time.Time
	Short bool // the last for want of files in the whole process, not of a place
}

// NewRoom returns a room of so many places. Its name is for the log.
func NewRoom(name string, most int, log *slog.Logger) *Room {
	r := &Room{name: name, most: most, log: log}
	r.mu.idle = list.New()
	return r
}

// Guarded has a room count with all files of the process, beside its own. It returns the
// room, which is not in use yet.
func (r *Room) Guarded(g Guard) *Room {
	r.guard = g
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
	if out = r.makeWay(); out != nil {
		if worth(&r.mu.toldIdle) {
			r.log.Warn("connections that are idle make way: too many are open", "listener", r.name, "connections", r.most)
		}
		return true, out
	}
	r.turnAway(false)
	if worth(&r.mu.toldAway) {
		r.log.Error("connections are turned away: too many are open", "listener", r.name, "connections", r.most)
	}
	return false, nil
}

// spare reports whether a connection that has just entered may stay. Where too few files are
// left one that is idle makes way for it, and is the caller's to close; where none is it
// leaves again.
func (r *Room) spare() (stays bool, out *Conn) {
	if r.guard.fits() {
		return true, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.n-- // one of the two goes
	if out = r.makeWay(); out != nil {
		if worth(&r.mu.toldIdle) {
			r.log.Warn("connections that are idle make way: too few files are left to open", "listener", r.name, "connections", r.mu.n)
		}
		return true, out
	}
	r.turnAway(true)
	if worth(&r.mu.toldAway) {
		r.log.Error("connections are turned away: too few files are left to open", "listener", r.name, "connections", r.mu.n)
	}
	return false, nil
}

// makeWay takes its place from the connection that has been idle for longest; nil: none
// is. The mutex is held.
func (r *Room) makeWay() (out *Conn) {
	first := r.mu.idle.Front()
	if first == nil {
		return nil
	}
	out = first.Value.(*Conn)
	r.mu.idle.Remove(first)
	out.place, out.left = nil, true // its place has been taken over
	return out
}

// turnAway counts one that is turned away, for want of files or of a place. The mutex is held.
func (r *Room) turnAway(short bool) {
	r.mu.away = Away{Count: r.mu.away.Count + 1, Last: time.Now(), Short: short}
}

func (r *Room) use() Use {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Use{Name: r.name, Open: r.mu.n, Idle: r.mu.idle.Len(), Most: r.most, Away: r.mu.away}
}

// worth reports whether it is time for another line of a kind in the log. The mutex is held.
func worth(told *time.Time) bool {
	now := time.Now()
	if now.Sub(*told) < toldEvery {
		return false
	}
	*told = now
	return true
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
		return nil, fmt.Errorf("%d connections of this kind (%s) are open, or being opened: raise the limit of open files", r.most, r.name)
	}
	if !r.guard.fits() { // before names are asked for
		r.leave()
		return nil, errNoFiles
	}
	d = r.guard.dialer(d)
	c, err := d.DialContext(ctx, "tcp", address)
	if r.guard.out(err) {
		c, err = d.DialContext(ctx, "tcp", address)
	}
	if err != nil {
		r.leave()
		return nil, err
	}
	return &Conn{Conn: c, room: r}, nil
}
