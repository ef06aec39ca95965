package proxy_test

import (
	"os"
	"runtime/debug"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"pannier/proxy"
)

// TestHeapIsHeld: the heap is collected early, unless whoever runs the sidecar has said
// when.
func TestHeapIsHeld(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	const limit = 128 << 20
	t.Setenv("GOGC", "100")
	t.Setenv("GOMEMLIMIT", "1GiB") // which Go reads at the start
	proxy.HoldMemory(memlimit.Limit(limit))
	if got := debug.SetGCPercent(100); got != 100 {
		t.Errorf("GOGC=100 was overruled: %d", got)
	}
	if got := debug.SetMemoryLimit(-1); got < limit {
		t.Errorf("GOMEMLIMIT was overruled: %d", got)
	}
	t.Setenv("GOGC", "")
	os.Unsetenv("GOMEMLIMIT") // empty, it is said; Setenv above puts it back
	proxy.HoldMemory(memlimit.Limit(limit))
	if got := debug.SetMemoryLimit(-1); got > limit*8/10 || got < limit*7/10 {
		t.Errorf("of %d bytes Go is to use %d", limit, got)
	}
	if got := debug.SetGCPercent(100); got != 50 {
		t.Errorf("without GOGC: %d, want 50", got)
	}
}
