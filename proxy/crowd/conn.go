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
	place    *list.Element // among the idle; nil: it does not make way
	works    bool          // it carries a request
	admitted bool          // see Admit
	left     bool          // it has no place any more
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

// work says whether the connection carries a request. While it does it makes way for no other.
func (c *Conn) work(now bool) {
	c.room.mu.Lock()
	defer c.room.mu.Unlock()
	c.works = now
	c.rest(!c.works && !c.admitted)
}

// gone reports whether the connection has no place any more.
func (c *Conn) gone() bool {
	c.room.mu.Lock()
	defer c.room.mu.Unlock()
	return c.left
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

// Admit says that a connection, which may be wrapped, makes way for no other any more: whoever
// is at its other end has proven who they are, or would lose more than the connection.
func Admit(c net.Conn) {
	at := placed(c)
	if at == nil {
		return
	}
	at.room.mu.Lock()
	defer at.room.mu.Unlock()
	at.admitted = true
	at.rest(false)
}

// placed is the connection with a place in a room that c is, or wraps; nil: none is.
func placed(c net.Conn) *Conn {
	for c != nil {
		switch at := c.(type) {
		case *Conn:
			return at
		case interface{ NetConn() net.Conn }: // as tls.Conn has it
			c = at.NetConn()
		default:
			return nil
		}
	}
	return nil
}

// connKey is the connection in the context of its requests.
type connKey struct{}

// Serve has the connections of a server make way while they carry no request: before the first,
// and from an answer that net/http has sent to the next request. What was still read of one
// that has made way is not begun, as nobody would hear its answer: whoever sent it
// sees the connection closed and may send it again. The server has its handler and hooks already.
func Serve(s *http.Server) {
	state, base, next := s.ConnState, s.ConnContext, s.Handler
	s.ConnState = func(c net.Conn, to http.ConnState) {
		if at := placed(c); at != nil && (to == http.StateActive || to == http.StateIdle) {
			at.work(to == http.StateActive)
		}
		if state != nil {
			state(c, to)
		}
	}
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if base != nil {
			ctx = base(ctx, c)
		}
		return context.WithValue(ctx, connKey{}, placed(c))
	}
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, _ := r.Context().Value(connKey{}).(*Conn); c != nil && c.gone() {
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
}
