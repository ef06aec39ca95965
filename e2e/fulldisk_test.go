package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// smallVolume is one of 96 MiB, in memory. fill takes of it until a sidecar on it refuses what
// is new, and empty gives all of that back.
type smallVolume struct {
	t   testing.TB
	dir string
}

func newSmallVolume(t testing.TB) *smallVolume {
	t.Helper()
	need(t, true, "mount")
	v := &smallVolume{t, t.TempDir()}
	command(t, "mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", v.dir)
	t.Cleanup(func() { _ = unix.Unmount(v.dir, unix.MNT_DETACH) })
	return v
}

func (v *smallVolume) filler() string { return filepath.Join(v.dir, "filler") }

func (v *smallVolume) fill(s *sidecar) (refusal answer) {
	v.t.Helper()
	f, err := os.Create(v.filler())
	if err != nil {
		v.t.Fatal(err)
	}
	defer f.Close()
	const piece = 1 << 20
	for at := int64(0); ; at += piece {
		id, a := s.tryPost(message("agent://acme/prod/nobody", map[string]any{}), "")
		if id == "" {
			return a
		}
		if err := unix.Fallocate(int(f.Fd()), 0, at, piece); err != nil {
			v.t.Fatalf("the volume of %s is full, and it takes new intents: %v", s.set.name, err)
		}
	}
}

func (v *smallVolume) empty() {
	v.t.Helper()
	if err := os.Remove(v.filler()); err != nil {
		v.t.Fatal(err)
	}
}

// TestRoomThatIsNotKnown: from its start on the system does not tell a sidecar how much room there is. It
// works, and says in its log, once, and to whoever looks that it does not know; and nothing of a volume
// that goes with its host.
func TestRoomThatIsNotKnown(t *testing.T) {
	t.Parallel()
	need(t, true, "strace")
	s := newSidecar(t, setup{name: "blind", agents: []string{billing}})
	s.launchTraced("-e", "trace=statfs", "-e", "inject=statfs:error=EIO")
	s.awaitReady()
	id := s.post(billing, map[string]any{"n": 1})
	out, err := exec.Command(binary(t), "check", "--admin", s.admin).CombinedOutput()
	if text := string(out); err != nil || strings.Count(text, "is not known, the system does not say") != 1 || !strings.Contains(text, "at the start the system did not say") || strings.Contains(text, "does not outlive this host: ") {
		t.Errorf("check says (%v):\n%s", err, out)
	}
	if a := s.operate("GET", "/readyz?verbose", nil); a.code != http.StatusOK || !strings.Contains(string(a.body), "is not known, the system does not say") {
		t.Errorf("ready: %v", a)
	}
	if said := s.stderr(); strings.Count(said, "is not known, the system does not say") != 1 {
		t.Errorf("its log does not say once that the room is not known:\n%s", tail(said, 2000))
	}
	s.ack(s.take1(billing, take{}), nil)
	s.status(id, "COMPLETED")
}

// What waits because a receiver's disk is full says so, whose it is and what to do, and goes
// when there is room.
func TestWhyOfAFullDiskElsewhere(t *testing.T) {
	t.Parallel()
	v := newSmallVolume(t)
	holder := start(t, setup{name: "holder", agents: []string{billing}, dir: filepath.Join(v.dir, "journal")})
	home := start(t, setup{name: "home", agents: []string{shop}, peers: peersFile(t, map[string][]string{billing: {holder.peer}})})
	carry(t, home, holder)
	if a := v.fill(holder); a.code != http.StatusServiceUnavailable || !strings.Contains(string(a.body), "journal_full") {
		t.Errorf("a post at the sidecar whose disk is full is answered %v, want 503 journal_full", a)
	}
	id := home.post(billing, map[string]any{"order": "A-1"})
	eventually(t, "why to say whose disk is full", func() error {
		w := home.why(id)
		for _, c := range w.Causes {
			if c.Code == "peer_disk_full" && c.Peer == holder.peer && strings.Contains(c.Detail, "room on its volume") {
				return nil
			}
		}
		return fmt.Errorf("it says %+v", w)
	})
	eventually(t, "pannier why to say so", func() error {
		out, err := exec.Command(binary(t), "why", id, "--addr", home.api).CombinedOutput()
		if text := string(out); err != nil || !strings.Contains(text, "is nearly full") || !strings.Contains(text, holder.peer) {
			return fmt.Errorf("%v: %s", err, out)
		}
		return nil
	})
	v.empty()
	finish(t, home, holder, id)
}

// A home whose own disk is full takes nothing new, and what it has accepted waits for nothing
// of that: it goes to another sidecar, or to the app here.
func TestFullDiskHoldsUpNothingAccepted(t *testing.T) {
	t.Parallel()
	v := newSmallVolume(t)
	holder := newSidecar(t, setup{name: "holder", agents: []string{billing}})
	home := start(t, setup{name: "home", agents: []string{shop}, dir: filepath.Join(v.dir, "journal"), peers: peersFile(t, map[string][]string{billing: {holder.peer}})})
	there, here := home.post(billing, map[string]any{"order": "A-1"}), home.post(shop, map[string]any{"order": "A-2"})
	if a := v.fill(home); a.code != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("a post at a sidecar whose disk is full is answered %v, want 503 with Retry-After", a)
	}
	if out, err := exec.Command(binary(t), "check", "--admin", home.admin).CombinedOutput(); err == nil || !strings.Contains(string(out), "×  takes intents: ") || !strings.Contains(string(out), " MiB are needed: nothing new is taken") {
		t.Errorf("check says (%v):\n%s", err, out)
	}
	holder.start()
	finish(t, home, holder, there)
	if it := home.take1(shop, take{}); it.ID != here {
		t.Errorf("the app here is handed %s, want %s", it.ID, here)
	} else {
		home.ack(it, map[string]any{})
	}
	eventually(t, "both to end", func() error {
		for _, id := range []string{there, here} {
			if got := home.get(id).Status; got != "COMPLETED" {
				return fmt.Errorf("%s is %s", id, got)
			}
		}
		return nil
	})
}
