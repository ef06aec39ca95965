package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestSyncErrorStopsTheProcess makes one fdatasync or fsync of the running binary
// fail. Whether the batch is on disk is then unknown, and no later sync can
// tell: the process must end by itself, answer nothing with 2xx that was
// asked after the error, and show everything it did ack when it is back. The
// high-water mark is synced beside the batches, by fsync: those that are synced
// between its error and the end of the process are as good as any.
func TestSyncErrorStopsTheProcess(t *testing.T) {
	need(t, true, "strace")
	for _, row := range []struct {
		call  string
		when  int // counted by strace for each thread
		batch bool
	}{{"fdatasync", 1, true}, {"fdatasync", 2, true}, {"fdatasync", 5, true}, {"fsync", 1, false}} {
		t.Run(fmt.Sprintf("%s %d", row.call, row.when), func(t *testing.T) {
			s := start(t, setup{name: "alone", agents: []string{billing}})
			acked := map[string]string{}
			for i := range 20 {
				key := fmt.Sprint("before ", i)
				acked[s.post(billing, map[string]any{"key": key})] = key
			}
			injected := injectError(t, s, row.call, row.when)
			after := postUntilDeath(t, s, acked, injected)
			if code := s.proc.cmd.ProcessState.ExitCode(); code == 0 || s.killedBySignal() == syscall.SIGKILL {
				t.Errorf("ended with %v, want an exit code that is not 0", s.proc.cmd.ProcessState)
			}
			if after > 0 && row.batch {
				t.Errorf("%d posts begun after the error were acked", after)
			}
			s.verify()
			s.start()
			if got := len(finals(s, acked)); got != len(acked) {
				t.Errorf("%d of %d acked intents are left", got, len(acked))
			}
			drained(t, s, len(acked))
		})
	}
}

// TestSlowDisk: each sync takes half a second. Batches grow, everything is acked and
// handed over, and the sidecar is ready all the time.
func TestSlowDisk(t *testing.T) {
	t.Parallel()
	need(t, true, "strace")
	s := start(t, setup{name: "slow", agents: []string{billing}})
	traced(t, s, "-e", "trace=fdatasync,fsync,msync", "-e", "inject=fdatasync,fsync,msync:delay_enter=500000")
	const posts = 40
	took, ready := make([]time.Duration, posts), make(chan bool, posts)
	var wg sync.WaitGroup
	for i := range posts {
		wg.Go(func() {
			began := time.Now()
			s.post(billing, map[string]any{"n": i})
			took[i] = time.Since(began)
			ready <- s.operate("GET", "/readyz", nil).code == 200
		})
	}
	wg.Wait()
	for range posts {
		if !<-ready {
			t.Error("not ready on a disk that is slow")
		}
	}
	slices.Sort(took)
	t.Logf("figure: %d posts at once on a disk whose syncs take 500 ms: acked in %v (median), %v (longest)",
		posts, took[posts/2].Round(time.Millisecond), took[posts-1].Round(time.Millisecond))
	drained(t, s, posts)
}

// TestFiguresOfAHungDisk: while a batch has been on its way to the disk for five seconds, and
// the post in it is not answered, all that operators look at is there: health, metrics, the
// page of all, and lists.
func TestFiguresOfAHungDisk(t *testing.T) {
	t.Parallel()
	need(t, true, "strace")
	s := start(t, setup{name: "hung", agents: []string{billing}})
	s.poll(billing, take{})
	traced(t, s, "-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_enter=25000000") // of thirty that the journal waits
	eventually(t, "all answer before the disk does", func() error {
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			s.tryPost(message(billing, map[string]any{"n": 1}), "")
		}()
		eventually(t, "the batch is stalled", func() error {
			if a := s.operate("GET", "/readyz", nil); a.code != 503 {
				return fmt.Errorf("ready: %v", a)
			}
			return nil
		})
		for _, path := range []string{"/healthz", "/readyz?verbose", "/metrics", "/", "/v1/admin/status", "/v1/admin/peers", "/v1/admin/agents", "/v1/admin/destinations"} {
			if a := s.operate("GET", path, nil); a.err != nil || a.code != 200 && !strings.HasPrefix(path, "/readyz") {
				t.Errorf("%s: %v", path, a)
			}
		}
		out, _ := exec.Command(s.bin, "status", "--admin", s.admin).CombinedOutput() // it ends with 1: not ready
		if !strings.Contains(string(out), "not told within") || !strings.Contains(string(out), "journal") {
			t.Errorf("status says\n%s", out)
		}
		select {
		case <-answered:
			return errors.New("the post was answered first")
		default:
			return nil
		}
	})
}

