package webhook_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"pannier/journal"
	"pannier/journal/state"
)

// names is a name server that gives every name the addresses it was last told.
type names struct {
	mu    sync.Mutex
	say   []netip.Addr
	asked int // since it was told
}

// serveNames makes every look-up of this process one of the server's, until the
// test ends. Tests that do so are not parallel: no other looks up meanwhile.
func serveNames(t *testing.T) *names {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &names{}
	var serving sync.WaitGroup
	serving.Go(func() {
		query := make([]byte, 512)
		for {
			size, from, err := conn.ReadFrom(query)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			answer, err := n.answer(query[:size])
			if err != nil {
				t.Error(err)
				return
			}
			conn.WriteTo(answer, from) // one that is lost is asked for again
		}
	})
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = before
		conn.Close()
		serving.Wait()
	})
	return n
}

func (n *names) are(say ...netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.say, n.asked = say, 0
}

// looks is how often the name was looked up since.
func (n *names) looks() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

// answer has a resource for each address of the family that was asked for. None
// may be remembered.
func (n *names) answer(query []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	n.mu.Lock()
	defer n.mu.Unlock()
	if m.Questions[0].Type == dnsmessage.TypeA { // the other family is asked for beside it
		n.asked++
	}
	for _, ip := range n.say {
		head := dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET}
		switch {
		case m.Questions[0].Type == dnsmessage.TypeA && ip.Is4():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: ip.As4()}})
		case m.Questions[0].Type == dnsmessage.TypeAAAA && ip.Is6():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AAAAResource{AAAA: ip.As16()}})
		}
	}
	return m.Pack()
}

// A name that is loopback's once and another's later is called where it is
// loopback's and nowhere else, whichever it was first: each connection has its own
// look-up, and what is looked at is the address that is dialed.
func TestRebindingName(t *testing.T) {
	dns := serveNames(t)
	l, err := net.Listen("tcp", ":0") // all addresses of both families
	if err != nil {
		t.Fatal(err)
	}
	var here, elsewhere atomic.Int32
	s := &http.Server{
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		ConnState: func(c net.Conn, to http.ConnState) {
			switch {
			case to != http.StateNew:
			case netip.MustParseAddrPort(c.LocalAddr().String()).Addr().Unmap().IsLoopback():
				here.Add(1)
			default:
				elsewhere.Add(1)
			}
		},
	}
	s.SetKeepAlivesEnabled(false) // a connection that is kept needs no name
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}

	loopback, other := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr(ownAddress(t))
	mapped := netip.AddrFrom16(other.As16())
	metadata := netip.MustParseAddr("169.254.169.254")
	w := setup(t, quick())
	w.p.Set(map[string]string{billing: "http://app.rebind.example:" + port})
	var open []journal.ID
	for _, turn := range [][]netip.Addr{
		{other}, {loopback}, {other}, {loopback}, {mapped}, {metadata}, {other, mapped, metadata},
		{other, loopback}, // whoever gives both is called at the one
	} {
		dns.are(turn...)
		before := here.Load()
		open = append(open, w.post(1)...)
		if slices.Contains(turn, loopback) {
			for _, id := range open {
				if i := w.ends(id, state.Completed); i.Head.Attempts != 0 {
					t.Errorf("%v: %d failed attempts", turn, i.Head.Attempts)
				}
			}
			open = nil
			continue
		}
		// Probes go one after the other: at the third look-up two have been refused.
		w.until("it is tried again and again", func() bool { return dns.looks() > 2 && w.m.Door(billing).Reason == "unreachable" })
		if n := here.Load() - before; n != 0 {
			t.Errorf("%v: called on loopback %d times, where the name is not", turn, n)
		}
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d connections off loopback", n)
	}
}
