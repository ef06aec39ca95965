package crowd_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"pannier/proxy/crowd"
)

// One connection too many is closed at once, and let in when another has gone.
func TestCrowdTurnsAway(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	places := crowd.Listen(l, "peer", 2, slog.New(slog.NewTextHandler(t.Output(), nil)))
	defer places.Close()
	accepted := make(chan net.Conn, 8)
	go func() { // ends with the listener
		defer close(accepted)
		for {
			c, err := places.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	dial()
	dial()
	first := <-accepted
	<-accepted
	third := dial()
	third.SetDeadline(time.Now().Add(time.Minute))
	if n, err := third.Read(make([]byte, 1)); n != 0 || err == nil || isTimeout(err) {
		t.Fatalf("the third of two is not turned away: %d, %v", n, err)
	}
	first.Close()
	first.Close() // counts once
	dial()
	<-accepted
	fifth := dial()
	fifth.SetDeadline(time.Now().Add(time.Minute))
	if _, err := fifth.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Fatalf("a connection that was closed twice makes room for two: %v", err)
	}
}

// What is dialed is bounded, too, and there is room again for each that was closed or
// did not come to be.
func TestDialsAreBounded(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	room := crowd.NewRoom("dials", 2, slog.New(slog.NewTextHandler(t.Output(), nil)))
	dial := func(address string) (net.Conn, error) { return room.Dial(t.Context(), &net.Dialer{}, address) }
	first, err := dial(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := dial("127.0.0.1:0"); err == nil || strings.Contains(err.Error(), "2 connections") {
			t.Fatalf("to nowhere: %v", err)
		}
	}
	second, err := dial(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if _, err := dial(l.Addr().String()); err == nil || !strings.Contains(err.Error(), "2 connections of this kind (dials) are open") {
		t.Errorf("the third of two: %v", err)
	}
	first.Close()
	third, err := dial(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	third.Close()
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// Who says nothing makes way for who comes, the one that has been idle for longest
// first, and never who has proven who they are or carries a request.
func TestIdleMakesWay(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	places := crowd.ListenForProof(l, "peer", 3, slog.New(slog.NewTextHandler(t.Output(), nil)))
	defer places.Close()
	// A connection is dialed and accepted before the next one.
	connect := func() (far, near net.Conn) {
		t.Helper()
		far, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { far.Close() })
		if near, err = places.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { near.Close() }) // until then nobody collects it, which would close it
		return far, near
	}
	gone := func(what string, c net.Conn) {
		t.Helper()
		c.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := c.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("%s does not make way: %v", what, err)
		}
	}
	proven, near := connect()
	crowd.Admit(wrapped{near})
	asking, near := connect()
	request := near.(*crowd.Conn)
	request.Work(true)
	silent, _ := connect()
	second, _ := connect()
	gone("who says nothing", silent)
	request.Work(false)
	connect()
	gone("who has been idle for longest", second)
	last, lastNear := connect()
	gone("who has been answered", asking)
	lastNear.(*crowd.Conn).Work(true)
	proven.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := proven.Read(make([]byte, 1)); !isTimeout(err) {
		t.Errorf("who has proven who they are: %v", err)
	}
	last.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := last.Read(make([]byte, 1)); !isTimeout(err) {
		t.Errorf("who carries a request: %v", err)
	}
}

// Who has left makes way no more, or two would come for one; and who has proven who they are carries
// a request as well.
func TestWhoHasLeftMakesNoWay(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(c *crowd.Conn){
		"idle":         func(c *crowd.Conn) { c.Close() },
		"in a request": func(c *crowd.Conn) { c.Work(true); c.Close(); c.Work(false) },
	} {
		l := &ending{newListener(t), 4}
		places := crowd.ListenForProof(l, "peer", 1, slog.New(slog.NewTextHandler(t.Output(), nil)))
		accept := func() *crowd.Conn {
			t.Helper()
			knock(t, l)
			near, err := places.Accept()
			if err != nil {
				t.Fatal(err)
			}
			return near.(*crowd.Conn)
		}
		before(accept())
		second := accept()
		third := accept()
		if _, err := second.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after one that left %s the one that is idle does not make way: %v", name, err)
		}
		crowd.Admit(third)
		third.Work(true)
		knock(t, l)
		if _, err := places.Accept(); err == nil {
			t.Errorf("after one that left %s two are in one place", name)
		}
		if _, err := third.Write([]byte("x")); err != nil {
			t.Errorf("who carries a request makes way: %v", err)
		}
	}
}

// ending is a listener of so many connections.
type ending struct {
	net.Listener
	n int
}

func (l *ending) Accept() (net.Conn, error) {
	if l.n == 0 {
		return nil, net.ErrClosed
	}
	l.n--
	return l.Listener.Accept()
}

// wrapped is as TLS wraps a connection.
type wrapped struct{ net.Conn }

func (w wrapped) NetConn() net.Conn { return w.Conn }

// A server of HTTP whose places are all taken by clients that say half of a request,
// or have been answered, answers the next.
func TestHTTPIsAnsweredInACrowd(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked, answer := make(chan struct{}), make(chan struct{})
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			close(asked)
			<-answer
		}
		io.WriteString(w, "well")
	})}
	crowd.Serve(s)
	served := make(chan error, 1)
	go func() {
		served <- s.Serve(crowd.ListenForProof(l, "admin", 4, slog.New(slog.NewTextHandler(t.Output(), nil))))
	}()
	defer func() { s.Close(); <-served }()
	answered := make(chan error, 1)
	go func() { // who has asked, and is not answered yet
		response, err := http.Get("http://" + l.Addr().String() + "/long")
		if err == nil {
			var body []byte
			if body, err = io.ReadAll(response.Body); string(body) != "well" {
				err = fmt.Errorf("answered %q, %w", body, err)
			}
			response.Body.Close()
		}
		answered <- err
	}()
	<-asked
	for i := range 8 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost:")
		client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{}} // keeps its connection
		response, err := client.Get("http://" + l.Addr().String())
		if err != nil {
			t.Fatalf("the %d. time: %v", i+1, err)
		}
		_, _ = io.Copy(io.Discard, response.Body) // unread it would not be kept
		response.Body.Close()
	}
	close(answer)
	if err := <-answered; err != nil {
		t.Errorf("who asked before all of them: %v", err)
	}
}
