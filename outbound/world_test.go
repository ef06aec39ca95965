package outbound_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"pannier/journal"
	"pannier/journal/journaltest"
	"pannier/journal/state"
	"pannier/journal/wire"
	"pannier/outbound"
)

const (
	billing = "agent://acme/prod/billing"
	addrA   = "a.test:7401"
	addrB   = "b.test:7401"
	home    = "home.test:7401"
)

// world is a home with a real journal in a bubble of fake time: holders are
// scripted, pipes stand for the network.
type world struct {
	t     *testing.T
	dir   string
	j     *journal.Journal
	d     *outbound.Dispatcher
	hooks atomic.Pointer[outbound.Dispatcher]
	peers *directory
	local *mailbox
	net   *network
	stop  func() // of the dispatcher
	opt   outbound.Options
	trust outbound.Trust // nil: everybody is taken at its word
	told  outbound.Told
}

// bubble runs f in a fresh world.
func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	bubbleWith(t, func(*outbound.Options) {}, f)
}

// bubbleWith is bubble with other options than the default ones.
func bubbleWith(t *testing.T, change func(*outbound.Options), f func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	o := outbound.DefaultOptions()
	change(&o)
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { f(t, newWorld(t, o)) })
}

func newWorld(t *testing.T, o outbound.Options) *world {
	w := &world{t: t, dir: t.TempDir(), net: &network{}, opt: o}
	w.open()
	w.run()
	t.Cleanup(func() { w.close() }) // also after Fatal
	return w
}

func (w *world) open() {
	w.t.Helper()
	j, err := journaltest.Open(journal.Options{Dir: w.dir, Hooks: journal.Hooks{
		Due: func(a journal.Agent) {
			if d := w.hooks.Load(); d != nil {
				d.Due(a)
			}
		},
		Ended: func(e journal.Ended) {
			if d := w.hooks.Load(); d != nil {
				d.Ended(e)
			}
		},
		Continued: func(c journal.Continued) {
			if d := w.hooks.Load(); d != nil {
				d.Continued(c)
			}
		},
		Changed: func(p journal.Policy) {
			if d := w.hooks.Load(); d != nil {
				d.Changed(p)
			}
		},
		Failed: func(err error) { w.t.Errorf("the journal failed: %v", err) },
	}})
	if err != nil {
		w.t.Fatalf("open journal: %v", err)
	}
	w.j = j
	w.peers = &directory{agents: map[string][]outbound.Endpoint{}, changed: make(chan struct{})}
	w.local = &mailbox{j: j}
}

func (w *world) run() {
	log := slog.New(slog.NewTextHandler(w.t.Output(), nil))
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(w.net.dial),
	}
	self := outbound.Self{Identity: w.j.Identity(), Address: home, Zone: "z1"}
	w.d = outbound.New(w.opt, w.j, self, w.peers, w.local, dial, log)
	if w.trust != nil {
		w.d.SetTrust(w.trust)
	}
	w.d.SetTold(w.told)
	w.hooks.Store(w.d)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.d.Run(ctx) }()
	w.stop = func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run: %v", err)
		}
		w.hooks.Store(nil)
	}
}

// close ends everything: what is left running would be found by the bubble.
func (w *world) close() {
	w.t.Helper()
	w.stop()
	w.net.stop()
	if err := w.j.Close(); err != nil {
		w.t.Errorf("close journal: %v", err)
	}
}

// crash ends the home as a kill would and starts it again.
func (w *world) crash() {
	w.t.Helper()
	next := w.t.TempDir()
	if out, err := exec.Command("cp", "-a", "--sparse=always", w.dir+"/.", next).CombinedOutput(); err != nil {
		w.t.Fatalf("copy journal: %v: %s", err, out)
	}
	w.stop()
	if err := w.j.Close(); err != nil {
		w.t.Errorf("close journal: %v", err)
	}
	peers := w.peers.agents
	w.dir = next
	_ = os.Remove(filepath.Join(next, "LOCK"))
	w.open()
	w.peers.agents = peers
	if !w.j.Stats().Unclean {
		w.t.Fatal("the start is not an unclean one")
	}
	w.run()
}

// restart stops the home cleanly and starts it again.
func (w *world) restart(down ...func()) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	w.d.Drain(ctx)
	w.stop()
	if err := w.j.Close(); err != nil {
		w.t.Errorf("close journal: %v", err)
	}
	peers := w.peers.agents
	w.open()
	w.peers.agents = peers
	for _, f := range down {
		f()
	}
	w.run()
}

// after lets d pass, and everything that can happen happen.
func (w *world) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// accept takes n intents for agent.
func (w *world) accept(agent string, n int) []journal.ID {
	return w.acceptBody(agent, n, []byte(`{"n":1}`))
}

