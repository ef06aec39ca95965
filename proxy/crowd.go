package proxy

import (
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
// app is let in whatever strangers do at the peer listener. What is left is for
// the sidecars that are dialed.
func shares(files uint64) (api, peer, admin int) {
	spent := files - min(files, max(files/2, filesKept))
	of := func(part uint64) int { return int(min(max(spent/part, crowdLeast), crowdMost)) }
	return of(4), of(3), of(16)
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

// crowd is a listener that holds at most so many connections. One more is closed
// at once: whoever is turned away hears of it, while one that is left waiting
// would look like a sidecar that hangs.
type crowd struct {
	net.Listener
	name string
	most int
	log  *slog.Logger

	mu struct {
		sync.Mutex
		n    int
		told time.Time
	}
}

func newCrowd(l net.Listener, name string, most int, log *slog.Logger) *crowd {
	return &crowd{Listener: l, name: name, most: most, log: log}
}

// Accept returns the next connection there is room for.
func (l *crowd) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.enter() {
			return &crowdConn{Conn: c, leave: sync.OnceFunc(l.leave)}, nil
		}
		c.Close() // nothing was said on it
	}
}

// toldEvery is how far apart a full house is worth a line in the log.
const toldEvery = time.Minute

func (l *crowd) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.n < l.most {
		l.mu.n++
		return true
	}
	if now := time.Now(); now.Sub(l.mu.told) >= toldEvery {
		l.mu.told = now
		l.log.Error("connections are turned away: too many are open", "listener", l.name, "connections", l.most)
	}
	return false
}

func (l *crowd) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.n--
}

type crowdConn struct {
	net.Conn
	leave func()
}

func (c *crowdConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
