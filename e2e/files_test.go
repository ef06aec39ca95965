package e2e_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStrangersTakeNoFiles: whoever opens more connections to the peer port than
// the sidecar may open files keeps neither the app out nor the journal from its
// files, which would stop it for good.
func TestStrangersTakeNoFiles(t *testing.T) {
	t.Parallel()
	s := newSidecar(t, setup{name: "crowded", agents: []string{billing}})
	limited := filepath.Join(t.TempDir(), "limited")
	script := fmt.Sprintf("#!/bin/sh\nulimit -n 512\nexec %s \"$@\"\n", s.bin)
	if err := os.WriteFile(limited, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	s.bin = limited
	s.start()
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for range 20_000 {
		c, err := net.Dial("tcp", s.peer)
		if err != nil {
			continue // turned away before the dial had ended
		}
		if open = append(open, c); len(open) > 1000 { // twice as many as it could have
			open[0].Close()
			open = open[1:]
		}
	}
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
