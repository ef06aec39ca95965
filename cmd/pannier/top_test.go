package main

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"strings"
	"testing"
	"time"
)

func TestTopOnce(t *testing.T) {
	t.Parallel()
	addr := operators(t, map[string]string{
		"/v1/admin/peers": `{"ok":true,"peers":[{"address":"h:1","state":"down","breaker":"open","agents":["x"],"last_error":"refused"},{"address":"h:2","state":"open","breaker":"closed"}]}`,
	})
	got := pannier(t, "", "top", "--once", "--interval", "100ms", "--admin", addr)
	if got.exit != 0 || got.stderr != "" {
		t.Fatalf("exit %d: %s", got.exit, got.stderr)
	}
	for _, want := range []string{
		addr + "  ", "  1 thing to look at: pannier status\n", "/s  badly 0.0/s\n", "intents  1 due (5 min), 2 later", "syncs    p50 1.2 ms",
		"HAND-OVERS/S  FAILED/S", "agent://a/b/d  1    1        2      5 min", "h:1   down   open     0              x       refused\n",
	} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("no %q in\n%s", want, got.stdout)
		}
	}
}

// As JSON a frame has the answers and the rates of what is counted.
func TestTopAsLines(t *testing.T) {
	t.Parallel()
	got := pannier(t, "", "top", "--once", "--interval", "100ms", "-o", "ndjson", "--admin", operators(t, nil))
	var frame struct {
		At    time.Time
		Rates struct {
			In, Ended  float64
			EndedBadly float64 `json:"ended_badly"`
			Agents     map[string]map[string]float64
			Peers      map[string]map[string]float64
		}
		Status statusAnswer
	}
	if err := json.Unmarshal([]byte(got.stdout), &frame); err != nil || got.exit != 0 || strings.Count(got.stdout, "\n") != 1 {
		t.Fatalf("exit %d, %v: %s%s", got.exit, err, got.stdout, got.stderr)
	}
	r := frame.Rates
	of := r.Agents["agent://a/b/c"]
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-6*b }
	if r.In <= 0 || r.In > 10_000 || r.Ended != r.In || r.EndedBadly != 0 || !near(of[countAnswered], 2*r.In) || !near(of[countFailed], r.In) || !near(r.Peers["h:2"][countHeld], r.In) {
		t.Errorf("a thousand of each in 100 ms or more: %+v", r)
	}
	if frame.At.IsZero() || frame.Status.Journal.ID != "J" {
		t.Errorf("frame: %+v", frame)
	}
}

// In a pipe frames follow one another until it is stopped, which is no error.
func TestTopFrames(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	frames := 0
	out := &watched{}
	out.to, out.then = "badly", func() {
		if frames++; frames == 1 {
			stop()
		}
	}
	exit := execute(ctx, context.Background(), []string{"top", "--interval", "100ms", "--admin", operators(t, nil)}, strings.NewReader(""), out, out)
	if exit != 0 || frames != 1 || strings.Contains(out.String(), "\x1b") {
		t.Errorf("exit %d, stopped %d times\n%q", exit, frames, out.String())
	}
}

func TestTopUsage(t *testing.T) {
	t.Parallel()
	if got := pannier(t, "", "top", "--interval", "1ms"); got.exit != exitUsage {
		t.Errorf("exit %d: %s", got.exit, got.stderr)
	}
	if got := pannier(t, "", "top", "--once", "--admin", "127.0.0.1:1"); got.exit != exitUnreachable {
		t.Errorf("exit %d: %s", got.exit, got.stderr)
	}
}

func TestSample(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		line, name string
		labels     map[string]string
		value      float64
		ok         bool
	}{
		{"a 1", "a", nil, 1, true},
		{`a{b="c"} 2.5`, "a", map[string]string{"b": "c"}, 2.5, true},
		{`a{b="c,}\"\\",d="e",} 1e3 1395066363000`, "a", map[string]string{"b": `c,}"\`, "d": "e"}, 1000, true},
		{"a{} 1", "a", nil, 1, true},
		{"# TYPE a counter", "", nil, 0, false},
		{`a{b="c} 1`, "", nil, 0, false},
		{`a{b} 1`, "", nil, 0, false},
		{"a", "", nil, 0, false},
		{"", "", nil, 0, false},
		{"a b", "", nil, 0, false},
	} {
		name, labels, value, ok := sample(row.line)
		if ok != row.ok || ok && (name != row.name || value != row.value || !maps.Equal(labels, row.labels)) {
			t.Errorf("%s: %q %q %v %v", row.line, name, labels, value, ok)
		}
	}
}

func FuzzSample(f *testing.F) {
	f.Add(`a{b="c,}\"\\",d="e",} 1e3 1395066363000`)
	f.Fuzz(func(_ *testing.T, line string) { sample(line) })
}

// A sidecar that was started anew has counted from zero.
func TestRatesAfterARestart(t *testing.T) {
	t.Parallel()
	now, in := time.Now(), counter{countIn, ""}
	r := rates{&counters{at: now, total: map[counter]float64{in: 1000}}, &counters{at: now.Add(2 * time.Second), total: map[counter]float64{in: 10}}}
	if got := r.of(countIn, ""); got != 5 {
		t.Errorf("got %v, want 5", got)
	}
}