// TestHungDiskEndsTheProcess: a sync that never returns is waited for half a minute. Then the
// process ends by itself, says who waits for what, and has acked nothing that is not there at
// the next start. The log goes on in a FIFO, which nobody opens at the other end.
func TestHungDiskEndsTheProcess(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "hung", agents: []string{billing}})
	acked := map[string]string{s.post(billing, map[string]any{"key": "before"}): "before"}
	next := filepath.Join(s.dir, "store", "00002.mem")
	if err := syscall.Mkfifo(next, 0o600); err != nil {
		t.Fatal(err)
	}
	answered := make(chan answer, 1)
	go func() {
		_, a := s.tryPost(message(billing, map[string]any{"key": "never"}), "")
		answered <- a
	}()
	began := time.Now()
	s.awaitExit()
	t.Logf("figure: a sidecar whose disk hangs ended after %v", time.Since(began).Round(100*time.Millisecond))
	if code := s.proc.cmd.ProcessState.ExitCode(); code <= 0 {
		t.Errorf("ended with %v, want an exit code above 0", s.proc.cmd.ProcessState)
	}
	if said := s.stderr(); !strings.Contains(said, "the disk hangs") || !strings.Contains(said, "all goroutines") {
		t.Errorf("it does not say why, and who waits for what:\n%s", tail(said, 2000))
	}
	if a := <-answered; a.err == nil && a.code/100 == 2 {
		t.Errorf("acked what was not synced: %v", a)
	}
	if err := os.Remove(next); err != nil {
		t.Fatal(err)
	}
	s.http.CloseIdleConnections()
	s.verify()
	s.start()
	if got := len(finals(s, acked)); got != len(acked) {
		t.Errorf("%d of %d acked intents are left", got, len(acked))
	}
}

// TestStopOnADiskThatHangs: syncs that were asked for never return. A sidecar that is told to
// stop does not wait for them without end, says that its journal is not closed, and the next
// start reads what was acked from the log.
func TestStopOnADiskThatHangs(t *testing.T) {
	t.Parallel()
	need(t, true, "strace")
	s := start(t, setup{name: "hung", agents: []string{billing}})
	acked := map[string]string{}
	for i := range 20 {
		key := fmt.Sprint(i)
		acked[s.post(billing, map[string]any{"key": key})] = key
	}
	log, _ := traced(t, s, "-e", "trace=fdatasync,fsync,msync", "-e", "inject=fdatasync,fsync,msync:delay_enter=600000000")
	answered := make(chan answer, 1)
	go func() {
		_, a := s.tryPost(message(billing, map[string]any{"key": "never"}), "")
		answered <- a
	}()
	eventually(t, "a sync to hang", func() error {
		if text, err := os.ReadFile(log); err != nil || !strings.Contains(string(text), "fdatasync(") {
			return fmt.Errorf("%v: %s", err, text)
		}
		return nil
	})
	began := time.Now()
	s.signal(syscall.SIGTERM)
	eventually(t, "the stop to begin", func() error {
		if !strings.Contains(s.stderr(), "stopping: ") {
			return fmt.Errorf("stderr: %s", s.stderr())
		}
		return nil
	})
	s.signal(syscall.SIGTERM) // no app is waited for
	s.buryHung()
	t.Logf("figure: told to stop on a disk that hangs, a sidecar ended in %v", time.Since(began).Round(100*time.Millisecond))
	if code := s.proc.cmd.ProcessState.ExitCode(); code <= 0 {
		t.Errorf("ended with %v, want an exit code above 0", s.proc.cmd.ProcessState)
	}
	if said := s.stderr(); !strings.Contains(said, "stop journal: not done after") {
		t.Errorf("it does not say that its journal is not closed:\n%s", tail(said, 2000))
	}
	if a := <-answered; a.err == nil && a.code == 200 {
		t.Errorf("acked what was not synced: %v", a)
	}
	s.http.CloseIdleConnections()
	s.verify()
	s.start()
	if got := len(finals(s, acked)); got != len(acked) {
		t.Errorf("%d of %d acked intents are left", got, len(acked))
	}
}

