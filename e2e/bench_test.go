package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestBench holds `pannier bench` to its count: what it has sent was delivered,
// settled and ended, each once, under every way to receive; and the figures are
// there. How large they are is the machine's.
func TestBench(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), binary(t), "bench", "--quick", "-o", "json", "--dir", dir)
	for _, item := range []string{"webhook", "poll", "stream-batch", "batch"} {
		cmd.Args = append(cmd.Args, "--only", item)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.Bytes())
	}
	var report struct {
		Sync  float64 `json:"fdatasync_p50_us"`
		Items []struct {
			Name  string
			Pairs []struct {
				Echo struct {
					Rate float64 `json:"requests_per_second"`
				}
				Sample struct {
					Accepted, Delivered, Settled, Ended int64
					Rate                                float64 `json:"end_to_end_per_second"`
					Accept                              struct {
						P50 float64 `json:"p50_us"`
					}
					ToApp struct {
						P50 float64 `json:"p50_us"`
					} `json:"to_app"`
					Commits map[string]float64            `json:"commits_per_second"`
					Memory  map[string]map[string]float64 `json:"memory"`
				}
			}
		}
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if len(report.Items) != 4 || report.Sync <= 0 {
		t.Fatalf("%d items and a sync of %v µs: %s", len(report.Items), report.Sync, out)
	}
	for _, i := range report.Items {
		if len(i.Pairs) == 0 {
			t.Errorf("%s: no pairs", i.Name)
		}
		for _, p := range i.Pairs {
			s := p.Sample
			if s.Accepted == 0 || s.Delivered != s.Accepted || s.Settled != s.Accepted || s.Ended != s.Accepted {
				t.Errorf("%s: accepted %d, delivered %d, settled %d, ended at home %d", i.Name, s.Accepted, s.Delivered, s.Settled, s.Ended)
			}
			if p.Echo.Rate <= 0 || s.Rate <= 0 || s.Accept.P50 <= 0 || s.ToApp.P50 <= 0 {
				t.Errorf("%s: a figure is missing: %+v", i.Name, p)
			}
			for _, name := range []string{"home", "holder"} {
				if s.Commits[name] <= 0 || s.Memory[name]["rss_anon"] <= 0 {
					t.Errorf("%s: no commits or no memory of %s: %+v", i.Name, name, s)
				}
			}
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestBenchKilled: the sidecars of a measurement that is killed go with it.
func TestBenchKilled(t *testing.T) {
	t.Parallel()
	p, err := spawn(binary(t), []string{"bench", "--only", "webhook", "--time", "1m", "--dir", t.TempDir()}, nil, filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		p.cmd.Process.Kill()
		<-p.exited
	}()
	parent := p.cmd.Process.Pid
	var started []int
	eventually(t, "an echo and two sidecars", func() error {
		if started = childrenOf(t, parent); len(started) < 3 {
			return fmt.Errorf("%d processes", len(started))
		}
		return nil
	})
	t.Cleanup(func() {
		for _, pid := range started {
			if t.Failed() && alive(pid) {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "them to be gone", func() error {
		for _, pid := range started {
			if alive(pid) {
				return fmt.Errorf("process %d is there", pid)
			}
		}
		return nil
	})
}

// statOf are the state and the parent of a process, as the kernel has them.
func statOf(pid int) (state string, parent int, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0, err
	}
	// The command stands in parentheses before them, and may hold anything.
	_, err = fmt.Sscanf(string(text[bytes.LastIndexByte(text, ')')+1:]), "%s %d", &state, &parent)
	return state, parent, err
}

// alive reports whether a process runs. One that ended may wait for its new parent.
func alive(pid int) bool {
	state, _, err := statOf(pid)
	return err == nil && !strings.Contains("ZX", state)
}

func childrenOf(t testing.TB, parent int) (all []int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if _, of, err := statOf(pid); err == nil && of == parent {
			all = append(all, pid)
		}
	}
	return all
}
