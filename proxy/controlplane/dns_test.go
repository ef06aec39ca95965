package controlplane_test

import (
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"golang.org/x/net/dns/dnsmessage"

	"pannier/proxy/controlplane"
	"pannier/proxy/mesh"
)

// nameServer answers for billing.test. with addresses, for _peer.orders.test. with
// an SRV record, and that nothing else exists.
type nameServer struct {
	conn net.PacketConn
	mu   sync.Mutex
	fail bool // answer that it cannot
}

func startNameServer(t testing.TB) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{conn: conn}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for buffer := make([]byte, 1500); ; {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			var question dnsmessage.Message
			if question.Unpack(buffer[:n]) == nil && len(question.Questions) == 1 {
				if text, err := s.answer(question).Pack(); err == nil {
					conn.WriteTo(text, from)
				}
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return s
}

func (s *nameServer) failing(fail bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

func (s *nameServer) answer(m dnsmessage.Message) *dnsmessage.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := m.Questions[0]
	header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}
	r := &dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true, RecursionAvailable: true}, Questions: m.Questions}
	switch name := q.Name.String(); {
	case s.fail:
		r.RCode = dnsmessage.RCodeServerFailure
	case name == "billing.test." && q.Type == dnsmessage.TypeA:
		for _, last := range []byte{1, 2} {
			r.Answers = append(r.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: [4]byte{10, 0, 0, last}}})
		}
	case name == "one.orders.test." && q.Type == dnsmessage.TypeA:
		r.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: [4]byte{10, 0, 0, 9}}}}
	case name == "_peer.orders.test." && q.Type == dnsmessage.TypeSRV:
		r.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.SRVResource{Target: dnsmessage.MustNewName("one.orders.test."), Port: 7409}}}
	case name == "billing.test." || name == "one.orders.test.": // no AAAA
	default:
		r.RCode = dnsmessage.RCodeNameError
	}
	return r
}

func TestDNS(t *testing.T) {
	t.Parallel()
	server := startNameServer(t)
	source, err := controlplane.NewDNS(server.conn.LocalAddr().String(), []string{billing + "=billing.test.:7401", orders + "=_peer.orders.test.", "nobody=gone.test.:7401"}, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	plane := start(t, nil, source)
	for key, want := range map[string]int{mesh.Key(billing): 2, mesh.Key(orders): 1, mesh.Key("nobody"): 0} {
		c := plane.connect(&core.Node{Id: "c"})
		c.subscribe(mesh.TypeEndpoints, nil, key)
		assignment := new(endpoint.ClusterLoadAssignment)
		if err := c.next().GetResources()[0].GetResource().UnmarshalTo(assignment); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, l := range assignment.GetEndpoints() {
			n += len(l.GetLbEndpoints())
		}
		if n != want {
			t.Errorf("%s: %v, want %d endpoints", key, assignment, want)
		}
	}
}

// While a server says that it cannot answer, the control plane does not serve: it
// does not know.
func TestDNSIsNotSyncedByFailures(t *testing.T) {
	t.Parallel()
	server := startNameServer(t)
	server.failing(true)
	source, err := controlplane.NewDNS(server.conn.LocalAddr().String(), []string{billing + "=billing.test.:7401"}, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	_, ready := launch(t, nil, source)
	eventually(t, "it is said", func() bool { return strings.Contains(source.Trouble(), "look up "+billing) })
	select {
	case <-ready:
		t.Error("ready, though nobody has answered")
	default:
	}
}

func TestDNSWords(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{
		"billing":            "use AGENT=HOST:PORT",
		"a//b=h:1":           "empty segment",
		"billing=h:0":        "no port from 1",
		"billing=0.0.0.0:74": "no address that can be dialed",
	} {
		if _, err := controlplane.NewDNS("", []string{word}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", word, err, want)
		}
	}
	if _, err := controlplane.NewDNS("", []string{"a=h:1", "a=h:2"}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("an agent named twice is taken")
	}
}
