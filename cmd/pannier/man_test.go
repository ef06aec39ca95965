package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The page has every command, and roff finds nothing wrong with it.
func TestManualPage(t *testing.T) {
	t.Parallel()
	got := pannier(t, "", "man")
	if got.exit != 0 || got.stderr != "" {
		t.Fatalf("exit %d: %s", got.exit, got.stderr)
	}
	for _, want := range []string{".TH \"PANNIER\" 1", ".SS \"pannier send [OPTIONS]", ".SS \"pannier dlq redrive [OPTIONS] ", "\n7: waiting took too long", ".B \\-\\-forward URL\n"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("no %q", want)
		}
	}
	if _, err := exec.LookPath("groff"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("no groff to read it")
	}
	cmd := exec.Command("groff", "-man", "-ww", "-Tutf8", "-K", "utf8", "-z")
	cmd.Stdin = strings.NewReader(got.stdout)
	if said, err := cmd.CombinedOutput(); err != nil || len(said) > 0 {
		t.Errorf("groff: %v\n%s", err, said)
	}
}
