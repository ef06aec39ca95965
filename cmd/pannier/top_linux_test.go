package main

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// noTerminal stops a test that needs one: in CI that is a failure.
func noTerminal(t *testing.T, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Skipf("no terminals here: %v", err)
}

// openTerminal returns the two ends of a terminal: what a person sees and types, and what a program has.
func openTerminal(t *testing.T, height uint16) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		noTerminal(t, err)
	}
	t.Cleanup(func() { person.Close() })
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err == nil {
		t.Cleanup(func() { program.Close() })
		err = unix.IoctlSetWinsize(int(program.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: height, Col: 40})
	}
	if err != nil {
		noTerminal(t, err)
	}
	return person, program
}

// On a terminal frames are drawn over one another, no longer than it is high, until q or Ctrl-C, and it
// is left as it was.
func TestTopOnATerminal(t *testing.T) {
	addr := operators(t, nil)
	t.Setenv("TERM", "xterm")
	for _, key := range []string{"q", "\x03"} {
		person, program := openTerminal(t, 6)
		before, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		seen, ended := &watched{to: clearRest}, make(chan struct{})
		seen.then = func() { person.WriteString(key) }
		go func() {
			defer close(ended)
			piece := make([]byte, 4096)
			for {
				n, err := person.Read(piece)
				seen.Write(piece[:n])
				if err != nil || strings.Contains(seen.String(), leaveScreen) {
					return
				}
			}
		}()
		var stderr strings.Builder
		exit := execute(t.Context(), context.Background(), []string{"top", "--interval", "100ms", "--admin", addr}, program, program, &stderr)
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Fatalf("key %q: exit %d, and it was not left: %q", key, exit, seen)
		}
		after, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		if exit != 0 || !reflect.DeepEqual(before, after) {
			t.Errorf("key %q: exit %d, %s, terminal before %+v, after %+v", key, exit, &stderr, before, after)
		}
		text := seen.String()
		frame, _, _ := strings.Cut(text, clearRest)
		if !strings.HasPrefix(text, enterScreen+goHome) || !strings.HasSuffix(text, leaveScreen) || strings.Count(frame, "\r\n") != 5 || !strings.Contains(frame, string(green)+"nothing is held up") {
			t.Errorf("key %q: seen %q", key, text)
		}
	}
}
