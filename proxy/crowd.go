package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	// filesKept, and half of all where that is more, are never spent on connections:
	// a journal that cannot open its next file stops for good, and whoever may
	// connect could make it.
	filesKept = 256
	// crowdLeast is let in where there are next to no files: something else will
	// say so.
	crowdLeast = 16
	// crowdMost is for processes that may open more files than they have memory for.
	crowdMost = 16_384
)

// shares divide the files a process may open between its listeners, so that the
// app is let in whatever strangers do at the peer listener, and what it dials: a
// control plane can name more sidecars than there are files.
func shares(files uint64) (api, peer, admin, dials int) {
	spent := files - min(files, max(files/2, filesKept))
	of := func(part uint64) int { return int(min(max(spent/part, crowdLeast), crowdMost)) }
	return of(4), of(3), of(16), of(3)
}

// openFiles is how many files this process may open. Go's runtime has raised the
// soft limit to the hard one.
func openFiles() uint64 {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 1024 // what systems begin with
	}
	return l.Cur
}

// room counts connections up to a bound.
type room struct {
	name string
	most int
	log  *slog.Logger

	mu struct {
		sync.Mutex
		n    int
		told time.Time
	}
}

func newRoom(name string, most int, log *slog.Logger) *room {
	return &room{name: name, most: most, log: log}
}

// toldEvery is how far apart a full room is worth a line in the log.
const toldEvery = time.Minute

func (r *room) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.n < r.most {
		r.mu.n++
		return true
	}
	if now := time.Now(); now.Sub(r.mu.told) >= toldEvery {
		r.mu.told = now
		r.log.Error("connections are turned away: too many are open", "listener", r.name, "connections", r.most)
	}
	return false
}

func (r *room) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.n--
}

// hold is a connection that has entered.
func (r *room) hold(c net.Conn) net.Conn { return &roomConn{Conn: c, leave: sync.OnceFunc(r.leave)} }

type roomConn struct {
	net.Conn
	leave func()
}

func (c *roomConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

// CloseWrite lets net/http end a connection whose request it has not read: the peer
// sees the end of the answer before the reset that throws it away.
func (c *roomConn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// dial dials if there is room. What is turned away is tried again like what is out
// of reach.
func (r *room) dial(ctx context.Context, d *net.Dialer, address string) (net.Conn, error) {
	if !r.enter() {
		return nil, fmt.Errorf("%d connections to other sidecars are open, or being opened: raise the limit of open files", r.most)
	}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		r.leave()
		return nil, err
	}
	return r.hold(c), nil
}

// crowd is a listener that holds at most so many connections. One more is closed
// at once: whoever is turned away hears of it, while one that is left waiting
// would look like a sidecar that hangs.
type crowd struct {
	net.Listener
	room *room
}

func newCrowd(l net.Listener, name string, most int, log *slog.Logger) *crowd {
	return &crowd{Listener: l, room: newRoom(name, most, log)}
}

// Accept returns the next connection there is room for.
func (l *crowd) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.room.enter() {
			return l.room.hold(c), nil
		}
		c.Close() // nothing was said on it
	}
}
