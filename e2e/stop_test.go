package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestStopWithoutLoad: exit 0, at once where no app is there, and soon after
// the last request else; nothing to repeat at the next start.
func TestStopWithoutLoad(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	code, took := home.stop()
	t.Logf("figure: a sidecar no app has called stopped in %v", took.Round(time.Millisecond))
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	home.start()
	carry(t, home, holder)
	for _, s := range []*sidecar{home, holder} {
		s.http.CloseIdleConnections()
		code, took := s.stop()
		t.Logf("figure: %s stopped in %v", s.set.name, took.Round(time.Millisecond))
		if code != 0 {
			t.Errorf("%s: exit code %d", s.set.name, code)
		}
	}
	home.start()
	holder.start()
	holder.takeNothing(billing, 1)
	carry(t, home, holder)
}

// TestStopWhileTheKernelIsSlow: it is as clean where the kernel takes its time to close
// the watch of a file.
func TestStopWhileTheKernelIsSlow(t *testing.T) {
	t.Parallel()
	need(t, true, "strace")
	s := start(t, setup{name: "alone", agents: []string{billing}})
	log, _ := traced(t, s, "-P", "anon_inode:inotify", "-e", "trace=close", "-e", "inject=close:delay_enter=2s")
	if code, took := s.stop(); code != 0 {
		t.Errorf("exit code %d after %v", code, took)
	}
	if !strings.Contains(readAll(log), "close(") {
		t.Error("no watch was closed")
	}
}

// TestStopFinishesWhatIsLeased: posts and settles go on while something is
// leased; the process ends by itself once it is settled.
func TestStopFinishesWhatIsLeased(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	id := home.post(billing, map[string]any{"n": 1})
	it := holder.take1(billing, take{lease: 30})
	local := holder.post("agent://acme/prod/later", map[string]any{"n": 2})
	holder.signal(syscall.SIGTERM)
	eventually(t, "readiness to go", func() error {
		if a := holder.operate("GET", "/readyz", nil); a.code != 503 {
			return fmt.Errorf("%v", a)
		}
		return nil
	})
	if id, a := holder.tryPost(message(shop, map[string]any{"n": 3}), ""); id == "" {
		t.Errorf("a post while something is leased: %v", a)
	}
	holder.ack(it, map[string]any{"ok": 1})
	holder.awaitExit()
	if code := holder.proc.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if end := home.wait(id); end.Status != "COMPLETED" { // the report was flushed before the goodbye
		t.Errorf("ended %s", end.Status)
	}
	holder.start()
	if got := holder.get(local); got.Status != "SUBMITTED" {
		t.Errorf("own intent after the stop: %s", got.Status)
	}
}

// TestStopReleasesWhatIsNotLeased: another holder gets it, at once and
// without an attempt.
func TestStopReleasesWhatIsNotLeased(t *testing.T) {
	t.Parallel()
	c := startTrio(t, nil)
	id := c.home.post(billing, map[string]any{"n": 1})
	has, other := c.holderOf(id)
	code, _ := has.stop()
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	it := other.take1(billing, take{})
	if it.ID != id {
		t.Fatalf("handed over %s, want %s", it.ID, id)
	}
	other.ack(it, nil)
	c.home.status(id, "COMPLETED")
	if w := c.home.why(id); w.Attempts.N != 0 {
		t.Errorf("%d attempts counted", w.Attempts.N)
	}
}

// TestSecondSignalDoesNotWait: what is leased then comes back over the
// restart, and no attempt is counted.
func TestSecondSignalDoesNotWait(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	id := home.post(billing, map[string]any{"n": 1})
	it := holder.take1(billing, take{lease: 3600})
	holder.signal(syscall.SIGTERM)
	eventually(t, "readiness to go", func() error {
		if a := holder.operate("GET", "/readyz", nil); a.code != 503 {
			return fmt.Errorf("%v", a)
		}
		return nil
	})
	holder.signal(syscall.SIGTERM)
	holder.awaitExit()
	if code := holder.proc.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	holder.start()
	holder.ack(it, nil) // the lease outlives the process
	home.status(id, "COMPLETED")
	if w := home.why(id); w.Attempts.N != 0 {
		t.Errorf("%d attempts counted", w.Attempts.N)
	}
}

