package e2e_test

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestFrozenVolume: the volume is frozen, as for a snapshot. A batch waits before it touches
// what is mapped, where no Go program could be stopped: the sidecar says what it waits for,
// and goes on when it is thawed.
func TestFrozenVolume(t *testing.T) {
	t.Parallel()
	need(t, true, "mkfs.ext4", "mount", "umount", "fsfreeze")
	v := makeVolume(t, "ext4")
	v.mount()
	s := start(t, setup{name: "frozen", agents: []string{billing}, dir: filepath.Join(v.dir, "journal")})
	before := s.post(billing, map[string]any{"n": 1})
	command(t, "fsfreeze", "-f", v.dir)
	t.Cleanup(func() { exec.Command("fsfreeze", "-u", v.dir).Run() }) // if it is not thawed yet
	answered := make(chan answer, 1)
	go func() {
		_, a := s.tryPost(message(billing, map[string]any{"n": 2}), "")
		answered <- a
	}()
	eventually(t, "it is not ready", func() error {
		if a := s.operate("GET", "/readyz", nil); a.code != http.StatusServiceUnavailable {
			return fmt.Errorf("ready: %v", a)
		}
		return nil
	})
	for _, path := range []string{"/healthz", "/metrics", "/v1/admin/status"} {
		if a := s.operate("GET", path, nil); a.code != http.StatusOK {
			t.Errorf("%s: %v", path, a)
		}
	}
	command(t, "fsfreeze", "-u", v.dir)
	if a := <-answered; a.err != nil || a.code/100 != 2 {
		t.Errorf("a post over the freeze: %v", a)
	}
	for range 2 {
		it := s.take1(billing, take{})
		s.ack(it, nil)
	}
	s.status(before, "COMPLETED")
}
