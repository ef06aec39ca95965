package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestStrangersTakeNoFiles: whoever opens more connections to the peer port than
// the sidecar may open files keeps neither the app out nor the journal from its
// files, which would stop it for good: a compaction meanwhile loses nothing.
func TestStrangersTakeNoFiles(t *testing.T) {
	t.Parallel()
	s := startWithFiles(t, 512, setup{name: "crowded", agents: []string{billing}, config: map[string]string{"scrub_interval": "1s"}})
	var open []net.Conn
	var compacted atomic.Bool
	var strangers sync.WaitGroup
	strangers.Go(func() {
		for n := 0; n < 20_000 || !compacted.Load(); n++ {
			c, err := net.Dial("tcp", s.peer)
			if err != nil {
				continue // turned away before the dial had ended
			}
			if open = append(open, c); len(open) > 1000 { // twice as many as it could have
				open[0].Close()
				open = open[1:]
			}
		}
	})
	t.Cleanup(func() {
		compacted.Store(true)
		strangers.Wait()
		for _, c := range open {
			c.Close()
		}
	})
	first := ""
	eventually(t, "a compaction", func() error {
		s.postMany(billing, 8, 440<<10)
		tables, err := filepath.Glob(filepath.Join(s.dir, "store", "*.sst"))
		if slices.Sort(tables); first == "" && len(tables) > 0 {
			first = tables[0]
		}
		if first == "" || slices.Contains(tables, first) {
			return fmt.Errorf("%d tables, %w", len(tables), err)
		}
		return nil
	})
	compacted.Store(true)
	strangers.Wait()
	read := s.figure("pannier_intent_journal_scrubs_total")
	eventually(t, "all that is open to be found as it was written", func() error {
		if n := s.figure("pannier_intent_journal_scrubs_total"); n < read+2 { // one may have begun before
			return fmt.Errorf("%v scrubs, and %v before", n, read)
		}
		return nil
	})
	eventually(t, "a line about those turned away", func() error {
		if !strings.Contains(s.stderr(), "connections are turned away") {
			return fmt.Errorf("stderr: %s", s.stderr())
		}
		return nil
	})
	// Over some turns of the journal's high-water mark, a new file each.
	eventually(t, "three marks", func() error { return marks(t, s, 3) })
	if code, _ := s.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s.verify() // nothing is missing from the store for want of a file
}

// TestFilesTakenFromInside: what takes the files of a sidecar need not come in. Apps that
// hang under its calls and peers that say nothing have no more than their shares; what
// takes the rest costs connections, and none that is there; with next to nothing left the
// journal waits. Nothing of it stops an intent, or is an attempt.
func TestFilesTakenFromInside(t *testing.T) {
	t.Parallel()
	const apps, each, peers = 4, 20, 80
	answer := make(chan struct{})
	app := newHook(t, func(w http.ResponseWriter, r *http.Request) { <-answer })
	agents, addresses := []string{billing}, map[string][]string{}
	for n := range apps {
		agents = append(agents, fmt.Sprintf("agent://acme/prod/app%d=http:http://%s/%d", n, app.addr, n))
	}
	mute := muteListener(t)
	for n := range peers {
		addresses[fmt.Sprintf("agent://acme/prod/peer%d", n)] = []string{fmt.Sprintf("127.0.0.%d:%d", 10+n, mute)}
	}
	s := startWithFiles(t, 512, setup{
		name: "eaten", agents: agents, peers: peersFile(t, addresses),
		config: map[string]string{"http_timeout": "10m"},
	})
	var called, flown []string
	for range each {
		for n := range apps {
			called = append(called, s.post(fmt.Sprintf("agent://acme/prod/app%d", n), map[string]any{"n": n}))
		}
	}
	for n := range peers {
		s.post(fmt.Sprintf("agent://acme/prod/peer%d", n), map[string]any{"n": n})
	}
	eventually(t, "as many calls as there may be", func() error {
		if n := app.count(); n < 32 {
			return fmt.Errorf("%d calls", n)
		}
		return nil
	})
	flow := func(n int) {
		t.Helper()
		for range n {
			s.post(billing, map[string]any{"n": n})
			it := s.take1(billing, take{})
			s.ack(it, nil)
			flown = append(flown, it.ID)
		}
	}
	flow(10)
	if n := app.count(); n != 32 {
		t.Fatalf("%d calls are under way, want 32: a sixteenth of the files, twice", n)
	}
	if n := s.files(); n > 512-96 {
		t.Errorf("%d of 512 files are open", n)
	}

	// The limit is put where something inside had taken all files but a few of the spare ones.
	s.limitFiles(s.files() - 32 + 8)
	eventually(t, "a line about files", func() error {
		if !strings.Contains(s.stderr(), "few files left") {
			return fmt.Errorf("stderr: %s", s.stderr())
		}
		return nil
	})
	flow(10) // over the connection there is
	if err := marks(t, s, 3); err != nil {
		t.Fatal(err)
	}
	stranger, err := net.Dial("tcp", s.peer) // in plain text, where nobody makes way
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	stranger.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := stranger.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("one more connection: %v, want its end", err)
	}
	if a := s.operate("GET", "/readyz?verbose", nil); a.code != 200 || !bytes.Contains(a.body, []byte("files are left that this process may open")) {
		t.Fatalf("readyz: %v", a) // over a new connection
	}
	if a := s.operate("GET", "/metrics", nil); !bytes.Contains(a.body, []byte("\npannier_open_files_spare 0\n")) {
		t.Errorf("metrics: %v", a)
	}

	s.limitFiles(512)
	eventually(t, "a line about files again", func() error {
		if !strings.Contains(s.stderr(), "files again") {
			return fmt.Errorf("stderr: %s", s.stderr())
		}
		return nil
	})
	s.http.CloseIdleConnections()
	flow(3) // over a new one
	close(answer)
	for _, id := range append(called, flown...) {
		if got := s.status(id, "COMPLETED"); got.DeliveryAttempt > 1 {
			t.Errorf("%s was tried %d times", id, got.DeliveryAttempt)
		}
	}
	if code, _ := s.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s.verify()
}