// TestDrainSecondsOfAPod: the time to drain is a variable, as a pod sets it, and beats
// what the file says; an app that never answers does not make the stop outlast it, and
// gets its intent again, said to be so.
func TestDrainSecondsOfAPod(t *testing.T) {
	t.Parallel()
	asked, hang := make(chan bool, 8), make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var it item
		if err := json.NewDecoder(r.Body).Decode(&it); err != nil {
			t.Error(err)
		}
		asked <- it.Redelivered
		if !it.Redelivered {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		}
	}))
	t.Cleanup(app.Close)
	t.Cleanup(func() { close(hang) })
	s := start(t, setup{name: "alone", agents: []string{billing + "=http:" + app.URL}, env: []string{"PANNIER_DRAIN_SECONDS=6"},
		config: map[string]string{"drain_seconds": "600", "http_timeout": "10m"}})
	id := s.post(billing, map[string]any{"n": 1})
	if <-asked {
		t.Error("redelivered at first")
	}
	if code, took := s.stop(); code != 0 { // it waits for a minute, and not for ten
		t.Errorf("exit code %d after %v", code, took)
	}
	s.start()
	if !<-asked {
		t.Error("what the stop has cut off comes again as if it were new")
	}
	s.status(id, "COMPLETED")
}

// TestPostsDuringStop: every post is either taken, and there after the
// restart, or refused with 503 and a short Retry-After, or not answered.
func TestPostsDuringStop(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}, config: map[string]string{"drain_seconds": "6"}})
	s.post(billing, map[string]any{"key": "k"})
	s.take1(billing, take{lease: 3600}) // keeps the stop waiting for its whole time
	taken := map[string]string{}
	refused := 0
	s.signal(syscall.SIGTERM)
	for s.running() {
		id, a := s.tryPost(message(billing, map[string]any{"key": "k"}), "")
		switch {
		case id != "":
			taken[id] = "k"
		case a.err != nil:
		case a.code == 503:
			refused++
			if after, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || after < 0 || after > 5 {
				t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
			}
		default:
			t.Errorf("%v", a)
		}
	}
	s.awaitExit()
	if code := s.proc.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	t.Logf("figure: while stopping, %d posts taken, %d refused with 503", len(taken), refused)
	if len(taken) == 0 {
		t.Error("no post was taken while the stop waited for a lease")
	}
	s.start()
	if lost := len(taken) - len(finals(s, taken)); lost != 0 {
		t.Errorf("%d posts acked during the stop are lost", lost)
	}
}

// TestStopOfAnEphemeralJournal: what would be lost with the journal is delivered first, as
// long as there is time, and told of otherwise. A journal that stays keeps nobody waiting.
func TestStopOfAnEphemeralJournal(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name             string
		ephemeral, comes bool // the receiver, after the signal
		seconds          string
	}{
		{"a receiver comes", true, true, "300"},
		{"nobody comes", true, false, "6"},
		{"it stays", false, false, "300"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			home, holder := pair(t, map[string]string{"drain_seconds": row.seconds})
			if row.ephemeral {
				home.set.args = append(home.set.args, "--ephemeral")
			}
			home.start()
			const posts = 3
			for n := range posts {
				home.post(billing, map[string]any{"n": n})
			}
			last := time.Now()
			eventually(t, "the app to have been quiet for as long as a stop wants", func() error {
				if quiet := time.Since(last); quiet < 2*time.Second {
					return fmt.Errorf("%v", quiet)
				}
				return nil
			})
			home.signal(syscall.SIGTERM)
			if row.comes {
				eventually(t, "the stop to begin", func() error {
					if said := home.stderr(); !strings.Contains(said, `msg="stopping`) {
						return errors.New(said)
					}
					return nil
				})
				holder.start()
				got := 0
				eventually(t, "what was posted", func() error {
					if got += len(holder.poll(billing, take{limit: posts, wait: 1})); got < posts {
						return fmt.Errorf("%d of %d came", got, posts)
					}
					return nil
				})
			}
			home.awaitExit()
			home.http.CloseIdleConnections()
			if code := home.proc.cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if told := strings.Contains(home.stderr(), fmt.Sprint("are lost with the journal\" intents=", posts)); told != (row.ephemeral && !row.comes) {
				t.Errorf("that intents are lost is said: %v, in\n%s", told, home.stderr())
			}
		})
	}
}