// postUntilDeath posts one after the other until the process has ended, and
// counts what was acked though it was asked for after the injected error.
func postUntilDeath(t *testing.T, s *sidecar, acked map[string]string, injected <-chan time.Time) (after int) {
	t.Helper()
	var failed time.Time
	for i := 0; s.running(); i++ {
		key := fmt.Sprint("during ", i)
		began := time.Now()
		id, a := s.tryPost(message(billing, map[string]any{"key": key}), "")
		select {
		case failed = <-injected:
		default:
		}
		if id != "" {
			acked[id] = key
			if !failed.IsZero() && began.After(failed) {
				after++
			}
		} else if a.err == nil && a.code != 503 {
			t.Errorf("while failing: %v", a)
		}
		if !failed.IsZero() && time.Since(failed) > 30*time.Second {
			t.Fatalf("still running %v after the error; %d posts acked since", time.Since(failed), after)
		}
	}
	s.awaitExit()
	return after
}

// drained polls and acks everything; n intents must come, none twice.
func drained(t *testing.T, s *sidecar, n int) {
	t.Helper()
	seen := map[string]bool{}
	eventually(t, fmt.Sprintf("%d intents", n), func() error {
		for _, it := range s.poll(billing, take{limit: 1000, lease: 600}) {
			if seen[it.ID] {
				t.Errorf("%s was handed over twice", it.ID)
			}
			seen[it.ID] = true
			s.ack(it, nil)
		}
		if len(seen) < n {
			return fmt.Errorf("%d of them", len(seen))
		}
		return nil
	})
}

// traced attaches strace to a sidecar, and returns its log and what is closed when
// it has ended.
func traced(t testing.TB, s *sidecar, args ...string) (log string, ended <-chan struct{}) {
	t.Helper()
	log = filepath.Join(t.TempDir(), "strace")
	args = append([]string{"-f", "-ttt", "-o", log, "-p", fmt.Sprint(s.proc.cmd.Process.Pid)}, args...)
	cmd := exec.Command("strace", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(said)
	for attached := false; !attached; {
		if !lines.Scan() {
			t.Fatalf("strace ended before it attached: %v", lines.Err())
		}
		attached = strings.Contains(lines.Text(), "attached")
	}
	end := make(chan struct{})
	go func() {
		defer close(end)
		for lines.Scan() { // until strace closes it
		}
		cmd.Wait()
	}()
	t.Cleanup(func() { cmd.Process.Kill(); <-end })
	return log, end
}

// buryHung waits until a sidecar that strace has made hang has said its last word, and for its end:
// that its threads cannot be buried while they hang is strace's doing, which is ended.
func (s *sidecar) buryHung() {
	s.t.Helper()
	pid := s.proc.cmd.Process.Pid
	eventually(s.t, "the process to end", func() error {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil || !strings.Contains(s.stderr(), "error: ") || !strings.Contains(string(status), "\nState:\tZ") && !strings.Contains(string(status), "\nState:\tt") {
			return fmt.Errorf("%v: %s", err, status)
		}
		tracer := tracerOf(pid)
		if tracer == 0 {
			return errors.New("no tracer")
		}
		return syscall.Kill(tracer, syscall.SIGKILL)
	})
	s.awaitExit()
}

// injectError attaches strace, which fails one call of each thread, and
// returns a channel that gets the time of the first failure.
func injectError(t *testing.T, s *sidecar, calls string, when int) <-chan time.Time {
	t.Helper()
	log, ended := traced(t, s, "-e", "trace="+calls, "-e", fmt.Sprintf("inject=%s:error=EIO:when=%d", calls, when))
	first := make(chan time.Time, 1)
	go func() {
		for {
			if at, ok := firstInjected(log); ok {
				first <- at
				return
			}
			select {
			case <-ended:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	return first
}

// firstInjected reads strace's log for the first call it failed.
func firstInjected(log string) (time.Time, bool) {
	for line := range strings.Lines(readAll(log)) {
		if !strings.Contains(line, "INJECTED") {
			continue
		}
		var pid int
		var at float64
		if n, _ := fmt.Sscan(line, &pid, &at); n == 2 {
			return time.UnixMicro(int64(at * 1e6)), true
		}
	}
	return time.Time{}, false
}
