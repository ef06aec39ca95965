package proxy_test

import (
	"log/slog"
	"net"
	"testing"
	"time"

	"pannier/proxy"
)

// However few files there are, the journal keeps some and each listener has room;
// however many, memory is bounded.
func TestSharesOfFiles(t *testing.T) {
	t.Parallel()
	for _, files := range []uint64{0, 100, 300, 512, 1024, 4096, 65_536, 1 << 20, 1<<64 - 1} {
		api, peer, admin := proxy.Shares(files)
		for _, n := range []int{api, peer, admin} {
			if n < 16 || n > 16_384 {
				t.Errorf("of %d files a listener gets %d", files, n)
			}
		}
		if sum := uint64(api + peer + admin); files >= 512 && sum > files-max(256, files/2) {
			t.Errorf("of %d files the listeners get %d", files, sum)
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

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}
