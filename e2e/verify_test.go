package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestVerifyWithoutRoom: where temporary files have too little room verify ends with an error that
// says so, whatever of it was too little for, and with the room as it was. What it knows to be
// damaged it names all the same: what is made anew of that takes room, too.
func TestVerifyWithoutRoom(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}})
	fill := func() {
		for range 12 {
			s.post(billing, map[string]any{"text": strings.Repeat("x", 64<<10)})
		}
	}
	fill()
	s.stop() // into a table
	s.start()
	fill()
	s.kill() // in a log
	v := newSmallVolume(t)
	verify := func(kib int64) (code int, said string) {
		t.Helper()
		if err := unix.Mount("", v.dir, "", unix.MS_REMOUNT, fmt.Sprintf("size=%dk", kib)); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(s.bin, "verify", s.dir)
		cmd.Env = append(os.Environ(), "TMPDIR="+v.dir)
		out, _ := cmd.CombinedOutput() // its code is looked at
		if left, err := os.ReadDir(v.dir); err != nil || len(left) > 0 {
			t.Fatalf("in %d KiB it has left %v, %v:\n%s", kib, left, err, tail(string(out), 1000))
		}
		return cmd.ProcessState.ExitCode(), string(out)
	}
	refused, kib := 0, int64(256)
	for ; ; kib += 128 {
		code, said := verify(kib)
		if code == 0 {
			break
		}
		refused++
		if code != 1 || !strings.Contains(said, "no space left on device: ") || !strings.Contains(said, "are needed") || !strings.Contains(said, "nothing is known to be damaged: set TMPDIR") {
			t.Fatalf("in %d KiB it ended with %d:\n%s", kib, code, tail(said, 1000))
		}
	}
	if refused < 8 {
		t.Errorf("it had too little room %d times, up to %d KiB", refused, kib)
	}
	table, err := os.Stat(s.tables()[0])
	if err != nil {
		t.Fatal(err)
	}
	wrongBit(t, s.tables()[0], int(table.Size()/2)) // in what was sent
	for refused = 0; ; kib += 128 {
		code, said := verify(kib)
		if code != 1 || !strings.Contains(said, "file: table "+table.Name()+": the checksum of block") {
			t.Fatalf("damaged, in %d KiB it ended with %d:\n%s", kib, code, tail(said, 1000))
		}
		if !strings.Contains(said, "no space left on device") {
			break
		}
		refused++
	}
	if refused < 2 {
		t.Errorf("damaged, it had too little room %d times, up to %d KiB", refused, kib)
	}
}

// TestFilesOnWhichNothingRests: of some files of a journal any may be gone, or have a wrong bit, and
// nothing is: it starts without a flag, and verify finds no damage. Without the mark it warns, and verify
// says that no loss need be accepted. What the store does not open as a file is named by both, and
// costs nothing once it is moved away.
func TestFilesOnWhichNothingRests(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	s := start(t, setup{name: "alone", agents: []string{billing}, config: map[string]string{"ballast_bytes": "1048576"}})
	ids := []string{s.post(billing, map[string]any{"n": 1})}
	s.stop() // into a table
	s.start()
	eventually(t, "room to be kept in reserve", func() error {
		_, err := os.Stat(filepath.Join(s.dir, "journal.ballast"))
		return err
	})
	verify := func(code int, words string) {
		t.Helper()
		cmd := exec.Command(s.bin, "verify", s.dir)
		cmd.Env = append(os.Environ(), "TMPDIR="+temp)
		out, _ := cmd.CombinedOutput() // its code is looked at
		if got := cmd.ProcessState.ExitCode(); got != code || !strings.Contains(string(out), words) {
			t.Errorf("verify ended with %d, want %d and %q:\n%s", got, code, words, tail(string(out), 1000))
		}
		if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
			t.Fatalf("verify has left %v, %v:\n%s", left, err, tail(string(out), 1000))
		}
	}
	all := func(what string) { // as it starts again
		t.Helper()
		s.start()
		for _, id := range ids {
			if got := s.get(id).Status; got != "SUBMITTED" {
				t.Errorf("%s: %s is %q", what, id, got)
			}
		}
		ids = append(ids, s.post(billing, map[string]any{"n": 1}))
	}
	gone := func(pattern string) {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(s.dir, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("no %s: %v", pattern, err)
		}
		for _, path := range found {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{"store/DISCARD", "store/LOCK", "journal.owner", "journal.ballast"} {
		s.kill()
		wrongBit(t, filepath.Join(s.dir, name), 0)
		verify(0, "no damage")
		all("a wrong bit in " + name)
	}
	for _, pattern := range []string{"store/KEYREGISTRY", "store/DISCARD", "store/LOCK", "store/*.vlog", "journal.owner", "journal.ballast"} {
		s.kill()
		gone(pattern)
		verify(0, "no damage")
		all(pattern + " gone")
	}
	s.kill()
	gone("journal.hwm")
	verify(1, "a start needs no --accept-loss for it")
	all("no mark")
	if !strings.Contains(s.stderr(), "journal.hwm is gone") {
		t.Errorf("nobody is warned that there is no mark:\n%s", tail(s.stderr(), 1000))
	}
	s.kill()
	gone("store/DISCARD")
	discard := filepath.Join(s.dir, "store", "DISCARD")
	if err := os.Mkdir(discard, 0o700); err != nil {
		t.Fatal(err)
	}
	verify(1, "spare_file: file DISCARD, on which nothing rests: it is a directory")
	s.launch()
	s.awaitExit()
	if code := s.proc.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(s.stderr(), "is damaged: file DISCARD, on which nothing rests") {
		t.Errorf("the start ended with %d, want 1 and a word of DISCARD:\n%s", code, tail(s.stderr(), 1000))
	}
	gone("store/DISCARD")
	all("no DISCARD")
}

// wrongBit changes one of a file.
func wrongBit(t testing.TB, path string, at int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
