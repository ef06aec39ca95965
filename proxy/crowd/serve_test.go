package crowd_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"pannier/proxy/crowd"
)

// serve runs a server with one place until the test ends.
func serve(t *testing.T, l net.Listener, h http.HandlerFunc) {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	log := slog.NewTextHandler(t.Output(), nil)
	s := &http.Server{Handler: h, Protocols: protocols, ErrorLog: slog.NewLogLogger(log, slog.LevelDebug)}
	crowd.Serve(s)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(crowd.ListenForProof(l, "api", 1, slog.New(log))) }()
	t.Cleanup(func() { s.Close(); <-ended })
}

// odd is a listener whose first connection is another than the others.
type odd struct {
	net.Listener
	first func(net.Conn) net.Conn
}

func (l *odd) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if first := l.first; err == nil && first != nil {
		l.first = nil
		return first(c), nil
	}
	return c, err
}

// held is a connection to which nothing is written before it may be.
type held struct {
	net.Conn
	writes chan<- struct{}
	may    <-chan struct{}
}

func (c *held) Write(p []byte) (int, error) {
	c.writes <- struct{}{}
	<-c.may
	return c.Conn.Write(p)
}

// A handler that has returned has not been heard yet: its connection makes way for nobody before
// the answer is sent.
func TestAnswerIsSentBeforeItsConnectionMakesWay(t *testing.T) {
	t.Parallel()
	writes, may := make(chan struct{}, 1), make(chan struct{})
	l := &odd{newListener(t), func(c net.Conn) net.Conn { return &held{c, writes, may} }}
	serve(t, l, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "well") })
	first := knock(t, l)
	io.WriteString(first, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-writes // the handler has returned
	second := knock(t, l)
	io.WriteString(second, "GET / HTTP/1.1\r\nHost: a\r\n\r\n") // let in it would be answered
	wantGone(t, "one too many while an answer is on its way", second)
	close(may)
	first.SetReadDeadline(time.Now().Add(time.Minute))
	answer, err := http.ReadResponse(bufio.NewReader(first), nil)
	if err != nil {
		t.Fatalf("the answer was lost: %v", err)
	}
	if body, err := io.ReadAll(answer.Body); string(body) != "well" {
		t.Errorf("answered %q, %v", body, err)
	}
	answer.Body.Close()
}

// stubborn is a connection that is closed as late as its server has read what was sent.
type stubborn struct {
	net.Conn
	closes atomic.Int32
}

func (c *stubborn) Close() error {
	if c.closes.Add(1) == 1 {
		return nil
	}
	return c.Conn.Close()
}

// What was on its way to a connection as that made way is not begun: its answer could not be
// heard, and who sent it sends it again.
func TestRequestOfWhoMadeWayIsNotBegun(t *testing.T) {
	t.Parallel()
	l := &odd{newListener(t), func(c net.Conn) net.Conn { return &stubborn{Conn: c} }}
	var asked atomic.Int32
	serve(t, l, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	ask := func(c net.Conn) error {
		io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
		c.SetReadDeadline(time.Now().Add(time.Minute))
		_, err := http.ReadResponse(bufio.NewReader(c), nil)
		return err
	}
	first, second := knock(t, l), knock(t, l)
	if err := ask(second); err != nil {
		t.Fatalf("who came is not let in: %v", err)
	}
	if err := ask(first); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("who had made way: %v, want the end of the connection", err)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("%d requests were begun, want one", n)
	}
}

// A connection of HTTP/2 keeps its place while one of its streams is at work, and makes way
// between them.
func TestStreamsKeepTheirConnection(t *testing.T) {
	t.Parallel()
	l := newListener(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	serve(t, l, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
		asked <- struct{}{}
		<-answer
	})
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	var streams []*http.Response
	for range 2 { // on one connection: there is one place
		response, err := client.Get("http://" + l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		<-asked
		streams = append(streams, response)
	}
	answer <- struct{}{}
	if _, err := io.Copy(new(bytes.Buffer), streams[0].Body); err != nil {
		t.Fatal(err)
	}
	wantGone(t, "one too many while a stream is at work", knock(t, l))
	answer <- struct{}{}
	if _, err := io.Copy(new(bytes.Buffer), streams[1].Body); err != nil {
		t.Fatal(err)
	}
	next := &http.Client{Timeout: time.Minute, Transport: &http.Transport{}}
	defer next.CloseIdleConnections()
	go func() { <-asked; answer <- struct{}{} }()
	response, err := next.Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatalf("who came while no stream was at work: %v", err)
	}
	response.Body.Close()
}

// Who is turned away is counted, with what for; who makes way is not.
func TestTurnedAwayAreCounted(t *testing.T) {
	t.Parallel()
	var left files
	l := newListener(t)
	const most = 2
	places := crowd.ListenForProof(l, "api", most, slog.New(slog.NewTextHandler(t.Output(), nil))).Guarded(left.guard())
	accepted := make(chan net.Conn)
	go func() { // ends with the listener
		for {
			c, err := places.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	want := func(when string, open, idle int, count uint64, short bool) {
		t.Helper()
		u := places.Use()
		if u.Name != "api" || u.Most != most || u.Open != open || u.Idle != idle || u.Away.Count != count || u.Away.Short != short {
			t.Errorf("%s: %+v", when, u)
		}
		if u.Away.Last.IsZero() != (count == 0) || time.Since(u.Away.Last) > time.Minute && count > 0 {
			t.Errorf("%s: the last was turned away at %s", when, u.Away.Last)
		}
	}
	want("empty", 0, 0, 0, false)
	for range most + 1 { // the first makes way
		knock(t, l)
		(<-accepted).(*crowd.Conn).Work(false)
	}
	want("idle", 2, 2, 0, false)
	knock(t, l)
	crowd.Admit(<-accepted)
	want("one at work", 2, 1, 0, false)
	knock(t, l)
	last := <-accepted
	crowd.Admit(last)
	wantGone(t, "one too many", knock(t, l))
	want("full", 2, 0, 1, false)
	last.Close()
	left.few.Store(true)
	wantGone(t, "one for which there are too few files", knock(t, l))
	want("few files", 1, 0, 2, true)
}
