package proxy_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pannier/proxy"
)

// sidecar is a running proxy.
type sidecar struct {
	proxy.Info
	stop, force context.CancelFunc
	ended       chan error
}

// options are those of a sidecar on free ports with a journal of its own.
func options(t *testing.T) proxy.Options {
	t.Helper()
	o := proxy.DefaultOptions()
	o.API, o.Peer, o.Admin = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	o.Journal = filepath.Join(t.TempDir(), "journal")
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	o.Version = "test"
	return o
}

// run starts a sidecar and waits until it is ready.
func run(t *testing.T, o proxy.Options) *sidecar {
	t.Helper()
	p, err := proxy.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s := &sidecar{ended: make(chan error, 1)}
	ctx, stop := context.WithCancel(context.Background())
	force, halt := context.WithCancel(context.Background())
	s.stop, s.force = stop, halt
	ready := make(chan proxy.Info, 1)
	go func() { s.ended <- p.Run(ctx, force, func(i proxy.Info) { ready <- i }) }()
	t.Cleanup(func() {
		stop()
		halt()
		s.wait(t)
	})
	select {
	case s.Info = <-ready:
	case err := <-s.ended:
		s.ended <- err
		t.Fatalf("ended before it was ready: %v", err)
	case <-time.After(20 * time.Second):
		t.Fatal("not ready within 20 s")
	}
	return s
}

// wait returns what Run returned, as often as asked.
func (s *sidecar) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.ended:
		s.ended <- err
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("still running after 20 s")
		return nil
	}
}

func (s *sidecar) halt(t *testing.T) (took time.Duration, err error) {
	t.Helper()
	began := time.Now()
	s.stop()
	err = s.wait(t)
	return time.Since(began), err
}

// get asks a page of the admin listener.
func (s *sidecar) get(t *testing.T, path string) (int, string) {
	t.Helper()
	a, err := http.Get("http://" + s.Admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a.StatusCode, strings.TrimSpace(string(body))
}

func TestReadyLine(t *testing.T) {
	t.Parallel()
	s := run(t, options(t))
	if !s.Ready || len(s.Node) != 36 {
		t.Errorf("got %+v", s.Info)
	}
	for _, address := range []string{s.API, s.Peer, s.Admin} {
		host, port, err := net.SplitHostPort(address)
		if err != nil || host != "127.0.0.1" || port == "0" {
			t.Errorf("address %q", address)
		}
	}
	var line map[string]any
	text, err := json.Marshal(s.Info)
	if err != nil || json.Unmarshal(text, &line) != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"ready", "node", "api", "peer", "admin", "durable"} {
		if _, there := line[key]; !there {
			t.Errorf("the ready line %s has no %q", text, key)
		}
	}
}

func TestHealthOfARunningSidecar(t *testing.T) {
	t.Parallel()
	s := run(t, options(t))
	for _, path := range []string{"/healthz", "/readyz", "/startupz"} {
		if status, body := s.get(t, path); status != 200 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	_, body := s.get(t, "/readyz?verbose")
	for _, check := range []string{"journal", "listeners", "running", "durable"} {
		if !strings.Contains(body, `"name":"`+check+`"`) {
			t.Errorf("%s lacks the check %s", body, check)
		}
	}
	if _, body := s.get(t, "/v1/admin/status"); !strings.Contains(body, `"id":"`+s.Node+`"`) {
		t.Errorf("status %s does not name the journal %s", body, s.Node)
	}
}

// Probes come from the node, scrapes from elsewhere: what operators may do does not
// come along.
func TestHealthListener(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Health = "127.0.0.1:0"
	s := run(t, o)
	for path, want := range map[string]int{
		"/healthz": 200, "/readyz": 200, "/startupz": 200, "/metrics": 200,
		"/v1/admin/status": 404, "/v1/admin/dead-letters": 404, "/debug/pprof/": 404,
	} {
		a, err := http.Get("http://" + s.Health + path)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		if a.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, a.StatusCode, want)
		}
	}
}

