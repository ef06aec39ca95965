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
	wrongBit(t, s.tables()[0], 100)
	for refused = 0; ; kib += 128 {
		code, said := verify(kib)
		if code != 1 || !strings.Contains(said, "file: table "+filepath.Base(s.tables()[0])+": the checksum of block 0 is wrong") {
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
