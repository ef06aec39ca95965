package crowd_test

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pannier/proxy/crowd"
)

// files are those of a process, as a test has them.
type files struct {
	few     atomic.Bool
	asked   atomic.Int32
	givenUp atomic.Int32
}

func (f *files) guard() crowd.Guard {
	return crowd.Guard{
		Fits: func() bool { f.asked.Add(1); return !f.few.Load() },
		Out: func(err error) bool {
			if !errors.Is(err, syscall.EMFILE) {
				return false
			}
			f.givenUp.Add(1)
			return true
		},
	}
}

// lacking is a listener that is refused a file so often.
type lacking struct {
	net.Listener
	n int
}

func (l *lacking) Accept() (net.Conn, error) {
	if l.n > 0 {
		l.n--
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.Listener.Accept()
}

func newListener(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func knock(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func wantGone(t *testing.T, what string, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := c.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("%s is not turned away: %v", what, err)
	}
}

// Where few files are left to the process a connection is turned away though its room is
// empty, hears of it even where there was none for itself, and takes no place.
func TestFewFilesTurnAway(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	var left files
	below := &lacking{newListener(t), 0}
	l := crowd.Listen(below, "api", 1, log).Guarded(left.guard())
	left.few.Store(true)
	below.n = 1
	turned := []net.Conn{knock(t, below), knock(t, below)}
	type accept struct {
		net.Conn
		error
	}
	accepted := make(chan accept, 1)
	go func() {
		c, err := l.Accept()
		accepted <- accept{c, err}
	}()
	for _, c := range turned {
		for {
			c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			if _, err := c.Read(make([]byte, 1)); !isTimeout(err) {
				break // its end
			}
			if len(accepted) > 0 {
				t.Fatalf("one too many: %+v", <-accepted)
			}
		}
	}
	if n := left.givenUp.Load(); n != 1 {
		t.Errorf("what is spare was asked for %d times, want once", n)
	}
	left.few.Store(false)
	in := knock(t, below)
	if c := <-accepted; c.error != nil || c.RemoteAddr().String() != in.LocalAddr().String() {
		t.Errorf("%+v, want %s to be let in", c, in.LocalAddr())
	}
}

// Who has proven nothing makes way there, and who mends it is let in.
func TestFewFilesMakeWay(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	var left files
	l := crowd.ListenForProof(newListener(t), "peer", 2, log).Guarded(left.guard())
	accept := func() {
		t.Helper()
		if _, err := l.Accept(); err != nil {
			t.Fatal(err)
		}
	}
	silent := knock(t, l)
	accept()
	left.few.Store(true)
	for range 3 { // each in the place of the one before: the room has two
		next := knock(t, l)
		accept()
		wantGone(t, "who has been idle for longest", silent)
		silent = next
	}
	left.few.Store(false)
	knock(t, l)
	accept()
	silent.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := silent.Read(make([]byte, 1)); !isTimeout(err) {
		t.Errorf("the second of two: %v", err)
	}
	left.few.Store(true)
	below := &lacking{newListener(t), 1}
	admin := crowd.ListenForProof(below, "admin", 1, log).Guarded(crowd.Guard{Out: left.guard().Out})
	knock(t, below)
	if _, err := admin.Accept(); err != nil || left.givenUp.Load() != 1 {
		t.Errorf("an operator: %v; what is spare was asked for %d times", err, left.givenUp.Load())
	}
}

// Nothing is dialed where few files are left, and what is under way is given up before it
// connects; it takes no place either way, and what its dialer refuses stays refused.
func TestFewFilesDialNobody(t *testing.T) {
	t.Parallel()
	var left files
	l := newListener(t)
	room := crowd.NewRoom("dials", 1, slog.New(slog.NewTextHandler(t.Output(), nil))).Guarded(left.guard())
	dial := func(d *net.Dialer) error {
		c, err := room.Dial(t.Context(), d, l.Addr().String())
		if err == nil {
			c.Close()
		}
		return err
	}
	never := errors.New("never")
	if err := dial(&net.Dialer{Control: func(string, string, syscall.RawConn) error { return never }}); !errors.Is(err, never) {
		t.Errorf("what its dialer refuses: %v", err)
	}
	left.few.Store(true)
	if err := dial(&net.Dialer{}); err == nil || !strings.Contains(err.Error(), "files") || left.asked.Load() != 3 {
		t.Errorf("with few files left: %v, asked %d times", err, left.asked.Load())
	}
	left.few.Store(false)
	guard := left.guard()
	asked := 0
	guard.Fits = func() bool { asked++; return asked != 2 } // the socket itself is one too many
	one := crowd.NewRoom("dials", 1, slog.New(slog.NewTextHandler(t.Output(), nil))).Guarded(guard)
	if _, err := one.Dial(t.Context(), &net.Dialer{}, l.Addr().String()); err == nil || asked != 2 {
		t.Errorf("a socket too many: %v, asked %d times", err, asked)
	}
	var once atomic.Bool
	if err := dial(&net.Dialer{Control: func(string, string, syscall.RawConn) error {
		if once.Swap(true) {
			return nil
		}
		return os.NewSyscallError("socket", syscall.EMFILE)
	}}); err != nil || left.givenUp.Load() != 1 {
		t.Errorf("refused a file once: %v; what is spare was asked for %d times", err, left.givenUp.Load())
	}
	if err := dial(&net.Dialer{}); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

// A name is asked for by a socket of its own, which is given up as well.
func TestFewFilesAskForNoName(t *testing.T) {
	t.Parallel()
	var left files
	guard := left.guard()
	asked := 0
	guard.Fits = func() bool { asked++; return asked == 1 } // before names are asked for
	room := crowd.NewRoom("dials", 1, slog.New(slog.NewTextHandler(t.Output(), nil))).Guarded(guard)
	if c, err := room.Dial(t.Context(), &net.Dialer{}, "nobody.invalid.:80"); err == nil || !strings.Contains(err.Error(), "hardly any files are left") {
		t.Errorf("a name is asked for with few files left: %v, %v", c, err)
	}
}
