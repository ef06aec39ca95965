package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestOperatorsInABrowser: from the overview an operator finds dead letters, redrives one and
// purges the others, without a script and by keyboard; nothing is removed before its number
// was typed, and no page is wider than its screen, breaks its policy of content, or has a
// serious fault of accessibility. It runs alone, as all that drives a browser.
func TestOperatorsInABrowser(t *testing.T) {
	needModules(t, "browser")
	chromium := "chromium"
	need(t, false, chromium)
	home := newSidecar(t, setup{name: "home", agents: []string{billing}})
	home.start()
	var ids []string
	for _, reason := range []string{"no such order", "</td><script>alert(1)</script> \u202e", "gone", "gone"} {
		id := home.post(billing, map[string]any{"order_id": "ORD-1", "<b>": "<script>alert(2)</script>"})
		home.reject(id, reason)
		ids = append(ids, id)
	}
	home.post("agent://acme/prod/nobody", map[string]any{"order_id": "ORD-2"})
	shots := os.Getenv("PANNIER_SHOTS")
	if shots == "" {
		shots = t.TempDir()
	}
	ctx, cancel := context.WithTimeout(t.Context(), browserTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", filepath.Join("browser", "operators.mjs"), "http://"+home.admin, shots, ids[0])
	path, err := exec.LookPath(chromium)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cleanEnv(), "CHROMIUM="+path, "HOME="+t.TempDir())
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("in the browser: %v\n%s", err, tail(string(said), 6000))
	}
	left := home.deadLetters()
	if len(left) != 1 || left[0].ID != ids[0] || left[0].RedrivenAs == "" {
		t.Errorf("left are %+v, want the first one, with a successor", left)
	}
}
