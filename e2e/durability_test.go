package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// postDurably posts with durability: receiver and returns what was reached.
func postDurably(t *testing.T, home *sidecar) (id, reached string) {
	t.Helper()
	id, a := home.tryPost(message(billing, map[string]any{"order": "A-1"}, delivery("durability", "receiver")), "")
	if id == "" {
		t.Fatalf("post: %v", a)
	}
	return id, a.header.Get("Pannier-Durability")
}

// TestReceiverDurability: the answer says whether a second journal has it, and
// where it says so, home may burn.
func TestReceiverDurability(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	id, reached := postDurably(t, home)
	if reached != "receiver" {
		t.Fatalf("Pannier-Durability %q with the holder up, want receiver", reached)
	}
	home.kill()
	if err := os.RemoveAll(home.dir); err != nil {
		t.Fatal(err)
	}
	it := holder.take1(billing, take{})
	if it.ID != id {
		t.Errorf("handed over %s, want %s", it.ID, id)
	}
	holder.ack(it, nil)
	if got := holder.get(id); got.Status != "COMPLETED" {
		t.Errorf("status at the holder %s", got.Status)
	}
}

// TestReceiverDurabilityOutOfReach: accepted all the same, and said honestly.
func TestReceiverDurabilityOutOfReach(t *testing.T) {
	t.Parallel()
	home, holder := pair(t, nil)
	home.start()
	began := time.Now()
	id, reached := postDurably(t, home)
	t.Logf("figure: without a receiver, durability receiver answered %q after %v", reached, time.Since(began).Round(time.Millisecond))
	if reached != "local" {
		t.Errorf("Pannier-Durability %q with the holder down, want local", reached)
	}
	holder.start()
	finish(t, home, holder, id)
}

// TestEphemeralVolumeIsSaid: a journal in memory does not outlive its host.
func TestEphemeralVolumeIsSaid(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/dev/shm", "pannier-e2e-")
	if err != nil {
		lacks(t, fmt.Sprintf("/dev/shm: %v", err))
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := start(t, setup{name: "in memory", agents: []string{billing}, dir: dir + "/journal"})
	if s.ready.Durable == nil || *s.ready.Durable {
		t.Error("the ready line says durable for a journal on tmpfs")
	}
	carry(t, s, s)
}

// TestDirectoryOfOthers: a journal that is made in a directory that is not its own says what else
// is there, once.
func TestDirectoryOfOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "passwd"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, setup{name: "alone", agents: []string{billing}, dir: dir})
	const says = `msg="a journal is made in a directory that holds other things`
	if err := s.stderr(); !strings.Contains(err, says) || !strings.Contains(err, "entries=passwd") {
		t.Errorf("nothing is said of what else is there: %s", err)
	}
	s.stop()
	s.start()
	if n := strings.Count(s.stderr(), says); n > 1 {
		t.Errorf("it is said %d times", n)
	}
	s.stop()
}
