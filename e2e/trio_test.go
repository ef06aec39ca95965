package e2e_test

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
)

// trio is a home and two holders of billing, each behind a wire of its own
// that can be cut.
type trio struct {
	t       testing.TB
	home    *sidecar
	holders [2]*sidecar
	wires   [2]*wire
	peers   string
}

func startTrio(t testing.TB, config map[string]string) *trio {
	t.Helper()
	c := &trio{t: t}
	var ends []string
	for i := range c.holders {
		s := newSidecar(t, setup{name: fmt.Sprintf("holder %d", i+1), agents: []string{billing}, config: config})
		c.wires[i] = newWire(t, s.peer)
		// The address it tells its home is the wire's too, or a cut could be
		// walked around.
		s.set.args = []string{"--advertise", c.wires[i].addr}
		ends = append(ends, c.wires[i].addr)
		c.holders[i] = s
		s.launch()
	}
	c.peers = peersFile(t, map[string][]string{billing: ends})
	c.home = newSidecar(t, setup{name: "home", agents: []string{shop}, peers: c.peers, config: config})
	c.home.launch()
	for _, s := range c.all() {
		s.awaitReady()
	}
	return c
}

func (c *trio) all() []*sidecar { return []*sidecar{c.home, c.holders[0], c.holders[1]} }

// holderOf waits until one of the two has the intent, and returns it and the
// other one.
func (c *trio) holderOf(id string) (has, other *sidecar) {
	c.t.Helper()
	eventually(c.t, "one of two holders to have "+id, func() error {
		for i, s := range c.holders {
			if a := s.call("GET", "/v1/intents/"+id, nil); a.code == 200 {
				has, other = s, c.holders[1-i]
				return nil
			}
		}
		return fmt.Errorf("neither has it")
	})
	return has, other
}

func (c *trio) wireOf(s *sidecar) *wire {
	for i, h := range c.holders {
		if h == s {
			return c.wires[i]
		}
	}
	c.t.Fatalf("%s has no wire", s.set.name)
	return nil
}

// wire is a TCP connection point before a sidecar that a test can cut: what
// is open breaks, and what is new is refused.
type wire struct {
	addr, to string
	tap      func(p []byte) // sees, and may change, what is sent to the sidecar; nil: nobody

	mu struct {
		sync.Mutex
		listener net.Listener
		conns    map[net.Conn]bool
	}
	pipes sync.WaitGroup
}

func newWire(t testing.TB, to string) *wire {
	t.Helper()
	w := &wire{addr: freeAddr(t), to: to}
	w.mu.conns = map[net.Conn]bool{}
	w.mend(t)
	t.Cleanup(func() { w.cut(); w.pipes.Wait() })
	return w
}

func (w *wire) mend(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.mu.listener = l
	w.mu.Unlock()
	w.pipes.Go(func() { w.accept(l) })
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.listener != nil {
		w.mu.listener.Close()
		w.mu.listener = nil
	}
	for c := range w.mu.conns {
		c.Close()
	}
	clear(w.mu.conns)
}

func (w *wire) accept(l net.Listener) {
	for {
		in, err := l.Accept()
		if err != nil {
			return // cut
		}
		out, err := net.Dial("tcp", w.to)
		if err != nil {
			in.Close()
			continue
		}
		w.mu.Lock()
		w.mu.conns[in], w.mu.conns[out] = true, true
		if w.mu.listener != l { // cut since it was accepted
			in.Close()
			out.Close()
		}
		w.mu.Unlock()
		w.pipes.Go(func() { io.Copy(in, out); in.Close() })
		w.pipes.Go(func() { io.Copy(out, tapped{in, w.tap}); out.Close() })
	}
}

// tapped reads what a tap has had.
type tapped struct {
	net.Conn
	tap func(p []byte)
}

func (r tapped) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	if r.tap != nil {
		r.tap(p[:n])
	}
	return n, err
}