// A sidecar nobody talks to must not hold up the pod's end. What a busy machine adds is not its
// own: the quickest of several ends counts, which no wait of a second leaves.
func TestIdleSidecarStopsWithinASecond(t *testing.T) {
	t.Parallel()
	quickest := time.Hour
	for range 5 {
		s := run(t, options(t))
		took, err := s.halt(t)
		if err != nil {
			t.Fatal(err)
		}
		if quickest = min(quickest, took); quickest < time.Second {
			return
		}
	}
	t.Errorf("stopped after %s at the quickest, want a second at most", quickest)
}

func TestJournalSurvivesARestart(t *testing.T) {
	t.Parallel()
	o := options(t)
	first := run(t, o)
	if _, err := first.halt(t); err != nil {
		t.Fatal(err)
	}
	second := run(t, o)
	if second.Node != first.Node {
		t.Errorf("node %s became %s", first.Node, second.Node)
	}
	var status struct {
		Journal struct {
			Boot    uint32
			Unclean bool
		}
	}
	if _, body := second.get(t, "/v1/admin/status"); json.Unmarshal([]byte(body), &status) != nil || status.Journal.Unclean {
		t.Errorf("after a clean stop: %s", body)
	}
}

// Two sidecars on one journal would both write it.
func TestJournalInUse(t *testing.T) {
	t.Parallel()
	o := options(t)
	run(t, o)
	p, err := proxy.New(o)
	if err != nil {
		t.Fatal(err)
	}
	err = p.Run(context.Background(), context.Background(), func(proxy.Info) { t.Error("ready on a journal in use") })
	if err == nil || !strings.Contains(err.Error(), o.Journal) {
		t.Errorf("got %v, want an error that names the journal", err)
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	o := options(t)
	o.Peer = taken.Addr().String()
	p, err := proxy.New(o)
	if err != nil {
		t.Fatal(err)
	}
	err = p.Run(context.Background(), context.Background(), func(proxy.Info) { t.Error("ready without its port") })
	var op *net.OpError
	if !errors.Is(err, syscall.EADDRINUSE) || !errors.As(err, &op) || op.Addr.String() != o.Peer {
		t.Errorf("got %v, want EADDRINUSE of %s", err, o.Peer)
	}
	o.Peer = "127.0.0.1:0"
	run(t, o) // the failed start has let go of the journal
}

// post and poll make one intent of our own and take it under a lease.
func (s *sidecar) postAndPoll(t *testing.T) {
	t.Helper()
	a, err := http.Post("http://"+s.API+"/v1/agents/orders/intents/order.v1", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close()
	if a.StatusCode >= 300 {
		t.Fatalf("post: %s", a.Status)
	}
	if a, err = http.Get("http://" + s.API + "/v1/agents/orders/intents?wait_seconds=10"); err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	if body, err := io.ReadAll(a.Body); err != nil || !strings.Contains(string(body), `"lease_id"`) {
		t.Fatalf("poll: %s, %v", body, err)
	}
}

// An app that has just been answered is about to ask again.
func TestStopWaitsForAQuietApp(t *testing.T) {
	t.Parallel()
	s := run(t, options(t))
	a, err := http.Get("http://" + s.API + "/health")
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close() // and the connection stays, idle: that is no request
	answered := time.Now()
	if _, err := s.halt(t); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(answered); took < 1900*time.Millisecond || took > 4*time.Second {
		t.Errorf("ended %s after the last request, want 2 s", took)
	}
}

func TestStopWaitsForALeaseUntilForced(t *testing.T) {
	t.Parallel()
	s := run(t, options(t))
	s.postAndPoll(t)
	s.stop()
	within(t, 5*time.Second, "unready while it drains", func() bool {
		status, body := s.get(t, "/readyz")
		return status == 503 && strings.Contains(body, "stopping")
	})
	select {
	case err := <-s.ended:
		s.ended <- err
		t.Fatalf("ended with a lease out: %v", err)
	case <-time.After(2500 * time.Millisecond): // beyond the quiet time
	}
	began := time.Now()
	s.force()
	if err, took := s.wait(t), time.Since(began); err != nil || took > time.Second {
		t.Errorf("forced: %v after %s", err, took)
	}
}

func TestHTTP2WithoutTLS(t *testing.T) {
	t.Parallel()
	s := run(t, options(t))
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := http.Client{Transport: &http.Transport{Protocols: protocols}}
	for _, url := range []string{"http://" + s.API + "/health", "http://" + s.Admin + "/healthz"} {
		a, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		if a.ProtoMajor != 2 || a.StatusCode != 200 {
			t.Errorf("%s: %s %s", url, a.Proto, a.Status)
		}
	}
}

func TestHeadersAreBounded(t *testing.T) {
	t.Parallel()
	s := run(t, options(t))
	r, err := http.NewRequest("GET", "http://"+s.API+"/health", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Long", strings.Repeat("x", 64<<10))
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return // the server may hang up while we are still sending
	}
	a.Body.Close()
	if a.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("64 KiB of headers: %s", a.Status)
	}
}

// Plain text must not leave the machine by way of a name in the peers file.
func TestPlainTextStaysOnLoopback(t *testing.T) {
	t.Parallel()
	for address, allowed := range map[string]bool{
		"127.0.0.1:7401": true, "127.8.9.10:1": true, "[::1]:7401": true,
		"10.0.0.7:7401": false, "[fd00::1]:7401": false, "192.168.1.1:80": false, "0.0.0.0:7401": false,
	} {
		if err := proxy.LoopbackOnly("tcp", address, nil); (err == nil) != allowed {
			t.Errorf("%s: %v, want allowed %v", address, err, allowed)
		}
	}
}

func TestBackoffIsJitteredAndBounded(t *testing.T) {
	t.Parallel()
	l := proxy.DefaultOptions().Limits
	for _, row := range []struct {
		attempts int
		ceiling  time.Duration
	}{{1, time.Second}, {2, 2 * time.Second}, {4, 8 * time.Second}, {9, 256 * time.Second}, {10, 5 * time.Minute}, {1 << 30, 5 * time.Minute}} {
		low, high := time.Duration(1<<62), time.Duration(0)
		for range 400 {
			d := l.Backoff(row.attempts)
			low, high = min(low, d), max(high, d)
		}
		if low > row.ceiling/8 || high > row.ceiling || high < row.ceiling*7/8 {
			t.Errorf("attempt %d: between %s and %s, want all of 0 to %s", row.attempts, low, high, row.ceiling)
		}
	}
}

func TestAPIOnASocket(t *testing.T) {
	t.Parallel()
	o := options(t)
	path := filepath.Join(t.TempDir(), "api.sock")
	o.API = "unix:" + path
	s := run(t, o)
	if s.API != o.API {
		t.Errorf("the ready line says %s, want %s", s.API, o.API)
	}
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	a, err := client.Get("http://localhost/health")
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close()
	if a.StatusCode != 200 {
		t.Errorf("health: %s", a.Status)
	}
	if _, err := s.halt(t); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestListenOnASocketLeftBehind(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "api.sock")
	left, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := proxy.Listen("unix:" + path); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v, want EADDRINUSE while somebody listens", err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false) // as a killed process leaves it
	left.Close()
	again, err := proxy.Listen("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	write(t, path, "not a socket")
	if _, err := proxy.Listen("unix:" + path); err == nil {
		t.Error("replaced a file that is no socket")
	}
}

// What a proxy owes nobody it does not wait for: an open connection that
// sends nothing, and one to the peer listener.
func TestSilentConnectionsDoNotHoldUpAStop(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Limits.DrainSeconds = 600
	s := run(t, o)
	for _, address := range []string{s.API, s.Peer, s.Admin} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if took, err := s.halt(t); err != nil || took > time.Minute {
		t.Errorf("stopped with %v after %s", err, took)
	}
}
