package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSystemErrorAtAStart: after a kill one kind of system call on one file fails for the next
// start. That is no damage: the start says what has failed, exits, and with the error gone all
// that was acked is there.
func TestSystemErrorAtAStart(t *testing.T) {
	t.Parallel()
	need(t, true, "strace")
	for _, row := range []struct{ name, call, file, errno, says string }{
		{"sync of the store", "fsync", "store", "EIO", "input/output error"},
		{"sync of a table or log", "msync", "", "EIO", "input/output error"},
		{"no room for what was mapped", "msync", "", "ENOSPC", "no space left on device"},
		{"no room for the next log", "ftruncate", "store/00002.mem", "ENOSPC", "no space left on device"},
		{"a log that stays", "unlinkat", "store/00001.mem", "EIO", "input/output error"},
		{"a lock that cannot be had", "flock", "store", "EIO", "input/output error"},
		{"a log that cannot be read", "pread64", "store/00001.mem", "EIO", "input/output error"},
		{"a log that may not be read", "openat", "store/00001.mem", "EACCES", "permission denied"},
		{"no file left", "openat", "store/KEYREGISTRY", "EMFILE", "too many open files"},
		{"a read-only volume", "openat", "store/MANIFEST", "EROFS", "read-only file system"},
		{"a volume that has failed", "newfstatat", ".", "EIO", "input/output error"},
		{"a directory that may not be read", "openat", ".", "EACCES", "look as whom the process runs"},
		{"a directory that cannot be locked", "flock", ".", "EIO", "input/output error"},
		{"a mark that may not be read", "openat", "journal.hwm", "EACCES", "journal.hwm: permission denied"},
		{"an owner that cannot be read", "openat", "journal.owner", "EIO", "journal.owner: input/output error"},
		{"an owner that cannot be synced", "fsync", "journal.owner.tmp", "EIO", "journal.owner.tmp: input/output error"},
		{"no room for the owner", "openat", "journal.owner.tmp", "ENOSPC", "make room, and start again"},
		{"a journal that may not be written", "openat", "journal.owner.tmp", "EROFS", "mount the volume for writing"},
		{"sync of the first batch", "fdatasync", "", "EIO", "that it is started: input/output error"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, setup{name: "alone", agents: []string{billing}})
			s.post(billing, map[string]any{"n": 1})
			s.kill()
			code, said := s.startFailing(row.call, row.file, row.errno)
			if code != 1 || !strings.Contains(said, row.says) {
				t.Errorf("ended with %d, want 1 and %q:\n%s", code, row.says, tail(said, 1000))
			}
			if !strings.Contains(said, "nothing is known to be damaged") {
				t.Errorf("it does not say that nothing is known to be damaged:\n%s", tail(said, 1000))
			}
			if strings.Contains(said, "is damaged") || strings.Contains(said, "nother process") {
				t.Errorf("it takes that for something else:\n%s", tail(said, 1000))
			}
			if row.errno == "EACCES" { // what may not be read is not given up either
				if code, said := s.startFailing(row.call, row.file, row.errno, "--accept-loss"); code != 1 || !strings.Contains(said, "nothing is known to be damaged") {
					t.Errorf("told to go on without what is gone, it ended with %d:\n%s", code, tail(said, 1000))
				}
			}
			s.start()
			drained(t, s, 1)
		})
	}
}

// TestVolumeThatFails: a volume that has shut itself down answers a look at the journal's
// directory with an error. An idle sidecar ends by itself, says why, and by an exit code that is
// not that of a wrong command line, which is Go's for a fault of what is mapped.
func TestVolumeThatFails(t *testing.T) {
	t.Parallel()
	need(t, true, "strace")
	s := start(t, setup{name: "alone", agents: []string{billing}})
	s.post(billing, map[string]any{"n": 1})
	_, ended := traced(t, s, "-P", s.dir, "-e", "trace=newfstatat", "-e", "inject=newfstatat:error=EIO")
	s.awaitExit()
	<-ended
	if code := s.proc.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(s.stderr(), "has failed: stat "+s.dir+": input/output error") {
		t.Errorf("ended with %d, want 1 and a word of the volume:\n%s", code, tail(s.stderr(), 1000))
	}
	s.start()
	drained(t, s, 1)
}

