package proxy_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"pannier/proxy"
)

// hungPatience is how long a test waits for what must come though the disk hangs.
const hungPatience = 5 * time.Second

// hang makes the journal of a running sidecar hang in its next commit, as on a disk that
// takes a write and never answers: its log goes on in a file that nobody can open. Once
// goOn is called that commit fails.
func hang(t *testing.T, dir string) (goOn func()) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "store", "*.mem"))
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	var newest int
	if _, err := fmt.Sscanf(filepath.Base(logs[len(logs)-1]), "%d.mem", &newest); err != nil {
		t.Fatal(err)
	}
	next := filepath.Join(dir, "store", fmt.Sprintf("%05d.mem", newest+1))
	if err := unix.Mkfifo(next, 0o600); err != nil {
		t.Fatal(err)
	}
	goOn = func() {
		if f, err := os.OpenFile(next, os.O_WRONLY|unix.O_NONBLOCK, 0); err == nil { // else nobody waits for it
			f.Close()
		}
	}
	t.Cleanup(goOn)
	return goOn
}

// postInto posts one intent, and waits until its batch hangs; answered is the status, 0
// where there is none.
func (s *sidecar) postInto(t *testing.T) (answered <-chan int) {
	t.Helper()
	status := make(chan int, 1)
	go func() {
		a, err := http.Post("http://"+s.API+"/v1/agents/orders/intents/order.v1", "application/json", strings.NewReader("{}"))
		if err != nil {
			status <- 0
			return
		}
		a.Body.Close()
		status <- a.StatusCode
	}()
	within(t, hungPatience, "a batch that hangs", func() bool {
		stacks := make([]byte, 4<<20)
		return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "journal.(*wal).open")
	})
	return status
}

// TestAllIsSeenOfADiskThatHangs: whatever operators look at comes from memory; what is not
// on the disk is acknowledged to nobody, and a journal that has failed ends the sidecar.
func TestAllIsSeenOfADiskThatHangs(t *testing.T) {
	o := options(t)
	s := run(t, o)
	goOn := hang(t, o.Journal)
	answered := s.postInto(t)
	client := http.Client{Timeout: hungPatience}
	for _, path := range []string{"/healthz", "/readyz?verbose", "/metrics", "/", "/v1/admin/status", "/v1/admin/peers", "/v1/admin/agents", "/v1/admin/destinations", "/v1/admin/dead-letters/groups"} {
		a, err := client.Get("http://" + s.Admin + path)
		if err == nil {
			_, err = io.Copy(io.Discard, a.Body)
			a.Body.Close()
		}
		if err != nil || a.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v, %v", path, a, err)
		}
	}
	select {
	case status := <-answered:
		t.Errorf("what is not on the disk is answered with %d", status)
	default:
	}
	goOn()
	select {
	case err := <-s.ended:
		s.ended <- err
		if err == nil || !strings.Contains(err.Error(), "journal: commit") {
			t.Errorf("it ended with %v, want what is wrong with the journal", err)
		}
	case <-time.After(hungPatience):
		t.Error("its journal has failed, and it runs on")
	}
	if status := <-answered; status/100 == 2 {
		t.Errorf("what could not be written is answered with %d", status)
	}
}

// TestStopOnAJournalThatHangs: who is told to stop, and that twice, does not wait for what a
// disk that hangs keeps.
func TestStopOnAJournalThatHangs(t *testing.T) {
	o, log := options(t), &journalOfLogs{}
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	s := run(t, o)
	s.postAndPoll(t) // an agent whose mailbox a stop looks through
	goOn := hang(t, o.Journal)
	answered := s.postInto(t)
	s.stop()
	s.force()
	within(t, hungPatience, "it goes on to close", func() bool { return strings.Contains(log.String(), "msg=closing") })
	goOn()
	if err := s.wait(t); err == nil {
		t.Error("it ended as if all were well")
	}
	<-answered
}

// TestMemoryIsHeldBeforeTheJournal: to open a large journal takes as much as anything later.
func TestMemoryIsHeldBeforeTheJournal(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	t.Setenv("GOGC", "")
	o := options(t)
	inTheWay := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o.Journal = filepath.Join(inTheWay, "journal")
	p, err := proxy.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context(), t.Context(), func(proxy.Info) { t.Error("ready without a journal") }); err == nil {
		t.Error("it ran without a journal")
	}
	if got := debug.SetGCPercent(100); got != 50 {
		t.Errorf("while the journal was opened the heap was held at %d, want 50", got)
	}
}

// TestSlowOpening: whoever waits for a journal on a disk that hangs hears of it.
func TestSlowOpening(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var said strings.Builder
		log := slog.New(slog.NewTextHandler(&said, nil))
		failed := errors.New("it failed")
		for took, lines := range map[time.Duration]int{time.Second: 0, 100 * time.Second: 3} {
			said.Reset()
			err := proxy.Opening(t.Context(), t.Context(), log, func() error { time.Sleep(took); return failed })
			if got := strings.Count(said.String(), "still being opened"); err != failed || got != lines {
				t.Errorf("after %v: %v, and %d lines, want %d: %s", took, err, got, lines, said.String())
			}
		}
	})
}

// TestStopWhileTheJournalIsOpened: who tells a sidecar to stop whose journal is still being opened is
// heard. What comes to its end within a few seconds is closed in order; anything else is left, at once
// where somebody is in a hurry.
func TestStopWhileTheJournalIsOpened(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name         string
		takes, hurry time.Duration // of the open; after which stop is said again
		left         time.Duration // after which it is left, 0: it is not
	}{
		{name: "an open that ends", takes: 7 * time.Second},
		{name: "one that hangs", takes: time.Hour, left: 8 * time.Second},
		{name: "one that hangs, in a hurry", takes: time.Hour, hurry: 4 * time.Second, left: 4 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var said strings.Builder
				ctx, stop := context.WithTimeout(t.Context(), 3*time.Second)
				defer stop()
				force, halt := context.WithTimeout(t.Context(), cmp.Or(row.hurry, 2*time.Hour))
				defer halt()
				gone, end := context.WithCancel(context.Background())
				defer end()
				began := time.Now()
				err := proxy.Opening(ctx, force, slog.New(slog.NewTextHandler(&said, nil)), func() error {
					select {
					case <-time.After(row.takes):
					case <-gone.Done():
					}
					return nil
				})
				took := time.Since(began)
				if !strings.Contains(said.String(), "stopping: the journal is still being opened") {
					t.Errorf("the stop is not said to be heard: %s", said.String())
				}
				switch {
				case row.left == 0 && (err != nil || took != row.takes):
					t.Errorf("after %v: %v, want the journal", took, err)
				case row.left > 0 && (took != row.left || err == nil || !strings.Contains(err.Error(), "still being opened") || !strings.Contains(err.Error(), "nothing is lost")):
					t.Errorf("after %v: %v, want an error that says why, after %v", took, err, row.left)
				}
			})
		})
	}
}
