package e2e_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
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