// TestLogGoneDuringItsSync: what a batch was written to goes while it is synced, and the sync
// says that all is well, as one of a volume that shuts itself down may. Nobody is told that
// the batch is there.
func TestLogGoneDuringItsSync(t *testing.T) {
	t.Parallel()
	need(t, true, "strace")
	s := start(t, setup{name: "alone", agents: []string{billing}})
	acked := s.post(billing, map[string]any{"n": 1})
	traced(t, s, "-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_enter=10000000")
	answered := make(chan answer, 1)
	go func() {
		_, a := s.tryPost(message(billing, map[string]any{"n": 2}), "")
		answered <- a
	}()
	eventually(t, "the batch is at its sync", func() error {
		if a := s.operate("GET", "/readyz", nil); a.code != 503 {
			return fmt.Errorf("ready: %v", a)
		}
		return nil
	})
	log := filepath.Join(s.dir, "store", "00001.mem")
	if err := os.Rename(log, log+".away"); err != nil {
		t.Fatal(err)
	}
	if a := <-answered; a.err == nil && a.code/100 == 2 {
		t.Errorf("acked what is in a log that is gone: %v", a)
	}
	s.awaitExit()
	if err := os.Rename(log+".away", log); err != nil {
		t.Fatal(err)
	}
	s.start()
	if got := s.get(acked).Status; got == "" {
		t.Errorf("%s, which was acked before, is gone", acked)
	}
}

// TestStopWhileAHungDiskIsOpened: a look at a file of the journal never returns, and the sidecar is
// told to stop. It says at once that it has heard, and ends by itself with an error that says what
// it had come to; the next start has all that was acked.
func TestStopWhileAHungDiskIsOpened(t *testing.T) {
	t.Parallel()
	need(t, true, "strace")
	s := start(t, setup{name: "alone", agents: []string{billing}})
	s.post(billing, map[string]any{"n": 1})
	s.kill()
	log := filepath.Join(t.TempDir(), "strace")
	s.launchTraced("-o", log, "-P", filepath.Join(s.dir, "store", "00001.mem"), "-e", "trace=openat", "-e", "inject=openat:delay_enter=600000000")
	eventually(t, "the open to hang", func() error {
		if text, err := os.ReadFile(log); err != nil || !strings.Contains(string(text), "openat(") {
			return fmt.Errorf("%v: %s; it says %s", err, text, s.stderr())
		}
		return nil
	})
	began := time.Now()
	s.signal(syscall.SIGTERM)
	eventually(t, "the signal to be heard", func() error {
		if !strings.Contains(s.stderr(), "stopping: the journal is still being opened") {
			return fmt.Errorf("it says %s", s.stderr())
		}
		return nil
	})
	s.buryHung()
	t.Logf("figure: told to stop while its journal was being opened, a sidecar ended in %v", time.Since(began).Round(100*time.Millisecond))
	if code, said := s.proc.cmd.ProcessState.ExitCode(), s.stderr(); code <= 0 || !strings.Contains(said, "told to stop while it was still being opened") || !strings.Contains(said, "nothing is lost by ending here") {
		t.Errorf("ended with %d, want an error that says why:\n%s", code, tail(said, 2000))
	}
	s.start()
	drained(t, s, 1)
}

