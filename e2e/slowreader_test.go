package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// deaf is a reader of billing's stream on a socket of its own, with hardly any
// room for what it does not read.
type deaf struct {
	t    testing.TB
	conn *net.TCPConn
	r    *bufio.Reader
}

func (s *sidecar) deaf(query string) *deaf {
	s.t.Helper()
	return s.deafTo("GET " + agentPath(billing, "/intents/stream") + query + " HTTP/1.1")
}

// deafTo is such a reader of what the request line asks for.
func (s *sidecar) deafTo(line string) *deaf {
	s.t.Helper()
	small := func(_, _ string, c syscall.RawConn) (err error) {
		outer := c.Control(func(fd uintptr) {
			// Small segments keep what the other end buffers small, too.
			if err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 536); err == nil {
				err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096)
			}
		})
		if outer != nil {
			return outer
		}
		return err
	}
	c, err := (&net.Dialer{Control: small}).Dial("tcp", s.api)
	if err != nil {
		s.t.Fatal(err)
	}
	d := &deaf{t: s.t, conn: c.(*net.TCPConn), r: bufio.NewReaderSize(c, 512)}
	s.t.Cleanup(func() { c.Close() })
	_, err = io.WriteString(c, rawRequest(line, ""))
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// begun waits for the response, and leaves what comes in it unread.
func (d *deaf) begun() *http.Response {
	d.t.Helper()
	resp, err := http.ReadResponse(d.r, nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		d.t.Fatalf("stream: %v %v", resp, err)
	}
	return resp
}

// frames reads n frames, byte by byte so as to take nothing of the next, and returns
// the last.
func (d *deaf) frames(resp *http.Response, n int) string {
	d.t.Helper()
	var text strings.Builder
	for one := make([]byte, 1); n > 0; n-- {
		for text.Reset(); !strings.HasSuffix(text.String(), "\n\n"); text.Write(one) {
			if _, err := resp.Body.Read(one); err != nil {
				d.t.Fatalf("after %q: %v", text.String(), err)
			}
		}
	}
	return text.String()
}

// rest reads to the end: the numbers of the frames that came whole, and whether the
// response was cut.
func (d *deaf) rest(resp *http.Response) (numbers []int64, last string, err error) {
	d.t.Helper()
	text, err := io.ReadAll(resp.Body)
	all := strings.Split(string(text), "\n\n")
	for _, f := range all[:len(all)-1] {
		if it, ok := deliveredIn(strings.Split(f, "\n")); ok {
			numbers = append(numbers, it.Seq)
		}
		last = f
	}
	return numbers, last, err
}

// postMany posts n intents of size bytes each.
func (s *sidecar) postMany(to string, n, size int) {
	s.t.Helper()
	one := message(to, map[string]any{"pad": strings.Repeat("x", size)})
	for n > 0 {
		some := min(n, 900<<10/size)
		var doc struct {
			Results []struct{ OK bool }
		}
		s.call("POST", "/v1/intents:batch", map[string]any{"intents": slices.Repeat([]any{one}, some)}).into(s.t, &doc)
		for _, r := range doc.Results {
			if !r.OK {
				s.t.Fatalf("%+v", doc)
			}
		}
		n -= some
	}
}

// TestReadersThatDoNotRead: they ask and take nothing, or hang up at once. What they
// cost is bounded, the others are served meanwhile, and what went out to them comes
// again, under its number and as no attempt, once they are given up.
func TestReadersThatDoNotRead(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}})
	const total, size, stuck, hangUps = 350, 40 << 10, 4, 100
	s.takeNothing(billing, 0)
	s.postMany(billing, total, size)
	idle := s.procField("RssAnon")
	peak := idle
	var deafs []*deaf
	var began []*http.Response
	for n := range stuck + hangUps {
		d := s.deaf("")
		resp := d.begun()
		peak = max(peak, s.procField("RssAnon"))
		if n < stuck {
			deafs, began = append(deafs, d), append(began, resp)
		} else {
			d.conn.Close() // up to 64 frames are on the way to it
		}
	}
	// Less than those that hung up were sent together: nothing of them stays.
	if grown := peak - idle; grown > 160<<20 {
		t.Errorf("%d readers that take nothing and %d that hang up made it grow by %.0f MiB", stuck, hangUps, mib(grown))
	}
	t.Logf("figure: %d readers that take nothing and %d that hang up take %.0f MiB", stuck, hangUps, mib(peak-idle))

	// From here on an app that works: it asks for what is new, and is given it though
	// others do not read.
	ids, seen := map[string]bool{}, map[int64]bool{}
	work := func(r *reading) item {
		it, _ := r.next()
		if ids[it.ID] || seen[it.Seq] {
			t.Fatalf("came again: %+v", it)
		}
		ids[it.ID], seen[it.Seq] = true, true
		s.ack(it, nil)
		return it
	}
	fresh := s.read(fmt.Sprint("?since=", 1<<30))
	marker := s.post(billing, map[string]any{"n": 0})
	for work(fresh).ID != marker {
	}
	fresh.cancel()
	if len(ids) > total {
		t.Fatal("the readers that take nothing had nothing: this test shows nothing")
	}
	// And one that has seen nothing, and asks for all that was ever handed over.
	left := s.read("?since=0")
	for len(ids) < total+1 {
		if it := work(left); !it.Redelivered {
			t.Errorf("number %d is not marked as redelivered", it.Seq)
		}
	}
	for id := range ids {
		if w := s.why(id); w.Attempts.N != 0 {
			t.Errorf("%s: %d failed attempts", id, w.Attempts.N)
		}
	}
	s.takeNothing(billing, 0)
	for n, d := range deafs {
		numbers, _, err := d.rest(began[n])
		if err == nil {
			t.Errorf("the response of reader %d, which was given up, has an end", n)
		}
		for _, seq := range numbers {
			if !seen[seq] {
				t.Errorf("number %d was seen by reader %d alone", seq, n)
			}
		}
	}
}

// TestHalfClosedReader: a reader that closes its side for writing has hung up as far
// as the sidecar can know. Its response ends in words, and what it did not finish is
// for the next.
func TestHalfClosedReader(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}})
	d := s.deaf("")
	resp := d.begun()
	var ids []string
	for n := range 3 {
		ids = append(ids, s.post(billing, map[string]any{"n": n}))
		s.status(ids[n], "DELIVERED")
	}
	// DELIVERED is durable before it is written, and what is not written when a
	// reader hangs up is taken back.
	if last := d.frames(resp, 4); !strings.HasPrefix(last, "id: 3\n") {
		t.Fatalf("after ok and three hand-overs it read %q", last)
	}
	if err := d.conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	numbers, last, err := d.rest(resp)
	if len(numbers) > 0 || !strings.HasPrefix(last, "event: stream.timeout\n") || err != nil {
		t.Errorf("it read %v, last %q, %v; want stream.timeout and an end", numbers, last, err)
	}
	if a := s.resume(ids[0], `{"action": "complete"}`); a.code != 200 {
		t.Fatalf("resume: %v", a)
	}
	again := s.read("?since=1")
	for n, id := range ids[1:] {
		it, _ := again.next()
		if it.ID != id || it.Seq != int64(n+2) || it.DeliveryAttempt != 1 || !it.Redelivered {
			t.Errorf("next: %+v, want %s under number %d", it, id, n+2)
		}
		s.ack(it, nil)
	}
}