func (w *world) acceptBody(agent string, n int, body []byte) (ids []journal.ID) {
	w.t.Helper()
	for n > 0 {
		k := min(n, 500)
		n -= k
		in := make([]journal.Accept, k)
		for i := range in {
			in[i].Envelope = &wire.Envelope{IntentType: "t", FromAgent: "tester", ToAgent: agent, Payload: body}
		}
		out, err := w.j.Accept(context.Background(), in)
		if err != nil {
			w.t.Fatalf("accept: %v", err)
		}
		for _, a := range out {
			if a.Err != nil {
				w.t.Fatalf("accept: %v", a.Err)
			}
			ids = append(ids, a.ID)
		}
	}
	synctest.Wait()
	return ids
}

// where returns home's record of an intent.
func (w *world) where(id journal.ID) (place journal.Place, holder journal.ID, offerNo uint64) {
	w.t.Helper()
	i, err := w.j.Get(id)
	if err != nil {
		w.t.Fatalf("get %s: %v", id, err)
	}
	if len(i.Head.Holder) > 0 {
		holder = journal.ID(i.Head.Holder)
	}
	return journal.Place(i.Head.Place), holder, i.Head.OfferNo
}

func (w *world) status(id journal.ID) state.Status {
	w.t.Helper()
	i, err := w.j.Get(id)
	if err != nil {
		w.t.Fatalf("get %s: %v", id, err)
	}
	return i.Status()
}

func (w *world) cancel(id journal.ID) {
	w.t.Helper()
	if _, err := w.j.Answer(context.Background(), id, journal.Answer{Trigger: state.Cancel, Reason: state.ReasonCanceled}); err != nil {
		w.t.Fatalf("cancel: %v", err)
	}
	synctest.Wait()
}

// peer returns the status of one address.
func (w *world) peer(address string) outbound.PeerStatus {
	w.t.Helper()
	for _, p := range w.d.Peers() {
		if p.Address == address {
			return p
		}
	}
	w.t.Fatalf("no peer at %s", address)
	return outbound.PeerStatus{}
}

// directory is a Directory in memory.
type directory struct {
	mu       sync.Mutex
	agents   map[string][]outbound.Endpoint
	policies map[string]outbound.Policy
	unknown  bool
	changed  chan struct{}
}

func (d *directory) set(agent string, addresses ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	eps := []outbound.Endpoint{}
	for _, a := range addresses {
		eps = append(eps, outbound.Endpoint{Address: a})
	}
	d.agents[agent] = eps
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *directory) zones(agent string, eps ...outbound.Endpoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.agents[agent] = eps
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *directory) Endpoints(agent string) ([]outbound.Endpoint, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.agents[agent], !d.unknown
}

func (d *directory) Policy(agent string) outbound.Policy {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.policies[agent]
}

func (d *directory) policy(agent string, p outbound.Policy) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.policies == nil {
		d.policies = map[string]outbound.Policy{}
	}
	d.policies[agent] = p
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *directory) Changed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

// mailbox is our own, with a window that a test sets.
type mailbox struct {
	j      *journal.Journal
	serves atomic.Bool
	window atomic.Int64
	shut   atomic.Uint32 // state.Cause
	fails  atomic.Bool
	took   atomic.Int64
}

func (m *mailbox) Serves(string) bool { return m.serves.Load() }
func (m *mailbox) Window(string) int  { return int(m.window.Load()) }

func (m *mailbox) Shut(string) state.Cause { return state.Cause(m.shut.Load()) }

func (m *mailbox) Take(ctx context.Context, agent string, offers []journal.Offer) ([]journal.HoldResult, error) {
	if m.fails.Load() {
		return nil, errors.New("no room")
	}
	m.window.Add(-int64(len(offers)))
	m.took.Add(int64(len(offers)))
	return m.j.HoldLocal(ctx, offers, make([]journal.Terms, len(offers)))
}

// network joins addresses to whoever listens there.
type network struct {
	mu        sync.Mutex
	listening map[string]func() (net.Conn, error)
	dials     map[string]int
	stops     []func()
}

func (n *network) dial(ctx context.Context, address string) (net.Conn, error) {
	n.mu.Lock()
	if n.dials == nil {
		n.dials = map[string]int{}
	}
	n.dials[address]++
	connect := n.listening[address]
	n.mu.Unlock()
	if connect == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	}
	conn, err := connect()
	return &placed{conn, place(address)}, err
}

// placed is a connection that knows where its other end is.
type placed struct {
	net.Conn
	to place
}

func (c *placed) RemoteAddr() net.Addr { return c.to }

// place is an address in the network.
type place string

func (p place) Network() string { return "test" }
func (p place) String() string  { return string(p) }

func (n *network) dialed(address string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials[address]
}

func (n *network) listen(address string, connect func() (net.Conn, error)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listening == nil {
		n.listening = map[string]func() (net.Conn, error){}
	}
	n.listening[address] = connect
}

func (n *network) unplug(address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.listening, address)
}

func (n *network) stop() {
	for _, f := range n.stops {
		f()
	}
}

// plug lets an unplugged holder be reached again.
func (w *world) plug(f *fake) { w.net.listen(f.address, f.connect) }