// TestStrangersMakeWay: where the places of a listener are taken by those who have said nothing,
// the first of them makes way for who comes: operators, people and peers that prove who they are
// get in, and apps that ask. A peer that proves nothing keeps its place, and one more is turned away.
func TestStrangersMakeWay(t *testing.T) {
	t.Parallel()
	file, ring := filepath.Join(t.TempDir(), "people.yaml"), filepath.Join(t.TempDir(), "keyring.yaml")
	peopleFile(t, file, [3]string{"ann@acme.example", annToken, finance})
	one := keyOf("1")
	if err := os.WriteFile(ring, keyringOf(one("current")), 0o600); err != nil {
		t.Fatal(err)
	}
	proven := startWithFiles(t, 320, setup{name: "proven", agents: []string{billing},
		args: []string{"--keyring", ring, "--health", "127.0.0.1:0", "--people", "127.0.0.1:0", "--people-file", file}})
	plain := startWithFiles(t, 320, setup{name: "plain", agents: []string{billing}})
	for name, row := range map[string]struct {
		address string
		makeWay bool
	}{
		"admin":                {proven.admin, true},
		"health":               {proven.ready.Health, true},
		"people":               {proven.ready.People, true},
		"peers, identified":    {proven.peer, true},
		"peers, in plain text": {plain.peer, false},
		"api":                  {plain.api, true},
	} {
		const places, more = 16, 8
		over := make(chan int, places+more)
		for n := range places + more {
			c, err := net.Dial("tcp", row.address)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			defer c.Close()
			go func() {
				if _, err := io.Copy(io.Discard, c); !errors.Is(err, net.ErrClosed) {
					over <- n
				}
			}()
		}
		for range more {
			if n := <-over; (n < more) != row.makeWay || (n >= places) == row.makeWay {
				t.Errorf("%s: the end of connection %d of %d; there are %d places", name, n, places+more, places)
			}
		}
	}
}

// startWithFiles starts a sidecar that may open so many files.
func startWithFiles(t *testing.T, most int, set setup) *sidecar {
	t.Helper()
	s := newSidecar(t, set)
	limited := filepath.Join(t.TempDir(), "limited")
	script := fmt.Sprintf("#!/bin/sh\nulimit -S -n %d\nulimit -H -n %d\nexec %s \"$@\"\n", most, most, s.bin)
	if err := os.WriteFile(limited, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	s.bin = limited
	s.start()
	return s
}

// limitFiles changes how many files the sidecar may open, while it runs.
func (s *sidecar) limitFiles(most int) {
	s.t.Helper()
	if err := unix.Prlimit(s.proc.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(most), Max: 512}, nil); err != nil {
		s.t.Fatal(err)
	}
}

// files is how many files and connections the sidecar has open.
func (s *sidecar) files() int {
	s.t.Helper()
	each, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.proc.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	return len(each)
}

// muteListener accepts at each address of loopback, and says nothing.
func muteListener(t *testing.T) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().(*net.TCPAddr).Port // its backlog has room for all who connect
}

// marks posts until the journal's mark has been replaced so often.
func marks(t *testing.T, s *sidecar, n int) error {
	t.Helper()
	var last os.FileInfo
	seen := 0
	for seen < n {
		s.post(billing, map[string]any{"n": seen})
		now, err := os.Stat(filepath.Join(s.dir, "journal.hwm"))
		if err != nil {
			return err
		}
		if last == nil || !os.SameFile(last, now) || now.ModTime() != last.ModTime() {
			seen++
			last = now
		}
	}
	return nil
}
