package proxy_test

import (
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"pannier/proxy"
)

// However few files there are, the journal keeps some and each listener has room;
// however many, memory is bounded.
func TestSharesOfFiles(t *testing.T) {
	t.Parallel()
	for _, files := range []uint64{0, 100, 300, 512, 1024, 4096, 65_536, 1 << 20, 1<<64 - 1} {
		api, peer, admin, dials := proxy.Shares(files)
		for _, n := range []int{api, peer, admin, dials} {
			if n < 16 || n > 16_384 {
				t.Errorf("of %d files one gets %d", files, n)
			}
		}
		if sum := uint64(api + peer + admin + dials); files >= 512 && sum > files-max(256, files/2) {
			t.Errorf("of %d files all get %d", files, sum)
		}
	}
}

// One connection too many is closed at once, and let in when another has gone.
func TestCrowdTurnsAway(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	crowd := proxy.NewCrowd(l, "peer", 2, slog.New(slog.NewTextHandler(t.Output(), nil)))
	defer crowd.Close()
	accepted := make(chan net.Conn, 8)
	go func() { // ends with the listener
		defer close(accepted)
		for {
			c, err := crowd.Accept()
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
	room := proxy.NewRoom("dials", 2, slog.New(slog.NewTextHandler(t.Output(), nil)))
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
	if _, err := dial(l.Addr().String()); err == nil || !strings.Contains(err.Error(), "2 connections to other sidecars are open") {
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
