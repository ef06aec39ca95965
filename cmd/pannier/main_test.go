package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain hides the settings of whoever runs the tests, and is patient.
func TestMain(m *testing.M) {
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "PANNIER_") {
			os.Unsetenv(name)
		}
	}
	listenGrace = time.Minute // no test is to fail because the machine is slow
	os.Exit(m.Run())
}

// outcome is what a command line left behind.
type outcome struct {
	exit           int
	stdout, stderr string
}

// pannier runs one command line as a process would, without being one.
func pannier(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	exit := execute(t.Context(), context.Background(), args, strings.NewReader(stdin), &stdout, &stderr)
	return outcome{exit, stdout.String(), stderr.String()}
}

func TestHelpIsNoError(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"help"}, {"--help"}, {"-h"}, {"send", "--help"}, {"help", "send"}, {"peers", "forget", "-h"}, {"get", "some-id", "--help"}} {
		got := pannier(t, "", args...)
		if got.exit != 0 || got.stderr != "" || !strings.Contains(got.stdout, "USAGE") {
			t.Errorf("pannier %q: exit %d, stderr %q, stdout %q; want 0, nothing, a help text", args, got.exit, got.stderr, got.stdout)
		}
	}
}

func TestUnknownCommandSuggests(t *testing.T) {
	t.Parallel()
	got := pannier(t, "", "sned", "--to", "billing")
	if got.exit != exitUsage || got.stdout != "" {
		t.Errorf("exit %d, stdout %q; want %d and nothing", got.exit, got.stdout, exitUsage)
	}
	for _, want := range []string{`no command "sned"`, `"send"`, "[usage]"} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("stderr %q does not contain %q", got.stderr, want)
		}
	}
}

func TestVersionKnowsTheGoVersion(t *testing.T) {
	t.Parallel()
	if got := pannier(t, "", "version", "-o", "json"); got.exit != 0 || !strings.Contains(got.stdout, `"go":"go1.`) {
		t.Errorf("exit %d, stdout %q", got.exit, got.stdout)
	}
}
