package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestPowerCut shuts a file system down under a running sidecar, as a power
// cut does: what was not synced is gone. Only what was acked before the cut
// counts, and all of it must be there. E2E_ROUNDS=n repeats it n times for
// each file system. It does not run beside tests of namespaces: each process of those has
// a copy of all mounts, and would keep the file system that was shut down from going.
func TestPowerCut(t *testing.T) {
	need(t, true, "mkfs.ext4", "mkfs.xfs", "xfs_io", "mount", "umount")
	rounds := number(t, "E2E_ROUNDS", 4)
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			v := makeVolume(t, kind)
			v.mount()
			s := newSidecar(t, setup{name: kind, agents: []string{billing}, dir: filepath.Join(v.dir, "journal")})
			all := map[string]string{}
			for range rounds {
				s.start()
				acked := postUntilCut(t, s, v)
				s.proc.cmd.Process.Kill()
				s.awaitExit()
				v.unmount()
				v.mount()
				s.verify()
				s.start()
				got := finals(s, acked)
				if lost := len(acked) - len(got); lost != 0 {
					t.Errorf("%d of %d acked intents lost", lost, len(acked))
				}
				for id, v := range got {
					if err := legal(v.events, v.status); err != nil {
						t.Errorf("%s: %v", id, err)
					}
					all[id] = acked[id]
				}
				if code, _ := s.stop(); code != 0 {
					t.Errorf("exit code %d after the recovery", code)
				}
			}
			s.start()
			if lost := len(all) - len(finals(s, all)); lost != 0 {
				t.Errorf("%d intents of earlier rounds lost", lost)
			}
			tables, _ := filepath.Glob(filepath.Join(s.dir, "store", "*.sst")) // the pattern is well-formed
			t.Logf("figure: %s: %d power cuts, %d acked before them and still there; the store has come to %d tables", kind, rounds, len(all), len(tables))
		})
	}
}

// postUntilCut posts from several connections, cuts the power at a random
// time, and returns what was acked before.
func postUntilCut(t *testing.T, s *sidecar, v *volume) map[string]string {
	t.Helper()
	// Half of the bodies are large enough for the store to move on to new files
	// now and then: what was acked just before and after that counts too.
	pad := strings.Repeat("x", 8<<10)
	var mu sync.Mutex
	acked := map[string]string{}
	cut, enough := false, make(chan struct{})
	var begun sync.Once
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("%d-%d", n, i)
				id, a := s.tryPost(message(billing, map[string]any{"key": key, "pad": pad[:n%2*len(pad)]}), "")
				mu.Lock()
				if cut || a.err != nil {
					mu.Unlock()
					return
				}
				if id != "" {
					acked[id] = key
				}
				if len(acked) >= 100 {
					begun.Do(func() { close(enough) })
				}
				mu.Unlock()
			}
		})
	}
	select {
	case <-enough:
	case <-time.After(60 * time.Second):
		t.Fatal("100 posts took more than a minute")
	}
	time.Sleep(time.Duration(rand.IntN(700)) * time.Millisecond) // the schedule: at any time
	mu.Lock()
	cut = true // an answer read from here on may have been sent after the cut
	mu.Unlock()
	v.cut()
	s.proc.cmd.Process.Kill() // its mapped pages must not outlive the cut
	wg.Wait()
	return acked
}

// volume is a file system of its own on a loop device.
type volume struct {
	t          testing.TB
	image, dir string
	mounted    bool
}

func makeVolume(t testing.TB, kind string) *volume {
	t.Helper()
	root := t.TempDir()
	v := &volume{t: t, image: filepath.Join(root, "image"), dir: filepath.Join(root, "mnt")}
	if err := os.Mkdir(v.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	command(t, "truncate", "-s", "1G", v.image)
	switch kind {
	case "ext4":
		command(t, "mkfs.ext4", "-q", v.image)
	case "xfs":
		command(t, "mkfs.xfs", "-q", v.image)
	}
	t.Cleanup(func() {
		if v.mounted {
			exec.Command("umount", "-l", v.dir).Run() // the loop device goes with the mount
		}
	})
	return v
}

func (v *volume) mount() {
	v.t.Helper()
	command(v.t, "mount", "-o", "loop", v.image, v.dir)
	v.mounted = true
}

func (v *volume) unmount() {
	v.t.Helper()
	eventually(v.t, "the volume to be free", func() error {
		if out, err := exec.Command("umount", v.dir).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	v.mounted = false
}

// cut drops everything the file system has not written, its log included.
func (v *volume) cut() {
	v.t.Helper()
	command(v.t, "xfs_io", "-x", "-c", "shutdown", v.dir)
}

func command(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// readAll is the text of a file, or nothing while there is none.
func readAll(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}
