package proxy_test

import (
	"runtime/debug"
	"testing"

	"pannier/proxy"
)

// TestHeapIsHeld: the heap is collected early, unless whoever runs the sidecar has said
// when.
func TestHeapIsHeld(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	t.Setenv("GOGC", "100")
	proxy.HoldMemory()
	if got := debug.SetGCPercent(100); got != 100 {
		t.Errorf("GOGC=100 was overruled: %d", got)
	}
	t.Setenv("GOGC", "")
	proxy.HoldMemory()
	if got := debug.SetGCPercent(100); got != 50 {
		t.Errorf("without GOGC: %d, want 50", got)
	}
}