// TestVerifyOfWhatMayBeWhole: what verify may not read, or has no file for, is no damage, and nobody is
// told to bring back a copy. It says what to do, and with that done finds that all is well.
func TestVerifyOfWhatMayBeWhole(t *testing.T) {
	t.Parallel()
	need(t, true, "strace", "sh")
	s := start(t, setup{name: "alone", agents: []string{billing}})
	for range 3 { // tables
		s.post(billing, map[string]any{"n": 1})
		s.stop()
		s.start()
	}
	s.kill()
	refused := func(what, do string, cmd *exec.Cmd) (ok bool) {
		t.Helper()
		out, err := cmd.CombinedOutput()
		said, code := string(out), cmd.ProcessState.ExitCode()
		if err == nil {
			return true
		}
		if code != 1 || !strings.Contains(said, "nothing is known to be damaged: "+do) || !strings.Contains(said, "[journal_unreadable]") || strings.Contains(said, "bring back") {
			t.Errorf("%s: verify ended with %d, want 1 and %q:\n%s", what, code, do, tail(said, 1000))
		}
		return false
	}
	strace := exec.Command("strace", "-f", "-q", "-o", filepath.Join(t.TempDir(), "strace"), "-P", filepath.Join(s.dir, "journal.hwm"), "-e", "trace=openat", "-e", "inject=openat:error=EACCES", s.bin, "verify", s.dir)
	if refused("a mark that may not be read", "look as whom", strace) {
		t.Error("verified without the mark")
	}
	for n, enough := range map[int]bool{9: false, 10: false, 11: false, 12: false, 13: false, 14: false, 64: true} {
		if refused(fmt.Sprintf("%d files", n), "raise the limit", exec.Command("sh", "-c", `ulimit -n "$1"; exec "$2" verify "$3"`, "sh", fmt.Sprint(n), s.bin, s.dir)) != enough {
			t.Errorf("%d files are enough: %t, want %t", n, !enough, enough)
		}
	}
	nowhere := exec.Command(s.bin, "verify", s.dir)
	nowhere.Env = append(os.Environ(), "TMPDIR="+filepath.Join(t.TempDir(), "none"))
	if refused("no directory for a copy", "set TMPDIR", nowhere) {
		t.Error("verified without a copy")
	}
	s.start()
	s.stop() // which leaves no log to copy: the store makes one
	if refused("a limit of the size of files", "raise the limit of the size", exec.Command("sh", "-c", `ulimit -f 4096; exec "$1" verify "$2"`, "sh", s.bin, s.dir)) {
		t.Error("verified with smaller files than the store makes")
	}
}

// launchTraced is launch of a sidecar that strace is attached to from its first call on.
func (s *sidecar) launchTraced(args ...string) {
	s.t.Helper()
	p, err := spawn("strace", slices.Concat([]string{"-D", "-f", "-q"}, args, []string{s.bin}, s.argv()), nil, s.log)
	if err != nil {
		s.t.Fatal(err)
	}
	s.proc, s.up = p, false
	s.t.Cleanup(func() { // else it may hold the call up for as long as that was to hang
		if tracer := tracerOf(p.cmd.Process.Pid); tracer != 0 {
			syscall.Kill(tracer, syscall.SIGKILL)
		}
	})
}

// tracerOf is the process that traces one, or 0.
func tracerOf(pid int) (tracer int) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // of one that has ended there is none
	_, rest, _ := strings.Cut(string(status), "\nTracerPid:\t")
	fmt.Sscan(rest, &tracer)
	return tracer
}

// startFailing runs a start of which each such call on a file of the journal fails, or each
// call where none is named. It returns how that ended, and what it said.
func (s *sidecar) startFailing(call, file, errno string, flags ...string) (code int, said string) {
	s.t.Helper()
	args := []string{"-f", "-q", "-o", filepath.Join(s.t.TempDir(), "strace"), "-e", "trace=" + call, "-e", "inject=" + call + ":error=" + errno}
	if file != "" {
		args = append(args, "-P", filepath.Join(s.dir, file))
	}
	cmd := exec.CommandContext(s.t.Context(), "strace", slices.Concat(args, []string{s.bin}, s.argv(), flags)...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}
