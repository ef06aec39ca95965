package crowd

import (
	"container/list"
	"context"
	"errors"
	"net"
	"net/http"
)

// Conn is a connection that has a place in a room.
type Conn struct {
	net.Conn
	room *Room

	// Of the room, guarded by its mu.
	place *list.Element // among the idle; nil: it does not make way
	busy  int           // requests, and one more where it is admitted
	left  bool          // it has no place any more
}

// Close gives the place back, once.
func (c *Conn) Close() error {
	c.room.mu.Lock()
	if !c.left {
		c.left = true
		c.room.mu.n--
	}
	c.rest(false)
	c.room.mu.Unlock()
	return c.Conn.Close()
}

// rest makes the connection one that makes way, the last of them, or not. The room's
// mu is held.
func (c *Conn) rest(idle bool) {
	switch {
	case idle && c.place == nil && !c.left:
		c.place = c.room.mu.idle.PushBack(c)
	case !idle && c.place != nil:
		c.room.mu.idle.Remove(c.place)
		c.place = nil
	}
}

// Hold says that the connection carries a request, and makes way for no other until
// as many calls of Release.
func (c *Conn) Hold() {
	c.room.mu.Lock()
	defer c.room.mu.Unlock()
	c.busy++
	c.rest(false)
}

// Release undoes one Hold.
func (c *Conn) Release() {
	c.room.mu.Lock()
	defer c.room.mu.Unlock()
	c.busy--
	c.rest(c.busy == 0)
}

// CloseWrite lets net/http end a connection whose request it has not read: the peer
// sees the end of the answer before the reset that throws it away.
func (c *Conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// Admit says that whoever is at the other end of a connection, which may be wrapped,
// has proven who they are: it makes way for no other any more.
func Admit(c net.Conn) {
	for c != nil {
		switch at := c.(type) {
		case *Conn:
			at.Hold() // for good
			return
		case interface{ NetConn() net.Conn }: // as tls.Conn has it
			c = at.NetConn()
		default:
			return
		}
	}
}

// connKey is the connection in the context of its requests.
type connKey struct{}

// Serve makes the connections of a server busy while they carry a request: those that
// have none yet, or none any more, make way. The server has its handler already.
func Serve(s *http.Server) {
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) }
	next := s.Handler
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connKey{}).(*Conn); ok {
			c.Hold()
			defer c.Release()
		}
		next.ServeHTTP(w, r)
	})
}
